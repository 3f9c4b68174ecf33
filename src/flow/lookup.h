/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The search for a packet's rules. Compiled for BPF and for the host, which differ in how they reach the tables and in
 * how they loop; the includer defines
 *
 *   TAPFLOW_FLOW_FUNCTION            a function that the verifier checks by itself, for any argument
 *   tapflow_flow_masks(search, i), tapflow_flow_rules(search, i), tapflow_flow_buckets(search, i)
 *                                    pointer to an entry; null for an index that is out of range, and for masks and
 *                                    rules for 0
 *   tapflow_flow_directories(search) pointer to the directory, or null
 *   tapflow_flow_loop(n, f, context) calls f(i, context) for i from 0 to n - 1 until it returns 1
 *
 * One rule of a group acts, then the search begins anew behind it or in another group, or ends. To find that one, the
 * group's masks are gone through in the order of their best priorities, each with one probe of the hash table.
 */
#ifndef TAPFLOW_FLOW_LOOKUP_H
#define TAPFLOW_FLOW_LOOKUP_H

#include "tapflow/abi/flow.h"

/* NOLINTBEGIN(modernize-*): this is C. */

#define TAPFLOW_FLOW_NO_RANK (~0ull)

/* A search under way. One for each CPU: it is too large for a BPF program's stack. */
struct tapflow_flow_search {
    union {
        struct tapflow_flow_key key;
        __u64 words[TAPFLOW_FLOW_WORDS];
    };
    __u64 masked[TAPFLOW_FLOW_WORDS + 1]; /* the key's words under the mask at hand, in its order */
    struct tapflow_flow_verdict verdict;
    __u64 behind;    /* rules up to this rank have had their turn in this group */
    __u64 best_rank; /* of what has been found in the group */
    __u32 best;      /* index; 0: nothing yet */
    __u32 mask;      /* index of the next one to look at */
    __u32 list;
    __u32 steps;
    const struct tapflow_flow_tables *tables; /* host: where to look */
};

/* Words one after the other, so that no choice of masks or keys makes it degenerate. */
static __always_inline __u64 tapflow_flow_mix(__u64 hash, __u64 word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 29;
}

static __always_inline __u32 tapflow_flow_tag_of(__u64 hash) { return (__u32)(hash >> 32) | 2; }

/* Masks the key's words and returns their hash. */
static __always_inline __u64 tapflow_flow_hash(struct tapflow_flow_search *search,
                                               const struct tapflow_flow_mask *mask) {
    __u64 hash = mask->id;
    for (int i = 0; i < TAPFLOW_FLOW_WORDS; i++) {
        if (i >= mask->word_count)
            break;
        __u32 word = mask->word[i];
        if (word >= TAPFLOW_FLOW_WORDS)
            break;
        __u64 masked = search->words[word] & mask->bits[i];
        search->masked[i] = masked;
        hash = tapflow_flow_mix(hash, masked);
    }
    return hash;
}

static __always_inline __u64 tapflow_flow_from_be64(__u64 word) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
}

/* The chain of rules whose words are equal, from the best rank on. */
struct tapflow_flow_walk {
    struct tapflow_flow_search *search;
    __u32 mask;
    __u32 rule; /* the next one to look at */
};

static __always_inline int tapflow_flow_in_ranges(const struct tapflow_flow_search *search,
                                                  const struct tapflow_flow_mask *mask,
                                                  const struct tapflow_flow_rule *rule) {
    for (__u32 i = 0; i < TAPFLOW_FLOW_RANGES; i++) {
        if (i >= mask->range_count)
            return 1;
        const struct tapflow_flow_range *range = &mask->range[i];
        __u64 place = mask->word_count + i; /* whole registers, which every instruction set compares */
        __u64 field = range->word;
        /* The verifier must see the bounds on what the accesses go by. */
        __asm__ volatile("" : "+r"(place), "+r"(field));
        if (field >= TAPFLOW_FLOW_WORDS || place >= TAPFLOW_FLOW_WORDS)
            return 0;
        __u64 limits = rule->words[place];
        __u64 word = tapflow_flow_from_be64(search->words[field]);
        __u32 value = (__u32)(word >> (range->shift & 63)) & range->bits;
        if (value < (__u32)limits || value > (__u32)(limits >> 32))
            return 0;
    }
    return 1;
}

/* Notes a rule of a chain if it matches. Returns 1 if the chain need not be followed further. */
static __always_inline int tapflow_flow_consider(struct tapflow_flow_search *search,
                                                 const struct tapflow_flow_mask *mask,
                                                 const struct tapflow_flow_rule *rule, __u32 index) {
    __u64 rank = rule->rank;
    if (rank >= search->best_rank)
        return 1; /* those behind it are worse still */
    if (rank <= search->behind || !tapflow_flow_in_ranges(search, mask, rule))
        return 0;
    search->best = index;
    search->best_rank = rank;
    return 1;
}

static long tapflow_flow_chain_step(__u32 step, void *context) {
    struct tapflow_flow_walk *walk = (struct tapflow_flow_walk *)context;
    const struct tapflow_flow_mask *mask = tapflow_flow_masks(walk->search, walk->mask);
    const struct tapflow_flow_rule *rule = tapflow_flow_rules(walk->search, walk->rule);
    (void)step;
    if (!mask || !rule || tapflow_flow_consider(walk->search, mask, rule, walk->rule))
        return 1;
    walk->rule = rule->next;
    return 0;
}

/*
 * If the words that were hashed last are those of a chain's rules, notes its best rule that matches and comes behind
 * those that have had their turn, if that is better than the best so far. Returns 0 if they are not.
 */
TAPFLOW_FLOW_FUNCTION int tapflow_flow_chain(struct tapflow_flow_search *search, __u32 mask_index, __u32 first) {
    if (!search)
        return 0;
    const struct tapflow_flow_mask *mask = tapflow_flow_masks(search, mask_index);
    const struct tapflow_flow_rule *rule = tapflow_flow_rules(search, first);
    if (!mask || !rule || rule->mask != mask->id)
        return 0;
    for (int i = 0; i < TAPFLOW_FLOW_WORDS; i++) {
        if (i >= mask->word_count)
            break;
        if (search->masked[i] != rule->words[i])
            return 0;
    }
    if (tapflow_flow_consider(search, mask, rule, first) || !rule->next)
        return 1;
    struct tapflow_flow_walk walk = {search, mask_index, rule->next};
    tapflow_flow_loop(TAPFLOW_FLOW_CHAIN_MAX, tapflow_flow_chain_step, &walk);
    return 1;
}

/* Looks for a better rule than the best so far under one mask. A slot is read once: the rule that it names stays what
 * it is until the search is over. Returns the next mask. */
TAPFLOW_FLOW_FUNCTION __u32 tapflow_flow_try(struct tapflow_flow_search *search, __u32 index) {
    if (!search)
        return 0;
    const struct tapflow_flow_mask *mask = tapflow_flow_masks(search, index);
    if (!mask)
        return 0;
    __u64 hash = tapflow_flow_hash(search, mask);
    __u32 tag = tapflow_flow_tag_of(hash);
    for (__u32 probe = 0; probe < TAPFLOW_FLOW_PROBES; probe++) {
        const struct tapflow_flow_bucket *bucket =
            tapflow_flow_buckets(search, ((__u32)hash + probe) & (TAPFLOW_FLOW_BUCKETS - 1));
        int full = 1;
        if (!bucket)
            return 0;
        for (int i = 0; i < TAPFLOW_FLOW_SLOTS; i++) {
            __u64 slot = ((const volatile struct tapflow_flow_bucket *)bucket)->slots[i];
            if (!slot)
                full = 0;
            else if ((__u32)(slot >> 32) == tag && tapflow_flow_chain(search, index, (__u32)slot))
                return mask->next;
        }
        if (!full)
            break;
    }
    return mask->next;
}

/* Begins, or begins anew, in the group of the list. */
static __always_inline void tapflow_flow_enter(struct tapflow_flow_search *search, __u32 list, __u64 behind) {
    const struct tapflow_flow_directory *directory = tapflow_flow_directories(search);
    search->behind = behind;
    search->best_rank = TAPFLOW_FLOW_NO_RANK;
    search->best = 0;
    list &= TAPFLOW_FLOW_LISTS - 1;
    search->list = list;
    __asm__ volatile("" : "+r"(list)); /* the verifier must see the bound on what the access goes by */
    list &= TAPFLOW_FLOW_LISTS - 1;
    search->mask = directory ? directory->head[list] : 0;
}

/* The best rule of its group acts. Returns 1 if that ends the search. */
static __always_inline int tapflow_flow_act(struct tapflow_flow_search *search) {
    const struct tapflow_flow_rule *rule = search->best ? tapflow_flow_rules(search, search->best) : 0;
    struct tapflow_flow_verdict *verdict = &search->verdict;
    if (!rule)
        return 1;
    __u32 actions = rule->actions;
    verdict->actions |= actions;
    verdict->rule = search->best;
    if (actions & TAPFLOW_FLOW_MARK)
        verdict->mark = rule->mark;
    if (actions & TAPFLOW_FLOW_COUNT && verdict->counter_count < TAPFLOW_FLOW_STEPS) {
        verdict->counters[verdict->counter_count & (TAPFLOW_FLOW_STEPS - 1)] = rule->counter;
        verdict->counter_count++;
    }
    if (actions & TAPFLOW_FLOW_FINAL) {
        verdict->queue = rule->queue;
        verdict->context = rule->context;
        verdict->rewrite = rule->rewrite;
        return 1;
    }
    if (++search->steps >= TAPFLOW_FLOW_STEPS)
        return 1;
    if (actions & TAPFLOW_FLOW_JUMP)
        tapflow_flow_enter(search, (search->list & ~(TAPFLOW_FLOW_GROUPS - 1u)) | (rule->group & 15), 0);
    else
        tapflow_flow_enter(search, search->list, rule->rank);
    return 0;
}

static long tapflow_flow_step(__u32 step, void *context) {
    struct tapflow_flow_search *search = *(struct tapflow_flow_search **)context;
    const struct tapflow_flow_mask *mask = tapflow_flow_masks(search, search->mask);
    (void)step;
    if (!mask || search->best_rank >> 48 < mask->priority)
        return tapflow_flow_act(search);
    search->mask = tapflow_flow_try(search, search->mask);
    return 0;
}

/*
 * What the rules of a list's group, and of those that they jump to, say of the packet whose key is in `search`. The
 * verdict is there, too.
 */
static __always_inline void tapflow_flow_decide(struct tapflow_flow_search *search, __u32 list) {
    __builtin_memset(&search->verdict, 0, __builtin_offsetof(struct tapflow_flow_verdict, counters));
    search->steps = 0;
    tapflow_flow_enter(search, list, 0);
    tapflow_flow_loop((TAPFLOW_FLOW_MASK_SLOTS + 1) * TAPFLOW_FLOW_STEPS, tapflow_flow_step, &search);
}

/* NOLINTEND(modernize-*) */

#endif
