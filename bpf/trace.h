/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What a tracer wants to hear of, and how it is told. Its maps are its own: the port knows nothing of it. */
#ifndef TAPFLOW_BPF_TRACE_H
#define TAPFLOW_BPF_TRACE_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "packet/parse.h"
#include "tapflow/abi/trace.h"

const volatile struct tapflow_trace_options options = {};

struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(__u32));
} trace_events SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct tapflow_trace_counts);
} trace_counts SEC(".maps");

/* The second at hand, and how many events it has had. */
struct trace_second {
    __u64 number;
    __u64 events;
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct trace_second);
} trace_seconds SEC(".maps");

static __always_inline int trace_is_address(const volatile struct tapflow_trace_address *wanted, const __u32 *words,
                                            int count) {
    for (int i = 0; i < count; i++)
        if ((words[i] & wanted->mask[i]) != wanted->words[i])
            return 0;
    return 1;
}

static __always_inline int trace_wants_addresses(const struct tapflow_packet *packet, int count) {
    const volatile struct tapflow_trace_filter *filter = &options.filter;
    const __u32 *source = packet->words;
    const __u32 *destination = packet->words + count;
    if (filter->fields & TAPFLOW_TRACE_SOURCE && !trace_is_address(&filter->source, source, count))
        return 0;
    if (filter->fields & TAPFLOW_TRACE_DESTINATION && !trace_is_address(&filter->destination, destination, count))
        return 0;
    return !(filter->fields & TAPFLOW_TRACE_HOST) || trace_is_address(&filter->host, source, count) ||
           trace_is_address(&filter->host, destination, count);
}

static __always_inline int trace_wants_ports(const struct tapflow_packet *packet) {
    const volatile struct tapflow_trace_filter *filter = &options.filter;
    struct {
        __u16 source;
        __u16 destination;
    } ports;
    __u8 in_family = packet->packet_class >= TAPFLOW_CLASS_IPV6_OTHER
                         ? packet->packet_class - (TAPFLOW_CLASS_IPV6_OTHER - TAPFLOW_CLASS_IPV4_OTHER)
                         : packet->packet_class;
    if (in_family != TAPFLOW_CLASS_IPV4_TCP && in_family != TAPFLOW_CLASS_IPV4_UDP &&
        in_family != TAPFLOW_CLASS_IPV4_SCTP)
        return 0;
    __builtin_memcpy(&ports, &packet->ports, sizeof(ports));
    if (filter->fields & TAPFLOW_TRACE_SOURCE_PORT && ports.source != filter->source_port)
        return 0;
    if (filter->fields & TAPFLOW_TRACE_DESTINATION_PORT && ports.destination != filter->destination_port)
        return 0;
    return !(filter->fields & TAPFLOW_TRACE_PORT) || ports.source == filter->port || ports.destination == filter->port;
}

/* Whether the filter agrees with a packet's headers. A constant filter leaves no code for what it does not ask. */
static __always_inline int trace_wants_headers(const struct tapflow_packet *packet, __u32 vlan) {
    const volatile struct tapflow_trace_filter *filter = &options.filter;
    __u32 fields = filter->fields;
    int is_ip = packet->packet_class != TAPFLOW_CLASS_NOT_IP;
    int family = packet->packet_class >= TAPFLOW_CLASS_IPV6_OTHER ? 6 : 4;
    if (fields & TAPFLOW_TRACE_VLAN && vlan != filter->vlan)
        return 0;
    if (fields & TAPFLOW_TRACE_FAMILY && (!is_ip || family != filter->family))
        return 0;
    if (fields & TAPFLOW_TRACE_PROTOCOL && (!is_ip || packet->protocol != filter->protocol))
        return 0;
    if (fields & TAPFLOW_TRACE_ADDRESSES && (!is_ip || !trace_wants_addresses(packet, family == 6 ? 4 : 1)))
        return 0;
    return !(fields & TAPFLOW_TRACE_PORTS) || trace_wants_ports(packet);
}

/* Whether the filter has to do with what is decided. */
static __always_inline int trace_asks_decision(void) {
    return options.filter.flags_mask || options.filter.fields & ~(__u32)TAPFLOW_TRACE_HEADERS;
}

/* Whether the filter agrees with what has been decided. */
static __always_inline int trace_wants_decision(const struct tapflow_trace_event *event) {
    const volatile struct tapflow_trace_filter *filter = &options.filter;
    __u32 fields = filter->fields;
    if ((event->flags & filter->flags_mask) != filter->flags)
        return 0;
    if (fields & TAPFLOW_TRACE_QUEUE && (!(event->flags & TAPFLOW_DECIDED_QUEUE) || event->queue != filter->queue))
        return 0;
    if (fields & TAPFLOW_TRACE_RULE && event->rule_id != filter->rule)
        return 0;
    return !(fields & TAPFLOW_TRACE_MARK) || (event->flags & TAPFLOW_DECIDED_MARK && event->mark == filter->mark);
}

/* Whether there may be another event in this second. Two CPUs at its beginning may have a few more. */
static __always_inline int trace_has_room(void) {
    __u32 zero = 0;
    struct trace_second *second = bpf_map_lookup_elem(&trace_seconds, &zero);
    __u64 number = bpf_ktime_get_ns() / 1000000000;
    if (!second)
        return 0;
    if (second->number != number) {
        second->number = number;
        second->events = 0;
    }
    return __sync_fetch_and_add(&second->events, 1) < options.rate;
}

/* Whether a packet that the filter agrees with is to be told of. Reads the clock, which is not cheap, only if it must.
 */
static __always_inline int trace_takes(struct tapflow_trace_counts *counts) {
    counts->matched++;
    if (options.one_in > 1 && bpf_get_prandom_u32() % options.one_in)
        return 0;
    if (options.rate && !trace_has_room())
        return 0;
    counts->sampled++;
    return 1;
}

static __always_inline struct tapflow_trace_counts *trace_counters(void) {
    __u32 zero = 0;
    return bpf_map_lookup_elem(&trace_counts, &zero);
}

#endif
