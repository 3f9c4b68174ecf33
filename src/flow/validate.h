// SPDX-License-Identifier: BSD-3-Clause
// What is wrong with a rule by itself, whatever other rules there are.
#pragma once

#include "flow/rule.h"
#include "tapflow/result.h"

#include <cstdint>
#include <optional>

namespace tapflow::flow {

/// What of a rule is refused, for who has to point at it.
enum class Part : uint8_t {
    Group,
    Priority,
    Direction,
    Pattern,
    Actions,
    Mark,
    Queue,
    Rss,
    Jump,
    Rewrite,
    Other,
};

struct Refusal {
    Part part = Part::Other;
    Error error; ///< EINVAL: nobody could do that; ENOTSUP: not done here; ERANGE: not with this port's queues
};

/// What the port can do.
struct Capabilities {
    unsigned queues = 0; ///< Rx queues; 0: not configured yet, then every queue number below TAPFLOW_QUEUES_MAX will do
    bool rewrites = true;
    bool egress = true;
};

/// Nothing, or the first thing that is wrong with a rule.
std::optional<Refusal> validate(const Rule &rule, const Capabilities &capabilities);
/// The same of an RSS action by itself.
std::optional<Error> validate(const RssAction &action, const Capabilities &capabilities);

} // namespace tapflow::flow
