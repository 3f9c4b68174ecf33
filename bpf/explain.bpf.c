/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The classifier's dry run: decides of a frame what classify.bpf.c and classify_fd.bpf.c would, by the same functions
 * over the same maps, and tells it in the packet's cb words. Attached nowhere; run by BPF_PROG_TEST_RUN. Counts
 * nothing, keeps nothing, delivers nothing.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#define TAPFLOW_DRY_RUN

#include "classify.h"
#include "deliver.h"
#include "tapflow/abi/decision.h"

const volatile __u8 by_ring = 0;

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

static __always_inline __u32 decide_queue(const struct tapflow_port_state *state, const struct __sk_buff *skb,
                                          __u32 queue) {
    if (state->config.stopped_queues >> (queue & (TAPFLOW_QUEUES_MAX - 1)) & 1)
        return TAPFLOW_DECIDED_QUEUE_STOPPED;
    if (!by_ring)
        return 0;
    if (skb->len > TAPFLOW_FRAME_MAX)
        return TAPFLOW_DECIDED_OVERSIZE;
    return queue < TAPFLOW_QUEUES_MAX && bpf_map_lookup_elem(&rings, &queue) ? 0 : TAPFLOW_DECIDED_NO_QUEUE;
}

static __always_inline int explain(struct __sk_buff *skb, int remote) {
    struct tapflow_port_state *state = port();
    struct tapflow_packet packet = {};
    const struct tapflow_flow_verdict *verdict = 0;
    __u32 hash = 0;
    if (!state)
        return 0;
    int rules = has_tables(state);
    if (rules)
        verdict = ask_rules(skb, &packet);
    else
        parse(skb, &packet);
    __u32 flags = TAPFLOW_DECIDED | decide_audience(skb, state, verdict, remote);
    const struct tapflow_rss *rss = rss_configuration(verdict);
    if (!rss)
        return 0;
    __u32 packet_class = packet.packet_class;
    if (hash_packet(skb, rss, &packet, &hash))
        flags |= TAPFLOW_DECIDED_HASH;
    __u32 queue = queue_of(verdict, rss, hash);
    if (flags & TAPFLOW_DECIDED_APPLICATION) {
        __u32 obstacle = decide_queue(state, skb, queue);
        if (obstacle)
            flags = (flags & ~(__u32)TAPFLOW_DECIDED_APPLICATION) | obstacle;
    }
    skb->cb[TAPFLOW_DECISION_MARK] = 0;
    skb->cb[TAPFLOW_DECISION_RULE] = 0;
    if (verdict) {
        if (verdict->actions & TAPFLOW_FLOW_MARK)
            flags |= TAPFLOW_DECIDED_MARK;
        if (verdict->actions & TAPFLOW_FLOW_FLAG)
            flags |= TAPFLOW_DECIDED_FLAG;
        if (verdict->actions & TAPFLOW_FLOW_REWRITE) {
            flags |= TAPFLOW_DECIDED_REWRITE;
            queue |= (__u32)verdict->rewrite << 16;
        }
        skb->cb[TAPFLOW_DECISION_MARK] = verdict->mark;
        skb->cb[TAPFLOW_DECISION_RULE] = verdict->rule;
    }
    skb->cb[TAPFLOW_DECISION_HASH] = hash;
    skb->cb[TAPFLOW_DECISION_QUEUE] = queue;
    skb->cb[TAPFLOW_DECISION_FLAGS] = flags | packet_class << TAPFLOW_DECISION_CLASS_SHIFT;
    return 0;
}

SEC("tc")
int explain_at_tap(struct __sk_buff *skb) { return explain(skb, 0); }

SEC("tc")
int explain_at_remote(struct __sk_buff *skb) { return explain(skb, 1); }

char _license[] SEC("license") = "Dual BSD/GPL";
