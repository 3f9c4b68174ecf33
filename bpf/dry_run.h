/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The classifier's dry run: decides of a packet what classify.bpf.c and classify_fd.bpf.c would, by the same functions
 * over the same maps. Counts nothing, keeps nothing, delivers nothing. The port's own Ethernet header for tun devices'
 * packets must be there.
 */
#ifndef TAPFLOW_BPF_DRY_RUN_H
#define TAPFLOW_BPF_DRY_RUN_H

#define TAPFLOW_DRY_RUN

#include "classify.h"
#include "queue_obstacle.h"

struct decision {
    __u32 flags; /* enum tapflow_decision_flag; 0: nothing could be decided */
    __u32 hash;
    __u32 mark;
    __u32 rule;
    __u16 queue;
    __u16 rewrite;
    __u8 packet_class;
};

/* Why the application does not get a packet of the rules' verdict; 0: it does. And whether the kernel does. */
static __always_inline __u32 decide_audience(struct __sk_buff *skb, struct tapflow_port_state *state,
                                             const struct tapflow_flow_verdict *verdict, int remote) {
    __u32 flags = 0;
    if (!(state->config.flags & TAPFLOW_PORT_STARTED))
        return TAPFLOW_DECIDED_NOT_STARTED | (remote ? TAPFLOW_DECIDED_KERNEL : 0);
    if (!remote) {
        if (wanted_by_application(skb, state, verdict))
            return TAPFLOW_DECIDED_APPLICATION;
        return verdict && verdict->actions & TAPFLOW_FLOW_DROP ? TAPFLOW_DECIDED_RULE_DROP : TAPFLOW_DECIDED_FILTERED;
    }
    int who = audience_at_remote(skb, state, verdict);
    if (who & TO_KERNEL)
        flags |= TAPFLOW_DECIDED_KERNEL;
    if (who & TO_APPLICATION)
        return flags | TAPFLOW_DECIDED_APPLICATION;
    if (who & NO_LEASE)
        return flags | TAPFLOW_DECIDED_NO_LEASE;
    return flags | (who ? TAPFLOW_DECIDED_FILTERED : TAPFLOW_DECIDED_RULE_DROP);
}

static __always_inline void decide(struct __sk_buff *skb, int remote, struct decision *decision) {
    struct tapflow_port_state *state = port();
    struct tapflow_packet packet = {};
    const struct tapflow_flow_verdict *verdict = 0;
    if (!state)
        return;
    int rules = has_tables(state);
    if (rules)
        verdict = ask_rules(skb, &packet);
    else
        parse(skb, &packet);
    __u32 flags = TAPFLOW_DECIDED | decide_audience(skb, state, verdict, remote);
    const struct tapflow_rss *rss = rss_configuration(verdict);
    if (!rss)
        return;
    decision->packet_class = packet.packet_class;
    if (hash_packet(skb, rss, &packet, &decision->hash))
        flags |= TAPFLOW_DECIDED_HASH;
    __u32 queue = queue_of(verdict, rss, decision->hash);
    if (flags & TAPFLOW_DECIDED_APPLICATION) {
        __u32 obstacle = queue_obstacle(state, skb->len, queue);
        flags |= TAPFLOW_DECIDED_QUEUE;
        if (obstacle)
            flags = (flags & ~(__u32)TAPFLOW_DECIDED_APPLICATION) | obstacle;
    }
    decision->queue = (__u16)queue;
    if (verdict) {
        if (verdict->actions & TAPFLOW_FLOW_MARK)
            flags |= TAPFLOW_DECIDED_MARK;
        if (verdict->actions & TAPFLOW_FLOW_FLAG)
            flags |= TAPFLOW_DECIDED_FLAG;
        if (verdict->actions & TAPFLOW_FLOW_REWRITE) {
            flags |= TAPFLOW_DECIDED_REWRITE;
            decision->rewrite = verdict->rewrite;
        }
        decision->mark = verdict->mark;
        decision->rule = verdict->rule;
    }
    decision->flags = flags;
}

#endif
