// SPDX-License-Identifier: BSD-3-Clause
// RSS by rules: contexts of their own, and shared ones that change.
#include "kernel/flow_probe.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace tapflow::test {
namespace {

flow::RssAction random_action(std::mt19937_64 &random) {
    flow::RssAction action;
    action.key.resize(rss::kKeySize);
    for (uint8_t &byte : action.key)
        byte = static_cast<uint8_t>(random());
    action.types = rss::kIpv4Udp;
    const size_t count = 2 + random() % 6;
    while (action.queues.size() < count)
        action.queues.push_back(static_cast<uint16_t>(random() % 16));
    return action;
}

flow::Rule rule_for(uint16_t port, const flow::RssAction &action) {
    return with_rss(rule_of(pattern_of(port) + " / end actions drop / end"), action);
}

/// Packets to the port spread by the action's own key, over its own queues.
void expect_spread(FlowRig &rig, uint16_t port, const flow::RssAction &action) {
    const auto tables = tables_of(resolved(action, rig.rss()));
    for (uint16_t from = 0; from < 4; from++) {
        const packet::Bytes frame = udp_to(port, from);
        ASSERT_EQ(run_one(rig, frame).queue, classify(*tables, frame).queue) << "port " << port << " from " << from;
    }
}

TEST(FlowContexts, AllOf256AreHonouredAtOnceAndTheNextIsRefused) {
    auto random = seeded_random();
    FlowRig rig;
    std::vector<flow::RssAction> actions;
    std::vector<engine::Flow *> flows;
    for (uint16_t i = 0; i < TAPFLOW_FLOW_CONTEXTS; i++) {
        actions.push_back(random_action(random));
        flows.push_back(rig.rules().create(rule_for(i, actions.back())).flow);
        ASSERT_NE(flows.back(), nullptr);
    }
    const auto expect_all = [&] {
        for (uint16_t i = 0; i < TAPFLOW_FLOW_CONTEXTS; i++)
            expect_spread(rig, i, actions[i]);
    };
    expect_all();
    const flow::RssAction one_more = random_action(random);
    const auto refused = rig.rules().create(rule_for(1000, one_more));
    EXPECT_EQ(refused.flow, nullptr);
    EXPECT_EQ(refused.refusal.part, flow::Part::Rss);
    EXPECT_EQ(refused.refusal.error.code, ENOSPC);
    EXPECT_NE(refused.refusal.error.message().find("256"), std::string::npos) << refused.refusal.error.message();
    EXPECT_EQ(rig.rules().create_shared_rss(one_more).error().code, ENOSPC);
    ASSERT_NE(rig.rules().create(rule_for(1000, actions[9])).flow, nullptr) << "one that is there is shared";
    expect_spread(rig, 1000, actions[9]);
    expect_all();

    must(rig.rules().destroy(flows[9]));
    EXPECT_EQ(rig.rules().create(rule_for(1001, one_more)).flow, nullptr) << "another rule uses the context still";
    must(rig.rules().destroy(flows[77]));
    flows[77] = rig.rules().create(rule_for(77, one_more)).flow;
    ASSERT_NE(flows[77], nullptr);
    actions[77] = one_more;
    flows[9] = rig.rules().create(rule_for(9, actions[9])).flow;
    ASSERT_NE(flows[9], nullptr);
    expect_all();
    must(rig.rules().flush());
    // What nobody uses makes room, as rules and as indirect actions.
    for (uint16_t i = 0; i < 40; i++) {
        actions[i] = random_action(random);
        ASSERT_NE(rig.rules().create(rule_for(i, actions[i])).flow, nullptr);
        expect_spread(rig, i, actions[i]);
    }
}

TEST(FlowContexts, FollowThePortWhereTheySayNothing) {
    auto random = seeded_random();
    FlowRig rig;
    flow::RssAction action = random_action(random);
    action.key.clear();
    ASSERT_NE(rig.rules().create(rule_for(5, action)).flow, nullptr);
    expect_spread(rig, 5, action);
    rss::RssConfig config = rig.rss();
    for (uint8_t &byte : config.key)
        byte = static_cast<uint8_t>(random());
    must(rig.rules().set_port_rss(config, 16));
    const auto tables = tables_of(resolved(action, config));
    for (uint16_t from = 0; from < 50; from++) {
        const packet::Bytes frame = udp_to(5, from);
        ASSERT_EQ(run_one(rig, frame).queue, classify(*tables, frame).queue);
    }
}

TEST(IndirectRss, SpreadsTheNextPacketAsUpdatedWhilePacketsGoOn) {
    FlowRig rig;
    const auto to_queue = [](uint16_t queue) {
        flow::RssAction action;
        action.queues = {queue};
        return action;
    };
    const uint32_t number = must(rig.rules().create_shared_rss(to_queue(0)));
    flow::Rule rule = rule_of(pattern_of(3) + " / end actions drop / end");
    rule.actions.fate = flow::Fate::Rss;
    rule.actions.shared_rss = number;
    ASSERT_NE(rig.rules().create(rule).flow, nullptr);
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> run{0};
    // Into queues 0 to 7 only; what they deliver is looked at by this thread alone.
    std::thread packets([&] {
        const packet::Bytes frame = udp_to(3);
        while (!stop) {
            (void)rig.run(frame);
            run++;
        }
    });
    for (unsigned i = 0; i < 100; i++) {
        const auto queue = static_cast<uint16_t>(i % 8);
        must(rig.rules().update_shared_rss(number, to_queue(queue)));
        (void)rig.drain_all();
        const uint64_t before = run;
        while (run < before + 3)
            std::this_thread::yield();
        for (const Delivered &delivered : rig.drain_all())
            ASSERT_EQ(delivered.queue, queue);
    }
    stop = true;
    packets.join();
}

TEST(IndirectActions, AreKeptWhileARuleUsesThem) {
    FlowRig rig;
    flow::RssAction action;
    action.queues = {3};
    const uint32_t rss = must(rig.rules().create_shared_rss(action));
    const uint32_t count = must(rig.rules().create_shared_count());
    flow::Rule rule = rule_of(pattern_of(3) + " / end actions drop / end");
    rule.actions.fate = flow::Fate::Rss;
    rule.actions.shared_rss = rss;
    rule.actions.count = true;
    rule.actions.shared_count = count;
    auto *first = rig.rules().create(rule).flow;
    rule.attributes.priority = 1;
    auto *second = rig.rules().create(rule).flow;
    ASSERT_TRUE(first != nullptr && second != nullptr);
    EXPECT_EQ(run_one(rig, udp_to(3)).queue, 3U);
    EXPECT_EQ(must(rig.rules().query_shared_count(count, false)).packets, 1U);
    for (const uint32_t number : {rss, count})
        EXPECT_EQ(rig.rules().destroy_shared(number).error().code, EBUSY);
    must(rig.rules().destroy(first));
    for (const uint32_t number : {rss, count})
        EXPECT_EQ(rig.rules().destroy_shared(number).error().code, EBUSY);
    EXPECT_EQ(run_one(rig, udp_to(3)).queue, 3U);
    must(rig.rules().destroy(second));
    for (const uint32_t number : {rss, count}) {
        must(rig.rules().destroy_shared(number));
        EXPECT_EQ(rig.rules().destroy_shared(number).error().code, ENOENT);
    }
}

TEST(IndirectActions, ThatAreNotThereAreRefused) {
    FlowRig rig;
    const uint32_t count = must(rig.rules().create_shared_count());
    for (const uint32_t number : {0U, count, count + 1, 4096U, 4097U, ~0U}) {
        flow::Rule rule = rule_of(pattern_of(3) + " / end actions drop / end");
        rule.actions.fate = flow::Fate::Rss;
        rule.actions.shared_rss = number;
        EXPECT_EQ(rig.rules().create(rule).refusal.error.code, ENOENT) << number;
        EXPECT_EQ(rig.rules().update_shared_rss(number, {}).error().code, ENOENT) << number;
        if (number == count)
            continue;
        EXPECT_EQ(rig.rules().destroy_shared(number).error().code, ENOENT) << number;
        EXPECT_EQ(rig.rules().query_shared_count(number, false).error().code, ENOENT) << number;
    }
    EXPECT_EQ(rig.rules().size(), 0U);
}

TEST(IndirectCount, OfANumberThatWasAnothersBeginsAtZero) {
    FlowRig rig;
    for (int i = 0; i < 3; i++) {
        const uint32_t number = must(rig.rules().create_shared_count());
        EXPECT_EQ(must(rig.rules().query_shared_count(number, false)).packets, 0U);
        flow::Rule rule = rule_of(pattern_of(3) + " / end actions queue index 1 / end");
        rule.actions.count = true;
        rule.actions.shared_count = number;
        auto *flow = rig.rules().create(rule).flow;
        ASSERT_NE(flow, nullptr);
        for (int packets = 0; packets < 5; packets++)
            (void)run_one(rig, udp_to(3));
        EXPECT_EQ(must(rig.rules().query(flow, true)).packets, 5U);
        (void)run_one(rig, udp_to(3));
        EXPECT_EQ(must(rig.rules().query_shared_count(number, false)).packets, 1U);
        must(rig.rules().destroy(flow));
        must(rig.rules().destroy_shared(number));
    }
}

} // namespace
} // namespace tapflow::test
