// SPDX-License-Identifier: BSD-3-Clause
// The rules' tables as the host reaches them, and the search in them.
#pragma once

#include "tapflow/abi/flow.h"

#include <array>
#include <cstdint>

/// Where the tables are: memory that BPF programs share, or that of a test.
struct tapflow_flow_tables {
    tapflow_flow_directory *directory = nullptr;
    tapflow_flow_bucket *buckets = nullptr; ///< TAPFLOW_FLOW_BUCKETS
    std::array<tapflow_flow_rule *, TAPFLOW_FLOW_RULE_CHUNKS> chunks{};
};

#define TAPFLOW_FLOW_FUNCTION static inline

struct tapflow_flow_search;
static const tapflow_flow_mask *tapflow_flow_masks(const tapflow_flow_search *search, uint32_t index);
static const tapflow_flow_rule *tapflow_flow_rules(const tapflow_flow_search *search, uint32_t index);
static const tapflow_flow_bucket *tapflow_flow_buckets(const tapflow_flow_search *search, uint32_t index);
static const tapflow_flow_directory *tapflow_flow_directories(const tapflow_flow_search *search);

static inline void tapflow_flow_loop(uint32_t count, long (*step)(uint32_t, void *), void *context) {
    for (uint32_t i = 0; i < count; i++)
        if (step(i, context) != 0)
            return;
}

#include "flow/key.h"
#include "flow/lookup.h"

inline const tapflow_flow_mask *tapflow_flow_masks(const tapflow_flow_search *search, uint32_t index) {
    return index > 0 && index < TAPFLOW_FLOW_MASK_SLOTS ? &search->tables->directory->masks[index] : nullptr;
}

inline const tapflow_flow_rule *tapflow_flow_rules(const tapflow_flow_search *search, uint32_t index) {
    if (index == 0 || index >= TAPFLOW_FLOW_RULES_MAX)
        return nullptr;
    const tapflow_flow_rule *chunk = search->tables->chunks[index / TAPFLOW_FLOW_RULE_CHUNK];
    return chunk ? &chunk[index % TAPFLOW_FLOW_RULE_CHUNK] : nullptr;
}

inline const tapflow_flow_bucket *tapflow_flow_buckets(const tapflow_flow_search *search, uint32_t index) {
    return search->tables->buckets ? &search->tables->buckets[index] : nullptr;
}

inline const tapflow_flow_directory *tapflow_flow_directories(const tapflow_flow_search *search) {
    return search->tables->directory;
}

namespace tapflow::flow {

/// The key of a frame. `beside`: a tag that the kernel keeps beside it.
inline tapflow_flow_key key_of(const uint8_t *data, const uint8_t *end, const tapflow_flow_tag &beside = {}) {
    tapflow_packet packet;
    tapflow_flow_key key;
    tapflow_parse(data, end, beside.tpid, &packet);
    tapflow_flow_outer(data, end, &beside, &packet, &key);
    tapflow_flow_inner(data, end, &packet, &key);
    return key;
}

/// What the rules of a list (see TAPFLOW_FLOW_LISTS) say of a packet, while they may be changed.
inline tapflow_flow_verdict search(const tapflow_flow_tables &tables, const tapflow_flow_key &key, uint32_t list) {
    tapflow_flow_search search;
    search.key = key;
    search.tables = &tables;
    tapflow_flow_decide(&search, list);
    return search.verdict;
}

} // namespace tapflow::flow
