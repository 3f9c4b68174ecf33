/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Remote mode Tx: what the application writes into the tap leaves through the remote. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "maps.h"

SEC("tc")
int tx_redirect(struct __sk_buff *skb) {
    struct tapflow_port_state *state = port();
    __u32 remote = state ? *(volatile __u32 *)&state->config.remote_ifindex : 0;
    (void)skb;
    return remote ? (int)bpf_redirect(remote, 0) : TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
