/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What a CPU has found for packets, kept for those that look the same to all masks. */
#ifndef TAPFLOW_BPF_FLOW_CACHE_H
#define TAPFLOW_BPF_FLOW_CACHE_H

#include "flow_tables.h"

struct flow_cache_array {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, TAPFLOW_FLOW_CACHE_SETS);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(struct tapflow_flow_cache_set));
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 1);
    __type(key, __u32);
    __array(values, struct flow_cache_array);
} flow_cache SEC(".maps");

static __always_inline struct tapflow_flow_cache_set *flow_cache_entry(__u32 set) {
    __u32 zero = 0;
    void *sets = bpf_map_lookup_elem(&flow_cache, &zero);
    return sets ? bpf_map_lookup_elem(sets, &set) : 0;
}

static __always_inline int flow_cached_is(const struct tapflow_flow_cached *cached,
                                          const struct tapflow_flow_search *search, __u64 generation, __u32 words,
                                          __u32 list) {
    if (cached->generation != generation || cached->list != list)
        return 0;
    for (__u32 i = 0; i < TAPFLOW_FLOW_CACHE_WORDS; i++) {
        if (i >= words)
            break;
        if (cached->words[i] != search->masked[i])
            return 0;
    }
    return 1;
}

static __always_inline const struct tapflow_flow_cached *
flow_cached_in(__u32 set, const struct tapflow_flow_search *search, __u64 generation, __u32 words, __u32 list) {
    const struct tapflow_flow_cache_set *entries = flow_cache_entry(set);
    if (!entries)
        return 0;
    if (flow_cached_is(&entries->way[0], search, generation, words, list))
        return &entries->way[0];
    if (flow_cached_is(&entries->way[1], search, generation, words, list))
        return &entries->way[1];
    return 0;
}

/*
 * Looks the packet up in this CPU's cache. Returns 1 with its verdict, or notes where flow_remember() may put it: in
 * one of two sets, so that half as many flows as there are entries hardly ever push each other out.
 */
__noinline int flow_recall(struct flow_scratch *scratch, __u32 list) {
    const struct tapflow_flow_directory *directory = flow_directory_entry();
    if (!scratch || !directory)
        return 0;
    struct tapflow_flow_search *search = &scratch->search;
    struct tapflow_flow_verdict *verdict = &search->verdict;
    __u64 generation = *(const volatile __u64 *)&directory->generation;
    __u32 words = directory->used_count;
    if (generation & 1 || words > TAPFLOW_FLOW_CACHE_WORDS)
        return 0;
    __u64 hash = list;
    for (__u32 i = 0; i < TAPFLOW_FLOW_CACHE_WORDS; i++) {
        if (i >= words)
            break;
        __u32 word = directory->used[i];
        if (word >= TAPFLOW_FLOW_WORDS)
            return 0;
        search->masked[i] = search->words[word] & directory->used_bits[i];
        hash = tapflow_flow_mix(hash, search->masked[i]);
    }
    /* What the words were picked by has been changed meanwhile: they are those of no flow. */
    if (*(const volatile __u64 *)&directory->generation != generation)
        return 0;
    __u32 first = (__u32)(hash >> 32) & (TAPFLOW_FLOW_CACHE_SETS - 1);
    __u32 second = (__u32)(hash >> 48) & (TAPFLOW_FLOW_CACHE_SETS - 1);
    const struct tapflow_flow_cached *cached = flow_cached_in(first, search, generation, words, list);
    if (!cached)
        cached = flow_cached_in(second, search, generation, words, list);
    if (!cached) {
        scratch->sets[0] = first;
        scratch->sets[1] = second;
        scratch->generation = generation;
        return 0;
    }
    verdict->actions = cached->actions;
    verdict->rule = cached->rule;
    verdict->mark = cached->mark;
    verdict->queue = cached->queue;
    verdict->context = cached->context;
    verdict->rewrite = cached->rewrite;
    verdict->counter_count = cached->counter_count;
    for (int i = 0; i < TAPFLOW_FLOW_CACHE_COUNTERS; i++)
        verdict->counters[i] = cached->counters[i];
    return 1;
}

/*
 * Where to keep a verdict: in place of one that is void, or else of any of the four: those that nobody asks for any
 * more are pushed out in time, and what is pushed out wrongly finds another place.
 */
static __always_inline struct tapflow_flow_cached *flow_cache_room(const struct flow_scratch *scratch) {
    __u32 victim = bpf_get_prandom_u32();
    struct tapflow_flow_cached *room = 0;
    for (__u32 i = 0; i < 2; i++) {
        struct tapflow_flow_cache_set *set = flow_cache_entry(scratch->sets[i]);
        if (!set)
            return 0;
        if (set->way[0].generation != scratch->generation)
            return &set->way[0];
        if (set->way[1].generation != scratch->generation)
            return &set->way[1];
        if (i == 0 || victim & 2)
            room = &set->way[victim & 1];
    }
    return room;
}

/* Keeps a verdict, unless the rules have changed since flow_recall(). */
__noinline int flow_remember(struct flow_scratch *scratch, __u32 list) {
    const struct tapflow_flow_directory *directory = flow_directory_entry();
    if (!scratch || !directory)
        return 0;
    const struct tapflow_flow_search *search = &scratch->search;
    const struct tapflow_flow_verdict *verdict = &search->verdict;
    struct tapflow_flow_cached *cached = flow_cache_room(scratch);
    if (!cached || verdict->counter_count > TAPFLOW_FLOW_CACHE_COUNTERS)
        return 0;
    cached->generation = 0;
    for (__u32 i = 0; i < TAPFLOW_FLOW_CACHE_WORDS; i++) {
        __u32 word = directory->used[i];
        cached->words[i] = word < TAPFLOW_FLOW_WORDS ? search->words[word] & directory->used_bits[i] : 0;
    }
    cached->rule = verdict->rule;
    cached->mark = verdict->mark;
    cached->actions = (__u16)verdict->actions;
    cached->queue = verdict->queue;
    cached->context = verdict->context;
    cached->rewrite = verdict->rewrite;
    cached->list = (__u8)list;
    cached->counter_count = (__u8)verdict->counter_count;
    for (int i = 0; i < TAPFLOW_FLOW_CACHE_COUNTERS; i++)
        cached->counters[i] = verdict->counters[i];
    /* Valid only if what the words were picked by has not changed either. */
    if (*(const volatile __u64 *)&directory->generation == scratch->generation)
        cached->generation = scratch->generation;
    return 0;
}

#endif
