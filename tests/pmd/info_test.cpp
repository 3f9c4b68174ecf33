// SPDX-License-Identifier: BSD-3-Clause
// What a port says of itself, and what it lets be changed while it runs.
#include "pmd/ethdev_fixture.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

namespace tapflow::test {
namespace {

class Info : public Ethdev {
  protected:
    [[nodiscard]] rte_eth_dev_info info() const {
        rte_eth_dev_info info;
        std::memset(&info, 0, sizeof(info));
        EXPECT_EQ(rte_eth_dev_info_get(port(), &info), 0);
        return info;
    }

    rte_mbuf *receive() {
        rte_mbuf *packet = nullptr;
        return rte_eth_rx_burst(port(), 0, &packet, 1) == 1 ? packet : nullptr;
    }
};

TEST_F(Info, IsTheSameBeforeAndAfterConfiguring) {
    const rte_eth_dev_info before = info();
    EXPECT_STREQ(before.driver_name, "net_tap");
    EXPECT_EQ(before.min_mtu, 68);
    EXPECT_EQ(before.max_mtu, 65521);
    EXPECT_EQ(before.max_rx_pktlen, 65521U + 14 + 8);
    EXPECT_EQ(before.max_rx_queues, 64);
    EXPECT_EQ(before.max_tx_queues, 64);
    configure_and_start(3, 2);
    rte_eth_dev_info after = info();
    // ethdev's own part: how many queues there are now.
    EXPECT_EQ(after.nb_rx_queues, 3);
    EXPECT_EQ(after.nb_tx_queues, 2);
    after.nb_rx_queues = before.nb_rx_queues;
    after.nb_tx_queues = before.nb_tx_queues;
    EXPECT_EQ(std::memcmp(&before, &after, sizeof(before)), 0);
}

TEST_F(Info, EveryOffloadThatItNamesCanBeHadAtOnce) {
    const rte_eth_dev_info capable = info();
    EXPECT_EQ(capable.rx_queue_offload_capa & ~capable.rx_offload_capa, 0U);
    EXPECT_EQ(capable.tx_queue_offload_capa & ~capable.tx_offload_capa, 0U);
    rte_eth_conf conf{};
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rxmode.offloads = capable.rx_offload_capa;
    conf.rxmode.max_lro_pkt_size = capable.max_lro_pkt_size;
    conf.txmode.offloads = capable.tx_offload_capa;
    conf.rx_adv_conf.rss_conf.rss_hf = capable.flow_type_rss_offloads;
    configure_exactly_and_start(2, 2, conf);
}

TEST_F(Info, FirmwareVersionTellsDeliveryAndKernel) {
    std::array<char, 128> version{};
    ASSERT_EQ(rte_eth_dev_fw_version_get(port(), version.data(), version.size()), 0);
    const std::string text = version.data();
    EXPECT_NE(text.find(", " + tested_rx_mode() + ", Linux "), std::string::npos) << text;
    EXPECT_LT(text.size(), 32U) << "testpmd shows no more: " << text;
    std::array<char, 4> small{};
    EXPECT_EQ(rte_eth_dev_fw_version_get(port(), small.data(), small.size()), static_cast<int>(text.size() + 1));
}

TEST_F(Info, HasNoPauseFrames) {
    rte_eth_fc_conf conf{};
    conf.mode = RTE_ETH_FC_FULL;
    ASSERT_EQ(rte_eth_dev_flow_ctrl_get(port(), &conf), 0);
    EXPECT_EQ(conf.mode, RTE_ETH_FC_NONE);
    EXPECT_EQ(rte_eth_dev_flow_ctrl_set(port(), &conf), 0);
    conf.mode = RTE_ETH_FC_RX_PAUSE;
    testing::internal::CaptureStderr();
    EXPECT_EQ(rte_eth_dev_flow_ctrl_set(port(), &conf), -ENOTSUP);
    EXPECT_EQ(plugin_lines(testing::internal::GetCapturedStderr()).size(), 1U);
}

TEST_F(Info, DumpNamesTheTapAndItsQueues) {
    configure_and_start(2, 1);
    char *text = nullptr;
    size_t size = 0;
    {
        const std::unique_ptr<FILE, int (*)(FILE *)> file(open_memstream(&text, &size), std::fclose);
        ASSERT_EQ(rte_eth_dev_priv_dump(port(), file.get()), 0);
    }
    const std::string dump(text, size);
    std::free(text);
    EXPECT_NE(dump.find("tap: tap0, interface " + std::to_string(ns().link("tap0").index)), std::string::npos) << dump;
    EXPECT_NE(dump.find("delivery: " + tested_rx_mode()), std::string::npos) << dump;
    EXPECT_EQ(dump.find("rx queue 1: 1048576 bytes, 0 records wait") != std::string::npos, tested_rx_mode() == "ring")
        << dump;
}

/// Names that are unique, and ids by which the same values are read.
TEST_F(Info, ExtendedStatisticsAreReadByNameAndById) {
    configure_and_start(3, 2);
    const int count = rte_eth_xstats_get(port(), nullptr, 0);
    ASSERT_GT(count, 0);
    std::vector<rte_eth_xstat_name> names(static_cast<size_t>(count));
    std::vector<rte_eth_xstat> values(names.size());
    ASSERT_EQ(rte_eth_xstats_get_names(port(), names.data(), static_cast<unsigned>(count)), count);
    ASSERT_EQ(rte_eth_xstats_get(port(), values.data(), static_cast<unsigned>(count)), count);
    std::set<std::string> distinct;
    for (size_t i = 0; i < names.size(); ++i) {
        EXPECT_TRUE(distinct.insert(names[i].name).second) << names[i].name;
        uint64_t id = 0;
        uint64_t value = 0;
        ASSERT_EQ(rte_eth_xstats_get_id_by_name(port(), names[i].name, &id), 0) << names[i].name;
        EXPECT_EQ(id, i);
        ASSERT_EQ(rte_eth_xstats_get_by_id(port(), &id, &value, 1), 1);
        EXPECT_EQ(value, values[i].value) << names[i].name;
    }
    for (const char *expected :
         {"rx_good_packets", "rx_missed_errors", "rx_filtered", "rx_bypass", "rx_queue_stopped", "rule_dropped",
          "rx_q0_packets", "rx_q2_ring_full", "rx_q1_no_mbuf", "rx_q0_oversize", "tx_q1_packets", "tx_q0_malformed"})
        EXPECT_TRUE(distinct.contains(expected)) << expected;
}

/// The largest frame that the MTU allows passes both ways, and one byte more does not, at every MTU while the port
/// runs.
TEST_F(Info, MtuIsChangedWhilePacketsPass) {
    rte_eth_conf conf{};
    conf.rxmode.offloads = RTE_ETH_RX_OFFLOAD_SCATTER;
    conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    configure_exactly_and_start(1, 1, conf);
    PacketSocket kernel(ns(), "tap0");
    const packet::Mac mac = ns().link("tap0").mac;
    for (const uint16_t mtu : std::array<uint16_t, 9>{68, 576, 1499, 1500, 1501, 2048, 9000, 16384, 65521}) {
        SCOPED_TRACE(mtu);
        ASSERT_EQ(rte_eth_dev_set_mtu(port(), mtu), 0);
        EXPECT_EQ(ns().link("tap0").mtu, mtu);
        const size_t largest = mtu + size_t{14};
        ASSERT_TRUE(kernel.send(packet::Packet().ether(mac).next_type(0x88b5).pad_to(largest).bytes()));
        rte_mbuf *packet = receive();
        ASSERT_NE(packet, nullptr);
        EXPECT_EQ(packet->pkt_len, largest);
        rte_pktmbuf_free(packet);
        EXPECT_THROW((void)kernel.send(packet::Packet().ether(mac).next_type(0x88b5).pad_to(largest + 1).bytes()),
                     std::system_error)
            << "the kernel's own sender is told";
        EXPECT_EQ(receive(), nullptr);

        packet = make_mbuf(packet::Packet().ether().next_type(0x88b5).pad_to(largest).bytes());
        ASSERT_EQ(rte_eth_tx_burst(port(), 0, &packet, 1), 1);
        const auto frame = kernel.receive();
        ASSERT_TRUE(frame);
        EXPECT_EQ(frame->bytes.size(), largest);
        const uint64_t dropped = xstat("tx_q0_oversize");
        packet =
            make_mbuf(packet::Packet().ether().next_type(0x88b5).pad_to(largest + 9).bytes()); // more than two tags
        ASSERT_EQ(rte_eth_tx_burst(port(), 0, &packet, 1), 1);
        EXPECT_EQ(xstat("tx_q0_oversize"), dropped + 1);
    }
    for (const uint16_t mtu : std::array<uint16_t, 3>{0, 67, 65522})
        EXPECT_LT(rte_eth_dev_set_mtu(port(), mtu), 0) << mtu;
    EXPECT_EQ(ns().link("tap0").mtu, 65521U);
    EXPECT_EQ(free_mbufs(), 1023U);
}

/// One buffer's room, less a byte, more a byte, and multiples of it.
TEST_F(Info, FramesAroundTheMbufsSizeAreScatteredOrDropped) {
    const size_t room = RTE_MBUF_DEFAULT_DATAROOM;
    for (const bool scatter : {true, false}) {
        SCOPED_TRACE(scatter);
        rte_eth_conf conf{};
        conf.rxmode.offloads = scatter ? RTE_ETH_RX_OFFLOAD_SCATTER : 0;
        conf.rxmode.mtu = 9000;
        configure_exactly_and_start(1, 1, conf);
        PacketSocket kernel(ns(), "tap0", {.receive = false});
        const packet::Mac mac = ns().link("tap0").mac;
        uint64_t dropped = xstat("rx_q0_oversize");
        for (const size_t length : {room - 1, room, room + 1, 2 * room - 1, 2 * room, 2 * room + 1, 4 * room}) {
            SCOPED_TRACE(length);
            packet::Bytes frame = packet::Packet().ether(mac).next_type(0x88b5).pad_to(length).bytes();
            for (size_t i = 14; i < frame.size(); ++i)
                frame[i] = static_cast<uint8_t>(i * 7);
            ASSERT_TRUE(kernel.send(frame));
            rte_mbuf *packet = receive();
            if (!scatter && length > room) {
                EXPECT_EQ(packet, nullptr);
                EXPECT_EQ(xstat("rx_q0_oversize"), ++dropped);
                continue;
            }
            ASSERT_NE(packet, nullptr);
            EXPECT_EQ(packet->nb_segs, (length + room - 1) / room);
            packet::Bytes received(packet->pkt_len);
            EXPECT_EQ(received.size(), length);
            const void *bytes = rte_pktmbuf_read(packet, 0, packet->pkt_len, received.data());
            ASSERT_NE(bytes, nullptr);
            EXPECT_EQ(std::memcmp(bytes, frame.data(), frame.size()), 0);
            rte_pktmbuf_free(packet);
        }
        ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    }
    EXPECT_EQ(free_mbufs(), 1023U);
}

} // namespace
} // namespace tapflow::test
