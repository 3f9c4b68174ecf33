// SPDX-License-Identifier: BSD-3-Clause
// What the files of Port share.
#pragma once

#include "kernel/link.h"
#include "tapflow/result.h"

#include <cerrno>

namespace tapflow::engine {

// include/uapi/linux/if_ether.h and drivers/net/tun.c (MAX_MTU): what a tap takes.
constexpr unsigned kTapMaxMtu = 65521;

constexpr const char *kTapFilter = "tapflow_egress";
constexpr const char *kTransmitRules = "tapflow_tx_rules";

inline Result<void> check_usable_as_remote(const kernel::LinkInfo &link) {
    if (link.loopback)
        return Error{EINVAL, "use " + link.name + " as remote", "a loopback interface has no Ethernet peer"};
    return {};
}

} // namespace tapflow::engine
