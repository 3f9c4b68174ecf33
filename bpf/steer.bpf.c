/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* TUNSETSTEERINGEBPF: the tap queue is what the classifier has written into queue_mapping, not a flow table's guess. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("socket")
int steer(struct __sk_buff *skb) { return (int)skb->queue_mapping; }

char _license[] SEC("license") = "Dual BSD/GPL";
