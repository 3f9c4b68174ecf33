// SPDX-License-Identifier: BSD-3-Clause
#include "rss/rss_config.h"

#include <algorithm>
#include <array>
#include <bit>

namespace tapflow::rss {
namespace {

constexpr uint8_t kPorts = TAPFLOW_INPUT_ADDRESSES | TAPFLOW_INPUT_PORTS;
constexpr uint8_t kSpi = TAPFLOW_INPUT_ADDRESSES | TAPFLOW_INPUT_SPI;
constexpr uint8_t kAddresses = TAPFLOW_INPUT_ADDRESSES;
constexpr uint8_t kExtension = TAPFLOW_INPUT_EXTENSION;

/// What a packet class is hashed over where one of the types is set.
struct ClassInput {
    tapflow_packet_class packet_class;
    uint64_t types;
    uint8_t input;
};

/// Of the rows of a class, the first whose type is set counts.
constexpr std::array kClassInputs{
    ClassInput{TAPFLOW_CLASS_NOT_IP, kL2Payload, TAPFLOW_INPUT_L2},

    ClassInput{TAPFLOW_CLASS_IPV4_OTHER, kIpv4Other | kIpv4, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV4_FRAGMENT, kFragmentIpv4 | kIpv4, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV4_TCP, kIpv4Tcp, kPorts},
    ClassInput{TAPFLOW_CLASS_IPV4_TCP, kIpv4, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV4_UDP, kIpv4Udp, kPorts},
    ClassInput{TAPFLOW_CLASS_IPV4_UDP, kIpv4, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV4_SCTP, kIpv4Sctp, kPorts},
    ClassInput{TAPFLOW_CLASS_IPV4_SCTP, kIpv4, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV4_ESP, kEsp, kSpi},
    ClassInput{TAPFLOW_CLASS_IPV4_ESP, kIpv4Other | kIpv4, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV4_AH, kAh, kSpi},
    ClassInput{TAPFLOW_CLASS_IPV4_AH, kIpv4Other | kIpv4, kAddresses},

    ClassInput{TAPFLOW_CLASS_IPV6_OTHER, kIpv6Ex, kAddresses | kExtension},
    ClassInput{TAPFLOW_CLASS_IPV6_OTHER, kIpv6Other | kIpv6, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV6_FRAGMENT, kIpv6Ex, kAddresses | kExtension},
    ClassInput{TAPFLOW_CLASS_IPV6_FRAGMENT, kFragmentIpv6 | kIpv6, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV6_TCP, kIpv6Tcp, kPorts},
    ClassInput{TAPFLOW_CLASS_IPV6_TCP, kIpv6TcpEx, kPorts | kExtension},
    ClassInput{TAPFLOW_CLASS_IPV6_TCP, kIpv6Ex, kAddresses | kExtension},
    ClassInput{TAPFLOW_CLASS_IPV6_TCP, kIpv6, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV6_UDP, kIpv6Udp, kPorts},
    ClassInput{TAPFLOW_CLASS_IPV6_UDP, kIpv6UdpEx, kPorts | kExtension},
    ClassInput{TAPFLOW_CLASS_IPV6_UDP, kIpv6Ex, kAddresses | kExtension},
    ClassInput{TAPFLOW_CLASS_IPV6_UDP, kIpv6, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV6_SCTP, kIpv6Sctp, kPorts},
    ClassInput{TAPFLOW_CLASS_IPV6_SCTP, kIpv6Ex, kAddresses | kExtension},
    ClassInput{TAPFLOW_CLASS_IPV6_SCTP, kIpv6, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV6_ESP, kEsp, kSpi},
    ClassInput{TAPFLOW_CLASS_IPV6_ESP, kIpv6Ex, kAddresses | kExtension},
    ClassInput{TAPFLOW_CLASS_IPV6_ESP, kIpv6Other | kIpv6, kAddresses},
    ClassInput{TAPFLOW_CLASS_IPV6_AH, kAh, kSpi},
    ClassInput{TAPFLOW_CLASS_IPV6_AH, kIpv6Ex, kAddresses | kExtension},
    ClassInput{TAPFLOW_CLASS_IPV6_AH, kIpv6Other | kIpv6, kAddresses},
};

/// A field of the hash input: its bytes have the tables from `row` on, and stand at `position` in the input.
struct Field {
    size_t row;
    size_t length;
    size_t position;
    size_t counterpart;  ///< position of the source's destination or the other way round; its own: there is none
    uint64_t only;       ///< Modifier that selects this field alone
    uint64_t other_only; ///< Modifier that leaves it out
};

constexpr std::array kFields{
    Field{TAPFLOW_ROW_IPV4, 4, 0, 4, kL3SourceOnly, kL3DestinationOnly},
    Field{TAPFLOW_ROW_IPV4 + 4, 4, 4, 0, kL3DestinationOnly, kL3SourceOnly},
    Field{TAPFLOW_ROW_PORTS4, 2, 8, 10, kL4SourceOnly, kL4DestinationOnly},
    Field{TAPFLOW_ROW_PORTS4 + 2, 2, 10, 8, kL4DestinationOnly, kL4SourceOnly},
    Field{TAPFLOW_ROW_SPI4, 4, 8, 8, 0, 0},

    Field{TAPFLOW_ROW_IPV6, 16, 0, 16, kL3SourceOnly, kL3DestinationOnly},
    Field{TAPFLOW_ROW_IPV6 + 16, 16, 16, 0, kL3DestinationOnly, kL3SourceOnly},
    Field{TAPFLOW_ROW_PORTS6, 2, 32, 34, kL4SourceOnly, kL4DestinationOnly},
    Field{TAPFLOW_ROW_PORTS6 + 2, 2, 34, 32, kL4DestinationOnly, kL4SourceOnly},
    Field{TAPFLOW_ROW_SPI6, 4, 32, 32, 0, 0},

    Field{TAPFLOW_ROW_L2, 6, 0, 6, kL2DestinationOnly, kL2SourceOnly},
    Field{TAPFLOW_ROW_L2 + 6, 6, 6, 0, kL2SourceOnly, kL2DestinationOnly},
    Field{TAPFLOW_ROW_L2 + 12, 2, 12, 12, 0, 0},
};

/// True if only one of a pair's modifiers is set, and it is `modifier`.
bool alone(uint64_t types, uint64_t modifier, uint64_t other) { return (types & modifier) && !(types & other); }

/// What is sorted: a field whose counterpart is left out has nothing to be sorted with.
uint32_t pairs_to_sort(uint64_t types) {
    uint32_t flags = TAPFLOW_RSS_SORT;
    const auto keep_if_whole = [&](uint64_t one, uint64_t other, uint32_t flag) {
        if (!(types & one) != !(types & other))
            flags &= ~flag;
    };
    keep_if_whole(kL2SourceOnly, kL2DestinationOnly, TAPFLOW_RSS_SORT_L2);
    keep_if_whole(kL3SourceOnly, kL3DestinationOnly, TAPFLOW_RSS_SORT_ADDRESSES);
    keep_if_whole(kL4SourceOnly, kL4DestinationOnly, TAPFLOW_RSS_SORT_PORTS);
    return flags;
}

/// The 32 bits of the key from bit `bit` on.
uint32_t key_window(std::span<const uint8_t> key, size_t bit) {
    const size_t byte = bit / 8;
    uint64_t window = 0;
    for (size_t i = 0; i < 5; i++)
        window = window << 8 | (byte + i < key.size() ? key[byte + i] : 0u);
    return static_cast<uint32_t>(window >> (8 - bit % 8));
}

/// Adds (exclusive-or) to a byte's table what the byte contributes at a position of the function's input.
void add_contribution(const RssConfig &config, size_t position, std::span<__u32, 256> table) {
    for (size_t bit = 0; bit < 8; bit++) {
        const uint32_t contribution = config.function == Function::SimpleXor
                                          ? 0x80000000u >> (8 * (position % 4) + bit)
                                          : key_window(config.key, 8 * position + bit);
        for (size_t value = 0; value < 256; value++)
            if (value & (0x80u >> bit))
                table[value] ^= contribution;
    }
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
    if (config.key.size() != kKeySize && config.key.size() != kLongKeySize)
        return Error{EINVAL, "set RSS key",
                     "the key has " + std::to_string(config.key.size()) + " bytes, needed are " +
                         std::to_string(kKeySize) + " or " + std::to_string(kLongKeySize)};
    if (config.types & ~(kAllTypes | kAllModifiers))
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
    for (const Field &field : kFields) {
        if (alone(config.types, field.other_only, field.only))
            continue;
        // Source ^ destination at both places: each byte of either counts at both.
        const bool mirrored = config.function == Function::SymmetricToeplitz && field.counterpart != field.position &&
                              !alone(config.types, field.only, field.other_only);
        for (size_t i = 0; i < field.length; i++) {
            const std::span table(tables.table[field.row + i]);
            add_contribution(config, field.position + i, table);
            if (mirrored)
                add_contribution(config, field.counterpart + i, table);
        }
    }
    std::copy(config.reta.begin(), config.reta.end(), tables.reta);
    tables.reta_mask = static_cast<uint32_t>(config.reta.size() - 1);
    for (const ClassInput &row : kClassInputs) {
        uint8_t &input = tables.input[row.packet_class];
        if (input == 0 && config.types & row.types)
            input = row.input;
        if (input & TAPFLOW_INPUT_EXTENSION)
            tables.flags |= TAPFLOW_RSS_EXTENSION;
    }
    if (alone(config.types, kInnermost, kOutermost))
        tables.flags |= TAPFLOW_RSS_INNERMOST;
    if (config.function == Function::SymmetricToeplitzSort)
        tables.flags |= pairs_to_sort(config.types);
    tables.source.types = config.types;
    tables.source.key_size = static_cast<uint8_t>(config.key.size());
    std::copy(config.key.begin(), config.key.end(), tables.source.key);
    tables.source.function = static_cast<uint8_t>(config.function);
}

RssConfig config_of(const tapflow_rss &tables) {
    const tapflow_rss_source &source = tables.source;
    const size_t key_size = std::min<size_t>(source.key_size, sizeof(source.key));
    const size_t slots = std::min<size_t>(size_t{tables.reta_mask} + 1, TAPFLOW_RETA_MAX);
    return {{source.key, source.key + key_size},
            source.types,
            {tables.reta, tables.reta + slots},
            static_cast<Function>(source.function)};
}

} // namespace tapflow::rss
