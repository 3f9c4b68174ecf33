// SPDX-License-Identifier: BSD-3-Clause
// Queues one by one: stopped and started under traffic, set up while the port runs, and what can be asked of them.
#include "pmd/ethdev_fixture.h"

#include <array>
#include <set>

namespace tapflow::test {
namespace {

class Queues : public Ethdev {
  protected:
    static constexpr uint16_t kQueues = 4;

    [[nodiscard]] static rte_eth_conf rss() {
        rte_eth_conf conf{};
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rxmode.offloads = RTE_ETH_RX_OFFLOAD_RSS_HASH;
        conf.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_IPV4;
        return conf;
    }

    void setup_rx(uint16_t queue, bool deferred = false, uint16_t descriptors = 512) {
        rte_eth_rxconf conf{};
        conf.rx_deferred_start = deferred ? 1 : 0;
        ASSERT_EQ(rte_eth_rx_queue_setup(port(), queue, descriptors, SOCKET_ID_ANY, &conf, pool()), 0) << queue;
    }
    void setup_tx(uint16_t queue, bool deferred = false) {
        rte_eth_txconf conf{};
        conf.tx_deferred_start = deferred ? 1 : 0;
        ASSERT_EQ(rte_eth_tx_queue_setup(port(), queue, 512, SOCKET_ID_ANY, &conf), 0) << queue;
    }

    /// Sends one packet of each of 64 flows. How many of them each queue then has.
    std::array<unsigned, kQueues> spread() {
        PacketSocket sender(ns(), "tap0", {.receive = false});
        const packet::Mac mac = ns().link("tap0").mac;
        for (unsigned i = 0; i < 64; ++i)
            // False: for a stopped queue.
            (void)sender.send(packet::Packet()
                                  .ether(mac)
                                  .ipv4(("10.0.0." + std::to_string(i)).c_str(), "10.0.1.1")
                                  .udp(1, 2)
                                  .bytes());
        std::array<unsigned, kQueues> counts{};
        for (uint16_t queue = 0; queue < kQueues; ++queue)
            counts[queue] = drain(queue);
        return counts;
    }

    uint16_t drain(uint16_t queue) {
        std::array<rte_mbuf *, 128> packets{};
        const uint16_t count = rte_eth_rx_burst(port(), queue, packets.data(), packets.size());
        rte_pktmbuf_free_bulk(packets.data(), count);
        return count;
    }

    [[nodiscard]] std::array<uint8_t, 2> states(uint16_t queue) const {
        rte_eth_rxq_info rx{};
        rte_eth_txq_info tx{};
        EXPECT_EQ(rte_eth_rx_queue_info_get(port(), queue, &rx), 0);
        EXPECT_EQ(rte_eth_tx_queue_info_get(port(), queue, &tx), 0);
        return {rx.queue_state, tx.queue_state};
    }

    bool transmits(uint16_t queue, PacketSocket &kernel) {
        rte_mbuf *sent = make_mbuf(packet::Packet().ether().next_type(0x88b5).payload(60U + queue).bytes());
        if (rte_eth_tx_burst(port(), queue, &sent, 1) != 1) {
            rte_pktmbuf_free(sent);
            return false;
        }
        const auto frame = kernel.receive();
        return frame && frame->bytes.size() == 14U + 60U + queue;
    }
};

constexpr uint8_t kStarted = RTE_ETH_QUEUE_STATE_STARTED;
constexpr uint8_t kStopped = RTE_ETH_QUEUE_STATE_STOPPED;
using States = std::array<uint8_t, 2>;

TEST_F(Queues, OneThatIsStoppedTakesNothingAndDisturbsNoOther) {
    configure_and_start(kQueues, kQueues, rss());
    const auto before = spread();
    for (const unsigned count : before)
        ASSERT_GT(count, 0U);
    for (uint16_t stopped = 0; stopped < kQueues; ++stopped) {
        SCOPED_TRACE(stopped);
        const uint64_t dropped = xstat("rx_queue_stopped");
        ASSERT_EQ(rte_eth_dev_rx_queue_stop(port(), stopped), 0);
        EXPECT_EQ(states(stopped), (States{kStopped, kStarted}));
        auto expected = before;
        expected[stopped] = 0;
        EXPECT_EQ(spread(), expected);
        EXPECT_EQ(xstat("rx_queue_stopped"), dropped + before[stopped]);
        ASSERT_EQ(rte_eth_dev_rx_queue_start(port(), stopped), 0);
        EXPECT_EQ(states(stopped), (States{kStarted, kStarted}));
        EXPECT_EQ(spread(), before);
    }
}

TEST_F(Queues, WhatWaitsInAQueueThatIsStoppedIsGone) {
    configure_and_start(1, 1, rss());
    PacketSocket sender(ns(), "tap0", {.receive = false});
    const packet::Bytes frame = packet::Packet().ether(ns().link("tap0").mac).next_type(0x88b5).payload(60).bytes();
    for (int i = 0; i < 5; ++i)
        ASSERT_TRUE(sender.send(frame));
    ASSERT_EQ(rte_eth_dev_rx_queue_stop(port(), 0), 0);
    EXPECT_EQ(drain(0), 0U);
    ASSERT_EQ(rte_eth_dev_rx_queue_start(port(), 0), 0);
    EXPECT_EQ(drain(0), 0U);
    ASSERT_TRUE(sender.send(frame));
    EXPECT_EQ(drain(0), 1U);
}

TEST_F(Queues, DeferredOnesStartWhenTheyAreTold) {
    rte_eth_conf conf = rss();
    ASSERT_EQ(rte_eth_dev_configure(port(), kQueues, kQueues, &conf), 0);
    for (uint16_t queue = 0; queue < kQueues; ++queue) {
        setup_rx(queue, queue == 2);
        setup_tx(queue, queue == 1);
    }
    for (int life = 0; life < 2; ++life) { // a restart defers them again
        ASSERT_EQ(rte_eth_dev_start(port()), 0);
        EXPECT_EQ(states(0), (States{kStarted, kStarted}));
        EXPECT_EQ(states(1), (States{kStarted, kStopped}));
        EXPECT_EQ(states(2), (States{kStopped, kStarted}));
        EXPECT_EQ(spread()[2], 0U);
        PacketSocket kernel(ns(), "tap0");
        EXPECT_FALSE(transmits(1, kernel));
        EXPECT_TRUE(transmits(2, kernel));
        ASSERT_EQ(rte_eth_dev_rx_queue_start(port(), 2), 0);
        ASSERT_EQ(rte_eth_dev_tx_queue_start(port(), 1), 0);
        EXPECT_GT(spread()[2], 0U);
        EXPECT_TRUE(transmits(1, kernel));
        ASSERT_EQ(rte_eth_dev_stop(port()), 0);
        EXPECT_EQ(states(0), (States{kStopped, kStopped}));
    }
}

TEST_F(Queues, AStoppedTxQueueLeavesPacketsToTheirSender) {
    configure_and_start(1, 2);
    ASSERT_EQ(rte_eth_dev_tx_queue_stop(port(), 1), 0);
    rte_mbuf *packet = make_mbuf(packet::Packet().ether().next_type(0x88b5).payload(60).bytes());
    EXPECT_EQ(rte_eth_tx_burst(port(), 1, &packet, 1), 0);
    EXPECT_EQ(rte_mbuf_refcnt_read(packet), 1);
    PacketSocket kernel(ns(), "tap0");
    ASSERT_EQ(rte_eth_dev_tx_queue_start(port(), 1), 0);
    EXPECT_EQ(rte_eth_tx_burst(port(), 1, &packet, 1), 1);
    EXPECT_TRUE(kernel.receive());
}

TEST_F(Queues, MayBeSetUpAnewWhileThePortRuns) {
    rte_eth_dev_info info{};
    ASSERT_EQ(rte_eth_dev_info_get(port(), &info), 0);
    EXPECT_TRUE(info.dev_capa & RTE_ETH_DEV_CAPA_RUNTIME_RX_QUEUE_SETUP);
    EXPECT_TRUE(info.dev_capa & RTE_ETH_DEV_CAPA_RUNTIME_TX_QUEUE_SETUP);
    configure_and_start(kQueues, kQueues, rss());
    const auto before = spread();
    rte_mempool *other = rte_pktmbuf_pool_create("other", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    ASSERT_NE(other, nullptr);
    EXPECT_EQ(rte_eth_rx_queue_setup(port(), 1, 512, SOCKET_ID_ANY, nullptr, other), -EBUSY) << "it runs";
    for (const uint16_t descriptors : {uint16_t{1024}, uint16_t{256}, uint16_t{256}}) {
        SCOPED_TRACE(descriptors);
        ASSERT_EQ(rte_eth_dev_rx_queue_stop(port(), 1), 0);
        ASSERT_EQ(rte_eth_rx_queue_setup(port(), 1, descriptors, SOCKET_ID_ANY, nullptr, other), 0);
        ASSERT_EQ(rte_eth_dev_rx_queue_start(port(), 1), 0);
        EXPECT_EQ(spread(), before);
        rte_eth_rxq_info queue{};
        ASSERT_EQ(rte_eth_rx_queue_info_get(port(), 1, &queue), 0);
        EXPECT_EQ(queue.nb_desc, descriptors);
        EXPECT_EQ(queue.mp, other);
    }
    PacketSocket kernel(ns(), "tap0");
    ASSERT_EQ(rte_eth_dev_tx_queue_stop(port(), 3), 0);
    setup_tx(3);
    ASSERT_EQ(rte_eth_dev_tx_queue_start(port(), 3), 0);
    EXPECT_TRUE(transmits(3, kernel));
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    ASSERT_EQ(rte_eth_dev_start(port()), 0);
    EXPECT_EQ(spread(), before);
}

TEST_F(Queues, MayBeSetUpForTheFirstTimeWhileThePortRuns) {
    rte_eth_conf conf = rss();
    ASSERT_EQ(rte_eth_dev_configure(port(), kQueues, kQueues, &conf), 0);
    for (uint16_t queue = 0; queue < kQueues; ++queue) {
        setup_tx(queue);
        if (queue != 3)
            setup_rx(queue);
    }
    ASSERT_EQ(rte_eth_dev_start(port()), 0);
    PacketSocket sender(ns(), "tap0", {.receive = false});
    const packet::Mac mac = ns().link("tap0").mac;
    for (unsigned i = 0; i < 64; ++i)
        (void)sender.send(
            packet::Packet().ether(mac).ipv4(("10.0.0." + std::to_string(i)).c_str(), "10.0.1.1").udp(1, 2).bytes());
    for (uint16_t queue = 0; queue < 3; ++queue)
        EXPECT_GT(drain(queue), 0U);
    EXPECT_GT(xstat("rx_queue_stopped"), 0U);
    setup_rx(3);
    ASSERT_EQ(rte_eth_dev_rx_queue_start(port(), 3), 0);
    for (const unsigned count : spread())
        EXPECT_GT(count, 0U);
}

TEST_F(Queues, TellWhatTheyWereSetUpWith) {
    rte_eth_conf conf = rss();
    conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
    conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    ASSERT_EQ(rte_eth_dev_configure(port(), 2, 2, &conf), 0);
    rte_eth_rxconf scattered{};
    scattered.offloads = conf.rxmode.offloads | RTE_ETH_RX_OFFLOAD_SCATTER;
    ASSERT_EQ(rte_eth_rx_queue_setup(port(), 0, 512, SOCKET_ID_ANY, nullptr, pool()), 0);
    ASSERT_EQ(rte_eth_rx_queue_setup(port(), 1, 100, SOCKET_ID_ANY, &scattered, pool()), 0);
    setup_tx(0);
    setup_tx(1, true);
    ASSERT_EQ(rte_eth_dev_start(port()), 0);

    std::array<rte_eth_rxq_info, 2> rx{};
    std::array<rte_eth_txq_info, 2> tx{};
    for (uint16_t queue = 0; queue < 2; ++queue) {
        ASSERT_EQ(rte_eth_rx_queue_info_get(port(), queue, &rx[queue]), 0);
        ASSERT_EQ(rte_eth_tx_queue_info_get(port(), queue, &tx[queue]), 0);
        EXPECT_EQ(rx[queue].mp, pool());
        EXPECT_EQ(rx[queue].rx_buf_size, RTE_MBUF_DEFAULT_DATAROOM);
        EXPECT_TRUE(tx[queue].conf.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
        EXPECT_EQ(tx[queue].nb_desc, 512);
    }
    EXPECT_EQ(rx[0].nb_desc, 512);
    EXPECT_EQ(rx[1].nb_desc, 100);
    EXPECT_EQ(rx[0].scattered_rx, 0);
    EXPECT_EQ(rx[1].scattered_rx, 1);
    EXPECT_EQ(rx[0].conf.offloads, conf.rxmode.offloads);
    EXPECT_EQ(rx[1].conf.offloads, scattered.offloads);
    EXPECT_EQ(tx[0].conf.tx_deferred_start, 0);
    EXPECT_EQ(tx[1].conf.tx_deferred_start, 1);

    rte_eth_burst_mode mode{};
    const std::string way = tested_rx_mode() == "ring" ? "BPF ring" : "Tap fd";
    ASSERT_EQ(rte_eth_rx_burst_mode_get(port(), 0, &mode), 0);
    EXPECT_EQ(mode.info, way + ", VLAN strip");
    ASSERT_EQ(rte_eth_rx_burst_mode_get(port(), 1, &mode), 0);
    EXPECT_EQ(mode.info, way + ", scattered, VLAN strip");
    ASSERT_EQ(rte_eth_tx_burst_mode_get(port(), 0, &mode), 0);
    EXPECT_STREQ(mode.info, "Tap write");
}

TEST_F(Queues, CountWhatWaitsInThem) {
    configure_and_start(1, 1, 0, 64);
    if (tested_rx_mode() == "fd") {
        EXPECT_EQ(rte_eth_rx_queue_count(port(), 0), -ENOTSUP) << "the kernel does not tell";
        EXPECT_EQ(rte_eth_rx_descriptor_status(port(), 0, 0), -ENOTSUP);
        return;
    }
    PacketSocket sender(ns(), "tap0", {.receive = false});
    const packet::Bytes frame = packet::Packet().ether(ns().link("tap0").mac).next_type(0x88b5).payload(60).bytes();
    for (int waiting = 0; waiting < 5; ++waiting) {
        EXPECT_EQ(rte_eth_rx_queue_count(port(), 0), waiting);
        for (uint16_t offset = 0; offset < 64; ++offset)
            ASSERT_EQ(rte_eth_rx_descriptor_status(port(), 0, offset),
                      offset < waiting ? RTE_ETH_RX_DESC_DONE : RTE_ETH_RX_DESC_AVAIL);
        ASSERT_TRUE(sender.send(frame));
    }
    EXPECT_EQ(rte_eth_rx_descriptor_status(port(), 0, 64), -EINVAL);
    for (int i = 0; i < 200; ++i) // small packets: more of them than descriptors
        ASSERT_TRUE(sender.send(frame));
    EXPECT_EQ(rte_eth_rx_queue_count(port(), 0), 64);
    while (drain(0) > 0) {
    }
    EXPECT_EQ(rte_eth_rx_queue_count(port(), 0), 0);
    EXPECT_EQ(rte_eth_rx_descriptor_status(port(), 0, 0), RTE_ETH_RX_DESC_AVAIL);
}

TEST_F(Queues, OfTxAreDoneWhenABurstReturns) {
    configure_and_start(1, 1);
    EXPECT_EQ(rte_eth_tx_descriptor_status(port(), 0, 0), RTE_ETH_TX_DESC_DONE);
    EXPECT_EQ(rte_eth_tx_descriptor_status(port(), 0, 511), RTE_ETH_TX_DESC_DONE);
    EXPECT_EQ(rte_eth_tx_descriptor_status(port(), 0, 512), -EINVAL);
    EXPECT_EQ(rte_eth_tx_done_cleanup(port(), 0, 0), 0);
}

/// An added offload that the running burst function has no code for.
TEST_F(Queues, RefuseAnOffloadThatTheRunningPortCannotAdd) {
    configure_and_start(2, 2, rss());
    ASSERT_EQ(rte_eth_dev_rx_queue_stop(port(), 1), 0);
    rte_eth_rxconf conf{};
    conf.offloads = RTE_ETH_RX_OFFLOAD_CHECKSUM | RTE_ETH_RX_OFFLOAD_RSS_HASH;
    const int status = rte_eth_rx_queue_setup(port(), 1, 512, SOCKET_ID_ANY, &conf, pool());
    EXPECT_EQ(status, tested_rx_mode() == "ring" ? -EBUSY : 0);
    setup_rx(1);
    EXPECT_EQ(rte_eth_dev_rx_queue_start(port(), 1), 0);
}

TEST_F(Queues, MayLoseAnOffloadThatTheRunningPortHas) {
    rte_eth_conf conf = rss();
    ASSERT_EQ(rte_eth_dev_configure(port(), 2, 2, &conf), 0);
    rte_eth_rxconf with_checksum{};
    with_checksum.offloads = RTE_ETH_RX_OFFLOAD_CHECKSUM | RTE_ETH_RX_OFFLOAD_RSS_HASH;
    setup_rx(0);
    ASSERT_EQ(rte_eth_rx_queue_setup(port(), 1, 512, SOCKET_ID_ANY, &with_checksum, pool()), 0);
    setup_tx(0);
    setup_tx(1);
    ASSERT_EQ(rte_eth_dev_start(port()), 0);
    ASSERT_EQ(rte_eth_dev_rx_queue_stop(port(), 1), 0);
    setup_rx(1);
    ASSERT_EQ(rte_eth_dev_rx_queue_stop(port(), 0), 0);
    EXPECT_EQ(rte_eth_rx_queue_setup(port(), 0, 512, SOCKET_ID_ANY, &with_checksum, pool()), 0);
}

} // namespace
} // namespace tapflow::test
