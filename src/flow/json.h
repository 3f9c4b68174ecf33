// SPDX-License-Identifier: BSD-3-Clause
// Rules as JSON: a stable form for saving and comparing.
#pragma once

#include "flow/rule.h"
#include "tapflow/result.h"

#include <nlohmann/json.hpp>

namespace tapflow::flow {

/// {"direction": "ingress", "group": 0, "priority": 3,
///  "pattern": [{"item": "ipv4", "src": {"is": "10.0.0.1"}}, {"item": "udp", "dst": {"spec": 0, "last": 1023, "mask":
///  65535}}], "actions": [{"action": "mark", "id": 7}, {"action": "queue", "index": 2}]}
///
/// Names are testpmd's, as in the text form; addresses are strings, all other values numbers. A header of whatever kind
/// is
/// {"item": "any"}. RSS has what is given of "func", "level", "types", "key" (hexadecimal) and "queues"; an action that
/// is kept elsewhere is {"action": "indirect", "id": 7, "kind": "rss"}, or "count".
nlohmann::json to_json(const Rule &rule);

/// Errors: EINVAL naming the member that is missing, unknown or out of range.
Result<Rule> rule_from_json(const nlohmann::json &json);

} // namespace tapflow::flow
