/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What the kernel knows of a packet's checksums and segments, which __sk_buff does not show; needs Linux 6.2. */
#ifndef TAPFLOW_BPF_OFFLOADS_H
#define TAPFLOW_BPF_OFFLOADS_H

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "gso_type.h"
#include "kernel_types.h"
#include "tapflow/abi/record.h"

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym;

/* Into the packet's record. Returns 0 if it can be delivered. */
static __always_inline int describe_offloads(struct __sk_buff *skb, struct tapflow_record *record) {
    struct sk_buff *kernel_skb = bpf_cast_to_kern_ctx(skb);
    __u8 summed = BPF_CORE_READ_BITFIELD(kernel_skb, ip_summed);
    if (summed == KERNEL_CHECKSUM_PARTIAL) {
        record->flags |= TAPFLOW_RECORD_CSUM_PARTIAL;
        record->csum_start = kernel_skb->csum_start - (__u16)(kernel_skb->data - kernel_skb->head);
        record->csum_offset = kernel_skb->csum_offset;
    } else if (summed == KERNEL_CHECKSUM_UNNECESSARY) {
        record->flags |= TAPFLOW_RECORD_CSUM_VERIFIED;
    }
    if (!skb->gso_size)
        return 0;

    struct skb_shared_info *shared =
        bpf_rdonly_cast(kernel_skb->head + kernel_skb->end, bpf_core_type_id_kernel(struct skb_shared_info));
    __u32 type = shared->gso_type;
    if (type & KERNEL_GSO_TUNNELS) {
        record->inner_l3_offset = kernel_skb->inner_network_header - (__u16)(kernel_skb->data - kernel_skb->head);
        if (type & KERNEL_GSO_UDP_TUNNEL_CSUM)
            record->flags |= TAPFLOW_RECORD_TUNNEL_CSUM;
    }
    record->gso_type = gso_type_of(type);
    if (record->gso_type == TAPFLOW_GSO_NONE)
        return -1;
    record->flags |= TAPFLOW_RECORD_GSO;
    record->gso_size = skb->gso_size;
    return 0;
}

#endif
