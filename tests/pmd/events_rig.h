// SPDX-License-Identifier: BSD-3-Clause
// A port in the test's own process, the events that it raises, and what comes through it.
#pragma once

#include "pmd/flow_ethdev.h"
#include "pmd/remote_rig.h"

#include <rte_alarm.h>
#include <rte_bus_vdev.h>

#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace tapflow::test {

inline size_t open_fds() {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

/// Tests open the port themselves, by open_local() or open_remote().
class LinkEvents : public FlowEthdev {
  protected:
    void SetUp() override {}

    void open_local(const std::string &more = {}) { open("net_tap0,iface=tap0" + more); }
    /// The remote "eth3" has its peer "peer3" in the namespace `outside`.
    void open_remote(const std::string &more = {}) {
        add_veth(ns(), "eth3", outside, "peer3");
        open("net_tap0,iface=tap0,remote=eth3" + more);
    }

    enum Wanted : unsigned { kNone = 0, kLsc = 1, kRmv = 2 };
    void configure_for(unsigned wanted, uint16_t queues = 1) {
        rte_eth_conf conf{};
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
        conf.intr_conf.lsc = (wanted & kLsc) != 0;
        conf.intr_conf.rmv = (wanted & kRmv) != 0;
        configure_and_start(queues, 1, conf);
    }
    /// Makes "net_tap1" and starts it with a queue each way and both events asked for.
    void start_second(const std::string &arguments, uint16_t &second) {
        ASSERT_EQ(rte_vdev_init("net_tap1", arguments.c_str()), 0);
        ASSERT_EQ(rte_eth_dev_get_port_by_name("net_tap1", &second), 0);
        rte_eth_conf conf{};
        conf.intr_conf.lsc = 1;
        conf.intr_conf.rmv = 1;
        ASSERT_EQ(rte_eth_dev_configure(second, 1, 1, &conf), 0);
        ASSERT_EQ(rte_eth_rx_queue_setup(second, 0, 64, SOCKET_ID_ANY, nullptr, pool()), 0);
        ASSERT_EQ(rte_eth_tx_queue_setup(second, 0, 64, SOCKET_ID_ANY, nullptr), 0);
        ASSERT_EQ(rte_eth_dev_start(second), 0);
    }
    void start_for(unsigned wanted, uint16_t queues = 1) {
        configure_for(wanted, queues);
        for (const auto type : {RTE_ETH_EVENT_INTR_LSC, RTE_ETH_EVENT_INTR_RMV})
            ASSERT_EQ(rte_eth_dev_callback_register(port(), type, on_event, this), 0);
    }

    using Events = std::vector<std::string>;
    /// What is raised from the last call on: "up" and "down" by the status that the callback saw, "removed". The
    /// kernel itself takes up to a second to tell of a carrier.
    void expect_events(const Events &expected) {
        EXPECT_TRUE(wait_until([&] { return heard_so_far() >= expected.size(); }));
        settle();
        const std::lock_guard lock(mutex_);
        EXPECT_EQ(std::exchange(heard_, {}), expected);
    }
    [[nodiscard]] size_t heard_so_far() {
        const std::lock_guard lock(mutex_);
        return heard_.size();
    }
    /// Returns when EAL's interrupt thread has handled what the kernel had said before: the first alarm may share a
    /// turn with that, and comes before or behind it.
    static void settle() {
        for (int i = 0; i < 3; ++i) {
            std::promise<void> turn;
            ASSERT_EQ(rte_eal_alarm_set(
                          1, [](void *promise) { static_cast<std::promise<void> *>(promise)->set_value(); }, &turn),
                      0);
            ASSERT_EQ(turn.get_future().wait_for(kDefaultTimeout), std::future_status::ready);
        }
    }

    [[nodiscard]] bool link_is_up() const {
        rte_eth_link link{};
        EXPECT_EQ(rte_eth_link_get_nowait(port(), &link), 0);
        return link.link_status == RTE_ETH_LINK_UP;
    }
    [[nodiscard]] bool is_removed() const { return rte_eth_dev_is_removed(port()) == 1; }
    [[nodiscard]] unsigned if_index() const {
        rte_eth_dev_info info{};
        EXPECT_EQ(rte_eth_dev_info_get(port(), &info), 0);
        return info.if_index;
    }

    /// Where a packet came in, and with what.
    struct Arrival {
        uint16_t queue = 0;
        uint32_t hash = 0;
        uint32_t mark = 0;
        bool operator==(const Arrival &) const = default;
        friend std::ostream &operator<<(std::ostream &out, const Arrival &arrival) {
            return out << "queue " << arrival.queue << ", hash " << arrival.hash << ", mark " << arrival.mark;
        }
    };
    /// By the UDP source port of each of 64 flows sent from `sender` to the port.
    std::map<unsigned, Arrival> arrivals(PacketSocket &sender, const packet::Mac &to, uint16_t queues) {
        constexpr uint16_t kFlows = 64;
        for (uint16_t i = 0; i < kFlows; ++i)
            EXPECT_TRUE(sender.send(
                packet::Packet().ether(to).ipv4("10.0.0.1", "10.0.0.2").udp(i, i % 8 ? 9 : 53).payload(20).bytes()));
        std::map<unsigned, Arrival> came;
        EXPECT_TRUE(wait_until([&] {
            poll_queues(queues, [&](const rte_mbuf &mbuf, uint16_t queue) {
                const auto *bytes = rte_pktmbuf_mtod(&mbuf, const uint8_t *);
                if (mbuf.pkt_len < 62 || bytes[12] != 0x08 || bytes[23] != 17)
                    return;
                const bool marked = mbuf.ol_flags & RTE_MBUF_F_RX_FDIR_ID;
                const Arrival arrival{queue, mbuf.hash.rss, marked ? mbuf.hash.fdir.hi : 0};
                EXPECT_TRUE(came.emplace(bytes[34] << 8U | bytes[35], arrival).second) << "twice";
            });
            return came.size() == kFlows;
        })) << came.size();
        return came;
    }

    /// The application sends a frame; whether it comes out at `receiver`.
    testing::AssertionResult sends_to(PacketSocket &receiver) {
        const MacAddress source{{0x02, 0, 0, 0, 0x0e, ++sources_}};
        const packet::Bytes frame = probe(packet::Mac("02:00:00:00:0e:ff"), source);
        rte_mbuf *mbuf = make_mbuf(frame);
        if (rte_eth_tx_burst(port(), 0, &mbuf, 1) != 1)
            return testing::AssertionFailure() << "the port did not take it";
        while (const auto received = receiver.receive())
            if (received->bytes == frame)
                return testing::AssertionSuccess();
        return testing::AssertionFailure() << "it did not arrive";
    }

    /// Called in the application's callback, behind what records the event.
    std::function<void(rte_eth_event_type)> then;
    NetNs outside;

  private:
    static int on_event(uint16_t port, rte_eth_event_type type, void *self, void *) {
        auto &rig = *static_cast<LinkEvents *>(self);
        rte_eth_link link{};
        EXPECT_EQ(rte_eth_link_get_nowait(port, &link), 0);
        {
            const std::lock_guard lock(rig.mutex_);
            rig.heard_.emplace_back(type == RTE_ETH_EVENT_INTR_RMV ? "removed" : link.link_status ? "up" : "down");
        }
        if (rig.then)
            rig.then(type);
        return 0;
    }

    std::mutex mutex_;
    Events heard_;
    uint8_t sources_ = 0;
};

} // namespace tapflow::test
