// SPDX-License-Identifier: BSD-3-Clause
// The driver against what a model of a NIC reported for the same frames, with exactly the NIC's types.
#include "pmd/ethdev_fixture.h"
#include "pmd/vectors_rig.h"

#include <algorithm>
#include <array>

namespace tapflow::test {
namespace {

constexpr uint16_t kQueues = 4;

class EthdevVectors : public Ethdev, public testing::WithParamInterface<Mode> {
  protected:
    void SetUp() override {
        if (remote())
            add_veth(ns(), "eth3", outside_, "peer3");
        open(std::string("net_tap0,iface=tap0") + (remote() ? ",remote=eth3" : ""));
    }

    static bool remote() { return GetParam() == Mode::Remote; }

    PacketSocket sender() {
        return remote() ? PacketSocket(outside_, "peer3", {.receive = false})
                        : PacketSocket(ns(), "tap0", {.receive = false});
    }

    void configure(rss::RssConfig config) {
        rte_eth_conf conf{};
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = config.types;
        conf.rx_adv_conf.rss_conf.rss_key = config.key.data();
        conf.rx_adv_conf.rss_conf.rss_key_len = static_cast<uint8_t>(config.key.size());
        ASSERT_EQ(rte_eth_dev_stop(port()), 0);
        configure_and_start(kQueues, kQueues, conf);
        ASSERT_EQ(rte_eth_promiscuous_enable(port()), 0);
        set_reta(config.reta);
    }

    /// Waits for one packet on any queue.
    std::optional<Steering> receive() {
        std::optional<Steering> received;
        (void)wait_until(
            [&] {
                for (uint16_t queue = 0; queue < kQueues && !received; ++queue) {
                    rte_mbuf *packet = nullptr;
                    if (rte_eth_rx_burst(port(), queue, &packet, 1) != 1)
                        continue;
                    received = {std::nullopt, queue};
                    if ((packet->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0)
                        received->hash = packet->hash.rss;
                    rte_pktmbuf_free(packet);
                }
                return received.has_value();
            },
            kDefaultTimeout, milliseconds(0));
        return received;
    }

  private:
    NetNs outside_;
};

INSTANTIATE_TEST_SUITE_P(Port, EthdevVectors, testing::Values(Mode::Local, Mode::Remote), mode_name);

TEST_P(EthdevVectors, HashFlagAndQueueAreTheNics) {
    const HardwareVectors file = read_hardware_vectors();
    ASSERT_EQ(file.vectors.size(), 220U);
    PacketSocket socket = sender();
    size_t compared = 0;
    size_t other_queues = 0;
    for (const auto &[name, config] : file.configurations) {
        configure(config);
        ASSERT_FALSE(HasFatalFailure());
        EXPECT_EQ(rss_types(), config.types);
        EXPECT_EQ(rss_key(), config.key);
        for (const HardwareVector &vector : vectors_of(file, name)) {
            SCOPED_TRACE(name + ": " + vector.description);
            ASSERT_TRUE(socket.send(vector.frame));
            const auto received = receive();
            ASSERT_TRUE(received);
            const Steering wanted = steering_of(vector, config);
            EXPECT_EQ(received->hash, wanted.hash);
            EXPECT_EQ(received->queue, wanted.queue);
            compared++;
            other_queues += vector.queue_differs(config) ? 1 : 0;
        }
    }
    EXPECT_EQ(compared, file.vectors.size());
    EXPECT_EQ(other_queues, 3U);
}

} // namespace
} // namespace tapflow::test
