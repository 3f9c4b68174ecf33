/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Puts a VLAN tag beside every packet, and lets the next filter have it. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

const volatile __u16 tpid = 0; /* network byte order */
const volatile __u16 tci = 0;

SEC("tc")
int push_vlan(struct __sk_buff *skb) {
    bpf_skb_vlan_push(skb, tpid, tci);
    return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
