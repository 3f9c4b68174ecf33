// SPDX-License-Identifier: BSD-3-Clause
// Rules that change headers: what comes out is the whole packet, with checksums that are right. Delivery by ring only.
#include "pmd/flow_rig.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

/// A rule's actions in front of QUEUE, and a packet before and after.
struct Change {
    const char *actions;
    Packet before;
    Packet after;
};

constexpr const char *kNewMac = "02:00:00:00:0b:0b";
constexpr const char *kSource = "02:00:00:00:00:01";

std::vector<Change> changes(const packet::Mac &mac, size_t payload) {
    const auto v4 = [&](const packet::Ipv4 &header) { return Packet().ether(mac, kSource).ipv4(header); };
    const packet::Ipv4 plain{.src = "10.0.0.1", .dst = "10.0.0.2"};
    const Packet tagged = Packet().ether(mac, kSource).vlan({.vid = 100, .pcp = 5}).ipv4(plain);
    const Packet v6 = Packet().ether(mac, kSource).ipv6("fd00::1", "fd00::2");
    std::vector<Change> all{
        {"set_mac_dst mac_addr 02:00:00:00:0b:0b", v4(plain).udp(7, 80),
         Packet().ether(kNewMac, kSource).ipv4(plain).udp(7, 80)},
        {"set_mac_src mac_addr 02:00:00:00:0b:0b", v4(plain).tcp(7, 80),
         Packet().ether(mac, kNewMac).ipv4(plain).tcp(7, 80)},
        {"set_ipv4_src ipv4_addr 192.0.2.77", v4(plain).udp(7, 80),
         v4({.src = "192.0.2.77", .dst = "10.0.0.2"}).udp(7, 80)},
        {"set_ipv4_dst ipv4_addr 192.0.2.77", v4(plain).tcp(7, 80),
         v4({.src = "10.0.0.1", .dst = "192.0.2.77"}).tcp(7, 80)},
        {"set_ipv6_dst ipv6_addr fd00::77", Packet(v6).udp(7, 80),
         Packet().ether(mac, kSource).ipv6("fd00::1", "fd00::77").udp(7, 80)},
        {"set_tp_dst port 8080", v4(plain).udp(7, 80), v4(plain).udp(7, 8080)},
        {"set_tp_src port 8080", Packet(v6).tcp(7, 80), Packet(v6).tcp(8080, 80)},
        {"dec_ttl", v4(plain).udp(7, 80), v4({.src = "10.0.0.1", .dst = "10.0.0.2", .ttl = 63}).udp(7, 80)},
        {"set_ttl ttl_value 9", v4(plain).tcp(7, 80), v4({.src = "10.0.0.1", .dst = "10.0.0.2", .ttl = 9}).tcp(7, 80)},
        {"of_push_vlan ethertype 0x8100 / of_set_vlan_vid vlan_vid 7 / of_set_vlan_pcp vlan_pcp 3",
         v4(plain).udp(7, 80), Packet().ether(mac, kSource).vlan({.vid = 7, .pcp = 3}).ipv4(plain).udp(7, 80)},
        {"of_push_vlan ethertype 0x88a8 / of_set_vlan_vid vlan_vid 7", Packet(tagged).udp(7, 80),
         Packet()
             .ether(mac, kSource)
             .vlan({.vid = 7, .pcp = 5, .tpid = 0x88a8})
             .vlan({.vid = 100, .pcp = 5})
             .ipv4(plain)
             .udp(7, 80)},
        {"of_pop_vlan", Packet(tagged).udp(7, 80), v4(plain).udp(7, 80)},
        {"of_set_vlan_vid vlan_vid 9", Packet(tagged).tcp(7, 80),
         Packet().ether(mac, kSource).vlan({.vid = 9, .pcp = 5}).ipv4(plain).tcp(7, 80)},
        {"set_mac_dst mac_addr 02:00:00:00:0b:0b / set_ipv4_dst ipv4_addr 192.0.2.77 / set_tp_dst port 8080 / dec_ttl",
         v4(plain).tcp(7, 80),
         Packet().ether(kNewMac, kSource).ipv4({.src = "10.0.0.1", .dst = "192.0.2.77", .ttl = 63}).tcp(7, 8080)},
    };
    for (Change &change : all) {
        change.before.payload(payload);
        change.after.payload(payload);
    }
    return all;
}

std::string rule_of(const Change &change) {
    return std::string("ingress pattern eth / end actions ") + change.actions + " / queue index 0 / end";
}

TEST(RingRewrite, ChangesThePacketThatTheApplicationGets) {
    Forwarder forwarder;
    start_forwarding(forwarder.testpmd, "io", false);
    for (const size_t payload : {0U, 33U, 1400U})
        for (const Change &change : changes(forwarder.in_mac, payload)) {
            SCOPED_TRACE(change.actions);
            const unsigned rule = create_flow(forwarder.testpmd, rule_of(change));
            ASSERT_TRUE(forwarder.in.send(change.before.bytes()));
            const auto received = forwarder.receive(1);
            ASSERT_EQ(received.size(), 1U);
            EXPECT_EQ(received[0], change.after.bytes());
            ASSERT_TRUE(destroy_flow(forwarder.testpmd, rule));
        }
    EXPECT_EQ(forwarder.testpmd.quit(), 0);
}

/// The checksum is completed for the headers as they are then.
TEST(RingRewrite, ChangesSuperFramesAndPartialChecksums) {
    Forwarder forwarder;
    start_forwarding(forwarder.testpmd, "io", false);
    create_flow(forwarder.testpmd,
                "ingress pattern eth / ipv4 / udp / end actions set_ipv4_src ipv4_addr 192.0.2.77 / set_tp_dst port "
                "8080 / of_push_vlan ethertype 0x8100 / of_set_vlan_vid vlan_vid 7 / queue index 0 / end");
    const auto after = [&](uint16_t id, const Bytes &data) {
        return Packet()
            .ether(forwarder.in_mac, kSource)
            .vlan(7)
            .ipv4({.src = "192.0.2.77", .dst = "10.0.0.2", .id = id})
            .udp(7, 8080)
            .raw(data)
            .bytes();
    };
    const Packet headers =
        Packet().ether(forwarder.in_mac, kSource).ipv4("10.0.0.1", "10.0.0.2").udp(7, 80).partial_checksum();
    const Bytes data(1000, 0x5a);
    const Packet single = Packet(headers).raw(data);
    ASSERT_TRUE(forwarder.in.send(single.bytes(), checksum_request(single)));
    auto received = forwarder.receive(1);
    ASSERT_EQ(received.size(), 1U);
    EXPECT_EQ(received[0], after(0, data));
    const Packet super = Packet(headers).raw(Bytes(50000, 0x5a));
    ASSERT_TRUE(forwarder.in.send(super.bytes(), gso_request(super, VnetHeader::kGsoUdpL4, 1000)));
    received = forwarder.receive(50);
    ASSERT_EQ(received.size(), 50U);
    for (uint16_t i = 0; i < received.size(); ++i)
        EXPECT_EQ(received[i], after(i, data)) << i;
}

/// Hash and queue are of the packet as it came, and so is what the kernel gets of it.
TEST(RingRewrite, LeavesTheHashAsItWas) {
    for (const Mode mode : {Mode::Local, Mode::Remote}) {
        FlowRig rig(mode);
        create_flow(rig.testpmd,
                    udp_pattern(80) +
                        "actions set_mac_src mac_addr 02:00:00:00:0b:0b / set_ipv4_src "
                        "ipv4_addr 192.0.2.77 / rss types ipv4-udp end queues 0 1 2 3 end / mark id 6 / end");
        for (uint16_t flow = 1; flow < 20; ++flow) {
            const Bytes frame = udp_to(rig.mac, 80, flow).payload(20).bytes();
            const TestpmdPacket packet = rig.pass(frame);
            EXPECT_EQ(packet.src, kNewMac);
            EXPECT_EQ(packet.mark, 6U);
            EXPECT_EQ(packet.rss_hash, expected_steering(rig.config, frame).hash);
            EXPECT_EQ(packet.queue, expected_steering(rig.config, frame).queue);
        }
    }
}

TEST(FdRewrite, IsRefusedWithTheReason) {
    FlowRig rig(Mode::Local);
    for (const Change &change : changes(rig.mac, 0)) {
        const std::string said = refusal_of(rig.testpmd, rule_of(change));
        EXPECT_TRUE(contains(said, "rewrite headers: needs delivery by ring (rx=ring)")) << change.actions << "\n"
                                                                                         << said;
    }
}

} // namespace
} // namespace tapflow::test
