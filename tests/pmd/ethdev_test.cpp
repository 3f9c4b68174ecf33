// SPDX-License-Identifier: BSD-3-Clause
// Calls of the ethdev API that testpmd would not pass on. EAL runs in the test's own process: one for each.
#include "pmd/ethdev_fixture.h"

#include <rte_flow.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace tapflow::test {
namespace {

TEST_F(Ethdev, RefusesKeysOfAnotherLength) {
    configure_and_start(4);
    const auto before = rss_key();
    EXPECT_EQ(before.size(), 40U);
    std::vector<uint8_t> key(64, 0x11);
    for (const int length : {0, 39, 41, 51, 53}) {
        SCOPED_TRACE(length);
        rte_eth_rss_conf conf{};
        conf.rss_key = key.data();
        conf.rss_key_len = static_cast<uint8_t>(length);
        conf.rss_hf = RTE_ETH_RSS_IPV6;
        testing::internal::CaptureStderr();
        EXPECT_EQ(rte_eth_dev_rss_hash_update(port(), &conf), -EINVAL);
        const auto lines = plugin_lines(testing::internal::GetCapturedStderr());
        ASSERT_EQ(lines.size(), 1U);
        EXPECT_EQ(lines[0],
                  "tapflow: net_tap0: the RSS key has " + std::to_string(length) + " bytes, needed are 40 or 52");
        EXPECT_EQ(rss_key(), before);
    }
    rte_eth_rss_conf now{};
    ASSERT_EQ(rte_eth_dev_rss_hash_conf_get(port(), &now), 0);
    EXPECT_EQ(now.rss_hf, RTE_ETH_RSS_IPV4);
}

TEST_F(Ethdev, RefusesRetasOfAnotherSize) {
    configure_and_start(4);
    std::array<rte_eth_rss_reta_entry64, 8> entries{};
    for (const uint16_t size : std::array<uint16_t, 3>{64, 256, 512}) {
        SCOPED_TRACE(size);
        entries = {};
        for (size_t group = 0; group < size / 64U; ++group) {
            entries[group].mask = ~uint64_t{0};
            std::fill(std::begin(entries[group].reta), std::end(entries[group].reta), uint16_t{3});
        }
        testing::internal::CaptureStderr();
        EXPECT_EQ(rte_eth_dev_rss_reta_update(port(), entries.data(), size), -EINVAL);
        EXPECT_EQ(rte_eth_dev_rss_reta_query(port(), entries.data(), size), -EINVAL);
        const auto lines = plugin_lines(testing::internal::GetCapturedStderr());
        ASSERT_EQ(lines.size(), 2U);
        EXPECT_EQ(lines[0], "tapflow: net_tap0: the RETA has 128 slots, not " + std::to_string(size));
    }
    entries = {};
    entries[0].mask = entries[1].mask = ~uint64_t{0};
    ASSERT_EQ(rte_eth_dev_rss_reta_query(port(), entries.data(), 128), 0);
    for (size_t slot = 0; slot < 128; ++slot)
        EXPECT_EQ(entries[slot / 64].reta[slot % 64], slot % 4) << slot;
}

TEST_F(Ethdev, RefusesTypesItDoesNotHave) {
    configure_and_start(2);
    rte_eth_rss_conf conf{};
    conf.rss_hf = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_ETH;
    EXPECT_EQ(rte_eth_dev_rss_hash_update(port(), &conf), -EINVAL); // ethdev itself says so
    ASSERT_EQ(rte_eth_dev_rss_hash_conf_get(port(), &conf), 0);
    EXPECT_EQ(conf.rss_hf, RTE_ETH_RSS_IPV4);
}

TEST_F(Ethdev, OffersEveryNumberOfQueuesItNames) {
    rte_eth_dev_info info{};
    ASSERT_EQ(rte_eth_dev_info_get(port(), &info), 0);
    EXPECT_EQ(info.if_index, static_cast<unsigned>(ns().link("tap0").index));
    EXPECT_EQ(info.reta_size, 128);
    EXPECT_EQ(info.hash_key_size, 40);
    configure_and_start(info.max_rx_queues);
    rte_eth_conf conf{};
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    EXPECT_LT(rte_eth_dev_configure(port(), static_cast<uint16_t>(info.max_rx_queues + 1), 1, &conf), 0);
}

TEST_F(Ethdev, MayBeIsolatedBeforeItIsConfigured) {
    rte_flow_error error{};
    EXPECT_EQ(rte_flow_isolate(port(), 1, &error), 0);
    EXPECT_EQ(rte_flow_isolate(port(), 0, &error), 0);
    configure_and_start(1);
}

/// Where a queue's number is taken for the order in which it came, the last one's packets are the first one's.
TEST_F(Ethdev, QueuesMayBeSetUpInAnyOrder) {
    constexpr uint16_t kQueues = 4;
    rte_eth_conf conf{};
    conf.rxmode.offloads = RTE_ETH_RX_OFFLOAD_RSS_HASH;
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_IPV4;
    ASSERT_EQ(rte_eth_dev_configure(port(), kQueues, kQueues, &conf), 0);
    for (const uint16_t queue : std::array<uint16_t, kQueues>{2, 0, 3, 1}) {
        ASSERT_EQ(rte_eth_tx_queue_setup(port(), queue, 512, SOCKET_ID_ANY, nullptr), 0);
        ASSERT_EQ(rte_eth_rx_queue_setup(port(), queue, 512, SOCKET_ID_ANY, nullptr, pool()), 0);
    }
    ASSERT_EQ(rte_eth_dev_start(port()), 0);
    PacketSocket kernel(ns(), "tap0");
    const packet::Mac mac = ns().link("tap0").mac;
    for (unsigned i = 0; i < 64; ++i) {
        const std::string source = "10.0.0." + std::to_string(i);
        ASSERT_TRUE(kernel.send(packet::Packet().ether(mac).ipv4(source.c_str(), "10.0.1.1").udp(1, 2).bytes()));
    }
    unsigned received = 0;
    for (uint16_t queue = 0; queue < kQueues; ++queue) {
        std::array<rte_mbuf *, 64> packets{};
        const uint16_t count = rte_eth_rx_burst(port(), queue, packets.data(), packets.size());
        EXPECT_GT(count, 0U) << queue;
        for (uint16_t i = 0; i < count; ++i)
            EXPECT_EQ(packets[i]->hash.rss % 128 % kQueues, queue);
        rte_pktmbuf_free_bulk(packets.data(), count);
        received += count;

        rte_mbuf *sent = make_mbuf(packet::Packet().ether().next_type(0x88b5).payload(60 + queue).bytes());
        ASSERT_EQ(rte_eth_tx_burst(port(), queue, &sent, 1), 1);
        const auto frame = kernel.receive();
        ASSERT_TRUE(frame) << queue;
        EXPECT_EQ(frame->bytes.size(), 14U + 60U + queue);
        EXPECT_EQ(xstat(("tx_q" + std::to_string(queue) + "_packets").c_str()), 1U);
    }
    EXPECT_EQ(received, 64U);
}

TEST_F(Ethdev, ReceivesOnEveryQueueWithFewerTxQueues) {
    configure_and_start(4, 2);
    const packet::Mac mac = ns().link("tap0").mac;
    PacketSocket sender(ns(), "tap0", {.receive = false});
    constexpr unsigned kFlows = 64;
    for (unsigned i = 0; i < kFlows; ++i) {
        const std::string source = "10.0.0." + std::to_string(i);
        ASSERT_TRUE(sender.send(packet::Packet().ether(mac).ipv4(source.c_str(), "10.0.1.1").udp(1, 2).bytes()));
    }
    std::array<unsigned, 4> received{};
    for (uint16_t queue = 0; queue < 4; ++queue) {
        std::array<rte_mbuf *, kFlows> packets{};
        received[queue] = rte_eth_rx_burst(port(), queue, packets.data(), kFlows);
        rte_pktmbuf_free_bulk(packets.data(), received[queue]);
        EXPECT_GT(received[queue], 0U) << queue;
    }
    EXPECT_EQ(received[0] + received[1] + received[2] + received[3], kFlows);
}

/// A TCP segment with a tag that Tx is to insert and what it asks of segmentation; the checksum's place moves with the
/// tag. AF_PACKET shows what the kernel was told.
class TaggedTx : public Ethdev, public testing::WithParamInterface<size_t> {};

TEST_P(TaggedTx, TellsTheKernelWhereTheChecksumIs) {
    constexpr uint16_t kMss = 500;
    const size_t payload = GetParam();
    configure_and_start(1, 1,
                        RTE_ETH_TX_OFFLOAD_VLAN_INSERT | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO |
                            RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
    PacketSocket kernel(ns(), "tap0", {.vnet_hdr = true});
    const packet::Mac mac = ns().link("tap0").mac;
    const auto frame = [&](packet::Packet packet) {
        return packet.ipv6("fd00::1", "fd00::2").tcp(1, 2).partial_checksum().payload(payload);
    };
    rte_mbuf *packet = make_mbuf(frame(packet::Packet().ether(mac)).bytes());
    ASSERT_NE(packet, nullptr);
    packet->ol_flags |= RTE_MBUF_F_TX_VLAN | RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_SEG;
    packet->vlan_tci = 4094;
    packet->l2_len = 14;
    packet->l3_len = 40;
    packet->l4_len = 20;
    packet->tso_segsz = kMss;
    ASSERT_EQ(rte_eth_tx_burst(port(), 0, &packet, 1), 1);

    const auto received = kernel.receive();
    ASSERT_TRUE(received);
    EXPECT_EQ(received->on_wire(), frame(packet::Packet().ether(mac).vlan(4094)).bytes());
    EXPECT_TRUE(received->checksum_not_ready);
    EXPECT_EQ(received->offload.checksum_start, 54); // the socket shows the tag beside the frame
    EXPECT_EQ(received->offload.checksum_offset, 16);
    EXPECT_EQ(received->offload.gso_type, payload > kMss ? VnetHeader::kGsoTcpV6 : VnetHeader::kGsoNone);
    if (payload > kMss) {
        EXPECT_EQ(received->offload.gso_size, kMss);
    }
}

TEST_F(Ethdev, UdpSegmentationIsTheKernels) {
    configure_and_start(1);
    PacketSocket kernel(ns(), "tap0", {.vnet_hdr = true});
    const auto udp = [] { return packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2); };
    rte_mbuf *sent = make_mbuf(udp().payload(1500));
    sent->ol_flags = RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
    sent->tso_segsz = 700;
    ASSERT_EQ(rte_eth_tx_burst(port(), 0, &sent, 1), 1);
    const auto received = kernel.receive();
    ASSERT_TRUE(received);
    EXPECT_EQ(received->bytes, udp().partial_checksum().payload(1500).bytes());
    EXPECT_EQ(received->offload.gso_type, VnetHeader::kGsoUdpL4);
    EXPECT_EQ(received->offload.gso_size, 700);
    rte_eth_stats stats{};
    ASSERT_EQ(rte_eth_stats_get(port(), &stats), 0);
    EXPECT_EQ(stats.opackets, 3U); // as on the wire: 700, 700 and 100 bytes behind headers of 42
    EXPECT_EQ(stats.obytes, 3U * 42 + 1500);
}

/// Lengths that contradict the packet, and an offload that was not offered: dropped, counted, not sent as they are.
TEST_F(Ethdev, MalformedOffloadRequestsAreDroppedAndCounted) {
    configure_and_start(1);
    PacketSocket kernel(ns(), "tap0");
    const packet::Packet packet = packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2).payload(50);
    const unsigned before = free_mbufs();
    std::array<rte_mbuf *, 5> sent{};
    for (rte_mbuf *&one : sent) {
        one = make_mbuf(packet);
        one->ol_flags = RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
    }
    sent[0]->l2_len = 0;
    sent[1]->l3_len = 400;
    sent[2]->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4; // into segments of 0 bytes
    sent[3]->ol_flags = RTE_MBUF_F_TX_SCTP_CKSUM | RTE_MBUF_F_TX_IPV4;
    sent[4]->ol_flags = 0;
    ASSERT_EQ(rte_eth_tx_burst(port(), 0, sent.data(), sent.size()), sent.size());
    EXPECT_EQ(free_mbufs(), before);
    const auto received = kernel.receive();
    ASSERT_TRUE(received);
    EXPECT_EQ(received->bytes, packet.bytes());
    rte_eth_stats stats{};
    ASSERT_EQ(rte_eth_stats_get(port(), &stats), 0);
    EXPECT_EQ(stats.oerrors, 4U);
    EXPECT_EQ(stats.opackets, 1U);
    EXPECT_EQ(stats.obytes, packet.bytes().size());
}

/// Packets whose headers are changed for the kernel are freed like any others when it does not take them.
TEST_F(Ethdev, OffloadRequestsToAnInterfaceThatIsDownAreDroppedAndFreed) {
    configure_and_start(1);
    const packet::Packet packet = packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2).payload(5000);
    ASSERT_EQ(rte_eth_dev_set_mtu(port(), 9000), 0);
    ns().must_run({"ip", "link", "set", "tap0", "down"});
    const unsigned before = free_mbufs();
    constexpr std::array<uint64_t, 5> kRequests{RTE_MBUF_F_TX_TCP_CKSUM, RTE_MBUF_F_TX_IP_CKSUM, RTE_MBUF_F_TX_TCP_SEG,
                                                RTE_MBUF_F_TX_VLAN, 0};
    for (const uint64_t request : kRequests) {
        std::array<rte_mbuf *, 8> sent{};
        for (rte_mbuf *&one : sent) {
            one = make_mbuf(packet);
            one->ol_flags = request | RTE_MBUF_F_TX_IPV4;
            one->tso_segsz = 1000;
        }
        EXPECT_EQ(rte_eth_tx_burst(port(), 0, sent.data(), sent.size()), sent.size());
        EXPECT_EQ(free_mbufs(), before);
    }
    EXPECT_EQ(xstat("tx_q0_link_down"), kRequests.size() * 8);
}

/// Whoever holds a packet too finds it unchanged: no vnet header in its headroom, no checksum or tag in its data.
TEST_F(Ethdev, SharedPacketsAreNotWrittenTo) {
    configure_and_start(1);
    PacketSocket kernel(ns(), "tap0");
    const packet::Packet packet = packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(50);
    rte_mbuf *sent = make_mbuf(packet);
    std::memset(sent->buf_addr, 0x5a, sent->data_off);
    rte_mbuf_refcnt_update(sent, 2);
    sent->ol_flags = RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_VLAN;
    sent->vlan_tci = 7;
    ASSERT_EQ(rte_eth_tx_burst(port(), 0, &sent, 1), 1);
    sent->ol_flags = 0;
    ASSERT_EQ(rte_eth_tx_burst(port(), 0, &sent, 1), 1);
    const auto tagged = kernel.receive();
    ASSERT_TRUE(tagged);
    EXPECT_EQ(tagged->vlan_tci, std::optional<uint16_t>(7));
    const auto plain = kernel.receive();
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->bytes, packet.bytes());
    const auto *room = static_cast<const uint8_t *>(sent->buf_addr);
    EXPECT_TRUE(std::all_of(room, room + sent->data_off, [](uint8_t byte) { return byte == 0x5a; }));
    const auto *data = rte_pktmbuf_mtod(sent, const uint8_t *);
    EXPECT_EQ(packet::Bytes(data, data + sent->data_len), packet.bytes());
    rte_pktmbuf_free(sent);
}

INSTANTIATE_TEST_SUITE_P(Payload, TaggedTx, testing::Values(0, 500, 501, 1400, 8000));

} // namespace
} // namespace tapflow::test
