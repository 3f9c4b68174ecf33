// SPDX-License-Identifier: BSD-3-Clause
// rte_flow's rules as ours.
#pragma once

#include "flow/rule.h"
#include "pmd/compat.h"
#include "pmd/flow_refusal.h"

namespace tapflow::pmd {

/// Makes a rule of attributes, pattern and actions; see convert_pattern() and convert_actions(). `rule` must be fresh.
/// What no rule of any port can be is refused here, what this port's cannot be by flow::validate().
///
/// Allocates nothing but for RSS actions, changes to headers, ranges and refusals. Throws std::bad_alloc.
///
/// Returns 0, or -errno with `error` (which may be null) filled in.
int convert(const FlowRequest &request, flow::Rule &rule, rte_flow_error *error);

} // namespace tapflow::pmd
