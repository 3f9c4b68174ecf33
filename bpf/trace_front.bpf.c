/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * A tracer's program in front of a port's classifier, for kernels that refuse trace.bpf.c: it decides by itself what
 * the classifier is about to decide, by the same functions over the same maps, and lets every packet go on.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "dry_run.h"
#include "offloads.h"
#include "trace.h"

static __always_inline __u64 rule_id(__u32 index) {
    const struct tapflow_flow_rule *rule = tapflow_flow_rules(0, index);
    return rule ? rule->rank & ((1ull << 48) - 1) : 0;
}

/* Whether the ring of a packet's queue has no room for it. A record has a header of 8 bytes there. */
static __always_inline int is_ring_full(__u32 queue, __u32 length) {
    void *ring = bpf_map_lookup_elem(&rings, &queue);
    if (!ring)
        return 0;
    __u64 taken = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
    return taken + sizeof(struct tapflow_record) + length + 8 > bpf_ringbuf_query(ring, BPF_RB_RING_SIZE);
}

static __always_inline __u32 ring_obstacle(struct __sk_buff *skb, __u32 queue) {
    struct tapflow_record record = {};
    if (describe_offloads(skb, &record))
        return TAPFLOW_DECIDED_UNSUPPORTED_GSO;
    return is_ring_full(queue, skb->len) ? TAPFLOW_DECIDED_RING_FULL : 0;
}

static __always_inline void describe(struct __sk_buff *skb, int remote, struct tapflow_trace_event *event) {
    struct decision decision = {};
    decide(skb, remote, &decision);
    event->flags = decision.flags;
    event->rule = decision.rule;
    event->rule_id = rule_id(decision.rule);
    event->mark = decision.mark;
    event->rewrite = decision.rewrite;
    if (!(event->flags & TAPFLOW_DECIDED_QUEUE)) { /* then the classifier does not come to hash it */
        event->flags &= ~(__u32)TAPFLOW_DECIDED_HASH;
        return;
    }
    event->hash = decision.hash;
    event->queue = decision.queue;
    if (by_ring && event->flags & TAPFLOW_DECIDED_APPLICATION) {
        __u32 obstacle = ring_obstacle(skb, decision.queue);
        if (obstacle)
            event->flags = (event->flags & ~(__u32)TAPFLOW_DECIDED_APPLICATION) | obstacle;
    }
}

static __always_inline int trace(struct __sk_buff *skb, int remote) {
    struct tapflow_trace_event event = {};
    struct tapflow_trace_counts *counts = trace_counters();
    if (!counts)
        return TC_ACT_UNSPEC;
    if (options.filter.fields & TAPFLOW_TRACE_HEADERS) {
        struct tapflow_packet packet = {};
        parse(skb, &packet);
        if (!trace_wants_headers(&packet, vlan_of(skb)))
            return TC_ACT_UNSPEC;
    }
    /* To decide costs most: where the filter does not ask for that, only of packets that are picked. */
    if (!trace_asks_decision() && !trace_takes(counts))
        return TC_ACT_UNSPEC;
    describe(skb, remote, &event);
    if (trace_asks_decision() && (!trace_wants_decision(&event) || !trace_takes(counts)))
        return TC_ACT_UNSPEC;
    event.time_ns = bpf_ktime_get_ns();
    event.place = remote ? TAPFLOW_TRACE_REMOTE : TAPFLOW_TRACE_TAP;
    event.length = skb->len;
    event.captured = event.length < options.snaplen ? event.length : options.snaplen;
    event.gso_size = (__u16)skb->gso_size;
    if (skb->vlan_present) {
        event.vlan_tci = (__u16)skb->vlan_tci;
        event.vlan_proto = (__u16)skb->vlan_proto;
    }
    if (bpf_perf_event_output(skb, &trace_events, BPF_F_CURRENT_CPU | (__u64)event.captured << 32, &event,
                              sizeof(event)))
        counts->lost++;
    return TC_ACT_UNSPEC;
}

SEC("tc")
int trace_in_front_of_tap(struct __sk_buff *skb) {
    const struct tapflow_port_state *state = port();
    __u32 remote = state ? state->config.remote_ifindex : 0;
    /* What rx=fd has redirected has been told of at the remote. */
    if (!by_ring && remote && skb->ingress_ifindex == remote)
        return TC_ACT_UNSPEC;
    return trace(skb, 0);
}

SEC("tc")
int trace_in_front_of_remote(struct __sk_buff *skb) { return trace(skb, 1); }

char _license[] SEC("license") = "Dual BSD/GPL";
