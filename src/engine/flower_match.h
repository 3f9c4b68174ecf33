// SPDX-License-Identifier: BSD-3-Clause
// A rule's match in the words of flower.
#pragma once

#include "flow/rule.h"
#include "kernel/flower.h"
#include "tapflow/result.h"

#include <vector>

namespace tapflow::engine {

/// The keys of filters that together match a rule's packets, and no packet twice: flower has no "or". Empty: the rule
/// matches no packet.
///
/// What flower and we see differently of odd packets is in doc/flow-rules.md.
///
/// Errors: ENOTSUP naming the field, or the header, that flower cannot compare so.
Result<std::vector<std::vector<kernel::FlowerKey>>> flower_keys(const flow::Match &match);

} // namespace tapflow::engine
