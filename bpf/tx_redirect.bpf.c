/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Remote mode Tx: what the application writes into the tap leaves through the remote. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

const volatile __u32 remote_ifindex = 0;

SEC("tc")
int tx_redirect(struct __sk_buff *skb) {
    (void)skb;
    return (int)bpf_redirect(remote_ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
