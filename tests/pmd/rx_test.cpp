// SPDX-License-Identifier: BSD-3-Clause
// What the receive functions make of a ring's records: tags, checksums, segments, chains, counters.
#include "packet/build.h"
#include "pmd/plugin.h"

#include <gtest/gtest.h>

#include <numeric>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr const char *kStrip = "--rx-offloads=0x1";     // RTE_ETH_RX_OFFLOAD_VLAN_STRIP
constexpr const char *kChecksums = "--rx-offloads=0xe"; // IPV4_CKSUM, UDP_CKSUM, TCP_CKSUM

/// `size` bytes of which no two neighbours are equal.
Bytes pattern(size_t size, uint8_t first = 1) {
    Bytes bytes(size);
    std::iota(bytes.begin(), bytes.end(), first);
    return bytes;
}

std::vector<Packet> tagged_stacks(const packet::Mac &destination) {
    const Packet ether = Packet().ether(destination);
    return {Packet(ether).vlan({.vid = 100, .pcp = 5, .dei = true}), Packet(ether).vlan({.vid = 7, .tpid = 0x88a8}),
            Packet(ether).vlan({.vid = 7, .tpid = 0x88a8}).vlan(9), Packet(ether).vlan(1).vlan(2).vlan(3), ether};
}

TEST(RxVlan, TagsAreInTheFrameAgainWithoutStripping) {
    Forwarder forwarder;
    start_forwarding(forwarder.testpmd, "io", false);
    for (const Packet &stack : tagged_stacks(forwarder.in_mac))
        for (const size_t size : {0U, 60U, 1400U}) {
            const Bytes frame = Packet(stack).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(size).bytes();
            ASSERT_TRUE(forwarder.in.send(frame));
            const auto received = forwarder.receive(1);
            ASSERT_EQ(received.size(), 1U);
            EXPECT_EQ(received[0], frame);
        }
    EXPECT_EQ(forwarder.testpmd.quit(), 0);
}

/// 802.1Q tags only, as NICs do: an S-tag put back as 0x8100 would be another packet.
void expect_stripping(Testpmd &testpmd, PacketSocket &sender, const MacAddress &destination) {
    start_forwarding(testpmd, "rxonly");
    for (const Packet &stack : tagged_stacks(destination)) {
        const Bytes frame = Packet(stack).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(100).bytes();
        const bool stripped = frame[12] == 0x81 && frame[13] == 0;
        ASSERT_TRUE(sender.send(frame));
        const auto packets = testpmd.packets(1);
        ASSERT_EQ(packets.size(), 1U);
        EXPECT_EQ(packets[0].length, frame.size() - (stripped ? 4 : 0));
        EXPECT_EQ(packets[0].has_flag("RTE_MBUF_F_RX_VLAN_STRIPPED"), stripped);
        const auto tci = static_cast<uint16_t>(frame[14] << 8U | frame[15]);
        EXPECT_EQ(packets[0].vlan_tci, stripped ? std::optional(tci) : std::nullopt);
        const size_t type = stripped ? 16 : 12;
        EXPECT_EQ(packets[0].ethertype, frame[type] << 8U | frame[type + 1]);
    }
}

TEST(RxVlan, StrippingTakesTheTagOfARemotesPacket) {
    const Cabled cabled;
    TestpmdOptions options = plugin_options(cabled.app, {remote_vdev()});
    options.app_arguments = {kStrip};
    Testpmd testpmd(options);
    PacketSocket sender(cabled.outside, "peer3", {.receive = false});
    expect_stripping(testpmd, sender, cabled.app.link("eth3").mac);
}

TEST(RxVlan, StrippingTakesTheTagInALocalFrame) {
    const NetNs ns;
    TestpmdOptions options = plugin_options(ns, {"net_tap0,iface=tap0"});
    options.app_arguments = {kStrip};
    Testpmd testpmd(options);
    PacketSocket sender(ns, "tap0", {.receive = false});
    expect_stripping(testpmd, sender, ns.link("tap0").mac);
}

/// The same packet with its L4 checksum partial and complete.
struct Completed {
    Packet partial;
    Packet complete;
};

std::vector<Completed> checksum_cases(const packet::Mac &destination, size_t payload) {
    std::vector<Completed> cases;
    const auto add = [&](const Packet &up_to_l4) {
        cases.push_back(
            {Packet(up_to_l4).partial_checksum().raw(pattern(payload)), Packet(up_to_l4).raw(pattern(payload))});
    };
    const Packet ether = Packet().ether(destination);
    add(Packet(ether).ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2));
    add(Packet(ether).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2));
    add(Packet(ether).ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .options = Bytes(12, 1)}).udp(1, 2));
    add(Packet(ether).ipv6("fd00::1", "fd00::2").tcp(1, 2));
    add(Packet(ether).ipv6("fd00::1", "fd00::2").hop_by_hop().udp(1, 2));
    add(Packet(ether).vlan(5).ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2));
    add(Packet(ether).vlan({.vid = 7, .tpid = 0x88a8}).vlan(9).ipv6("fd00::1", "fd00::2").udp(1, 2));
    return cases;
}

TEST(RxChecksum, PartialOnesAreCompleted) {
    Forwarder forwarder;
    start_forwarding(forwarder.testpmd, "io", false);
    for (const size_t payload : {0U, 1U, 777U, 1400U})
        for (const Completed &packet : checksum_cases(forwarder.in_mac, payload)) {
            ASSERT_TRUE(forwarder.in.send(packet.partial.bytes(), checksum_request(packet.partial)));
            const auto received = forwarder.receive(1);
            ASSERT_EQ(received.size(), 1U);
            EXPECT_EQ(received[0], packet.complete.bytes());
        }
    EXPECT_EQ(forwarder.testpmd.quit(), 0);
}

/// A UDP checksum that comes out as zero is sent as 0xffff (RFC 768).
TEST(RxChecksum, PartialUdpNeverBecomesZero) {
    Forwarder forwarder;
    start_forwarding(forwarder.testpmd, "io", false);
    const auto with_word = [&](unsigned word, bool partial) {
        Packet packet = Packet().ether(forwarder.in_mac).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2);
        if (partial)
            packet.partial_checksum();
        return packet.raw({static_cast<uint8_t>(word >> 8U), static_cast<uint8_t>(word)});
    };
    const Bytes zero_word = with_word(0, false).bytes();
    // Adding a packet's own checksum to its data makes its sum 0xffff, and so its checksum zero.
    const auto word = static_cast<unsigned>(zero_word[40] << 8U | zero_word[41]);
    const Packet partial = with_word(word, true);
    ASSERT_TRUE(forwarder.in.send(partial.bytes(), checksum_request(partial)));
    const auto received = forwarder.receive(1);
    ASSERT_EQ(received.size(), 1U);
    EXPECT_EQ(received[0][40], 0xff);
    EXPECT_EQ(received[0][41], 0xff);
}

TEST(RxChecksum, PartialOnesAreCompletedAcrossSegments) {
    Forwarder forwarder({"--enable-scatter", "--max-pkt-len=9022"}, 9000);
    start_forwarding(forwarder.testpmd, "io", false);
    for (const Completed &packet : checksum_cases(forwarder.in_mac, 8001)) {
        ASSERT_TRUE(forwarder.in.send(packet.partial.bytes(), checksum_request(packet.partial)));
        const auto received = forwarder.receive(1);
        ASSERT_EQ(received.size(), 1U);
        EXPECT_EQ(received[0], packet.complete.bytes());
    }
    EXPECT_EQ(forwarder.testpmd.quit(), 0);
}

TEST(RxChecksum, FlagsSayWhatIsRightAndWrong) {
    const Cabled cabled;
    TestpmdOptions options = plugin_options(cabled.app, {remote_vdev()});
    options.app_arguments = {kChecksums};
    Testpmd testpmd(options);
    PacketSocket sender(cabled.outside, "peer3", {.receive = false, .vnet_hdr = true});
    start_forwarding(testpmd, "rxonly");
    const Packet ether = Packet().ether(cabled.app.link("eth3").mac);
    const Packet v4 = Packet(ether).ipv4("10.0.0.1", "10.0.0.2");
    const Packet v6 = Packet(ether).ipv6("fd00::1", "fd00::2");
    const Packet tagged = Packet(ether).vlan(5).ipv4("10.0.0.1", "10.0.0.2");
    struct Expected {
        const char *name;
        Packet packet;
        const char *ip;
        const char *l4;
    };
    const std::vector<Expected> cases{
        {"TCP", Packet(v4).tcp(1, 2).payload(99), "GOOD", "GOOD"},
        {"wrong TCP", Packet(v4).tcp(1, 2).wrong_checksum().payload(99), "GOOD", "BAD"},
        {"UDP", Packet(v4).udp(1, 2).payload(4), "GOOD", "GOOD"},
        {"padded UDP", Packet(v4).udp(1, 2).payload(4).pad_to(60), "GOOD", "GOOD"},
        {"wrong UDP", Packet(v4).udp(1, 2).wrong_checksum().payload(4), "GOOD", "BAD"},
        {"UDP without", Packet(v4).udp(1, 2).checksum(0).payload(4), "GOOD", "GOOD"},
        {"UDP over IPv6", Packet(v6).udp(1, 2).payload(5), "UNKNOWN", "GOOD"},
        {"wrong TCP over IPv6", Packet(v6).destination_options().tcp(1, 2).wrong_checksum(), "UNKNOWN", "BAD"},
        {"wrong IPv4", Packet(ether).ipv4("10.0.0.1", "10.0.0.2").wrong_checksum().udp(1, 2), "BAD", "GOOD"},
        {"UDP longer than IP", Packet(ether).ipv4("10.0.0.1", "10.0.0.2").length(2000).udp(1, 2), "GOOD", "BAD"},
        {"tagged TCP", Packet(tagged).tcp(1, 2).payload(9), "GOOD", "GOOD"},
        {"tagged wrong TCP", Packet(tagged).tcp(1, 2).wrong_checksum().payload(9), "GOOD", "BAD"},
        {"fragment", Packet(ether).ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .more_fragments = true}).udp(1, 2),
         "GOOD", "UNKNOWN"},
        {"ICMP", Packet(v4).icmp().payload(9), "GOOD", "UNKNOWN"},
        {"ARP", Packet(ether).arp({}), "UNKNOWN", "UNKNOWN"},
    };
    for (const Expected &expected : cases) {
        SCOPED_TRACE(expected.name);
        ASSERT_TRUE(sender.send(expected.packet.bytes()));
        const auto packets = testpmd.packets(1);
        ASSERT_EQ(packets.size(), 1U);
        EXPECT_TRUE(packets[0].has_flag(std::string("RTE_MBUF_F_RX_IP_CKSUM_") + expected.ip)) << packets[0].ol_flags;
        EXPECT_TRUE(packets[0].has_flag(std::string("RTE_MBUF_F_RX_L4_CKSUM_") + expected.l4)) << packets[0].ol_flags;
    }
    const Packet partial = Packet(v4).tcp(1, 2).partial_checksum().payload(9);
    ASSERT_TRUE(sender.send(partial.bytes(), checksum_request(partial)));
    const auto packets = testpmd.packets(1);
    ASSERT_EQ(packets.size(), 1U);
    EXPECT_TRUE(packets[0].has_flag("RTE_MBUF_F_RX_L4_CKSUM_NONE")) << packets[0].ol_flags;
    EXPECT_EQ(testpmd.quit(), 0);
}

/// A super-frame, how the kernel is told so, and what a wire would have carried instead.
struct SuperFrame {
    Packet packet;
    VnetHeader::GsoType type;
    uint16_t mss;
    std::vector<Bytes> segments;
};

template <typename MakeHeaders>
SuperFrame tcp_super_frame(VnetHeader::GsoType type, uint16_t mss, size_t size, MakeHeaders headers) {
    namespace flag = packet::tcp_flag;
    constexpr uint32_t kFirst = 0xfffffc00; // runs over within the frame
    const Bytes payload = pattern(size);
    const auto tcp = [](uint32_t seq, uint8_t flags) {
        return packet::Tcp{.src_port = 1000,
                           .dst_port = 80,
                           .seq = seq,
                           .ack = 77,
                           .flags = flags,
                           .options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}};
    };
    const uint8_t all = flag::kAck | flag::kPsh | flag::kFin | flag::kCwr | flag::kEce;
    SuperFrame super{Packet(headers(0)).tcp(tcp(kFirst, all)).partial_checksum().raw(payload), type, mss, {}};
    for (size_t at = 0; at < size; at += mss) {
        const size_t end = std::min(size, at + mss);
        uint8_t flags = flag::kAck | flag::kEce;
        if (at == 0)
            flags |= flag::kCwr;
        if (end == size)
            flags |= flag::kPsh | flag::kFin;
        const auto from = payload.begin() + static_cast<ptrdiff_t>(at);
        super.segments.push_back(Packet(headers(at / mss))
                                     .tcp(tcp(kFirst + static_cast<uint32_t>(at), flags))
                                     .raw(Bytes(from, payload.begin() + static_cast<ptrdiff_t>(end)))
                                     .bytes());
    }
    return super;
}

template <typename MakeHeaders> SuperFrame udp_super_frame(uint16_t mss, size_t size, MakeHeaders headers) {
    const Bytes payload = pattern(size);
    SuperFrame super{Packet(headers(0)).udp(1000, 53).partial_checksum().raw(payload), VnetHeader::kGsoUdpL4, mss, {}};
    for (size_t at = 0; at < size; at += mss) {
        const auto from = payload.begin() + static_cast<ptrdiff_t>(at);
        const auto to = payload.begin() + static_cast<ptrdiff_t>(std::min(size, at + mss));
        super.segments.push_back(Packet(headers(at / mss)).udp(1000, 53).raw(Bytes(from, to)).bytes());
    }
    return super;
}

std::vector<SuperFrame> super_frames(const packet::Mac &destination) {
    const auto ipv4 = [&](size_t segment) {
        return Packet()
            .ether(destination)
            .ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = static_cast<uint16_t>(0xfffe + segment)});
    };
    const auto ipv6 = [&](size_t) { return Packet().ether(destination).ipv6("fd00::1", "fd00::2"); };
    const auto tagged = [&](size_t segment) {
        return Packet()
            .ether(destination)
            .vlan({.vid = 5, .pcp = 3})
            .ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = static_cast<uint16_t>(segment), .dont_fragment = true});
    };
    return {
        tcp_super_frame(VnetHeader::kGsoTcpV4, 1000, 2500, ipv4),
        tcp_super_frame(VnetHeader::kGsoTcpV4, 1428, 64000, ipv4),
        tcp_super_frame(VnetHeader::kGsoTcpV4, 500, 1000, tagged),
        tcp_super_frame(VnetHeader::kGsoTcpV6, 999, 5000, ipv6),
        udp_super_frame(700, 2101, ipv4),
        udp_super_frame(1200, 30000, ipv6),
        udp_super_frame(333, 1000, tagged),
    };
}

TEST(RxGso, SuperFramesBecomeWhatAWireWouldCarry) {
    Forwarder forwarder;
    start_forwarding(forwarder.testpmd, "io", false);
    uint64_t packets = 0;
    uint64_t bytes = 0;
    for (const SuperFrame &super : super_frames(forwarder.in_mac)) {
        ASSERT_TRUE(forwarder.in.send(super.packet.bytes(), gso_request(super.packet, super.type, super.mss)));
        const auto received = forwarder.receive(super.segments.size());
        ASSERT_EQ(received.size(), super.segments.size());
        for (size_t i = 0; i < received.size(); ++i) {
            EXPECT_EQ(received[i], super.segments[i]) << "segment " << i;
            bytes += received[i].size();
        }
        packets += received.size();
    }
    const auto stats = forwarder.testpmd.port_stats(0);
    EXPECT_EQ(stats.rx_packets, packets);
    EXPECT_EQ(stats.rx_bytes, bytes);
    EXPECT_EQ(stats.rx_errors + stats.rx_missed, 0U);
    EXPECT_EQ(forwarder.testpmd.quit(), 0);
}

/// The ring holds one record of 64 KiB beside others; a burst ends in the middle of it.
TEST(RxGso, SuperFramesAmongOthersKeepTheirOrder) {
    Forwarder forwarder;
    start_forwarding(forwarder.testpmd, "io", false);
    const auto supers = super_frames(forwarder.in_mac);
    const Bytes single = Packet().ether(forwarder.in_mac).ipv4("10.0.0.1", "10.0.0.2").udp(5, 6).payload(10).bytes();
    std::vector<Bytes> wanted;
    for (int round = 0; round < 3; ++round)
        for (const SuperFrame &super : supers) {
            ASSERT_TRUE(forwarder.in.send(super.packet.bytes(), gso_request(super.packet, super.type, super.mss)));
            ASSERT_TRUE(forwarder.in.send(single));
            wanted.insert(wanted.end(), super.segments.begin(), super.segments.end());
            wanted.push_back(single);
        }
    const auto received = forwarder.receive(wanted.size());
    ASSERT_EQ(received.size(), wanted.size());
    EXPECT_TRUE(received == wanted);
}

TEST(RxGso, SegmentsLongerThanAnMbufAreChainedOrDropped) {
    for (const bool scatter : {true, false}) {
        SCOPED_TRACE(scatter ? "scatter" : "no scatter");
        Forwarder forwarder({"--mbuf-size=640", scatter ? "--enable-scatter" : "--rxq=1"});
        start_forwarding(forwarder.testpmd, "io", false);
        const auto super = super_frames(forwarder.in_mac)[0]; // two segments of 1000 bytes, one of 500
        ASSERT_TRUE(forwarder.in.send(super.packet.bytes(), gso_request(super.packet, super.type, super.mss)));
        const std::vector<Bytes> small{Packet().ether(forwarder.in_mac).ipv4("10.0.0.1", "10.0.0.2").udp(5, 6).bytes()};
        ASSERT_TRUE(forwarder.in.send(small[0]));
        const auto received = forwarder.receive(scatter ? 4 : 1);
        EXPECT_EQ(forwarder.testpmd.port_xstats(0).at("rx_q0_oversize"), scatter ? 0U : 3U);
        if (scatter) {
            EXPECT_EQ(std::vector(received.begin(), received.end() - 1), super.segments);
        }
        EXPECT_EQ(received.back(), small[0]);
    }
}

TEST(RxLro, TcpSuperFramesComeUpWhole) {
    const Cabled cabled;
    TestpmdOptions options = plugin_options(cabled.app, {remote_vdev()});
    options.app_arguments = {"--enable-lro"};
    Testpmd testpmd(options);
    PacketSocket sender(cabled.outside, "peer3", {.receive = false, .vnet_hdr = true});
    start_forwarding(testpmd, "rxonly");
    for (const SuperFrame &super : super_frames(cabled.app.link("eth3").mac)) {
        ASSERT_TRUE(sender.send(super.packet.bytes(), gso_request(super.packet, super.type, super.mss)));
        if (super.type == VnetHeader::kGsoUdpL4) { // LRO is about TCP
            EXPECT_EQ(testpmd.packets(super.segments.size()).size(), super.segments.size());
            continue;
        }
        const auto packets = testpmd.packets(1);
        ASSERT_EQ(packets.size(), 1U);
        EXPECT_EQ(packets[0].length, super.packet.bytes().size());
        EXPECT_EQ(packets[0].nb_segs, (packets[0].length + 2047) / 2048);
        EXPECT_TRUE(packets[0].has_flag("RTE_MBUF_F_RX_LRO")) << packets[0].ol_flags;
    }
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST(RxScatter, LongFramesArriveInSeveralSegments) {
    Forwarder forwarder({"--enable-scatter", "--max-pkt-len=9022"}, 9000);
    start_forwarding(forwarder.testpmd, "io");
    for (const size_t size : {60U, 2048U, 2049U, 4096U, 4097U, 9014U}) {
        const Bytes frame =
            Packet().ether(forwarder.in_mac).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(size - 42).bytes();
        ASSERT_TRUE(forwarder.in.send(frame));
        const auto received = forwarder.receive(1);
        ASSERT_EQ(received.size(), 1U);
        EXPECT_EQ(received[0], frame);
    }
    EXPECT_EQ(forwarder.testpmd.quit(), 0);
}

TEST(RxScatter, VerboseShowsTheSegments) {
    const Cabled cabled(1, 9000);
    TestpmdOptions options = plugin_options(cabled.app, {remote_vdev()});
    options.app_arguments = {"--enable-scatter"};
    Testpmd testpmd(options);
    start_forwarding(testpmd, "rxonly");
    PacketSocket sender(cabled.outside, "peer3", {.receive = false});
    ASSERT_TRUE(sender.send(Packet().ether(cabled.app.link("eth3").mac).payload(5000).bytes()));
    const auto packets = testpmd.packets(1);
    ASSERT_EQ(packets.size(), 1U);
    EXPECT_EQ(packets[0].nb_segs, 3U);
    EXPECT_EQ(packets[0].length, 5014U);
}

TEST(RxOversize, IsDroppedAndCountedWithoutScatter) {
    const Cabled cabled(1, 9000);
    Testpmd testpmd(plugin_options(cabled.app, {remote_vdev()}));
    start_forwarding(testpmd, "rxonly");
    PacketSocket sender(cabled.outside, "peer3", {.receive = false});
    const Packet ether = Packet().ether(cabled.app.link("eth3").mac);
    const size_t before = free_mbufs(testpmd);
    for (int i = 0; i < 100; ++i)
        ASSERT_TRUE(sender.send(Packet(ether).payload(2035).bytes()));
    ASSERT_TRUE(sender.send(Packet(ether).payload(2034).bytes())); // just fits
    const auto packets = testpmd.packets(1);
    ASSERT_EQ(packets.size(), 1U);
    EXPECT_EQ(packets[0].length, 2048U);
    EXPECT_EQ(testpmd.port_xstats(0).at("rx_q0_oversize"), 100U);
    const auto stats = testpmd.port_stats(0);
    EXPECT_EQ(stats.rx_errors, 100U);
    EXPECT_EQ(stats.rx_packets, 1U);
    EXPECT_EQ(stats.rx_bytes, 2048U);
    testpmd.command("stop");
    EXPECT_EQ(free_mbufs(testpmd), before);
}

TEST(RxStatistics, CountPacketsAndBytesOfEachQueue) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {remote_vdev()}, 3));
    testpmd.command("port config all rss all");
    start_forwarding(testpmd, "rxonly");
    PacketSocket sender(cabled.outside, "peer3", {.receive = false});
    std::map<std::string, uint64_t> wanted;
    std::vector<Bytes> frames;
    const auto key = rss::default_key();
    const rss::RssConfig config{{key.begin(), key.end()}, rss::kAllTypes, rss::round_robin_reta(3)};
    for (uint16_t i = 0; i < 200; ++i) {
        frames.push_back(
            Packet().ether(cabled.app.link("eth3").mac).ipv4("10.0.0.1", "10.0.0.2").udp(i, 2).payload(i).bytes());
        const std::string queue = "rx_q" + std::to_string(expected_steering(config, frames.back()).queue);
        wanted[queue + "_packets"]++;
        wanted[queue + "_bytes"] += frames.back().size();
        wanted["rx_good_packets"]++;
        wanted["rx_good_bytes"] += frames.back().size();
    }
    ASSERT_EQ(sender.send_burst(frames), frames.size());
    EXPECT_EQ(testpmd.packets(frames.size()).size(), frames.size());
    const auto xstats = testpmd.port_xstats(0);
    for (const auto &[name, value] : wanted)
        EXPECT_EQ(xstats.at(name), value) << name;
    testpmd.command("clear port xstats 0");
    for (const auto &[name, value] : testpmd.port_xstats(0))
        EXPECT_EQ(value, 0U) << name;
    ASSERT_TRUE(sender.send(frames[0]));
    EXPECT_EQ(testpmd.packets(1).size(), 1U);
    EXPECT_EQ(testpmd.port_stats(0).rx_packets, 1U);
}

/// What nobody polls fills the queue: counted, and whole again afterwards.
TEST(RxStatistics, CountWhatAFullQueueLoses) {
    const Cabled cabled;
    TestpmdOptions options = plugin_options(cabled.app, {remote_vdev()});
    options.rxd = 64;
    Testpmd testpmd(options);
    testpmd.command("set verbose 1");
    testpmd.command("set fwd rxonly");
    PacketSocket sender(cabled.outside, "peer3", {.receive = false});
    const Bytes frame = Packet().ether(cabled.app.link("eth3").mac).payload(1400).bytes();
    constexpr size_t kSent = 300; // of which 131,072 bytes hold about 80, and a queue of the tap 64
    ASSERT_EQ(sender.send_burst(std::vector<Bytes>(kSent, frame)), kSent);
    const auto full = testpmd.port_stats(0);
    EXPECT_GT(full.rx_missed, 0U);
    if (tested_rx_mode() == "ring") {
        EXPECT_EQ(testpmd.port_xstats(0).at("rx_q0_ring_full"), full.rx_missed);
    }
    testpmd.command("start");
    const size_t kept = kSent - full.rx_missed;
    EXPECT_EQ(testpmd.packets(kept).size(), kept);
    ASSERT_TRUE(sender.send(frame));
    EXPECT_EQ(testpmd.packets(1).size(), 1U);
    EXPECT_EQ(testpmd.port_stats(0).rx_packets, kept + 1);
}

TEST(RxLocal, TakesWhatTheKernelsOwnSocketsSend) {
    const NetNs ns;
    Testpmd testpmd(plugin_options(ns, {"net_tap0,iface=tap0"}));
    start_forwarding(testpmd, "rxonly");
    ns.must_run({"ip", "address", "add", "10.9.0.1/24", "dev", "tap0"});
    const std::string mac = ns.link("tap0").mac.text();
    ns.must_run({"ip", "neigh", "replace", "10.9.0.2", "lladdr", mac, "dev", "tap0"});
    ns.must_run({"bash", "-c", "echo hello > /dev/udp/10.9.0.2/9"});
    const auto packets = testpmd.packets(1);
    ASSERT_EQ(packets.size(), 1U);
    EXPECT_EQ(packets[0].dst, mac);
    EXPECT_EQ(packets[0].length, 48U);
    EXPECT_EQ(packets[0].hw_ptype, "L2_ETHER L3_IPV4_EXT_UNKNOWN L4_UDP");
}

} // namespace
} // namespace tapflow::test
