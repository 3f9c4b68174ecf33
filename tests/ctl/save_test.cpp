// SPDX-License-Identifier: BSD-3-Clause
#include "ctl/ctl_fixture.h"

#include "flow/json.h"

namespace tapflow::test {
namespace {

using CtlSave = CtlTest;

TEST_F(CtlSave, HoldsEverythingThatMakesThePortAgain) {
    open();
    flow::RssAction action;
    action.types = rss::kIpv4;
    action.queues = {1};
    const uint32_t shared = must(port->flows().create_shared_rss(action));
    create("priority 3 pattern eth / ipv4 / udp dst is 53 / end actions mark id 7 / count / queue index 1 / end");
    create("pattern eth / ipv4 src is 10.9.0.0 / end actions rss queues 0 1 end / end");
    create("pattern eth / ipv6 / end actions indirect " + std::to_string(shared) + " rss / end");
    const Said said = tapflowctl({"save", "tap0"});
    EXPECT_EQ(said.status, 0) << said.err;
    const nlohmann::ordered_json saved = valid_json(said, "save");
    expect_golden("save.json", said.out);
    std::vector<flow::Rule> rules;
    for (const nlohmann::ordered_json &rule : saved["rules"])
        rules.push_back(must(flow::rule_from_json(rule)));
    size_t index = 0;
    port->flows().for_each([&](const flow::Rule &rule, const engine::Flow *) {
        ASSERT_LT(index, rules.size());
        EXPECT_EQ(rules[index++], rule) << flow::to_text(rule);
    });
    EXPECT_EQ(index, rules.size());
}

TEST_F(CtlSave, TrafficChangesNothingInIt) {
    open();
    create("pattern eth / ipv4 / udp dst is 53 / end actions count / queue index 1 / end");
    const std::string before = tapflowctl({"save", "tap0"}).out;
    send_udp(53, 3);
    EXPECT_EQ(tapflowctl({"save", "--json", "tap0"}).out, before);
}

} // namespace
} // namespace tapflow::test
