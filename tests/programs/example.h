// SPDX-License-Identifier: BSD-3-Clause
// One of DPDK's example programs with the plugin.
#pragma once

#include "support/eal.h"
#include "support/netns.h"
#include "support/process.h"

#include <optional>
#include <string>
#include <vector>

namespace tapflow::test {

struct ExampleOptions {
    std::string name;               ///< "l3fwd-power"
    std::vector<std::string> vdevs; ///< "net_tap0,iface=tap0"
    unsigned lcores = 1;
    std::vector<std::string> arguments; ///< the program's own
};

/// Whether its sources could be fetched when this was configured.
bool example_is_there(const std::string &name);

/// Runs until it is told to stop, or with this object.
class Example {
  public:
    Example(const NetNs &netns, const ExampleOptions &options);

    [[nodiscard]] Process &process() { return *process_; }
    /// CPU time of all its threads up to now, in seconds.
    [[nodiscard]] double cpu_seconds() const;

  private:
    RuntimeDirectory runtime_directory_;
    std::optional<Process> process_;
};

} // namespace tapflow::test
