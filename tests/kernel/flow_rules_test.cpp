// SPDX-License-Identifier: BSD-3-Clause
// Rules that come and go: their memory, their order, and what packets see of it.
#include "engine/flow_rules.h"
#include "kernel/faults.h"
#include "kernel/flow_probe.h"
#include "support/bpf_ids.h"
#include "support/random_rule.h"
#include "support/seed.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <set>
#include <thread>

namespace tapflow::test {
namespace {

/// What rules' RSS actions are drawn from: as many as there can be at once, so that none waits for another's context.
class RssPool {
  public:
    RssPool(RandomRules &rules, size_t count) : rules_(rules) {
        while (actions_.size() < count) {
            const flow::Rule rule = rules.next();
            if (rule.actions.rss)
                actions_.push_back(rule.actions.rss);
        }
    }
    flow::Rule drawn(flow::Rule rule) {
        if (rule.actions.rss)
            rule.actions.rss = actions_[rules_.below(actions_.size())];
        return rule;
    }

  private:
    RandomRules &rules_;
    std::vector<std::shared_ptr<const flow::RssAction>> actions_;
};

// ---- memory

struct Footprint {
    size_t pages = 0;
    size_t files = 0;
    size_t maps = 0;

    static Footprint now() {
        Footprint here;
        size_t total = 0;
        std::ifstream("/proc/self/statm") >> total >> here.pages;
        BpfIds ids;
        ids.add_open_ones(getpid());
        here.maps = ids.maps.size();
        for ([[maybe_unused]] const auto &file : std::filesystem::directory_iterator("/proc/self/fd"))
            here.files++;
        return here;
    }
};

TEST(FlowRules, A100000ThatComeAndGoTakeNoMoreMemoryThanTheFirst) {
    auto random = seeded_random();
    FlowRig rig;
    RuleBounds bounds;
    bounds.queues = 16;
    RandomRules rules(std::mt19937_64(random()), bounds);
    RssPool pool(rules, 100);
    std::deque<const engine::Flow *> flows;
    size_t created = 0;
    const auto cycle = [&](size_t count) {
        for (size_t i = 0; i < count; i++) {
            if (const auto made = rig.rules().create(pool.drawn(rules.next())); made.flow) {
                flows.push_back(made.flow);
                created++;
            }
            while (flows.size() > 60) {
                must(rig.rules().destroy(flows.front()));
                flows.pop_front();
            }
        }
    };
    cycle(10'000);
    const Footprint before = Footprint::now();
    cycle(100'000);
    const Footprint after = Footprint::now();
    EXPECT_GT(created, 100'000U);
    EXPECT_EQ(after.files, before.files);
    EXPECT_EQ(after.maps, before.maps);
#ifndef __SANITIZE_ADDRESS__ // which keeps what has been freed
    EXPECT_LE(after.pages, before.pages + 128) << "pages resident";
#endif
    must(rig.rules().flush());
    EXPECT_EQ(rig.rules().size(), 0U);
}

// ---- many threads

/// What one thread does to the rules, and has of them.
class Worker {
  public:
    Worker(FlowRig &rig, uint64_t seed) : rig_(rig), rules_(std::mt19937_64(seed), bounds()) {}

    void step() {
        engine::FlowRules &flows = rig_.rules();
        flow::RssAction action;
        action.queues = {static_cast<uint16_t>(rules_.below(16))};
        switch (rules_.below(12)) {
        case 0:
            if (counts_.size() < 4)
                counts_.push_back(must(flows.create_shared_count()));
            break;
        case 1:
            if (spreads_.size() < 4)
                spreads_.push_back(must(flows.create_shared_rss(action)));
            else
                must(flows.update_shared_rss(spreads_[rules_.below(spreads_.size())], action));
            break;
        case 2:
            drop_one(counts_);
            break;
        case 3:
            drop_one(spreads_);
            break;
        case 4: {
            size_t seen = 0;
            flows.for_each([&](const flow::Rule &, const engine::Flow *flow) { seen += flow != nullptr; });
            EXPECT_LE(seen, 16U * 8);
            break;
        }
        case 5:
            (void)flows.check(rules_.next_for(key_));
            break;
        case 6:
        case 7:
            if (!flows_.empty()) {
                const auto &[flow, rule] = flows_[rules_.below(flows_.size())];
                EXPECT_EQ(must(flows.rule(flow)), rule);
                EXPECT_EQ(static_cast<bool>(flows.query(flow, rules_.chance(50))), rule.actions.count);
            }
            break;
        default:
            if (flows_.size() < 8 && rules_.chance(60))
                add();
            else
                remove();
            break;
        }
    }

    void leave() {
        while (!flows_.empty())
            remove();
        for (const auto *numbers : {&counts_, &spreads_})
            for (const uint32_t number : *numbers)
                must(rig_.rules().destroy_shared(number));
    }

    size_t created = 0;

  private:
    static RuleBounds bounds() {
        RuleBounds bounds;
        bounds.queues = 16;
        bounds.groups = 3;
        bounds.fates = {flow::Fate::None, flow::Fate::Queue, flow::Fate::Drop, flow::Fate::Jump};
        return bounds;
    }

    void add() {
        flow::Rule rule = rules_.next_for(key_);
        if (!counts_.empty() && rule.actions.count)
            rule.actions.shared_count = counts_[rules_.below(counts_.size())];
        if (!spreads_.empty() && rule.actions.fate == flow::Fate::Queue) {
            rule.actions.fate = flow::Fate::Rss;
            rule.actions.queue = 0;
            rule.actions.shared_rss = spreads_[rules_.below(spreads_.size())];
        }
        const auto made = rig_.rules().create(rule);
        const int code = made.refusal.error.code;
        EXPECT_TRUE(made.flow || code == EEXIST || code == ELOOP || code == ENOSPC) << made.refusal.error.message();
        if (!made.flow)
            return;
        flows_.emplace_back(made.flow, rule);
        created++;
    }

    void remove() {
        if (flows_.empty())
            return;
        std::swap(flows_[rules_.below(flows_.size())], flows_.back());
        must(rig_.rules().destroy(flows_.back().first));
        flows_.pop_back();
    }

    void drop_one(std::vector<uint32_t> &numbers) {
        if (numbers.empty())
            return;
        const auto destroyed = rig_.rules().destroy_shared(numbers.back());
        if (destroyed)
            numbers.pop_back();
        else
            EXPECT_EQ(destroyed.error().code, EBUSY);
    }

    FlowRig &rig_;
    RandomRules rules_;
    const tapflow_flow_key key_ = flow::reference_key(udp_to(3));
    std::vector<std::pair<engine::Flow *, flow::Rule>> flows_;
    std::vector<uint32_t> counts_;
    std::vector<uint32_t> spreads_;
};

TEST(FlowRules, SixteenThreadsAreServedAtOnce) {
    auto random = seeded_random();
    FlowRig rig;
    std::vector<std::unique_ptr<Worker>> workers;
    while (workers.size() < 16)
        workers.push_back(std::make_unique<Worker>(rig, random()));
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (auto &worker : workers)
        threads.emplace_back([&stop, mine = worker.get()] {
            while (!stop)
                mine->step();
        });
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(4);
    while (std::chrono::steady_clock::now() < end) {
        EXPECT_EQ(rig.run(udp_to(3)), TC_ACT_STOLEN);
        EXPECT_LE(rig.drain_all().size(), 1U);
    }
    stop = true;
    for (std::thread &thread : threads)
        thread.join();
    size_t created = 0;
    for (auto &worker : workers) {
        worker->leave();
        created += worker->created;
    }
    EXPECT_GT(created, workers.size());
    EXPECT_EQ(rig.rules().size(), 0U);
    // As good as new.
    Twins twins(rig);
    ASSERT_TRUE(twins.add(rule_of(pattern_of(3) + " / end actions count / queue index 5 / end")));
    twins.expect_same(udp_to(3));
    twins.expect_same_counts();
}

TEST(FlowRules, ThatWaitForPacketsLeaveThePortsOwnRssAlone) {
    FlowRig rig;
    rss::RssConfig config = rig.rss();
    for (uint16_t queue = 0; queue < 5; queue++) {
        std::atomic<bool> waits{false};
        std::atomic<bool> goes_on{false};
        std::thread waiting([&] {
            // For as long as it takes to change the configuration, if that may be changed now.
            const Before held(Call::Bpf, [&] {
                waits = true;
                for (int i = 0; i < 300 && !goes_on; i++)
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
            });
            EXPECT_TRUE(rig.classifier().quiesce());
        });
        while (!waits)
            std::this_thread::yield();
        config.reta.assign(128, queue);
        must(rig.classifier().set_rss(config));
        goes_on = true;
        waiting.join();
        EXPECT_EQ(run_one(rig, udp_to(3)).queue, queue);
    }
}

// ---- jumps

flow::Rule jump(uint32_t from, uint32_t to, flow::Direction direction = flow::Direction::Ingress) {
    flow::Rule rule = rule_of(pattern_of(3) + " / end actions count / end");
    rule.attributes.direction = direction;
    rule.attributes.group = from;
    rule.actions.fate = flow::Fate::Jump;
    rule.actions.group = to;
    return rule;
}

TEST(FlowJumps, ThatCloseACircleAreRefusedInEachDirectionByItself) {
    FlowRig rig;
    const auto create = [&](uint32_t from, uint32_t to, flow::Direction direction = flow::Direction::Ingress) {
        return rig.rules().create(jump(from, to, direction));
    };
    ASSERT_NE(create(0, 4).flow, nullptr);
    auto *middle = create(4, 7).flow;
    ASSERT_NE(middle, nullptr);
    ASSERT_NE(create(7, 15).flow, nullptr);
    for (const auto &[from, to] : {std::pair{15U, 0U}, {15U, 4U}, {15U, 7U}, {7U, 0U}, {4U, 0U}}) {
        const auto refused = create(from, to);
        EXPECT_EQ(refused.flow, nullptr);
        EXPECT_EQ(refused.refusal.error.code, ELOOP);
        EXPECT_EQ(refused.refusal.part, flow::Part::Jump);
        EXPECT_EQ(rig.rules().check(jump(from, to))->error.code, ELOOP);
    }
    auto *back = create(15, 0, flow::Direction::Egress).flow;
    ASSERT_NE(back, nullptr) << "the other direction's groups are others";
    EXPECT_EQ(create(0, 15, flow::Direction::Egress).refusal.error.code, ELOOP);
    // Two ways between two groups: the circle is open when both have gone.
    flow::Rule second = jump(4, 7);
    second.attributes.priority = 1;
    auto *again = rig.rules().create(second).flow;
    ASSERT_NE(again, nullptr);
    must(rig.rules().destroy(middle));
    EXPECT_EQ(create(15, 0).refusal.error.code, ELOOP);
    must(rig.rules().destroy(again));
    EXPECT_NE(create(15, 0).flow, nullptr);
    must(rig.rules().destroy(back));
    EXPECT_NE(create(0, 15, flow::Direction::Egress).flow, nullptr);
}

TEST(FlowJumps, LeadThroughAllGroups) {
    FlowRig rig;
    Twins twins(rig);
    for (uint32_t group = 0; group + 1 < TAPFLOW_FLOW_GROUPS; group++)
        ASSERT_TRUE(twins.add(jump(group, group + 1)));
    flow::Rule last = rule_of(pattern_of(3) + " / end actions count / mark id 9 / queue index 11 / end");
    last.attributes.group = TAPFLOW_FLOW_GROUPS - 1;
    ASSERT_TRUE(twins.add(last));
    for (int i = 0; i < 3; i++)
        twins.expect_same(udp_to(3));
    twins.expect_same(udp_to(4));
    twins.expect_same_counts();
    EXPECT_EQ(run_one(rig, udp_to(3)), (Expected{false, 11, 9U, false}));
}

TEST(FlowSteps, EndWith32RulesThatAct) {
    FlowRig rig;
    Twins twins(rig);
    for (uint32_t priority = 0; priority < 40; priority++) {
        flow::Rule rule =
            rule_of(pattern_of(3) + " / end actions count / mark id " + std::to_string(priority) + " / passthru / end");
        rule.attributes.priority = priority;
        ASSERT_TRUE(twins.add(rule));
    }
    ASSERT_TRUE(twins.add(rule_of("priority 100 " + pattern_of(3) + " / end actions drop / end")));
    twins.expect_same(udp_to(3));
    twins.expect_same_counts();
    EXPECT_EQ(run_one(rig, udp_to(3)).mark, 31U);
    // The 32nd may be the one that decides.
    FlowRig other;
    Twins exact(other);
    for (uint32_t priority = 0; priority < 31; priority++) {
        flow::Rule rule = rule_of(pattern_of(3) + " / end actions count / end");
        rule.attributes.priority = priority;
        ASSERT_TRUE(exact.add(rule));
    }
    ASSERT_TRUE(exact.add(rule_of("priority 100 " + pattern_of(3) + " / end actions drop / end")));
    exact.expect_same(udp_to(3));
    exact.expect_same_counts();
    EXPECT_TRUE(run_one(other, udp_to(3)).dropped);
}

// ---- what a CPU remembers

TEST(FlowCache, SaysTheSameOfRepeatedPacketsAndNothingThatHasChanged) {
    auto random = seeded_random();
    FlowRig rig;
    packet::RandomPackets packets{std::mt19937_64(random())};
    RuleBounds bounds;
    bounds.queues = 16;
    bounds.groups = 3;
    bounds.priorities = 6;
    bounds.directions = {flow::Direction::Ingress};
    bounds.near_misses = 0;
    RandomRules rules(std::mt19937_64(random()), bounds);
    RssPool pool(rules, 50);
    for (unsigned set = 0; set < 12; set++) {
        Twins twins(rig);
        std::vector<packet::Bytes> frames;
        while (frames.size() < 8)
            frames.push_back(next_frame(packets));
        frames.push_back(udp_to(3));
        const auto some_rule = [&] {
            return pool.drawn(rules.next_for(flow::reference_key(frames[rules.below(frames.size())])));
        };
        for (unsigned step = 0; step < 60; step++) {
            const auto &all = twins.reference().rules();
            if (all.size() < 6 || (all.size() < 14 && rules.chance(50)))
                (void)twins.add(some_rule());
            else
                twins.remove(std::next(all.begin(), static_cast<ptrdiff_t>(rules.below(all.size())))->first);
            for (unsigned repeat = 0; repeat < 3; repeat++)
                for (const auto &frame : frames)
                    ASSERT_NO_FATAL_FAILURE(twins.expect_same(frame));
            ASSERT_NO_FATAL_FAILURE(twins.expect_same_counts());
        }
        must(rig.rules().flush());
        for (const auto &frame : frames)
            EXPECT_FALSE(run_one(rig, frame).dropped);
    }
}

TEST(FlowCache, TellsPacketsApartThatDifferInOneComparedBitOnly) {
    FlowRig rig;
    Twins twins(rig);
    for (const char *rule :
         {"priority 3 pattern eth / ipv4 / udp dst is 3 / end actions count / queue index 3 / end",
          "priority 2 pattern eth / ipv4 src is 10.0.0.1 / end actions count / mark id 5 / passthru / end",
          "priority 4 pattern eth / ipv4 / udp src is 1000 / end actions count / queue index 9 / end",
          "priority 5 pattern eth / end actions count / queue index 1 / end"})
        ASSERT_TRUE(twins.add(rule_of(rule)));
    for (int repeat = 0; repeat < 4; repeat++)
        for (const unsigned port : {3U, 2U, 1U, 3U, 4U})
            for (const unsigned from : {1000U, 1001U, 1000U, 1002U})
                ASSERT_NO_FATAL_FAILURE(
                    twins.expect_same(udp_to(static_cast<uint16_t>(port), static_cast<uint16_t>(from))));
    twins.expect_same_counts();
}

TEST(FlowCache, HasNoFlowsVerdictForAnotherOneInItsPlace) {
    FlowRig rig;
    Twins twins(rig);
    for (unsigned i = 0; i < 16; i++)
        ASSERT_TRUE(
            twins.add(rule_of("priority 3 pattern eth / ipv4 / udp src spec " + std::to_string(i) +
                              " src mask 15 / end actions count / queue index " + std::to_string(i) + " / end")));
    ASSERT_TRUE(twins.add(rule_of("priority 2 pattern eth / ipv4 / udp src is 77 / end actions drop / end")));
    ASSERT_TRUE(twins.add(rule_of("priority 9 pattern eth / ipv4 ttl is 3 / end actions drop / end")));
    // More flows than there are places.
    for (int repeat = 0; repeat < 2; repeat++)
        for (uint16_t from = 0; from < 6 * TAPFLOW_FLOW_CACHE_SETS; from++)
            ASSERT_NO_FATAL_FAILURE(twins.expect_same(udp_to(3, from)));
    twins.expect_same_counts();
}

} // namespace
} // namespace tapflow::test
