// SPDX-License-Identifier: BSD-3-Clause
#include "flow/text.h"

#include "packet/random_packets.h"
#include "support/random_rule.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace tapflow::test {
namespace {

using flow::Rule;

constexpr const char *kFront = "ingress group 0 priority 0 pattern ";

Rule parsed(const std::string &text) {
    auto rule = flow::parse_rule(text);
    EXPECT_TRUE(rule) << text << "\n" << (rule ? "" : rule.error().message());
    return rule ? *rule : Rule{};
}

/// The pattern, and the actions, as they are printed after they were read.
std::string pattern(const std::string &text) {
    return flow::pattern_text(parsed("pattern " + text + " / end actions drop / end").match);
}
std::string actions(const std::string &text) {
    return flow::actions_text(parsed("pattern end actions " + text + " / end").actions);
}

std::string error(const std::string &text) {
    const auto rule = flow::parse_rule(text);
    return rule ? "none" : rule.error().message();
}

TEST(FlowText, ARuleIsPrintedAsTestpmdTakesIt) {
    const std::string text = "ingress group 0 priority 3 pattern eth / ipv4 src is 10.0.0.1 / end "
                             "actions queue index 2 / end";
    EXPECT_EQ(flow::to_text(parsed(text)), text);
    EXPECT_EQ(parsed("flow create 0 " + text), parsed(text));
}

TEST(FlowText, AttributesHaveDefaultsAndAnyOrder) {
    EXPECT_EQ(flow::to_text(parsed("pattern end actions count / end")),
              "ingress group 0 priority 0 pattern eth / end actions count / end");
    const Rule rule = parsed("egress priority 7 group 3 pattern end actions drop / end");
    EXPECT_EQ(rule.attributes, (flow::Attributes{.group = 3, .priority = 7, .direction = flow::Direction::Egress}));
}

TEST(FlowText, HeadersAreNamedEvenWhenNothingIsAskedOfThem) {
    EXPECT_EQ(pattern("ipv4 / udp / vxlan / eth / vlan / ipv6 / tcp"),
              "eth / ipv4 / udp / vxlan / eth / vlan / ipv6 / tcp");
    EXPECT_EQ(pattern("gre / gre_key value is 7 / ipv4"), "eth / gre / gre_key value is 7 / ipv4");
}

TEST(FlowText, QualifiersSayHowAFieldIsCompared) {
    EXPECT_EQ(pattern("udp dst is 53"), "eth / udp dst is 53");
    EXPECT_EQ(pattern("udp dst spec 53"), "eth / udp dst is 53");
    EXPECT_EQ(pattern("udp dst spec 0x35 dst mask 0xff"), "eth / udp dst spec 53 dst mask 255");
    EXPECT_EQ(pattern("udp dst spec 1 dst last 1023 dst mask 65535"),
              "eth / udp dst spec 1 dst last 1023 dst mask 65535");
    EXPECT_EQ(pattern("ipv4 src spec 10.1.2.3 src prefix 8"), "eth / ipv4 src spec 10.0.0.0 src mask 255.0.0.0");
    EXPECT_EQ(pattern("ipv6 src spec 2001:db8::1 src prefix 32"),
              "eth / ipv6 src spec 2001:db8:: src mask ffff:ffff::");
    EXPECT_EQ(pattern("eth dst spec 01:00:00:00:00:00 dst mask 01:00:00:00:00:00"),
              "eth dst spec 01:00:00:00:00:00 dst mask 01:00:00:00:00:00");
    EXPECT_EQ(pattern("ipv4 src spec 10.0.0.1 src last 10.0.0.9"),
              "eth / ipv4 src spec 10.0.0.1 src last 10.0.0.9 src mask 255.255.255.255");
    EXPECT_EQ(pattern("ipv4 src spec 10.0.0.1 src prefix 0"), "eth / ipv4");
}

TEST(FlowText, OfFieldsThatOverlapThoseArePrintedThatSayTheMost) {
    EXPECT_EQ(pattern("vlan tci spec 5 tci mask 0xfff"), "eth / vlan vid is 5");
    EXPECT_EQ(pattern("vlan tci is 0x7005"), "eth / vlan pcp is 3 dei is 1 vid is 5");
    EXPECT_EQ(pattern("ipv4 version_ihl is 0x45"), "eth / ipv4 version_ihl is 69");
    EXPECT_EQ(pattern("ipv4 version_ihl spec 5 version_ihl mask 15"), "eth / ipv4 ihl is 5");
}

TEST(FlowText, HeadersThatAreNotThereAreFlags) {
    EXPECT_EQ(pattern("eth has_vlan is 0 / ipv4"), "eth has_vlan is 0 / ipv4");
    EXPECT_EQ(pattern("eth has_vlan is 1 / ipv4"), "eth / vlan / ipv4");
    EXPECT_EQ(pattern("eth / vlan has_more_vlan is 0 / ipv4"), "eth / vlan has_more_vlan is 0 / ipv4");
    EXPECT_EQ(pattern("ipv6 has_frag_ext is 0 has_hop_ext is 1"), "eth / ipv6 has_hop_ext is 1 has_frag_ext is 0");
    EXPECT_EQ(pattern("gre / eth has_vlan is 0 / ipv4"), "eth / gre / eth has_vlan is 0 / ipv4");
}

TEST(FlowText, IpInIpIsTwoIpHeaders) {
    EXPECT_EQ(pattern("ipv4 / ipv6 / udp"), "eth / ipv4 / ipv6 / udp");
    EXPECT_EQ(pattern("any num is 2 / ipv6 / udp"), "eth / any / ipv6 / udp");
    EXPECT_EQ(pattern("vlan vid is 5 / any / ipv4"), "eth / vlan vid is 5 / any / ipv4");
}

TEST(FlowText, WhatSaysNothingIsGone) {
    EXPECT_EQ(pattern("void / eth / any / void / udp"), "eth / udp");
    EXPECT_EQ(actions("void / drop / void"), "drop");
}

TEST(FlowText, ActionsAreInTestpmdsWords) {
    for (const char *text :
         {"queue index 7", "drop", "passthru", "mark id 4294967295 / jump group 3", "flag / passthru", "count / drop",
          "of_pop_vlan / of_push_vlan ethertype 34984 / queue index 0",
          "of_set_vlan_vid vlan_vid 5 / of_set_vlan_pcp vlan_pcp 7 / queue index 0",
          "set_mac_src mac_addr 02:00:00:00:00:01 / set_mac_dst mac_addr 02:00:00:00:00:02 / queue index 0",
          "set_ipv4_src ipv4_addr 10.0.0.1 / set_ipv4_dst ipv4_addr 10.0.0.2 / queue index 0",
          "set_ipv6_src ipv6_addr 2001:db8::1 / set_ipv6_dst ipv6_addr ::2 / queue index 0",
          "set_tp_src port 1 / set_tp_dst port 65535 / set_ttl ttl_value 64 / dec_ttl / queue index 0", "rss",
          "rss func simple_xor", "rss func toeplitz level 2 types ipv4 ipv6-udp l3-src-only end queues 3 1 1 end",
          "rss func symmetric_toeplitz_sort key 6d5a56da queues 0 end", "indirect 7 rss", "indirect 7 count / drop"})
        EXPECT_EQ(actions(text), text);
}

TEST(FlowText, RssTypesMayBeGroups) {
    EXPECT_EQ(actions("rss types sctp none end"), "rss types ipv4-sctp ipv6-sctp end");
    EXPECT_EQ(actions("rss types end queues end"), "rss");
}

TEST(FlowText, RewritesKeepTheirOrder) {
    EXPECT_EQ(actions("dec_ttl / of_pop_vlan / queue index 1 / dec_ttl / mark id 1"),
              "mark id 1 / dec_ttl / of_pop_vlan / dec_ttl / queue index 1");
}

TEST(FlowText, ErrorsSayWhichWordIsWrongAndWhatCouldStandThere) {
    EXPECT_EQ(error("pattern eth / udp dts is 5 / end actions drop / end"),
              "read flow rule, word 5 \"dts\": Invalid argument (expected a field of udp (src, dst) or /)");
    EXPECT_EQ(error("pattern udp dst equals 5 / end actions drop / end"),
              "read flow rule, word 4 \"equals\": Invalid argument (expected is, spec, last, mask or prefix)");
    EXPECT_EQ(error("pattern udp dst is 65536 / end actions drop / end"),
              "read flow rule, word 5 \"65536\": Invalid argument (expected a number from 0 to 65535)");
    EXPECT_EQ(error("pattern ipv4 src is 10.0.0 / end actions drop / end"),
              "read flow rule, word 5 \"10.0.0\": Invalid argument (expected an IPv4 address)");
    EXPECT_EQ(error("pattern ipv4 src prefix 8 / end actions drop / end"),
              "read flow rule, word 3 \"src\": Invalid argument (expected what it is compared with: is or spec)");
    EXPECT_EQ(error("pattern ipv4 src spec 10.0.0.0 src prefix 33 / end actions drop / end"),
              "read flow rule, word 8 \"33\": Invalid argument (the field has 32 bits)");
    EXPECT_EQ(error("pattern udp / ipv4 / end actions drop / end"),
              "read flow rule, word 4 \"ipv4\": Invalid argument (it cannot follow udp)");
    EXPECT_EQ(error("pattern udp dst spec 9 dst last 5 / end actions drop / end"),
              "read flow rule, word 3 \"dst\": Invalid argument (9 is above 5)");
    EXPECT_EQ(error("pattern eth dst spec 02:00:00:00:00:01 dst last 02:00:00:00:00:02 / end actions drop / end"),
              "read flow rule, word 3 \"dst\": Invalid argument (only single numbers and IPv4 addresses have "
              "ranges)");
    EXPECT_EQ(error("pattern vlan tci spec 5 tci last 0x2000 / end actions drop / end"),
              "read flow rule, word 3 \"tci\": Invalid argument (only single numbers and IPv4 addresses have "
              "ranges)");
    EXPECT_EQ(error("transfer pattern end actions drop / end"),
              "read flow rule, word 1 \"transfer\": Invalid argument (expected group, priority, ingress, egress or "
              "pattern)");
    EXPECT_EQ(error("pattern end actions queue 3 / end"),
              "read flow rule, word 5 \"3\": Invalid argument (expected index)");
    EXPECT_EQ(
        error("pattern end actions drop / queue index 3 / end"),
        "read flow rule, word 6 \"queue\": Invalid argument (the actions before have said already what becomes of "
        "the packet)");
    EXPECT_EQ(error("pattern end actions mark id 1 / mark id 2 / end"),
              "read flow rule, word 8 \"mark\": Invalid argument (the rule has one already)");
    EXPECT_EQ(error("pattern end actions rss key 123 / end"),
              "read flow rule, word 6 \"123\": Invalid argument (expected an even number of hexadecimal digits)");
    EXPECT_EQ(error("pattern end actions indirect 5 / end"),
              "read flow rule, word 6 \"/\": Invalid argument (expected the kind of that action: rss or count)");
    EXPECT_EQ(error("pattern end actions drop / end please"),
              "read flow rule, word 7 \"please\": Invalid argument (nothing is expected behind the rule)");
}

TEST(FlowText, AnItemOrActionThatIsUnknownIsAnsweredWithThoseThatThereAre) {
    EXPECT_NE(error("pattern mpls / end actions drop / end").find("eth, vlan, arp_eth_ipv4, ipv4, ipv6"),
              std::string::npos);
    EXPECT_NE(error("pattern end actions meter / end").find("passthru, queue, rss, drop"), std::string::npos);
}

TEST(FlowText, ATextThatEndsTooEarlyIsRefused) {
    const std::string whole = std::string(kFront) + "eth / udp dst spec 1 dst last 9 / end actions rss func toeplitz "
                                                    "queues 1 end / mark id 3 / end";
    for (size_t end = whole.rfind(' '); end != std::string::npos && end > 0; end = whole.rfind(' ', end - 1))
        EXPECT_NE(error(whole.substr(0, end)), "none") << whole.substr(0, end);
    EXPECT_NE(error(""), "none");
}

TEST(FlowText, EveryRuleIsReadBackAsItWas) {
    RandomRules rules(seeded_random(), {.indirect = true});
    for (int i = 0; i < 10000; i++) {
        const Rule rule = rules.next();
        const std::string text = flow::to_text(rule);
        const auto again = flow::parse_rule(text);
        ASSERT_TRUE(again) << text << "\n" << again.error().message();
        ASSERT_EQ(*again, rule) << text << "\n" << flow::to_text(*again);
        ASSERT_EQ(flow::to_text(*again), text);
    }
}

TEST(FlowText, RulesMadeFromPacketsAreReadBackAsTheyWere) {
    packet::RandomPackets packets(seeded_random());
    RandomRules rules(packets.random());
    for (int i = 0; i < 10000; i++) {
        const Rule rule = rules.next_for(flow::reference_key(packets.next(0, 1000)));
        const std::string text = flow::to_text(rule);
        const auto again = flow::parse_rule(text);
        ASSERT_TRUE(again) << text << "\n" << again.error().message();
        ASSERT_EQ(*again, rule) << text << "\n" << flow::to_text(*again);
    }
}

TEST(FlowText, WordsInRandomOrderAreReadOrRefused) {
    auto random = seeded_random();
    RandomRules rules(random);
    for (int i = 0; i < 10000; i++) {
        std::vector<std::string> words;
        std::istringstream stream(flow::to_text(rules.next()));
        for (std::string word; stream >> word;)
            words.push_back(word);
        for (size_t changes = 1 + random() % 3; changes > 0; changes--)
            std::swap(words[random() % words.size()], words[random() % words.size()]);
        std::string text;
        for (const std::string &word : words)
            text += word + " ";
        if (const auto rule = flow::parse_rule(text); !rule) {
            EXPECT_NE(rule.error().detail, "") << text;
        }
    }
}

} // namespace
} // namespace tapflow::test
