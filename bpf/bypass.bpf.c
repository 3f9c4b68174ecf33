/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * TUNSETFILTEREBPF in ring mode: whatever still reaches a tap queue has gone past the classifier (AF_PACKET with
 * PACKET_QDISC_BYPASS). Nobody reads it there: dropped and counted. (What XDP_REDIRECT puts into a queue goes past
 * this filter, too, and stays there.)
 */
#include "maps.h"

SEC("socket")
int bypass(struct __sk_buff *skb) {
    struct tapflow_port_state *state = port();
    (void)skb;
    if (state)
        count(&state->counters.bypass);
    return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
