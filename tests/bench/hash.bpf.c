/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The RSS hash three ways: not at all, by our byte tables, and bit by bit as DPDK's own net_tap computes it
 * (drivers/net/tap/bpf). Each program returns the hash of the words that the program before it had left in `input`,
 * and changes them for the next run, so that neither branches nor table lines can be learnt by heart.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "rss/toeplitz.h"

#define KEY_WORDS 10

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct tapflow_rss);
} tables SEC(".maps");

struct bench_state {
    struct tapflow_packet packet;
    __u32 key[KEY_WORDS]; /* host byte order */
    __u32 step;           /* added to the words after each run; 0: the same packet over and over */
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct bench_state);
} states SEC(".maps");

enum method { NOTHING, BYTE_TABLES, BIT_LOOP };

static __always_inline __u32 toeplitz_bits(const struct bench_state *state, const __u32 *words, __u32 count) {
    __u32 hash = 0;
    for (__u32 i = 0; i < count; i++) {
        __u32 word = __builtin_bswap32(words[i]);
        /* The 32 bits of the key from bit 32 * i on, and those that follow them. */
        __u64 window = (__u64)state->key[i] << 32 | state->key[i + 1];
#pragma clang loop unroll(disable)
        for (__u32 bit = 0; bit < 32; bit++) {
            if (word & 0x80000000u)
                hash ^= (__u32)(window >> 32);
            word <<= 1;
            window <<= 1;
        }
    }
    return hash;
}

static __always_inline __u32 run(enum method method, __u8 packet_class, __u32 addresses) {
    __u32 zero = 0;
    struct bench_state *state = bpf_map_lookup_elem(&states, &zero);
    const struct tapflow_rss *rss = bpf_map_lookup_elem(&tables, &zero);
    __u32 hash = 0;
    if (!state || !rss)
        return 0;
    struct tapflow_packet packet = state->packet;
    packet.packet_class = packet_class;
    __u32 words[9];
    for (__u32 i = 0; i < 8; i++)
        words[i] = packet.words[i];
    words[addresses] = packet.ports;
    if (method == BYTE_TABLES)
        tapflow_rss_hash(rss, &packet, &hash);
    else if (method == BIT_LOOP)
        hash = toeplitz_bits(state, words, addresses + 1);
    else
        for (__u32 i = 0; i <= addresses; i++)
            hash ^= words[i];
    for (__u32 i = 0; i < addresses; i++)
        state->packet.words[i] += state->step;
    state->packet.ports += state->step;
    return hash;
}

#define PROGRAM(NAME, METHOD, CLASS, ADDRESSES)                                                                        \
    SEC("tc")                                                                                                          \
    int NAME(struct __sk_buff *skb) {                                                                                  \
        (void)skb;                                                                                                     \
        return (int)run(METHOD, CLASS, ADDRESSES);                                                                     \
    }

PROGRAM(nothing_ipv4, NOTHING, TAPFLOW_CLASS_IPV4_UDP, 2)
PROGRAM(tables_ipv4, BYTE_TABLES, TAPFLOW_CLASS_IPV4_UDP, 2)
PROGRAM(bits_ipv4, BIT_LOOP, TAPFLOW_CLASS_IPV4_UDP, 2)
PROGRAM(nothing_ipv6, NOTHING, TAPFLOW_CLASS_IPV6_UDP, 8)
PROGRAM(tables_ipv6, BYTE_TABLES, TAPFLOW_CLASS_IPV6_UDP, 8)
PROGRAM(bits_ipv6, BIT_LOOP, TAPFLOW_CLASS_IPV6_UDP, 8)

char _license[] SEC("license") = "Dual BSD/GPL";
