// SPDX-License-Identifier: BSD-3-Clause
// What a port's flags are called where people see them.
#pragma once

#include "tapflow/abi/port_state.h"

#include <array>

namespace tapflow::engine {

struct PortFlagName {
    const char *name;
    tapflow_port_flag flag;
};

constexpr auto kPortFlagNames = std::to_array<PortFlagName>({
    {"started", TAPFLOW_PORT_STARTED},
    {"promiscuous", TAPFLOW_PORT_PROMISCUOUS},
    {"allmulticast", TAPFLOW_PORT_ALLMULTICAST},
    {"isolated", TAPFLOW_PORT_ISOLATED},
    {"trailer", TAPFLOW_PORT_TRAILER},
    {"rules", TAPFLOW_PORT_RULES},
    {"vlan_filter", TAPFLOW_PORT_VLAN_FILTER},
});

} // namespace tapflow::engine
