// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/port_mode.h"

#include "pmd/plugin.h"

#include <ostream>

namespace tapflow::test {
namespace {

std::vector<PortMode> port_modes(const std::vector<bool> &remote) {
    std::vector<PortMode> modes;
    for (const bool is_remote : remote)
        for (const bool persist : {false, true})
            modes.push_back({is_remote, persist});
    return modes;
}

} // namespace

std::string PortMode::devargs() const {
    return std::string("iface=tap0") + (remote ? ",remote=eth3" : "") + (persist ? ",persist=1" : "") + tested_modes();
}

std::vector<PortMode> all_port_modes() { return port_modes({false, true}); }
std::vector<PortMode> remote_port_modes() { return port_modes({true}); }

std::vector<PortMode> port_modes_that_differ_most() {
    std::vector<PortMode> modes;
    for (const PortMode &mode : all_port_modes())
        if (mode.remote == mode.persist)
            modes.push_back(mode);
    return modes;
}

void PrintTo(const PortMode &mode, std::ostream *out) { // NOLINT(readability-identifier-naming)
    *out << (mode.remote ? "Remote" : "Local") << (mode.persist ? "Persist" : "");
}

} // namespace tapflow::test
