// SPDX-License-Identifier: BSD-3-Clause
// "tapflowctl verify".
#include "ctl/ctl_fixture.h"
#include "ctl/files.h"
#include "ctl/wrong_tables.h"

#include "packet/random_packets.h"

#include <cstring>
#include <ostream>
#include <random>

namespace tapflow::test {
namespace {

struct PortKind {
    const char *name = "";
    engine::RxMode rx = engine::RxMode::Auto;
    bool remote = false;
    kernel::Layer layer = kernel::Layer::Ethernet;
};
void PrintTo(const PortKind &kind, std::ostream *out) { *out << kind.name; }

class CtlVerify : public CtlTest, public testing::WithParamInterface<PortKind> {
  protected:
    void open_with_rules(const PortKind &kind) {
        engine::PortOptions options = named("tap0");
        options.rx = kind.rx;
        options.layer = kind.layer;
        if (kind.layer == kernel::Layer::Ip)
            options.mac.reset();
        if (kind.remote) {
            add_veth(ns, "eth3", wire, "far0");
            options.remote = "eth3";
        }
        open(options);
        create("priority 5 pattern eth / ipv4 / end actions mark id 7 / count / end");
        create("priority 6 pattern eth / ipv4 / udp dst is 53 / end actions queue index 1 / count / end");
        create("priority 7 pattern eth / ipv4 / udp dst spec 1000 dst last 2000 / end actions drop / end");
        create("pattern eth / ipv6 / end actions jump group 3 / end");
        create("group 3 pattern eth / ipv6 / tcp / end actions rss types ipv6-tcp end queues 1 0 end / end");
    }

    NetNs wire;
};

INSTANTIATE_TEST_SUITE_P(Ports, CtlVerify,
                         testing::Values(PortKind{"Ring"}, PortKind{"Fd", engine::RxMode::Fd},
                                         PortKind{"Remote", engine::RxMode::Auto, true},
                                         PortKind{"RemoteFd", engine::RxMode::Fd, true},
                                         PortKind{"Tun", engine::RxMode::Auto, false, kernel::Layer::Ip}),
                         [](const auto &tested) { return std::string(tested.param.name); });

TEST_P(CtlVerify, FindsThatAPortDecidesAsItShould) {
    open_with_rules(GetParam());
    const tapflow_port_state before = port->state();
    const Said said = tapflowctl({"verify", "tap0", "-n", "2000", "--seed", "7", "--json"});
    EXPECT_EQ(said.status, 0) << said.err << said.out;
    const nlohmann::ordered_json json = valid_json(said, "verify");
    EXPECT_EQ(json["seed"], 7);
    EXPECT_EQ(json["packets"], 2000);
    EXPECT_EQ(json["disagreeing"], 0);
    EXPECT_GT(json["compared"], 1900);
    EXPECT_GT(json["by_rule"], 500);
    EXPECT_GT(json["delivered"], 100);
    // Nobody notices.
    EXPECT_EQ(std::memcmp(&before.counters, &port->state().counters, sizeof(before.counters)), 0);
    EXPECT_EQ(std::memcmp(&before.queues, &port->state().queues, sizeof(before.queues)), 0);
    const engine::InspectedPort seen = must(engine::find_port("tap0"));
    for (const engine::InspectedRule &rule : must(seen.rules()).rules)
        EXPECT_EQ(rule.count.value_or(engine::FlowCount{}).packets, 0U);
    for (unsigned queue = 0; port->delivery() == kernel::Delivery::Ring && queue < 2; queue++)
        EXPECT_EQ(seen.ring(queue)->produced, 0U);
}

using CtlVerified = CtlTest;

TEST_F(CtlVerified, TheSameSeedIsTheSamePackets) {
    open();
    const std::string once = tapflowctl({"verify", "tap0", "-n", "300", "--seed", "3"}).out;
    EXPECT_EQ(tapflowctl({"verify", "tap0", "--count=300", "--seed=3"}).out, once);
    EXPECT_NE(once.find(" packets compared, 0 disagreements; "), std::string::npos) << once;
    EXPECT_NE(once.find("(--seed 3)"), std::string::npos) << once;
}

TEST_F(CtlVerified, PacketsOfACapture) {
    open();
    create("pattern eth / ipv4 / udp dst is 53 / end actions queue index 1 / end");
    packet::RandomPackets packets{std::mt19937_64(1)};
    std::vector<packet::Bytes> frames{packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 53).bytes()};
    while (frames.size() < 50)
        frames.push_back(packets.next(60, 1500));
    const TemporaryDirectory directory;
    const Said said =
        tapflowctl({"verify", "tap0", "--pcap", directory.holding("some.pcap", pcap_of(frames)), "--json"});
    EXPECT_EQ(said.status, 0) << said.err;
    const nlohmann::ordered_json json = valid_json(said, "verify");
    EXPECT_EQ(json["compared"], 50);
    EXPECT_GE(json["by_rule"], 1);
    EXPECT_FALSE(json.contains("seed"));
}

TEST_F(CtlVerified, DisagreementsAreShownAndAreAnError) {
    open();
    publish_wrong_tables("tap0");
    const auto to = [](const char *destination) {
        return packet::Packet().ether().ipv4("10.0.0.1", destination).udp(1, 53).payload(18).bytes();
    };
    const TemporaryDirectory directory;
    const std::string file =
        directory.holding("some.pcap", pcap_of({to("10.0.0.1"), to("10.0.0.2"), to("10.0.0.3"), to("10.0.0.2")}));
    const Said said = tapflowctl({"verify", "tap0", "--pcap", file, "--show", "1", "--json"});
    EXPECT_EQ(said.status, 1);
    const nlohmann::ordered_json json = valid_json(said, "verify");
    EXPECT_EQ(json["disagreeing"], 2);
    ASSERT_EQ(json["disagreements"].size(), 1U);
    const auto &first = json["disagreements"][0];
    EXPECT_EQ(first["number"], 2);
    EXPECT_EQ(first["differences"][0]["what"], "hash");
    // What is shown can be explained.
    EXPECT_EQ(tapflowctl({"explain", "tap0", first["frame"].get<std::string>()}).status, 1);
    const Said plain = tapflowctl({"verify", "tap0", "--pcap", file});
    EXPECT_EQ(plain.status, 1);
    EXPECT_NE(plain.out.find("packet 4: "), std::string::npos) << plain.out;
    EXPECT_NE(plain.out.find("4 packets compared, 2 disagreements"), std::string::npos) << plain.out;
}

TEST_F(CtlVerified, WhatTheKernelDoesNotRunIsNotVerified) {
    open();
    const TemporaryDirectory directory;
    expect_refused(tapflowctl(
        {"verify", "tap0", "--pcap", directory.holding("short.pcap", pcap_of({packet::Bytes(9), packet::Bytes(3)}))}));
}

} // namespace
} // namespace tapflow::test
