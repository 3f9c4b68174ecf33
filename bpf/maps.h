/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The maps of a port. src/engine/bpf_classifier sizes and fills them, and shares them between the programs. */
#ifndef TAPFLOW_BPF_MAPS_H
#define TAPFLOW_BPF_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "tapflow/abi/port_state.h"
#include "tapflow/abi/record.h"
#include "tapflow/abi/rss.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct tapflow_port_state);
} port_state SEC(".maps");

static __always_inline struct tapflow_port_state *port(void) {
    __u32 zero = 0;
    return bpf_map_lookup_elem(&port_state, &zero);
}

/* TAPFLOW_DRY_RUN: the packet is none, nothing may be left of it. */
static __always_inline void count(__u64 *counter) {
#ifdef TAPFLOW_DRY_RUN
    (void)counter;
#else
    __sync_fetch_and_add(counter, 1);
#endif
}

#endif
