/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Egress rules: what the application writes into the tap, before it goes anywhere. Attached while there are some. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "flow.h"
#include "maps.h"

SEC("tc")
int transmit_rules(struct __sk_buff *skb) {
    struct tapflow_port_state *state = port();
    struct tapflow_packet packet = {};
    if (!state)
        return TC_ACT_UNSPEC;
    parse(skb, &packet);
    const struct tapflow_flow_verdict *verdict = flow_verdict(skb, &packet, TAPFLOW_FLOW_EGRESS);
    if (!verdict)
        return TC_ACT_UNSPEC;
    flow_count(skb, verdict);
    if (!(verdict->actions & TAPFLOW_FLOW_DROP))
        return TC_ACT_UNSPEC;
    count(&state->counters.rule_dropped);
    return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
