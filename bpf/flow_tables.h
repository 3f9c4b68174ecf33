/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The tables of rules, and the search in them as a packet's program does it. */
#ifndef TAPFLOW_BPF_FLOW_TABLES_H
#define TAPFLOW_BPF_FLOW_TABLES_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "packet/parse.h"
#include "tapflow/abi/flow.h"

/*
 * The tables. The directory is always there; the inner maps come with the first rule and as more are needed.
 * Inner maps have the sizes of these templates, so that the kernel can compile the lookups in.
 */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct tapflow_flow_directory);
} flow_directory SEC(".maps");

struct flow_bucket_array {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, TAPFLOW_FLOW_BUCKETS);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(struct tapflow_flow_bucket));
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 1);
    __type(key, __u32);
    __array(values, struct flow_bucket_array);
} flow_buckets SEC(".maps");

struct flow_rule_array {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, TAPFLOW_FLOW_RULE_CHUNK);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(struct tapflow_flow_rule));
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, TAPFLOW_FLOW_RULE_CHUNKS);
    __type(key, __u32);
    __array(values, struct flow_rule_array);
} flow_rules SEC(".maps");

struct flow_counter_array {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, TAPFLOW_FLOW_RULE_CHUNK);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(struct tapflow_flow_counter));
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, TAPFLOW_FLOW_COUNTER_CHUNKS);
    __type(key, __u32);
    __array(values, struct flow_counter_array);
} flow_counters SEC(".maps");

#define TAPFLOW_FLOW_FUNCTION __noinline
#define tapflow_flow_loop(COUNT, STEP, CONTEXT) bpf_loop(COUNT, STEP, CONTEXT, 0)

struct tapflow_flow_search;

static __always_inline struct tapflow_flow_directory *flow_directory_entry(void) {
    __u32 zero = 0;
    return bpf_map_lookup_elem(&flow_directory, &zero);
}

static __always_inline const struct tapflow_flow_mask *tapflow_flow_masks(struct tapflow_flow_search *search,
                                                                          __u32 index) {
    struct tapflow_flow_directory *directory = flow_directory_entry();
    (void)search;
    if (!directory || index == 0 || index >= TAPFLOW_FLOW_MASK_SLOTS)
        return 0;
    __asm__ volatile("" : "+r"(index)); /* the verifier must see the bound on what the access goes by */
    return &directory->masks[index & (TAPFLOW_FLOW_MASK_SLOTS - 1)];
}

static __always_inline const struct tapflow_flow_rule *tapflow_flow_rules(struct tapflow_flow_search *search,
                                                                          __u32 index) {
    __u32 chunk = index / TAPFLOW_FLOW_RULE_CHUNK;
    __u32 entry = index % TAPFLOW_FLOW_RULE_CHUNK;
    (void)search;
    void *rules = index ? bpf_map_lookup_elem(&flow_rules, &chunk) : 0;
    return rules ? bpf_map_lookup_elem(rules, &entry) : 0;
}

static __always_inline const struct tapflow_flow_bucket *tapflow_flow_buckets(struct tapflow_flow_search *search,
                                                                              __u32 index) {
    __u32 zero = 0;
    (void)search;
    void *buckets = bpf_map_lookup_elem(&flow_buckets, &zero);
    return buckets ? bpf_map_lookup_elem(buckets, &index) : 0;
}

static __always_inline const struct tapflow_flow_directory *
tapflow_flow_directories(struct tapflow_flow_search *search) {
    (void)search;
    return flow_directory_entry();
}

#include "flow/lookup.h"

struct flow_scratch {
    struct tapflow_flow_search search;
    __u64 generation; /* of the directory, when the packet's rules began to be looked for; 0: nothing is to be kept */
    __u32 sets[2];    /* of the cache, that its entry may be in */
    struct tapflow_packet packet; /* the outer one, with all of its tags looked through */
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct flow_scratch);
} flow_scratches SEC(".maps");

static __always_inline struct flow_scratch *flow_scratch(void) {
    __u32 zero = 0;
    return bpf_map_lookup_elem(&flow_scratches, &zero);
}

#endif
