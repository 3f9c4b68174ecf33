/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The parser on a packet of the kernel's. */
#ifndef TAPFLOW_BPF_PARSE_H
#define TAPFLOW_BPF_PARSE_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "packet/parse.h"

/* Makes the bytes that the parser may read directly accessible. Returns 0 if they have been all along, or cannot be. */
static __always_inline int pull_headers(struct __sk_buff *skb) {
    __u32 linear = (__u32)((long)skb->data_end - (long)skb->data);
    __u32 wanted = skb->len < TAPFLOW_PARSE_BYTES ? skb->len : TAPFLOW_PARSE_BYTES;
    return linear < wanted && bpf_skb_pull_data(skb, wanted) == 0;
}

/*
 * tapflow_parse_l3(). A global function, as several others: those are verified once and for any argument. Followed into
 * from each state of its callers, and the rest of each caller from each state that it can end in, the parser would take
 * most of the verifier's million instructions, and a port some hundred milliseconds to open.
 */
__noinline int parse_l3(struct __sk_buff *skb, const struct tapflow_l3_start *start, struct tapflow_packet *packet) {
    if (!start || !packet || start->offset > TAPFLOW_PARSE_BYTES || start->ether > TAPFLOW_PARSE_BYTES)
        return 0;
    tapflow_parse_l3((void *)(long)skb->data, (void *)(long)skb->data_end, start, packet);
    return 0;
}

/* tapflow_parse() */
static __always_inline void parse_frame(struct __sk_buff *skb, __u16 tpid, struct tapflow_packet *packet) {
    struct tapflow_l3_start start = {};
    __builtin_memset(packet, 0, sizeof(*packet));
    if (tapflow_parse_ethernet((void *)(long)skb->data, (void *)(long)skb->data_end, 0, tpid, &start))
        parse_l3(skb, &start, packet);
    else
        packet->truncated = 1;
}

__noinline int parse(struct __sk_buff *skb, struct tapflow_packet *packet) {
    if (!packet)
        return 0;
    __u16 tpid = skb->vlan_present ? (__u16)skb->vlan_proto : 0;
    parse_frame(skb, tpid, packet);
    if (packet->truncated && pull_headers(skb))
        parse_frame(skb, tpid, packet);
    return 0;
}

#endif
