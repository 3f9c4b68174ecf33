// SPDX-License-Identifier: BSD-3-Clause
// Rx interrupts: an application that sleeps is woken by every packet.
#include "pmd/ethdev_fixture.h"
#include "support/effort.h"
#include "support/seed.h"

#include <rte_epoll.h>
#include <rte_interrupts.h>

#include <poll.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <thread>

namespace tapflow::test {
namespace {

class Interrupts : public Ethdev {
  protected:
    void start(uint16_t queues, uint16_t descriptors = 512) {
        rte_eth_conf conf{};
        conf.intr_conf.rxq = 1;
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
        configure_and_start(queues, 1, conf, descriptors);
    }

    [[nodiscard]] packet::Bytes frame(uint16_t flow = 0) const {
        return packet::Packet().ether(ns().link("tap0").mac).ipv4("10.0.0.1", "10.0.0.2").udp(flow, 9).bytes();
    }

    uint16_t receive(uint16_t queue) {
        std::array<rte_mbuf *, 32> packets{};
        const uint16_t count = rte_eth_rx_burst(port(), queue, packets.data(), packets.size());
        rte_pktmbuf_free_bulk(packets.data(), count);
        return count;
    }

    /// The queues, by their numbers, that have woken this thread; none: time is up.
    static std::vector<uintptr_t> sleep(milliseconds limit = kDefaultTimeout) {
        std::array<rte_epoll_event, 16> events{};
        const int count =
            rte_epoll_wait(RTE_EPOLL_PER_THREAD, events.data(), events.size(), static_cast<int>(limit.count()));
        std::vector<uintptr_t> queues;
        for (int i = 0; i < count; ++i)
            queues.push_back(reinterpret_cast<uintptr_t>(events[static_cast<size_t>(i)].epdata.data));
        return queues;
    }

    void register_queue(uint16_t queue) {
        ASSERT_EQ(rte_eth_dev_rx_intr_ctl_q(port(), queue, RTE_EPOLL_PER_THREAD, RTE_INTR_EVENT_ADD,
                                            reinterpret_cast<void *>(uintptr_t{queue})),
                  0);
    }

    void wake_by_each_packet(unsigned packets);
};

TEST_F(Interrupts, ComeForTheQueueThatHasThePacket) {
    constexpr uint16_t kQueues = 4;
    start(kQueues);
    PacketSocket sender(ns(), "tap0", {.receive = false});
    for (uint16_t queue = 0; queue < kQueues; ++queue) {
        register_queue(queue);
        ASSERT_EQ(rte_eth_dev_rx_intr_enable(port(), queue), 0);
    }
    EXPECT_EQ(sleep(milliseconds(0)), std::vector<uintptr_t>{}) << "nothing has come";
    std::array<unsigned, kQueues> woken{};
    for (uint16_t flow = 0; flow < 64; ++flow) {
        ASSERT_TRUE(sender.send(frame(flow)));
        const auto queues = sleep();
        ASSERT_EQ(queues.size(), 1U);
        const auto queue = static_cast<uint16_t>(queues[0]);
        ASSERT_EQ(rte_eth_dev_rx_intr_disable(port(), queue), 0);
        EXPECT_EQ(receive(queue), 1U);
        ASSERT_EQ(rte_eth_dev_rx_intr_enable(port(), queue), 0);
        ++woken[queue];
    }
    for (const unsigned times : woken)
        EXPECT_GT(times, 0U);
}

TEST_F(Interrupts, WakeAlsoForWhatCameBeforeTheyWereEnabled) {
    start(1);
    register_queue(0);
    PacketSocket sender(ns(), "tap0", {.receive = false});
    ASSERT_TRUE(sender.send(frame()));
    EXPECT_TRUE(sleep(milliseconds(0)).empty()) << "not enabled";
    ASSERT_EQ(rte_eth_dev_rx_intr_enable(port(), 0), 0);
    EXPECT_EQ(sleep().size(), 1U);
    ASSERT_EQ(rte_eth_dev_rx_intr_disable(port(), 0), 0);
    EXPECT_EQ(receive(0), 1U);
    // All has been read: it is no reason to wake up again.
    ASSERT_EQ(rte_eth_dev_rx_intr_enable(port(), 0), 0);
    EXPECT_TRUE(sleep(milliseconds(0)).empty());
}

TEST_F(Interrupts, AreSilentWhileDisabled) {
    start(1);
    register_queue(0);
    PacketSocket sender(ns(), "tap0", {.receive = false});
    ASSERT_EQ(rte_eth_dev_rx_intr_enable(port(), 0), 0);
    ASSERT_EQ(rte_eth_dev_rx_intr_disable(port(), 0), 0);
    for (int i = 0; i < 10; ++i)
        ASSERT_TRUE(sender.send(frame()));
    EXPECT_TRUE(sleep(milliseconds(0)).empty());
    EXPECT_EQ(receive(0), 10U);
}

TEST_F(Interrupts, HaveADescriptorThatCanBePolledByItself) {
    start(2);
    pollfd waiting{rte_eth_dev_rx_intr_ctl_q_get_fd(port(), 1), POLLIN, 0};
    ASSERT_GE(waiting.fd, 0);
    PacketSocket sender(ns(), "tap0", {.receive = false});
    ASSERT_EQ(rte_eth_dev_rx_intr_enable(port(), 1), 0);
    ASSERT_EQ(poll(&waiting, 1, 0), 0);
    uint16_t flow = 0;
    while (poll(&waiting, 1, 0) == 0) {
        ASSERT_LT(flow, 100U);
        ASSERT_TRUE(sender.send(frame(flow++)));
        (void)receive(0);
    }
    EXPECT_EQ(receive(1), 1U);
}

TEST_F(Interrupts, LeaveNoDescriptorBehind) {
    const auto descriptors = [] {
        const std::filesystem::directory_iterator open("/proc/self/fd");
        return std::distance(begin(open), end(open));
    };
    start(4);
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    EXPECT_EQ(rte_eth_dev_rx_intr_ctl_q_get_fd(port(), 0), -1);
    const auto before = descriptors();
    for (int i = 0; i < 20; ++i) {
        ASSERT_EQ(rte_eth_dev_start(port()), 0);
        for (uint16_t queue = 0; queue < 4; ++queue) {
            register_queue(queue);
            ASSERT_EQ(rte_eth_dev_rx_intr_enable(port(), queue), 0);
        }
        ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    }
    EXPECT_LE(descriptors(), before + 1) << "but EAL's own for this thread";
}

/// The sleeps of a port's lives are told from each other: what woke the former one's reader has not woken this one's.
TEST_F(Interrupts, WakeInEveryLifeOfAPort) {
    start(1);
    PacketSocket sender(ns(), "tap0", {.receive = false});
    for (int life = 0; life < 3; ++life) {
        SCOPED_TRACE(life);
        register_queue(0);
        ASSERT_EQ(rte_eth_dev_rx_intr_enable(port(), 0), 0);
        EXPECT_TRUE(sleep(milliseconds(0)).empty()); // whoever sleeps is told by the sender alone
        ASSERT_TRUE(sender.send(frame()));
        EXPECT_EQ(sleep().size(), 1U);
        ASSERT_EQ(rte_eth_dev_rx_intr_disable(port(), 0), 0);
        EXPECT_EQ(receive(0), 1U);
        ASSERT_EQ(rte_eth_dev_stop(port()), 0);
        ASSERT_EQ(rte_eth_dev_start(port()), 0);
    }
}

TEST_F(Interrupts, AreThereOnlyWhereTheyAreAskedFor) {
    configure_and_start(1);
    EXPECT_EQ(rte_eth_dev_rx_intr_enable(port(), 0), -ENOTSUP);
    EXPECT_EQ(rte_eth_dev_rx_intr_disable(port(), 0), -ENOTSUP);
}

/// Pauses for a time that differs from one call to the next.
void pause(std::mt19937 &random) {
    for (uint32_t left = random() % 512; left > 0; --left)
        rte_pause();
}

/// The sender is told to send while the reader goes to sleep, so that the two meet at every point of it.
void Interrupts::wake_by_each_packet(unsigned packets) {
    std::atomic<unsigned> asked{0};
    const packet::Bytes bytes = frame();
    auto random = seeded_random();
    std::jthread sender([&, pauses = std::mt19937(static_cast<uint32_t>(random()))]() mutable {
        pin_to({cpus().back()});
        PacketSocket socket(ns(), "tap0", {.receive = false});
        for (unsigned sent = 0; sent < packets; ++sent) {
            while (asked.load(std::memory_order_acquire) == sent)
                rte_pause();
            if (asked.load(std::memory_order_relaxed) > packets)
                return;
            pause(pauses);
            EXPECT_TRUE(socket.send(bytes));
        }
    });
    std::mt19937 pauses(static_cast<uint32_t>(random()));
    for (unsigned received = 0; received < packets; ++received) {
        asked.store(received + 1, std::memory_order_release);
        pause(pauses);
        EXPECT_EQ(rte_eth_dev_rx_intr_enable(port(), 0), 0);
        const bool woken = !sleep().empty();
        EXPECT_EQ(rte_eth_dev_rx_intr_disable(port(), 0), 0);
        uint16_t count = 0;
        while (woken && count == 0)
            count = receive(0); // the wake-up may come while the packet is being copied
        if (count != 1) {
            ADD_FAILURE() << "packet " << received << ": " << (woken ? "is not alone" : "did not wake its reader");
            asked.store(packets + 1, std::memory_order_release);
            return;
        }
    }
}

/// TAPFLOW_TEST_EFFORT=400 makes it the whole of one. By fd nobody but the kernel wakes.
TEST_F(Interrupts, AQuarterOfAMillionPacketsWakeTheirReader) {
    start(1);
    register_queue(0);
    wake_by_each_packet(effort(tested_rx_mode() == "ring" ? 250'000 : 25'000));
}

/// The least ring, which a few packets fill: waking needs room in it.
TEST_F(Interrupts, WakeTheReaderOfASmallRing) {
    start(1, 64);
    register_queue(0);
    wake_by_each_packet(effort(20'000));
}

} // namespace
} // namespace tapflow::test
