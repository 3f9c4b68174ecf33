// SPDX-License-Identifier: BSD-3-Clause
#include "rss/rss_config.h"

#include <algorithm>
#include <array>
#include <bit>

namespace tapflow::rss {
namespace {

/// Which inputs a packet class has, by the types that are set.
struct ClassInput {
    tapflow_packet_class packet_class;
    uint64_t own_type;    ///< selects `own_input`
    uint64_t family_type; ///< selects L3
    tapflow_hash_input own_input;
};

constexpr std::array kClassInputs{
    ClassInput{TAPFLOW_CLASS_IPV4_OTHER, kIpv4Other, kIpv4, TAPFLOW_INPUT_L3},
    ClassInput{TAPFLOW_CLASS_IPV4_FRAGMENT, kFragmentIpv4, kIpv4, TAPFLOW_INPUT_L3},
    ClassInput{TAPFLOW_CLASS_IPV4_TCP, kIpv4Tcp, kIpv4, TAPFLOW_INPUT_L3_L4},
    ClassInput{TAPFLOW_CLASS_IPV4_UDP, kIpv4Udp, kIpv4, TAPFLOW_INPUT_L3_L4},
    ClassInput{TAPFLOW_CLASS_IPV6_OTHER, kIpv6Other, kIpv6, TAPFLOW_INPUT_L3},
    ClassInput{TAPFLOW_CLASS_IPV6_FRAGMENT, kFragmentIpv6, kIpv6, TAPFLOW_INPUT_L3},
    ClassInput{TAPFLOW_CLASS_IPV6_TCP, kIpv6Tcp, kIpv6, TAPFLOW_INPUT_L3_L4},
    ClassInput{TAPFLOW_CLASS_IPV6_UDP, kIpv6Udp, kIpv6, TAPFLOW_INPUT_L3_L4},
};

/// The 32 bits of the key from bit `bit` on.
uint32_t key_window(std::span<const uint8_t> key, size_t bit) {
    const size_t byte = bit / 8;
    uint64_t window = 0;
    for (size_t i = 0; i < 5; i++)
        window = window << 8 | (byte + i < key.size() ? key[byte + i] : 0u);
    return static_cast<uint32_t>(window >> (8 - bit % 8));
}

} // namespace

std::span<const uint8_t> default_key() {
    static constexpr std::array<uint8_t, kKeySize> key{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                                       0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                                       0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                                       0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
    return key;
}

std::vector<uint16_t> round_robin_reta(unsigned queues, size_t slots) {
    std::vector<uint16_t> reta(slots);
    for (size_t i = 0; i < slots; i++)
        reta[i] = static_cast<uint16_t>(i % std::max(queues, 1u));
    return reta;
}

Result<void> validate(const RssConfig &config, unsigned queues) {
    if (config.key.size() != kKeySize)
        return Error{EINVAL, "set RSS key",
                     "the key has " + std::to_string(config.key.size()) + " bytes, needed are " +
                         std::to_string(kKeySize)};
    if (config.types & ~kAllTypes)
        return Error{EINVAL, "set RSS types", "a type that is not supported is set"};
    if (!std::has_single_bit(config.reta.size()) || config.reta.size() > TAPFLOW_RETA_MAX)
        return Error{EINVAL, "set RETA", "its size must be a power of two up to " + std::to_string(TAPFLOW_RETA_MAX)};
    auto outside = std::find_if(config.reta.begin(), config.reta.end(), [&](uint16_t q) { return q >= queues; });
    if (outside != config.reta.end())
        return Error{EINVAL, "set RETA",
                     "slot " + std::to_string(outside - config.reta.begin()) + " names queue " +
                         std::to_string(*outside) + ", there are " + std::to_string(queues)};
    return {};
}

void build_tables(const RssConfig &config, tapflow_rss &tables) {
    tables = {};
    for (size_t i = 0; i < TAPFLOW_HASH_INPUT_MAX; i++)
        for (size_t bit = 0; bit < 8; bit++) {
            const uint32_t window = key_window(config.key, 8 * i + bit);
            for (size_t value = 0; value < 256; value++)
                if (value & (0x80u >> bit))
                    tables.toeplitz[i][value] ^= window;
        }
    std::copy(config.reta.begin(), config.reta.end(), tables.reta);
    tables.reta_mask = static_cast<uint32_t>(config.reta.size() - 1);
    for (const ClassInput &row : kClassInputs) {
        if (config.types & row.own_type)
            tables.input[row.packet_class] = row.own_input;
        else if (config.types & row.family_type)
            tables.input[row.packet_class] = TAPFLOW_INPUT_L3;
    }
}

} // namespace tapflow::rss
