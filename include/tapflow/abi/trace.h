/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What a tracer's programs (bpf/trace.bpf.c, bpf/trace_front.bpf.c) are told, and tell, of a port's decisions. */
#ifndef TAPFLOW_ABI_TRACE_H
#define TAPFLOW_ABI_TRACE_H

#include <linux/types.h>

#include "tapflow/abi/decision.h"
#include "tapflow/abi/static_assert.h"

/* Longest frame that an event can hold: perf_event_header::size has 16 bits. */
#define TAPFLOW_TRACE_SNAPLEN_MAX 65280

enum tapflow_trace_place {
    TAPFLOW_TRACE_TAP = 0,
    TAPFLOW_TRACE_REMOTE = 1,
};

/* One packet's decision. Followed by `captured` bytes of frame, from the destination MAC address on. Host byte order.
 */
struct tapflow_trace_event {
    __u64 time_ns; /* CLOCK_MONOTONIC */
    __u64 rule_id; /* of the last rule that acted: counts up with each rule that the port is given; 0: none */
    __u32 flags;   /* enum tapflow_decision_flag */
    __u32 length;  /* of the frame */
    __u32 captured;
    __u32 hash;       /* with TAPFLOW_DECIDED_HASH */
    __u32 mark;       /* with TAPFLOW_DECIDED_MARK */
    __u32 rule;       /* index in the tables; 0: none */
    __u16 queue;      /* with TAPFLOW_DECIDED_QUEUE */
    __u16 rewrite;    /* with TAPFLOW_DECIDED_REWRITE */
    __u16 vlan_tci;   /* a tag that is not in the frame, */
    __u16 vlan_proto; /* ... with its TPID as on the wire; 0: none */
    __u16 gso_size;   /* payload bytes of each segment of a super-frame; else 0 */
    __u8 place;       /* enum tapflow_trace_place */
    __u8 reserved[5];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_trace_event) == 56, "layout shared with BPF");

/* Which of a filter's members count. */
enum tapflow_trace_field {
    TAPFLOW_TRACE_FAMILY = 1 << 0,
    TAPFLOW_TRACE_PROTOCOL = 1 << 1,
    TAPFLOW_TRACE_SOURCE = 1 << 2,
    TAPFLOW_TRACE_DESTINATION = 1 << 3,
    TAPFLOW_TRACE_HOST = 1 << 4, /* source or destination */
    TAPFLOW_TRACE_SOURCE_PORT = 1 << 5,
    TAPFLOW_TRACE_DESTINATION_PORT = 1 << 6,
    TAPFLOW_TRACE_PORT = 1 << 7, /* either */
    TAPFLOW_TRACE_VLAN = 1 << 8,
    TAPFLOW_TRACE_QUEUE = 1 << 9,
    TAPFLOW_TRACE_RULE = 1 << 10,
    TAPFLOW_TRACE_MARK = 1 << 11,

    TAPFLOW_TRACE_ADDRESSES = TAPFLOW_TRACE_SOURCE | TAPFLOW_TRACE_DESTINATION | TAPFLOW_TRACE_HOST,
    TAPFLOW_TRACE_PORTS = TAPFLOW_TRACE_SOURCE_PORT | TAPFLOW_TRACE_DESTINATION_PORT | TAPFLOW_TRACE_PORT,
    /* Those that are in the packet, and not in what is decided of it. */
    TAPFLOW_TRACE_HEADERS = TAPFLOW_TRACE_FAMILY | TAPFLOW_TRACE_PROTOCOL | TAPFLOW_TRACE_ADDRESSES |
                            TAPFLOW_TRACE_PORTS | TAPFLOW_TRACE_VLAN,
};

/* As on the wire. */
struct tapflow_trace_address {
    __u32 words[4];
    __u32 mask[4];
};

/* Of which packets events are wanted: those that agree with everything. All zeros: of all. */
struct tapflow_trace_filter {
    struct tapflow_trace_address source;
    struct tapflow_trace_address destination;
    struct tapflow_trace_address host;
    __u64 rule;       /* id; 0: no rule acted */
    __u32 fields;     /* enum tapflow_trace_field */
    __u32 flags;      /* what the event's flags are, */
    __u32 flags_mask; /* ... of these */
    __u32 mark;
    __u16 queue;
    __u16 vlan;        /* 0: none, or a tag with a priority alone */
    __u16 source_port; /* as on the wire */
    __u16 destination_port;
    __u16 port;
    __u8 family; /* 4 or 6; addresses and ports ask for it as well */
    __u8 protocol;
    __u8 reserved[4];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_trace_filter) == 136, "layout shared with BPF");

struct tapflow_trace_options {
    struct tapflow_trace_filter filter;
    __u32 snaplen;
    __u32 one_in; /* of the packets that agree with the filter one in so many, at random; 0 and 1: all */
    __u32 rate;   /* events in a second at most; 0: no limit */
    __u32 reserved;
};

struct tapflow_trace_counts {
    __u64 matched; /* agreed with the filter */
    __u64 sampled; /* ... and were picked, */
    __u64 lost;    /* ... but found no room in the tracer's ring */
};

#endif
