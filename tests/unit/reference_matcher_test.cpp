// SPDX-License-Identifier: BSD-3-Clause
#include "flow/reference_matcher.h"

#include "flow/text.h"
#include "packet/build.h"
#include "packet/random_packets.h"
#include "support/random_rule.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <array>

namespace tapflow::test {
namespace {

using flow::Direction;
using flow::Fate;
using flow::ReferenceMatcher;
using flow::ReferenceVerdict;
using flow::Rule;
using flow::RuleId;
using packet::Packet;

using Ids = std::vector<RuleId>;

Rule rule_of(const std::string &text) {
    const auto rule = flow::parse_rule(text);
    if (!rule)
        throw std::logic_error(rule.error().message());
    return *rule;
}

/// Rules with numbers from 1 on.
ReferenceMatcher matcher_of(const std::vector<std::string> &rules) {
    ReferenceMatcher matcher;
    for (size_t i = 0; i < rules.size(); i++)
        matcher.add(i + 1, rule_of(rules[i]));
    return matcher;
}

tapflow_flow_key udp_to(uint16_t port) {
    return flow::reference_key(Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1000, port).bytes());
}

/// `last` points nowhere: the rules are gone.
ReferenceVerdict verdict(const std::vector<std::string> &rules, Direction direction = Direction::Ingress) {
    ReferenceVerdict verdict = matcher_of(rules).match(udp_to(53), direction);
    verdict.last = nullptr;
    return verdict;
}

bool matches_udp_to(uint16_t port, const std::string &pattern) {
    return flow::matches(rule_of("pattern " + pattern + " / end actions drop / end").match, udp_to(port));
}

TEST(ReferenceMatcher, MasksAreHonouredBitByBit) {
    EXPECT_TRUE(matches_udp_to(0x1235, "udp dst spec 0x1034 dst mask 0xf0fe"));
    EXPECT_FALSE(matches_udp_to(0x1235, "udp dst spec 0x1034 dst mask 0xf0ff"));
    EXPECT_TRUE(matches_udp_to(53, "ipv4 src spec 10.0.0.77 src prefix 24"));
    EXPECT_FALSE(matches_udp_to(53, "ipv4 src spec 10.0.0.77 src prefix 26"));
}

TEST(ReferenceMatcher, RangesIncludeTheirEnds) {
    for (const uint16_t port : std::array<uint16_t, 2>{10, 20})
        EXPECT_TRUE(matches_udp_to(port, "udp dst spec 10 dst last 20"));
    for (const uint16_t port : std::array<uint16_t, 3>{9, 21, 0x100 + 10})
        EXPECT_FALSE(matches_udp_to(port, "udp dst spec 10 dst last 20"));
    EXPECT_TRUE(matches_udp_to(0x100 + 10, "udp dst spec 10 dst last 20 dst mask 0xff"));
}

TEST(ReferenceMatcher, HeadersCanBeAskedForAndAgainst) {
    EXPECT_TRUE(matches_udp_to(53, "udp"));
    EXPECT_FALSE(matches_udp_to(53, "tcp"));
    EXPECT_FALSE(matches_udp_to(53, "vlan"));
    EXPECT_TRUE(matches_udp_to(53, "eth has_vlan is 0"));
}

TEST(ReferenceMatcher, WhatMatchesNoRuleIsNotDecided) {
    const ReferenceVerdict none = verdict({"pattern tcp / end actions drop / end"});
    EXPECT_EQ(none.acted, Ids{});
    EXPECT_EQ(none.fate, Fate::None);
    EXPECT_FALSE(none.taken);
}

TEST(ReferenceMatcher, TheLowestPriorityDecides) {
    const ReferenceVerdict queue = verdict({"priority 2 pattern end actions drop / end",
                                            "priority 1 pattern udp / end actions queue index 3 / end",
                                            "priority 0 pattern tcp / end actions drop / end"});
    EXPECT_EQ(queue.acted, Ids{2});
    EXPECT_EQ(queue.fate, Fate::Queue);
    EXPECT_EQ(queue.queue, 3);
    EXPECT_TRUE(queue.taken);
}

TEST(ReferenceMatcher, TheRuleThatDecidesIsTheLast) {
    const ReferenceMatcher matcher =
        matcher_of({"pattern end actions count / end", "pattern udp / end actions drop / end",
                    "pattern end actions queue index 0 / end"});
    EXPECT_EQ(matcher.match(udp_to(53), Direction::Ingress).last, &matcher.rules().at(2));
    EXPECT_EQ(matcher_of({"pattern end actions count / end"}).match(udp_to(53), Direction::Ingress).last, nullptr);
}

TEST(ReferenceMatcher, OfEqualPrioritiesTheLowerIdDecides) {
    EXPECT_EQ(verdict({"pattern end actions queue index 1 / end", "pattern end actions queue index 2 / end"}).queue, 1);
}

TEST(ReferenceMatcher, RulesThatDoNotDecideActAndTheSearchGoesOn) {
    const ReferenceVerdict all = verdict(
        {"priority 1 pattern end actions mark id 7 / end", "priority 2 pattern end actions flag / passthru / end",
         "priority 3 pattern end actions mark id 8 / count / end", "priority 4 pattern end actions passthru / end",
         "priority 5 pattern end actions drop / end", "priority 6 pattern end actions mark id 9 / end"});
    EXPECT_EQ(all.acted, (Ids{1, 2, 3, 4, 5}));
    EXPECT_EQ(all.mark, 8U);
    EXPECT_TRUE(all.flag);
    EXPECT_TRUE(all.taken);
    EXPECT_EQ(all.fate, Fate::Drop);
}

TEST(ReferenceMatcher, OnlyQueueRssMarkAndFlagTakeThePacket) {
    for (const char *actions : {"queue index 0", "rss", "mark id 0", "flag"})
        EXPECT_TRUE(verdict({std::string("pattern end actions ") + actions + " / end"}).taken) << actions;
    for (const char *actions : {"drop", "count", "passthru", "jump group 1"})
        EXPECT_FALSE(verdict({std::string("pattern end actions ") + actions + " / end"}).taken) << actions;
}

TEST(ReferenceMatcher, AJumpGoesToTheBeginningOfAnotherGroup) {
    const ReferenceVerdict jumped =
        verdict({"priority 5 pattern end actions mark id 1 / jump group 2 / end",
                 "priority 9 pattern end actions drop / end", "group 2 priority 1 pattern end actions count / end",
                 "group 2 priority 7 pattern end actions rss / end", "group 3 pattern end actions drop / end"});
    EXPECT_EQ(jumped.acted, (Ids{1, 3, 4}));
    EXPECT_EQ(jumped.fate, Fate::Rss);
    EXPECT_EQ(jumped.mark, 1U);
    EXPECT_EQ(verdict({"pattern end actions jump group 2 / end", "priority 9 pattern end actions drop / end"}).fate,
              Fate::None);
}

TEST(ReferenceMatcher, TheDirectionsHaveTheirOwnRules) {
    const std::vector<std::string> rules{"ingress pattern end actions queue index 1 / end",
                                         "egress pattern end actions drop / end"};
    EXPECT_EQ(verdict(rules, Direction::Ingress).fate, Fate::Queue);
    EXPECT_EQ(verdict(rules, Direction::Egress).fate, Fate::Drop);
}

TEST(ReferenceMatcher, ASearchEndsAfterItsLastStep) {
    std::vector<std::string> rules(TAPFLOW_FLOW_STEPS - 1, "pattern end actions count / end");
    rules.emplace_back("priority 1 pattern end actions drop / end");
    EXPECT_EQ(verdict(rules).fate, Fate::Drop);
    rules.emplace_back("pattern end actions count / end");
    EXPECT_EQ(verdict(rules).fate, Fate::None);
    EXPECT_EQ(verdict(rules).acted.size(), size_t{TAPFLOW_FLOW_STEPS});
    EXPECT_EQ(verdict({"pattern end actions jump group 1 / end", "group 1 pattern end actions jump group 0 / end"})
                  .acted.size(),
              size_t{TAPFLOW_FLOW_STEPS});
}

TEST(ReferenceMatcher, RulesCanBeTakenAway) {
    ReferenceMatcher matcher =
        matcher_of({"pattern end actions drop / end", "pattern end actions queue index 1 / end"});
    matcher.remove(1);
    EXPECT_EQ(matcher.match(udp_to(53), Direction::Ingress).fate, Fate::Queue);
    matcher.clear();
    EXPECT_EQ(matcher.match(udp_to(53), Direction::Ingress).fate, Fate::None);
}

TEST(ReferenceMatcher, RulesMadeFromAPacketMatchIt) {
    packet::RandomPackets packets(seeded_random());
    RandomRules rules(packets.random(), {.near_misses = 0});
    size_t matched = 0;
    for (int i = 0; i < 10000; i++) {
        const tapflow_flow_key key = flow::reference_key(packets.next(14, 1000));
        matched += flow::matches(rules.next_for(key).match, key);
    }
    EXPECT_GT(matched, 9900U);
}

} // namespace
} // namespace tapflow::test
