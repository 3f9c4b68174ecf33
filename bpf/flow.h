/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* A packet's rules. */
#ifndef TAPFLOW_BPF_FLOW_H
#define TAPFLOW_BPF_FLOW_H

#include "flow/key.h"
#include "flow_cache.h"
#include "flow_count.h"
#include "flow_tables.h"
#include "parse.h"

/* As parse(): the headers into the key. Return 1 if more of the frame is needed. */
__noinline int flow_outer(struct __sk_buff *skb, struct flow_scratch *scratch) {
    struct tapflow_flow_tag beside = {};
    if (!scratch)
        return 0;
    if (skb->vlan_present) {
        beside.tpid = (__u16)skb->vlan_proto;
        beside.tci = TAPFLOW_BE16((__u16)skb->vlan_tci);
    }
    return tapflow_flow_outer((void *)(long)skb->data, (void *)(long)skb->data_end, &beside, &scratch->packet,
                              &scratch->search.key);
}

__noinline int flow_inner(struct __sk_buff *skb, struct flow_scratch *scratch) {
    struct tapflow_packet inner = {};
    struct tapflow_l3_start start = {};
    __u8 truncated = 0;
    if (!scratch)
        return 0;
    if (tapflow_flow_inner_ethernet((void *)(long)skb->data, (void *)(long)skb->data_end, &scratch->packet,
                                    &scratch->search.key, &start, &truncated)) {
        parse_l3(skb, &start, &inner);
        tapflow_flow_inner_network((void *)(long)skb->data, (void *)(long)skb->data_end, &inner, &scratch->search.key,
                                   &truncated);
    }
    return truncated;
}

static __always_inline int flow_key(struct __sk_buff *skb, const struct tapflow_packet *packet, int inner,
                                    struct flow_scratch *scratch) {
    scratch->packet = *packet;
    int truncated = flow_outer(skb, scratch);
    if (inner)
        truncated |= flow_inner(skb, scratch);
    return truncated;
}

__noinline int flow_search(struct flow_scratch *scratch, __u32 list) {
    const struct tapflow_flow_directory *directory = flow_directory_entry();
    if (!scratch || !directory)
        return 0;
    scratch->generation = 0;
#ifndef TAPFLOW_DRY_RUN
    if (directory->mask_count >= TAPFLOW_FLOW_CACHE_FROM && flow_recall(scratch, list))
        return 0;
#endif
    tapflow_flow_decide(&scratch->search, list);
#ifndef TAPFLOW_DRY_RUN
    if (scratch->generation)
        flow_remember(scratch, list);
#endif
    return 0;
}

/* What the rules say of a parsed packet; 0: nothing at all. Valid until the next packet on this CPU. */
static __always_inline const struct tapflow_flow_verdict *flow_verdict(struct __sk_buff *skb,
                                                                       struct tapflow_packet *packet, __u32 list) {
    struct flow_scratch *scratch = flow_scratch();
    const struct tapflow_flow_directory *directory = flow_directory_entry();
    if (!scratch || !directory)
        return 0;
    int inner = directory->inner != 0;
    if (flow_key(skb, packet, inner, scratch) && pull_headers(skb)) {
        parse(skb, packet);
        flow_key(skb, packet, inner, scratch);
    }
    flow_search(scratch, list);
    return scratch->search.verdict.rule ? &scratch->search.verdict : 0;
}

#endif
