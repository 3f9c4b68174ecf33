/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The classifier by flower filters, classifier=flower: a program in front of them (flower_gate.bpf.c) makes room in
 * the packet's metadata, the filters write there which rules act (tapflow/abi/flow.h), and the program behind them
 * reads that instead of searching the tables.
 */
#ifndef TAPFLOW_BPF_FLOWER_H
#define TAPFLOW_BPF_FLOWER_H

#include <linux/bpf.h>

#include "flow_tables.h"
#include "flower_metadata.h"

const volatile __u8 by_flower = 0;

/* Gives a packet its metadata back. Returns what the filters say of it as flow_verdict() does; they count themselves.
 */
static __always_inline const struct tapflow_flow_verdict *flower_end(struct __sk_buff *skb,
                                                                     const struct tapflow_port_state *state) {
    struct flow_scratch *scratch = flow_scratch();
    if (!flower_is_signed(skb, state)) { /* it has come another way: nothing has been written for flower_pass_on() */
        skb->cb[FLOWER_MARK] = 0;
        skb->cb[FLOWER_PRIORITY] = 0;
        return 0;
    }
    flower_swap(skb);
    skb->cb[FLOWER_COOKIE] = 0;
    skb->cb[FLOWER_COOKIE + 1] = 0;
    if (!scratch)
        return 0;
    __u32 told = skb->cb[FLOWER_MARK];
    __u32 index = told & TAPFLOW_FLOWER_RULE;
    const struct tapflow_flow_rule *rule = tapflow_flow_rules(&scratch->search, index);
    struct tapflow_flow_verdict *verdict = &scratch->search.verdict;
    if (!rule)
        return 0;
    verdict->rule = index;
    verdict->actions = rule->actions & ~TAPFLOW_FLOW_COUNT;
    verdict->mark = rule->mark;
    verdict->queue = rule->queue;
    verdict->context = rule->context;
    verdict->rewrite = rule->rewrite;
    verdict->counter_count = 0;
    if (told & TAPFLOW_FLOWER_TAKE)
        verdict->actions |= TAPFLOW_FLOW_TAKE;
    if (told & TAPFLOW_FLOWER_FLAG)
        verdict->actions |= TAPFLOW_FLOW_FLAG;
    if (rule->actions & TAPFLOW_FLOW_MARK)
        return verdict;
    const struct tapflow_flow_rule *marking = tapflow_flow_rules(&scratch->search, skb->cb[FLOWER_PRIORITY]);
    if (marking) {
        verdict->mark = marking->mark;
        verdict->actions |= TAPFLOW_FLOW_MARK;
    }
    return verdict;
}

/* For the next program of the packet, at the tap: as before flower_end(). */
static __always_inline void flower_pass_on(struct __sk_buff *skb, const struct tapflow_port_state *state) {
    flower_swap(skb);
    flower_sign(skb, state);
}

#endif
