/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What keeps a packet from the queue that has been chosen for it, for who tells of decisions. */
#ifndef TAPFLOW_BPF_QUEUE_OBSTACLE_H
#define TAPFLOW_BPF_QUEUE_OBSTACLE_H

#include "deliver.h"
#include "tapflow/abi/decision.h"

const volatile __u8 by_ring = 0;

/* enum tapflow_decision_flag; 0: nothing. That the ring has no room is not known here. */
static __always_inline __u32 queue_obstacle(const struct tapflow_port_state *state, __u32 length, __u32 queue) {
    if (state->config.stopped_queues >> (queue & (TAPFLOW_QUEUES_MAX - 1)) & 1)
        return TAPFLOW_DECIDED_QUEUE_STOPPED;
    if (!by_ring)
        return 0;
    if (length > TAPFLOW_FRAME_MAX)
        return TAPFLOW_DECIDED_OVERSIZE;
    return queue < TAPFLOW_QUEUES_MAX && bpf_map_lookup_elem(&rings, &queue) ? 0 : TAPFLOW_DECIDED_NO_QUEUE;
}

#endif
