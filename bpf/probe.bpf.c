/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What a kernel must be able to do, one program each, to be tried (src/kernel/probe.cpp). No packet ever meets them. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "kernel_types.h"

/* Weak, so that the other programs load on a kernel without them. */
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym __weak;

SEC("tc")
int probe_pass(struct __sk_buff *skb) {
    (void)skb;
    return TC_ACT_UNSPEC;
}

SEC("action")
int probe_pass_action(struct __sk_buff *skb) {
    (void)skb;
    return TC_ACT_PIPE;
}

SEC("tc")
int probe_context(struct __sk_buff *skb) {
    struct sk_buff *kernel_skb = bpf_cast_to_kern_ctx(skb);
    struct skb_shared_info *shared =
        bpf_rdonly_cast(kernel_skb->head + kernel_skb->end, bpf_core_type_id_kernel(struct skb_shared_info));
    return (int)shared->gso_type;
}

static long step(__u32 index, void *context) {
    *(__u32 *)context += index;
    return 0;
}

SEC("tc")
int probe_loop(struct __sk_buff *skb) {
    __u32 sum = 0;
    bpf_loop(skb->len, step, &sum, 0);
    return (int)sum;
}

SEC("fexit")
int probe_exit(void *context) {
    (void)context;
    return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
