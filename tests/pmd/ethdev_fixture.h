// SPDX-License-Identifier: BSD-3-Clause
// A port of the plugin in the test's own process.
#pragma once

#include "packet/build.h"
#include "pmd/plugin.h"
#include "support/cpus.h"
#include "support/netns.h"
#include "support/packet_socket.h"

#include <gtest/gtest.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace tapflow::test {

/// One port in this process, "net_tap0" with the tap "tap0" unless a test opens another. EAL stays until the process
/// ends, so only one test can run in each: gtest_discover_tests sees to that.
class Ethdev : public testing::Test {
  protected:
    void SetUp() override { open("net_tap0,iface=tap0"); }

    /// A test with another device than SetUp()'s overrides that.
    void open(const std::string &vdev) {
        std::string directory = (std::filesystem::temp_directory_path() / "tapflow-XXXXXX").string();
        ASSERT_NE(mkdtemp(directory.data()), nullptr);
        runtime_directory_ = directory;
        ASSERT_EQ(setenv("RUNTIME_DIRECTORY", directory.c_str(), 1), 0);
        std::vector<std::string> arguments{"test",
                                           "--no-huge",
                                           "-m",
                                           "64",
                                           "--no-pci",
                                           "--no-telemetry",
                                           "--no-shconf",
                                           "--log-level=8",
                                           "-d",
                                           plugin_path(),
                                           "--vdev=" + with_tested_modes(vdev)};
        std::vector<char *> argv;
        argv.reserve(arguments.size());
        for (std::string &argument : arguments)
            argv.push_back(argument.data());
        ASSERT_GE(rte_eal_init(static_cast<int>(argv.size()), argv.data()), 0);
        ASSERT_EQ(rte_eth_dev_get_port_by_name(vdev.substr(0, vdev.find(',')).c_str(), &port_), 0);
        pool_ = rte_pktmbuf_pool_create("pool", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
        ASSERT_NE(pool_, nullptr);
    }

    void TearDown() override {
        if (pool_ != nullptr) {
            if (!closed_) {
                EXPECT_EQ(rte_eth_dev_stop(port_), 0);
                EXPECT_EQ(rte_eth_dev_close(port_), 0);
            }
            EXPECT_FALSE(ns_.find_link("tap0"));
        }
        rte_eal_cleanup();
        std::filesystem::remove_all(runtime_directory_);
    }

    /// To be said by a test that closes the port itself.
    void leave_closed() { closed_ = true; }

    void configure_and_start(uint16_t queues) { configure_and_start(queues, queues); }

    void configure_and_start(uint16_t rx_queues, uint16_t tx_queues, uint64_t tx_offloads = 0,
                             uint16_t descriptors = 512) {
        rte_eth_conf conf{};
        conf.txmode.offloads = tx_offloads;
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_IPV4;
        configure_and_start(rx_queues, tx_queues, conf, descriptors);
    }

    /// The hash is asked for in any case.
    void configure_and_start(uint16_t rx_queues, uint16_t tx_queues, rte_eth_conf conf, uint16_t descriptors = 512) {
        conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_RSS_HASH;
        configure_exactly_and_start(rx_queues, tx_queues, conf, descriptors);
    }

    void configure_exactly_and_start(uint16_t rx_queues, uint16_t tx_queues, const rte_eth_conf &conf,
                                     uint16_t descriptors = 512) {
        ASSERT_EQ(rte_eth_dev_configure(port_, rx_queues, tx_queues, &conf), 0);
        for (uint16_t i = 0; i < rx_queues; ++i)
            ASSERT_EQ(rte_eth_rx_queue_setup(port_, i, descriptors, SOCKET_ID_ANY, nullptr, pool_), 0);
        for (uint16_t i = 0; i < tx_queues; ++i)
            ASSERT_EQ(rte_eth_tx_queue_setup(port_, i, 512, SOCKET_ID_ANY, nullptr), 0);
        ASSERT_EQ(rte_eth_dev_start(port_), 0);
    }

    /// The port's present key, and types.
    [[nodiscard]] std::vector<uint8_t> rss_key() const {
        std::vector<uint8_t> key(64);
        rte_eth_rss_conf conf{};
        conf.rss_key = key.data();
        conf.rss_key_len = static_cast<uint8_t>(key.size());
        EXPECT_EQ(rte_eth_dev_rss_hash_conf_get(port_, &conf), 0);
        key.resize(conf.rss_key_len);
        return key;
    }
    [[nodiscard]] uint64_t rss_types() const {
        rte_eth_rss_conf conf{};
        EXPECT_EQ(rte_eth_dev_rss_hash_conf_get(port_, &conf), 0);
        return conf.rss_hf;
    }

    void set_reta(const std::vector<uint16_t> &reta) {
        std::vector<rte_eth_rss_reta_entry64> entries(reta.size() / RTE_ETH_RETA_GROUP_SIZE);
        for (size_t slot = 0; slot < reta.size(); ++slot) {
            entries[slot / RTE_ETH_RETA_GROUP_SIZE].mask = ~uint64_t{0};
            entries[slot / RTE_ETH_RETA_GROUP_SIZE].reta[slot % RTE_ETH_RETA_GROUP_SIZE] = reta[slot];
        }
        ASSERT_EQ(rte_eth_dev_rss_reta_update(port_, entries.data(), static_cast<uint16_t>(reta.size())), 0);
    }

    /// An mbuf, or a chain, with the frame in it.
    rte_mbuf *make_mbuf(const packet::Bytes &frame) {
        rte_mbuf *head = rte_pktmbuf_alloc(pool_);
        for (size_t at = 0; head != nullptr && at < frame.size();) {
            rte_mbuf *segment = at == 0 ? head : rte_pktmbuf_alloc(pool_);
            const auto length =
                static_cast<uint16_t>(std::min<size_t>(rte_pktmbuf_tailroom(segment), frame.size() - at));
            std::copy_n(frame.begin() + static_cast<ptrdiff_t>(at), length, rte_pktmbuf_append(segment, length));
            if (segment != head) {
                EXPECT_EQ(rte_pktmbuf_chain(head, segment), 0);
            }
            at += length;
        }
        return head;
    }

    /// The same of a TCP or UDP packet without a tag, with the lengths of its headers for offloads.
    rte_mbuf *make_mbuf(const packet::Packet &packet) {
        rte_mbuf *mbuf = make_mbuf(packet.bytes());
        mbuf->l2_len = 14;
        mbuf->l3_len = (packet.transport_offset() - 14) & 0x1ff; // the bits that the fields have
        mbuf->l4_len = packet.transport_header_size() & 0xff;
        return mbuf;
    }

    [[nodiscard]] uint64_t xstat(const char *name) const {
        uint64_t id = 0;
        uint64_t value = 0;
        EXPECT_EQ(rte_eth_xstats_get_id_by_name(port_, name, &id), 0) << name;
        EXPECT_EQ(rte_eth_xstats_get_by_id(port_, &id, &value, 1), 1) << name;
        return value;
    }
    [[nodiscard]] rte_mempool *pool() const { return pool_; }
    [[nodiscard]] unsigned free_mbufs() const { return rte_mempool_avail_count(pool_); }
    [[nodiscard]] uint16_t port() const { return port_; }
    [[nodiscard]] const NetNs &ns() const { return ns_; }
    /// Those that this thread had before EAL bound it, and so all that it starts, to one.
    [[nodiscard]] const std::vector<int> &cpus() const { return cpus_; }

  private:
    std::vector<int> cpus_ = own_cpus();
    NetNs ns_;
    NetNsGuard inside_ = ns_.enter();
    std::filesystem::path runtime_directory_;
    rte_mempool *pool_ = nullptr;
    uint16_t port_ = 0;
    bool closed_ = false;
};

} // namespace tapflow::test
