// SPDX-License-Identifier: BSD-3-Clause
// Rules in the words of testpmd's "flow create" command.
#pragma once

#include "flow/rule.h"
#include "tapflow/result.h"

#include <string>
#include <string_view>

namespace tapflow::flow {

/// "ingress group 0 priority 3 pattern eth / ipv4 src is 10.0.0.1 / end actions queue index 2 / end". The items are
/// those of the match's normal form: what said nothing (VOID, ANY) is gone. Fields in host byte order, as testpmd takes
/// them.
std::string to_text(const Rule &rule);
/// The pattern, and the actions, by themselves, without "pattern", "actions" and "end".
std::string pattern_text(const Match &match);
std::string actions_text(const Actions &actions);

/// Reads such a text. "flow create <port>" may stand in front. A field with "spec" and no mask is compared whole;
/// actions that are kept elsewhere are "indirect 7 rss" and "indirect 7 count". Errors: EINVAL naming the word that is
/// wrong and what could stand in its place, with its position.
Result<Rule> parse_rule(std::string_view text);

} // namespace tapflow::flow
