/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The classifier of rx=fd: decides who gets a packet and on which queue, and leaves it to the tap's queues to deliver
 * it. Needs nothing that Linux 6.1 does not have.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "classify.h"
#include "layer.h"
#include "maps.h"
#include "tapflow/abi/trailer.h"

const volatile __u32 tap_ifindex = 0;

/* The number that makes the ones-complement sum of a trailer zero. */
static __always_inline __u16 balance_of(const struct tapflow_trailer *trailer) {
    const __u16 *half = (const __u16 *)trailer;
    __u32 sum = 0;
    for (int i = 0; i < (int)(sizeof(*trailer) / 2 - 1); i++)
        sum += half[i];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (__u16)~sum;
}

/* Returns 1 if the packet has its trailer now. Super-frames, encapsulated packets and such over 16 KiB get none. */
static __noinline int append_trailer(struct __sk_buff *skb, const struct tapflow_port_state *state,
                                     struct tapflow_trailer *trailer) {
    __u32 length = skb->len;
    if (skb->gso_size)
        return 0;
    trailer->cookie[0] = (__u32)state->config.cookie;
    trailer->cookie[1] = (__u32)(state->config.cookie >> 32);
    trailer->balance = balance_of(trailer);
    if (bpf_skb_change_tail(skb, length + sizeof(*trailer), 0))
        return 0;
    return bpf_skb_store_bytes(skb, length, trailer, sizeof(*trailer), 0) == 0;
}

/*
 * What the kernel sends through the tap, and in remote mode what remote_ingress_fd redirects to it. A packet that goes
 * on to its queue leaves with TC_ACT_OK: only then its class becomes its tc_index.
 */
SEC("tc")
int tap_egress_fd(struct __sk_buff *skb) {
    struct tapflow_port_state *state = port();
    struct tapflow_packet packet = {};
    struct tapflow_trailer trailer = {};
    const struct tapflow_flow_verdict *verdict = 0;
    int has_trailer = 0;
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
    const struct tapflow_rss *rss = rss_configuration(verdict);
    if (!rss)
        return TC_ACT_SHOT;
    if (!rules)
        parse(skb, &packet);
    trailer.packet_class = packet.packet_class;
    __u16 tag = packet.l3_offset && skb->vlan_present ? 4 : 0; /* the tap puts it into the frame */
    trailer.l3_offset = packet.l3_offset + tag;
    trailer.l4_offset = packet.l4_offset ? packet.l4_offset + tag : 0;
    if (hash_packet(skb, rss, &packet, &trailer.hash))
        trailer.flags = TAPFLOW_TRAILER_HASH;
    if (verdict) {
        if (verdict->actions & TAPFLOW_FLOW_MARK)
            trailer.flags |= TAPFLOW_TRAILER_MARK;
        if (verdict->actions & TAPFLOW_FLOW_FLAG)
            trailer.flags |= TAPFLOW_TRAILER_FLAG;
        trailer.mark = verdict->mark;
    }
    __u32 queue = queue_of(verdict, rss, trailer.hash);
    if (is_stopped(state, queue))
        return TC_ACT_SHOT;
    skb->queue_mapping = queue;
    if (state->config.flags & TAPFLOW_PORT_TRAILER)
        has_trailer = append_trailer(skb, state, &trailer);
    skb->tc_classid = TAPFLOW_TC_INDEX((__u32)state->config.cookie, has_trailer);
    return TC_ACT_OK;
}

/*
 * What arrives at the remote: the application's goes out of the tap, whose egress program then hashes it. A packet for
 * the kernel, too, is cloned for that.
 */
SEC("tc")
int remote_ingress_fd(struct __sk_buff *skb) {
    struct tapflow_port_state *state = port();
    struct tapflow_packet packet = {};
    const struct tapflow_flow_verdict *verdict = 0;
    if (!state)
        return TC_ACT_UNSPEC;
    if (by_flower)
        verdict = flower_end(skb, state);
    if (!(state->config.flags & TAPFLOW_PORT_STARTED))
        return TC_ACT_UNSPEC;
    if (has_tables(state))
        verdict = ask_rules(skb, &packet);
    int who = audience_at_remote(skb, state, verdict);
    /* What goes to the tap meets its rules there, and is counted there. */
    if (verdict && !(who & (TO_APPLICATION | NO_LEASE)))
        flow_count(skb, verdict);
    if (!who)
        return TC_ACT_SHOT;
    if (!(who & TO_APPLICATION))
        return TC_ACT_UNSPEC;
    if (by_flower)
        flower_pass_on(skb, state);
    if (!(who & TO_KERNEL))
        return (int)bpf_redirect(tap_ifindex, 0);
    bpf_clone_redirect(skb, tap_ifindex, 0);
    if (by_flower)
        flower_end(skb, state);
    return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
