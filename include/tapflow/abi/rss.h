/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The RSS configuration as the classifier reads it. */
#ifndef TAPFLOW_ABI_RSS_H
#define TAPFLOW_ABI_RSS_H

#include <linux/types.h>

#include "tapflow/abi/packet_class.h"
#include "tapflow/abi/static_assert.h"

#define TAPFLOW_QUEUES_MAX 64
#define TAPFLOW_RETA_MAX 512

/* Bytes of the longest hash input: two IPv6 addresses and two ports. */
#define TAPFLOW_HASH_INPUT_MAX 36

/* Which bytes of a packet are hashed. */
enum tapflow_hash_input {
    TAPFLOW_INPUT_NONE = 0, /* not hashed: queue reta[0], no hash in the record */
    TAPFLOW_INPUT_L3 = 1,   /* source address, destination address */
    TAPFLOW_INPUT_L3_L4 = 2 /* ... source port, destination port */
};

/*
 * The value of a one-entry array map. A new configuration is a new map, put into its outer map in one step, so a
 * packet sees all of the old one or all of the new one.
 */
struct tapflow_rss {
    /* toeplitz[i][b]: the hash of an input that is zero but for byte i, which is b. The hash of an input is the
     * exclusive-or over its bytes, because Toeplitz is linear. */
    __u32 toeplitz[TAPFLOW_HASH_INPUT_MAX][256];
    __u16 reta[TAPFLOW_RETA_MAX]; /* queue of each slot */
    __u32 reta_mask;              /* RETA size - 1; the size is a power of two */
    __u8 input[16];               /* enum tapflow_hash_input by enum tapflow_packet_class */
    __u8 reserved[12];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_rss) == 36 * 1024 + 1024 + 32, "layout shared with BPF");
TAPFLOW_STATIC_ASSERT(TAPFLOW_CLASS_COUNT <= 16, "one input for each class");

#endif
