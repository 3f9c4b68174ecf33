// SPDX-License-Identifier: BSD-3-Clause
// Ports as they are seen from outside: by what the kernel says of them alone.
#include "engine/inspect.h"

#include "flow/text.h"
#include "kernel/port_fixture.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace tapflow::test {
namespace {

using engine::InspectedPort;
using engine::InspectedRule;

/// Other tests have ports at the same time: what is looked for is in the test's namespace.
class Inspect : public PortTest {
  protected:
    static InspectedPort find() { return must(engine::find_port("tap0")); }

    engine::Flow *create(const std::string &text) {
        const auto created = port->flows().create(must(flow::parse_rule(text)));
        EXPECT_NE(created.flow, nullptr) << text << ": " << created.refusal.error.message();
        return created.flow;
    }
    /// A rule as the port itself says it.
    std::string text_of(const engine::Flow *flow) { return flow::to_text(must(port->flows().rule(flow))); }
};

TEST_F(Inspect, SaysWhoseThePortIsAndWhatItIs) {
    open({.queues = 3});
    const InspectedPort seen = find();
    const auto identity = seen.identity();
    EXPECT_EQ(identity.pid, static_cast<uint32_t>(getpid()));
    EXPECT_EQ(identity.process, "tapflow_kernel_");
    EXPECT_EQ(identity.delivery, port->delivery());
    EXPECT_FALSE(identity.is_remote);
    EXPECT_EQ(identity.rx_queues, 3U);
    EXPECT_EQ(identity.tx_queues, 1U);
    EXPECT_EQ(identity.tap_ifindex, port->ifindex());
    EXPECT_EQ(seen.owner(), engine::Owner::Running);
    EXPECT_TRUE(seen.is_here());
    EXPECT_EQ(seen.name(), "tap0");
    EXPECT_EQ(seen.tap()->mtu, 1500U);
    EXPECT_FALSE(seen.remote());
    const auto attached = seen.attached();
    ASSERT_EQ(attached.size(), 1U);
    EXPECT_EQ(attached[0].program, "tap_egress");
    EXPECT_EQ(attached[0].hook, kernel::Hook::Egress);
    EXPECT_FALSE(attached[0].at_remote);
}

TEST_F(Inspect, SeesTheRemoteAndWhatIsAttachedThere) {
    NetNs other;
    add_veth(ns, "eth0", other, "peer");
    open({.remote = "eth0"});
    const InspectedPort seen = must(engine::find_port("eth0"));
    EXPECT_TRUE(seen.identity().is_remote);
    ASSERT_TRUE(seen.remote());
    EXPECT_EQ(seen.remote()->name, "eth0");
    EXPECT_TRUE(seen.has_lease());
    const auto attached = seen.attached();
    const auto has = [&](const std::string &name, bool at_remote) {
        return std::any_of(attached.begin(), attached.end(), [&](const engine::Attached &one) {
            return one.program == name && one.at_remote == at_remote && one.hook == kernel::Hook::Ingress;
        });
    };
    EXPECT_TRUE(has("remote_ingress", true));
    EXPECT_TRUE(has("tx_redirect", false));
}

TEST_F(Inspect, ReadsTheRssConfiguration) {
    open();
    const InspectedPort seen = find();
    EXPECT_EQ(must(seen.rss()).config, config);
    config.function = rss::Function::SymmetricToeplitzSort;
    config.types = uint64_t{rss::kIpv4Udp} | rss::kL3SourceOnly;
    config.key.assign(rss::kLongKeySize, 0x5a);
    config.reta.assign(256, 2);
    must(port->set_rss(config));
    EXPECT_EQ(must(seen.rss()).config, config);
}

TEST_F(Inspect, ReadsEveryRuleAsItWasMade) {
    open();
    flow::RssAction action;
    action.types = rss::kIpv4;
    action.queues = {1, 3};
    const uint32_t shared_rss = must(port->flows().create_shared_rss(action));
    const uint32_t shared_count = must(port->flows().create_shared_count());
    const std::vector<std::string> texts{
        "ingress priority 7 pattern eth / ipv4 src is 10.0.0.1 / udp dst is 53 / end actions queue index 2 / count / "
        "end",
        "ingress pattern eth / ipv4 / tcp dst spec 1000 dst last 2000 / end actions mark id 5 / rss func "
        "symmetric_toeplitz "
        "types ipv4-tcp end queues 3 1 2 end / end",
        "ingress priority 3 pattern eth / vlan vid is 9 / end actions passthru / flag / end",
        "ingress pattern eth / ipv6 / end actions jump group 4 / end",
        "ingress group 4 pattern eth / ipv6 dst is fe80::1 / end actions drop / end",
        "ingress priority 9 pattern eth / ipv4 / end actions of_pop_vlan / set_ttl ttl_value 9 / queue index 0 / end",
        "ingress priority 11 pattern eth / arp_eth_ipv4 / end actions indirect " + std::to_string(shared_rss) +
            " rss / end",
        "ingress priority 12 pattern eth / arp_eth_ipv4 / end actions indirect " + std::to_string(shared_count) +
            " count / mark id 1 / end",
        "egress pattern eth / ipv4 dst is 10.9.9.9 / end actions drop / end",
    };
    std::vector<engine::Flow *> flows;
    for (const std::string &text : texts)
        flows.push_back(create(text));
    const InspectedPort seen = find();
    auto rules = must(seen.rules());
    EXPECT_TRUE(rules.consistent);
    ASSERT_EQ(rules.rules.size(), texts.size());
    for (size_t i = 0; i < texts.size(); i++) {
        EXPECT_EQ(flow::to_text(rules.rules[i].rule), text_of(flows[i]));
        EXPECT_EQ(rules.rules[i].rule, must(port->flows().rule(flows[i])));
        EXPECT_EQ(rules.rules[i].id, i + 1);
    }
    must(port->flows().destroy(flows[1]));
    must(port->flows().destroy(flows[5]));
    rules = must(seen.rules());
    ASSERT_EQ(rules.rules.size(), texts.size() - 2);
    EXPECT_EQ(flow::to_text(rules.rules[1].rule), text_of(flows[2]));
    EXPECT_EQ(rules.rules[1].id, 3U);
}

TEST_F(Inspect, CountsWhatARuleHasCountedSinceItWasMade) {
    open();
    const std::string text = "ingress pattern eth / ipv4 / udp dst is 53 / end actions queue index 1 / count / end";
    const auto frame = packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 53).payload(18).bytes();
    PacketSocket socket(ns, "tap0", {.receive = false});
    for (unsigned made = 1; made <= 3; made++) {
        engine::Flow *flow = create(text);
        for (unsigned i = 0; i < made; i++)
            socket.send(frame);
        const InspectedPort seen = find();
        const auto rules = must(seen.rules());
        ASSERT_EQ(rules.rules.size(), 1U);
        ASSERT_TRUE(rules.rules[0].count);
        EXPECT_EQ(rules.rules[0].count->packets, made);
        EXPECT_EQ(rules.rules[0].count->bytes, made * frame.size());
        EXPECT_EQ(seen.counts(rules).at(rules.rules[0].index).packets, made);
        must(port->flows().destroy(flow));
    }
}

TEST_F(Inspect, ReadsRulesWhileTheyChange) {
    open();
    const InspectedPort seen = find();
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        for (unsigned i = 0; !stop; i++) {
            auto *flow = create("ingress priority " + std::to_string(i % 7) + " pattern eth / ipv4 src is 10.0." +
                                std::to_string(i % 3) + ".1 / end actions queue index 1 / end");
            auto *other = create("ingress pattern eth / ipv6 / tcp src is " + std::to_string(i % 100 + 1) +
                                 " / end actions drop / end");
            must(port->flows().destroy(flow));
            must(port->flows().destroy(other));
        }
    });
    for (int i = 0; i < 200; i++) {
        const auto rules = must(seen.rules());
        if (!rules.consistent)
            continue;
        EXPECT_LE(rules.rules.size(), 2U);
        for (const InspectedRule &rule : rules.rules)
            EXPECT_NE(rule.rule.actions.fate, flow::Fate::None);
    }
    stop = true;
    writer.join();
}

TEST_F(Inspect, SeesWhatWaitsInARing) {
    open({.queues = 1});
    const InspectedPort seen = find();
    const auto before = seen.ring(0);
    ASSERT_TRUE(before);
    EXPECT_EQ(before->bytes, 1U << 20U);
    EXPECT_EQ(before->used, 0U);
    PacketSocket socket(ns, "tap0", {.receive = false});
    socket.send(packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 53).payload(18).bytes());
    EXPECT_GT(seen.ring(0)->used, 0U);
    EXPECT_EQ(seen.ring(0)->delivered, 0U);
    EXPECT_FALSE(seen.ring(1));
}

TEST_F(Inspect, ListsAddedAddresses) {
    open();
    const MacAddress address = must(packet::parse_mac("02:00:00:00:be:ef"));
    must(port->add_unicast(address));
    EXPECT_EQ(must(find().addresses()), std::vector{address});
}

TEST_F(Inspect, SaysThatThereIsNoSuchPort) {
    open();
    const auto missing = engine::find_port("nosuch");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ENODEV);
    EXPECT_NE(missing.error().detail.find("tap0"), std::string::npos) << missing.error().message();
}

} // namespace
} // namespace tapflow::test
