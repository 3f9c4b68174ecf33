// SPDX-License-Identifier: BSD-3-Clause
// Microsoft's "Verifying the RSS Hash Calculation": the suite's addresses, ports and hashes, for rss::default_key().
#pragma once

#include "packet/build.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace tapflow::test {

struct RssVerification {
    const char *source;
    const char *destination;
    uint16_t source_port;
    uint16_t destination_port;
    uint32_t l3_hash; ///< over the addresses
    uint32_t l4_hash; ///< over addresses and ports

    [[nodiscard]] packet::Bytes frame(bool tcp) const {
        packet::Packet packet;
        packet.ether();
        if (std::strchr(source, ':') != nullptr)
            packet.ipv6(source, destination);
        else
            packet.ipv4(source, destination);
        if (tcp)
            packet.tcp(source_port, destination_port);
        else
            packet.udp(source_port, destination_port);
        return packet.payload(32).bytes();
    }
};

inline constexpr std::array kRssVerificationSuite{
    RssVerification{"66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178},
    RssVerification{"199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea},
    RssVerification{"24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a},
    RssVerification{"38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xafc7327f},
    RssVerification{"153.39.163.191", "202.188.127.2", 44251, 1303, 0x5d1809c5, 0x10e828a2},
    RssVerification{"3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d},
    RssVerification{"3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf},
    RssVerification{"3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024, 0x4b61e985,
                    0x02d1feef},
};

} // namespace tapflow::test
