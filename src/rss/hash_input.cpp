// SPDX-License-Identifier: BSD-3-Clause
#include "rss/hash_input.h"

#include "packet/parse.h"
#include "rss/fields.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace tapflow::rss {
namespace {

using Bytes = std::vector<uint8_t>;

/// What is hashed as a pair, in the order in which it stands in the input.
struct Pair {
    HashField first;
    HashField second;
    uint64_t first_only; ///< the modifier that leaves out the second
    uint64_t second_only;
};

/// A piece of memory that is as on the wire.
Bytes wire(const void *at, size_t size) {
    const auto *bytes = static_cast<const uint8_t *>(at);
    return {bytes, bytes + size};
}

void apply_modifiers(const RssConfig &config, Pair &pair) {
    const bool first_only = (config.types & pair.first_only) != 0;
    const bool second_only = (config.types & pair.second_only) != 0;
    Bytes &first = pair.first.bytes;
    Bytes &second = pair.second.bytes;
    if (first_only != second_only) {
        Bytes &left_out = first_only ? second : first;
        std::fill(left_out.begin(), left_out.end(), uint8_t{0});
    } else if (config.function == Function::SymmetricToeplitz) {
        for (size_t i = 0; i < first.size(); i++)
            first[i] = second[i] = first[i] ^ second[i];
    } else if (config.function == Function::SymmetricToeplitzSort && first > second) {
        std::swap(first, second); // big-endian numbers compare as their bytes do
    }
}

bool is_ipv6(unsigned packet_class) { return packet_class >= TAPFLOW_CLASS_IPV6_OTHER; }

uint32_t toeplitz(std::span<const uint8_t> key, std::span<const uint8_t> input) {
    const auto key_bit = [&](size_t bit) -> uint32_t {
        return bit / 8 < key.size() ? key[bit / 8] >> (7 - bit % 8) & 1U : 0U;
    };
    uint32_t window = 0;
    for (size_t bit = 0; bit < 32; bit++)
        window = window << 1 | key_bit(bit);
    uint32_t hash = 0;
    for (size_t bit = 0; bit < 8 * input.size(); bit++) {
        if (input[bit / 8] >> (7 - bit % 8) & 1U)
            hash ^= window;
        window = window << 1 | key_bit(bit + 32);
    }
    return hash;
}

uint32_t exclusive_or(Bytes input) {
    input.resize((input.size() + 3) / 4 * 4);
    uint32_t hash = 0;
    for (size_t i = 0; i < input.size(); i += 4)
        hash ^= uint32_t{input[i]} << 24 | uint32_t{input[i + 1]} << 16 | uint32_t{input[i + 2]} << 8 | input[i + 3];
    return hash;
}

} // namespace

Bytes HashInput::bytes() const {
    Bytes all;
    for (const HashField &field : fields)
        all.insert(all.end(), field.bytes.begin(), field.bytes.end());
    return all;
}

HashInput hash_input(const RssConfig &config, const tapflow_rss &tables, std::span<const uint8_t> frame) {
    const uint8_t *data = frame.data();
    const uint8_t *end = data + frame.size();
    tapflow_packet packet;
    tapflow_parse(data, end, 0, &packet);
    HashInput input;
    input.packet_class = packet.packet_class;
    const uint16_t outer_l3 = packet.l3_offset;
    // Symmetry is ours to do: the classifier's way of it would be no second opinion.
    if (tables.flags & TAPFLOW_RSS_INNERMOST)
        tapflow_use_inner(data, end, &packet);
    input.is_inner = packet.l3_offset != outer_l3;
    if (tables.input[packet.packet_class & 15] & TAPFLOW_INPUT_EXTENSION)
        tapflow_use_mobile_addresses(data, end, &packet);
    input.hashed_class = packet.packet_class;
    const unsigned what = tables.input[packet.packet_class & 15];
    std::vector<Pair> pairs;
    if (what & TAPFLOW_INPUT_L2)
        pairs.push_back({{"destination MAC", wire(packet.words, 6)},
                         {"source MAC", wire(reinterpret_cast<const uint8_t *>(packet.words) + 6, 6)},
                         kL2DestinationOnly,
                         kL2SourceOnly});
    const size_t address = is_ipv6(packet.packet_class) ? 16 : 4;
    if (what & TAPFLOW_INPUT_ADDRESSES)
        pairs.push_back({{"source address", wire(packet.words, address)},
                         {"destination address", wire(packet.words + address / 4, address)},
                         kL3SourceOnly,
                         kL3DestinationOnly});
    if (what & TAPFLOW_INPUT_PORTS)
        pairs.push_back({{"source port", wire(&packet.ports, 2)},
                         {"destination port", wire(reinterpret_cast<const uint8_t *>(&packet.ports) + 2, 2)},
                         kL4SourceOnly,
                         kL4DestinationOnly});
    for (Pair &pair : pairs) {
        apply_modifiers(config, pair);
        input.fields.push_back(std::move(pair.first));
        input.fields.push_back(std::move(pair.second));
    }
    if (what & TAPFLOW_INPUT_L2)
        input.fields.push_back({"EtherType", wire(packet.words + 3, 2)});
    if (what & TAPFLOW_INPUT_SPI)
        input.fields.push_back({"SPI", wire(&packet.ports, 4)});
    return input;
}

std::optional<uint32_t> hash_of(const RssConfig &config, const HashInput &input) {
    if (input.fields.empty())
        return std::nullopt;
    const Bytes bytes = input.bytes();
    return config.function == Function::SimpleXor ? exclusive_or(bytes) : toeplitz(config.key, bytes);
}

const char *class_name(uint8_t packet_class) {
    constexpr std::array<const char *, TAPFLOW_CLASS_COUNT> kNames{
        "not IP",     "IPv4 other",    "IPv4 fragment", "IPv4 TCP", "IPv4 UDP",  "IPv4 SCTP", "IPv4 ESP", "IPv4 AH",
        "IPv6 other", "IPv6 fragment", "IPv6 TCP",      "IPv6 UDP", "IPv6 SCTP", "IPv6 ESP",  "IPv6 AH"};
    return packet_class < kNames.size() ? kNames[packet_class] : "?";
}

} // namespace tapflow::rss
