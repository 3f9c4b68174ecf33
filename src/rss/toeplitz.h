/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The RSS hash of a parsed packet, from per-key byte tables. Compiled for BPF and for the host. */
#ifndef TAPFLOW_RSS_TOEPLITZ_H
#define TAPFLOW_RSS_TOEPLITZ_H

#include "packet/parse.h"
#include "tapflow/abi/rss.h"

/* Hash of one 32-bit word of input, as loaded from the wire, at byte `4 * index` of the input. */
static __always_inline __u32 tapflow_toeplitz_word(const struct tapflow_rss *rss, __u32 index, __u32 word) {
    const __u32(*table)[256] = &rss->toeplitz[4 * index];
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return table[0][word & 0xff] ^ table[1][(word >> 8) & 0xff] ^ table[2][(word >> 16) & 0xff] ^ table[3][word >> 24];
#else
    return table[0][word >> 24] ^ table[1][(word >> 16) & 0xff] ^ table[2][(word >> 8) & 0xff] ^ table[3][word & 0xff];
#endif
}

/* Hashes what the configuration selects for the packet's class. Returns 0 if it selects nothing: not hashed. */
static __always_inline int tapflow_rss_hash(const struct tapflow_rss *rss, const struct tapflow_packet *packet,
                                            __u32 *hash) {
    __u32 value = 0;
    __u8 input = rss->input[packet->packet_class & 15];
    *hash = 0;
    if (input == TAPFLOW_INPUT_NONE)
        return 0;
    value = tapflow_toeplitz_word(rss, 0, packet->words[0]) ^ tapflow_toeplitz_word(rss, 1, packet->words[1]);
    if (packet->packet_class < TAPFLOW_CLASS_IPV6_OTHER) {
        if (input == TAPFLOW_INPUT_L3_L4)
            value ^= tapflow_toeplitz_word(rss, 2, packet->ports);
    } else {
        for (__u32 i = 2; i < 8; i++)
            value ^= tapflow_toeplitz_word(rss, i, packet->words[i]);
        if (input == TAPFLOW_INPUT_L3_L4)
            value ^= tapflow_toeplitz_word(rss, 8, packet->ports);
    }
    *hash = value;
    return 1;
}

/* The queue of a packet: its hash's slot in the RETA; slot 0 for a packet that is not hashed (pass hash 0). */
static __always_inline __u32 tapflow_rss_queue(const struct tapflow_rss *rss, __u32 hash) {
    return rss->reta[hash & rss->reta_mask & (TAPFLOW_RETA_MAX - 1)];
}

#endif
