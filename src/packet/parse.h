/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The header parser. The same source is compiled into the BPF programs and into the host library, and tested against
 * itself across that border.
 */
#ifndef TAPFLOW_PACKET_PARSE_H
#define TAPFLOW_PACKET_PARSE_H

#include <linux/types.h>

#include "tapflow/abi/packet_class.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* Headers are looked for in the first so many bytes of a frame; an IPv6 chain that is longer ends as "other". */
#define TAPFLOW_PARSE_WINDOW 512
/* So many bytes are all that the parser ever reads: a tunnel's inner Ethernet and IP header at the window's end. */
#define TAPFLOW_PARSE_BYTES (TAPFLOW_PARSE_WINDOW + 64)
/* Extension headers followed behind an IPv6 header. */
#define TAPFLOW_PARSE_EXTENSIONS_MAX 8

/* What the parser found. `words` and `ports` are as on the wire, whatever the machine's byte order. */
struct tapflow_packet {
    /* IPv4: source, destination; IPv6: source 0-3, destination 4-7; not IP: destination and source MAC address 0-2,
     * EtherType behind the tags (the first half of 3, the other is zero). */
    __u32 words[8];
    __u32 ports;          /* TCP, UDP, SCTP: source port, destination port; ESP, AH: SPI; else 0 */
    __u16 l3_offset;      /* IP header; 0: not an IP packet */
    __u16 l4_offset;      /* header behind IP and its extensions; 0: none, or an IP fragment */
    __u16 routing_offset; /* IPv6: last routing header; 0: none */
    __u16 first_options;  /* IPv6: first destination options header; 0: none */
    __u16 last_options;   /* IPv6: last destination options header; 0: none */
    __u16 fragment;       /* IPv6: fragment header; 0: none */
    __u8 extensions;      /* IPv6: those that were followed, enum tapflow_parsed_extension */
    __u8 packet_class;    /* enum tapflow_packet_class */
    __u8 truncated;       /* a header crosses `end`: more of the frame may be needed to say what it is */
    __u8 protocol;        /* that the last header looked at names: of the one at l4_offset, if there is one */
    __u8 reserved[4];
};

enum tapflow_parsed_extension {
    TAPFLOW_PARSED_HOPOPTS = 1 << 0,
    TAPFLOW_PARSED_ROUTING = 1 << 1,
    TAPFLOW_PARSED_DSTOPTS = 1 << 2,
};

/* TPIDs and EtherTypes as a little-endian or big-endian load of the wire bytes gives them. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define TAPFLOW_BE16(x) ((__u16)((((x)&0xff) << 8) | (((x) >> 8) & 0xff)))
#else
#define TAPFLOW_BE16(x) ((__u16)(x))
#endif
#define TAPFLOW_TPID_8021Q TAPFLOW_BE16(0x8100)
#define TAPFLOW_TPID_8021AD TAPFLOW_BE16(0x88a8)
#define TAPFLOW_ETHERTYPE_IPV4 TAPFLOW_BE16(0x0800)
#define TAPFLOW_ETHERTYPE_IPV6 TAPFLOW_BE16(0x86dd)
#define TAPFLOW_ETHERTYPE_ETHERNET TAPFLOW_BE16(0x6558) /* Transparent Ethernet Bridging, in GRE and GENEVE */
/* UDP destination ports of tunnels (IANA). */
#define TAPFLOW_PORT_VXLAN TAPFLOW_BE16(4789)
#define TAPFLOW_PORT_GENEVE TAPFLOW_BE16(6081)

enum {
    TAPFLOW_IPPROTO_HOPOPTS = 0,
    TAPFLOW_IPPROTO_IPV4 = 4, /* IPv4 in IP */
    TAPFLOW_IPPROTO_TCP = 6,
    TAPFLOW_IPPROTO_UDP = 17,
    TAPFLOW_IPPROTO_IPV6 = 41, /* IPv6 in IP */
    TAPFLOW_IPPROTO_ROUTING = 43,
    TAPFLOW_IPPROTO_FRAGMENT = 44,
    TAPFLOW_IPPROTO_GRE = 47,
    TAPFLOW_IPPROTO_ESP = 50,
    TAPFLOW_IPPROTO_AH = 51,
    TAPFLOW_IPPROTO_DSTOPTS = 60,
    TAPFLOW_IPPROTO_SCTP = 132,
};

/*
 * Frames sit at any alignment in host buffers, and fields at any in frames. clang makes byte loads of such for BPF,
 * which has no need of them: JITs of machines that have BPF rings load at any address.
 */
#ifdef __bpf__
static __always_inline __u16 tapflow_load16(const __u8 *at) { return *(const __u16 *)at; }
static __always_inline __u32 tapflow_load32(const __u8 *at) { return *(const __u32 *)at; }
#else
struct tapflow_unaligned16 {
    __u16 value;
} __attribute__((packed));
struct tapflow_unaligned32 {
    __u32 value;
} __attribute__((packed));

static __always_inline __u16 tapflow_load16(const __u8 *at) { return ((const struct tapflow_unaligned16 *)at)->value; }
static __always_inline __u32 tapflow_load32(const __u8 *at) { return ((const struct tapflow_unaligned32 *)at)->value; }
#endif

/* Ports or SPI, which is what the L4 classes mean. Returns the class to use. */
static __always_inline __u8 tapflow_parse_l4(const __u8 *data, const __u8 *end, __u32 offset, __u8 protocol,
                                             __u8 other_class, struct tapflow_packet *packet) {
    __u8 packet_class = other_class;
    __u32 field = 0;
    packet->protocol = protocol;
    if (protocol == TAPFLOW_IPPROTO_TCP) {
        packet_class += TAPFLOW_CLASS_IPV4_TCP - TAPFLOW_CLASS_IPV4_OTHER;
    } else if (protocol == TAPFLOW_IPPROTO_UDP) {
        packet_class += TAPFLOW_CLASS_IPV4_UDP - TAPFLOW_CLASS_IPV4_OTHER;
    } else if (protocol == TAPFLOW_IPPROTO_SCTP) {
        packet_class += TAPFLOW_CLASS_IPV4_SCTP - TAPFLOW_CLASS_IPV4_OTHER;
    } else if (protocol == TAPFLOW_IPPROTO_ESP) {
        packet_class += TAPFLOW_CLASS_IPV4_ESP - TAPFLOW_CLASS_IPV4_OTHER;
    } else if (protocol == TAPFLOW_IPPROTO_AH) {
        packet_class += TAPFLOW_CLASS_IPV4_AH - TAPFLOW_CLASS_IPV4_OTHER;
        field = 4; /* behind next header, length and two reserved bytes (RFC 4302) */
    } else {
        return other_class;
    }
    if (offset > TAPFLOW_PARSE_WINDOW)
        return other_class;
    const __u8 *l4 = data + offset + field;
    if (l4 + 4 > end) {
        packet->truncated = 1;
        return other_class;
    }
    packet->ports = tapflow_load32(l4);
    return packet_class;
}

static __always_inline void tapflow_parse_ipv4(const __u8 *data, const __u8 *end, __u32 offset,
                                               struct tapflow_packet *packet) {
    const __u8 *ip = data + offset;
    if (ip + 20 > end) {
        packet->truncated = 1;
        return;
    }
    __u32 header_length = (ip[0] & 0x0fu) * 4;
    if ((ip[0] >> 4) != 4 || header_length < 20)
        return;
    packet->l3_offset = (__u16)offset;
    packet->words[0] = tapflow_load32(ip + 12);
    packet->words[1] = tapflow_load32(ip + 16);
    packet->packet_class = TAPFLOW_CLASS_IPV4_OTHER;
    packet->protocol = ip[9];
    if (tapflow_load16(ip + 6) & TAPFLOW_BE16(0x3fff)) { /* more fragments, or an offset */
        packet->packet_class = TAPFLOW_CLASS_IPV4_FRAGMENT;
        return;
    }
    packet->l4_offset = (__u16)(offset + header_length);
    packet->packet_class = tapflow_parse_l4(data, end, offset + header_length, ip[9], TAPFLOW_CLASS_IPV4_OTHER, packet);
}

static __always_inline void tapflow_parse_ipv6(const __u8 *data, const __u8 *end, __u32 offset,
                                               struct tapflow_packet *packet) {
    const __u8 *ip = data + offset;
    if (ip + 40 > end) {
        packet->truncated = 1;
        return;
    }
    if ((ip[0] >> 4) != 6)
        return;
    packet->l3_offset = (__u16)offset;
    for (int i = 0; i < 8; i++)
        packet->words[i] = tapflow_load32(ip + 8 + 4 * i);
    packet->packet_class = TAPFLOW_CLASS_IPV6_OTHER;
    __u8 next = ip[6];
    offset += 40;
    for (int i = 0; i < TAPFLOW_PARSE_EXTENSIONS_MAX; i++) {
        packet->protocol = next;
        if (next == TAPFLOW_IPPROTO_FRAGMENT) {
            packet->packet_class = TAPFLOW_CLASS_IPV6_FRAGMENT;
            packet->fragment = (__u16)offset;
            return;
        }
        if (next != TAPFLOW_IPPROTO_HOPOPTS && next != TAPFLOW_IPPROTO_ROUTING && next != TAPFLOW_IPPROTO_DSTOPTS)
            break;
        if (offset > TAPFLOW_PARSE_WINDOW)
            return;
        const __u8 *extension = data + offset;
        if (extension + 8 > end) {
            packet->truncated = 1;
            return;
        }
        if (next == TAPFLOW_IPPROTO_HOPOPTS) {
            packet->extensions |= TAPFLOW_PARSED_HOPOPTS;
        } else if (next == TAPFLOW_IPPROTO_ROUTING) {
            packet->extensions |= TAPFLOW_PARSED_ROUTING;
            packet->routing_offset = (__u16)offset;
        } else {
            packet->extensions |= TAPFLOW_PARSED_DSTOPTS;
            if (packet->first_options == 0)
                packet->first_options = (__u16)offset;
            packet->last_options = (__u16)offset;
        }
        next = extension[0];
        offset += (extension[1] + 1u) * 8;
    }
    packet->protocol = next;
    if (offset > TAPFLOW_PARSE_WINDOW)
        return;
    packet->l4_offset = (__u16)offset;
    packet->packet_class = tapflow_parse_l4(data, end, offset, next, TAPFLOW_CLASS_IPV6_OTHER, packet);
}

/* Where a frame's Ethernet header says that the next one is. */
struct tapflow_l3_start {
    __u32 ether;  /* offset of the Ethernet header; without one, as `offset` */
    __u32 offset; /* behind it and its tags */
    __u16 type;   /* EtherType of what is there, as on the wire */
    __u8 reserved[2];
};

/* IPv4, IPv6 or, by their MAC addresses and EtherType, other packets. `packet` is all zeros. */
static __always_inline void tapflow_parse_l3(const __u8 *data, const __u8 *end, const struct tapflow_l3_start *start,
                                             struct tapflow_packet *packet) {
    __u32 ether = start->ether;
    __u16 type = start->type;
    if (type == TAPFLOW_ETHERTYPE_IPV4)
        tapflow_parse_ipv4(data, end, start->offset, packet);
    else if (type == TAPFLOW_ETHERTYPE_IPV6)
        tapflow_parse_ipv6(data, end, start->offset, packet);
    if (packet->packet_class == TAPFLOW_CLASS_NOT_IP && data + ether + 12 <= end) {
        for (int i = 0; i < 3; i++)
            packet->words[i] = tapflow_load32(data + ether + 4 * i);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        packet->words[3] = type;
#else
        packet->words[3] = (__u32)type << 16;
#endif
    }
}

/* Looks through the Ethernet header at `ether` and its tags; see tapflow_parse(). Returns 0 if `end` cuts them. */
static __always_inline int tapflow_parse_ethernet(const __u8 *data, const __u8 *end, __u32 ether, __u16 outer_tpid,
                                                  struct tapflow_l3_start *start) {
    if (data + ether + 14 > end)
        return 0;
    __u32 offset = ether + 14;
    __u16 type = tapflow_load16(data + ether + 12);
    __u16 outer = outer_tpid;
    if (outer == 0 && (type == TAPFLOW_TPID_8021Q || type == TAPFLOW_TPID_8021AD)) {
        if (data + offset + 4 > end)
            return 0;
        outer = type;
        type = tapflow_load16(data + offset + 2);
        offset += 4;
    }
    if (outer == TAPFLOW_TPID_8021AD && type == TAPFLOW_TPID_8021Q) {
        if (data + offset + 4 > end)
            return 0;
        type = tapflow_load16(data + offset + 2);
        offset += 4;
    }
    start->ether = ether;
    start->offset = offset;
    start->type = type;
    return 1;
}

/*
 * Parses the frame in [data, end), which is all of it or its beginning. `outer_tpid` is the TPID (as on the wire) of
 * a tag that the kernel keeps beside the frame, 0 if there is none. At most one S-tag (802.1ad) and behind it one
 * C-tag (802.1Q) are looked through: that is what NICs do, and what the hardware vectors show.
 */
static __always_inline void tapflow_parse(const __u8 *data, const __u8 *end, __u16 outer_tpid,
                                          struct tapflow_packet *packet) {
    struct tapflow_l3_start start = {};
    __builtin_memset(packet, 0, sizeof(*packet));
    if (tapflow_parse_ethernet(data, end, 0, outer_tpid, &start))
        tapflow_parse_l3(data, end, &start, packet);
    else
        packet->truncated = 1;
}

/*
 * Where in the frame that begins at `data` a packet's payload begins if it is a tunnel's: VXLAN (RFC 7348), GENEVE
 * (RFC 8926), GRE (RFC 2784, 2890) or IP in IP. `type` becomes its EtherType, which is IP's or that of Ethernet for all
 * but GRE and GENEVE. 0: no tunnel, or `truncated` becomes 1: more of the frame is needed to say so.
 */
static __always_inline __u32 tapflow_tunnel_payload(const __u8 *data, const __u8 *end,
                                                    const struct tapflow_packet *outer, __u16 *type, __u8 *truncated) {
    __u32 offset = outer->l4_offset;
    if (offset == 0 || offset > TAPFLOW_PARSE_WINDOW)
        return 0;
    const __u8 *l4 = data + offset;
    if (outer->protocol == TAPFLOW_IPPROTO_IPV4) {
        *type = TAPFLOW_ETHERTYPE_IPV4;
    } else if (outer->protocol == TAPFLOW_IPPROTO_IPV6) {
        *type = TAPFLOW_ETHERTYPE_IPV6;
    } else if (outer->protocol == TAPFLOW_IPPROTO_UDP || outer->protocol == TAPFLOW_IPPROTO_GRE) {
        if (l4 + 16 > end) { /* UDP with VXLAN's or GENEVE's header; the longest of GRE's */
            *truncated = 1;
            return 0;
        }
        if (outer->protocol == TAPFLOW_IPPROTO_GRE) {
            __u8 flags = l4[0]; /* checksum, (routing), key, sequence number */
            if (flags & 0x4f || l4[1] & 0x07)
                return 0; /* source routing, or a version that is not 0 */
            *type = tapflow_load16(l4 + 2);
            offset += 4 + (flags & 0x80 ? 4u : 0u) + (flags & 0x20 ? 4u : 0u) + (flags & 0x10 ? 4u : 0u);
        } else if (tapflow_load16(l4 + 2) == TAPFLOW_PORT_VXLAN && l4[8] & 0x08) { /* a valid VNI */
            *type = TAPFLOW_ETHERTYPE_ETHERNET;
            offset += 16;
        } else if (tapflow_load16(l4 + 2) == TAPFLOW_PORT_GENEVE && (l4[8] & 0xc0) == 0) { /* version 0 */
            *type = tapflow_load16(l4 + 10);
            offset += 16 + (l4[8] & 0x3fu) * 4;
        } else {
            return 0;
        }
    } else {
        return 0;
    }
    return offset > TAPFLOW_PARSE_WINDOW ? 0 : offset;
}

/*
 * Where the packet that a tunnel carries begins. Returns 0 if there is none: no tunnel, or `truncated` becomes 1: more
 * of the frame is needed to say so.
 */
static __always_inline int tapflow_find_inner(const __u8 *data, const __u8 *end, const struct tapflow_packet *outer,
                                              struct tapflow_l3_start *start, __u8 *truncated) {
    __u16 type = 0;
    __u32 offset = tapflow_tunnel_payload(data, end, outer, &type, truncated);
    if (offset == 0)
        return 0;
    start->ether = offset;
    start->offset = offset;
    start->type = type;
    if (type != TAPFLOW_ETHERTYPE_ETHERNET || tapflow_parse_ethernet(data, end, offset, 0, start))
        return 1;
    *truncated = 1;
    return 0;
}

/*
 * Parses what a tunnel packet carries, one tunnel deep. `inner` is an IP packet with offsets from `data`, or NOT_IP: no
 * tunnel, or no IP in it. `inner->truncated` as in tapflow_parse().
 */
static __always_inline void tapflow_parse_inner(const __u8 *data, const __u8 *end, const struct tapflow_packet *outer,
                                                struct tapflow_packet *inner) {
    struct tapflow_l3_start start = {};
    __builtin_memset(inner, 0, sizeof(*inner));
    if (tapflow_find_inner(data, end, outer, &start, &inner->truncated))
        tapflow_parse_l3(data, end, &start, inner);
}

#endif
