/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Who gets a packet by its destination address, the table in doc/user-guide.md, and its VLAN. */
#ifndef TAPFLOW_BPF_ADDRESS_FILTER_H
#define TAPFLOW_BPF_ADDRESS_FILTER_H

#include "maps.h"
#include "packet/parse.h"

/* Unicast and multicast addresses beside the port's own; keys as tapflow_port_config::mac, values unused. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, TAPFLOW_ADDRESSES_MAX);
    __type(key, __u64);
    __type(value, __u8);
} addresses SEC(".maps");

enum audience {
    TO_KERNEL = 1 << 0,
    TO_APPLICATION = 1 << 1,
    NO_LEASE = 1 << 2, /* the process that would have a say is not alive */
};

static __always_inline int audience(const struct tapflow_port_config *config, __u32 flags, __u64 destination) {
    if (flags & TAPFLOW_PORT_ISOLATED)
        return TO_KERNEL;
    if (destination == config->mac)
        return TO_APPLICATION;
    if (destination & 1) { /* group bit of the first byte */
        if (flags & (TAPFLOW_PORT_PROMISCUOUS | TAPFLOW_PORT_ALLMULTICAST) || destination == 0xffffffffffffull ||
            (destination & 0xffff) == 0x3333 || bpf_map_lookup_elem(&addresses, &destination))
            return TO_KERNEL | TO_APPLICATION;
        return TO_KERNEL;
    }
    if (bpf_map_lookup_elem(&addresses, &destination))
        return TO_APPLICATION;
    return flags & TAPFLOW_PORT_PROMISCUOUS ? TO_KERNEL | TO_APPLICATION : TO_KERNEL;
}

/* The outermost tag's VLAN; 0: none. A tag is beside the packet, or in it if its sender has put it there. */
static __noinline __u32 vlan_of(struct __sk_buff *skb) {
    __u16 header[2]; /* EtherType and TCI */
    if (skb->vlan_present)
        return skb->vlan_tci & (TAPFLOW_VLANS - 1);
    if (bpf_skb_load_bytes(skb, 12, header, sizeof(header)) ||
        (header[0] != TAPFLOW_TPID_8021Q && header[0] != TAPFLOW_TPID_8021AD))
        return 0;
    return TAPFLOW_BE16(header[1]) & (TAPFLOW_VLANS - 1);
}

/* Whether the VLAN filter has nothing against a packet: an untagged one, or a tag with a priority alone, passes. */
static __always_inline int lets_vlan_in(struct __sk_buff *skb, const struct tapflow_port_state *state) {
    if (!(state->config.flags & TAPFLOW_PORT_VLAN_FILTER))
        return 1;
    __u64 vlan = vlan_of(skb);
    asm volatile("" : "+r"(vlan)); /* the compiler knows its bounds, Linux 6.1 has lost them */
    vlan &= TAPFLOW_VLANS - 1;
    return vlan == 0 || state->vlans[vlan / 64] >> (vlan % 64) & 1;
}

#endif
