/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * What is hashed of a packet when it is not just the headers that the parser found: a tunnel's inner headers, a mobile
 * node's addresses, fields in sorted order. Compiled for BPF and for the host.
 */
#ifndef TAPFLOW_RSS_FIELDS_H
#define TAPFLOW_RSS_FIELDS_H

#include "packet/parse.h"
#include "tapflow/abi/rss.h"

/* Options looked at in an IPv6 destination options header. */
#define TAPFLOW_OPTIONS_MAX 8

static __always_inline __u32 tapflow_from_be32(__u32 word) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap32(word);
#else
    return word;
#endif
}

/* Puts the address in the home address option (RFC 6275, 6.3) of the header at `offset`, if there is one, in the source
 * address's place. */
static __always_inline void tapflow_use_home_address(const __u8 *data, const __u8 *end, __u32 offset,
                                                     struct tapflow_packet *packet) {
    if (offset == 0 || offset > TAPFLOW_PARSE_WINDOW || data + offset + 8 > end)
        return;
    __u32 limit = offset + (data[offset + 1] + 1u) * 8;
    offset += 2;
    for (int i = 0; i < TAPFLOW_OPTIONS_MAX; i++) {
        const __u8 *option = data + offset;
        __asm__ volatile("" : "+r"(option)); /* the verifier must see all accesses go from the pointer it has checked */
        if (offset + 18 > limit || offset > TAPFLOW_PARSE_WINDOW || option + 18 > end)
            return; /* no room for the option in the header, or in what there is of it */
        __u8 type = option[0];
        __u8 length = option[1];
        if (type == 0) { /* Pad1 has no length */
            offset++;
        } else if (type == 0xc9 && length == 16) {
            for (int word = 0; word < 4; word++)
                packet->words[word] = tapflow_load32(option + 2 + 4 * word);
            return;
        } else {
            offset += 2u + length;
        }
    }
}

/* Puts the address in a type 2 routing header (RFC 6275, 6.4) in the destination address's place. */
static __always_inline void tapflow_use_routing_address(const __u8 *data, const __u8 *end,
                                                        struct tapflow_packet *packet) {
    __u32 offset = packet->routing_offset;
    if (offset == 0 || offset > TAPFLOW_PARSE_WINDOW)
        return;
    const __u8 *header = data + offset;
    if (header + 24 > end || header[1] != 2 || header[2] != 2 || header[3] != 1)
        return;
    for (int word = 0; word < 4; word++)
        packet->words[4 + word] = tapflow_load32(header + 8 + 4 * word);
}

static __always_inline void tapflow_swap_words(__u32 *a, __u32 *b) {
    __u32 kept = *a;
    *a = *b;
    *b = kept;
}

/*
 * Source and destination, and the ports, each in ascending order: both directions of a flow look the same. A pair of
 * which only one is hashed stays as it is: `flags` (enum tapflow_rss_flag) name those that are hashed whole.
 */
static __always_inline void tapflow_sort_fields(__u32 flags, struct tapflow_packet *packet) {
    __u32 *words = packet->words;
    if (packet->packet_class == TAPFLOW_CLASS_NOT_IP) {
        if (!(flags & TAPFLOW_RSS_SORT_L2))
            return;
        /* Six bytes of destination, then six of source: words 0 and half of 1, the other half and 2. */
        __u64 first = (__u64)tapflow_from_be32(words[0]) << 16 | tapflow_from_be32(words[1]) >> 16;
        __u64 second = (__u64)(tapflow_from_be32(words[1]) & 0xffff) << 32 | tapflow_from_be32(words[2]);
        if (first > second) {
            words[0] = tapflow_from_be32((__u32)(second >> 16));
            words[1] = tapflow_from_be32((__u32)(second & 0xffff) << 16 | (__u32)(first >> 32));
            words[2] = tapflow_from_be32((__u32)first);
        }
        return;
    }
    if (!(flags & TAPFLOW_RSS_SORT_ADDRESSES)) {
        /* as they are */
    } else if (packet->packet_class < TAPFLOW_CLASS_IPV6_OTHER) {
        if (tapflow_from_be32(words[0]) > tapflow_from_be32(words[1]))
            tapflow_swap_words(&words[0], &words[1]);
    } else {
        int order = 0;
        for (int i = 0; i < 4; i++) {
            __u32 source = tapflow_from_be32(words[i]);
            __u32 destination = tapflow_from_be32(words[4 + i]);
            if (order == 0 && source != destination)
                order = source > destination ? 1 : -1;
        }
        if (order > 0)
            for (int i = 0; i < 4; i++)
                tapflow_swap_words(&words[i], &words[4 + i]);
    }
    __u32 ports = tapflow_from_be32(packet->ports);
    if (flags & TAPFLOW_RSS_SORT_PORTS && packet->packet_class != TAPFLOW_CLASS_IPV4_ESP &&
        packet->packet_class != TAPFLOW_CLASS_IPV4_AH && packet->packet_class != TAPFLOW_CLASS_IPV6_ESP &&
        packet->packet_class != TAPFLOW_CLASS_IPV6_AH && ports >> 16 > (ports & 0xffff))
        packet->ports = tapflow_from_be32(ports << 16 | ports >> 16);
}

/* Puts the addresses of a mobile node in the header's addresses' places. */
static __always_inline void tapflow_use_mobile_addresses(const __u8 *data, const __u8 *end,
                                                         struct tapflow_packet *packet) {
    tapflow_use_routing_address(data, end, packet);
    tapflow_use_home_address(data, end, packet->first_options, packet);
    if (packet->last_options != packet->first_options)
        tapflow_use_home_address(data, end, packet->last_options, packet);
}

/* Makes a tunnel packet its inner one. Returns 1, and leaves it as it was, if more of the frame is needed to say so. */
static __always_inline int tapflow_become_inner(const struct tapflow_packet *inner, struct tapflow_packet *packet) {
    if (inner->packet_class != TAPFLOW_CLASS_NOT_IP && !inner->truncated)
        *packet = *inner;
    return inner->truncated;
}

static __always_inline int tapflow_use_inner(const __u8 *data, const __u8 *end, struct tapflow_packet *packet) {
    struct tapflow_packet inner;
    tapflow_parse_inner(data, end, packet, &inner);
    return tapflow_become_inner(&inner, packet);
}

/*
 * Makes `packet`, as parsed from the whole frame [data, end), what tapflow_rss::flags say is to be hashed. The host's
 * composition of the steps above; bpf/classify.h has the programs'.
 */
static __always_inline void tapflow_rss_fields(const struct tapflow_rss *rss, const __u8 *data, const __u8 *end,
                                               struct tapflow_packet *packet) {
    if (rss->flags & TAPFLOW_RSS_INNERMOST)
        tapflow_use_inner(data, end, packet);
    if (rss->input[packet->packet_class & 15] & TAPFLOW_INPUT_EXTENSION)
        tapflow_use_mobile_addresses(data, end, packet);
    if (rss->flags & TAPFLOW_RSS_SORT)
        tapflow_sort_fields(rss->flags, packet);
}

#endif
