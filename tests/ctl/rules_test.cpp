// SPDX-License-Identifier: BSD-3-Clause
#include "ctl/ctl_fixture.h"
#include "kernel/flower_rig.h"

namespace tapflow::test {
namespace {

/// A port with rules of all kinds, of which two have counted packets.
class CtlRules : public CtlTest {
  protected:
    void SetUp() override {
        open();
        create("priority 3 pattern eth / ipv4 / udp dst is 53 / end actions mark id 7 / count / queue index 1 / end");
        create("pattern eth / ipv4 src is 10.9.0.0 / end actions rss queues 0 1 end / end");
        create(
            "group 1 pattern eth / ipv6 / tcp dst spec 80 dst last 90 dst mask 65535 / end actions count / drop / end");
        create("priority 1 pattern eth / ipv4 / udp dst is 54 / end actions count / queue index 0 / end");
        create("egress pattern eth / ipv4 / tcp / end actions drop / end");
        send_udp(53, 2);
        send_udp(54, 5);
    }

    static std::vector<uint64_t> ids(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), {"rules", "tap0", "--json"});
        std::vector<uint64_t> result;
        const nlohmann::ordered_json json = valid_json(tapflowctl(std::move(arguments)), "rules");
        for (const nlohmann::ordered_json &rule : json["rules"])
            result.push_back(rule["id"]);
        return result;
    }
};

using Ids = std::vector<uint64_t>;

TEST_F(CtlRules, ForEyes) {
    const Said said = tapflowctl({"rules", "tap0"});
    EXPECT_EQ(said.status, 0) << said.err;
    expect_golden("rules.txt", said.out);
}

TEST_F(CtlRules, AsJson) {
    const Said said = tapflowctl({"rules", "tap0", "--json"});
    EXPECT_EQ(said.status, 0) << said.err;
    valid_json(said, "rules");
    expect_golden("rules.json", said.out);
}

TEST_F(CtlRules, TextMakesTheSameRuleAgain) {
    const nlohmann::ordered_json json = valid_json(tapflowctl({"rules", "tap0", "--json"}), "rules");
    for (const nlohmann::ordered_json &rule : json["rules"])
        EXPECT_EQ(flow::to_text(must(flow::parse_rule(rule["text"].get<std::string>()))), rule["text"]);
}

TEST_F(CtlRules, AreFiltered) {
    EXPECT_EQ(ids({}), (Ids{1, 2, 3, 4, 5}));
    EXPECT_EQ(ids({"--group", "1"}), (Ids{3}));
    EXPECT_EQ(ids({"--ingress"}), (Ids{1, 2, 3, 4}));
    EXPECT_EQ(ids({"--egress"}), (Ids{5}));
    EXPECT_EQ(ids({"--match", "udp"}), (Ids{1, 4}));
    EXPECT_EQ(ids({"--match", "(udp"}), (Ids{}));
    EXPECT_EQ(ids({"--hit"}), (Ids{1, 4}));
    EXPECT_EQ(ids({"--never-hit"}), (Ids{3}));
    EXPECT_EQ(ids({"--ingress", "--match", "udp", "--group", "1"}), (Ids{}));
}

TEST_F(CtlRules, AreSorted) {
    EXPECT_EQ(ids({"--sort", "hits"}), (Ids{4, 1, 3, 2, 5}));
    EXPECT_EQ(ids({"--sort", "bytes"}), (Ids{4, 1, 3, 2, 5}));
    EXPECT_EQ(ids({"--sort", "priority"}), (Ids{2, 4, 1, 3, 5}));
    EXPECT_EQ(ids({"--sort", "id"}), (Ids{1, 2, 3, 4, 5}));
}

TEST_F(CtlRules, RatesAreOfTheInterval) {
    Process counting({TAPFLOWCTL, "rules", "tap0", "--json", "--sort", "rate", "--interval", "2"});
    while (counting.running()) {
        send_udp(54, 1);
        drain(port->ring(0), 0);
    }
    ASSERT_EQ(counting.wait(), 0);
    const nlohmann::ordered_json rules = nlohmann::json::parse(counting.output())["rules"];
    EXPECT_EQ(rules[0]["id"], 4);
    EXPECT_GT(rules[0]["packets_per_second"], 0);
    EXPECT_DOUBLE_EQ(rules[0]["bytes_per_second"], 60 * rules[0]["packets_per_second"].get<double>());
    EXPECT_EQ(rules[1]["packets_per_second"], 0);
    EXPECT_FALSE(rules[4].contains("packets_per_second")) << "it does not count";
}

TEST_F(CtlTest, APortWithoutRules) {
    open();
    EXPECT_EQ(tapflowctl({"rules", "tap0"}).out, "No rules.\n");
    EXPECT_TRUE(valid_json(tapflowctl({"rules", "tap0", "--json"}), "rules")["rules"].empty());
    expect_refused(tapflowctl({"rules", "no-such-port"}), 1);
}

/// With the flower classifier: where tc(8) finds a rule.
TEST_F(CtlTest, RulesNameTheirFilters) {
    if (!has_flower())
        GTEST_SKIP() << "kernel lacks flower";
    engine::PortOptions options = named("tap0");
    options.classifier = engine::RuleClassifier::Flower;
    open(options);
    create("pattern eth / ipv4 / udp dst is 53 / end actions queue index 1 / end");
    create("pattern eth / ipv4 / tcp dst is 80 / end actions drop / end");
    const Said said = tapflowctl({"rules", "tap0"});
    const auto rules = valid_json(tapflowctl({"rules", "tap0", "--json"}), "rules")["rules"];
    ASSERT_EQ(rules.size(), 2U);
    for (const auto &[rule, destination] : {std::pair(rules[0], "53"), std::pair(rules[1], "80")}) {
        ASSERT_GE(rule["filters"].size(), 1U) << rule;
        for (const auto &filter : rule["filters"]) {
            const auto number = [&](const char *name) { return std::to_string(filter[name].get<uint64_t>()); };
            EXPECT_EQ(filter["ifindex"], ns.link("tap0").index);
            EXPECT_NE(ns.must_run({"tc", "filter", "get", "dev", "tap0", filter["hook"].get<std::string>(), "chain",
                                   number("chain"), "prio", number("preference"), "handle", number("handle"),
                                   "protocol", "all", "flower"})
                          .find(std::string("dst_port ") + destination),
                      std::string::npos)
                << filter;
            EXPECT_NE(said.out.find(number("chain") + '/' + number("preference") + '/' + number("handle")),
                      std::string::npos)
                << said.out;
        }
    }
}

} // namespace
} // namespace tapflow::test
