/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What the classifier puts behind a frame that is read from a tap queue (rx=fd) when the hash is asked for. */
#ifndef TAPFLOW_ABI_TRAILER_H
#define TAPFLOW_ABI_TRAILER_H

#include <linux/types.h>

#include "tapflow/abi/static_assert.h"

enum tapflow_trailer_flag {
    TAPFLOW_TRAILER_HASH = 1 << 0, /* `hash` is valid */
    TAPFLOW_TRAILER_MARK = 1 << 1, /* `mark` is a rule's */
    TAPFLOW_TRAILER_FLAG = 1 << 2, /* a rule flags the packet */
};

/*
 * Its ones-complement sum is zero (0xffff), so that a checksum that the kernel computes over it stays right; its size
 * is even, so that this holds behind a frame of odd length, too. Host byte order. Offsets as in tapflow_record, a tag
 * that the kernel still keeps beside the frame counted.
 *
 * The cookie is the port's own (tapflow_port_config::cookie). A frame that gets no trailer and ends in the cookie all
 * the same is dropped before it reaches the queue, so whatever ends in it was put there by the classifier.
 */
struct tapflow_trailer {
    __u32 cookie[2];
    __u32 hash;
    __u32 mark;
    __u16 l3_offset;
    __u16 l4_offset;
    __u8 packet_class; /* enum tapflow_packet_class */
    __u8 flags;        /* enum tapflow_trailer_flag */
    __u16 balance;     /* what makes the sum zero */
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_trailer) == 24, "layout shared with BPF");

/*
 * How a packet that the classifier has seen is told from others: skb->tc_index, which no sender can set. The low bit
 * says whether it has a trailer, the others are the cookie's.
 */
#define TAPFLOW_TC_INDEX(cookie_low, has_trailer) ((__u16)(((cookie_low) | 2u) & ~1u) | ((has_trailer) ? 1u : 0u))

#endif
