// SPDX-License-Identifier: BSD-3-Clause
// Decisions that are explained against what the port then really does.
#include "engine/explain.h"

#include "flow/text.h"
#include "kernel/port_fixture.h"
#include "packet/random_packets.h"
#include "support/hash_reference.h"
#include "support/random_rule.h"
#include "support/seed.h"

#include <algorithm>

namespace tapflow::test {
namespace {

using engine::Decision;
using engine::Explainer;
using engine::Obstacle;

class Explain : public PortTest {
  protected:
    void create(const std::string &text) {
        const auto created = port->flows().create(must(flow::parse_rule(text)));
        EXPECT_NE(created.flow, nullptr) << text << ": " << created.refusal.error.message();
    }
    Explainer explainer() {
        seen.emplace(must(engine::find_port("tap0")));
        return must(Explainer::create(*seen, false));
    }
    /// What both say of a frame, which must be the same.
    static Decision agreed(Explainer &explainer, const packet::Bytes &frame) {
        const auto compared = must(explainer.compare(frame));
        EXPECT_TRUE(compared.dry_run) << compared.no_dry_run;
        for (const auto &[what, reference, dry_run] : compared.disagreements)
            ADD_FAILURE() << what << ": " << reference << ", " << dry_run;
        return compared.reference;
    }

    std::optional<engine::InspectedPort> seen;
};

packet::Bytes udp(uint16_t source, uint16_t destination) {
    return packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(source, destination).payload(30).bytes();
}

TEST_F(Explain, SaysWhatTheRingsRecordSays) {
    open();
    create("ingress priority 1 pattern eth / ipv4 / udp dst is 53 / end actions mark id 7 / queue index 3 / end");
    create("ingress priority 2 pattern eth / ipv4 / udp / end actions mark id 8 / end");
    create("ingress priority 3 pattern eth / ipv4 / udp dst is 99 / end actions rss queues 1 end / flag / end");
    create("ingress priority 1 pattern eth / ipv4 / tcp / end actions jump group 3 / end");
    create("ingress group 3 pattern eth / ipv4 / tcp dst is 22 / end actions drop / end");
    auto explain = explainer();
    PacketSocket socket(ns, "tap0", {.receive = false});
    for (const auto &frame :
         {udp(1, 53), udp(1, 54), udp(9, 99),
          packet::Packet().ether().ipv4("10.1.0.1", "10.0.0.2").tcp(7, 23).payload(9).bytes(),
          packet::Packet().ether().vlan(9).ipv6("fe80::1", "fe80::2").tcp(7, 22).payload(9).bytes()}) {
        const Decision decision = agreed(explain, frame);
        EXPECT_TRUE(decision.application);
        ASSERT_TRUE(socket.send(frame));
        const Delivered delivered = only_record();
        const tapflow_record &record = delivered.record;
        EXPECT_EQ(decision.queue, delivered.queue);
        EXPECT_EQ(decision.hash.value_or(0), record.hash);
        EXPECT_EQ(decision.hash.has_value(), (record.flags & TAPFLOW_RECORD_HASH) != 0);
        EXPECT_EQ(decision.mark.value_or(0), record.mark);
        EXPECT_EQ(decision.flag, (record.flags & TAPFLOW_RECORD_FLAG) != 0);
        EXPECT_EQ(decision.packet_class, record.packet_class);
        const auto *rule = explain.rule(decision.rule);
        EXPECT_EQ(rule ? rule->index : 0, record.rule);
    }
    const Decision dropped =
        agreed(explain, packet::Packet().ether().ipv4("10.1.0.1", "10.0.0.2").tcp(7, 22).payload(9).bytes());
    EXPECT_EQ(dropped.obstacle, Obstacle::RuleDrop);
    EXPECT_FALSE(dropped.application);
}

TEST_F(Explain, LeavesNothingBehind) {
    open();
    create("ingress pattern eth / ipv4 / udp / end actions count / queue index 1 / end");
    auto explain = explainer();
    const tapflow_port_state before = port->state();
    for (uint16_t i = 0; i < 100; i++)
        agreed(explain, udp(i, 53));
    EXPECT_TRUE(drain_all().empty());
    EXPECT_EQ(std::memcmp(&before.counters, &port->state().counters, sizeof(before.counters)), 0);
    EXPECT_EQ(must(seen->rules()).rules[0].count->packets, 0U);
}

TEST_F(Explain, SaysWhoDoesNotGetAPacketAndWhy) {
    open();
    must(port->set_promiscuous(false));
    const auto to = [](const char *mac) {
        return packet::Packet().ether(mac).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(30).bytes();
    };
    {
        auto explain = explainer();
        EXPECT_EQ(agreed(explain, to("02:00:00:00:77:77")).obstacle, Obstacle::Filtered);
        EXPECT_EQ(agreed(explain, to("ff:ff:ff:ff:ff:ff")).obstacle, Obstacle::None);
        EXPECT_EQ(agreed(explain, to("01:00:5e:00:00:01")).obstacle, Obstacle::Filtered);
        EXPECT_EQ(agreed(explain, to("33:33:00:00:00:01")).obstacle, Obstacle::None);
    }
    const auto own = to(port->mac().text().c_str());
    auto explain = explainer();
    const Decision decision = agreed(explain, own);
    EXPECT_EQ(decision.obstacle, Obstacle::None);
    must(port->set_queue_stopped(decision.queue, true));
    EXPECT_EQ(agreed(explain, own).obstacle, Obstacle::QueueStopped);
    port->set_vlan_filter(true);
    EXPECT_EQ(agreed(explain, packet::Packet()
                                  .ether(port->mac().text().c_str())
                                  .vlan(5)
                                  .ipv4("10.0.0.1", "10.0.0.2")
                                  .udp(1, 2)
                                  .payload(30)
                                  .bytes())
                  .obstacle,
              Obstacle::Filtered);
    port->set_isolated(true);
    EXPECT_EQ(agreed(explain, own).obstacle, Obstacle::Filtered);
    port->stop();
    EXPECT_EQ(agreed(explain, own).obstacle, Obstacle::NotStarted);
}

TEST_F(Explain, NamesTheMasksAndTheShadowedRules) {
    open();
    create("ingress priority 5 pattern eth / ipv4 src is 10.0.0.1 / end actions mark id 1 / end");
    create("ingress priority 6 pattern eth / ipv4 / udp dst is 53 / end actions queue index 2 / end");
    create("ingress priority 9 pattern eth / ipv4 / end actions queue index 1 / end");
    auto explain = explainer();
    const auto explanation = must(explain.explain(udp(1, 53)));
    ASSERT_EQ(explanation.groups.size(), 2U);
    EXPECT_EQ(explanation.groups[0].acted, 1U);
    EXPECT_EQ(explanation.groups[1].acted, 2U);
    EXPECT_EQ(explanation.groups[1].shadowed, std::vector<uint64_t>{3});
    ASSERT_EQ(explanation.groups[1].masks.size(), 3U);
    EXPECT_TRUE(explanation.groups[1].masks[2].skipped);
    EXPECT_EQ(explanation.groups[0].masks[0].compares, "ipv4 src");
    ASSERT_EQ(explanation.headers.size(), 3U);
    EXPECT_EQ(explanation.headers[1].name, "ipv4");
    EXPECT_EQ(explanation.headers[2].name, "udp");
    EXPECT_FALSE(explanation.reta_slot);
    const auto by_rss =
        must(explain.explain(packet::Packet().ether().ipv6("fe80::1", "fe80::2").udp(1, 2).payload(3).bytes()));
    EXPECT_EQ(by_rss.input.bytes().size(), 36U);
    EXPECT_EQ(by_rss.config.reta[*by_rss.reta_slot], by_rss.reference.queue);
}

TEST_F(Explain, AgreesOnRandomPacketsRulesAndConfigurations) {
    auto random = seeded_random();
    open();
    packet::RandomPackets packets{std::mt19937_64(random())};
    RuleBounds bounds;
    bounds.queues = 6; // two of which there are not
    bounds.groups = 4;
    bounds.priorities = 6;
    bounds.directions = {flow::Direction::Ingress};
    RandomRules rules(std::mt19937_64(random()), bounds);
    unsigned delivered = 0;
    unsigned acted = 0;
    for (int set = 0; set < 12; set++) {
        must(port->flows().flush());
        unsigned made = 0;
        std::vector<packet::Bytes> frames;
        for (int i = 0; i < 300; i++)
            frames.push_back(packets.next(15, 1500));
        for (int i = 0; i < 60; i++) {
            const auto rule = rules.chance(20)
                                  ? rules.next()
                                  : rules.next_for(flow::reference_key(frames[rules.below(frames.size())]));
            made += port->flows().create(rule).flow ? 1U : 0U;
        }
        EXPECT_GT(made, 10U);
        config.function = kFunctions[static_cast<size_t>(set) % kFunctions.size()];
        config.types = rss::kAllTypes | (set % 3 == 1 ? uint64_t{rss::kInnermost} : 0) |
                       (set % 4 == 2 ? uint64_t{rss::kL3SourceOnly} : 0);
        must(port->set_rss(config));
        must(port->set_promiscuous(set % 2 == 0));
        auto explain = explainer();
        for (const auto &frame : frames) {
            const auto compared = must(explain.compare(frame));
            if (!compared.dry_run)
                continue;
            delivered += compared.reference.application ? 1U : 0U;
            acted += compared.reference.rule != 0 ? 1U : 0U;
            for (const auto &[what, reference, dry_run] : compared.disagreements)
                ADD_FAILURE() << what << ": " << reference << ", " << dry_run;
        }
    }
    EXPECT_GT(delivered, 500U);
    EXPECT_GT(acted, 100U);
}

} // namespace
} // namespace tapflow::test
