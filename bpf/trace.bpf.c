/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * A tracer's programs, which the kernel calls when functions of a port's classifier return (BPF_TRACE_FEXIT): what they
 * have said of a packet becomes an event. The classifier is not changed, and costs nothing more while nobody traces.
 *
 * The functions of one packet run one after the other on one CPU, whose slot keeps what they say until the program
 * itself returns. remote_ingress_fd() may have a program in it: that of the tap, to which it sends a clone.
 *
 * Arguments are read as numbers: to the verifier, those of functions in a program may be anything.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "address_filter.h"
#include "flow_tables.h"
#include "flower_metadata.h"
#include "gso_type.h"
#include "kernel_types.h"
#include "queue_obstacle.h"
#include "tapflow/abi/trailer.h"
#include "trace.h"

const volatile __u8 by_flower = 0;
__u32 is_running = 0; /* all programs are in place, and every packet that is told of has met all of them */

#define TRACE_HEAD_BYTES 512
struct trace_slot {
    __u64 hashed_skb; /* the packet that has been hashed; 0: none */
    __u32 hash;
    __u32 queue;
    __u8 is_hashed;
    __u8 is_searched; /* the rules have been asked */
    __u8 ring_result; /* enum delivery, of a ring that had no room */
    __u8 is_in_remote;
    __u8 is_kept;
    struct tapflow_trace_event kept; /* of the clone */
    struct tapflow_packet packet;
    __u8 head[2 * TRACE_HEAD_BYTES]; /* room for whatever the parser can come to behind a window's end */
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct trace_slot);
} trace_slots SEC(".maps");

static __always_inline struct trace_slot *trace_slot(void) {
    __u32 zero = 0;
    return bpf_map_lookup_elem(&trace_slots, &zero);
}

static __always_inline __u64 argument(void *ctx, __u32 number) {
    __u64 value = 0;
    bpf_get_func_arg(ctx, number, &value);
    return value;
}

static __always_inline __u32 returned(void *ctx) {
    __u64 value = 0;
    bpf_get_func_ret(ctx, &value);
    return (__u32)value;
}

/* hash_packet(skb, rss, packet, hash). The queue is that of its RETA, as tapflow_rss_queue() says. */
SEC("fexit")
int trace_hash_packet(void *ctx) {
    struct trace_slot *slot = trace_slot();
    const struct tapflow_rss *rss = (void *)argument(ctx, 1);
    __u32 reta_mask = 0;
    __u16 queue = 0;
    if (!slot)
        return 0;
    bpf_probe_read_kernel(&slot->hash, sizeof(slot->hash), (void *)argument(ctx, 3));
    bpf_probe_read_kernel(&reta_mask, sizeof(reta_mask), &rss->reta_mask);
    bpf_probe_read_kernel(&queue, sizeof(queue), &rss->reta[slot->hash & reta_mask & (TAPFLOW_RETA_MAX - 1)]);
    slot->queue = queue;
    slot->is_hashed = returned(ctx) != 0;
    slot->hashed_skb = argument(ctx, 0);
    return 0;
}

SEC("fexit")
int trace_flow_search(void *ctx) {
    struct trace_slot *slot = trace_slot();
    (void)ctx;
    if (slot)
        slot->is_searched = 1;
    return 0;
}

SEC("fexit")
int trace_full_or_stuck(void *ctx) {
    struct trace_slot *slot = trace_slot();
    if (slot)
        slot->ring_result = (__u8)returned(ctx);
    return 0;
}

SEC("fentry")
int trace_remote_fd_entry(void *ctx) {
    struct trace_slot *slot = trace_slot();
    (void)ctx;
    if (slot) {
        slot->is_in_remote = 1;
        slot->is_kept = 0;
    }
    return 0;
}

/* What the rules have said of the packet whose program returns; 0: nothing. */
static __always_inline const struct tapflow_flow_verdict *trace_verdict(const struct sk_buff *skb,
                                                                        const struct trace_slot *slot) {
    const struct flow_scratch *scratch = flow_scratch();
    __u32 rule = 0;
    if (!scratch)
        return 0;
    rule = scratch->search.verdict.rule;
    if (by_flower) { /* flower_end() has left there what the filters wrote */
        const struct qdisc_skb_cb *control = (const void *)skb->cb;
        __u32 told = 0;
        bpf_probe_read_kernel(&told, sizeof(told), (const __u32 *)control->data + FLOWER_MARK);
        if ((told & TAPFLOW_FLOWER_RULE) != rule)
            return 0;
    } else if (!slot->is_searched) {
        return 0;
    }
    return rule ? &scratch->search.verdict : 0;
}

static __always_inline struct skb_shared_info *shared_info(const struct sk_buff *skb) {
    return (struct skb_shared_info *)(skb->head + skb->end);
}

static __always_inline void trace_tag(const struct sk_buff *skb, struct tapflow_trace_event *event) {
    /* Linux 6.1 has a flag; from 6.2 on a tag that is not there is zero. */
    if (bpf_core_field_exists(skb->vlan_present) && !BPF_CORE_READ_BITFIELD_PROBED(skb, vlan_present))
        return;
    event->vlan_tci = skb->vlan_tci;
    event->vlan_proto = skb->vlan_proto;
}

/* What has kept a hashed packet from its queue; 0: nothing. */
static __always_inline __u32 obstacle(const struct sk_buff *skb, const struct tapflow_port_state *state,
                                      const struct trace_slot *slot, __u32 queue) {
    if (slot->ring_result == RING_FULL)
        return TAPFLOW_DECIDED_RING_FULL;
    if (slot->ring_result == RING_STUCK)
        return TAPFLOW_DECIDED_RING_STUCK;
    if (by_ring && BPF_CORE_READ(shared_info(skb), gso_size) &&
        gso_type_of(BPF_CORE_READ(shared_info(skb), gso_type)) == TAPFLOW_GSO_NONE)
        return TAPFLOW_DECIDED_UNSUPPORTED_GSO;
    return queue_obstacle(state, skb->len, queue);
}

/* Why a started port's packet has gone to the kernel without having been hashed. */
static __always_inline __u32 why_kernel(const struct sk_buff *skb, const struct tapflow_port_state *state,
                                        const struct tapflow_flow_verdict *verdict) {
    __u64 destination = 0;
    if (!lease_has_passed(bpf_ktime_get_ns(), state->config.lease_ns))
        return TAPFLOW_DECIDED_FILTERED;
    bpf_probe_read_kernel(&destination, 6, skb->data);
    if (verdict && verdict->actions & (TAPFLOW_FLOW_DROP | TAPFLOW_FLOW_TAKE))
        return TAPFLOW_DECIDED_NO_LEASE;
    return audience(&state->config, state->config.flags, destination) & TO_APPLICATION ? TAPFLOW_DECIDED_NO_LEASE
                                                                                       : TAPFLOW_DECIDED_FILTERED;
}

/* Who gets a packet, and why others do not, by what the program has returned. */
static __always_inline __u32 outcome(const struct sk_buff *skb, const struct tapflow_port_state *state,
                                     const struct trace_slot *slot, const struct tapflow_flow_verdict *verdict,
                                     __u32 queue, int returns, int remote) {
    int is_started = state->config.flags & TAPFLOW_PORT_STARTED;
    __u32 kernel = remote && returns == TC_ACT_UNSPEC ? TAPFLOW_DECIDED_KERNEL : 0;
    if (slot->hashed_skb == (__u64)skb) {
        __u32 why = remote || returns == TC_ACT_SHOT ? obstacle(skb, state, slot, queue) : 0;
        return kernel | TAPFLOW_DECIDED_QUEUE | (why ? why : TAPFLOW_DECIDED_APPLICATION);
    }
    if (kernel)
        return kernel | (is_started ? why_kernel(skb, state, verdict) : TAPFLOW_DECIDED_NOT_STARTED);
    if (remote)
        return TAPFLOW_DECIDED_RULE_DROP;
    if (returns == TC_ACT_SHOT)
        return TAPFLOW_DECIDED_NOT_STARTED;
    return verdict && verdict->actions & TAPFLOW_FLOW_DROP ? TAPFLOW_DECIDED_RULE_DROP : TAPFLOW_DECIDED_FILTERED;
}

/* The frame as it came: behind it may be a trailer of rx=fd now. */
static __always_inline __u32 frame_length(const struct sk_buff *skb, const struct tapflow_port_state *state,
                                          int returns) {
    if (by_ring || returns != TC_ACT_OK)
        return skb->len;
    const struct qdisc_skb_cb *control = (const void *)skb->cb;
    __u16 classid = control->tc_classid;
    return classid == TAPFLOW_TC_INDEX((__u32)state->config.cookie, 1) ? skb->len - sizeof(struct tapflow_trailer)
                                                                       : skb->len;
}

static __always_inline void describe(const struct sk_buff *skb, const struct tapflow_port_state *state,
                                     const struct trace_slot *slot, int returns, int remote,
                                     struct tapflow_trace_event *event) {
    const struct tapflow_flow_verdict *verdict = trace_verdict(skb, slot);
    __u32 queue = slot->queue;
    if (verdict) {
        const struct tapflow_flow_rule *rule = tapflow_flow_rules(0, verdict->rule);
        event->rule = verdict->rule;
        event->rule_id = rule ? rule->rank & ((1ull << 48) - 1) : 0;
        event->mark = verdict->mark;
        if (verdict->actions & TAPFLOW_FLOW_QUEUE)
            queue = verdict->queue;
        if (verdict->actions & TAPFLOW_FLOW_MARK)
            event->flags |= TAPFLOW_DECIDED_MARK;
        if (verdict->actions & TAPFLOW_FLOW_FLAG)
            event->flags |= TAPFLOW_DECIDED_FLAG;
        if (verdict->actions & TAPFLOW_FLOW_REWRITE) {
            event->flags |= TAPFLOW_DECIDED_REWRITE;
            event->rewrite = verdict->rewrite;
        }
    }
    event->flags |= TAPFLOW_DECIDED | outcome(skb, state, slot, verdict, queue, returns, remote);
    if (event->flags & TAPFLOW_DECIDED_QUEUE) {
        event->queue = (__u16)queue;
        event->hash = slot->hash;
        if (slot->is_hashed)
            event->flags |= TAPFLOW_DECIDED_HASH;
    }
    event->place = remote || (skb->skb_iif && skb->skb_iif == (int)state->config.remote_ifindex) ? TAPFLOW_TRACE_REMOTE
                                                                                                 : TAPFLOW_TRACE_TAP;
    event->length = frame_length(skb, state, returns);
    event->captured = event->length < options.snaplen ? event->length : options.snaplen;
    trace_tag(skb, event);
    event->gso_size = BPF_CORE_READ(shared_info(skb), gso_size);
}

/* Whether the filter agrees with the headers of a packet. They are linear where the classifier has needed them. */
static __always_inline int wants_headers(const struct sk_buff *skb, struct trace_slot *slot,
                                         const struct tapflow_trace_event *event) {
    __u64 linear = skb->len - skb->data_len;
    __u16 tag[2]; /* EtherType and TCI */
    __u32 vlan = 0;
    if (linear > TRACE_HEAD_BYTES)
        linear = TRACE_HEAD_BYTES;
    __asm__ volatile("" : "+r"(linear)); /* the compiler knows its bounds, Linux 6.1 has lost them */
    linear &= 2 * TRACE_HEAD_BYTES - 1;
    if (linear == 0 || bpf_probe_read_kernel(slot->head, (__u32)linear, skb->data))
        return 0;
    tapflow_parse(slot->head, slot->head + linear, event->vlan_proto, &slot->packet);
    __builtin_memcpy(tag, slot->head + 12, sizeof(tag));
    if (event->vlan_proto)
        vlan = event->vlan_tci & (TAPFLOW_VLANS - 1);
    else if (tag[0] == TAPFLOW_TPID_8021Q || tag[0] == TAPFLOW_TPID_8021AD)
        vlan = TAPFLOW_BE16(tag[1]) & (TAPFLOW_VLANS - 1);
    return trace_wants_headers(&slot->packet, vlan);
}

static __always_inline void tell(struct sk_buff *skb, struct trace_slot *slot, struct tapflow_trace_event *event) {
    struct tapflow_trace_counts *counts = trace_counters();
    if (!counts || !trace_wants_decision(event))
        return;
    if (options.filter.fields & TAPFLOW_TRACE_HEADERS && !wants_headers(skb, slot, event))
        return;
    if (!trace_takes(counts))
        return;
    event->time_ns = bpf_ktime_get_ns();
    if (bpf_skb_output(skb, &trace_events, BPF_F_CURRENT_CPU | (__u64)event->captured << 32, event, sizeof(*event)))
        counts->lost++;
}

static __always_inline void clear(struct trace_slot *slot) {
    slot->hashed_skb = 0;
    slot->is_searched = 0;
    slot->ring_result = 0;
}

/* tap_egress(), tap_egress_fd() */
SEC("fexit")
int trace_tap(__u64 *ctx) {
    struct sk_buff *skb = (void *)ctx[0];
    const struct tapflow_port_state *state = port();
    struct trace_slot *slot = trace_slot();
    if (!slot || !state)
        return 0;
    if (*(volatile __u32 *)&is_running) {
        struct tapflow_trace_event event = {};
        describe(skb, state, slot, (int)returned(ctx), 0, &event);
        if (slot->is_in_remote) {
            slot->kept = event;
            slot->is_kept = 1;
        } else {
            tell(skb, slot, &event);
        }
    }
    clear(slot);
    return 0;
}

/* remote_ingress(), remote_ingress_fd() */
SEC("fexit")
int trace_remote(__u64 *ctx) {
    struct sk_buff *skb = (void *)ctx[0];
    const struct tapflow_port_state *state = port();
    struct trace_slot *slot = trace_slot();
    int returns = (int)returned(ctx);
    if (!slot || !state)
        return 0;
    slot->is_in_remote = 0;
    if (*(volatile __u32 *)&is_running && returns != TC_ACT_REDIRECT) { /* trace_tap() will tell of what goes there */
        struct tapflow_trace_event event = {};
        if (slot->is_kept) {
            event = slot->kept;
            event.flags |= TAPFLOW_DECIDED_KERNEL;
        } else {
            describe(skb, state, slot, returns, 1, &event);
        }
        tell(skb, slot, &event);
    }
    slot->is_kept = 0;
    clear(slot);
    return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
