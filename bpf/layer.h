/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Packets of a tun device, which begin with the IP header. */
#ifndef TAPFLOW_BPF_LAYER_H
#define TAPFLOW_BPF_LAYER_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

const volatile __u8 is_tun = 0;

/*
 * Puts in front of a tun device's packet the Ethernet header that everything else here looks for, without addresses.
 * The driver takes it off again. Returns 0 if the packet has one.
 */
static __always_inline int add_ethernet_to_tun(struct __sk_buff *skb) {
    if (!is_tun)
        return 0;
    __u16 type = (__u16)skb->protocol;
    return bpf_skb_change_head(skb, 14, 0) || bpf_skb_store_bytes(skb, 12, &type, sizeof(type), 0);
}

#endif
