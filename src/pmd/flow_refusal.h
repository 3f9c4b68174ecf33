// SPDX-License-Identifier: BSD-3-Clause
// Saying no as rte_flow wants it: what kind of thing is wrong, which one, and why.
#pragma once

#include "flow/validate.h"
#include "pmd/compat.h"
#include "tapflow/result.h"

#include <string_view>

namespace tapflow::pmd {

/// A rule as an application hands it over, for pointing into it.
struct FlowRequest {
    const rte_flow_attr *attr = nullptr;
    const rte_flow_item *pattern = nullptr;
    const rte_flow_action *actions = nullptr;
};

// All of these fill in `error`, which may be null, set rte_errno, and return -errno. The message reads "what: why". It
// is the calling thread's, and stays until that thread is refused something else.

int refuse(rte_flow_error *error, int code, rte_flow_error_type type, const void *cause, std::string_view what,
           std::string_view why);
int refuse(rte_flow_error *error, rte_flow_error_type type, const void *cause, const Error &reason);
/// What is wrong with a rule as a whole: the cause is the attribute, item or action that is to blame.
int refuse(rte_flow_error *error, const FlowRequest &request, const flow::Refusal &refusal);
/// Something is wrong with the configuration of an action.
int refuse_action(rte_flow_error *error, int code, rte_flow_error_type type, const rte_flow_action &action,
                  std::string_view why);

/// "MARK"; "?" for a type that DPDK does not know.
const char *name_of(rte_flow_item_type type);
const char *name_of(rte_flow_action_type type);

} // namespace tapflow::pmd
