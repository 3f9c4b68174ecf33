// SPDX-License-Identifier: BSD-3-Clause
// Egress rules act on what the application sends, ingress rules on what it receives, and neither on the other.
#include "pmd/flow_ethdev.h"
#include "pmd/remote_rig.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

class FlowEgress : public FlowEthdev {
  protected:
    static FlowRequest egress(uint16_t number) {
        FlowRequest request = to_udp_port(number);
        request.attr.ingress = 0;
        request.attr.egress = 1;
        return request;
    }

    static Bytes udp(uint16_t number, const packet::Mac &to, size_t payload = 20) {
        return Packet().ether(to).ipv4("10.0.0.1", "10.0.0.2").udp(1, number).payload(payload).bytes();
    }

    void transmit(const Bytes &frame) {
        rte_mbuf *mbuf = make_mbuf(frame);
        ASSERT_NE(mbuf, nullptr);
        ASSERT_EQ(rte_eth_tx_burst(port(), 0, &mbuf, 1), 1);
    }

    /// The UDP destination ports of the application's packets that go on into the kernel, up to that of the last.
    std::vector<unsigned> sent_until(PacketSocket &kernel, unsigned last) const {
        std::vector<unsigned> ports;
        for (;;) {
            const auto frame = kernel.receive();
            if (!frame)
                throw std::runtime_error("the last packet did not come");
            const unsigned number = frame->bytes[36] << 8U | frame->bytes[37];
            if (number == last)
                return ports;
            ports.push_back(number);
        }
    }

    /// Those of what the application receives.
    std::vector<unsigned> received_until(unsigned last) {
        std::vector<unsigned> ports;
        bool done = false;
        EXPECT_TRUE(wait_until([&] {
            poll_queues(1, [&](const rte_mbuf &mbuf, uint16_t) {
                const auto *bytes = rte_pktmbuf_mtod(&mbuf, const uint8_t *);
                const unsigned number = bytes[36] << 8U | bytes[37];
                done = done || number == last;
                if (number != last)
                    ports.push_back(number);
            });
            return done;
        }));
        return ports;
    }

    rte_flow *create_counting(FlowRequest &&request, rte_flow_action_type fate) const {
        return create(request.action(RTE_FLOW_ACTION_TYPE_COUNT).action(fate));
    }
};

constexpr uint16_t kIpv4Type = 0x0800;

TEST_F(FlowEgress, RulesOfOneDirectionLeaveTheOtherAlone) {
    configure_and_start(1);
    rte_flow *out_dropped = create_counting(egress(80), RTE_FLOW_ACTION_TYPE_DROP);
    rte_flow *in_dropped = create_counting(to_udp_port(81), RTE_FLOW_ACTION_TYPE_DROP);
    rte_flow *out_counted = create_counting(egress(82), RTE_FLOW_ACTION_TYPE_PASSTHRU);
    rte_flow *in_counted = create_counting(to_udp_port(82), RTE_FLOW_ACTION_TYPE_PASSTHRU);
    PacketSocket kernel = socket_behind_ingress(ns(), "tap0", kIpv4Type);
    PacketSocket host(ns(), "tap0", {.receive = false});
    const packet::Mac other = "02:00:00:00:00:22";
    for (const uint16_t number : std::initializer_list<uint16_t>{80, 80, 80, 81, 81, 82, 83}) {
        transmit(udp(number, other));
        ASSERT_TRUE(host.send(udp(number, mac())));
    }
    transmit(udp(99, other));
    ASSERT_TRUE(host.send(udp(99, mac())));
    EXPECT_EQ(sent_until(kernel, 99), (std::vector<unsigned>{81, 81, 82, 83}));
    EXPECT_EQ(received_until(99), (std::vector<unsigned>{80, 80, 80, 82, 83}));
    const uint64_t size = udp(80, other).size();
    EXPECT_EQ(query(out_dropped), (Count{3, 3 * size}));
    EXPECT_EQ(query(in_dropped), (Count{2, 2 * size}));
    EXPECT_EQ(query(out_counted), (Count{1, size}));
    EXPECT_EQ(query(in_counted), (Count{1, size}));
    EXPECT_EQ(xstat("rule_dropped"), 5U);
}

TEST_F(FlowEgress, RulesComeAndGo) {
    configure_and_start(1);
    PacketSocket kernel = socket_behind_ingress(ns(), "tap0", kIpv4Type);
    const std::string before = ns().must_run({"tc", "filter", "show", "dev", "tap0", "ingress"});
    const packet::Mac other = "02:00:00:00:00:22";
    for (int round = 0; round < 3; ++round) {
        rte_flow *rule = create(egress(80).action(RTE_FLOW_ACTION_TYPE_DROP));
        rte_flow *second = create(egress(81).action(RTE_FLOW_ACTION_TYPE_DROP));
        for (const uint16_t number : std::initializer_list<uint16_t>{80, 81, 82, 99})
            transmit(udp(number, other));
        EXPECT_EQ(sent_until(kernel, 99), std::vector<unsigned>{82});
        destroy(rule);
        for (const uint16_t number : std::initializer_list<uint16_t>{80, 81, 82, 99})
            transmit(udp(number, other));
        EXPECT_EQ(sent_until(kernel, 99), (std::vector<unsigned>{80, 82}));
        destroy(second);
        for (const uint16_t number : std::initializer_list<uint16_t>{80, 81, 99})
            transmit(udp(number, other));
        EXPECT_EQ(sent_until(kernel, 99), (std::vector<unsigned>{80, 81}));
        EXPECT_EQ(ns().must_run({"tc", "filter", "show", "dev", "tap0", "ingress"}), before);
    }
}

TEST_F(FlowEgress, JumpsAndPrioritiesAreThereToo) {
    configure_and_start(1);
    PacketSocket kernel = socket_behind_ingress(ns(), "tap0", kIpv4Type);
    FlowRequest jump;
    jump.attr = {};
    jump.attr.egress = 1;
    jump.attr.priority = 7;
    create(jump.item(RTE_FLOW_ITEM_TYPE_ETH).action(RTE_FLOW_ACTION_TYPE_JUMP, rte_flow_action_jump{.group = 15}));
    FlowRequest in_group = egress(80);
    in_group.attr.group = 15;
    create(in_group.action(RTE_FLOW_ACTION_TYPE_DROP));
    FlowRequest same_group = to_udp_port(81);
    same_group.attr.group = 15;
    create(same_group.action(RTE_FLOW_ACTION_TYPE_DROP)); // ingress: nobody jumps there
    for (const uint16_t number : std::initializer_list<uint16_t>{80, 81, 82, 99})
        transmit(udp(number, "02:00:00:00:00:22"));
    EXPECT_EQ(sent_until(kernel, 99), (std::vector<unsigned>{81, 82}));
}

TEST_F(FlowEgress, OtherActionsAreRefused) {
    configure_and_start(2);
    for (const auto type : {RTE_FLOW_ACTION_TYPE_QUEUE, RTE_FLOW_ACTION_TYPE_MARK, RTE_FLOW_ACTION_TYPE_FLAG}) {
        FlowRequest request = egress(80);
        if (type == RTE_FLOW_ACTION_TYPE_QUEUE)
            request.queue(1);
        else if (type == RTE_FLOW_ACTION_TYPE_MARK)
            request.action(type, rte_flow_action_mark{.id = 1});
        else
            request.action(type);
        rte_flow_error error{};
        EXPECT_EQ(rte_flow_create(port(), &request.attr, request.pattern(), request.actions(), &error), nullptr);
        EXPECT_EQ(rte_errno, ENOTSUP);
        EXPECT_NE(std::string(error.message).find("not for egress"), std::string::npos) << error.message;
    }
}

/// In remote mode packets go from the tap out of the remote: rules are in front of that.
class RemoteFlowEgress : public FlowEgress {
  protected:
    void SetUp() override {
        add_veth(ns(), "eth3", outside, "peer3");
        open("net_tap0,iface=tap0,remote=eth3");
    }

    NetNs outside;
};

TEST_F(RemoteFlowEgress, RulesAreInFrontOfTheRemote) {
    configure_and_start(1);
    rte_flow *dropped = create_counting(egress(80), RTE_FLOW_ACTION_TYPE_DROP);
    rte_flow *counted = create_counting(egress(81), RTE_FLOW_ACTION_TYPE_PASSTHRU);
    PacketSocket peer = socket_behind_ingress(outside, "peer3", kIpv4Type);
    PacketSocket sender(outside, "peer3", {.receive = false});
    const packet::Mac own = ns().link("eth3").mac;
    for (const uint16_t number : std::initializer_list<uint16_t>{80, 80, 81, 82, 99}) {
        transmit(udp(number, "02:00:00:00:00:22"));
        ASSERT_TRUE(sender.send(udp(number, own)));
    }
    EXPECT_EQ(sent_until(peer, 99), (std::vector<unsigned>{81, 82}));
    EXPECT_EQ(received_until(99), (std::vector<unsigned>{80, 80, 81, 82}));
    EXPECT_EQ(query(dropped).packets, 2U);
    EXPECT_EQ(query(counted).packets, 1U);
}

} // namespace
} // namespace tapflow::test
