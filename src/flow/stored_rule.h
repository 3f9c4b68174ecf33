// SPDX-License-Identifier: BSD-3-Clause
// Rules as the tables have them, read back as values.
#pragma once

#include "flow/rule.h"
#include "tapflow/abi/flow.h"
#include "tapflow/abi/rss.h"

namespace tapflow::flow {

/// Group and direction are those of the list (see TAPFLOW_FLOW_LISTS) that its mask is in.
Attributes stored_attributes(const tapflow_flow_rule &rule, uint32_t list);
Match stored_match(const tapflow_flow_rule &rule, const tapflow_flow_mask &mask);
/// But for what is kept elsewhere: RSS that is the rule's own, and header changes.
Actions stored_actions(const tapflow_flow_rule &rule);

/// The number by which rules are told from each other in the order of their creation, from 1 on.
inline uint64_t number_of(const tapflow_flow_rule &rule) { return rule.rank & ((uint64_t{1} << 48) - 1); }

/// What an RSS action says, beside the tables that were made from it, and read back from there.
void store(const RssAction &action, tapflow_rss &tables);
RssAction stored_rss_action(const tapflow_rss &tables);

/// Header changes; those beyond TAPFLOW_FLOW_REWRITES_MAX are counted only.
void store(const std::vector<Rewrite> &changes, tapflow_flow_rewrites &out);
std::vector<Rewrite> stored_rewrites(const tapflow_flow_rewrites &changes);

} // namespace tapflow::flow
