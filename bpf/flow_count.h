/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* COUNT: packets and bytes as they are on the wire. */
#ifndef TAPFLOW_BPF_FLOW_COUNT_H
#define TAPFLOW_BPF_FLOW_COUNT_H

#include "flow_tables.h"

struct flow_counting {
    const struct tapflow_flow_verdict *verdict;
    __u64 packets;
    __u64 bytes;
};

static __always_inline void flow_count_one(const struct flow_counting *counting, __u32 index) {
    __u32 chunk = index / TAPFLOW_FLOW_RULE_CHUNK;
    __u32 entry = index % TAPFLOW_FLOW_RULE_CHUNK;
    void *counters = bpf_map_lookup_elem(&flow_counters, &chunk);
    struct tapflow_flow_counter *counter = counters ? bpf_map_lookup_elem(counters, &entry) : 0;
    if (!counter)
        return;
    __sync_fetch_and_add(&counter->packets, counting->packets);
    __sync_fetch_and_add(&counter->bytes, counting->bytes);
}

static long flow_count_step(__u32 i, void *context) {
    const struct flow_counting *counting = context;
    if (i >= TAPFLOW_FLOW_STEPS)
        return 1;
    flow_count_one(counting, counting->verdict->counters[i]);
    return 0;
}

/* How long a super-frame's headers are, which each of its segments has; 0: unknown. A tunnel's inner ones are not
 * among them. */
static __always_inline __u32 flow_header_length(struct __sk_buff *skb) {
    const struct flow_scratch *scratch = flow_scratch();
    __u8 data_offset = 0;
    if (!scratch || !scratch->packet.l4_offset)
        return 0;
    __u32 l4_offset = scratch->packet.l4_offset;
    if (scratch->packet.protocol == TAPFLOW_IPPROTO_UDP)
        return l4_offset + 8;
    if (scratch->packet.protocol != TAPFLOW_IPPROTO_TCP ||
        bpf_skb_load_bytes(skb, l4_offset + 12, &data_offset, sizeof(data_offset)))
        return 0;
    return l4_offset + (data_offset >> 4) * 4;
}

/*
 * What a super-frame is on the wire. The kernel knows the segments of its own, but leaves those of a frame that comes
 * with a virtio header (a virtual machine's, a packet socket's, our own Tx) at 0, and it reckons the headers of all
 * segments into wire_len on the way out only.
 */
static __always_inline void flow_wire_size(struct __sk_buff *skb, __u64 *packets, __u64 *bytes) {
    __u32 length = skb->len;
    __u32 wire_length = skb->wire_len;
    __u32 segment_size = skb->gso_size;
    __u32 segments = skb->gso_segs;
    __u32 headers = flow_header_length(skb);
    if (segments == 0 && segment_size != 0 && headers < length)
        segments = (length - headers + segment_size - 1) / segment_size;
    if (segments == 0)
        segments = 1;
    *packets = segments;
    *bytes = wire_length > length ? wire_length : length + (__u64)(segments - 1) * headers;
}

/* Counts the packet, as it is on the wire, for each rule that acted and counts. */
static __always_inline void flow_count(struct __sk_buff *skb, const struct tapflow_flow_verdict *verdict) {
    if (!verdict->counter_count)
        return;
    struct flow_counting counting = {verdict, 1, skb->len};
    if (skb->gso_size)
        flow_wire_size(skb, &counting.packets, &counting.bytes);
    if (skb->vlan_present)
        counting.bytes += 4 * counting.packets; /* the tag that the kernel keeps beside the frame */
    if (verdict->counter_count == 1)
        flow_count_one(&counting, verdict->counters[0]);
    else
        bpf_loop(verdict->counter_count, flow_count_step, &counting, 0);
}

#endif
