// SPDX-License-Identifier: BSD-3-Clause
#include "flow/json.h"

#include "flow/text.h"
#include "support/random_rule.h"
#include "support/seed.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

using flow::Rule;
using nlohmann::json;

Rule rule_of(const std::string &text) {
    auto rule = flow::parse_rule(text);
    EXPECT_TRUE(rule) << text << "\n" << (rule ? "" : rule.error().message());
    return rule ? *rule : Rule{};
}

json pattern(const std::string &text) {
    return flow::to_json(rule_of("pattern " + text + " / end actions drop / end"))["pattern"];
}
json actions(const std::string &text) {
    return flow::to_json(rule_of("pattern end actions " + text + " / end"))["actions"];
}

/// What is said of a rule with one member changed.
std::string error(const std::string &pointer, const json &value) {
    json rule =
        flow::to_json(rule_of("pattern ipv4 src is 10.0.0.1 / udp dst spec 1 dst last 9 / end "
                              "actions mark id 7 / rss func toeplitz types ipv4 end key 11 queues 1 end / end"));
    rule[json::json_pointer(pointer)] = value;
    const auto read = flow::rule_from_json(rule);
    return read ? "none" : read.error().message();
}

TEST(FlowJson, ARuleIsAnObject) {
    const Rule rule = rule_of("group 0 priority 3 pattern ipv4 src is 10.0.0.1 / udp dst spec 0 dst last 1023 / end "
                              "actions mark id 7 / queue index 2 / end");
    EXPECT_EQ(flow::to_json(rule), json::parse(R"({
        "direction": "ingress", "group": 0, "priority": 3,
        "pattern": [{"item": "ipv4", "src": {"is": "10.0.0.1"}},
                    {"item": "udp", "dst": {"spec": 0, "last": 1023, "mask": 65535}}],
        "actions": [{"action": "mark", "id": 7}, {"action": "queue", "index": 2}]})"));
}

TEST(FlowJson, AnythingAtAllIsAnEmptyPattern) { EXPECT_EQ(pattern("eth"), json::array()); }

TEST(FlowJson, HeadersHaveWhatIsAskedOfThem) {
    EXPECT_EQ(pattern("eth dst is 02:00:00:00:00:01 has_vlan is 0 / ipv6 src spec 2001:db8:: src prefix 32"),
              json::parse(R"([{"item": "eth", "dst": {"is": "02:00:00:00:00:01"}, "has_vlan": {"is": 0}},
                              {"item": "ipv6", "src": {"spec": "2001:db8::", "mask": "ffff:ffff::"}}])"));
    EXPECT_EQ(pattern("eth / any / ipv4"), json::parse(R"([{"item": "eth"}, {"item": "any"}, {"item": "ipv4"}])"));
}

TEST(FlowJson, ActionsHaveTestpmdsParameters) {
    EXPECT_EQ(actions("rss func simple_xor level 2 types ipv4 ipv4-udp end key 00ff queues 2 0 end"),
              json::parse(R"([{"action": "rss", "func": "simple_xor", "level": 2, "types": ["ipv4", "ipv4-udp"],
                               "key": "00ff", "queues": [2, 0]}])"));
    EXPECT_EQ(actions("indirect 3 count / set_mac_src mac_addr 02:00:00:00:00:01 / dec_ttl / indirect 5 rss"),
              json::parse(R"([{"action": "indirect", "id": 3, "kind": "count"},
                              {"action": "set_mac_src", "mac_addr": "02:00:00:00:00:01"}, {"action": "dec_ttl"},
                              {"action": "indirect", "id": 5, "kind": "rss"}])"));
}

TEST(FlowJson, ErrorsNameTheMember) {
    EXPECT_EQ(error("/group", -1),
              "read flow rule from JSON, group: Invalid argument (expected a number from 0 to 4294967295)");
    EXPECT_EQ(error("/group", 1.5),
              "read flow rule from JSON, group: Invalid argument (expected a number from 0 to 4294967295)");
    EXPECT_EQ(error("/direction", "transfer"),
              "read flow rule from JSON, direction: Invalid argument (expected ingress or egress)");
    EXPECT_EQ(error("/comment", "x"), "read flow rule from JSON, comment: Invalid argument (there is no such member)");
    EXPECT_EQ(error("/pattern", 5), "read flow rule from JSON, pattern: Invalid argument (expected an array)");
    EXPECT_EQ(error("/pattern/0", 5), "read flow rule from JSON, pattern[0]: Invalid argument (expected an object)");
    EXPECT_EQ(error("/pattern/0", json::object()),
              "read flow rule from JSON, pattern[0].item: Invalid argument (it is missing)");
    EXPECT_EQ(error("/pattern/0/item", "mpls"),
              "read flow rule from JSON, pattern[0].item: Invalid argument (there is no pattern item mpls)");
    EXPECT_EQ(error("/pattern/0/item", "tcp"),
              "read flow rule from JSON, pattern[0].src.is: Invalid argument (expected a number from 0 to 65535)");
    EXPECT_EQ(error("/pattern/0/item", "esp"),
              "read flow rule from JSON, pattern[0].src: Invalid argument (the fields of esp are spi)");
    EXPECT_EQ(error("/pattern/0/src/is", "10.0"),
              "read flow rule from JSON, pattern[0].src.is: Invalid argument (expected an IPv4 address)");
    EXPECT_EQ(
        error("/pattern/0/src/mask", "255.0.0.0"),
        "read flow rule from JSON, pattern[0].src: Invalid argument (expected either \"is\", or \"spec\" and what "
        "else there is of \"last\" and \"mask\")");
    EXPECT_EQ(error("/pattern/1/dst/last", 0),
              "read flow rule from JSON, pattern[1].dst: Invalid argument (1 is above 0)");
    EXPECT_EQ(error("/pattern/1/dst/first", 0),
              "read flow rule from JSON, pattern[1].dst.first: Invalid argument (there is no such member)");
    EXPECT_EQ(error("/pattern/1/item", "ipv4"),
              "read flow rule from JSON, pattern[1].dst.last: Invalid argument (expected an IPv4 address)");
    EXPECT_EQ(error("/actions/0/action", "meter"),
              "read flow rule from JSON, actions[0].action: Invalid argument (there is no action meter)");
    EXPECT_EQ(error("/actions/0/action", "queue"),
              "read flow rule from JSON, actions[0].id: Invalid argument (there is no such member)");
    EXPECT_EQ(error("/actions/0", {{"action", "queue"}}),
              "read flow rule from JSON, actions[0].index: Invalid argument (it is missing)");
    EXPECT_EQ(
        error("/actions/0", {{"action", "drop"}}),
        "read flow rule from JSON, actions[1]: Invalid argument (the actions before have said already what becomes "
        "of the packet)");
    EXPECT_EQ(error("/actions/1/queues/0", 65536),
              "read flow rule from JSON, actions[1].queues[0]: Invalid argument (expected a number from 0 to 65535)");
    EXPECT_EQ(error("/actions/1/types/0", "ipv5"),
              "read flow rule from JSON, actions[1].types: Invalid argument (there is no RSS type \"ipv5\")");
    EXPECT_EQ(error("/actions/1/func", "crc"),
              "read flow rule from JSON, actions[1].func: Invalid argument (there is no RSS function \"crc\")");
    EXPECT_EQ(error("/actions/1/key", 5),
              "read flow rule from JSON, actions[1].key: Invalid argument (expected an even "
              "number of hexadecimal digits)");
    EXPECT_EQ(error("/actions/0", {{"action", "indirect"}, {"id", 5}, {"kind", "age"}}),
              "read flow rule from JSON, actions[0].kind: Invalid argument (expected rss or count)");
}

TEST(FlowJson, EveryMemberOfARuleIsNeeded) {
    const json whole = flow::to_json(rule_of("pattern udp / end actions drop / end"));
    for (const auto &[name, value] : whole.items()) {
        json rule = whole;
        rule.erase(name);
        const auto read = flow::rule_from_json(rule);
        ASSERT_FALSE(read) << name;
        EXPECT_EQ(read.error().message(), "read flow rule from JSON, " + name + ": Invalid argument (it is missing)");
    }
    EXPECT_FALSE(flow::rule_from_json(json::array()));
    EXPECT_FALSE(flow::rule_from_json(nullptr));
}

TEST(FlowJson, EveryRuleIsReadBackAsItWas) {
    RandomRules rules(seeded_random(), {.indirect = true});
    for (int i = 0; i < 10000; i++) {
        const Rule rule = rules.next();
        const json object = flow::to_json(rule);
        const auto again = flow::rule_from_json(json::parse(object.dump()));
        ASSERT_TRUE(again) << object.dump() << "\n" << again.error().message();
        ASSERT_EQ(*again, rule) << object.dump() << "\n" << flow::to_json(*again).dump();
    }
}

/// Any value somewhere in a document, instead of what is there.
void disturb(json &value, RandomRules &random) {
    if (value.is_structured() && !value.empty() && random.chance(90)) {
        auto child = value.begin();
        std::advance(child, static_cast<ptrdiff_t>(random.below(value.size())));
        disturb(*child, random);
        return;
    }
    const std::array<json, 8> others{nullptr, -1, 1ULL << 40, 0.5, "x", json::array(), json::object(), true};
    value = others[random.below(others.size())];
}

TEST(FlowJson, AnyDocumentIsReadOrRefused) {
    RandomRules rules(seeded_random(), {.indirect = true});
    for (int i = 0; i < 10000; i++) {
        json object = flow::to_json(rules.next());
        disturb(object, rules);
        if (const auto rule = flow::rule_from_json(object); !rule) {
            EXPECT_NE(rule.error().detail, "") << object.dump();
        }
    }
}

} // namespace
} // namespace tapflow::test
