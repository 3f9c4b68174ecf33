// SPDX-License-Identifier: BSD-3-Clause
// net_tun: packets begin with the IP header, both ways.
#include "pmd/ethdev_fixture.h"
#include "support/process.h"
#include "support/wait.h"

#include <arpa/inet.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <rte_flow.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include <array>
#include <cstring>
#include <set>

namespace tapflow::test {
namespace {

constexpr uint16_t kQueues = 4;

class TunPort : public Ethdev {
  protected:
    void SetUp() override {
        open("net_tun0,iface=tap0"); // the fixture's name for the device
    }

    void start(uint64_t rx_offloads = 0, uint64_t tx_offloads = 0) {
        rte_eth_conf conf{};
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rxmode.offloads = rx_offloads;
        conf.txmode.offloads = tx_offloads;
        conf.rx_adv_conf.rss_conf.rss_hf =
            RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
        ns().must_run({"ip", "link", "set", "tap0", "addrgenmode", "none"}); // no messages of the kernel's own
        configure_and_start(kQueues, kQueues, conf);
        ns().must_run({"ip", "addr", "add", "10.7.0.1/24", "dev", "tap0"});
    }

    /// A UDP socket of the kernel's side.
    struct Udp {
        explicit Udp(const NetNs &netns, int family = AF_INET) {
            const auto guard = netns.enter();
            fd = Fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            if (family == AF_INET) {
                sockaddr_in own{};
                own.sin_family = AF_INET;
                own.sin_port = htons(7000);
                own.sin_addr.s_addr = inet_addr("10.7.0.1");
                if (bind(fd.get(), reinterpret_cast<sockaddr *>(&own), sizeof(own)) != 0)
                    throw_errno("bind");
            }
        }
        bool send(const packet::Bytes &payload, uint16_t port) const {
            sockaddr_in to{};
            to.sin_family = AF_INET;
            to.sin_port = htons(port);
            to.sin_addr.s_addr = inet_addr("10.7.0.2");
            return sendto(fd.get(), payload.data(), payload.size(), 0, reinterpret_cast<sockaddr *>(&to), sizeof(to)) ==
                   static_cast<ssize_t>(payload.size());
        }
        bool send6(const packet::Bytes &payload) const {
            sockaddr_in6 to{};
            to.sin6_family = AF_INET6;
            to.sin6_port = htons(9);
            inet_pton(AF_INET6, "fd07::2", &to.sin6_addr);
            return sendto(fd.get(), payload.data(), payload.size(), 0, reinterpret_cast<sockaddr *>(&to), sizeof(to)) ==
                   static_cast<ssize_t>(payload.size());
        }
        Fd fd;
    };

    /// The next packet of any queue, and which; null if none came.
    rte_mbuf *receive(uint16_t &queue) {
        for (queue = 0; queue < kQueues; ++queue) {
            rte_mbuf *packet = nullptr;
            if (rte_eth_rx_burst(port(), queue, &packet, 1) == 1)
                return packet;
        }
        return nullptr;
    }
    rte_mbuf *receive() {
        uint16_t queue = 0;
        return receive(queue);
    }

    /// An IP packet: a frame without its Ethernet header.
    static packet::Bytes ip_packet(const packet::Packet &packet) {
        const packet::Bytes frame = packet.bytes();
        return {frame.begin() + 14, frame.end()};
    }
};

TEST_F(TunPort, IsATunDeviceAndSaysSo) {
    start();
    EXPECT_NE(ns().must_run({"ip", "-d", "link", "show", "tap0"}).find("tun type tun"), std::string::npos);
    rte_eth_dev_info info{};
    ASSERT_EQ(rte_eth_dev_info_get(port(), &info), 0);
    EXPECT_STREQ(info.driver_name, "net_tun");
    EXPECT_EQ(info.max_rx_pktlen, info.max_mtu);
    EXPECT_EQ(info.rx_offload_capa & (RTE_ETH_RX_OFFLOAD_VLAN_STRIP | RTE_ETH_RX_OFFLOAD_VLAN_FILTER), 0U);
    EXPECT_EQ(info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_VLAN_INSERT, 0U);
    std::array<uint32_t, 16> types{};
    const int count = rte_eth_dev_get_supported_ptypes(port(), RTE_PTYPE_ALL_MASK, types.data(), types.size());
    for (int i = 0; i < count; ++i)
        EXPECT_EQ(types[static_cast<size_t>(i)] & RTE_PTYPE_L2_MASK, 0U);
}

TEST_F(TunPort, ReceivesIpPacketsWithHashAndType) {
    start();
    const Udp kernel(ns());
    std::set<uint16_t> queues;
    uint64_t bytes = 0;
    for (uint16_t flow = 1; flow <= 64; ++flow) {
        const packet::Bytes payload(flow, 0x5a);
        ASSERT_TRUE(kernel.send(payload, flow));
        uint16_t queue = 0;
        rte_mbuf *packet = receive(queue);
        ASSERT_NE(packet, nullptr);
        const auto *ip = rte_pktmbuf_mtod(packet, const rte_ipv4_hdr *);
        const auto *udp = rte_pktmbuf_mtod_offset(packet, const rte_udp_hdr *, 20);
        EXPECT_EQ(packet->pkt_len, 28U + flow);
        EXPECT_EQ(ip->version_ihl, 0x45);
        EXPECT_EQ(udp->dst_port, htons(flow));
        EXPECT_EQ(rte_ipv4_udptcp_cksum_verify(ip, udp), 0);
        EXPECT_EQ(packet->packet_type, uint32_t{RTE_PTYPE_L3_IPV4_EXT_UNKNOWN | RTE_PTYPE_L4_UDP});
        EXPECT_TRUE(packet->ol_flags & RTE_MBUF_F_RX_RSS_HASH);
        EXPECT_EQ(packet->hash.rss % 128 % kQueues, queue);
        queues.insert(queue);
        bytes += packet->pkt_len;
        rte_pktmbuf_free(packet);
    }
    EXPECT_EQ(queues.size(), kQueues);
    rte_eth_stats stats{};
    ASSERT_EQ(rte_eth_stats_get(port(), &stats), 0);
    EXPECT_EQ(stats.ipackets, 64U);
    EXPECT_EQ(stats.ibytes, bytes);
}

TEST_F(TunPort, ReceivesIpv6) {
    start();
    ns().must_run({"ip", "-6", "addr", "add", "fd07::1/64", "dev", "tap0", "nodad"});
    const Udp kernel(ns(), AF_INET6);
    ASSERT_TRUE(kernel.send6(packet::Bytes(100, 1)));
    for (;;) { // the kernel's own IPv6 messages may come before
        rte_mbuf *packet = receive();
        ASSERT_NE(packet, nullptr);
        const bool ours = packet->packet_type == (RTE_PTYPE_L3_IPV6_EXT_UNKNOWN | RTE_PTYPE_L4_UDP);
        if (ours) {
            EXPECT_EQ(packet->pkt_len, 40U + 8 + 100);
        }
        rte_pktmbuf_free(packet);
        if (ours)
            break;
    }
}

TEST_F(TunPort, CutsSuperFramesIntoIpPackets) {
    start(RTE_ETH_RX_OFFLOAD_SCATTER);
    const Udp kernel(ns());
    const int segment = 1000;
    ASSERT_EQ(setsockopt(kernel.fd.get(), IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)), 0);
    packet::Bytes payload(4500);
    for (size_t i = 0; i < payload.size(); ++i)
        payload[i] = static_cast<uint8_t>(i * 31);
    ASSERT_TRUE(kernel.send(payload, 9));
    packet::Bytes received;
    for (int i = 0; i < 5; ++i) {
        rte_mbuf *packet = receive();
        ASSERT_NE(packet, nullptr) << i;
        EXPECT_EQ(packet->pkt_len, 28U + (i < 4 ? 1000 : 500));
        const auto *ip = rte_pktmbuf_mtod(packet, const rte_ipv4_hdr *);
        EXPECT_EQ(rte_ipv4_udptcp_cksum_verify(ip, rte_pktmbuf_mtod_offset(packet, const void *, 20)), 0);
        const auto *bytes = rte_pktmbuf_mtod_offset(packet, const uint8_t *, 28);
        received.insert(received.end(), bytes, bytes + packet->pkt_len - 28);
        rte_pktmbuf_free(packet);
    }
    EXPECT_EQ(received, payload);
}

TEST_F(TunPort, SendsIpPacketsAndNothingElse) {
    start(0, RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_TSO);
    const Udp kernel(ns());
    const auto received = [&] {
        packet::Bytes bytes(65536);
        const ssize_t length = recv(kernel.fd.get(), bytes.data(), bytes.size(), 0);
        bytes.resize(length < 0 ? 0 : static_cast<size_t>(length));
        return bytes;
    };
    const auto to_kernel = [](size_t payload) {
        return packet::Packet().ether().ipv4("10.7.0.2", "10.7.0.1").udp(5, 7000).payload(payload);
    };
    const packet::Bytes frame = to_kernel(200).bytes();
    const packet::Bytes payload(frame.end() - 200, frame.end());
    rte_mbuf *packet = make_mbuf(ip_packet(to_kernel(200)));
    ASSERT_EQ(rte_eth_tx_burst(port(), 0, &packet, 1), 1);
    EXPECT_EQ(received(), payload);

    packet = make_mbuf(ip_packet(to_kernel(200)));
    packet->l2_len = 0;
    packet->l3_len = 20;
    packet->l4_len = 8;
    packet->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_UDP_CKSUM;
    rte_pktmbuf_mtod(packet, rte_ipv4_hdr *)->hdr_checksum = 0x1234;
    rte_pktmbuf_mtod_offset(packet, rte_udp_hdr *, 20)->dgram_cksum = 0x1234;
    ASSERT_EQ(rte_eth_tx_burst(port(), 1, &packet, 1), 1);
    EXPECT_EQ(received(), payload);

    const uint64_t malformed = xstat("tx_q0_malformed");
    for (const uint64_t flags : {uint64_t{RTE_MBUF_F_TX_VLAN}, uint64_t{0}}) {
        packet = make_mbuf(flags ? ip_packet(to_kernel(200)) : to_kernel(200).bytes()); // a frame is no IP packet
        packet->ol_flags |= flags;
        ASSERT_EQ(rte_eth_tx_burst(port(), 0, &packet, 1), 1);
    }
    EXPECT_EQ(xstat("tx_q0_malformed"), malformed + 2);
    packet = make_mbuf(ip_packet(to_kernel(3000))); // longer than the MTU
    ASSERT_EQ(rte_eth_tx_burst(port(), 0, &packet, 1), 1);
    EXPECT_EQ(xstat("tx_q0_oversize"), 1U);
}

TEST_F(TunPort, RulesMatchItsPackets) {
    start();
    rte_flow_attr attr{};
    attr.ingress = 1;
    rte_flow_item_udp udp{};
    rte_flow_item_udp mask{};
    udp.hdr.dst_port = RTE_BE16(9);
    mask.hdr.dst_port = RTE_BE16(0xffff);
    const std::array<rte_flow_item, 3> pattern{{{RTE_FLOW_ITEM_TYPE_IPV4, nullptr, nullptr, nullptr},
                                                {RTE_FLOW_ITEM_TYPE_UDP, &udp, nullptr, &mask},
                                                {RTE_FLOW_ITEM_TYPE_END, nullptr, nullptr, nullptr}}};
    rte_flow_action_mark mark{77};
    rte_flow_action_queue queue{3};
    const std::array<rte_flow_action, 3> actions{{{RTE_FLOW_ACTION_TYPE_MARK, &mark},
                                                  {RTE_FLOW_ACTION_TYPE_QUEUE, &queue},
                                                  {RTE_FLOW_ACTION_TYPE_END, nullptr}}};
    rte_flow_error error{};
    ASSERT_NE(rte_flow_create(port(), &attr, pattern.data(), actions.data(), &error), nullptr) << error.message;
    const Udp kernel(ns());
    ASSERT_TRUE(kernel.send(packet::Bytes(10, 1), 9));
    uint16_t received_on = 0;
    rte_mbuf *packet = receive(received_on);
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(received_on, 3U);
    EXPECT_TRUE(packet->ol_flags & RTE_MBUF_F_RX_FDIR_ID);
    EXPECT_EQ(packet->hash.fdir.hi, 77U);
    rte_pktmbuf_free(packet);

    rte_flow_attr egress{};
    egress.egress = 1;
    const std::array<rte_flow_action, 2> drop{
        {{RTE_FLOW_ACTION_TYPE_DROP, nullptr}, {RTE_FLOW_ACTION_TYPE_END, nullptr}}};
    EXPECT_EQ(rte_flow_validate(port(), &egress, pattern.data(), drop.data(), &error), -ENOTSUP);
    EXPECT_EQ(rte_flow_create(port(), &egress, pattern.data(), drop.data(), &error), nullptr);
    EXPECT_EQ(error.type, RTE_FLOW_ERROR_TYPE_ATTR_EGRESS);
}

} // namespace
} // namespace tapflow::test
