/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The classifier of rx=ring: decides who gets a packet and on which queue, and delivers it into that queue's ring. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "classify.h"
#include "deliver.h"
#include "layer.h"
#include "offloads.h"

/* Hashes and delivers a parsed packet. Returns enum delivery. */
static __always_inline int receive(struct __sk_buff *skb, struct tapflow_port_state *state,
                                   struct tapflow_packet *packet, const struct tapflow_flow_verdict *verdict,
                                   int remote) {
    struct tapflow_record record = {};
    const struct tapflow_rss *rss = rss_configuration(verdict);
    if (!rss)
        return UNDELIVERABLE;
    record.length = skb->len;
    record.l3_offset = packet->l3_offset;
    record.l4_offset = packet->l4_offset;
    record.packet_class = packet->packet_class;
    if (hash_packet(skb, rss, packet, &record.hash))
        record.flags |= TAPFLOW_RECORD_HASH;
    if (skb->vlan_present) {
        record.flags |= TAPFLOW_RECORD_VLAN;
        record.vlan_tci = skb->vlan_tci;
        record.vlan_proto = skb->vlan_proto;
    }
    if (verdict) {
        __u32 actions = verdict->actions;
        if (actions & TAPFLOW_FLOW_MARK)
            record.flags |= TAPFLOW_RECORD_MARK;
        if (actions & TAPFLOW_FLOW_FLAG)
            record.flags |= TAPFLOW_RECORD_FLAG;
        if (actions & TAPFLOW_FLOW_REWRITE)
            record.flags |= TAPFLOW_RECORD_REWRITE;
        record.mark = verdict->mark;
        record.rule = verdict->rule;
        record.rewrite = verdict->rewrite;
    }
    if (describe_offloads(skb, &record)) {
        count(&state->counters.unsupported_gso);
        return UNDELIVERABLE;
    }
    __u32 queue = queue_of(verdict, rss, record.hash);
    if (is_stopped(state, queue))
        return UNDELIVERABLE;
    return deliver(skb, state, queue, &record, remote);
}

/*
 * Local mode: what the kernel sends through the tap. cls_bpf in direct-action mode, because only there a packet can
 * be taken without an error for its sender (TC_ACT_STOLEN); a full ring is a drop that its sender sees.
 */
SEC("tc")
int tap_egress(struct __sk_buff *skb) {
    struct tapflow_port_state *state = port();
    struct tapflow_packet packet = {};
    const struct tapflow_flow_verdict *verdict = 0;
    if (!state)
        return TC_ACT_SHOT;
    if (by_flower)
        verdict = flower_end(skb, state);
    if (!(state->config.flags & TAPFLOW_PORT_STARTED) || add_ethernet_to_tun(skb))
        return TC_ACT_SHOT;
    int rules = has_tables(state);
    if (rules)
        verdict = ask_rules(skb, &packet);
    if (verdict)
        flow_count(skb, verdict);
    if (!wanted_by_application(skb, state, verdict))
        return TC_ACT_STOLEN;
    if (!rules)
        parse(skb, &packet);
    return receive(skb, state, &packet, verdict, 0) == DELIVERED ? TC_ACT_STOLEN : TC_ACT_SHOT;
}

/*
 * Remote mode: what arrives at the remote. A packet for the application alone is dropped behind the copy
 * (TC_ACT_SHOT is TCX_DROP and means the same to cls_bpf); all others go on (TC_ACT_UNSPEC is TCX_NEXT).
 */
SEC("tc")
int remote_ingress(struct __sk_buff *skb) {
    struct tapflow_port_state *state = port();
    struct tapflow_packet packet = {};
    const struct tapflow_flow_verdict *verdict = 0;
    if (!state)
        return TC_ACT_UNSPEC;
    if (by_flower)
        verdict = flower_end(skb, state);
    if (!(state->config.flags & TAPFLOW_PORT_STARTED))
        return TC_ACT_UNSPEC;
    int rules = has_tables(state);
    if (rules)
        verdict = ask_rules(skb, &packet);
    int who = audience_at_remote(skb, state, verdict);
    if (verdict && !(who & NO_LEASE))
        flow_count(skb, verdict);
    if (!who)
        return TC_ACT_SHOT;
    if (!(who & TO_APPLICATION))
        return TC_ACT_UNSPEC;
    if (!rules)
        parse(skb, &packet);
    int result = receive(skb, state, &packet, verdict, 1);
    return result == RING_STUCK || who & TO_KERNEL ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
