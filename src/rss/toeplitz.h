/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The RSS hash of a parsed packet, from per-key byte tables. Compiled for BPF and for the host. */
#ifndef TAPFLOW_RSS_TOEPLITZ_H
#define TAPFLOW_RSS_TOEPLITZ_H

#include "packet/parse.h"
#include "tapflow/abi/rss.h"

/* What one 32-bit word of input, as loaded from the wire, adds to the hash: a field's word `index`. */
static __always_inline __u32 tapflow_hash_word(const struct tapflow_rss *rss, __u32 row, __u32 index, __u32 word) {
    const __u32(*table)[256] = &rss->table[row + 4 * index];
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
    if (input == 0)
        return 0;
    if (input & TAPFLOW_INPUT_L2) {
        for (__u32 i = 0; i < 4; i++)
            value ^= tapflow_hash_word(rss, TAPFLOW_ROW_L2, i, packet->words[i]);
    } else if (packet->packet_class < TAPFLOW_CLASS_IPV6_OTHER) {
        value = tapflow_hash_word(rss, TAPFLOW_ROW_IPV4, 0, packet->words[0]) ^
                tapflow_hash_word(rss, TAPFLOW_ROW_IPV4, 1, packet->words[1]);
        if (input & TAPFLOW_INPUT_PORTS)
            value ^= tapflow_hash_word(rss, TAPFLOW_ROW_PORTS4, 0, packet->ports);
        else if (input & TAPFLOW_INPUT_SPI)
            value ^= tapflow_hash_word(rss, TAPFLOW_ROW_SPI4, 0, packet->ports);
    } else {
        for (__u32 i = 0; i < 8; i++)
            value ^= tapflow_hash_word(rss, TAPFLOW_ROW_IPV6, i, packet->words[i]);
        if (input & TAPFLOW_INPUT_PORTS)
            value ^= tapflow_hash_word(rss, TAPFLOW_ROW_PORTS6, 0, packet->ports);
        else if (input & TAPFLOW_INPUT_SPI)
            value ^= tapflow_hash_word(rss, TAPFLOW_ROW_SPI6, 0, packet->ports);
    }
    *hash = value;
    return 1;
}

/* The queue of a packet: its hash's slot in the RETA; slot 0 for a packet that is not hashed (pass hash 0). */
static __always_inline __u32 tapflow_rss_queue(const struct tapflow_rss *rss, __u32 hash) {
    return rss->reta[hash & rss->reta_mask & (TAPFLOW_RETA_MAX - 1)];
}

#endif
