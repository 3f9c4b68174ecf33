/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The kernel's structures as far as the programs read them; CO-RE finds the fields where the running kernel has them.
 */
#ifndef TAPFLOW_BPF_KERNEL_TYPES_H
#define TAPFLOW_BPF_KERNEL_TYPES_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sk_buff {
    __u8 ip_summed : 2;
    __u8 encapsulation : 1;
    __u16 csum_start; /* from head */
    __u16 csum_offset;
    unsigned char *head;
    unsigned char *data;
    __u32 end; /* sk_buff_data_t: an offset from head on 64-bit kernels */
};

struct skb_shared_info {
    unsigned int gso_type;
};

#pragma clang attribute pop

/* include/linux/skbuff.h: not part of BTF, and older than every kernel that has BPF rings. */
enum {
    KERNEL_CHECKSUM_UNNECESSARY = 1,
    KERNEL_CHECKSUM_PARTIAL = 3,
    KERNEL_GSO_TCPV4 = 1 << 0,
    KERNEL_GSO_DODGY = 1 << 1,
    KERNEL_GSO_TCP_ECN = 1 << 2,
    KERNEL_GSO_TCP_FIXEDID = 1 << 3,
    KERNEL_GSO_TCPV6 = 1 << 4,
    KERNEL_GSO_UDP_L4 = 1 << 17,
};

#endif
