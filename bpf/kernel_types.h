/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The kernel's structures as far as the programs read them; CO-RE finds the fields where the running kernel has them.
 */
#ifndef TAPFLOW_BPF_KERNEL_TYPES_H
#define TAPFLOW_BPF_KERNEL_TYPES_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sk_buff {
    unsigned int len;
    unsigned int data_len; /* what of it is not linear */
    int skb_iif;
    char cb[48];
    __u8 ip_summed : 2;
    __u8 vlan_present : 1; /* until 6.1 */
    __u16 vlan_proto;
    __u16 vlan_tci;
    __u16 csum_start; /* from head */
    __u16 csum_offset;
    __u16 inner_network_header; /* from head */
    unsigned char *head;
    unsigned char *data;
    __u32 end; /* sk_buff_data_t: an offset from head on 64-bit kernels */
};

struct skb_shared_info {
    unsigned short gso_size;
    unsigned int gso_type;
};

struct qdisc_skb_cb { /* sk_buff::cb, as long as the packet is with traffic control */
    __u16 tc_classid;
    unsigned char data[20]; /* __sk_buff::cb */
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
    KERNEL_GSO_GRE = 1 << 6,
    KERNEL_GSO_IPXIP4 = 1 << 8,
    KERNEL_GSO_IPXIP6 = 1 << 9,
    KERNEL_GSO_UDP_TUNNEL = 1 << 10,
    KERNEL_GSO_UDP_TUNNEL_CSUM = 1 << 11,
    KERNEL_GSO_UDP_L4 = 1 << 17,

    /* What changes nothing in how segments are cut, and tunnels that the segmenter can cut in. */
    KERNEL_GSO_INDIFFERENT = KERNEL_GSO_DODGY | KERNEL_GSO_TCP_ECN | KERNEL_GSO_TCP_FIXEDID,
    KERNEL_GSO_TUNNELS =
        KERNEL_GSO_GRE | KERNEL_GSO_IPXIP4 | KERNEL_GSO_IPXIP6 | KERNEL_GSO_UDP_TUNNEL | KERNEL_GSO_UDP_TUNNEL_CSUM,
};

#endif
