// SPDX-License-Identifier: BSD-3-Clause
// The modes of a port: tests of what must hold in each are made once and run in all.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace tapflow::test {

struct PortMode {
    bool remote;
    bool persist;

    /// "iface=tap0,remote=eth3,persist=1,rx=ring": the Rx mode is that of the run
    [[nodiscard]] std::string devargs() const;
};

/// "RemotePersist", also as a parameter's name.
void PrintTo(const PortMode &mode, std::ostream *out); // NOLINT(readability-identifier-naming)

/// Every mode, or the remote ones alone.
std::vector<PortMode> all_port_modes();
std::vector<PortMode> remote_port_modes();
/// Local ones without, remote ones with a persistent tap: for trouble that does not concern the tap.
std::vector<PortMode> port_modes_that_differ_most();

} // namespace tapflow::test
