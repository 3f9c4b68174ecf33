// SPDX-License-Identifier: BSD-3-Clause
#include "rss/toeplitz.h"

#include "rss/rss_config.h"
#include "support/expected_record.h"
#include "support/microsoft_rss.h"
#include "support/seed.h"
#include "support/toeplitz_reference.h"

#include <gtest/gtest.h>

#include <cstring>

namespace tapflow::test {
namespace {

TEST(Toeplitz, MatchesMicrosoftsVerificationSuite) {
    const auto l3 = tables_of(rss_config(rss::kIpv4 | rss::kIpv6));
    const auto l4 = tables_of(rss_config(rss::kAllTypes));
    for (const RssVerification &vector : kRssVerificationSuite)
        for (const bool tcp : {true, false}) {
            const packet::Bytes frame = vector.frame(tcp);
            const Classified addresses = classify(*l3, frame);
            EXPECT_TRUE(addresses.hashed) << vector.source;
            EXPECT_EQ(addresses.hash, vector.l3_hash) << vector.source;
            const Classified ports = classify(*l4, frame);
            EXPECT_TRUE(ports.hashed) << vector.source;
            EXPECT_EQ(ports.hash, vector.l4_hash) << vector.source;
        }
}

TEST(Toeplitz, ReferenceMatchesMicrosoftsVerificationSuite) {
    const std::vector<uint8_t> input{66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6};
    EXPECT_EQ(toeplitz_reference(rss::default_key(), input), 0x51ccc178U);
    EXPECT_EQ(toeplitz_reference(rss::default_key(), std::span(input).first(8)), 0x323e8fc2U);
}

/// The bytes that a class with an input is hashed over.
std::vector<uint8_t> input_bytes(const tapflow_packet &packet, bool ipv6, bool ports) {
    std::vector<uint8_t> bytes(ipv6 ? 32 : 8);
    std::memcpy(bytes.data(), packet.words, bytes.size());
    if (ports) {
        bytes.resize(bytes.size() + 4);
        std::memcpy(bytes.data() + bytes.size() - 4, &packet.ports, 4);
    }
    return bytes;
}

TEST(Toeplitz, TablesMatchTheBitwiseReferenceForRandomKeysAndInputs) {
    constexpr size_t kKeys = 500;
    constexpr size_t kInputsPerKey = 250;
    auto random = seeded_random();
    for (size_t k = 0; k < kKeys; k++) {
        rss::RssConfig config = rss_config(rss::kAllTypes);
        for (uint8_t &byte : config.key)
            byte = static_cast<uint8_t>(random());
        const bool ports = k % 2 == 0;
        if (!ports)
            config.types = rss::kIpv4 | rss::kIpv6;
        const auto tables = tables_of(config);
        for (size_t i = 0; i < kInputsPerKey; i++) {
            tapflow_packet packet{};
            for (auto &word : packet.words)
                word = static_cast<uint32_t>(random());
            packet.ports = static_cast<uint32_t>(random());
            const bool ipv6 = random() % 2 != 0;
            packet.packet_class = ipv6 ? TAPFLOW_CLASS_IPV6_TCP : TAPFLOW_CLASS_IPV4_UDP;
            uint32_t hash = 0;
            ASSERT_TRUE(tapflow_rss_hash(tables.get(), &packet, &hash));
            ASSERT_EQ(hash, toeplitz_reference(config.key, input_bytes(packet, ipv6, ports)))
                << "key " << k << ", input " << i;
        }
    }
}

TEST(Toeplitz, EveryKeyBitAndEveryInputBitCounts) {
    rss::RssConfig config = rss_config(rss::kAllTypes);
    for (size_t bit = 0; bit < 8 * config.key.size(); bit++) {
        config.key.assign(rss::kKeySize, 0);
        config.key[bit / 8] = static_cast<uint8_t>(0x80U >> bit % 8);
        const auto tables = tables_of(config);
        tapflow_packet packet{};
        packet.packet_class = TAPFLOW_CLASS_IPV6_UDP;
        for (size_t input = 0; input < size_t{8} * 36; input++) {
            std::array<uint8_t, 36> bytes{};
            bytes[input / 8] = static_cast<uint8_t>(0x80U >> input % 8);
            std::memcpy(packet.words, bytes.data(), sizeof(packet.words));
            std::memcpy(&packet.ports, bytes.data() + sizeof(packet.words), sizeof(packet.ports));
            uint32_t hash = 0;
            tapflow_rss_hash(tables.get(), &packet, &hash);
            const bool in_window = bit >= input && bit < input + 32;
            ASSERT_EQ(hash, in_window ? 1U << (31 - (bit - input)) : 0U) << "key bit " << bit << ", input " << input;
        }
    }
}

TEST(Toeplitz, AClassWithoutInputIsNotHashedAndGoesToTheFirstSlot) {
    const auto tables = tables_of(rss_config(0, {3, 1, 2, 0}));
    const Classified result = classify(*tables, kRssVerificationSuite[0].frame(true));
    EXPECT_EQ(result.packet_class, unsigned{TAPFLOW_CLASS_IPV4_TCP});
    EXPECT_FALSE(result.hashed);
    EXPECT_EQ(result.hash, 0U);
    EXPECT_EQ(result.queue, 3U);
}

TEST(Toeplitz, AHashOfZeroIsAHash) {
    rss::RssConfig config = rss_config(rss::kAllTypes, {2});
    config.key.assign(rss::kKeySize, 0);
    const Classified result = classify(*tables_of(config), kRssVerificationSuite[0].frame(false));
    EXPECT_TRUE(result.hashed);
    EXPECT_EQ(result.hash, 0U);
    EXPECT_EQ(result.queue, 2U);
}

TEST(Toeplitz, TheHashsLowBitsIndexTheReta) {
    for (const size_t slots : {1U, 2U, 64U, 128U, 512U}) {
        std::vector<uint16_t> reta(slots);
        for (size_t i = 0; i < slots; i++)
            reta[i] = static_cast<uint16_t>(slots - 1 - i);
        const auto tables = tables_of(rss_config(rss::kAllTypes, reta));
        for (const uint32_t hash : {0U, 1U, 0x7fU, 0x1ffU, 0xffffffffU, 0x51ccc178U})
            EXPECT_EQ(tapflow_rss_queue(tables.get(), hash), reta[hash % slots]) << slots << " slots, hash " << hash;
    }
}

} // namespace
} // namespace tapflow::test
