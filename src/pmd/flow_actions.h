// SPDX-License-Identifier: BSD-3-Clause
// rte_flow's actions, and the handles of indirect ones.
#pragma once

#include "flow/rule.h"
#include "pmd/compat.h"

#include <cstdint>

namespace tapflow::pmd {

/// Reads a list of actions. Of those that decide what becomes of a packet (QUEUE, RSS, DROP, PASSTHRU, JUMP), of MARK,
/// of FLAG and of COUNT there can be one; changes to headers are made in their order.
///
/// RSS types are taken as they are where the port knows them all, and refused else: Open vSwitch's (RTE_ETH_RSS_IP,
/// RTE_ETH_RSS_TCP and RTE_ETH_RSS_UDP, whatever the port offers) are all known.
///
/// Returns 0, or -errno with `error` (which may be null) filled in.
int convert_actions(const rte_flow_action *actions, flow::Actions &out, rte_flow_error *error);
/// Reads the configuration of one RSS action.
int convert_rss(const rte_flow_action &action, flow::RssAction &out, rte_flow_error *error);

/// Whether an action changes headers.
bool is_rewrite(rte_flow_action_type type);

/// What the handle of an indirect action says. Handles that were made up may say anything.
struct SharedAction {
    enum class Kind : uint8_t { Rss, Count };
    Kind kind{};
    uint32_t number = 0; ///< the engine's, never 0
};
/// Never null.
rte_flow_action_handle *to_handle(SharedAction action);
SharedAction from_handle(const rte_flow_action_handle *handle);
/// Whether an action is an indirect one of this kind.
bool names_shared(const rte_flow_action &action, SharedAction::Kind kind);

} // namespace tapflow::pmd
