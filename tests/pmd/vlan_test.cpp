// SPDX-License-Identifier: BSD-3-Clause
// VLAN filter and strip, which may change while packets come.
#include "pmd/ethdev_fixture.h"
#include "pmd/plugin.h"
#include "pmd/remote_rig.h"

#include <linux/if_ether.h>
#include <rte_flow.h>

#include <array>
#include <optional>

namespace tapflow::test {
namespace {

class Vlan : public Ethdev, public testing::WithParamInterface<bool> {
  protected:
    void SetUp() override {
        add_veth(ns(), "eth3", outside, "peer3");
        open(GetParam() ? "net_tap0,iface=tap0,remote=eth3" : "net_tap0,iface=tap0");
        sender.emplace(GetParam() ? outside : ns(), GetParam() ? "peer3" : "tap0",
                       PacketSocketOptions{.receive = false});
        mac = ns().link("tap0").mac;
    }

    void start(uint64_t offloads, uint16_t queues = 1) {
        rte_eth_conf conf{};
        conf.rxmode.offloads = offloads;
        configure_exactly_and_start(queues, queues, conf);
    }

    [[nodiscard]] packet::Bytes tagged(unsigned tci, uint16_t tpid = 0x8100) const {
        const packet::Vlan tag{
            .vid = static_cast<uint16_t>(tci & 0xfff), .pcp = static_cast<uint8_t>(tci >> 13), .tpid = tpid};
        return packet::Packet().ether(mac).vlan(tag).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(20).bytes();
    }
    [[nodiscard]] packet::Bytes untagged() const {
        return packet::Packet().ether(mac).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(20).bytes();
    }

    struct Received {
        size_t length = 0;
        std::optional<uint16_t> stripped; ///< the TCI
        bool operator==(const Received &) const = default;
    };
    friend std::ostream &operator<<(std::ostream &out, const Received &received) {
        return out << received.length << " bytes, stripped TCI " << testing::PrintToString(received.stripped);
    }

    /// What comes of a frame; none: it was filtered.
    std::optional<Received> pass(const packet::Bytes &frame) {
        (void)sender->send(frame);
        rte_mbuf *packet = nullptr;
        if (rte_eth_rx_burst(port(), 0, &packet, 1) == 0)
            return std::nullopt;
        Received received{packet->pkt_len, std::nullopt};
        if (packet->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)
            received.stripped = packet->vlan_tci;
        rte_pktmbuf_free(packet);
        return received;
    }
    bool passes(const packet::Bytes &frame) { return pass(frame).has_value(); }

    NetNs outside;
    std::optional<PacketSocket> sender;
    packet::Mac mac;
};
INSTANTIATE_TEST_SUITE_P(Mode, Vlan, testing::Bool(),
                         [](const auto &instance) { return instance.param ? "remote" : "local"; });

TEST_P(Vlan, OnlyVlansThatAreLetInPassTheFilter) {
    start(RTE_ETH_RX_OFFLOAD_VLAN_FILTER);
    for (const unsigned id : {1, 5, 63, 64, 4095})
        EXPECT_FALSE(passes(tagged(id))) << id;
    EXPECT_TRUE(passes(untagged()));
    EXPECT_TRUE(passes(tagged(3 << 13))) << "a priority is no VLAN";
    for (const unsigned id : {5, 64, 4095})
        ASSERT_EQ(rte_eth_dev_vlan_filter(port(), static_cast<uint16_t>(id), 1), 0);
    for (const unsigned id : {5, 64, 4095})
        EXPECT_TRUE(passes(tagged(5U << 13 | id))) << id;
    for (const unsigned id : {1, 4, 6, 63, 65, 69, 4094})
        EXPECT_FALSE(passes(tagged(id))) << id;
    EXPECT_TRUE(passes(tagged(5, 0x88a8)));
    EXPECT_FALSE(passes(tagged(6, 0x88a8)));
    ASSERT_EQ(rte_eth_dev_vlan_filter(port(), 5, 0), 0);
    EXPECT_FALSE(passes(tagged(5)));
    EXPECT_TRUE(passes(tagged(64)));
    if (!GetParam()) {
        EXPECT_GT(xstat("rx_filtered"), 0U);
    }
}

TEST_P(Vlan, FilterIsSwitchedAtRunTimeAndKeptOverARestart) {
    start(0);
    EXPECT_TRUE(passes(tagged(7)));
    EXPECT_LT(rte_eth_dev_vlan_filter(port(), 7, 1), 0) << "the filter is off";
    ASSERT_EQ(rte_eth_dev_set_vlan_offload(port(), RTE_ETH_VLAN_FILTER_OFFLOAD), 0);
    EXPECT_FALSE(passes(tagged(7)));
    ASSERT_EQ(rte_eth_dev_vlan_filter(port(), 7, 1), 0);
    EXPECT_TRUE(passes(tagged(7)));
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    ASSERT_EQ(rte_eth_dev_start(port()), 0);
    EXPECT_TRUE(passes(tagged(7)));
    EXPECT_FALSE(passes(tagged(8)));
    ASSERT_EQ(rte_eth_dev_set_vlan_offload(port(), 0), 0);
    EXPECT_TRUE(passes(tagged(8)));
}

TEST_P(Vlan, FilterHoldsForPromiscuousPortsAndNotForWhatRulesTake) {
    start(RTE_ETH_RX_OFFLOAD_VLAN_FILTER);
    ASSERT_EQ(rte_eth_promiscuous_enable(port()), 0);
    EXPECT_FALSE(passes(tagged(9)));
    rte_flow_attr attr{};
    attr.ingress = 1;
    rte_flow_item_vlan vlan{};
    rte_flow_item_vlan mask{};
    vlan.tci = RTE_BE16(9);
    mask.tci = RTE_BE16(0xfff);
    const std::array<rte_flow_item, 3> pattern{{{RTE_FLOW_ITEM_TYPE_ETH, nullptr, nullptr, nullptr},
                                                {RTE_FLOW_ITEM_TYPE_VLAN, &vlan, nullptr, &mask},
                                                {RTE_FLOW_ITEM_TYPE_END, nullptr, nullptr, nullptr}}};
    rte_flow_action_queue queue{0};
    const std::array<rte_flow_action, 2> actions{
        {{RTE_FLOW_ACTION_TYPE_QUEUE, &queue}, {RTE_FLOW_ACTION_TYPE_END, nullptr}}};
    rte_flow_error error{};
    ASSERT_NE(rte_flow_create(port(), &attr, pattern.data(), actions.data(), &error), nullptr);
    EXPECT_TRUE(passes(tagged(9)));
    EXPECT_FALSE(passes(tagged(10)));
}

class RemoteVlan : public Vlan {};
INSTANTIATE_TEST_SUITE_P(Mode, RemoteVlan, testing::Values(true), [](const auto &) { return "remote"; });

/// What the application does not get of a remote's traffic is the kernel's.
TEST_P(RemoteVlan, FilteredPacketsAreItsKernels) {
    start(RTE_ETH_RX_OFFLOAD_VLAN_FILTER);
    ASSERT_EQ(rte_eth_dev_vlan_filter(port(), 5, 1), 0);
    PacketSocket kernel = socket_behind_ingress(ns(), "eth3", ETH_P_IP);
    EXPECT_FALSE(passes(tagged(6)));
    EXPECT_TRUE(kernel.receive());
    EXPECT_TRUE(passes(tagged(5)));
    EXPECT_FALSE(kernel.receive(milliseconds(0)));
}

TEST_P(Vlan, StripIsSwitchedAtRunTimeForAllQueuesOrOne) {
    start(0);
    const Received whole{tagged(7).size(), std::nullopt};
    const Received stripped{untagged().size(), uint16_t{7}};
    EXPECT_EQ(pass(tagged(7)), whole);
    ASSERT_EQ(rte_eth_dev_set_vlan_offload(port(), RTE_ETH_VLAN_STRIP_OFFLOAD), 0);
    EXPECT_EQ(pass(tagged(7)), stripped);
    ASSERT_EQ(rte_eth_dev_set_vlan_strip_on_queue(port(), 0, 0), 0);
    EXPECT_EQ(pass(tagged(7)), whole);
    ASSERT_EQ(rte_eth_dev_set_vlan_strip_on_queue(port(), 0, 1), 0);
    EXPECT_EQ(pass(tagged(7)), stripped);
    rte_eth_rxq_info queue{};
    ASSERT_EQ(rte_eth_rx_queue_info_get(port(), 0, &queue), 0);
    EXPECT_TRUE(queue.conf.offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP);
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    ASSERT_EQ(rte_eth_dev_start(port()), 0);
    EXPECT_EQ(pass(tagged(7)), stripped);
    ASSERT_EQ(rte_eth_dev_set_vlan_offload(port(), 0), 0);
    EXPECT_EQ(pass(tagged(7)), whole);
}

} // namespace
} // namespace tapflow::test
