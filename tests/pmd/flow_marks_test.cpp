// SPDX-License-Identifier: BSD-3-Clause
// MARK and FLAG in the mbuf: on plain packets, on each segment of a super-frame, on an LRO frame, beside the RSS hash.
#include "pmd/flow_rig.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

class FlowMarks : public testing::TestWithParam<Mode> {};
INSTANTIATE_TEST_SUITE_P(Modes, FlowMarks, testing::Values(Mode::Local, Mode::Remote),
                         [](const auto &instance) { return name_of(instance.param); });

/// What a rule is to leave on its packets.
struct Marking {
    uint16_t port; ///< the rule's, UDP and TCP
    const char *actions;
    bool flagged = false;
    std::optional<uint32_t> mark{};
    std::optional<unsigned> queue{}; ///< none: the port's RSS
};

const std::array kMarkings{
    Marking{.port = 79, .actions = nullptr},
    Marking{.port = 80, .actions = "mark id 305419896", .flagged = true, .mark = 305419896},
    Marking{.port = 81, .actions = "flag", .flagged = true},
    Marking{.port = 82, .actions = "mark id 0 / queue index 3", .flagged = true, .mark = 0, .queue = 3},
    Marking{.port = 83, .actions = "queue index 2 / mark id 4294967295", .flagged = true, .mark = ~0U, .queue = 2},
    Marking{.port = 84,
            .actions = "flag / rss types ipv4-udp ipv4-tcp ipv6-udp ipv6-tcp end queues 1 end",
            .flagged = true,
            .queue = 1},
    Marking{.port = 85, .actions = "mark id 7 / passthru", .flagged = true, .mark = 7},
    Marking{.port = 86, .actions = "queue index 1", .queue = 1},
};

void create_markings(Testpmd &testpmd) {
    for (const Marking &marking : kMarkings)
        for (const char *l4 : {"udp", "tcp"})
            for (const char *l3 : {"ipv4", "ipv6"})
                if (marking.actions != nullptr)
                    create_flow(testpmd, std::string("ingress pattern eth / ") + l3 + " / " + l4 + " dst is " +
                                             std::to_string(marking.port) + " / end actions " + marking.actions +
                                             " / end");
}

/// `frame` is what was sent, for its hash.
void expect_marked(const FlowRig &rig, const TestpmdPacket &packet, const Bytes &frame, const Marking &marking,
                   bool with_hash = true) {
    const Steering own = expected_steering(rig.config, frame);
    const std::optional<uint32_t> hash = with_hash ? own.hash : std::nullopt;
    SCOPED_TRACE(std::string(marking.actions ? marking.actions : "no rule") + " " + packet.ol_flags);
    EXPECT_EQ(packet.flagged, marking.flagged);
    EXPECT_EQ(packet.mark, marking.mark);
    EXPECT_EQ(packet.has_flag("RTE_MBUF_F_RX_FDIR"), marking.flagged);
    EXPECT_EQ(packet.has_flag("RTE_MBUF_F_RX_FDIR_ID"), marking.mark.has_value());
    EXPECT_EQ(packet.rss_hash, hash);
    EXPECT_EQ(packet.has_flag(kHashFlag), hash.has_value());
    EXPECT_EQ(packet.queue, marking.queue.value_or(own.queue));
}

struct Super {
    Packet packet;
    VnetHeader::GsoType type;
};

std::vector<Super> super_frames(const packet::Mac &mac, uint16_t port, size_t size) {
    const Packet v4 = Packet().ether(mac).ipv4("10.0.0.1", "10.0.0.2");
    const Packet v6 = Packet().ether(mac).ipv6("fd00::1", "fd00::2");
    return {{Packet(v4).tcp(1, port).partial_checksum().payload(size), VnetHeader::kGsoTcpV4},
            {Packet(v6).tcp(1, port).partial_checksum().payload(size), VnetHeader::kGsoTcpV6},
            {Packet(v4).udp(1, port).partial_checksum().payload(size), VnetHeader::kGsoUdpL4},
            {Packet(v6).udp(1, port).partial_checksum().payload(size), VnetHeader::kGsoUdpL4}};
}

constexpr uint16_t kMss = 1000;

TEST_P(FlowMarks, AreOnThePacketsOfTheirRuleAndOnNoOthers) {
    FlowRig rig(GetParam());
    create_markings(rig.testpmd);
    for (uint16_t flow = 1; flow < 9; ++flow)
        for (const Marking &marking : kMarkings)
            for (const size_t size : {0U, 100U, 1400U}) {
                const Packet v4 = Packet().ether(rig.mac).ipv4("10.0.0.1", "10.0.0.2");
                const Packet v6 = Packet().ether(rig.mac).ipv6("fd00::1", "fd00::2");
                for (const Packet &packet : {Packet(v4).udp(flow, marking.port), Packet(v6).tcp(flow, marking.port)}) {
                    const Bytes frame = Packet(packet).payload(size).bytes();
                    expect_marked(rig, rig.pass(frame), frame, marking);
                }
            }
    EXPECT_EQ(rig.testpmd.quit(), 0);
}

/// A ring's record has the hash anyway.
TEST_P(FlowMarks, ComeWhetherOrNotTheHashIsAskedFor) {
    FlowRig rig(GetParam(), {"--rx-offloads=0"});
    create_markings(rig.testpmd);
    for (const Marking &marking : kMarkings) {
        const Bytes frame = udp_to(rig.mac, marking.port).payload(60).bytes();
        expect_marked(rig, rig.pass(frame), frame, marking, tested_rx_mode() == "ring");
        const Super super = super_frames(rig.mac, marking.port, 3 * kMss)[0];
        ASSERT_TRUE(rig.sender.send(super.packet.bytes(), gso_request(super.packet, super.type, kMss)));
        for (const TestpmdPacket &packet : rig.testpmd.packets(3))
            expect_marked(rig, packet, super.packet.bytes(), marking, tested_rx_mode() == "ring");
    }
}

TEST_P(FlowMarks, AreOnPacketsThatAreNotHashed) {
    FlowRig rig(GetParam());
    rig.testpmd.command("port config all rss none");
    create_flow(rig.testpmd, "ingress pattern eth type is 0x88b5 / end actions mark id 9 / end");
    const TestpmdPacket packet = rig.pass(probe(rig.mac, kBehind));
    EXPECT_EQ(packet.mark, 9U);
    EXPECT_FALSE(packet.has_flag(kHashFlag));
}

/// A packet that asks for its checksum, or has a tag, takes the receive path's longer ways.
TEST_P(FlowMarks, AreOnPacketsWithOffloadRequestsAndTags) {
    FlowRig rig(GetParam());
    create_markings(rig.testpmd);
    for (const Marking &marking : kMarkings) {
        const Packet partial =
            Packet().ether(rig.mac).ipv4("10.0.0.1", "10.0.0.2").tcp(1, marking.port).partial_checksum().payload(99);
        ASSERT_TRUE(rig.sender.send(partial.bytes(), checksum_request(partial)));
        const auto packets = rig.testpmd.packets(1);
        ASSERT_EQ(packets.size(), 1U);
        expect_marked(rig, packets[0], partial.bytes(), marking);
    }
    create_flow(rig.testpmd,
                "ingress pattern eth / vlan vid is 5 / ipv4 / udp dst is 90 / end actions mark id 90 / end");
    const Bytes tagged = Packet().ether(rig.mac).vlan(5).ipv4("10.0.0.1", "10.0.0.2").udp(1, 90).bytes();
    EXPECT_EQ(rig.pass(tagged).mark, 90U);
}

TEST_P(FlowMarks, AreOnEverySegmentOfASuperFrame) {
    FlowRig rig(GetParam());
    create_markings(rig.testpmd);
    for (const Marking &marking : kMarkings)
        for (const size_t segments : {2U, 40U})
            for (const Super &super : super_frames(rig.mac, marking.port, segments * kMss)) {
                ASSERT_TRUE(rig.sender.send(super.packet.bytes(), gso_request(super.packet, super.type, kMss)));
                const auto packets = rig.testpmd.packets(segments);
                ASSERT_EQ(packets.size(), segments);
                for (const TestpmdPacket &packet : packets)
                    expect_marked(rig, packet, super.packet.bytes(), marking);
            }
    EXPECT_EQ(rig.testpmd.quit(), 0);
}

TEST_P(FlowMarks, AreOnALroFrame) {
    FlowRig rig(GetParam(), {"--enable-lro"});
    create_markings(rig.testpmd);
    for (const Marking &marking : kMarkings)
        for (const Super &super : super_frames(rig.mac, marking.port, 10 * kMss)) {
            if (super.type == VnetHeader::kGsoUdpL4) // LRO is about TCP
                continue;
            ASSERT_TRUE(rig.sender.send(super.packet.bytes(), gso_request(super.packet, super.type, kMss)));
            const auto packets = rig.testpmd.packets(1);
            ASSERT_EQ(packets.size(), 1U);
            EXPECT_TRUE(packets[0].has_flag("RTE_MBUF_F_RX_LRO")) << packets[0].ol_flags;
            expect_marked(rig, packets[0], super.packet.bytes(), marking);
        }
    EXPECT_EQ(rig.testpmd.quit(), 0);
}

} // namespace
} // namespace tapflow::test
