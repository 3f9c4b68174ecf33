/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Copying a packet with its record into a queue's ring. */
#ifndef TAPFLOW_BPF_DELIVER_H
#define TAPFLOW_BPF_DELIVER_H

#include "lease.h"
#include "maps.h"

/* Any size will do here: the rings that are put in have their own. */
struct ring {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 17);
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, TAPFLOW_QUEUES_MAX);
    __type(key, __u32);
    __array(values, struct ring);
} rings SEC(".maps");

enum delivery {
    DELIVERED,
    RING_FULL,
    RING_STUCK, /* full, and nobody has read from it for as long as a lease lasts */
    UNDELIVERABLE,
};

/*
 * A reservation's size must be a constant to the verifier: one class for each range of lengths. A frame above
 * the largest class is copied in pieces through a dynptr, whose slices must have constant sizes as well.
 */
#define DELIVER_CLASS(SIZE)                                                                                            \
    if (length <= (SIZE)) {                                                                                            \
        struct {                                                                                                       \
            struct tapflow_record record;                                                                              \
            __u8 frame[SIZE];                                                                                          \
        } *slot = bpf_ringbuf_reserve(ring, sizeof(*slot), 0);                                                         \
        if (!slot)                                                                                                     \
            return RING_FULL;                                                                                          \
        slot->record = *record;                                                                                        \
        if (bpf_skb_load_bytes(skb, 0, slot->frame, length)) {                                                         \
            bpf_ringbuf_discard(slot, BPF_RB_NO_WAKEUP);                                                               \
            return UNDELIVERABLE;                                                                                      \
        }                                                                                                              \
        bpf_ringbuf_submit(slot, wakeup);                                                                              \
        return DELIVERED;                                                                                              \
    }

#define DELIVER_LARGEST_CLASS 4096
#define DELIVER_CHUNK 4032
#define DELIVER_CHUNKS_MAX ((TAPFLOW_FRAME_MAX + DELIVER_CHUNK - 1) / DELIVER_CHUNK)

/* Not inlined: rare, and a frame of its own keeps the classifier's stack small. */
static __noinline int deliver_large(struct __sk_buff *skb, void *ring, struct tapflow_record *record, __u32 length,
                                    __u64 wakeup) {
    struct bpf_dynptr slot;
    __u32 offset = 0;
    if (length <= DELIVER_LARGEST_CLASS || length > TAPFLOW_FRAME_MAX)
        return UNDELIVERABLE;
    if (bpf_ringbuf_reserve_dynptr(ring, sizeof(*record) + length, 0, &slot)) {
        bpf_ringbuf_discard_dynptr(&slot, BPF_RB_NO_WAKEUP); /* the verifier wants it after a failure, too */
        return RING_FULL;
    }
    bpf_dynptr_write(&slot, 0, record, sizeof(*record), 0);
    for (int i = 0; i < DELIVER_CHUNKS_MAX; i++) {
        /* The last piece ends with the frame and overlaps the one before it. */
        if (offset + DELIVER_CHUNK > length)
            offset = length - DELIVER_CHUNK;
        __u8 *piece = bpf_dynptr_data(&slot, sizeof(*record) + offset, DELIVER_CHUNK);
        if (!piece || bpf_skb_load_bytes(skb, offset, piece, DELIVER_CHUNK)) {
            bpf_ringbuf_discard_dynptr(&slot, BPF_RB_NO_WAKEUP);
            return UNDELIVERABLE;
        }
        offset += DELIVER_CHUNK;
        if (offset >= length)
            break;
    }
    bpf_ringbuf_submit_dynptr(&slot, wakeup);
    return DELIVERED;
}

static __always_inline int copy_to_ring(struct __sk_buff *skb, void *ring, struct tapflow_record *record,
                                        __u64 wakeup) {
    __u32 length = record->length;
    if (length == 0)
        return UNDELIVERABLE;
    DELIVER_CLASS(64)
    DELIVER_CLASS(128)
    DELIVER_CLASS(256)
    DELIVER_CLASS(512)
    DELIVER_CLASS(1024)
    DELIVER_CLASS(1536)
    DELIVER_CLASS(2048)
    DELIVER_CLASS(DELIVER_LARGEST_CLASS)
    return deliver_large(skb, ring, record, length, wakeup);
}

/* The number of the sleep from which a reader is to be woken; 0: it is awake, or is being woken. */
static __always_inline __u32 sleep_of(const volatile struct tapflow_queue_doorbell *doorbell) {
    __u32 armed = doorbell->armed;
    return armed == doorbell->rung ? 0 : armed;
}

/* Wakes the reader although there is nothing to submit: a discarded record does. */
static __noinline int ring_bell(void *ring) {
    void *slot = bpf_ringbuf_reserve(ring, 8, 0);
    if (slot)
        bpf_ringbuf_discard(slot, BPF_RB_FORCE_WAKEUP);
    return 0;
}

/*
 * A ring is stuck when it is found full with its consumer where it was a lease ago. Only a remote has a kernel to
 * leave its packets to: in local mode full is full.
 */
static __noinline int full_or_stuck(void *ring, struct tapflow_port_state *state, __u32 index, int remote) {
    if (index >= TAPFLOW_QUEUES_MAX)
        return UNDELIVERABLE;
    struct tapflow_queue_counters *queue = &state->queues[index];
    __u64 position = bpf_ringbuf_query(ring, BPF_RB_CONS_POS);
    __u64 now = bpf_ktime_get_coarse_ns();
    if (position != queue->consumer_position || queue->full_since_ns == 0) {
        queue->consumer_position = position;
        queue->full_since_ns = now;
    }
    if (!remote || !lease_has_passed(now, queue->full_since_ns)) {
        count(&queue->ring_full);
        return RING_FULL;
    }
    count(&queue->ring_stuck);
    return RING_STUCK;
}

static __always_inline int deliver(struct __sk_buff *skb, struct tapflow_port_state *state, __u32 queue,
                                   struct tapflow_record *record, int remote) {
    if (record->length > TAPFLOW_FRAME_MAX) {
        count(&state->counters.oversize);
        return UNDELIVERABLE;
    }
    volatile struct tapflow_queue_doorbell *doorbell = 0;
    void *ring = 0;
    if (queue < TAPFLOW_QUEUES_MAX) {
        doorbell = &state->doorbells[queue];
        ring = bpf_map_lookup_elem(&rings, &queue);
    }
    if (!ring || !doorbell) {
        count(&state->counters.no_queue);
        return UNDELIVERABLE;
    }
    __u32 sleep = sleep_of(doorbell);
    int result = copy_to_ring(skb, ring, record, sleep ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
    if (result == RING_FULL)
        return full_or_stuck(ring, state, queue, remote);
    if (result != DELIVERED)
        return result;
    if (!sleep && (sleep = sleep_of(doorbell))) /* it may have looked before the packet was there */
        ring_bell(ring);
    if (sleep)
        doorbell->rung = sleep;
    return result;
}

#endif
