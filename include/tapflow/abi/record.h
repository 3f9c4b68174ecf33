/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What the classifier writes into a queue's BPF ring for each packet: the part of a NIC's Rx descriptor. */
#ifndef TAPFLOW_ABI_RECORD_H
#define TAPFLOW_ABI_RECORD_H

#include <linux/types.h>

#include "tapflow/abi/static_assert.h"

/* Longest frame that a record can hold: a 64 KiB IP datagram behind an Ethernet header and two VLAN tags. */
#define TAPFLOW_FRAME_MAX (65535 + 14 + 8)

enum tapflow_record_flag {
    TAPFLOW_RECORD_HASH = 1 << 0,          /* `hash` is valid, a hash of value 0 included */
    TAPFLOW_RECORD_VLAN = 1 << 1,          /* the outermost tag is in vlan_proto/vlan_tci, not in the frame */
    TAPFLOW_RECORD_CSUM_PARTIAL = 1 << 2,  /* L4 checksum field holds the pseudo-header sum only */
    TAPFLOW_RECORD_CSUM_VERIFIED = 1 << 3, /* the kernel or a NIC has verified the L4 checksum */
    TAPFLOW_RECORD_GSO = 1 << 4,           /* a super-frame of segments with gso_size payload bytes each */
    TAPFLOW_RECORD_TUNNEL_CSUM = 1 << 5,   /* ... in a UDP tunnel whose outer checksum is in use */
    TAPFLOW_RECORD_MARK = 1 << 6,          /* `mark` is a rule's */
    TAPFLOW_RECORD_FLAG = 1 << 7,          /* a rule flags the packet */
    TAPFLOW_RECORD_REWRITE = 1 << 8,       /* headers are to be changed as list `rewrite` of the port's rules says */
};

enum tapflow_gso_type {
    TAPFLOW_GSO_NONE = 0,
    TAPFLOW_GSO_TCP = 1,
    TAPFLOW_GSO_UDP = 2, /* datagrams of one flow (UDP_SEGMENT), not IP fragments */
};

/*
 * Followed in the ring by `length` bytes of frame, from the destination MAC address on, without FCS. Everything is
 * in host byte order except vlan_proto, which is as on the wire. Offsets count from the frame's first byte.
 */
struct tapflow_record {
    __u32 length;          /* bytes of frame that follow this structure */
    __u32 hash;            /* RSS hash, with TAPFLOW_RECORD_HASH */
    __u16 flags;           /* enum tapflow_record_flag */
    __u16 vlan_tci;        /* with TAPFLOW_RECORD_VLAN: PCP, DEI and VID */
    __u16 vlan_proto;      /* with TAPFLOW_RECORD_VLAN: TPID, network byte order */
    __u16 gso_size;        /* with TAPFLOW_RECORD_GSO: payload bytes per segment */
    __u16 csum_start;      /* with TAPFLOW_RECORD_CSUM_PARTIAL: where summing begins */
    __u16 csum_offset;     /* with TAPFLOW_RECORD_CSUM_PARTIAL: the checksum field, from csum_start */
    __u16 l3_offset;       /* IP header; 0: not an IP packet */
    __u16 l4_offset;       /* header behind IP and its extensions; 0: none, or an IP fragment */
    __u8 packet_class;     /* enum tapflow_packet_class */
    __u8 gso_type;         /* enum tapflow_gso_type */
    __u16 inner_l3_offset; /* super-frame in a tunnel: inner IP header, with inner L4 at csum_start; else 0 */
    __u32 mark;            /* with TAPFLOW_RECORD_MARK */
    __u32 rule;            /* index of the last rule that acted on the packet; 0: none */
    __u16 rewrite;         /* with TAPFLOW_RECORD_REWRITE */
    __u8 reserved[2];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_record) == 40, "the frame behind the record stays 8-byte aligned");

#endif
