/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * TUNSETFILTEREBPF of rx=fd: a tap queue takes what the classifier has seen. What has gone past it (AF_PACKET with
 * PACKET_QDISC_BYPASS) is dropped, and so is a packet without trailer that ends as if it had one; a super-frame, in
 * which nobody looks for it, may.
 */
#include "maps.h"
#include "tapflow/abi/trailer.h"

#define WHOLE_PACKET 0xffffffff

SEC("socket")
int admit(struct __sk_buff *skb) {
    struct tapflow_port_state *state = port();
    __u32 end[2];
    if (!state)
        return 0;
    __u64 cookie = state->config.cookie;
    __u32 seen = skb->tc_index;
    if (seen == TAPFLOW_TC_INDEX((__u32)cookie, 1))
        return WHOLE_PACKET;
    if (seen != TAPFLOW_TC_INDEX((__u32)cookie, 0)) {
        count(&state->counters.bypass);
        return 0;
    }
    if (!(state->config.flags & TAPFLOW_PORT_TRAILER) || skb->gso_size || skb->len < sizeof(struct tapflow_trailer))
        return WHOLE_PACKET;
    if (bpf_skb_load_bytes(skb, skb->len - sizeof(struct tapflow_trailer), end, sizeof(end)) == 0 &&
        end[0] == (__u32)cookie && end[1] == (__u32)(cookie >> 32)) {
        count(&state->counters.forged);
        return 0;
    }
    return WHOLE_PACKET;
}

char _license[] SEC("license") = "Dual BSD/GPL";
