/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What both ways of delivery decide of a packet: who gets it, its hash and its queue. */
#ifndef TAPFLOW_BPF_CLASSIFY_H
#define TAPFLOW_BPF_CLASSIFY_H

#include "address_filter.h"
#include "flow.h"
#include "flower.h"
#include "lease.h"
#include "maps.h"
#include "parse.h"
#include "rss/fields.h"
#include "rss/toeplitz.h"

struct rss {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(struct tapflow_rss));
};

/* One slot: replacing the map in it is how a new RSS configuration is published. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 1);
    __type(key, __u32);
    __array(values, struct rss);
} rss_slot SEC(".maps");

/* Those of rules. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, TAPFLOW_FLOW_CONTEXTS);
    __type(key, __u32);
    __array(values, struct rss);
} flow_contexts SEC(".maps");

/* By which a packet is hashed, of which the rules say `verdict`, or nothing (null). */
static __always_inline const struct tapflow_rss *rss_configuration(const struct tapflow_flow_verdict *verdict) {
    __u32 zero = 0;
    void *rss = 0;
    if (verdict && verdict->actions & TAPFLOW_FLOW_RSS) {
        __u32 context = verdict->context;
        rss = bpf_map_lookup_elem(&flow_contexts, &context);
    } else {
        rss = bpf_map_lookup_elem(&rss_slot, &zero);
    }
    return rss ? bpf_map_lookup_elem(rss, &zero) : 0;
}

static __always_inline __u32 queue_of(const struct tapflow_flow_verdict *verdict, const struct tapflow_rss *rss,
                                      __u32 hash) {
    return verdict && verdict->actions & TAPFLOW_FLOW_QUEUE ? verdict->queue : tapflow_rss_queue(rss, hash);
}

/* Whether the application has stopped a queue; counts the packet that it does not get then. */
static __always_inline int is_stopped(struct tapflow_port_state *state, __u32 queue) {
    if (!(state->config.stopped_queues >> (queue & (TAPFLOW_QUEUES_MAX - 1)) & 1))
        return 0;
    count(&state->counters.queue_stopped);
    return 1;
}

/* The destination address as tapflow_port_config::mac has it; 0 for a frame that is too short to have one. */
static __always_inline __u64 destination(struct __sk_buff *skb) {
    __u64 address = 0;
    const __u8 *data = (void *)(long)skb->data;
    if (data + 14 <= (const __u8 *)(long)skb->data_end)
        return tapflow_load32(data) | (__u64)tapflow_load16(data + 4) << 32;
    if (bpf_skb_load_bytes(skb, 0, &address, 6))
        return 0;
    return address;
}

/* Whether the tables of rules are to be searched. */
static __always_inline int has_tables(const struct tapflow_port_state *state) {
    return !by_flower && state->config.flags & TAPFLOW_PORT_RULES;
}

/* Parses a packet and searches the tables for it. Null: they say nothing. */
static __always_inline const struct tapflow_flow_verdict *ask_rules(struct __sk_buff *skb,
                                                                    struct tapflow_packet *packet) {
    parse(skb, packet);
    return flow_verdict(skb, packet, TAPFLOW_FLOW_INGRESS);
}

/* Local mode, on a started port: whether the application gets the packet; counts it if not. */
static __always_inline int wanted_by_application(struct __sk_buff *skb, struct tapflow_port_state *state,
                                                 const struct tapflow_flow_verdict *verdict) {
    if (verdict && verdict->actions & TAPFLOW_FLOW_DROP) {
        count(&state->counters.rule_dropped);
        return 0;
    }
    if (verdict && verdict->actions & TAPFLOW_FLOW_TAKE)
        return 1;
    if (audience(&state->config, state->config.flags, destination(skb)) & TO_APPLICATION && lets_vlan_in(skb, state))
        return 1;
    count(&state->counters.filtered);
    return 0;
}

/* Remote mode, on a started port: enum audience; 0: nobody, a rule drops the packet. If the port's process is not
 * alive, the kernel gets everything. */
static __always_inline int audience_at_remote(struct __sk_buff *skb, struct tapflow_port_state *state,
                                              const struct tapflow_flow_verdict *verdict) {
    int who = TO_APPLICATION;
    if (!verdict || !(verdict->actions & (TAPFLOW_FLOW_DROP | TAPFLOW_FLOW_TAKE))) {
        who = audience(&state->config, state->config.flags, destination(skb));
        if (who & TO_APPLICATION && !lets_vlan_in(skb, state))
            who = TO_KERNEL;
    }
    if (who & TO_APPLICATION && !has_lease(state)) {
        count(&state->counters.no_lease);
        return TO_KERNEL | NO_LEASE;
    }
    if (verdict && verdict->actions & TAPFLOW_FLOW_DROP) {
        count(&state->counters.rule_dropped);
        return 0;
    }
    return who;
}

/* As parse(): global functions. */
__noinline int use_inner(struct __sk_buff *skb, struct tapflow_packet *packet) {
    struct tapflow_packet inner = {};
    struct tapflow_l3_start start = {};
    if (!packet)
        return 0;
    if (tapflow_find_inner((void *)(long)skb->data, (void *)(long)skb->data_end, packet, &start, &inner.truncated))
        parse_l3(skb, &start, &inner);
    return tapflow_become_inner(&inner, packet);
}

__noinline int use_mobile_addresses(struct __sk_buff *skb, struct tapflow_packet *packet) {
    if (packet)
        tapflow_use_mobile_addresses((void *)(long)skb->data, (void *)(long)skb->data_end, packet);
    return 0;
}

/* tapflow_rss_fields() */
static __always_inline void prepare_fields(struct __sk_buff *skb, const struct tapflow_rss *rss,
                                           struct tapflow_packet *packet) {
    if (rss->flags & TAPFLOW_RSS_INNERMOST)
        if (use_inner(skb, packet) && pull_headers(skb))
            use_inner(skb, packet);
    if (rss->input[packet->packet_class & 15] & TAPFLOW_INPUT_EXTENSION &&
        (packet->first_options || packet->routing_offset)) {
        pull_headers(skb); /* the parser was content with the first bytes of these headers */
        use_mobile_addresses(skb, packet);
    }
    if (rss->flags & TAPFLOW_RSS_SORT)
        tapflow_sort_fields(rss->flags, packet);
}

/* Hashes a parsed packet, and makes `packet` what was hashed of it. Returns 0 if it is not hashed. */
__noinline int hash_packet(struct __sk_buff *skb, const struct tapflow_rss *rss, struct tapflow_packet *packet,
                           __u32 *hash) {
    if (!rss || !packet || !hash)
        return 0;
    if (rss->flags)
        prepare_fields(skb, rss, packet);
    return tapflow_rss_hash(rss, packet, hash);
}

#endif
