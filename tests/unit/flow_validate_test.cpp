// SPDX-License-Identifier: BSD-3-Clause
#include "flow/validate.h"

#include "flow/text.h"
#include "support/random_rule.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>

namespace tapflow::test {
namespace {

using flow::Capabilities;
using flow::Part;
using flow::Refusal;
using flow::Rule;

constexpr unsigned kQueues = 4;

Rule rule_of(const std::string &text) {
    auto rule = flow::parse_rule(text);
    EXPECT_TRUE(rule) << text << "\n" << (rule ? "" : rule.error().message());
    return rule ? *rule : Rule{};
}

Rule rule_with_actions(const std::string &actions) { return rule_of("pattern end actions " + actions + " / end"); }

/// What is said of a rule; code 0: nothing.
Refusal refusal(const Rule &rule, const Capabilities &capabilities = {.queues = kQueues}) {
    return flow::validate(rule, capabilities).value_or(Refusal{Part::Other, {0, "", ""}});
}

Refusal refusal(const std::string &actions, const Capabilities &capabilities = {.queues = kQueues}) {
    return refusal(rule_with_actions(actions), capabilities);
}

void expect_refused(const Refusal &refusal, Part part, int code, const std::string &what, const std::string &detail) {
    EXPECT_EQ(refusal.part, part) << what;
    EXPECT_EQ(refusal.error.code, code) << what;
    EXPECT_EQ(refusal.error.what, what);
    EXPECT_EQ(refusal.error.detail, detail);
}

TEST(FlowValidate, LetsPassWhatThePortCanDo) {
    for (const char *actions :
         {"drop", "passthru", "count", "mark id 0", "flag / count", "mark id 4294967295 / passthru", "count / drop",
          "queue index 3", "jump group 15", "rss", "rss level 2 queues 3 3 0 end types all l3-src-only level-inner end",
          "indirect 5 rss", "indirect 5 count", "of_pop_vlan / mark id 3 / queue index 0", "dec_ttl / rss",
          "of_push_vlan ethertype 0x88a8 / of_set_vlan_vid vlan_vid 4095 / of_set_vlan_pcp vlan_pcp 7 / queue index 0"})
        EXPECT_EQ(refusal(actions).error.code, 0) << actions << ": " << refusal(actions).error.message();
    EXPECT_EQ(refusal(rule_of("group 15 priority 4095 pattern udp / end actions drop / end")).error.code, 0);
    for (const char *actions : {"drop", "passthru", "jump group 1 / count", "count"})
        EXPECT_EQ(refusal(rule_of(std::string("egress pattern end actions ") + actions + " / end")).error.code, 0);
}

TEST(FlowValidate, GroupsAndPrioritiesHaveLimits) {
    expect_refused(refusal(rule_of("group 16 pattern end actions drop / end")), Part::Group, ENOTSUP, "group 16",
                   "groups are 0 to 15");
    expect_refused(refusal(rule_of("priority 4096 pattern end actions drop / end")), Part::Priority, ENOTSUP,
                   "priority 4096", "priorities are 0 to 4095");
}

TEST(FlowValidate, AJumpGoesToAnotherGroupThatThereIs) {
    expect_refused(refusal("jump group 16"), Part::Jump, ENOTSUP, "jump to group 16", "groups are 0 to 15");
    expect_refused(refusal("jump group 0"), Part::Jump, EINVAL, "jump to group 0", "the rule is in that group itself");
}

TEST(FlowValidate, AQueueIsOneOfThePorts) {
    expect_refused(refusal("queue index 4"), Part::Queue, ERANGE, "queue 4", "the port has 4 Rx queues");
    expect_refused(refusal("rss queues 0 4 end"), Part::Rss, ERANGE, "queue 4", "the port has 4 Rx queues");
}

TEST(FlowValidate, BeforeThePortIsConfiguredItMayGetAnyQueue) {
    EXPECT_EQ(refusal("queue index 63", {}).error.code, 0);
    expect_refused(refusal("queue index 64", {}), Part::Queue, ERANGE, "queue 64", "a port has at most 64 Rx queues");
}

TEST(FlowValidate, RssIsWhatThePortsOwnCanBe) {
    expect_refused(refusal("rss key 0011"), Part::Rss, EINVAL, "RSS key of 2 bytes", "keys have 40 or 52");
    expect_refused(refusal("rss level 3"), Part::Rss, ENOTSUP, "RSS level 3",
                   "levels are 0 and 1 (outermost headers) and 2 (innermost)");
    const auto with = [](const std::function<void(flow::RssAction &)> &change) {
        Rule rule = rule_with_actions("rss");
        flow::RssAction rss;
        change(rss);
        rule.actions.rss = std::make_shared<const flow::RssAction>(std::move(rss));
        return refusal(rule);
    };
    for (unsigned bit = 0; bit < 64; bit++) {
        const bool known = ((rss::kAllTypes | rss::kAllModifiers) >> bit & 1) != 0;
        EXPECT_EQ(with([&](auto &rss) { rss.types = 1ULL << bit; }).error.code, known ? 0 : ENOTSUP) << bit;
    }
    for (const size_t size : {40, 52})
        EXPECT_EQ(with([&](auto &rss) { rss.key.resize(size); }).error.code, 0);
    EXPECT_EQ(with([](auto &rss) { rss.queues.resize(512); }).error.code, 0);
    expect_refused(with([](auto &rss) { rss.queues.resize(513); }), Part::Rss, ENOTSUP, "RSS over a list of 513 queues",
                   "lists have at most 512");
}

TEST(FlowValidate, RssIsEitherTheRulesOwnOrShared) {
    Rule rule = rule_with_actions("rss");
    rule.actions.shared_rss = 5;
    expect_refused(refusal(rule), Part::Rss, EINVAL, "RSS", "it is either the rule's own or an indirect action");
    rule.actions.shared_rss.reset();
    rule.actions.rss.reset();
    expect_refused(refusal(rule), Part::Rss, EINVAL, "RSS", "nothing says how packets are spread");
}

TEST(FlowValidate, ADroppedPacketHasNoMarkAndNoHeaders) {
    expect_refused(refusal("mark id 1 / drop"), Part::Mark, EINVAL, "mark with drop", "a dropped packet has no mark");
    expect_refused(refusal("flag / drop"), Part::Mark, EINVAL, "flag with drop", "a dropped packet has no mark");
    expect_refused(refusal("dec_ttl / drop"), Part::Rewrite, EINVAL, "rewrite headers",
                   "a dropped packet has no headers");
}

TEST(FlowValidate, AMarkIsAFlagAlready) {
    expect_refused(refusal("mark id 1 / flag / passthru"), Part::Mark, ENOTSUP, "mark with flag",
                   "a packet's mark tells that it is flagged already");
}

TEST(FlowValidate, HeadersAreRewrittenOnlyWhereTheSearchEnds) {
    for (const char *actions : {"dec_ttl", "dec_ttl / passthru", "dec_ttl / jump group 1", "dec_ttl / mark id 1"})
        expect_refused(refusal(actions), Part::Rewrite, ENOTSUP, "rewrite headers",
                       "headers are rewritten by the rule that ends the search: it needs QUEUE or RSS");
    expect_refused(refusal("dec_ttl / queue index 0", {.queues = kQueues, .rewrites = false}), Part::Rewrite, ENOTSUP,
                   "rewrite headers", "needs delivery by ring (rx=ring), and a tap");
}

TEST(FlowValidate, NoMoreThanTwoTagsArePushed) {
    const std::string push = "of_push_vlan ethertype 33024 / ";
    EXPECT_EQ(refusal(push + push + "queue index 0").error.code, 0);
    expect_refused(refusal(push + push + push + "queue index 0"), Part::Rewrite, ENOTSUP, "push 3 VLAN tags",
                   "at most 2 can be pushed");
}

TEST(FlowValidate, RewritesHaveValuesThatFit) {
    const auto with = [](flow::Rewrite::Kind kind, uint16_t value) {
        Rule rule = rule_with_actions("queue index 0");
        rule.actions.rewrites.push_back({.kind = kind, .value = value});
        return refusal(rule);
    };
    using Kind = flow::Rewrite::Kind;
    expect_refused(with(Kind::SetVlanVid, 4096), Part::Rewrite, EINVAL, "set VLAN VID 4096", "VIDs are 0 to 4095");
    expect_refused(with(Kind::SetVlanPcp, 8), Part::Rewrite, EINVAL, "set VLAN PCP 8", "PCPs are 0 to 7");
    expect_refused(with(Kind::SetTtl, 256), Part::Rewrite, EINVAL, "set TTL 256", "TTLs are 0 to 255");
    expect_refused(with(Kind::PushVlan, 0x9100), Part::Rewrite, ENOTSUP, "push VLAN tag with TPID 37120",
                   "TPIDs are 33024 (0x8100) and 34984 (0x88a8)");
    EXPECT_EQ(with(Kind::SetTpDst, 65535).error.code, 0);
}

TEST(FlowValidate, ARuleDoesSomething) {
    expect_refused(refusal(rule_of("pattern udp / end actions end")), Part::Actions, EINVAL, "rule", "no action");
    Rule rule = rule_with_actions("passthru");
    rule.actions.shared_count = 3;
    expect_refused(refusal(rule), Part::Actions, EINVAL, "indirect counter 3", "the rule does not count");
}

TEST(FlowValidate, WhatTheApplicationSendsIsNeitherSteeredNorMarkedNorRewritten) {
    const std::string detail = "not for egress, where rules DROP, COUNT, JUMP and PASSTHRU";
    const auto egress = [](const std::string &actions) {
        return refusal(rule_of("egress pattern end actions " + actions + " / end"));
    };
    expect_refused(egress("queue index 0"), Part::Queue, ENOTSUP, "QUEUE", detail);
    expect_refused(egress("rss"), Part::Rss, ENOTSUP, "RSS", detail);
    expect_refused(egress("mark id 1"), Part::Mark, ENOTSUP, "MARK", detail);
    expect_refused(egress("flag / passthru"), Part::Mark, ENOTSUP, "FLAG", detail);
    expect_refused(egress("dec_ttl"), Part::Rewrite, ENOTSUP, "rewrite headers", detail);
}

TEST(FlowValidate, AMatchIsInNormalForm) {
    Rule rule = rule_of("pattern udp dst spec 5 dst last 9 / end actions drop / end");
    EXPECT_EQ(refusal(rule).error.code, 0);
    const auto with = [&](const std::function<void(flow::Match &)> &change) {
        Rule changed = rule;
        change(changed.match);
        return refusal(changed);
    };
    expect_refused(with([](auto &match) { match.value.outer.ip_ttl = 1; }), Part::Pattern, EINVAL, "match",
                   "it has a value where nothing is compared");
    const std::string bad_range = "a range is empty, says nothing, or its field is compared as well";
    for (const auto &change : std::vector<std::function<void(flow::Range &)>>{
             [](auto &range) { range.low = 10; },
             [](auto &range) { range.low = range.high; },
             [](auto &range) { range.low = 0, range.high = 0xffff; },
             [](auto &range) { range.high = 0x10000; },
             [](auto &range) { range.word = TAPFLOW_FLOW_WORDS; },
             [](auto &range) { range.shift = 49; },
         })
        expect_refused(with([&](auto &match) { change(match.ranges[0]); }), Part::Pattern, EINVAL, "match", bad_range);
    expect_refused(with([](auto &match) { match.mask.outer.l4[3] = 1; }), Part::Pattern, EINVAL, "match", bad_range);
    EXPECT_EQ(with([](auto &match) { match.mask.outer.l4[1] = 1; }).error.code, 0);
    EXPECT_EQ(with([](auto &match) { match.range_count = 5; }).part, Part::Pattern);
}

TEST(FlowValidate, WordsAndRangesTogetherHaveALimit) {
    Rule rule = rule_of("pattern udp dst spec 5 dst last 9 / end actions drop / end");
    auto *mask = reinterpret_cast<uint8_t *>(&rule.match.mask);
    for (size_t word = 0; word < TAPFLOW_FLOW_WORDS - 1; word++)
        if (word != rule.match.ranges[0].word)
            mask[8 * word] = 1;
    EXPECT_EQ(refusal(rule).error.code, 0);
    mask[8 * rule.match.ranges[0].word] = 1;
    expect_refused(refusal(rule), Part::Pattern, ENOTSUP, "match over too many fields",
                   "compared words and ranges are 20, at most 19 will do");
}

TEST(FlowValidate, WhatDoesNotFitIsSaidOfEveryRandomRule) {
    RandomRules rules(seeded_random());
    for (int i = 0; i < 10000; i++) {
        Rule rule = rules.next();
        ASSERT_FALSE(flow::validate(rule, {.queues = 4})) << flow::to_text(rule);
        rule.attributes.priority += TAPFLOW_FLOW_PRIORITIES;
        ASSERT_EQ(refusal(rule).part, Part::Priority);
    }
}

} // namespace
} // namespace tapflow::test
