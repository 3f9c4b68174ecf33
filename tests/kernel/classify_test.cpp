// SPDX-License-Identifier: BSD-3-Clause
// The classifier's program against the host's build of the same decisions, packet by packet.
#include "kernel/flow_rig.h"
#include "kernel/loaded_classifier.h"
#include "packet/random_packets.h"
#include "support/expected_record.h"
#include "support/microsoft_rss.h"
#include "support/rss_samples.h"
#include "support/seed.h"

#include <gtest/gtest.h>
#include <linux/pkt_cls.h>

namespace tapflow::test {
namespace {

class Classify : public testing::TestWithParam<Cpu> {};

INSTANTIATE_TEST_SUITE_P(Cpu, Classify, testing::Values(Cpu::V2, Cpu::V3),
                         [](const auto &instance) { return instance.param == Cpu::V2 ? "v2" : "v3"; });

Classified classified(const Delivered &delivered) {
    return {delivered.record.packet_class, delivered.record.l3_offset,
            delivered.record.l4_offset,    (delivered.record.flags & TAPFLOW_RECORD_HASH) != 0,
            delivered.record.hash,         delivered.queue};
}

rss::RssConfig random_rss(std::mt19937_64 &random, unsigned queues) {
    rss::RssConfig config;
    for (size_t i = 0; i < rss::kKeySize; i++)
        config.key.push_back(static_cast<uint8_t>(random()));
    config.types = random() % 3 == 0 ? rss::kAllTypes : random() & rss::kAllTypes;
    config.types |= random() & random() & rss::kAllModifiers;
    config.function = static_cast<rss::Function>(random() % 4);
    config.reta.resize(size_t{1} << random() % 10);
    for (uint16_t &slot : config.reta)
        slot = static_cast<uint16_t>(random() % queues);
    return config;
}

TEST_P(Classify, SaysOfRandomAndMalformedPacketsWhatTheHostSays) {
    constexpr unsigned kQueues = 16;
    constexpr unsigned kConfigurations = 40;
    constexpr unsigned kPacketsEach = 2'600;
    auto random = seeded_random();
    LoadedClassifier classifier(GetParam(), kQueues);
    packet::RandomPackets packets(random);
    std::array<size_t, TAPFLOW_CLASS_COUNT> seen{};
    size_t hashed = 0;
    for (unsigned c = 0; c < kConfigurations; c++) {
        const rss::RssConfig config = random_rss(random, kQueues);
        const auto tables = tables_of(config);
        classifier.set_rss(config);
        for (unsigned i = 0; i < kPacketsEach; i++) {
            packet::Bytes frame = packets.next(15, 1514);
            while (!can_be_run(frame))
                frame = packets.next(15, 1514);
            const Classified expected = classify(*tables, frame);
            ASSERT_EQ(classifier.run_tap_egress(frame), TC_ACT_STOLEN);
            const std::vector<Delivered> delivered = drain(classifier.ring(expected.queue), expected.queue);
            ASSERT_EQ(delivered.size(), 1U) << "in the ring of the expected queue, packet " << i;
            ASSERT_EQ(classified(delivered[0]), expected) << testing::PrintToString(frame);
            ASSERT_EQ(delivered[0].frame, frame);
            ASSERT_EQ(delivered[0].record.flags & ~TAPFLOW_RECORD_HASH, 0);
            seen[expected.packet_class]++;
            hashed += expected.hashed ? 1 : 0;
        }
        ASSERT_TRUE(classifier.drain_all().empty()) << "nothing on other queues";
    }
    for (size_t packet_class = 0; packet_class < seen.size(); packet_class++)
        EXPECT_GT(seen[packet_class], 1000U) << "packets of class " << packet_class;
    EXPECT_GT(hashed, 10'000U);
}

/// Options of mobile nodes and what tells fragments from each other are too rare for chance.
TEST_P(Classify, HashesOfEverySampleWhatTheReferenceDoes) {
    LoadedClassifier classifier(GetParam(), 8);
    const auto samples = all_samples();
    for (const rss::Function function : kFunctions)
        for (const uint64_t types : {rss::kAllTypes, uint64_t{rss::kIpv6Ex}, rss::kAllTypes | rss::kL3SourceOnly,
                                     rss::kAllTypes | rss::kL2DestinationOnly | rss::kL4SourceOnly}) {
            rss::RssConfig config = rss_config(types, rss::round_robin_reta(8));
            config.function = function;
            classifier.set_rss(config);
            for (const RssSample &sample : samples) {
                const packet::Bytes frame = sample.packet.bytes();
                if (!can_be_run(frame))
                    continue;
                ASSERT_EQ(classifier.run_tap_egress(frame), TC_ACT_STOLEN);
                const auto delivered = classifier.drain_all();
                ASSERT_EQ(delivered.size(), 1U);
                const auto input = sample.input(types);
                const uint32_t hash = input ? hash_reference(config, *input) : 0;
                ASSERT_EQ((delivered[0].record.flags & TAPFLOW_RECORD_HASH) != 0, input.has_value()) << sample.name;
                ASSERT_EQ(delivered[0].record.hash, hash) << sample.name << ", " << function_name(function);
                ASSERT_EQ(delivered[0].queue, config.reta[hash % config.reta.size()]) << sample.name;
            }
        }
}

TEST_P(Classify, MatchesMicrosoftsVerificationSuite) {
    LoadedClassifier classifier(GetParam(), 4);
    for (const bool ports : {true, false}) {
        classifier.set_rss(rss_config(ports ? rss::kAllTypes : rss::kIpv4 | rss::kIpv6));
        for (const RssVerification &vector : kRssVerificationSuite)
            for (const bool tcp : {true, false}) {
                const uint32_t hash = ports ? vector.l4_hash : vector.l3_hash;
                ASSERT_EQ(classifier.run_tap_egress(vector.frame(tcp)), TC_ACT_STOLEN);
                const auto delivered = classifier.drain_all();
                ASSERT_EQ(delivered.size(), 1U);
                EXPECT_EQ(delivered[0].record.hash, hash) << vector.source;
                EXPECT_TRUE(delivered[0].record.flags & TAPFLOW_RECORD_HASH) << vector.source;
                EXPECT_EQ(delivered[0].queue, hash % 128 % 4) << vector.source;
            }
    }
}

TEST_P(Classify, EveryLengthAroundASizeClassIsCopiedWhole) {
    LoadedClassifier classifier(GetParam(), 1);
    for (const size_t boundary : {64U, 128U, 256U, 512U, 1024U, 1536U, 2048U})
        for (size_t length = boundary - 2; length <= boundary + 2; length++) {
            const packet::Bytes frame = packet::Packet().ether().next_type(0x88b5).payload(length - 14).bytes();
            ASSERT_EQ(classifier.run_tap_egress(frame), TC_ACT_STOLEN);
            const auto delivered = classifier.drain_all();
            ASSERT_EQ(delivered.size(), 1U) << length;
            EXPECT_EQ(delivered[0].frame, frame) << length;
        }
}

TEST_P(Classify, APortThatIsStoppedTakesNothing) {
    LoadedClassifier classifier(GetParam(), 1);
    classifier.state().config.flags = TAPFLOW_PORT_PROMISCUOUS;
    const packet::Bytes frame = kRssVerificationSuite[0].frame(true);
    EXPECT_EQ(classifier.run_tap_egress(frame), TC_ACT_SHOT);
    EXPECT_EQ(classifier.run_remote_ingress(frame), TC_ACT_UNSPEC);
    EXPECT_TRUE(classifier.drain_all().empty());
}

TEST_P(Classify, AQueueWithoutARingDropsAndDoesNotDeliverElsewhere) {
    LoadedClassifier classifier(GetParam(), 2);
    classifier.set_rss(rss_config(0, {2}));
    EXPECT_EQ(classifier.run_tap_egress(kRssVerificationSuite[0].frame(true)), TC_ACT_SHOT);
    EXPECT_TRUE(classifier.drain_all().empty());
    EXPECT_EQ(classifier.state().counters.no_queue, 1U);
}

} // namespace
} // namespace tapflow::test
