// SPDX-License-Identifier: BSD-3-Clause
// COUNT: every packet once, from whatever CPU it comes, and what a reset takes away has been seen.
#include "pmd/flow_ethdev.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr uint16_t kQueues = 2;

class FlowCounts : public FlowEthdev {
  protected:
    /// Sends the frame `times` times, whether or not the port has room for it: its rules see it all the same.
    void send(const Bytes &frame, unsigned times) const {
        PacketSocket socket(ns(), "tap0", {.receive = false});
        for (unsigned i = 0; i < times; ++i)
            (void)socket.send(frame);
    }

    [[nodiscard]] Bytes udp(uint16_t number, size_t payload = 20) const {
        return Packet().ether(mac()).ipv4("10.0.0.1", "10.0.0.2").udp(1, number).payload(payload).bytes();
    }

    /// Two threads, each on a CPU of its own if there are two, send `times` packets each; `meanwhile` runs until all
    /// are sent.
    template <typename Meanwhile> void send_from_two_cpus(const Bytes &frame, unsigned times, Meanwhile meanwhile) {
        std::atomic<unsigned> finished{0};
        std::vector<std::thread> senders;
        for (size_t i = 0; i < 2; ++i)
            senders.emplace_back([&, i] {
                pin_to({cpus()[i % cpus().size()]});
                send(frame, times);
                ++finished;
            });
        do
            meanwhile();
        while (finished < senders.size());
        for (std::thread &sender : senders)
            sender.join();
    }

    [[nodiscard]] rte_flow_action_handle *shared_counter() const {
        rte_flow_indir_action_conf where{};
        where.ingress = 1;
        const rte_flow_action action{.type = RTE_FLOW_ACTION_TYPE_COUNT, .conf = nullptr};
        rte_flow_error error{};
        auto *handle = rte_flow_action_handle_create(port(), &where, &action, &error);
        EXPECT_NE(handle, nullptr);
        return handle;
    }

    [[nodiscard]] Count query_shared(rte_flow_action_handle *handle, bool reset = false) const {
        rte_flow_query_count count{};
        count.reset = reset;
        rte_flow_error error{};
        EXPECT_EQ(rte_flow_action_handle_query(port(), handle, &count, &error), 0);
        return {count.hits, count.bytes};
    }

    void read_all() {
        while (poll_queues(kQueues, [](rte_mbuf &, uint16_t) {}) != 0) {
        }
    }
};

constexpr unsigned kPackets = 20'000;

Count times(unsigned packets, const Bytes &frame) { return {packets, uint64_t{packets} * frame.size()}; }

TEST_F(FlowCounts, AreExactOnTwoCpusAtOnce) {
    configure_and_start(kQueues);
    rte_flow *taken = create(to_udp_port(80).action(RTE_FLOW_ACTION_TYPE_COUNT).queue(1));
    send_from_two_cpus(udp(80), kPackets, [&] { read_all(); });
    EXPECT_EQ(query(taken), times(2 * kPackets, udp(80)));
}

/// Nobody reads, so that both CPUs do nothing but count.
TEST_F(FlowCounts, OfDroppedPacketsAreExactOnTwoCpusAtOnce) {
    constexpr unsigned kMany = 400'000;
    configure_and_start(kQueues);
    rte_flow *dropped = create(to_udp_port(81).action(RTE_FLOW_ACTION_TYPE_COUNT).action(RTE_FLOW_ACTION_TYPE_DROP));
    send_from_two_cpus(udp(81), kMany, [] { std::this_thread::sleep_for(milliseconds(1)); });
    EXPECT_EQ(query(dropped), times(2 * kMany, udp(81)));
}

TEST_F(FlowCounts, AResetUnderTrafficLosesNothing) {
    configure_and_start(kQueues);
    rte_flow *flow = create(to_udp_port(80).action(RTE_FLOW_ACTION_TYPE_COUNT).action(RTE_FLOW_ACTION_TYPE_DROP));
    Count total;
    unsigned between = 0;
    send_from_two_cpus(udp(80), kPackets, [&] {
        const Count count = query(flow, true);
        between += count.packets > 0;
        total += count;
    });
    total += query(flow, true);
    EXPECT_EQ(total, times(2 * kPackets, udp(80)));
    EXPECT_GT(between, 1U);
    EXPECT_EQ(query(flow), Count{});
}

TEST_F(FlowCounts, AreResetOnlyOnRequest) {
    configure_and_start(kQueues);
    rte_flow *flow = create(to_udp_port(80).action(RTE_FLOW_ACTION_TYPE_COUNT).queue(0));
    send(udp(80), 3);
    EXPECT_EQ(query(flow), times(3, udp(80)));
    EXPECT_EQ(query(flow, true), times(3, udp(80)));
    send(udp(80), 2);
    EXPECT_EQ(query(flow), times(2, udp(80)));
}

/// A rule is not given what another counted.
TEST_F(FlowCounts, BeginAtZeroInEachNewRule) {
    configure_and_start(kQueues);
    for (int round = 0; round < 100; ++round) {
        rte_flow *flow = create(to_udp_port(80).action(RTE_FLOW_ACTION_TYPE_COUNT).queue(0));
        send(udp(80), 2);
        EXPECT_EQ(query(flow), times(2, udp(80)));
        destroy(flow);
        read_all();
    }
}

struct Super {
    Packet headers;
    VnetHeader::GsoType type;
};

std::vector<Super> super_frames(const packet::Mac &mac) {
    const Packet v4 = Packet().ether(mac).ipv4("10.0.0.1", "10.0.0.2");
    const Packet v6 = Packet().ether(mac).vlan(5).ipv6("fd00::1", "fd00::2");
    const packet::Tcp options{.src_port = 1, .dst_port = 80, .options = Bytes(12, 1)};
    return {{Packet(v4).udp(1, 80), VnetHeader::kGsoUdpL4},
            {Packet(v6).udp(1, 80), VnetHeader::kGsoUdpL4},
            {Packet(v4).tcp(options), VnetHeader::kGsoTcpV4},
            {Packet(v6).tcp(1, 80), VnetHeader::kGsoTcpV6}};
}

/// Super-frames of a program with virtio headers, as a virtual machine's: the kernel has not counted their segments.
class SuperFrameCounts : public FlowCounts {
  protected:
    void expect_wire_counts(const NetNs &netns, const std::string &interface, const packet::Mac &to) {
        configure_and_start(kQueues);
        FlowRequest all;
        all.item(RTE_FLOW_ITEM_TYPE_ETH).action(RTE_FLOW_ACTION_TYPE_COUNT).queue(0);
        rte_flow *flow = create(all);
        PacketSocket socket(netns, interface, {.receive = false, .vnet_hdr = true});
        constexpr uint16_t kMss = 700;
        for (const Super &super : super_frames(to))
            for (const size_t size : {1400U, 2101U, 30000U}) {
                const Packet packet = Packet(super.headers).partial_checksum().payload(size);
                ASSERT_TRUE(socket.send(packet.bytes(), gso_request(packet, super.type, kMss)));
                const uint64_t segments = (size + kMss - 1) / kMss;
                read(static_cast<unsigned>(segments));
                EXPECT_EQ(query(flow, true), (Count{segments, size + segments * super.headers.bytes().size()}));
            }
    }

    void read(unsigned count) {
        unsigned came = 0;
        EXPECT_TRUE(wait_until([&] { return (came += poll_queues(kQueues, [](rte_mbuf &, uint16_t) {})) >= count; }));
        EXPECT_EQ(came, count);
    }
};

TEST_F(SuperFrameCounts, AreOfPacketsAsOnTheWire) { expect_wire_counts(ns(), "tap0", mac()); }

class RemoteSuperFrameCounts : public SuperFrameCounts {
  protected:
    void SetUp() override {
        add_veth(ns(), "eth3", outside, "peer3");
        open("net_tap0,iface=tap0,remote=eth3");
    }

    NetNs outside;
};

TEST_F(RemoteSuperFrameCounts, AreOfPacketsAsOnTheWire) { expect_wire_counts(outside, "peer3", mac()); }

/// The application's own, with TSO.
TEST_F(SuperFrameCounts, OfEgressRulesAreOfPacketsAsOnTheWire) {
    configure_and_start(1, 1,
                        RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
                            RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
    FlowRequest all;
    all.attr = {};
    all.attr.egress = 1;
    rte_flow *flow = create(all.item(RTE_FLOW_ITEM_TYPE_ETH).action(RTE_FLOW_ACTION_TYPE_COUNT));
    const Packet headers = Packet().ether("02:00:00:00:00:22").ipv4("10.0.0.1", "10.0.0.2").tcp(1, 80);
    constexpr size_t kSize = 30000;
    const Packet packet = Packet(headers).partial_checksum().payload(kSize);
    rte_mbuf *mbuf = make_mbuf(packet);
    ASSERT_NE(mbuf, nullptr);
    mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM;
    mbuf->tso_segsz = 1000;
    ASSERT_EQ(rte_eth_tx_burst(port(), 0, &mbuf, 1), 1);
    EXPECT_EQ(query(flow), (Count{30, kSize + 30 * headers.bytes().size()}));
}

TEST_F(FlowCounts, OfOneIndirectActionAreOfAllItsRules) {
    configure_and_start(kQueues);
    auto *shared = shared_counter();
    rte_flow *first = create(to_udp_port(80).action(RTE_FLOW_ACTION_TYPE_INDIRECT, shared).queue(0));
    rte_flow *second =
        create(to_udp_port(81).action(RTE_FLOW_ACTION_TYPE_INDIRECT, shared).action(RTE_FLOW_ACTION_TYPE_DROP));
    rte_flow *own = create(to_udp_port(82).action(RTE_FLOW_ACTION_TYPE_COUNT).queue(0));
    send(udp(80), 3);
    send(udp(81), 4);
    send(udp(82), 5);
    EXPECT_EQ(query_shared(shared), times(7, udp(80)));
    EXPECT_EQ(query(own), times(5, udp(82)));
    destroy(first);
    send(udp(80), 1);
    send(udp(81), 1);
    EXPECT_EQ(query_shared(shared, true), times(8, udp(80)));
    send(udp(81), 2);
    EXPECT_EQ(query_shared(shared), times(2, udp(80)));
    destroy(second);
    rte_flow_error error{};
    EXPECT_EQ(rte_flow_action_handle_destroy(port(), shared, &error), 0);
}

/// Each rule on a packet's way counts it, and one that does nothing else passes it on.
TEST_F(FlowCounts, PassThePacketOn) {
    configure_and_start(kQueues);
    rte_flow *only = create(to_udp_port(80).action(RTE_FLOW_ACTION_TYPE_COUNT));
    FlowRequest behind;
    behind.item(RTE_FLOW_ITEM_TYPE_ETH).item(RTE_FLOW_ITEM_TYPE_IPV4);
    behind.attr.priority = 1;
    rte_flow *ending = create(behind.action(RTE_FLOW_ACTION_TYPE_COUNT).queue(1));
    send(udp(80), 5);
    send(udp(81), 2);
    unsigned came = 0;
    EXPECT_TRUE(wait_until([&] {
        poll_queues(kQueues, [&](rte_mbuf &, uint16_t queue) {
            EXPECT_EQ(queue, 1);
            ++came;
        });
        return came == 7;
    }));
    EXPECT_EQ(query(only), times(5, udp(80)));
    EXPECT_EQ(query(ending), times(7, udp(80)));
}

/// What is for the application by its address alone still comes; what is not does not become so.
TEST_F(FlowCounts, DoNotTakeWhatTheApplicationWouldNotGet) {
    configure_and_start(kQueues);
    ASSERT_EQ(rte_eth_promiscuous_disable(port()), 0);
    rte_flow *flow = create(to_udp_port(80).action(RTE_FLOW_ACTION_TYPE_COUNT));
    const Bytes foreign =
        Packet().ether("02:00:00:00:0e:ee").ipv4("10.0.0.1", "10.0.0.2").udp(1, 80).payload(20).bytes();
    send(foreign, 3);
    send(udp(80), 1);
    unsigned came = 0;
    EXPECT_TRUE(wait_until([&] { return (came += poll_queues(kQueues, [](rte_mbuf &, uint16_t) {})) != 0; }));
    EXPECT_EQ(came, 1U);
    EXPECT_EQ(query(flow), times(4, udp(80)));
}

} // namespace
} // namespace tapflow::test
