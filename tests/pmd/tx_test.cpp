// SPDX-License-Identifier: BSD-3-Clause
// What the transmit function makes of mbufs, seen where it arrives.
#include "packet/build.h"
#include "pmd/plugin.h"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

/// dst of the first port's packets in testpmd's forwarding engines
constexpr const char *kPeerMac = "02:00:00:00:00:01";

Bytes pattern(size_t size) {
    Bytes bytes(size);
    std::iota(bytes.begin(), bytes.end(), uint8_t{1});
    return bytes;
}

/// The kernel does in software what it was asked for, so that the peer sees what a wire would.
void switch_offloads_off(const Cabled &cabled, const char *interface) {
    cabled.app.must_run({"ethtool", "-K", interface, "tso", "off", "gso", "off", "tx", "off", "txvlan", "off"});
}

TEST(Tx, FramesOfEveryLengthAndSegmentationArriveAsTheyAre) {
    Forwarder forwarder({"--enable-scatter", "--mbuf-size=640", "--max-pkt-len=9022"}, 9000); // 512 bytes each
    start_forwarding(forwarder.testpmd, "io", false);
    std::vector<Bytes> frames;
    for (const size_t size : {14U, 60U, 64U, 65U, 512U, 513U, 1024U, 1025U, 1514U, 2047U, 2048U, 2049U, 5000U, 9014U})
        frames.push_back(Packet().ether(forwarder.in_mac).next_type(0x88b5).raw(pattern(size - 14)).bytes());
    for (const Bytes &frame : frames) {
        ASSERT_TRUE(forwarder.in.send(frame));
        const auto received = forwarder.receive(1);
        ASSERT_EQ(received.size(), 1U);
        EXPECT_EQ(received[0], frame) << frame.size();
    }
    forwarder.testpmd.command("stop"); // a burst is counted when it is over: a little later than its frames are there
    const auto stats = forwarder.testpmd.port_stats(1);
    EXPECT_EQ(stats.tx_packets, frames.size());
    EXPECT_EQ(stats.tx_bytes, std::accumulate(frames.begin(), frames.end(), size_t{0},
                                              [](size_t sum, const Bytes &frame) { return sum + frame.size(); }));
    EXPECT_EQ(stats.tx_errors, 0U);
    EXPECT_EQ(forwarder.testpmd.quit(), 0);
}

TEST(Tx, TestpmdsOwnMultiSegmentPacketsLeaveTheRemote) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {remote_vdev()}));
    PacketSocket peer(cabled.outside, "peer3");
    testpmd.command("set fwd rxonly");
    testpmd.command("set txpkts 64,1,200,777");
    testpmd.command("start tx_first 2");
    const auto frames = peer.receive_many(64);
    ASSERT_EQ(frames.size(), 64U);
    for (const ReceivedFrame &frame : frames) {
        ASSERT_EQ(frame.bytes.size(), 1042U);
        EXPECT_TRUE(
            std::equal(frame.bytes.begin() + 6, frame.bytes.begin() + 12, cabled.app.link("tap0").mac.bytes.begin()));
        EXPECT_EQ(packet::ones_complement_sum(std::span(frame.bytes).subspan(14, 20)), 0xffff);
    }
    testpmd.command("stop");
    const auto stats = testpmd.port_stats(0);
    EXPECT_EQ(stats.tx_packets, 64U);
    EXPECT_EQ(stats.tx_bytes, 64U * 1042);
}

TEST(Tx, LocalPortsPacketsReachTheKernel) {
    const NetNs ns;
    Testpmd testpmd(plugin_options(ns, {"net_tap0,iface=tap0"}, 3));
    PacketSocket kernel(ns, "tap0");
    testpmd.command("set fwd rxonly");
    testpmd.command("start tx_first 1");
    EXPECT_EQ(kernel.receive_many(96).size(), 96U);
    testpmd.command("stop");
    const auto xstats = testpmd.port_xstats(0);
    for (const char *queue : {"tx_q0_packets", "tx_q1_packets", "tx_q2_packets"})
        EXPECT_EQ(xstats.at(queue), 32U) << queue;
    EXPECT_EQ(ns.link("tap0").rx_packets, 96U);
}

/// testpmd's "csum" engine parses each packet, sets other MAC addresses, and asks for what `csum set` and `tso set`
/// say; its "mac" engine asks for tags. Both together: TaggedTx in ethdev_test.cpp.
class TxOffload : public testing::Test {
  protected:
    void start(std::vector<std::string> commands, const char *engine = "csum") {
        switch_offloads_off(forwarder_.cabled, "eth4");
        for (const char *layer : {"ip", "udp", "tcp"})
            commands.push_back(std::string("csum set ") + layer + " hw 1");
        forwarder_.configure_out(commands);
        start_forwarding(forwarder_.testpmd, engine, false);
    }

    [[nodiscard]] Packet in_ether() const { return Packet().ether(forwarder_.in_mac); }
    [[nodiscard]] Packet out_ether() const { return Packet().ether(kPeerMac, forwarder_.out_mac); }

    void expect_forwarded(const Packet &sent, const std::vector<Bytes> &wanted) {
        ASSERT_TRUE(forwarder_.in.send(sent.bytes()));
        const auto received = forwarder_.receive(wanted.size());
        ASSERT_EQ(received.size(), wanted.size());
        for (size_t i = 0; i < wanted.size(); ++i)
            EXPECT_EQ(received[i], wanted[i]) << "frame " << i;
    }

    Forwarder forwarder_{{"--enable-scatter", "--max-pkt-len=9022"}, 9000};
};

TEST_F(TxOffload, ChecksumsAreFilledIn) {
    start({});
    for (const size_t payload : {0U, 1U, 100U, 1400U, 4001U}) {
        SCOPED_TRACE(payload);
        const auto checksums = [&](const auto &on_top_of) {
            const auto tcp = [&](Packet packet) { return packet.tcp(1000, 80); };
            const auto udp = [&](Packet packet) { return packet.udp(1000, 53); };
            expect_forwarded(tcp(on_top_of(in_ether())).wrong_checksum().raw(pattern(payload)),
                             {tcp(on_top_of(out_ether())).raw(pattern(payload)).bytes()});
            expect_forwarded(udp(on_top_of(in_ether())).wrong_checksum().raw(pattern(payload)),
                             {udp(on_top_of(out_ether())).raw(pattern(payload)).bytes()});
        };
        checksums([](Packet packet) { return packet.ipv4("10.0.0.1", "10.0.0.2"); });
        checksums([](Packet packet) { return packet.ipv6("fd00::1", "fd00::2"); });
        checksums([](Packet packet) { return packet.vlan(9).ipv4("10.0.0.1", "10.0.0.2"); });
    }
    // The IPv4 header's own, which is wrong only on the way in.
    expect_forwarded(in_ether().ipv4("10.0.0.1", "10.0.0.2").wrong_checksum().udp(1, 2).payload(9),
                     {out_ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(9).bytes()});
    EXPECT_EQ(forwarder_.testpmd.quit(), 0);
}

TEST_F(TxOffload, TagsAreInserted) {
    start({"tx_vlan set 1 100"}, "mac");
    for (const size_t payload : {46U, 100U, 1400U, 4001U}) {
        expect_forwarded(in_ether().next_type(0x88b5).raw(pattern(payload)),
                         {out_ether().vlan(100).next_type(0x88b5).raw(pattern(payload)).bytes()});
    }
}

std::vector<Bytes> tcp_segments(const std::function<Packet(size_t)> &headers, size_t payload, size_t mss) {
    const Bytes all = pattern(payload);
    std::vector<Bytes> segments;
    for (size_t at = 0; at < payload; at += mss) {
        const size_t end = std::min(payload, at + mss);
        packet::Tcp tcp{.src_port = 1000, .dst_port = 80, .seq = static_cast<uint32_t>(500 + at), .ack = 9};
        if (end == payload)
            tcp.flags |= packet::tcp_flag::kPsh;
        segments.push_back(
            headers(at / mss)
                .tcp(tcp)
                .raw(Bytes(all.begin() + static_cast<ptrdiff_t>(at), all.begin() + static_cast<ptrdiff_t>(end)))
                .bytes());
    }
    return segments;
}

TEST_F(TxOffload, TsoCutsSegments) {
    start({"tso set 500 1"});
    const packet::Tcp tcp{.src_port = 1000,
                          .dst_port = 80,
                          .seq = 500,
                          .ack = 9,
                          .flags = packet::tcp_flag::kAck | packet::tcp_flag::kPsh};
    const auto ipv4 = [](Packet packet, size_t segment) {
        return packet.ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = static_cast<uint16_t>(70 + segment)});
    };
    const auto ipv6 = [](Packet packet, size_t) { return packet.ipv6("fd00::1", "fd00::2"); };
    for (const size_t payload : {400U, 500U, 501U, 1400U, 4000U, 8001U}) {
        SCOPED_TRACE(payload);
        expect_forwarded(ipv4(in_ether(), 0).tcp(tcp).raw(pattern(payload)),
                         tcp_segments([&](size_t i) { return ipv4(out_ether(), i); }, payload, 500));
        expect_forwarded(ipv6(in_ether(), 0).tcp(tcp).raw(pattern(payload)),
                         tcp_segments([&](size_t i) { return ipv6(out_ether(), i); }, payload, 500));
    }
    EXPECT_EQ(forwarder_.testpmd.port_stats(1).tx_errors, 0U);
    EXPECT_EQ(forwarder_.testpmd.quit(), 0);
}

/// The in-tree driver's own segmentation stops at what a standard frame holds.
TEST_F(TxOffload, TsoTakesSegmentsLongerThanAStandardFrame) {
    const auto ipv4 = [](Packet packet, size_t segment) {
        return packet.ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = static_cast<uint16_t>(70 + segment)});
    };
    const packet::Tcp tcp{.src_port = 1000,
                          .dst_port = 80,
                          .seq = 500,
                          .ack = 9,
                          .flags = packet::tcp_flag::kAck | packet::tcp_flag::kPsh};
    start({});
    for (const size_t mss : {1447U, 1460U, 4000U}) {
        SCOPED_TRACE(mss);
        forwarder_.testpmd.command("stop");
        forwarder_.configure_out({"tso set " + std::to_string(mss) + " 1"});
        forwarder_.testpmd.command("start");
        expect_forwarded(ipv4(in_ether(), 0).tcp(tcp).raw(pattern(8001)),
                         tcp_segments([&](size_t i) { return ipv4(out_ether(), i); }, 8001, mss));
    }
    EXPECT_EQ(forwarder_.testpmd.port_stats(1).tx_errors, 0U);
}

TEST(TxDrop, InterfaceDownIsCountedAndBlocksNothing) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {remote_vdev()}));
    PacketSocket peer(cabled.outside, "peer3");
    testpmd.command("set fwd rxonly");
    const size_t before = free_mbufs(testpmd);
    cabled.app.must_run({"ip", "link", "set", "tap0", "down"});
    testpmd.command("start tx_first 4");
    ASSERT_TRUE(wait_until([&] { return testpmd.port_xstats(0).at("tx_q0_link_down") == 128; }));
    testpmd.command("stop");
    auto stats = testpmd.port_stats(0);
    EXPECT_EQ(stats.tx_packets, 0U);
    EXPECT_EQ(stats.tx_errors, 128U);
    EXPECT_EQ(free_mbufs(testpmd), before);
    // And the queue goes on once it is up again.
    cabled.app.must_run({"ip", "link", "set", "tap0", "up"});
    testpmd.command("start tx_first 1");
    EXPECT_EQ(peer.receive_many(32).size(), 32U);
    testpmd.command("stop");
    EXPECT_EQ(testpmd.port_stats(0).tx_packets, 32U);
    EXPECT_EQ(free_mbufs(testpmd), before);
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST(TxDrop, OversizeIsCountedAndTheQueueGoesOn) {
    Forwarder forwarder({"--enable-scatter"}, 9000); // both ports keep testpmd's MTU of 1500
    start_forwarding(forwarder.testpmd, "io", false);
    const size_t before = free_mbufs(forwarder.testpmd);
    const auto frame = [&](size_t size) { return Packet().ether(forwarder.in_mac).raw(pattern(size - 14)).bytes(); };
    // Two tags beyond the MTU pass: they are not part of it.
    for (const size_t size : {1523U, 1522U, 9014U, 3000U, 60U})
        ASSERT_TRUE(forwarder.in.send(frame(size)));
    const auto received = forwarder.receive(2);
    ASSERT_EQ(received.size(), 2U);
    EXPECT_EQ(received[0], frame(1522));
    EXPECT_EQ(received[1], frame(60));
    forwarder.testpmd.command("stop");
    EXPECT_EQ(forwarder.testpmd.port_xstats(1).at("tx_q0_oversize"), 3U);
    const auto stats = forwarder.testpmd.port_stats(1);
    EXPECT_EQ(stats.tx_errors, 3U);
    EXPECT_EQ(stats.tx_packets, 2U);
    EXPECT_EQ(free_mbufs(forwarder.testpmd), before);
}

} // namespace
} // namespace tapflow::test
