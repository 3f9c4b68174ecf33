// SPDX-License-Identifier: BSD-3-Clause
// What rules do with packets on their way in: queues, spreading, dropping, going on, in which order; and tags.
#include "pmd/flow_rig.h"
#include "support/hash_reference.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

class FlowActions : public testing::TestWithParam<Mode> {
  protected:
    TestpmdPacket pass_udp(uint16_t port, uint16_t flow = 1) {
        return rig.pass(udp_to(rig.mac, port, flow).payload(20).bytes());
    }
    bool swallows_udp(uint16_t port) { return rig.swallows(udp_to(rig.mac, port).payload(20).bytes()); }
    unsigned create(const std::string &rule) { return create_flow(rig.testpmd, rule); }

    FlowRig rig{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Modes, FlowActions, testing::Values(Mode::Local, Mode::Remote),
                         [](const auto &instance) { return name_of(instance.param); });

constexpr uint16_t kFlows = 64;

TEST_P(FlowActions, QueueTakesAllFlowsOfItsRuleAndNoOthers) {
    for (unsigned queue = 0; queue < 4; ++queue)
        create(udp_pattern(80 + queue) + "actions queue index " + std::to_string(queue) + " / end");
    for (uint16_t flow = 1; flow <= kFlows; ++flow) {
        const uint16_t port = 80 + flow % 4;
        EXPECT_EQ(pass_udp(port, flow).queue, flow % 4U);
        const Bytes other = udp_to(rig.mac, 90, flow).payload(20).bytes();
        EXPECT_EQ(rig.pass(other).queue, expected_steering(rig.config, other).queue);
    }
}

/// The list is dealt out round-robin, whatever queues are in it: {2,3} is not {0,1}.
void expect_spread(FlowRig &rig, const rss::RssConfig &config, std::set<unsigned> wanted) {
    std::set<unsigned> queues;
    for (uint16_t flow = 1; flow <= kFlows; ++flow) {
        const Bytes frame = udp_to(rig.mac, 80, flow).payload(20).bytes();
        const TestpmdPacket packet = rig.pass(frame);
        const Steering steering = expected_steering(config, frame);
        EXPECT_EQ(packet.queue, steering.queue);
        EXPECT_EQ(packet.rss_hash, steering.hash);
        queues.insert(packet.queue);
    }
    EXPECT_EQ(queues, wanted);
}

rss::RssConfig with_queues(rss::RssConfig config, const std::vector<uint16_t> &queues) {
    for (size_t slot = 0; slot < config.reta.size(); ++slot)
        config.reta[slot] = queues[slot % queues.size()];
    return config;
}

TEST_P(FlowActions, RssSpreadsOnlyOverItsQueueList) {
    create(udp_pattern(80) + "actions " + kRssTypes + "queues 2 3 end / end");
    expect_spread(rig, with_queues(rig.config, {2, 3}), {2, 3});
    const Bytes other = udp_to(rig.mac, 81, 1).payload(20).bytes();
    EXPECT_EQ(rig.pass(other).queue, expected_steering(rig.config, other).queue);
}

TEST_P(FlowActions, RssHasAKeyOfItsOwn) {
    create(udp_pattern(80) + "actions " + kRssTypes + "key " + kOtherKey + " key_len 40 queues 3 1 end / end");
    rss::RssConfig own = with_queues(rig.config, {3, 1});
    own.key = key_bytes(kOtherKey);
    expect_spread(rig, own, {1, 3});
}

TEST_P(FlowActions, RssHashesByItsOwnTypes) {
    create(udp_pattern(80) + "actions rss types ipv4 end queues 0 1 2 3 end / end");
    const auto key = rss::default_key();
    const rss::RssConfig addresses{{key.begin(), key.end()}, rss::kIpv4, rss::round_robin_reta(4)};
    const unsigned queue = expected_steering(addresses, udp_to(rig.mac, 80).bytes()).queue;
    expect_spread(rig, addresses, {queue}); // the flows differ in their ports only
    create("ingress pattern eth / ipv4 / tcp / end actions rss types ipv4-udp end queues 2 3 end / end");
    for (uint16_t flow = 1; flow < 9; ++flow) {
        const TestpmdPacket packet =
            rig.pass(Packet().ether(rig.mac).ipv4("10.0.0.1", "10.0.0.2").tcp(flow, 80).bytes());
        EXPECT_EQ(packet.rss_hash, std::nullopt);
        EXPECT_EQ(packet.queue, 2U);
    }
}

/// What is not hashed takes the first queue of the list, not that of the port.
TEST_P(FlowActions, RssKeepsWhatItDoesNotHashInItsList) {
    create("ingress pattern eth / end actions rss types ipv4-udp end queues 3 2 end / end");
    const packet::Ipv4Address src("10.0.0.1");
    const packet::Ipv4Address dst("10.0.0.2");
    const Packet ether = Packet().ether(rig.mac);
    const std::vector<Packet> packets{
        Packet(ether).ipv4(src, dst).icmp().payload(56), Packet(ether).arp({.sender_ip = src, .target_ip = dst}),
        Packet(ether).ipv4({.src = src, .dst = dst, .more_fragments = true}).udp(1, 80).payload(64),
        Packet(ether).ipv4({.src = src, .dst = dst, .fragment_offset = 9}).next_type(17).payload(64),
        Packet(ether).ipv6("fd00::1", "fd00::2").udp(1, 80)};
    for (const Packet &packet : packets) {
        const TestpmdPacket received = rig.pass(packet.bytes());
        EXPECT_EQ(received.queue, 3U);
        EXPECT_EQ(received.rss_hash, std::nullopt);
    }
}

TEST_P(FlowActions, DropLetsNothingThrough) {
    const unsigned rule = create(udp_pattern(80) + "actions drop / end");
    EXPECT_TRUE(swallows_udp(80));
    EXPECT_EQ(pass_udp(81).ethertype, 0x0800);
    EXPECT_EQ(rig.testpmd.port_xstats(0).at("rule_dropped"), 1U);
    EXPECT_TRUE(destroy_flow(rig.testpmd, rule));
    EXPECT_EQ(pass_udp(80).ethertype, 0x0800);
}

TEST_P(FlowActions, JumpGoesOnInTheOtherGroup) {
    create("ingress pattern eth / ipv4 / end actions jump group 3 / end");
    create("ingress group 3 pattern eth / ipv4 / udp dst is 80 / end actions queue index 3 / mark id 3 / end");
    create("ingress group 3 pattern eth / ipv4 / udp dst is 81 / end actions jump group 15 / end");
    create("ingress group 15 pattern eth / ipv4 / udp / end actions queue index 2 / mark id 15 / end");
    create("ingress group 4 pattern eth / end actions drop / end"); // nobody goes there
    EXPECT_EQ(pass_udp(80).mark, 3U);
    EXPECT_EQ(pass_udp(80).queue, 3U);
    EXPECT_EQ(pass_udp(81).mark, 15U);
    EXPECT_EQ(pass_udp(81).queue, 2U);
    const Bytes unmatched = udp_to(rig.mac, 82).payload(20).bytes(); // falls through to the port's RSS
    const TestpmdPacket packet = rig.pass(unmatched);
    EXPECT_FALSE(packet.flagged);
    EXPECT_EQ(packet.queue, expected_steering(rig.config, unmatched).queue);
}

TEST_P(FlowActions, PassthruGoesOnBehindAndTheLastMarkWins) {
    create("ingress priority 1 pattern eth / ipv4 / udp dst is 80 / end actions mark id 1 / passthru / end");
    create("ingress priority 2 pattern eth / ipv4 / end actions mark id 2 / end");
    create("ingress priority 3 pattern eth / ipv4 / udp / end actions queue index 3 / end");
    create("ingress priority 4 pattern eth / end actions mark id 4 / queue index 1 / end");
    EXPECT_EQ(pass_udp(80).mark, 2U);
    EXPECT_EQ(pass_udp(80).queue, 3U);
    create("ingress priority 0 pattern eth / ipv4 / udp dst is 81 / end actions mark id 9 / queue index 2 / end");
    EXPECT_EQ(pass_udp(81).mark, 9U);
    EXPECT_EQ(pass_udp(81).queue, 2U);
}

TEST_P(FlowActions, TheLowerPriorityWinsInWhateverOrderRulesCome) {
    const unsigned first = create("ingress priority 5 pattern eth / ipv4 / udp / end actions queue index 1 / end");
    create("ingress priority 9 pattern eth / ipv4 / udp dst is 80 / end actions queue index 2 / end");
    EXPECT_EQ(pass_udp(80).queue, 1U);
    const unsigned later = create("ingress priority 2 pattern eth / ipv4 / end actions queue index 3 / end");
    EXPECT_EQ(pass_udp(80).queue, 3U);
    create("ingress priority 0 pattern eth / ipv4 / udp src is 1 / end actions queue index 0 / end");
    EXPECT_EQ(pass_udp(80, 1).queue, 0U);
    EXPECT_EQ(pass_udp(80, 2).queue, 3U);
    EXPECT_TRUE(destroy_flow(rig.testpmd, later));
    EXPECT_EQ(pass_udp(80, 2).queue, 1U);
    EXPECT_TRUE(destroy_flow(rig.testpmd, first));
    EXPECT_EQ(pass_udp(80, 2).queue, 2U);
}

TEST_P(FlowActions, RangesHoldToTheirEnds) {
    create("ingress pattern eth / ipv4 / udp dst spec 1000 dst last 1999 dst mask 65535 / end actions mark id 1 / end");
    create("ingress pattern eth / ipv4 ttl spec 5 ttl last 7 ttl mask 255 / tcp / end actions mark id 2 / end");
    for (const auto &[port, inside] :
         std::map<uint16_t, bool>{{999, false}, {1000, true}, {1500, true}, {1999, true}, {2000, false}, {0, false}})
        EXPECT_EQ(pass_udp(port).flagged, inside) << port;
    for (uint8_t ttl = 4; ttl < 9; ++ttl)
        EXPECT_EQ(
            rig.pass(Packet().ether(rig.mac).ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .ttl = ttl}).tcp(1, 2).bytes())
                .flagged,
            ttl >= 5 && ttl <= 7)
            << unsigned{ttl};
}

/// A tag is in the frame on a tap and beside it behind a veth.
TEST_P(FlowActions, VlanRulesSeeIdAndPriority) {
    create("ingress pattern eth / vlan vid is 5 / end actions mark id 5 / end");
    create("ingress pattern eth / vlan pcp is 3 / end actions mark id 3 / end");
    create("ingress pattern eth / vlan vid is 256 pcp is 1 / ipv4 / udp dst is 80 / end actions mark id 256 / end");
    create("ingress pattern eth / vlan vid is 7 / vlan vid is 9 / end actions mark id 79 / end");
    create("ingress pattern eth has_vlan is 0 / ipv4 / udp dst is 99 / end actions mark id 99 / end");
    const auto mark_of = [this](const std::vector<packet::Vlan> &tags, uint16_t port) {
        Packet packet = Packet().ether(rig.mac);
        for (const packet::Vlan &tag : tags)
            packet.vlan(tag);
        return rig.pass(packet.ipv4("10.0.0.1", "10.0.0.2").udp(1, port).payload(30).bytes()).mark;
    };
    EXPECT_EQ(mark_of({{.vid = 5}}, 80), 5U);
    EXPECT_EQ(mark_of({{.vid = 5, .pcp = 6, .dei = true}}, 80), 5U);
    EXPECT_EQ(mark_of({{.vid = 6, .pcp = 3}}, 80), 3U);
    EXPECT_EQ(mark_of({{.vid = 256, .pcp = 1}}, 80), 256U);
    EXPECT_EQ(mark_of({{.vid = 256, .pcp = 1}}, 81), std::nullopt);
    EXPECT_EQ(mark_of({{.vid = 1, .pcp = 1}}, 80), std::nullopt);
    EXPECT_EQ(mark_of({{.vid = 256}}, 80), std::nullopt);
    EXPECT_EQ(mark_of({{.vid = 7, .tpid = 0x88a8}, {.vid = 9}}, 80), 79U);
    EXPECT_EQ(mark_of({{.vid = 9, .tpid = 0x88a8}, {.vid = 7}}, 80), std::nullopt);
    EXPECT_EQ(mark_of({}, 99), 99U);
    EXPECT_EQ(mark_of({{.vid = 8}}, 99), std::nullopt);
}

} // namespace
} // namespace tapflow::test
