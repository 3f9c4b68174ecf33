// SPDX-License-Identifier: BSD-3-Clause
// Random rules typed into testpmd, and what it says of packets, against the reference matcher: the whole way of a rule
// and of a packet at once.
#include "flow/reference_matcher.h"
#include "flow/text.h"
#include "packet/random_packets.h"
#include "pmd/flow_rig.h"
#include "support/expected_record.h"
#include "support/random_rule.h"
#include "support/seed.h"
#include "support/wait.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tapflow::test {
namespace {

constexpr size_t kLineMax = 480; // testpmd's, with its command in front

class FlowRandom : public testing::TestWithParam<Mode> {
  protected:
    /// One that the port takes for its own, so that what no rule matches is seen, too.
    packet::Bytes frame_for_us() {
        packet::Bytes frame = packets_.next(60, 300);
        std::copy(rig.mac.bytes.begin(), rig.mac.bytes.end(), frame.begin());
        return frame;
    }

    /// Rules that testpmd has words for, and the port room.
    void create(RandomRules &rules, const std::vector<packet::Bytes> &frames) {
        const flow::Rule rule = rules.next_for(flow::reference_key(frames[rules.below(frames.size())]));
        const std::string text = flow::to_text(rule);
        if (text.size() > kLineMax || !contains(rig.testpmd.command("flow create 0 " + text), " created"))
            return;
        reference.add(++created, rule);
    }

    uint64_t dropped() { return rig.testpmd.port_xstats(0).at("rule_dropped"); }

    void expect_as_the_reference_says(const packet::Bytes &frame) {
        const auto verdict = reference.match(flow::reference_key(frame), flow::Direction::Ingress);
        acted += verdict.acted.size();
        std::string story = testing::PrintToString(frame);
        for (const flow::RuleId id : verdict.acted)
            story += "\n" + flow::to_text(reference.rules().at(id));
        SCOPED_TRACE(story);
        if (verdict.fate == flow::Fate::Drop) {
            // A probe behind it may be dropped as well. Should the frame come out, it is taken for the next one.
            const uint64_t before = dropped();
            (void)rig.sender.send(frame);
            EXPECT_TRUE(wait_until([&] { return dropped() == before + 1; }));
            return;
        }
        const TestpmdPacket packet = rig.pass(frame);
        EXPECT_EQ(packet.mark, verdict.mark);
        EXPECT_EQ(packet.flagged, verdict.flag || verdict.mark);
        const bool by_rule = verdict.fate == flow::Fate::Queue;
        EXPECT_EQ(packet.queue, by_rule ? verdict.queue : classify(*tables_of(rig.config), frame).queue);
    }

    FlowRig rig{GetParam()};
    flow::ReferenceMatcher reference;
    flow::RuleId created = 0;
    size_t acted = 0;
    std::mt19937_64 random = seeded_random();

  private:
    packet::RandomPackets packets_{std::mt19937_64(random())};
};
INSTANTIATE_TEST_SUITE_P(Modes, FlowRandom, testing::Values(Mode::Local, Mode::Remote),
                         [](const auto &instance) { return name_of(instance.param); });

TEST_P(FlowRandom, RulesDoToPacketsWhatTheReferenceMatcherSays) {
    RuleBounds bounds;
    bounds.groups = 3;
    bounds.priorities = 4;
    bounds.rewrites = false;
    bounds.directions = {flow::Direction::Ingress};
    std::erase(bounds.fates, flow::Fate::Rss);
    RandomRules rules(std::mt19937_64(random()), bounds);
    for (int set = 0; set < 8 && !HasFailure(); set++) {
        std::vector<packet::Bytes> frames;
        for (int i = 0; i < 25; i++)
            frames.push_back(frame_for_us());
        for (int i = 0; i < 25; i++)
            create(rules, frames);
        for (const packet::Bytes &frame : frames)
            expect_as_the_reference_says(frame);
        rig.testpmd.command("flow flush 0");
        reference.clear();
    }
    EXPECT_GT(created, 60U);
    EXPECT_GT(acted, 40U);
}

} // namespace
} // namespace tapflow::test
