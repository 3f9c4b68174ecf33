// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

namespace tapflow {

/// An Ethernet MAC address, first byte on the wire first.
struct MacAddress {
    std::array<uint8_t, 6> bytes{};

    [[nodiscard]] bool is_multicast() const { return bytes[0] & 1; }
    [[nodiscard]] bool is_zero() const { return *this == MacAddress{}; }

    /// As tapflow_port_config::mac and the keys of the address map have it: first byte lowest, upper two zero.
    [[nodiscard]] uint64_t word() const {
        uint64_t value = 0;
        for (unsigned i = 0; i < bytes.size(); i++)
            value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
        return value;
    }

    [[nodiscard]] std::string text() const {
        std::array<char, 18> buffer{};
        std::snprintf(buffer.data(), buffer.size(), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2],
                      bytes[3], bytes[4], bytes[5]);
        return buffer.data();
    }

    bool operator==(const MacAddress &) const = default;
};

} // namespace tapflow
