// SPDX-License-Identifier: BSD-3-Clause
// What patterns mean on real packets, what rules testpmd may have, and how they end.
#include "pmd/flow_rig.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

class FlowMatching : public testing::TestWithParam<Mode> {
  protected:
    unsigned create(const std::string &rule) { return create_flow(rig.testpmd, rule); }
    std::optional<uint32_t> mark_of(const Packet &packet) { return rig.pass(packet.bytes()).mark; }

    [[nodiscard]] Packet ether() const { return Packet().ether(rig.mac); }
    [[nodiscard]] Packet ipv4(const packet::Ipv4Address &src = "10.0.0.1",
                              const packet::Ipv4Address &dst = "10.0.0.2") const {
        return ether().ipv4(src, dst);
    }
    [[nodiscard]] Packet ipv6(const packet::Ipv6Address &src = "fd00::1") const { return ether().ipv6(src, "fd00::2"); }

    FlowRig rig{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Modes, FlowMatching, testing::Values(Mode::Local, Mode::Remote),
                         [](const auto &instance) { return name_of(instance.param); });

constexpr std::optional<uint32_t> kNone;

TEST_P(FlowMatching, ProtocolsHaveMasksAndCanBeZero) {
    create("ingress pattern eth / ipv4 proto spec 16 proto mask 0xf0 / end actions mark id 16 / end");
    create("ingress priority 1 pattern eth / ipv4 proto is 0 / end actions mark id 1 / end");
    create("ingress priority 2 pattern eth / ipv6 proto is 17 / end actions mark id 2 / end");
    EXPECT_EQ(mark_of(ipv4().udp(1, 2)), 16U); // 17
    EXPECT_EQ(mark_of(ipv4().next_type(16).payload(40)), 16U);
    EXPECT_EQ(mark_of(ipv4().next_type(31).payload(40)), 16U);
    EXPECT_EQ(mark_of(ipv4().next_type(32).payload(40)), kNone);
    EXPECT_EQ(mark_of(ipv4().tcp(1, 2)), kNone);
    EXPECT_EQ(mark_of(ipv4().next_type(0).payload(40)), 1U);
    EXPECT_EQ(mark_of(ipv6().udp(1, 2)), 2U);
    EXPECT_EQ(mark_of(ipv6().hop_by_hop().udp(1, 2)), 2U); // of what follows the extension headers
    EXPECT_EQ(mark_of(ipv6().tcp(1, 2)), kNone);
}

TEST_P(FlowMatching, MasksHoldBitByBitAndWhatIsOutsideDoesNotCount) {
    create("ingress pattern eth / ipv4 src spec 192.0.2.99 src mask 255.255.0.3 / udp / end actions mark id 1 / end");
    create("ingress pattern eth / ipv4 dst spec 198.51.100.7 dst prefix 24 / tcp / end actions mark id 2 / end");
    create("ingress pattern eth / ipv6 src spec fd00:1::7 src prefix 32 / udp / end actions mark id 3 / end");
    create("ingress pattern eth / ipv4 / udp dst spec 0x1234 dst mask 0xff0f / end actions mark id 4 / end");
    create("ingress pattern eth src spec 02:aa:00:00:00:07 src mask ff:ff:00:00:00:0f / arp_eth_ipv4 / end "
           "actions mark id 5 / end");
    create("ingress pattern eth / ipv4 / tcp flags spec 0x02 flags mask 0x12 / end actions mark id 6 / end");
    EXPECT_EQ(mark_of(ipv4("192.0.2.99").udp(1, 2)), 1U);
    EXPECT_EQ(mark_of(ipv4("192.0.77.3").udp(1, 2)), 1U);
    EXPECT_EQ(mark_of(ipv4("192.0.2.98").udp(1, 2)), kNone);
    EXPECT_EQ(mark_of(ipv4("192.1.2.99").udp(1, 2)), kNone);
    EXPECT_EQ(mark_of(ipv4("10.0.0.1", "198.51.100.200").tcp(1, 2)), 2U);
    EXPECT_EQ(mark_of(ipv4("10.0.0.1", "198.51.101.7").tcp(1, 2)), kNone);
    EXPECT_EQ(mark_of(ipv6("fd00:1:ffff::1").udp(1, 2)), 3U);
    EXPECT_EQ(mark_of(ipv6("fd00:2::7").udp(1, 2)), kNone);
    EXPECT_EQ(mark_of(ipv4().udp(1, 0x12f4)), 4U);
    EXPECT_EQ(mark_of(ipv4().udp(1, 0x1235)), kNone);
    EXPECT_EQ(mark_of(Packet().ether(rig.mac, "02:aa:99:99:99:97").arp({})), 5U);
    EXPECT_EQ(mark_of(Packet().ether(rig.mac, "02:aa:99:99:99:98").arp({})), kNone);
    EXPECT_EQ(mark_of(ipv4().tcp({.src_port = 1, .dst_port = 2, .flags = packet::tcp_flag::kSyn})), 6U);
    EXPECT_EQ(
        mark_of(ipv4().tcp({.src_port = 1, .dst_port = 2, .flags = packet::tcp_flag::kSyn | packet::tcp_flag::kAck})),
        kNone);
}

/// An item without fields asks for the header, and one that is left out does not.
TEST_P(FlowMatching, ItemsAskForTheirHeaders) {
    create("ingress pattern eth / ipv4 / icmp type is 8 / end actions mark id 1 / end");
    create("ingress pattern eth / ipv6 / tcp / end actions mark id 2 / end");
    create("ingress pattern eth / vlan / ipv4 / sctp / end actions mark id 3 / end");
    create("ingress pattern eth / ipv4 / udp / vxlan vni is 77 / eth / ipv4 / tcp dst is 80 / end actions mark id 4 / "
           "end");
    EXPECT_EQ(mark_of(ipv4().icmp().payload(30)), 1U);
    EXPECT_EQ(mark_of(ipv4().icmp({.type = 0}).payload(30)), kNone);
    EXPECT_EQ(mark_of(ipv6().tcp(1, 2)), 2U);
    EXPECT_EQ(mark_of(ipv6().destination_options().tcp(1, 2)), 2U);
    EXPECT_EQ(mark_of(ipv4().tcp(1, 2)), kNone);
    EXPECT_EQ(mark_of(ether().vlan(9).ipv4("10.0.0.1", "10.0.0.2").sctp(1, 2)), 3U);
    EXPECT_EQ(mark_of(ipv4().sctp(1, 2)), kNone);
    const auto tunnelled = [&](uint32_t vni, uint16_t port) {
        return ipv4().udp(9, 4789).vxlan(vni).ether().ipv4("192.0.2.1", "192.0.2.2").tcp(1, port);
    };
    EXPECT_EQ(mark_of(tunnelled(77, 80)), 4U);
    EXPECT_EQ(mark_of(tunnelled(78, 80)), kNone);
    EXPECT_EQ(mark_of(tunnelled(77, 81)), kNone);
}

TEST_P(FlowMatching, ThePrioritiesOfAGroupLeaveOtherGroupsAlone) {
    create("ingress priority 4095 pattern eth / ipv4 / end actions jump group 1 / end");
    create("ingress group 1 priority 4095 pattern eth / end actions mark id 1 / jump group 15 / end");
    create("ingress group 2 priority 0 pattern eth / end actions drop / end"); // nobody goes there
    create("ingress group 15 priority 4095 pattern eth / ipv4 / udp / end actions queue index 3 / end");
    create("ingress group 15 priority 0 pattern eth / ipv4 / udp dst is 80 / end actions queue index 2 / end");
    const TestpmdPacket last = rig.pass(ipv4().udp(1, 81).bytes());
    EXPECT_EQ(last.queue, 3U);
    EXPECT_EQ(last.mark, 1U);
    EXPECT_EQ(rig.pass(ipv4().udp(1, 80).bytes()).queue, 2U);
    EXPECT_EQ(mark_of(ether().arp({})), kNone);
}

TEST_P(FlowMatching, RulesAreCountedDumpedDestroyedAndFlushed) {
    const unsigned counting = create(udp_pattern(80) + "actions count / queue index 3 / end");
    const unsigned marking = create(udp_pattern(81) + "actions mark id 1 / end");
    const Bytes frame = ipv4().udp(1, 80).payload(20).bytes();
    for (int i = 0; i < 5; ++i)
        EXPECT_EQ(rig.pass(frame).queue, 3U);
    EXPECT_EQ(shown_count(rig.testpmd, counting), (ShownCount{5, 5 * frame.size()}));
    const std::string dumped = rig.testpmd.command("flow dump 0 all");
    EXPECT_TRUE(contains(dumped, "udp dst is 80 / end actions count / queue index 3 / end # 5 packets, " +
                                     std::to_string(5 * frame.size()) + " bytes"))
        << dumped;
    EXPECT_TRUE(destroy_flow(rig.testpmd, counting));
    EXPECT_FALSE(destroy_flow(rig.testpmd, counting));
    EXPECT_EQ(rig.pass(frame).queue, expected_steering(rig.config, frame).queue);
    EXPECT_EQ(mark_of(ipv4().udp(1, 81)), 1U);
    create(udp_pattern(82) + "actions drop / end");
    rig.testpmd.command("flow flush 0");
    EXPECT_FALSE(contains(rig.testpmd.command("flow dump 0 all"), "ingress"));
    EXPECT_EQ(mark_of(ipv4().udp(1, 81)), kNone);
    EXPECT_EQ(mark_of(ipv4().udp(1, 82)), kNone);
    EXPECT_FALSE(destroy_flow(rig.testpmd, marking));
    EXPECT_EQ(rig.testpmd.quit(), 0);
}

/// Each for its own reason, and validating says so as creating does.
TEST(FlowRefusal, NamesWhatIsWrong) {
    FlowRig rig(Mode::Local);
    create_flow(rig.testpmd, udp_pattern(80) + "actions queue index 1 / end");
    const std::map<std::string, std::string> refusals{
        {udp_pattern(81) + "actions queue index 4 / end", "queue 4: the port has 4 Rx queues"},
        {udp_pattern(81) + "actions " + kRssTypes + "queues 3 4 end / end", "queue 4: the port has 4 Rx queues"},
        {udp_pattern(80) + "actions queue index 2 / end", "File exists"},
        {"ingress group 16 pattern eth / end actions drop / end", "groups are 0 to 15"},
        {"ingress priority 4096 pattern eth / end actions drop / end", "priorities are 0 to 4095"},
        {"ingress pattern eth / end actions jump group 16 / end", "groups are 0 to 15"},
        {"transfer pattern eth / end actions drop / end", "switch"},
        {"ingress pattern eth / raw / end actions drop / end", "pattern item RAW"},
        {"ingress pattern eth / end actions mark id 1 / drop / end", "a dropped packet has no mark"},
        {"egress pattern eth / end actions queue index 1 / end", "not for egress"},
    };
    for (const auto &[rule, reason] : refusals) {
        const std::string said = refusal_of(rig.testpmd, rule);
        EXPECT_TRUE(contains(said, reason)) << rule << "\n" << said;
    }
    EXPECT_EQ(rig.testpmd.quit(), 0);
}

/// Loops are seen when they would close.
TEST(FlowRefusal, OfJumpsInACircle) {
    FlowRig rig(Mode::Local);
    create_flow(rig.testpmd, "ingress pattern eth / end actions jump group 1 / end");
    create_flow(rig.testpmd, "ingress group 1 pattern eth / ipv4 / end actions jump group 2 / end");
    EXPECT_NE(refusal_of(rig.testpmd, "ingress group 2 pattern eth / ipv6 / end actions jump group 1 / end"), "");
    EXPECT_NE(refusal_of(rig.testpmd, "ingress group 2 pattern eth / ipv6 / end actions jump group 2 / end"), "");
    EXPECT_EQ(rig.pass(udp_to(rig.mac, 80).bytes()).ethertype, 0x0800);
}

/// Both ends of the cable are in one namespace: a packet loses its own mark on the way to another.
TEST(FlowMark, IsNotThatOfThePacketInTheKernel) {
    const NetNs ns;
    add_veth(ns, "eth3", ns, "peer3");
    Testpmd testpmd(plugin_options(ns, {remote_vdev()}, 4));
    start_forwarding(testpmd, "rxonly");
    create_flow(testpmd, "ingress priority 0 pattern eth type is 0x88b5 / end actions count / end");
    create_flow(testpmd,
                "ingress priority 1 pattern eth dst is ff:ff:ff:ff:ff:ff / end actions count / passthru / end");
    create_flow(testpmd, "ingress pattern eth / ipv4 / end actions mark id 7 / queue index 3 / end");
    const PacketSocket kernel = socket_behind_ingress(ns, "eth3");
    PacketSocket sender(ns, "peer3", {.receive = false});
    set_option(kernel, kReceiveMark, 1, "SO_RCVMARK");
    for (const uint32_t mark : {0x5eed1234U, 1U, 0xffffffffU, 0U}) {
        set_option(sender, SO_MARK, mark, "SO_MARK");
        ASSERT_TRUE(sender.send(probe(packet::Mac("ff:ff:ff:ff:ff:ff"), kBehind)));
        EXPECT_EQ(receive_mark(kernel), mark);
        ASSERT_EQ(testpmd.packets(1).size(), 1U);
        ASSERT_TRUE(sender.send(udp_to(ns.link("eth3").mac, 80).bytes()));
        const auto packets = testpmd.packets(1);
        ASSERT_EQ(packets.size(), 1U);
        EXPECT_EQ(packets[0].mark, 7U);
        EXPECT_EQ(packets[0].queue, 3U);
    }
}

/// A tap that outlives its port, and the remote, are left without anything of ours.
TEST(FlowEnd, LeavesNoFilterBehind) {
    const Cabled cabled;
    const auto state = [&](const std::string &name) {
        return cabled.app.must_run({"tc", "filter", "show", "dev", name, "ingress"}) +
               cabled.app.must_run({"tc", "filter", "show", "dev", name, "egress"}) +
               cabled.app.must_run({"tc", "qdisc", "show", "dev", name});
    };
    const std::string before = state("eth3");
    const auto programs = tcx_programs(cabled.app, "eth3");
    {
        Testpmd testpmd(plugin_options(cabled.app, {remote_vdev() + ",persist=1", "net_tap1,iface=tap1,persist=1"}));
        for (unsigned port = 0; port < 2; ++port) {
            create_flow(testpmd, udp_pattern(80) + "actions count / queue index 0 / end", port);
            create_flow(testpmd, "egress pattern eth / ipv4 / udp dst is 80 / end actions count / drop / end", port);
        }
        EXPECT_TRUE(contains(state("tap1"), "filter"));
        EXPECT_EQ(testpmd.quit(), 0);
    }
    for (const char *tap : {"tap0", "tap1"}) {
        ASSERT_TRUE(cabled.app.find_link(tap));
        EXPECT_FALSE(contains(state(tap), "filter")) << state(tap);
        EXPECT_FALSE(contains(state(tap), "clsact")) << state(tap);
    }
    EXPECT_EQ(state("eth3"), before);
    EXPECT_EQ(tcx_programs(cabled.app, "eth3"), programs);
    // The same ports again know nothing of the rules.
    Testpmd again(plugin_options(cabled.app, {"net_tap1,iface=tap1,persist=1"}));
    EXPECT_FALSE(contains(again.command("flow dump 0 all"), "gress"));
}

} // namespace
} // namespace tapflow::test
