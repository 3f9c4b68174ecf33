/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * From a packet to the key that rules are compared with. Compiled for BPF and for the host. Which bytes must be there
 * for a header to count is the same for all who read them: the whole fixed part, and ICMP's, ESP's and AH's first
 * words.
 */
#ifndef TAPFLOW_FLOW_KEY_H
#define TAPFLOW_FLOW_KEY_H

#include "packet/parse.h"
#include "tapflow/abi/flow.h"

#define TAPFLOW_ETHERTYPE_ARP TAPFLOW_BE16(0x0806)

enum {
    TAPFLOW_IPPROTO_ICMP = 1,
    TAPFLOW_IPPROTO_ICMPV6 = 58,
    TAPFLOW_IPPROTO_MH = 135,
    TAPFLOW_IPPROTO_HIP = 139,
    TAPFLOW_IPPROTO_SHIM6 = 140,
};

/* A tag beside the frame, as on the wire; tpid 0: none. */
struct tapflow_flow_tag {
    __u16 tpid;
    __u16 tci;
};

/* What an Ethernet header says of what is behind it. */
struct tapflow_flow_ether {
    __u32 l3_offset;
    __u16 type;   /* EtherType of what is there; 0: nothing to look at */
    __u16 layers; /* enum tapflow_flow_layer */
    __u8 truncated;
};

/* `bytes` is even; `to` is at a multiple of four in the key. */
static __always_inline void tapflow_flow_copy(__u8 *to, const __u8 *from, int bytes) {
    int i = 0;
    for (; i + 4 <= bytes; i += 4) {
        __u32 word = tapflow_load32(from + i);
        __builtin_memcpy(__builtin_assume_aligned(to + i, 4), &word, 4);
    }
    if (i < bytes) {
        __u16 half = tapflow_load16(from + i);
        __builtin_memcpy(__builtin_assume_aligned(to + i, 2), &half, 2);
    }
}

static __always_inline int tapflow_is_tpid(__u16 type) {
    return type == TAPFLOW_TPID_8021Q || type == TAPFLOW_TPID_8021AD;
}

/* The Ethernet header at `offset` and up to two tags, of which the first may be beside the frame. */
static __always_inline void tapflow_flow_ethernet(const __u8 *data, const __u8 *end, __u32 offset,
                                                  const struct tapflow_flow_tag *beside,
                                                  struct tapflow_flow_headers *headers,
                                                  struct tapflow_flow_ether *ether) {
    const __u8 *at = data + offset;
    if (at + 14 > end) {
        ether->truncated = 1;
        return;
    }
    ether->layers = TAPFLOW_LAYER_ETH;
    tapflow_flow_copy(headers->eth_dst, at, 6);
    tapflow_flow_copy(headers->eth_src, at + 6, 6);
    __u16 type = tapflow_load16(at + 12);
    offset += 14;
    headers->eth_type = type;
    if (beside->tpid) {
        headers->eth_type = beside->tpid;
        headers->vlan_tci = beside->tci;
        headers->vlan_type = type;
        ether->layers |= TAPFLOW_LAYER_VLAN;
    } else if (tapflow_is_tpid(type)) {
        const __u8 *tag = data + offset;
        if (tag + 4 > end) {
            ether->truncated = 1;
            return;
        }
        headers->vlan_tci = tapflow_load16(tag);
        type = tapflow_load16(tag + 2);
        headers->vlan_type = type;
        ether->layers |= TAPFLOW_LAYER_VLAN;
        offset += 4;
    }
    if (ether->layers & TAPFLOW_LAYER_VLAN && tapflow_is_tpid(type)) {
        const __u8 *tag = data + offset;
        if (tag + 4 > end) {
            ether->truncated = 1;
            return;
        }
        headers->vlan2_tci = tapflow_load16(tag);
        type = tapflow_load16(tag + 2);
        headers->vlan2_type = type;
        ether->layers |= TAPFLOW_LAYER_VLAN2;
        offset += 4;
    }
    ether->l3_offset = offset;
    ether->type = type;
}

/* Returns TAPFLOW_LAYER_ARP, or 0. */
static __always_inline __u32 tapflow_flow_arp(const __u8 *data, const __u8 *end, __u32 offset,
                                              struct tapflow_flow_headers *headers, __u8 *truncated) {
    const __u8 *arp = data + offset;
    if (arp + 28 > end) {
        *truncated = 1;
        return 0;
    }
    if (tapflow_load16(arp) != TAPFLOW_BE16(1) || tapflow_load16(arp + 2) != TAPFLOW_ETHERTYPE_IPV4 || arp[4] != 6 ||
        arp[5] != 4)
        return 0;
    tapflow_flow_copy(headers->l4, arp + 6, 2);
    tapflow_flow_copy(headers->ip_src + 4, arp + 8, 6);
    tapflow_flow_copy(headers->ip_src, arp + 14, 4);
    tapflow_flow_copy(headers->ip_dst + 4, arp + 18, 6);
    tapflow_flow_copy(headers->ip_dst, arp + 24, 4);
    return TAPFLOW_LAYER_ARP;
}

/* GRE, VXLAN and GENEVE. Returns their layers. */
static __always_inline __u32 tapflow_flow_tunnel(const __u8 *l4, const __u8 *end, __u8 protocol,
                                                 struct tapflow_flow_key *key, __u8 *truncated) {
    if (protocol == TAPFLOW_IPPROTO_GRE) {
        if (l4 + 4 > end) {
            *truncated = 1;
            return 0;
        }
        __u8 flags = l4[0];
        tapflow_flow_copy(key->outer.l4, l4, 4);
        if (!(flags & 0x20))
            return TAPFLOW_LAYER_GRE;
        const __u8 *value = l4 + (flags & 0x80 ? 8 : 4);
        if (value + 4 > end) {
            *truncated = 1;
            return TAPFLOW_LAYER_GRE;
        }
        tapflow_flow_copy(key->tunnel, value, 4);
        return TAPFLOW_LAYER_GRE | TAPFLOW_LAYER_GRE_KEY;
    }
    __u32 layer = 0;
    __u16 port = tapflow_load16(key->outer.l4 + 2);
    if (port != TAPFLOW_PORT_VXLAN && port != TAPFLOW_PORT_GENEVE)
        return 0;
    if (l4 + 16 > end) {
        *truncated = 1;
        return 0;
    }
    if (port == TAPFLOW_PORT_VXLAN && l4[8] & 0x08)
        layer = TAPFLOW_LAYER_VXLAN;
    else if (port == TAPFLOW_PORT_GENEVE && (l4[8] & 0xc0) == 0)
        layer = TAPFLOW_LAYER_GENEVE;
    if (layer) {
        tapflow_flow_copy(key->outer.l4_more, l4 + 8, 4);
        tapflow_flow_copy(key->tunnel, l4 + 12, 4);
    }
    return layer;
}

/* The header at `offset`. Returns its layer, or 0. */
static __always_inline __u32 tapflow_flow_l4(const __u8 *data, const __u8 *end, __u32 offset, __u8 protocol, int ipv6,
                                             struct tapflow_flow_headers *headers, __u8 *truncated) {
    __u32 layer;
    __u32 size = 8;
    if (offset > TAPFLOW_PARSE_WINDOW)
        return 0;
    const __u8 *l4 = data + offset;
    if (protocol == TAPFLOW_IPPROTO_TCP) {
        if (l4 + 20 > end) {
            *truncated = 1;
            return 0;
        }
        tapflow_flow_copy(headers->l4, l4, 4);
        tapflow_flow_copy(headers->l4_more, l4 + 12, 2);
        return TAPFLOW_LAYER_TCP;
    }
    if (protocol == TAPFLOW_IPPROTO_UDP)
        layer = TAPFLOW_LAYER_UDP;
    else if (protocol == TAPFLOW_IPPROTO_ICMP && !ipv6)
        layer = TAPFLOW_LAYER_ICMP;
    else if (protocol == TAPFLOW_IPPROTO_ICMPV6 && ipv6)
        layer = TAPFLOW_LAYER_ICMP6;
    else if (protocol == TAPFLOW_IPPROTO_SCTP)
        layer = TAPFLOW_LAYER_SCTP;
    else if (protocol == TAPFLOW_IPPROTO_ESP)
        layer = TAPFLOW_LAYER_ESP;
    else if (protocol == TAPFLOW_IPPROTO_AH)
        layer = TAPFLOW_LAYER_AH;
    else
        return 0;
    if (layer & (TAPFLOW_LAYER_SCTP | TAPFLOW_LAYER_AH))
        size = 12;
    if (l4 + 8 > end || (size == 12 && l4 + 12 > end)) {
        *truncated = 1;
        return 0;
    }
    if (layer & (TAPFLOW_LAYER_ICMP | TAPFLOW_LAYER_ICMP6))
        tapflow_flow_copy(headers->l4, l4, 2);
    else if (layer == TAPFLOW_LAYER_AH)
        tapflow_flow_copy(headers->l4, l4 + 4, 4);
    else
        tapflow_flow_copy(headers->l4, l4, 4);
    if (layer & (TAPFLOW_LAYER_ICMP | TAPFLOW_LAYER_ICMP6 | TAPFLOW_LAYER_SCTP))
        tapflow_flow_copy(headers->l4_more, l4 + 4, 4);
    return layer;
}

static __always_inline __u32 tapflow_flow_ipv4(const __u8 *data, const __u8 *end, const struct tapflow_packet *packet,
                                               struct tapflow_flow_headers *headers) {
    __u32 offset = packet->l3_offset;
    if (offset > TAPFLOW_PARSE_BYTES)
        return 0;
    const __u8 *ip = data + offset;
    if (ip + 20 > end)
        return 0;
    headers->ip_first[0] = ip[0];
    headers->ip_first[1] = ip[1];
    headers->ip_fragment = tapflow_load16(ip + 6);
    headers->ip_ttl = ip[8];
    headers->ip_proto = ip[9];
    tapflow_flow_copy(headers->ip_src, ip + 12, 4);
    tapflow_flow_copy(headers->ip_dst, ip + 16, 4);
    return TAPFLOW_LAYER_IPV4;
}

static __always_inline __u32 tapflow_flow_ipv6(const __u8 *data, const __u8 *end, const struct tapflow_packet *packet,
                                               struct tapflow_flow_headers *headers, __u8 *truncated) {
    __u32 l3_offset = packet->l3_offset;
    if (l3_offset > TAPFLOW_PARSE_BYTES)
        return 0;
    const __u8 *ip = data + l3_offset;
    __u16 extension = 0;
    __u32 layers = TAPFLOW_LAYER_IPV6;
    __u8 protocol = packet->protocol;
    if (ip + 40 > end)
        return 0;
    tapflow_flow_copy(headers->ip_first, ip, 4);
    headers->ip_ttl = ip[7];
    tapflow_flow_copy(headers->ip_src, ip + 8, 16);
    tapflow_flow_copy(headers->ip_dst, ip + 24, 16);
    if (packet->extensions & TAPFLOW_PARSED_HOPOPTS)
        extension |= TAPFLOW_EXTENSION_HOP;
    if (packet->extensions & TAPFLOW_PARSED_ROUTING)
        extension |= TAPFLOW_EXTENSION_ROUTE;
    if (packet->extensions & TAPFLOW_PARSED_DSTOPTS)
        extension |= TAPFLOW_EXTENSION_DEST;
    if (packet->packet_class == TAPFLOW_CLASS_IPV6_FRAGMENT) {
        __u32 offset = packet->fragment;
        extension |= TAPFLOW_EXTENSION_FRAGMENT;
        if (offset <= TAPFLOW_PARSE_WINDOW) {
            const __u8 *fragment = data + offset;
            if (fragment + 8 > end) {
                *truncated = 1;
            } else {
                protocol = fragment[0];
                headers->ip_fragment = tapflow_load16(fragment + 2);
                tapflow_flow_copy(headers->l4, fragment + 4, 4);
                layers |= TAPFLOW_LAYER_FRAGMENT;
            }
        }
    } else if (protocol == TAPFLOW_IPPROTO_AH) {
        extension |= TAPFLOW_EXTENSION_AUTH;
    } else if (protocol == TAPFLOW_IPPROTO_ESP) {
        extension |= TAPFLOW_EXTENSION_ESP;
    } else if (protocol == TAPFLOW_IPPROTO_MH) {
        extension |= TAPFLOW_EXTENSION_MOBIL;
    } else if (protocol == TAPFLOW_IPPROTO_HIP) {
        extension |= TAPFLOW_EXTENSION_HIP;
    } else if (protocol == TAPFLOW_IPPROTO_SHIM6) {
        extension |= TAPFLOW_EXTENSION_SHIM6;
    }
    headers->ip_proto = protocol;
    headers->ip_extension = extension;
    return layers;
}

/*
 * The IP headers that `packet` was parsed from, and what is behind them. Returns the layers; `truncated` becomes 1 if
 * more of the frame is needed to say them.
 */
static __always_inline __u32 tapflow_flow_network(const __u8 *data, const __u8 *end,
                                                  const struct tapflow_packet *packet,
                                                  struct tapflow_flow_headers *headers, __u8 *truncated) {
    int ipv6 = packet->packet_class >= TAPFLOW_CLASS_IPV6_OTHER;
    __u32 layers =
        ipv6 ? tapflow_flow_ipv6(data, end, packet, headers, truncated) : tapflow_flow_ipv4(data, end, packet, headers);
    if (packet->l4_offset)
        layers |= tapflow_flow_l4(data, end, packet->l4_offset, packet->protocol, ipv6, headers, truncated);
    return layers;
}

/*
 * The outer headers of a frame, of which `packet` is what tapflow_parse() says. Where that says NOT_IP because it is as
 * strict with tags as NICs are that hash, `packet` becomes the IP packet behind them all the same.
 * Returns 1 if more of the frame is needed.
 */
static __always_inline int tapflow_flow_outer(const __u8 *data, const __u8 *end, const struct tapflow_flow_tag *beside,
                                              struct tapflow_packet *packet, struct tapflow_flow_key *key) {
    struct tapflow_flow_ether ether = {};
    __builtin_memset(key, 0, sizeof(*key));
    tapflow_flow_ethernet(data, end, 0, beside, &key->outer, &ether);
    key->layers = ether.layers;
    __u8 truncated = ether.truncated | packet->truncated;
    if (ether.type == TAPFLOW_ETHERTYPE_ARP) {
        key->layers |= tapflow_flow_arp(data, end, ether.l3_offset, &key->outer, &truncated);
    } else if (ether.layers & TAPFLOW_LAYER_VLAN2 && packet->packet_class == TAPFLOW_CLASS_NOT_IP) {
        struct tapflow_l3_start start = {0, ether.l3_offset, ether.type, {}};
        tapflow_parse_l3(data, end, &start, packet);
        truncated |= packet->truncated;
    }
    if (packet->packet_class != TAPFLOW_CLASS_NOT_IP) {
        key->layers |= tapflow_flow_network(data, end, packet, &key->outer, &truncated);
        __u32 offset = packet->l4_offset;
        if (offset && offset <= TAPFLOW_PARSE_WINDOW &&
            (packet->protocol == TAPFLOW_IPPROTO_GRE || key->layers & TAPFLOW_LAYER_UDP))
            key->layers |= tapflow_flow_tunnel(data + offset, end, packet->protocol, key, &truncated);
    }
    return truncated;
}

/*
 * The headers in a tunnel before IP, behind outer headers that tapflow_flow_outer() has seen. Returns 0 if there is
 * nothing to parse behind them; `truncated` becomes 1 if more of the frame is needed to say so.
 */
static __always_inline int tapflow_flow_inner_ethernet(const __u8 *data, const __u8 *end,
                                                       const struct tapflow_packet *outer, struct tapflow_flow_key *key,
                                                       struct tapflow_l3_start *start, __u8 *truncated) {
    static const struct tapflow_flow_tag none = {0, 0};
    struct tapflow_flow_ether ether = {};
    __u16 type = 0;
    if (outer->packet_class == TAPFLOW_CLASS_NOT_IP)
        return 0;
    __u32 offset = tapflow_tunnel_payload(data, end, outer, &type, truncated);
    if (offset == 0)
        return 0;
    start->ether = offset;
    if (type == TAPFLOW_ETHERTYPE_ETHERNET) {
        tapflow_flow_ethernet(data, end, offset, &none, &key->inner, &ether);
        *truncated |= ether.truncated;
        type = ether.type;
        offset = ether.l3_offset;
    }
    __u32 layers = ether.layers;
    if (type == TAPFLOW_ETHERTYPE_ARP && ether.layers)
        layers |= tapflow_flow_arp(data, end, offset, &key->inner, truncated);
    key->layers |= layers << TAPFLOW_LAYER_INNER_SHIFT;
    start->offset = offset;
    start->type = type;
    return type == TAPFLOW_ETHERTYPE_IPV4 || type == TAPFLOW_ETHERTYPE_IPV6;
}

/* The IP packet in a tunnel and what is behind, of which `inner` is what tapflow_parse_l3() says. */
static __always_inline void tapflow_flow_inner_network(const __u8 *data, const __u8 *end,
                                                       const struct tapflow_packet *inner, struct tapflow_flow_key *key,
                                                       __u8 *truncated) {
    *truncated |= inner->truncated;
    if (inner->packet_class != TAPFLOW_CLASS_NOT_IP)
        key->layers |= tapflow_flow_network(data, end, inner, &key->inner, truncated) << TAPFLOW_LAYER_INNER_SHIFT;
}

/* What is in a tunnel. Returns as tapflow_flow_outer() does. The host's composition; bpf/flow.h has the programs'. */
static __always_inline int tapflow_flow_inner(const __u8 *data, const __u8 *end, const struct tapflow_packet *outer,
                                              struct tapflow_flow_key *key) {
    struct tapflow_packet inner = {};
    struct tapflow_l3_start start = {};
    __u8 truncated = 0;
    if (tapflow_flow_inner_ethernet(data, end, outer, key, &start, &truncated)) {
        tapflow_parse_l3(data, end, &start, &inner);
        tapflow_flow_inner_network(data, end, &inner, key, &truncated);
    }
    return truncated;
}

#endif
