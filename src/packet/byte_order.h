// SPDX-License-Identifier: BSD-3-Clause
// Integers of headers, on the host. What BPF reads as well goes by tapflow_load16() and its like in parse.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tapflow::packet {

/// The big-endian integer of one to four bytes at `at`.
inline uint32_t load_be(const uint8_t *at, size_t bytes) {
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

inline void store_be(uint8_t *at, uint32_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        at[i] = static_cast<uint8_t>(value >> (8 * (bytes - 1 - i)));
}

} // namespace tapflow::packet
