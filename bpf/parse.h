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
 * A global function, as several others: those are verified once and for any argument. Followed into from
 * each state of its caller, and the rest of the caller from each state that it can end in, the parser would take most
 * of the verifier's million instructions, and a port some hundred milliseconds to open.
 */
__noinline int parse(struct __sk_buff *skb, struct tapflow_packet *packet) {
    if (!packet)
        return 0;
    __u16 tpid = skb->vlan_present ? (__u16)skb->vlan_proto : 0;
    tapflow_parse((void *)(long)skb->data, (void *)(long)skb->data_end, tpid, packet);
    if (packet->truncated && pull_headers(skb))
        tapflow_parse((void *)(long)skb->data, (void *)(long)skb->data_end, tpid, packet);
    return 0;
}

#endif
