// SPDX-License-Identifier: BSD-3-Clause
// What is hashed of each kind of packet, for every type, function and modifier.
#include "support/expected_record.h"
#include "support/rss_samples.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <sstream>

namespace tapflow::test {
namespace {

using rss::Function;

/// No queue 0: what is not hashed must be on reta[0] all the same.
const std::vector<uint16_t> kReta{3, 1, 2, 5, 1, 7, 2, 4};

rss::RssConfig config_of(Function function, uint64_t types) {
    rss::RssConfig config = rss_config(types, kReta);
    config.function = function;
    return config;
}

void expect_classified(const tapflow_rss &tables, const rss::RssConfig &config, const RssSample &sample,
                       const packet::Bytes &frame) {
    const Classified got = classify(tables, frame);
    const auto input = sample.input(config.types);
    const uint32_t hash = input ? hash_reference(config, *input) : 0;
    ASSERT_EQ(got.hashed, input.has_value());
    ASSERT_EQ(got.hash, hash);
    ASSERT_EQ(got.queue, config.reta[hash % config.reta.size()]);
}

/// Every type alone, all of them, all but one, and subsets by chance.
std::vector<uint64_t> sets_of_types(std::mt19937_64 &random) {
    std::vector<uint64_t> sets{0, rss::kAllTypes};
    for (uint64_t left = rss::kAllTypes; left != 0; left &= left - 1) {
        const uint64_t type = left & -left;
        sets.push_back(type);
        sets.push_back(rss::kAllTypes & ~type);
    }
    for (int i = 0; i < 10; i++)
        sets.push_back(random() & rss::kAllTypes);
    return sets;
}

/// None, the first, the second or both of each pair, in every combination.
std::vector<uint64_t> sets_of_modifiers() {
    std::vector<uint64_t> sets{0};
    for (const uint64_t pair :
         {rss::kL2SourceOnly | rss::kL2DestinationOnly, rss::kL3SourceOnly | rss::kL3DestinationOnly,
          rss::kL4SourceOnly | rss::kL4DestinationOnly}) {
        const uint64_t one = pair & -pair;
        const std::vector<uint64_t> before = sets;
        for (const uint64_t more : {one, pair & ~one, pair})
            for (const uint64_t set : before)
                sets.push_back(set | more);
    }
    return sets;
}

class RssFields : public testing::TestWithParam<Function> {};

INSTANTIATE_TEST_SUITE_P(Function, RssFields, testing::ValuesIn(kFunctions),
                         [](const auto &instance) { return function_name(instance.param); });

TEST_P(RssFields, AreThoseThatTypesAndModifiersSelect) {
    auto random = seeded_random();
    const auto samples = all_samples();
    std::vector<packet::Bytes> frames;
    for (const RssSample &sample : samples)
        frames.push_back(sample.packet.bytes());
    const auto types = sets_of_types(random);
    const auto modifiers = sets_of_modifiers();
    const auto check = [&](uint64_t set) {
        const rss::RssConfig config = config_of(GetParam(), set);
        const auto tables = tables_of(config);
        for (size_t i = 0; i < samples.size(); i++) {
            SCOPED_TRACE(samples[i].name + ", types 0x" + (std::ostringstream() << std::hex << set).str());
            expect_classified(*tables, config, samples[i], frames[i]);
        }
    };
    for (const uint64_t set : types) { // which fields: some modifiers; what of them: some types
        check(set);
        check(set | modifiers[random() % modifiers.size()]);
        ASSERT_FALSE(HasFatalFailure());
    }
    for (const uint64_t set : modifiers) {
        check(rss::kAllTypes | set);
        check(set);
        check(rss::kIpv4 | rss::kIpv6 | rss::kIpv6TcpEx | set);
        ASSERT_FALSE(HasFatalFailure());
    }
}

TEST_P(RssFields, EveryOneThatIsHashedCounts) {
    const Flow flow;
    Flow other = flow;
    other.source_mac.bytes[5] ^= 1U;
    other.source4.bytes[3] ^= 1U;
    other.source6.bytes[15] ^= 1U;
    other.source_home.bytes[15] ^= 1U;
    other.source_port ^= 1U;
    other.spi ^= 1U;
    const auto tables = tables_of(config_of(GetParam(), rss::kAllTypes));
    const auto samples = all_samples(flow);
    const auto others = all_samples(other);
    for (size_t i = 0; i < samples.size(); i++) {
        const Classified one = classify(*tables, samples[i].packet.bytes());
        const Classified two = classify(*tables, others[i].packet.bytes());
        EXPECT_TRUE(one.hashed) << samples[i].name;
        // Under simple XOR a change at the same place of address and ports is none.
        if (GetParam() != Function::SimpleXor) {
            EXPECT_NE(one.hash, two.hash) << samples[i].name;
        }
    }
}

TEST_P(RssFields, SymmetricFunctionsGiveBothDirectionsTheSameHash) {
    const bool symmetric = GetParam() == Function::SymmetricToeplitz || GetParam() == Function::SymmetricToeplitzSort;
    const Flow flow;
    const auto there = all_samples(flow);
    const auto back = all_samples(flow.reversed());
    const auto tables = tables_of(config_of(GetParam(), rss::kAllTypes | rss::kInnermost));
    const auto mobile = tables_of(config_of(GetParam(), rss::kIpv6Ex));
    for (size_t i = 0; i < there.size(); i++) {
        const packet::Bytes frame = there[i].packet.bytes();
        const packet::Bytes answer = back[i].packet.bytes();
        // One end of a mobile node's flow has its address in an option, the other in a routing header.
        const bool same_fields = there[i].name.find("home address") == std::string::npos &&
                                 there[i].name.find("ipv6, routing") == std::string::npos;
        if (same_fields) {
            if (symmetric) {
                EXPECT_EQ(classify(*tables, frame).hash, classify(*tables, answer).hash) << there[i].name;
                EXPECT_EQ(classify(*tables, frame).queue, classify(*tables, answer).queue) << there[i].name;
            } else if (GetParam() == Function::Toeplitz) {
                EXPECT_NE(classify(*tables, frame).hash, classify(*tables, answer).hash) << there[i].name;
            }
        }
        if (symmetric && there[i].name.ends_with("ipv6, both")) {
            EXPECT_EQ(classify(*mobile, frame).hash, classify(*mobile, answer).hash) << there[i].name;
        }
    }
}

TEST_P(RssFields, AHashOfZeroIsAHash) {
    Flow flow; // nothing that an exclusive-or leaves
    flow.destination4 = flow.source4;
    flow.destination6 = flow.source6;
    flow.destination_port = flow.source_port;
    rss::RssConfig config = config_of(GetParam(), rss::kAllTypes);
    if (GetParam() == Function::Toeplitz || GetParam() == Function::SymmetricToeplitzSort)
        config.key.assign(rss::kKeySize, 0);
    const auto tables = tables_of(config);
    for (const unsigned version : {4U, 6U}) {
        const Classified got = classify(
            *tables, sample::of_protocol(sample::ether(flow), "", sample::kProtocols[0], flow, version).packet.bytes());
        EXPECT_TRUE(got.hashed);
        EXPECT_EQ(got.queue, kReta[got.hash % kReta.size()]);
        if (GetParam() != Function::SimpleXor) { // whose ports are equal halves of a word
            EXPECT_EQ(got.hash, 0U);
        }
    }
    flow.source_port = flow.destination_port = 0;
    const Classified got =
        classify(*tables, sample::of_protocol(sample::ether(flow), "", sample::kProtocols[0], flow, 4).packet.bytes());
    EXPECT_TRUE(got.hashed);
    EXPECT_EQ(got.hash, 0U);
}

TEST_P(RssFields, OnlyTheFirstFortyBytesOfAKeyCount) {
    rss::RssConfig config = config_of(GetParam(), rss::kAllTypes);
    const auto tables = tables_of(config);
    config.key.resize(rss::kLongKeySize, 0xa5);
    const auto longer = tables_of(config);
    EXPECT_EQ(std::memcmp(tables.get(), longer.get(), offsetof(tapflow_rss, source)), 0);
    EXPECT_EQ(rss::config_of(*longer), config);
}

} // namespace
} // namespace tapflow::test
