// SPDX-License-Identifier: BSD-3-Clause
// rte_flow on a port.
#pragma once

#include "pmd/compat.h"

namespace tapflow::pmd {

/// Safe to call from any thread, in any state of the port. Each operation sets rte_errno to 0 where it succeeds:
/// net_failsafe takes any other value for a failure. Nothing is thrown. What an application asks in vain is said in its
/// rte_flow_error and not logged: to ask is how applications find out what a port can do.
extern const rte_flow_ops kFlowOps;

} // namespace tapflow::pmd
