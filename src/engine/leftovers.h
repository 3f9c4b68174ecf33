// SPDX-License-Identifier: BSD-3-Clause
// What a port whose process has ended without closing it has left in the kernel.
#pragma once

#include "engine/inspect.h"
#include "tapflow/result.h"

#include <string>
#include <vector>

namespace tapflow::engine {

/// A thing that stays until somebody removes it.
struct Leftover {
    enum class Kind : uint8_t {
        Filters,     ///< the port's programs and rules at an interface
        Tap,         ///< a persistent tap of the port's making
        TapPrograms, ///< a tap of somebody else's that still steers and filters by the port's programs
    };
    Kind kind{};
    std::string interface;
    bool at_remote = false; ///< Filters: else at the tap
    std::string what;       ///< for people: "3 filters at eth0 ingress"
};

/// What is left of a port; empty while its process runs, or may run. In the order in which it is to be removed.
std::vector<Leftover> leftovers_of(const InspectedPort &port);

/// Removes one. What has gone meanwhile is no error. Errors: EBUSY when another port has come to use it; what the
/// kernel says.
Result<void> remove_leftover(const InspectedPort &port, const Leftover &leftover);

/// Waits until the kernel has freed the programs of a port of which nothing is left any more, which it does a grace
/// period or two later: until then the port is still found. Not longer than a second: somebody else may hold them.
void wait_until_freed(InspectedPort port);

} // namespace tapflow::engine
