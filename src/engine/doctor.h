// SPDX-License-Identifier: BSD-3-Clause
// Whether this machine has what a port needs, found by trying it in a network namespace that goes again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tapflow::engine {

struct Finding {
    enum class Status : uint8_t {
        Ok,
        Missing,  ///< no port can be opened
        Degraded, ///< ports do without, or with less
    };

    std::string name;
    Status status = Status::Ok;
    std::string what; ///< what was tried, and the kernel's answer
    std::string cost; ///< what it costs the user; empty when it is ok
    std::string mend; ///< how to mend it; empty when it is ok, and where nothing can be done
};

/// Of the machine and of the calling process. `plugin`: file names of the DPDK plugin, of which the first that there is
/// counts.
std::vector<Finding> examine_machine(const std::vector<std::string> &plugin);

/// Of an interface of the caller's namespace as a port's remote. Changes nothing there.
std::vector<Finding> examine_remote(const std::string &name);

} // namespace tapflow::engine
