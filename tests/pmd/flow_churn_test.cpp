// SPDX-License-Identifier: BSD-3-Clause
// Rules of all shapes come and go beside two under full traffic, of whose packets each meets its rule.
#include "pmd/flow_ethdev.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr uint16_t kQueues = 4;
constexpr std::array<uint32_t, 2> kMarks{0x5ab1e, 0xa1}; ///< of the stable rules

class FlowChurn : public FlowEthdev {
  protected:
    static FlowRequest marking(uint16_t number, uint32_t mark, uint16_t queue) {
        FlowRequest request = to_udp_port(number);
        request.action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{.id = mark}).queue(queue);
        return request;
    }

    /// Shares its mask with rules of better priority that come and go.
    static FlowRequest stable_among_others() {
        FlowRequest request = marking(80, kMarks[0], 3);
        request.action(RTE_FLOW_ACTION_TYPE_COUNT);
        request.attr.priority = 1;
        return request;
    }

    /// Alone with its mask, behind masks that come and go.
    static FlowRequest stable_alone() {
        rte_flow_item_udp spec{};
        rte_flow_item_udp mask{};
        spec.hdr.src_port = RTE_BE16(7);
        spec.hdr.dst_port = RTE_BE16(79);
        mask.hdr.src_port = RTE_BE16(0xffff);
        mask.hdr.dst_port = RTE_BE16(0xffff);
        FlowRequest request;
        request.attr.priority = 5;
        request.item(RTE_FLOW_ITEM_TYPE_ETH).item(RTE_FLOW_ITEM_TYPE_IPV4).item(RTE_FLOW_ITEM_TYPE_UDP, spec, mask);
        request.action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{.id = kMarks[1]}).queue(2);
        request.action(RTE_FLOW_ACTION_TYPE_COUNT);
        return request;
    }

    static bool as_ruled(const rte_mbuf &mbuf, uint16_t queue) {
        const auto *bytes = rte_pktmbuf_mtod(&mbuf, const uint8_t *);
        const bool among_others = bytes[37] == 80; // the low byte of the destination port
        return mbuf.ol_flags & RTE_MBUF_F_RX_FDIR_ID && mbuf.hash.fdir.hi == kMarks[among_others ? 0 : 1] &&
               queue == (among_others ? 3 : 2);
    }

    /// Creates and destroys rules until told to stop. Returns how many were refused or could not be destroyed.
    unsigned churn(const std::atomic<bool> &over, std::atomic<unsigned> &changes) const {
        unsigned failures = 0;
        std::array<rte_flow *, 64> alive{};
        for (uint32_t round = 0; !over; ++round) {
            rte_flow *&slot = alive.at(round % alive.size());
            rte_flow_error error{};
            if (slot != nullptr && rte_flow_destroy(port(), slot, &error) != 0)
                ++failures;
            const FlowRequest request = passing(round);
            slot = rte_flow_create(port(), &request.attr, request.pattern(), request.actions(), &error);
            if (slot == nullptr && rte_errno != EEXIST) // two rounds may ask for the same match
                ++failures;
            ++changes;
        }
        return failures;
    }

    /// One that concerns other packets, or these behind the stable rule.
    FlowRequest passing(uint32_t round) const {
        const auto number = static_cast<uint16_t>(1000 + round % 7919);
        switch (round % 6) {
        case 0:
            return marking(number, round, 0);
        case 1: { // another mask, of worse priority, for the same packets
            FlowRequest request;
            request.attr.priority = 9;
            request.item(RTE_FLOW_ITEM_TYPE_ETH).item(RTE_FLOW_ITEM_TYPE_IPV4).queue(0);
            return request;
        }
        case 2: { // a range
            rte_flow_item_udp spec{};
            rte_flow_item_udp mask{};
            rte_flow_item_udp last{};
            spec.hdr.dst_port = rte_cpu_to_be_16(number);
            last.hdr.dst_port = rte_cpu_to_be_16(static_cast<uint16_t>(number + 5));
            mask.hdr.dst_port = RTE_BE16(0xffff);
            FlowRequest request;
            request.item(RTE_FLOW_ITEM_TYPE_ETH).item(RTE_FLOW_ITEM_TYPE_UDP, spec, mask, last);
            request.action(RTE_FLOW_ACTION_TYPE_DROP);
            return request;
        }
        case 3: { // an RSS action, counted
            rte_flow_action_rss rss{};
            rss.types = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
            FlowRequest request = to_udp_port(number);
            request.action(RTE_FLOW_ACTION_TYPE_COUNT).action(RTE_FLOW_ACTION_TYPE_RSS, rss);
            return request;
        }
        case 4: { // a group that nobody jumps to, of best priority
            FlowRequest request = marking(80, round, 0);
            request.attr.group = 1 + round % 15;
            return request;
        }
        default: { // a mask of its own for each
            rte_flow_item_ipv4 spec{};
            rte_flow_item_ipv4 mask{};
            spec.hdr.src_addr = RTE_BE32(0xc0000200);
            mask.hdr.src_addr = rte_cpu_to_be_32(~uint32_t{0} << round / 6 % 24);
            FlowRequest request;
            request.item(RTE_FLOW_ITEM_TYPE_ETH).item(RTE_FLOW_ITEM_TYPE_IPV4, spec, mask);
            request.action(RTE_FLOW_ACTION_TYPE_DROP);
            return request;
        }
        }
    }
};

TEST_F(FlowChurn, NeverCostsAPacketOfAStableRule) {
    configure_and_start(kQueues);
    const std::array stable{create(stable_among_others()), create(stable_alone())};
    std::array<Bytes, 2> frames;
    for (size_t i = 0; i < frames.size(); ++i)
        frames.at(i) = Packet()
                           .ether(mac())
                           .ipv4("10.0.0.1", "10.0.0.2")
                           .udp(7, static_cast<uint16_t>(80 - i))
                           .payload(20)
                           .bytes();
    std::atomic<bool> over{false};
    std::atomic<unsigned> changes{0};
    unsigned failures = 0;
    std::thread churner([&] {
        pin_to(cpus());
        failures = churn(over, changes);
    });
    uint64_t sent = 0;
    std::thread sender([&] {
        pin_to(cpus());
        PacketSocket socket(ns(), "tap0", {.receive = false});
        for (; !over; ++sent)
            for (const Bytes &frame : frames)
                (void)socket.send(frame); // refused when a queue is full, and counted by the rule all the same
    });
    unsigned right = 0;
    unsigned wrong = 0;
    const auto look = [&](const rte_mbuf &mbuf, uint16_t queue) { ++(as_ruled(mbuf, queue) ? right : wrong); };
    const auto end = Clock::now() + milliseconds(3000);
    EXPECT_TRUE(wait_until(
        [&] {
            poll_queues(kQueues, look);
            return Clock::now() >= end && changes >= 5000 && right >= 20'000;
        },
        kDefaultTimeout, milliseconds(0)));
    over = true;
    churner.join();
    sender.join();
    while (poll_queues(kQueues, look) != 0) {
    }
    EXPECT_EQ(wrong, 0U) << "of " << right + wrong << " packets during " << changes << " changes";
    EXPECT_EQ(failures, 0U);
    for (rte_flow *flow : stable)
        EXPECT_EQ(query(flow), (Count{sent, sent * frames[0].size()}));
}

} // namespace
} // namespace tapflow::test
