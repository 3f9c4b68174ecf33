// SPDX-License-Identifier: BSD-3-Clause
#include "rss/rss_config.h"

#include "support/expected_record.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

namespace tapflow::test {
namespace {

using rss::RssConfig;

constexpr unsigned kQueues = 4;

/// What validate() says about a configuration that is good but for one change.
Error refusal(const std::function<void(RssConfig &)> &spoil, unsigned queues = kQueues) {
    RssConfig config = rss_config(rss::kAllTypes);
    spoil(config);
    auto valid = rss::validate(config, queues);
    return valid ? Error{0, "accepted", {}} : valid.error();
}

TEST(RssConfig, AcceptsWhatItShould) {
    for (const size_t slots : {1U, 2U, 128U, 512U})
        EXPECT_TRUE(rss::validate(rss_config(rss::kAllTypes, rss::round_robin_reta(kQueues, slots)), kQueues)) << slots;
    EXPECT_TRUE(rss::validate(rss_config(0), kQueues));
    EXPECT_TRUE(rss::validate(rss_config(0, {63}), 64));
}

TEST(RssConfig, AKeyOfTheWrongSizeIsRefusedNamingBothSizes) {
    for (const size_t size : {0U, 39U, 41U, 51U, 53U}) {
        const Error error = refusal([&](RssConfig &config) { config.key.resize(size); });
        EXPECT_EQ(error.code, EINVAL);
        EXPECT_EQ(error.what, "set RSS key");
        EXPECT_EQ(error.detail, "the key has " + std::to_string(size) + " bytes, needed are 40 or 52");
    }
}

TEST(RssConfig, ATypeThatIsUnknownIsRefused) {
    for (unsigned bit = 0; bit < 64; bit++) {
        const uint64_t type = 1ULL << bit;
        const Error error = refusal([&](RssConfig &config) { config.types = type; });
        EXPECT_EQ(error.code, (type & (rss::kAllTypes | rss::kAllModifiers)) != 0 ? 0 : EINVAL) << "bit " << bit;
        if (error.code != 0) {
            EXPECT_EQ(error.what, "set RSS types") << "bit " << bit;
        }
    }
}

TEST(RssConfig, ARetaSizeThatIsNoPowerOfTwoOrTooLargeIsRefused) {
    for (const size_t slots : {0U, 3U, 127U, 129U, 511U, 1024U}) {
        const Error error = refusal([&](RssConfig &config) { config.reta.assign(slots, 0); });
        EXPECT_EQ(error.code, EINVAL) << slots;
        EXPECT_EQ(error.message(), "set RETA: Invalid argument (its size must be a power of two up to 512)");
    }
}

TEST(RssConfig, ASlotOutsideTheQueuesIsRefusedNamingSlotAndQueue) {
    const Error error = refusal([](RssConfig &config) { config.reta[17] = kQueues; });
    EXPECT_EQ(error.what, "set RETA");
    EXPECT_EQ(error.detail, "slot 17 names queue 4, there are 4");
    EXPECT_EQ(refusal([](RssConfig &) {}, 3).detail, "slot 3 names queue 3, there are 3");
}

TEST(RssConfig, RoundRobinFillsEverySlotInTurn) {
    EXPECT_EQ(rss::round_robin_reta(3, 8), (std::vector<uint16_t>{0, 1, 2, 0, 1, 2, 0, 1}));
    EXPECT_EQ(rss::round_robin_reta(16).size(), rss::kDefaultRetaSize);
    EXPECT_EQ(rss::round_robin_reta(64, 4), (std::vector<uint16_t>{0, 1, 2, 3}));
    EXPECT_EQ(rss::round_robin_reta(0, 2), (std::vector<uint16_t>{0, 0}));
}

TEST(RssConfig, TheDefaultKeyIsMicrosofts) {
    ASSERT_EQ(rss::default_key().size(), rss::kKeySize);
    EXPECT_EQ(rss::default_key().front(), 0x6d);
    EXPECT_EQ(rss::default_key().back(), 0xfa);
}

/// A frame of each class. A first fragment has an L4 header that must not count.
std::map<tapflow_packet_class, packet::Bytes> frame_of_each_class() {
    using packet::Packet;
    const auto v4 = [] { return Packet().ether().ipv4("10.1.2.3", "10.4.5.6"); };
    const auto v6 = [] { return Packet().ether().ipv6("2001:db8::1", "2001:db8::2"); };
    const packet::Bytes spi{0xca, 0xfe, 0xba, 0xbe};
    return {
        {TAPFLOW_CLASS_NOT_IP, Packet().ether().arp({}).pad_to(60).bytes()},
        {TAPFLOW_CLASS_IPV4_OTHER, v4().icmp().payload(40).bytes()},
        {TAPFLOW_CLASS_IPV4_FRAGMENT, Packet()
                                          .ether()
                                          .ipv4({.src = "10.1.2.3", .dst = "10.4.5.6", .more_fragments = true})
                                          .udp(1000, 2000)
                                          .payload(32)
                                          .bytes()},
        {TAPFLOW_CLASS_IPV4_TCP, v4().tcp(1000, 2000).bytes()},
        {TAPFLOW_CLASS_IPV4_UDP, v4().udp(1000, 2000).bytes()},
        {TAPFLOW_CLASS_IPV4_SCTP, v4().sctp(1000, 2000).bytes()},
        {TAPFLOW_CLASS_IPV4_ESP, v4().next_type(50).raw(spi).payload(20).bytes()},
        {TAPFLOW_CLASS_IPV4_AH, v4().authentication(0xcafebabe, 1).udp(1000, 2000).bytes()},
        {TAPFLOW_CLASS_IPV6_OTHER, v6().icmpv6().bytes()},
        {TAPFLOW_CLASS_IPV6_FRAGMENT, v6().fragment({.more = true}).udp(1000, 2000).payload(32).bytes()},
        {TAPFLOW_CLASS_IPV6_TCP, v6().tcp(1000, 2000).bytes()},
        {TAPFLOW_CLASS_IPV6_UDP, v6().udp(1000, 2000).bytes()},
        {TAPFLOW_CLASS_IPV6_SCTP, v6().sctp(1000, 2000).bytes()},
        {TAPFLOW_CLASS_IPV6_ESP, v6().next_type(50).raw(spi).payload(20).bytes()},
        {TAPFLOW_CLASS_IPV6_AH, v6().authentication(0xcafebabe, 1).udp(1000, 2000).bytes()},
    };
}

constexpr unsigned kL3 = TAPFLOW_INPUT_ADDRESSES;
constexpr unsigned kL4 = kL3 | TAPFLOW_INPUT_PORTS;
constexpr unsigned kSpi = kL3 | TAPFLOW_INPUT_SPI;
constexpr unsigned kL3Ex = kL3 | TAPFLOW_INPUT_EXTENSION;
constexpr unsigned kL4Ex = kL4 | TAPFLOW_INPUT_EXTENSION;

using Inputs = std::map<tapflow_packet_class, unsigned>;

/// Every class of an IP version with one input.
Inputs all(tapflow_packet_class first, unsigned input) {
    Inputs inputs;
    for (int i = first; i <= first + (TAPFLOW_CLASS_IPV4_AH - TAPFLOW_CLASS_IPV4_OTHER); i++)
        inputs[static_cast<tapflow_packet_class>(i)] = input;
    return inputs;
}

Inputs with(Inputs inputs, const Inputs &others) {
    for (const auto &[packet_class, input] : others)
        inputs[packet_class] = input;
    return inputs;
}

struct TypeRow {
    uint64_t type;
    Inputs inputs; ///< a class that is missing is not hashed
};

const std::vector<TypeRow> kTypeRows{
    {0, {}},
    {rss::kIpv4, all(TAPFLOW_CLASS_IPV4_OTHER, kL3)},
    {rss::kFragmentIpv4, {{TAPFLOW_CLASS_IPV4_FRAGMENT, kL3}}},
    {rss::kIpv4Tcp, {{TAPFLOW_CLASS_IPV4_TCP, kL4}}},
    {rss::kIpv4Udp, {{TAPFLOW_CLASS_IPV4_UDP, kL4}}},
    {rss::kIpv4Sctp, {{TAPFLOW_CLASS_IPV4_SCTP, kL4}}},
    {rss::kIpv4Other, {{TAPFLOW_CLASS_IPV4_OTHER, kL3}, {TAPFLOW_CLASS_IPV4_ESP, kL3}, {TAPFLOW_CLASS_IPV4_AH, kL3}}},
    {rss::kIpv6, all(TAPFLOW_CLASS_IPV6_OTHER, kL3)},
    {rss::kFragmentIpv6, {{TAPFLOW_CLASS_IPV6_FRAGMENT, kL3}}},
    {rss::kIpv6Tcp, {{TAPFLOW_CLASS_IPV6_TCP, kL4}}},
    {rss::kIpv6Udp, {{TAPFLOW_CLASS_IPV6_UDP, kL4}}},
    {rss::kIpv6Sctp, {{TAPFLOW_CLASS_IPV6_SCTP, kL4}}},
    {rss::kIpv6Other, {{TAPFLOW_CLASS_IPV6_OTHER, kL3}, {TAPFLOW_CLASS_IPV6_ESP, kL3}, {TAPFLOW_CLASS_IPV6_AH, kL3}}},
    {rss::kL2Payload, {{TAPFLOW_CLASS_NOT_IP, TAPFLOW_INPUT_L2}}},
    {rss::kIpv6Ex, all(TAPFLOW_CLASS_IPV6_OTHER, kL3Ex)},
    {rss::kIpv6TcpEx, {{TAPFLOW_CLASS_IPV6_TCP, kL4Ex}}},
    {rss::kIpv6UdpEx, {{TAPFLOW_CLASS_IPV6_UDP, kL4Ex}}},
    {rss::kEsp, {{TAPFLOW_CLASS_IPV4_ESP, kSpi}, {TAPFLOW_CLASS_IPV6_ESP, kSpi}}},
    {rss::kAh, {{TAPFLOW_CLASS_IPV4_AH, kSpi}, {TAPFLOW_CLASS_IPV6_AH, kSpi}}},
    // A protocol's own type comes before those of all packets, the plain one first; for addresses kIpv6Ex comes first.
    {rss::kIpv4 | rss::kIpv4Udp | rss::kEsp,
     with(all(TAPFLOW_CLASS_IPV4_OTHER, kL3),
          {{TAPFLOW_CLASS_IPV4_UDP, kL4}, {TAPFLOW_CLASS_IPV4_ESP, kSpi}, {TAPFLOW_CLASS_IPV6_ESP, kSpi}})},
    {rss::kIpv6 | rss::kIpv6Ex | rss::kIpv6Udp | rss::kIpv6UdpEx | rss::kIpv6TcpEx | rss::kFragmentIpv6,
     with(all(TAPFLOW_CLASS_IPV6_OTHER, kL3Ex), {{TAPFLOW_CLASS_IPV6_UDP, kL4}, {TAPFLOW_CLASS_IPV6_TCP, kL4Ex}})},
};

TEST(RssConfig, EachTypeSelectsItsClassesAndInputsOnly) {
    const auto frames = frame_of_each_class();
    ASSERT_EQ(frames.size(), size_t{TAPFLOW_CLASS_COUNT});
    uint64_t covered = 0;
    for (const TypeRow &row : kTypeRows) {
        covered |= row.type;
        const auto tables = tables_of(rss_config(row.type));
        for (const auto &[packet_class, frame] : frames) {
            const auto selected = row.inputs.find(packet_class);
            const unsigned input = selected == row.inputs.end() ? 0U : selected->second;
            EXPECT_EQ(tables->input[packet_class], input) << "types " << row.type << ", class " << packet_class;
            const Classified result = classify(*tables, frame);
            EXPECT_EQ(result.packet_class, unsigned{packet_class});
            EXPECT_EQ(result.hashed, input != 0) << "types " << row.type << ", class " << packet_class;
        }
    }
    EXPECT_EQ(covered, rss::kAllTypes) << "every type has a row";
}

TEST(RssConfig, TablesHoldTheReta) {
    const std::vector<uint16_t> reta{3, 2, 1, 0};
    const auto tables = tables_of(rss_config(0, reta));
    EXPECT_EQ(tables->reta_mask, 3U);
    EXPECT_EQ(std::vector<uint16_t>(tables->reta, tables->reta + 4), reta);
}

} // namespace
} // namespace tapflow::test
