/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The search for rules over many packets' keys, with and without the cache in front of it, beside one lookup in a hash
 * map of the kernel's. Each program goes once over all keys and returns how many of them it has found.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "flow.h"

#define KEYS_MAX 16384

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, KEYS_MAX);
    __type(key, __u32);
    __type(value, struct tapflow_flow_key);
} keys SEC(".maps");

/* What a rule over addresses and ports would have for a key. */
struct five_words {
    __u64 words[5];
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, TAPFLOW_FLOW_RULES_MAX);
    __type(key, struct five_words);
    __type(value, __u32);
} rival SEC(".maps");

const volatile __u32 key_count = 0;
__u32 found = 0;

enum method { NOTHING, SEARCH, CACHE, HASH_MAP };

static __always_inline int look(__u32 i, enum method method) {
    const struct tapflow_flow_key *key = bpf_map_lookup_elem(&keys, &i);
    struct flow_scratch *scratch = flow_scratch();
    if (!key || !scratch)
        return 1;
    scratch->search.key = *key;
    if (method == SEARCH)
        tapflow_flow_decide(&scratch->search, TAPFLOW_FLOW_INGRESS);
    else if (method == CACHE)
        flow_search(scratch, TAPFLOW_FLOW_INGRESS);
    if (method == SEARCH || method == CACHE)
        found += scratch->search.verdict.rule != 0;
    if (method == HASH_MAP) {
        struct five_words five = {{scratch->search.words[0], scratch->search.words[3], scratch->search.words[5],
                                   scratch->search.words[7], scratch->search.words[18]}};
        found += bpf_map_lookup_elem(&rival, &five) != 0;
    }
    return 0;
}

#define PROGRAM(NAME, METHOD)                                                                                          \
    static long NAME##_step(__u32 i, void *context) {                                                                  \
        (void)context;                                                                                                 \
        return look(i, METHOD);                                                                                        \
    }                                                                                                                  \
    SEC("tc") int NAME(struct __sk_buff *skb) {                                                                        \
        (void)skb;                                                                                                     \
        found = 0;                                                                                                     \
        bpf_loop(key_count, NAME##_step, 0, 0);                                                                        \
        return (int)found;                                                                                             \
    }

PROGRAM(nothing, NOTHING)
PROGRAM(search, SEARCH)
PROGRAM(cache, CACHE)
PROGRAM(hash_map, HASH_MAP)

char _license[] SEC("license") = "Dual BSD/GPL";
