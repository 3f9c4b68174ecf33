// SPDX-License-Identifier: BSD-3-Clause
// What an application sees that holds its mbufs, in every mode, and how a queue of the kernel's that is full shows.
#include "pmd/ethdev_fixture.h"
#include "pmd/port_mode.h"
#include "pmd/take_over.h"

#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <array>
#include <cstring>

namespace tapflow::test {
namespace {

/// A port in one of its modes, with a cable.
class EthdevInMode : public Ethdev, public testing::WithParamInterface<PortMode> {
  protected:
    void SetUp() override {
        add_veth(ns(), "eth3", outside, "peer3");
        open("net_tap0," + GetParam().devargs());
    }

    [[nodiscard]] PacketSocket far(const PacketSocketOptions &options = {}) const {
        return GetParam().remote ? PacketSocket(outside, "peer3", options) : PacketSocket(ns(), "tap0", options);
    }
    [[nodiscard]] MacAddress own() const { return ns().link(GetParam().remote ? "eth3" : "tap0").mac; }

    void TearDown() override {
        if (GetParam().persist)
            (void)ns().run({"ip", "link", "del", "tap0"});
        Ethdev::TearDown();
    }

    NetNs outside;
};

INSTANTIATE_TEST_SUITE_P(Modes, EthdevInMode, testing::ValuesIn(port_modes_that_differ_most()),
                         testing::PrintToStringParamName());

TEST_P(EthdevInMode, WithoutMbufsLosesNothingThatFitsItsQueue) {
    configure_and_start(1, 1, 0, 64);
    PacketSocket sender = far({.receive = false});
    std::vector<rte_mbuf *> held(free_mbufs());
    ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool(), held.data(), static_cast<unsigned>(held.size())), 0);
    const auto poll = [&] {
        std::array<rte_mbuf *, 32> packets{};
        const uint16_t count = rte_eth_rx_burst(port(), 0, packets.data(), packets.size());
        rte_pktmbuf_free_bulk(packets.data(), count);
        return count;
    };
    const auto missed = [&] {
        rte_eth_stats stats{};
        EXPECT_EQ(rte_eth_stats_get(port(), &stats), 0);
        return stats.imissed;
    };
    unsigned fitted = 0;
    const packet::Bytes frame = probe(own(), packet::Mac("02:00:00:00:06:01"), 1514);
    for (; missed() == 0; ++fitted) {
        (void)sender.send(frame); // a full queue is an error to a local sender
        ASSERT_EQ(poll(), 0);
    }
    --fitted;
    EXPECT_GT(fitted, 50U);
    EXPECT_GT(xstat("rx_q0_no_mbuf"), 0U);
    if (GetParam().remote) {
        PacketSocket kernel = socket_behind_ingress(ns(), "eth3");
        expect_in_time("no mbufs", wait_for_kernel(sender, kernel, own(), 1514, [&] { ASSERT_EQ(poll(), 0); }));
        EXPECT_GT(xstat(tested_rx_mode() == "ring" ? "rx_q0_ring_stuck" : "rx_lease_lost"), 0U);
    }

    rte_pktmbuf_free_bulk(held.data(), static_cast<unsigned>(held.size()));
    unsigned received = 0;
    while (const uint16_t count = poll())
        received += count;
    EXPECT_EQ(received, fitted);
    EXPECT_EQ(free_mbufs(), held.size());
    EXPECT_TRUE(wait_until([&] {
        (void)sender.send(frame);
        return poll() > 0;
    }));
}

TEST_P(EthdevInMode, WithFewMbufsReceivesAsManyPackets) {
    constexpr uint16_t kFew = 5;
    constexpr uint16_t kFrames = 20;
    configure_and_start(1);
    PacketSocket sender = far({.receive = false});
    std::vector<rte_mbuf *> held(free_mbufs() - kFew);
    ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool(), held.data(), static_cast<unsigned>(held.size())), 0);
    for (uint16_t i = 0; i < kFrames; ++i)
        ASSERT_TRUE(sender.send(probe(own(), packet::Mac("02:00:00:00:06:02"), 60U + i)));
    std::vector<uint32_t> lengths;
    ASSERT_TRUE(wait_until([&] {
        std::array<rte_mbuf *, 32> packets{};
        const uint16_t count = rte_eth_rx_burst(port(), 0, packets.data(), packets.size());
        EXPECT_LE(count, kFew);
        for (uint16_t i = 0; i < count; ++i)
            lengths.push_back(packets[i]->pkt_len);
        rte_pktmbuf_free_bulk(packets.data(), count);
        return lengths.size() >= kFrames;
    }));
    for (uint16_t i = 0; i < kFrames; ++i)
        EXPECT_EQ(lengths[i], 60U + i) << "in order, and none twice";
    EXPECT_GT(xstat("rx_q0_no_mbuf"), 0U);
    rte_pktmbuf_free_bulk(held.data(), static_cast<unsigned>(held.size()));
}

TEST_P(EthdevInMode, ReadsAsRemovedWhenAnInterfaceOfItIsGone) {
    configure_and_start(2);
    EXPECT_EQ(rte_eth_dev_is_removed(port()), 0);
    ns().must_run({"ip", "link", "del", GetParam().remote ? "eth3" : "tap0"});
    EXPECT_EQ(rte_eth_dev_is_removed(port()), 1);
    rte_eth_link link{};
    ASSERT_EQ(rte_eth_link_get_nowait(port(), &link), 0);
    EXPECT_EQ(link.link_status, RTE_ETH_LINK_DOWN);
}

/// A driver that changes an mbuf's headers before the kernel has taken the packet hands back something else.
class BusyTx : public EthdevInMode {
  protected:
    /// Makes the kernel refuse more than a few packets at a time (EAGAIN).
    static void limit_send_buffers(int bytes) {
        unsigned taps = 0;
        for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
            std::error_code gone;
            if (std::filesystem::read_symlink(entry.path(), gone) != "/dev/net/tun")
                continue;
            ++taps;
            ASSERT_EQ(ioctl(std::stoi(entry.path().filename()), TUNSETSNDBUF, &bytes), 0);
        }
        ASSERT_GT(taps, 0U);
    }
};
INSTANTIATE_TEST_SUITE_P(Modes, BusyTx, testing::ValuesIn(remote_port_modes()), testing::PrintToStringParamName());

TEST_P(BusyTx, LeavesTheRestAsItWasAndSendsItLater) {
    configure_and_start(1);
    ns().must_run(
        {"tc", "qdisc", "add", "dev", "eth3", "root", "tbf", "rate", "8bit", "burst", "1600", "limit", "1mb"});
    limit_send_buffers(8192);
    PacketSocket peer = far();
    const packet::Packet packet =
        packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).wrong_checksum().payload(1000);
    std::array<rte_mbuf *, 32> packets{};
    for (rte_mbuf *&one : packets) {
        one = make_mbuf(packet);
        ASSERT_NE(one, nullptr);
        one->ol_flags = RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_VLAN;
        one->vlan_tci = 7;
    }
    const uint16_t sent = rte_eth_tx_burst(port(), 0, packets.data(), packets.size());
    ASSERT_GT(sent, 0U);
    ASSERT_LT(sent, packets.size());
    const packet::Bytes unchanged = packet.bytes();
    for (size_t i = sent; i < packets.size(); ++i) {
        const auto *data = rte_pktmbuf_mtod(packets[i], const uint8_t *);
        EXPECT_EQ(packet::Bytes(data, data + packets[i]->data_len), unchanged) << i;
        EXPECT_EQ(packets[i]->pkt_len, unchanged.size());
        EXPECT_EQ(packets[i]->vlan_tci, 7);
        EXPECT_TRUE(packets[i]->ol_flags & RTE_MBUF_F_TX_VLAN);
        EXPECT_EQ(rte_mbuf_refcnt_read(packets[i]), 1);
    }
    EXPECT_EQ(xstat("tx_q0_malformed") + xstat("tx_q0_link_down") + xstat("tx_q0_oversize"), 0U);

    ns().must_run({"tc", "qdisc", "del", "dev", "eth3", "root"});
    limit_send_buffers(1 << 20);
    uint16_t rest = sent;
    ASSERT_TRUE(wait_until([&] {
        rest = static_cast<uint16_t>(
            rest + rte_eth_tx_burst(port(), 0, packets.data() + rest, static_cast<uint16_t>(packets.size() - rest)));
        return rest == packets.size();
    }));
    const packet::Bytes wanted =
        packet::Packet().ether().vlan(7).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(1000).bytes();
    const auto frames = peer.receive_many(packets.size() - sent);
    EXPECT_GE(frames.size(), packets.size() - sent);
    EXPECT_EQ(frames.back().on_wire().size(), wanted.size());
}

} // namespace
} // namespace tapflow::test
