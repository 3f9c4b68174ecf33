// SPDX-License-Identifier: BSD-3-Clause
// Rules while a port starts, stops and changes, and while other rules come and go.
#include "pmd/flow_ethdev.h"
#include "pmd/remote_rig.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr uint16_t kQueues = 4;

/// Where a packet came out.
struct Outcome {
    uint16_t queue = 0;
    std::optional<uint32_t> mark{};

    bool operator==(const Outcome &) const = default;
};
std::ostream &operator<<(std::ostream &out, const Outcome &outcome) {
    return out << "queue " << outcome.queue << ", mark " << (outcome.mark ? std::to_string(*outcome.mark) : "none");
}

class FlowLifecycle : public FlowEthdev {
  protected:
    [[nodiscard]] Bytes udp(uint16_t number, uint16_t flow = 1) const {
        return Packet().ether(mac()).ipv4("10.0.0.1", "10.0.0.2").udp(flow, number).payload(20).bytes();
    }

    static FlowRequest marking(uint16_t number, uint32_t mark, uint16_t queue) {
        FlowRequest request = to_udp_port(number);
        request.action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{.id = mark}).queue(queue);
        return request;
    }

    static Outcome outcome_of(const rte_mbuf &mbuf, uint16_t queue) {
        return {queue, mbuf.ol_flags & RTE_MBUF_F_RX_FDIR_ID ? std::optional(mbuf.hash.fdir.hi) : std::nullopt};
    }

    Outcome pass(PacketSocket &sender, const Bytes &frame, uint16_t queues = kQueues) {
        EXPECT_TRUE(sender.send(frame));
        std::vector<Outcome> outcomes;
        EXPECT_TRUE(wait_until([&] {
            poll_queues(queues,
                        [&](const rte_mbuf &mbuf, uint16_t queue) { outcomes.push_back(outcome_of(mbuf, queue)); });
            return !outcomes.empty();
        }));
        EXPECT_EQ(outcomes.size(), 1U);
        return outcomes.empty() ? Outcome{} : outcomes[0];
    }

    int code_of(const FlowRequest &request) const {
        rte_flow_error error{};
        return rte_flow_validate(port(), &request.attr, request.pattern(), request.actions(), &error) == 0 ? 0
                                                                                                           : rte_errno;
    }
};

TEST_F(FlowLifecycle, RulesOfBeforeTheStartOutliveStopsAndNewQueues) {
    rte_flow *early = create(marking(80, 80, 1));
    configure_and_start(kQueues);
    PacketSocket sender(ns(), "tap0", {.receive = false});
    EXPECT_EQ(pass(sender, udp(80)), (Outcome{1, 80}));
    create(marking(81, 81, 3));
    for (int round = 0; round < 3; ++round) {
        ASSERT_EQ(rte_eth_dev_stop(port()), 0);
        if (round == 1)
            create(marking(82, 82, 2)); // while it is stopped
        ASSERT_EQ(rte_eth_dev_start(port()), 0);
        EXPECT_EQ(pass(sender, udp(80)), (Outcome{1, 80}));
        EXPECT_EQ(pass(sender, udp(81)), (Outcome{3, 81}));
    }
    EXPECT_EQ(pass(sender, udp(82)), (Outcome{2, 82}));
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    configure_and_start(8);
    for (const auto &[number, queue] : std::map<uint16_t, uint16_t>{{80, 1}, {81, 3}, {82, 2}})
        EXPECT_EQ(pass(sender, udp(number), 8), (Outcome{queue, number}));
    create(marking(83, 83, 7));
    EXPECT_EQ(pass(sender, udp(83), 8), (Outcome{7, 83}));
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    destroy(early);
    ASSERT_EQ(rte_eth_dev_start(port()), 0);
    EXPECT_EQ(pass(sender, udp(80), 8).mark, std::nullopt);
    EXPECT_EQ(pass(sender, udp(81), 8), (Outcome{3, 81}));
}

TEST_F(FlowLifecycle, QueuesAreCheckedAgainstThoseThatThereAre) {
    EXPECT_EQ(code_of(to_udp_port(80).queue(63)), 0); // not configured: as many as a port can have
    EXPECT_EQ(code_of(to_udp_port(80).queue(64)), ERANGE);
    configure_and_start(kQueues);
    const std::array<uint16_t, 3> queues{0, 3, 4};
    rte_flow_action_rss rss{};
    rss.queue = queues.data();
    rss.queue_num = 2;
    EXPECT_EQ(code_of(to_udp_port(80).action(RTE_FLOW_ACTION_TYPE_RSS, rss)), 0);
    rss.queue_num = 3;
    EXPECT_EQ(code_of(to_udp_port(80).action(RTE_FLOW_ACTION_TYPE_RSS, rss)), ERANGE);
    EXPECT_EQ(code_of(to_udp_port(80).queue(3)), 0);
    EXPECT_EQ(code_of(to_udp_port(80).queue(4)), ERANGE);
}

/// More than a driver with one kernel rule for each spreading had room for.
TEST_F(FlowLifecycle, RssRulesAreManyAndEachHasItsQueues) {
    configure_and_start(kQueues);
    constexpr uint16_t kRules = 200;
    for (uint16_t i = 0; i < kRules; ++i) {
        const std::array<uint16_t, 1> queues{static_cast<uint16_t>(i % kQueues)};
        rte_flow_action_rss rss{};
        rss.types = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
        rss.queue = queues.data();
        rss.queue_num = 1;
        FlowRequest request = to_udp_port(static_cast<uint16_t>(1000 + i));
        const void *kept = request.keep(queues);
        rss.queue = static_cast<const uint16_t *>(kept);
        create(request.action(RTE_FLOW_ACTION_TYPE_RSS, rss));
    }
    PacketSocket sender(ns(), "tap0", {.receive = false});
    for (uint16_t i = 0; i < kRules; ++i)
        EXPECT_EQ(pass(sender, udp(static_cast<uint16_t>(1000 + i))).queue, i % kQueues) << i;
}

/// A port at the remote that is stopped takes nothing, whatever its rules, and they are there again with it.
class RemoteFlowLifecycle : public FlowLifecycle {
  protected:
    void SetUp() override {
        add_veth(ns(), "eth3", outside, "peer3");
        open("net_tap0,iface=tap0,remote=eth3");
    }

    NetNs outside;
};

TEST_F(RemoteFlowLifecycle, AStoppedPortKeepsItsRulesAndTakesNothing) {
    configure_and_start(kQueues);
    create(marking(80, 80, 2));
    create(to_udp_port(81).action(RTE_FLOW_ACTION_TYPE_DROP));
    PacketSocket sender(outside, "peer3", {.receive = false});
    PacketSocket kernel = socket_behind_ingress(ns(), "eth3", 0x0800);
    for (int round = 0; round < 3; ++round) {
        EXPECT_EQ(pass(sender, udp(80)), (Outcome{2, 80}));
        ASSERT_EQ(rte_eth_dev_stop(port()), 0);
        for (const uint16_t number : std::initializer_list<uint16_t>{80, 81, 82}) {
            ASSERT_TRUE(sender.send(udp(number)));
            const auto frame = kernel.receive();
            ASSERT_TRUE(frame);
            EXPECT_EQ(frame->bytes, udp(number));
        }
        ASSERT_EQ(rte_eth_dev_start(port()), 0);
        ASSERT_TRUE(sender.send(udp(81))); // dropped, or it would be what comes out next
    }
    EXPECT_EQ(pass(sender, udp(80)), (Outcome{2, 80}));
    EXPECT_FALSE(kernel.receive(milliseconds(0)));
}

} // namespace
} // namespace tapflow::test
