/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The kernel functions that rx=ring needs, to be tried. An object by itself: where one of them is missing libbpf looks
 * for it in all modules, which takes CAP_SYS_ADMIN, for whichever program is to be loaded.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "kernel_types.h"

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym;

SEC("tc")
int probe_context(struct __sk_buff *skb) {
    struct sk_buff *kernel_skb = bpf_cast_to_kern_ctx(skb);
    struct skb_shared_info *shared =
        bpf_rdonly_cast(kernel_skb->head + kernel_skb->end, bpf_core_type_id_kernel(struct skb_shared_info));
    return (int)shared->gso_type;
}

char _license[] SEC("license") = "Dual BSD/GPL";
