// SPDX-License-Identifier: BSD-3-Clause
// What DPDK's telemetry shows of our ports: the commands /tapflow/..., which run in threads of its own.
#pragma once

#include "pmd/compat.h"

#include <mutex>

namespace tapflow::pmd {

/// Makes the commands known to DPDK. Once in a process.
void register_telemetry();

/// From now on answers tell of the port ...
void show_in_telemetry(rte_eth_dev *dev);
/// ... and when this returns none does, nor will.
void hide_from_telemetry(const rte_eth_dev *dev);

/// While this lives no answer is being made. Taken before any other lock.
class TelemetryHeld {
  public:
    TelemetryHeld();

  private:
    std::lock_guard<std::mutex> lock_;
};

/// An ethdev operation that changes what answers show, as one that never does so while they are being made.
template <auto Operation>
constexpr auto kHoldingTelemetry = [](auto... arguments) {
    const TelemetryHeld held;
    return Operation(arguments...);
};

} // namespace tapflow::pmd
