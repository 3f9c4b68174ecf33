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
/* So many bytes are all that the parser ever reads: the beginning of a header that starts at the window's end. */
#define TAPFLOW_PARSE_BYTES (TAPFLOW_PARSE_WINDOW + 8)
/* Extension headers followed behind an IPv6 header. */
#define TAPFLOW_PARSE_EXTENSIONS_MAX 8

/* What the parser found. `words` and `ports` are as on the wire, whatever the machine's byte order. */
struct tapflow_packet {
    __u32 words[8];    /* IPv4: source, destination; IPv6: source 0-3, destination 4-7 */
    __u32 ports;       /* source port, destination port; TCP and UDP classes only */
    __u16 l3_offset;   /* IP header; 0: not an IP packet */
    __u16 l4_offset;   /* header behind IP and its extensions; 0: none, or an IP fragment */
    __u8 packet_class; /* enum tapflow_packet_class */
    __u8 truncated;    /* a header crosses `end`: more of the frame may be needed to say what it is */
    __u8 reserved[2];
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

enum {
    TAPFLOW_IPPROTO_HOPOPTS = 0,
    TAPFLOW_IPPROTO_TCP = 6,
    TAPFLOW_IPPROTO_UDP = 17,
    TAPFLOW_IPPROTO_ROUTING = 43,
    TAPFLOW_IPPROTO_FRAGMENT = 44,
    TAPFLOW_IPPROTO_DSTOPTS = 60,
};

/* Frames sit at any alignment in host buffers, and fields at any in frames. */
struct tapflow_unaligned16 {
    __u16 value;
} __attribute__((packed));
struct tapflow_unaligned32 {
    __u32 value;
} __attribute__((packed));

static __always_inline __u16 tapflow_load16(const __u8 *at) { return ((const struct tapflow_unaligned16 *)at)->value; }
static __always_inline __u32 tapflow_load32(const __u8 *at) { return ((const struct tapflow_unaligned32 *)at)->value; }

/* TCP and UDP ports, which is what the L4 classes mean. Returns the class to use. */
static __always_inline __u8 tapflow_parse_l4(const __u8 *data, const __u8 *end, __u32 offset, __u8 protocol,
                                             __u8 other_class, struct tapflow_packet *packet) {
    if (protocol != TAPFLOW_IPPROTO_TCP && protocol != TAPFLOW_IPPROTO_UDP)
        return other_class;
    if (offset > TAPFLOW_PARSE_WINDOW)
        return other_class;
    const __u8 *l4 = data + offset;
    if (l4 + 4 > end) {
        packet->truncated = 1;
        return other_class;
    }
    packet->ports = tapflow_load32(l4);
    return (__u8)(other_class + (protocol == TAPFLOW_IPPROTO_TCP ? 2 : 3));
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
        if (next == TAPFLOW_IPPROTO_FRAGMENT) {
            packet->packet_class = TAPFLOW_CLASS_IPV6_FRAGMENT;
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
        next = extension[0];
        offset += (extension[1] + 1u) * 8;
    }
    if (offset > TAPFLOW_PARSE_WINDOW)
        return;
    packet->l4_offset = (__u16)offset;
    packet->packet_class = tapflow_parse_l4(data, end, offset, next, TAPFLOW_CLASS_IPV6_OTHER, packet);
}

/*
 * Parses the frame in [data, end), which is all of it or its beginning. `outer_tpid` is the TPID (as on the wire) of
 * a tag that the kernel keeps beside the frame, 0 if there is none. At most one S-tag (802.1ad) and behind it one
 * C-tag (802.1Q) are looked through: that is what NICs do, and what the hardware vectors show.
 */
static __always_inline void tapflow_parse(const __u8 *data, const __u8 *end, __u16 outer_tpid,
                                          struct tapflow_packet *packet) {
    __builtin_memset(packet, 0, sizeof(*packet));
    if (data + 14 > end) {
        packet->truncated = 1;
        return;
    }
    __u32 offset = 14;
    __u16 type = tapflow_load16(data + 12);
    __u16 outer = outer_tpid;
    if (outer == 0 && (type == TAPFLOW_TPID_8021Q || type == TAPFLOW_TPID_8021AD)) {
        if (data + 18 > end) {
            packet->truncated = 1;
            return;
        }
        outer = type;
        type = tapflow_load16(data + 16);
        offset = 18;
    }
    if (outer == TAPFLOW_TPID_8021AD && type == TAPFLOW_TPID_8021Q) {
        if (data + offset + 4 > end) {
            packet->truncated = 1;
            return;
        }
        type = tapflow_load16(data + offset + 2);
        offset += 4;
    }
    if (type == TAPFLOW_ETHERTYPE_IPV4)
        tapflow_parse_ipv4(data, end, offset, packet);
    else if (type == TAPFLOW_ETHERTYPE_IPV6)
        tapflow_parse_ipv6(data, end, offset, packet);
}

#endif
