// SPDX-License-Identifier: BSD-3-Clause
// Rules in the classifier's program against the reference matcher, packet by packet.
#include "kernel/flow_twins.h"
#include "packet/random_packets.h"
#include "support/effort.h"
#include "support/random_rule.h"
#include "support/seed.h"

#include <gtest/gtest.h>
#include <linux/pkt_cls.h>

namespace tapflow::test {
namespace {

/// Rules of a set share few priorities and groups, so that they meet; most fit one of the packets.
void differential(kernel::Delivery delivery, unsigned sets, unsigned packets_each, unsigned rules_each,
                  const RuleBounds &bounds) {
    auto random = seeded_random();
    FlowRig rig(delivery);
    packet::RandomPackets packets{std::mt19937_64(random())};
    RandomRules rules(std::mt19937_64(random()), bounds);
    size_t acted = 0;
    sets = effort(sets);
    for (unsigned set = 0; set < sets; set++) {
        Twins twins(rig);
        std::vector<packet::Bytes> frames;
        for (unsigned i = 0; i < packets_each; i++)
            frames.push_back(next_frame(packets));
        const size_t count = 1 + rules.below(rules_each);
        for (size_t i = 0; i < count; i++)
            twins.add(rules.chance(20) ? rules.next()
                                       : rules.next_for(flow::reference_key(frames[rules.below(frames.size())])));
        for (const auto &frame : frames) {
            const flow::Direction direction = rules.chance(50) ? bounds.directions.front() : bounds.directions.back();
            acted += twins.reference().match(flow::reference_key(frame), direction).acted.size();
            if (direction == flow::Direction::Ingress)
                twins.expect_same(frame);
            else
                twins.expect_same_of_sent(frame);
            if (testing::Test::HasFatalFailure())
                return;
        }
        twins.expect_same_counts();
        if (testing::Test::HasFatalFailure())
            return;
        must(rig.rules().flush());
        ASSERT_EQ(rig.rules().size(), 0U);
    }
    // Otherwise nothing much has been compared; a few sets alone may be of rules that hardly match.
    if (sets >= 20) {
        EXPECT_GT(acted, size_t{sets} * packets_each / 10);
    }
}

RuleBounds bounds_for(kernel::Delivery delivery) {
    RuleBounds bounds;
    bounds.queues = 16;
    bounds.groups = 4;
    bounds.priorities = 6;
    bounds.directions = {flow::Direction::Ingress};
    bounds.rewrites = delivery == kernel::Delivery::Ring;
    return bounds;
}

class FlowClassify : public testing::TestWithParam<kernel::Delivery> {};

INSTANTIATE_TEST_SUITE_P(Delivery, FlowClassify, testing::Values(kernel::Delivery::Ring, kernel::Delivery::Fd),
                         [](const auto &instance) { return instance.param == kernel::Delivery::Ring ? "ring" : "fd"; });

// A rule with an RSS action of its own waits for a grace period, so sets with such are fewer.

TEST_P(FlowClassify, SaysOfRandomPacketsWhatTheReferenceMatcherSays) {
    RuleBounds bounds = bounds_for(GetParam());
    std::erase(bounds.fates, flow::Fate::Rss);
    differential(GetParam(), 1000, 1000, 40, bounds);
}

TEST_P(FlowClassify, HonoursEachRuleOfRssAmongOthers) {
    differential(GetParam(), 50, 1000, 40, bounds_for(GetParam()));
}

TEST_P(FlowClassify, FindsTheBestOfManyRulesThatEndTheSearch) {
    RuleBounds bounds = bounds_for(GetParam());
    bounds.groups = 1;
    bounds.priorities = TAPFLOW_FLOW_PRIORITIES;
    bounds.fates = {flow::Fate::Queue, flow::Fate::Drop};
    differential(GetParam(), 100, 1000, 100, bounds);
}

TEST_P(FlowClassify, KeepsWhatIsSentApartFromWhatIsReceived) {
    RuleBounds bounds = bounds_for(GetParam());
    bounds.directions = {flow::Direction::Ingress, flow::Direction::Egress};
    std::erase(bounds.fates, flow::Fate::Rss);
    differential(GetParam(), 100, 1000, 60, bounds);
}

} // namespace
} // namespace tapflow::test
