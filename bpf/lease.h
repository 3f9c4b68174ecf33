/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Whether a remote port's process is alive, and its queues are read. */
#ifndef TAPFLOW_BPF_LEASE_H
#define TAPFLOW_BPF_LEASE_H

#include "maps.h"

/*
 * Whether `since` lies as far back as a lease lasts. Signed, because it may be ahead of `now`: written by the
 * process from a finer clock, or by another CPU a moment later.
 */
static __always_inline int lease_has_passed(__u64 now, __u64 since) {
    return (__s64)(now - since) >= (__s64)TAPFLOW_LEASE_NS;
}

/* Whether the application has renewed its lease in time. The clock is read once a tick: it costs as much as a hash. */
static __always_inline int has_lease(struct tapflow_port_state *state) {
    __u64 tick = bpf_jiffies64();
    if (state->lease_check.good_tick == tick)
        return 1;
    if (lease_has_passed(bpf_ktime_get_coarse_ns(), state->config.lease_ns))
        return 0;
#ifndef TAPFLOW_DRY_RUN
    state->lease_check.good_tick = tick;
#endif
    return 1;
}

#endif
