// SPDX-License-Identifier: BSD-3-Clause
// What a packet's RSS hash must be, from what a test has put into it. Shares nothing with the parser, the tables and
// the classifier, whose judge it is.
#pragma once

#include "packet/build.h"
#include "rss/names.h"
#include "rss/rss_config.h"
#include "support/toeplitz_reference.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tapflow::test {

inline constexpr std::array kFunctions{rss::Function::Toeplitz, rss::Function::SimpleXor,
                                       rss::Function::SymmetricToeplitz, rss::Function::SymmetricToeplitzSort};

/// As the device argument rss_function has it.
inline std::string function_name(rss::Function function) {
    for (const rss::FunctionName &name : rss::kFunctionNames)
        if (name.function == function)
            return name.name;
    return {};
}

/// Source and destination, in the order in which they stand in the input.
struct HashedPair {
    packet::Bytes first;
    packet::Bytes second;
    uint64_t first_only;  ///< the modifier that leaves out the second
    uint64_t second_only; ///< the modifier that leaves out the first
};

/// The input of a hash, field by field.
struct HashInput {
    std::vector<HashedPair> pairs;
    packet::Bytes rest; ///< what has no counterpart: SPI, EtherType

    [[nodiscard]] HashInput with_ports(uint16_t source, uint16_t destination) const {
        HashInput input = *this;
        input.pairs.push_back(
            {big_endian(source), big_endian(destination), rss::kL4SourceOnly, rss::kL4DestinationOnly});
        return input;
    }

    [[nodiscard]] HashInput with_spi(uint32_t spi) const {
        HashInput input = *this;
        for (const uint32_t half : {spi >> 16U, spi & 0xffffU})
            for (const uint8_t byte : big_endian(static_cast<uint16_t>(half)))
                input.rest.push_back(byte);
        return input;
    }

    static packet::Bytes big_endian(uint16_t value) {
        return {static_cast<uint8_t>(value >> 8U), static_cast<uint8_t>(value)};
    }
};

/// Of an IP packet: its addresses.
template <typename Address> HashInput ip_input(const Address &source, const Address &destination) {
    return {{{packet::Bytes(source.bytes.begin(), source.bytes.end()),
              packet::Bytes(destination.bytes.begin(), destination.bytes.end()), rss::kL3SourceOnly,
              rss::kL3DestinationOnly}},
            {}};
}

/// Of any other packet: the destination first, as on the wire, and the EtherType behind the tags that are looked
/// through.
inline HashInput l2_input(const packet::Mac &destination, const packet::Mac &source, uint16_t type) {
    return {{{packet::Bytes(destination.bytes.begin(), destination.bytes.end()),
              packet::Bytes(source.bytes.begin(), source.bytes.end()), rss::kL2DestinationOnly, rss::kL2SourceOnly}},
            HashInput::big_endian(type)};
}

/// The bytes that are left when the function's symmetry and the modifiers (among `types`) have had their way.
inline packet::Bytes hashed_bytes(rss::Function function, const HashInput &input, uint64_t types) {
    packet::Bytes bytes;
    for (HashedPair pair : input.pairs) {
        const bool first_only = (types & pair.first_only) != 0;
        const bool second_only = (types & pair.second_only) != 0;
        if (first_only != second_only) {
            packet::Bytes &left_out = first_only ? pair.second : pair.first;
            std::fill(left_out.begin(), left_out.end(), uint8_t{0});
        } else if (function == rss::Function::SymmetricToeplitz) {
            for (size_t i = 0; i < pair.first.size(); i++)
                pair.first[i] = pair.second[i] = pair.first[i] ^ pair.second[i];
        } else if (function == rss::Function::SymmetricToeplitzSort && pair.first > pair.second) {
            std::swap(pair.first, pair.second); // big-endian numbers compare as their bytes do
        }
        bytes.insert(bytes.end(), pair.first.begin(), pair.first.end());
        bytes.insert(bytes.end(), pair.second.begin(), pair.second.end());
    }
    bytes.insert(bytes.end(), input.rest.begin(), input.rest.end());
    return bytes;
}

/// The hash of a packet with this input: which types have selected it is the test's to know.
inline uint32_t hash_reference(const rss::RssConfig &config, const HashInput &input) {
    packet::Bytes bytes = hashed_bytes(config.function, input, config.types);
    if (config.function != rss::Function::SimpleXor)
        return toeplitz_reference(config.key, bytes);
    bytes.resize((bytes.size() + 3) / 4 * 4);
    uint32_t hash = 0;
    for (size_t i = 0; i < bytes.size(); i += 4)
        hash ^= static_cast<uint32_t>(bytes[i]) << 24U | static_cast<uint32_t>(bytes[i + 1]) << 16U |
                static_cast<uint32_t>(bytes[i + 2]) << 8U | bytes[i + 3];
    return hash;
}

} // namespace tapflow::test
