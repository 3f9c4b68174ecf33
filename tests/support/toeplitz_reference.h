// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tapflow::test {

/// Toeplitz as Microsoft's specification of RSS words it, bit by bit ("RSS Hashing Functions", ComputeHash). Shares
/// nothing with the tables it is the judge of. Key bits behind the key's end are zero.
inline uint32_t toeplitz_reference(std::span<const uint8_t> key, std::span<const uint8_t> input) {
    const auto key_bit = [&](size_t bit) -> uint32_t {
        return bit / 8 < key.size() ? (key[bit / 8] >> (7 - bit % 8)) & 1U : 0U;
    };
    uint32_t leftmost = 0;
    for (size_t bit = 0; bit < 32; bit++)
        leftmost = leftmost << 1U | key_bit(bit);
    uint32_t hash = 0;
    for (size_t bit = 0; bit < 8 * input.size(); bit++) {
        if ((input[bit / 8] >> (7 - bit % 8)) & 1U)
            hash ^= leftmost;
        leftmost = leftmost << 1U | key_bit(bit + 32);
    }
    return hash;
}

} // namespace tapflow::test
