// SPDX-License-Identifier: BSD-3-Clause
// RSS through calls of the ethdev API that testpmd has no command for.
#include "pmd/ethdev_fixture.h"
#include "support/hash_reference.h"
#include "support/rss_samples.h"

#include <array>
#include <thread>

namespace tapflow::test {
namespace {

using packet::Bytes;

class EthdevRss : public Ethdev {
  protected:
    /// Sends each sample alone, and compares hash, flag and queue.
    void expect_hashed(const std::vector<RssSample> &samples, const rss::RssConfig &config, uint16_t queues) {
        PacketSocket sender(ns(), "tap0", {.receive = false});
        for (const RssSample &sample : samples) {
            SCOPED_TRACE(sample.name);
            ASSERT_TRUE(sender.send(packet::Packet(sample.packet).pad_to(60).bytes()));
            const auto input = sample.input(config.types);
            const uint32_t hash = input ? hash_reference(config, *input) : 0;
            rte_mbuf *packet = nullptr;
            for (uint16_t queue = 0; queue < queues && packet == nullptr; ++queue)
                if (rte_eth_rx_burst(port(), queue, &packet, 1) == 1) {
                    EXPECT_EQ(queue, config.reta[hash % config.reta.size()]);
                }
            ASSERT_NE(packet, nullptr);
            EXPECT_EQ((packet->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0, input.has_value());
            if (input) {
                EXPECT_EQ(packet->hash.rss, hash);
            }
            rte_pktmbuf_free(packet);
        }
    }

    static rss::RssConfig config_of(uint64_t types, uint16_t queues) {
        return {{rss::default_key().begin(), rss::default_key().end()}, types, rss::round_robin_reta(queues)};
    }
};

TEST_F(EthdevRss, ModifiersNarrowWhatIsHashed) {
    constexpr uint16_t kQueues = 4;
    configure_and_start(kQueues);
    ASSERT_EQ(rte_eth_promiscuous_enable(port()), 0);
    const auto samples = all_samples();
    for (const uint64_t modifiers :
         {RTE_ETH_RSS_L3_SRC_ONLY, RTE_ETH_RSS_L3_DST_ONLY, RTE_ETH_RSS_L4_SRC_ONLY, RTE_ETH_RSS_L4_DST_ONLY,
          RTE_ETH_RSS_L2_SRC_ONLY, RTE_ETH_RSS_L2_DST_ONLY, RTE_ETH_RSS_L3_SRC_ONLY | RTE_ETH_RSS_L3_DST_ONLY,
          RTE_ETH_RSS_L3_DST_ONLY | RTE_ETH_RSS_L4_SRC_ONLY | RTE_ETH_RSS_L2_DST_ONLY}) {
        SCOPED_TRACE(modifiers);
        const rss::RssConfig config = config_of(rss::kAllTypes | modifiers, kQueues);
        rte_eth_rss_conf conf{};
        conf.rss_hf = config.types;
        ASSERT_EQ(rte_eth_dev_rss_hash_update(port(), &conf), 0);
        expect_hashed(samples, config, kQueues);
    }
}

TEST_F(EthdevRss, BothLevelsAreTheOuterHeaders) {
    configure_and_start(2);
    rte_eth_rss_conf conf{};
    conf.rss_hf = RTE_ETH_RSS_IP | RTE_ETH_RSS_LEVEL_MASK;
    ASSERT_EQ(rte_eth_dev_rss_hash_update(port(), &conf), 0);
    EXPECT_EQ(rss_types(), conf.rss_hf);
    ASSERT_EQ(rte_eth_promiscuous_enable(port()), 0);
    RssSample tunnel = sample::of_protocol(sample::ether({}), "udp", sample::kProtocols[1], {}, 4);
    const Flow flow;
    tunnel.packet = sample::ether(flow)
                        .ipv4(flow.source4, flow.destination4)
                        .udp(9, 4789)
                        .vxlan(1)
                        .raw(packet::Packet().ether().ipv4("10.1.1.1", "10.1.1.2").udp(5, 6).bytes());
    expect_hashed({tunnel}, config_of(RTE_ETH_RSS_IP, 2), 2);
}

/// A change is one new table for all queues, so it takes no longer with 64 of them and under traffic.
TEST_F(EthdevRss, AnUpdateOfSixtyFourQueuesUnderTrafficTakesABoundedTime) {
    constexpr uint16_t kQueues = 64;
    constexpr int kUpdates = 20;
    constexpr milliseconds kLimit{5000};
    configure_and_start(kQueues);
    ASSERT_EQ(rte_eth_promiscuous_enable(port()), 0);
    const auto samples = protocol_samples({});
    rss::RssConfig config = config_of(rss::kAllTypes, kQueues);
    rte_eth_rss_conf conf{};
    conf.rss_hf = config.types;
    conf.rss_key = config.key.data();
    conf.rss_key_len = static_cast<uint8_t>(config.key.size());
    Clock::duration longest{};
    {
        std::jthread traffic([&](const std::stop_token &stop) {
            PacketSocket sender(ns(), "tap0", {.receive = false});
            while (!stop.stop_requested())
                for (const RssSample &sample : samples)
                    (void)sender.send(sample.packet.bytes()); // nobody receives: a full ring loses it
        });
        for (int update = 0; update < kUpdates; ++update) {
            std::reverse(config.reta.begin(), config.reta.end());
            for (uint8_t &byte : config.key)
                byte = static_cast<uint8_t>(byte * 5 + 1);
            const auto start = Clock::now();
            set_reta(config.reta);
            ASSERT_EQ(rte_eth_dev_rss_hash_update(port(), &conf), 0);
            longest = std::max(longest, Clock::now() - start);
        }
    }
    const double ms = std::chrono::duration<double, std::milli>(longest).count();
    std::cout << "the longest of " << kUpdates << " updates of RETA and key took " << ms << " ms" << std::endl;
    EXPECT_LT(longest, kLimit);
    for (uint16_t queue = 0; queue < kQueues; ++queue) {
        std::array<rte_mbuf *, 32> packets{};
        while (const uint16_t received = rte_eth_rx_burst(port(), queue, packets.data(), packets.size()))
            rte_pktmbuf_free_bulk(packets.data(), received);
    }
    expect_hashed(samples, config, kQueues);
}

} // namespace
} // namespace tapflow::test
