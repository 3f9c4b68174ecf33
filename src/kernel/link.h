// SPDX-License-Identifier: BSD-3-Clause
// Network interfaces: what they are and how they are changed, over route netlink.
#pragma once

#include "kernel/netlink.h"
#include "tapflow/mac_address.h"
#include "tapflow/result.h"

#include <cstdint>
#include <string>

namespace tapflow::kernel {

/// The state of an interface at the moment of asking.
struct LinkInfo {
    int index = 0;
    std::string name;
    MacAddress mac;
    unsigned mtu = 0;
    unsigned max_mtu = 0; ///< 0: the kernel names no limit
    bool up = false;      ///< administratively up (IFF_UP)
    bool carrier = false;
    bool loopback = false;
    int master = 0;           ///< index of the bridge, bond or the like that it belongs to; 0: none
    uint32_t xdp_program = 0; ///< id of the XDP program at it; 0: none
    std::string kind;         ///< IFLA_INFO_KIND: "tun", "veth", ...; empty for a physical device
    unsigned tun_queues = 0;  ///< of a multi-queue tap: those that somebody has open
    uint64_t tx_dropped = 0;  ///< of a tap: what its queues had no room for, or its filter did not let in

    bool operator==(const LinkInfo &) const = default;
};

/// The interface of that name. Errors: ENODEV.
Result<LinkInfo> get_link(Netlink &netlink, const std::string &name);
/// The interface of that index, whatever its name is now. Errors: ENODEV.
Result<LinkInfo> get_link(Netlink &netlink, int index);

Result<void> set_link_up(Netlink &netlink, const LinkInfo &link, bool up);
Result<void> set_link_mtu(Netlink &netlink, const LinkInfo &link, unsigned mtu);
/// Frames that each queue of a tap holds for its reader, super-frames counted as one.
Result<void> set_link_tx_queue_length(Netlink &netlink, const LinkInfo &link, unsigned frames);
Result<void> set_link_mac(Netlink &netlink, const LinkInfo &link, const MacAddress &mac);
/// No link-local address and so no router solicitations: the interface stays silent until somebody configures it.
Result<void> set_link_no_ipv6_autoconf(Netlink &netlink, const LinkInfo &link);

} // namespace tapflow::kernel
