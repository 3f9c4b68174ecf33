// SPDX-License-Identifier: BSD-3-Clause
// The classifier on packets that the kernel itself sends through a tap: VLAN metadata, super-frames, partial checksums
// and non-linear packets, which BPF_PROG_TEST_RUN cannot make.
#include "kernel/attachment.h"
#include "kernel/port_fixture.h"
#include "packet/random_packets.h"
#include "push_vlan.skel.h"
#include "support/rss_samples.h"
#include "support/seed.h"

#include <arpa/inet.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

class Traffic : public PortTest {};

constexpr unsigned kTapMaxMtu = 65521;

TEST_F(Traffic, TagsInTheFrameAreParsedFromTheFrame) {
    open();
    PacketSocket sender(ns, "tap0", {.receive = false});
    for (const auto &tpids : std::vector<std::vector<uint16_t>>{
             {}, {0x8100}, {0x88a8}, {0x88a8, 0x8100}, {0x8100, 0x8100}, {0x88a8, 0x88a8}, {0x88a8, 0x8100, 0x8100}}) {
        Packet packet;
        packet.ether();
        for (const uint16_t tpid : tpids)
            packet.vlan({.vid = 7, .pcp = 3, .tpid = tpid});
        const Bytes frame = packet.ipv4("10.0.0.1", "10.0.0.2").udp(1000, 2000).payload(50).bytes();
        ASSERT_TRUE(sender.send(frame));
        const Delivered delivered = only_record();
        expect_described(delivered, frame);
        EXPECT_EQ(delivered.record.flags & TAPFLOW_RECORD_VLAN, 0);
    }
}

/// A program in front of the classifier that gives every packet a tag beside the frame, as a vlan netdevice does
/// (which this project's machine's kernel does not have).
std::unique_ptr<push_vlan_bpf, void (*)(push_vlan_bpf *)> load_push_vlan(uint16_t tpid, uint16_t tci) {
    std::unique_ptr<push_vlan_bpf, void (*)(push_vlan_bpf *)> program(push_vlan_bpf__open(), push_vlan_bpf__destroy);
    program->rodata->tpid = htons(tpid);
    program->rodata->tci = tci;
    if (push_vlan_bpf__load(program.get()) != 0)
        throw_errno("load push_vlan");
    return program;
}

TEST_F(Traffic, ATagBesideTheFrameIsInTheRecord) {
    open();
    auto netlink = must(kernel::Netlink::open());
    const int ifindex = ns.link("tap0").index;
    const kernel::BpfFilter place{{ifindex, kernel::Hook::Egress, kernel::kFilterPreference - 1, 1}, "push_vlan"};
    PacketSocket sender(ns, "tap0", {.receive = false});
    constexpr uint16_t kTci = 5U << 13U | 1U << 12U | 291;
    for (const uint16_t tpid : {uint16_t{0x8100}, uint16_t{0x88a8}}) {
        const auto push = load_push_vlan(tpid, kTci);
        must(kernel::replace_filter(*netlink, place, bpf_program__fd(push->progs.push_vlan)));
        for (const Bytes &frame : {Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(50).bytes(),
                                   Packet().ether().vlan(5).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).bytes(),
                                   Packet().ether().vlan({.vid = 5, .tpid = 0x88a8}).ipv6("::1", "::2").bytes()}) {
            ASSERT_TRUE(sender.send(frame));
            const Delivered delivered = only_record();
            expect_described(delivered, frame, htons(tpid));
            EXPECT_TRUE(delivered.record.flags & TAPFLOW_RECORD_VLAN) << tpid;
            EXPECT_EQ(delivered.record.vlan_proto, htons(tpid));
            EXPECT_EQ(delivered.record.vlan_tci, kTci) << tpid;
        }
    }
}

TEST_F(Traffic, AVlanNetdevicesTagIsInTheRecord) {
    open();
    if (ns.run({"ip", "link", "add", "link", "tap0", "name", "vlan7", "type", "vlan", "id", "7"}).status != 0)
        GTEST_SKIP() << "kernel lacks 8021q";
    ns.must_run({"ip", "link", "set", "vlan7", "up"});
    PacketSocket sender(ns, "vlan7", {.receive = false});
    const Bytes frame = Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(50).bytes();
    ASSERT_TRUE(sender.send(frame));
    const Delivered delivered = only_record();
    expect_described(delivered, frame, htons(0x8100));
    EXPECT_TRUE(delivered.record.flags & TAPFLOW_RECORD_VLAN);
    EXPECT_EQ(delivered.record.vlan_proto, htons(0x8100));
    EXPECT_EQ(delivered.record.vlan_tci, 7);
}

TEST_F(Traffic, FramesWithoutPayloadAndShortFrames) {
    open();
    PacketSocket sender(ns, "tap0", {.receive = false});
    for (size_t length = 14; length <= 64; length++) {
        const Bytes frame =
            Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(40).truncate(length).bytes();
        ASSERT_TRUE(sender.send(frame)) << length;
        expect_described(only_record(), frame);
    }
}

TEST_F(Traffic, ShortRandomFramesMatchTheHost) {
    open();
    PacketSocket sender(ns, "tap0", {.receive = false});
    packet::RandomPackets packets(seeded_random());
    for (unsigned i = 0; i < 10'000; i++) {
        const Bytes frame = packets.next(14, 120);
        ASSERT_TRUE(sender.send(frame)) << i;
        expect_described(only_record(), frame);
        ASSERT_FALSE(HasFailure()) << "packet " << i;
    }
}

// A packet socket with virtio headers keeps as many bytes in the linear part as the header says, and the rest in page
// fragments: the program sees only the first 14 bytes directly.
TEST_F(Traffic, LongNonLinearFramesOfEveryKindMatchTheHost) {
    open({.mtu = 9000});
    PacketSocket sender(ns, "tap0", {.receive = false, .vnet_hdr = true});
    packet::RandomPackets packets(seeded_random());
    for (unsigned i = 0; i < 3000; i++) {
        const Bytes frame = packets.next(4200, 9000);
        VnetHeader offload;
        offload.header_length = static_cast<uint16_t>(14 + packets.below(120));
        ASSERT_TRUE(sender.send(frame, offload)) << i;
        expect_described(only_record(), frame);
        ASSERT_FALSE(HasFailure()) << "packet " << i;
    }
}

// The last extension header that is followed ends behind the parse window: with it in the page fragments the program
// must still see what the host sees.
TEST_F(Traffic, AnExtensionHeaderAcrossTheEndOfTheWindowIsSeenInNonLinearFrames) {
    open({.mtu = 9000});
    PacketSocket sender(ns, "tap0", {.receive = false, .vnet_hdr = true});
    const size_t behind_first = TAPFLOW_PARSE_WINDOW - 2; // 510: the second extension's place
    const Bytes frame = Packet()
                            .ether()
                            .ipv6("fe80::1", "fe80::2")
                            .destination_options(Bytes(behind_first - 54 - 2, 0))
                            .destination_options()
                            .fragment({.more = true})
                            .payload(5000)
                            .bytes();
    ASSERT_EQ(parse(frame).packet_class, unsigned{TAPFLOW_CLASS_IPV6_FRAGMENT});
    VnetHeader offload;
    offload.header_length = 14;
    ASSERT_TRUE(sender.send(frame, offload));
    expect_described(only_record(), frame);
}

// The parser reads the first bytes of an extension header and goes on; what an option holds may be in page fragments.
TEST_F(Traffic, AMobileNodesAddressesAreSeenInNonLinearFrames) {
    open({.mtu = 9000});
    PacketSocket sender(ns, "tap0", {.receive = false, .vnet_hdr = true});
    for (const RssSample &sample : mobile_samples({})) {
        const Bytes frame = Packet(sample.packet).payload(5000).bytes();
        for (uint16_t linear = 14; linear < 140; linear = static_cast<uint16_t>(linear + 4)) {
            VnetHeader offload;
            offload.header_length = linear;
            ASSERT_TRUE(sender.send(frame, offload));
            expect_described(only_record(), frame);
            ASSERT_FALSE(HasFailure()) << sample.name << ", linear part " << linear;
        }
    }
}

TEST_F(Traffic, JumboFramesOfEveryLengthAreWhole) {
    open({.mtu = 9000});
    PacketSocket sender(ns, "tap0", {.receive = false});
    for (const size_t length : {4095U, 4096U, 4097U, 4098U, 4128U, 4129U, 8063U, 8064U, 8065U, 9014U}) {
        const Bytes frame = Packet().ether().ipv6("fe80::1", "fe80::2").udp(1, 2).payload(length - 14 - 40 - 8).bytes();
        ASSERT_EQ(frame.size(), length);
        ASSERT_TRUE(sender.send(frame));
        expect_described(only_record(), frame);
    }
}

TEST_F(Traffic, TheLongestFramesAreWhole) {
    open({.mtu = kTapMaxMtu});
    PacketSocket sender(ns, "tap0", {.receive = false});
    for (const size_t length : {65534U, 65535U}) {
        const Bytes frame = Packet().ether().next_type(0x88b5).payload(length - 14).bytes();
        ASSERT_TRUE(sender.send(frame)) << length;
        expect_described(only_record(), frame);
    }
}

struct GsoRow {
    const char *name;
    Packet headers;
    VnetHeader::GsoType type;
    uint8_t gso_type;
};

std::vector<GsoRow> gso_rows() {
    const auto v4 = [] { return Packet().ether().ipv4("10.0.0.1", "10.0.0.2"); };
    const auto v6 = [] { return Packet().ether().ipv6("fe80::1", "fe80::2"); };
    return {{"tcp4", v4().tcp(1000, 2000), VnetHeader::kGsoTcpV4, TAPFLOW_GSO_TCP},
            {"tcp6", v6().tcp(1000, 2000), VnetHeader::kGsoTcpV6, TAPFLOW_GSO_TCP},
            {"udp4", v4().udp(1000, 2000), VnetHeader::kGsoUdpL4, TAPFLOW_GSO_UDP},
            {"udp6", v6().udp(1000, 2000), VnetHeader::kGsoUdpL4, TAPFLOW_GSO_UDP},
            {"tcp4 with options",
             Packet().ether().ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .options = Bytes(8, 1)}).tcp(1000, 2000),
             VnetHeader::kGsoTcpV4, TAPFLOW_GSO_TCP}};
}

TEST_F(Traffic, SuperFramesKeepTheirSegmentSizeAndPartialChecksum) {
    open();
    PacketSocket sender(ns, "tap0", {.receive = false, .vnet_hdr = true});
    for (const GsoRow &row : gso_rows())
        for (const size_t payload : {2801U, 30'000U, 64'000U}) {
            SCOPED_TRACE(std::string(row.name) + ", payload " + std::to_string(payload));
            const Packet packet = Packet(row.headers).partial_checksum().payload(payload);
            const Bytes frame = packet.bytes();
            ASSERT_TRUE(sender.send(frame, gso_request(packet, row.type, 1400)));
            const Delivered delivered = only_record();
            expect_described(delivered, frame);
            const tapflow_record &record = delivered.record;
            EXPECT_EQ(record.flags, TAPFLOW_RECORD_HASH | TAPFLOW_RECORD_GSO | TAPFLOW_RECORD_CSUM_PARTIAL);
            EXPECT_EQ(record.gso_size, 1400);
            EXPECT_EQ(record.gso_type, row.gso_type);
            EXPECT_EQ(record.csum_start, packet.transport_offset());
            EXPECT_EQ(record.csum_offset, packet.transport_checksum_offset());
            EXPECT_EQ(record.inner_l3_offset, 0);
        }
    EXPECT_EQ(port->state().counters.unsupported_gso, 0U);
}

TEST_F(Traffic, ASuperFrameLongerThanARecordIsDroppedAndCounted) {
    open();
    PacketSocket sender(ns, "tap0", {.receive = false, .vnet_hdr = true});
    const auto frame_of = [](size_t length) {
        return Packet().ether().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2).partial_checksum().payload(length - 54);
    };
    const Packet longest = frame_of(TAPFLOW_FRAME_MAX);
    ASSERT_TRUE(sender.send(longest.bytes(), gso_request(longest, VnetHeader::kGsoTcpV4, 1448)));
    expect_described(only_record(), longest.bytes());
    const Packet longer = frame_of(TAPFLOW_FRAME_MAX + 1);
    EXPECT_FALSE(sender.send(longer.bytes(), gso_request(longer, VnetHeader::kGsoTcpV4, 1448)));
    EXPECT_TRUE(drain_all().empty());
    EXPECT_EQ(port->state().counters.oversize, 1U);
}

TEST_F(Traffic, APartialChecksumWithoutSegmentsIsDescribed) {
    open();
    PacketSocket sender(ns, "tap0", {.receive = false, .vnet_hdr = true});
    const Packet packet = Packet().ether().vlan(5).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).partial_checksum().payload(9);
    ASSERT_TRUE(sender.send(packet.bytes(), checksum_request(packet)));
    const Delivered delivered = only_record();
    expect_described(delivered, packet.bytes());
    EXPECT_EQ(delivered.record.flags, TAPFLOW_RECORD_HASH | TAPFLOW_RECORD_CSUM_PARTIAL);
    EXPECT_EQ(delivered.record.csum_start, packet.transport_offset());
    EXPECT_EQ(delivered.record.csum_offset, 6);
}

/// A UDP socket that is connected through the tap to a neighbour that needs no ARP.
Fd udp_through_tap(const NetNs &ns) {
    ns.must_run({"ip", "address", "add", "10.9.0.1/24", "dev", "tap0"});
    ns.must_run({"ip", "neighbour", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:99", "dev", "tap0"});
    Fd socket = owned(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "open a UDP socket");
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(4000);
    peer.sin_addr.s_addr = inet_addr("10.9.0.2");
    if (connect(socket.get(), reinterpret_cast<const sockaddr *>(&peer), sizeof(peer)) != 0)
        throw_errno("connect a UDP socket");
    return socket;
}

TEST_F(Traffic, TheKernelsOwnBigDatagramIsWhole) {
    open({.mtu = kTapMaxMtu});
    const Fd socket = udp_through_tap(ns);
    const Bytes data = Packet().payload(60'000).bytes();
    ASSERT_EQ(send(socket.get(), data.data(), data.size(), 0), static_cast<ssize_t>(data.size()));
    const Delivered delivered = only_record();
    expect_described(delivered, delivered.frame);
    EXPECT_EQ(delivered.record.packet_class, TAPFLOW_CLASS_IPV4_UDP);
    ASSERT_EQ(delivered.frame.size(), 42 + data.size());
    EXPECT_TRUE(std::equal(data.begin(), data.end(), delivered.frame.begin() + 42));
}

TEST_F(Traffic, TheKernelsOwnSegmentedDatagramsArriveAsOneSuperFrame) {
    open();
    const Fd socket = udp_through_tap(ns);
    const int segment = 1000;
    ASSERT_EQ(setsockopt(socket.get(), IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)), 0);
    const Bytes data = Packet().payload(10'500).bytes();
    ASSERT_EQ(send(socket.get(), data.data(), data.size(), 0), static_cast<ssize_t>(data.size()));
    const Delivered delivered = only_record();
    expect_described(delivered, delivered.frame);
    EXPECT_EQ(delivered.record.flags, TAPFLOW_RECORD_HASH | TAPFLOW_RECORD_GSO | TAPFLOW_RECORD_CSUM_PARTIAL);
    EXPECT_EQ(delivered.record.gso_type, TAPFLOW_GSO_UDP);
    EXPECT_EQ(delivered.record.gso_size, segment);
    EXPECT_EQ(delivered.record.csum_start, 34);
    EXPECT_EQ(delivered.record.csum_offset, 6);
    EXPECT_EQ(delivered.frame.size(), 42 + data.size());
}

TEST_F(Traffic, WhatBypassesTheClassifierIsDroppedAndCounted) {
    open();
    ns.wait_operstate_up("tap0");
    PacketSocket sender(ns, "tap0", {.receive = false, .qdisc_bypass = true});
    const Bytes frame = Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(50).bytes();
    constexpr unsigned kFrames = 100;
    for (unsigned i = 0; i < kFrames; i++)
        (void)sender.send(frame); // whether the sender is told depends on the kernel
    EXPECT_EQ(port->state().counters.bypass, kFrames);
    EXPECT_TRUE(drain_all().empty());
    char byte = 0;
    EXPECT_EQ(read(port->tx_fd(0), &byte, 1), -1) << "nothing is queued at the tap's fd";
    EXPECT_EQ(errno, EAGAIN);
}

} // namespace
} // namespace tapflow::test
