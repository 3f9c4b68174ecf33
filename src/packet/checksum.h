// SPDX-License-Identifier: BSD-3-Clause
// The internet checksum (RFC 1071) on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tapflow::packet {

/// Adds `length` bytes to a ones'-complement sum kept in memory byte order. Pieces may be summed one after another if
/// each but the last has an even length.
inline uint64_t checksum_add(uint64_t sum, const uint8_t *bytes, size_t length) {
    size_t i = 0;
    for (; i + 4 <= length; i += 4) {
        uint32_t word = 0;
        std::memcpy(&word, bytes + i, sizeof(word));
        sum += word;
    }
    if (i + 2 <= length) {
        uint16_t half = 0;
        std::memcpy(&half, bytes + i, sizeof(half));
        sum += half;
        i += 2;
    }
    if (i < length) {
        uint16_t half = 0; // the last byte is the first one of a word that ends in zero
        std::memcpy(&half, bytes + i, 1);
        sum += half;
    }
    return sum;
}

/// Folds a sum to 16 bits, still not complemented. To be stored with memcpy: it is in memory byte order.
inline uint16_t checksum_fold(uint64_t sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(sum);
}

/// The pseudo-header of RFC 9293 (IPv4) or RFC 8200 (IPv6) for the IP header at `ip`, an upper-layer packet of
/// `length` bytes and its protocol number.
uint64_t checksum_pseudo_header(const uint8_t *ip, bool ipv6, uint8_t protocol, uint32_t length);

} // namespace tapflow::packet
