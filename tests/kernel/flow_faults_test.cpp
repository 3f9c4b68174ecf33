// SPDX-License-Identifier: BSD-3-Clause
// Each allocation and each bpf(2) call of a change of the rules fails once: then nothing has changed, and the next
// attempt succeeds.
#include "kernel/faults.h"
#include "kernel/flow_probe.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>

namespace tapflow::test {
namespace {

constexpr unsigned kFailuresMax = 500; // more than any change has calls

/// Attaching of the program for egress rules can fail, too.
class FaultRig : public FlowRig {
  public:
    FaultRig() : FlowRig(16, 64U << 10U, [state = &attaching_](bool on) { return state->get()->attach(on); }) {}

    [[nodiscard]] bool attached() const { return attaching_->attached; }
    void fail_to_attach(bool fail) { attaching_->fail = fail; }

  private:
    struct Attaching {
        Result<void> attach(bool on) {
            if (on && fail)
                return Error{EPERM, "attach", {}};
            attached = on;
            return {};
        }
        bool attached = false;
        bool fail = false;
    };
    std::unique_ptr<Attaching> attaching_ = std::make_unique<Attaching>();
};

const char *name_of(Fault fault) { return fault == Fault::Bpf ? "bpf(2)" : "allocation"; }

flow::RssAction spread(std::vector<uint16_t> queues, uint8_t key = 0x5a) {
    flow::RssAction action;
    action.key.assign(rss::kKeySize, key);
    action.queues = std::move(queues);
    return action;
}

/// Destroying needs nothing that may be missing.
void destroy_with_nothing_left(FlowRig &rig, const engine::Flow *flow) {
    Result<void> destroyed;
    unsigned calls = 0;
    {
        const FailingCall failing(Fault::Allocation, 1);
        destroyed = rig.rules().destroy(flow);
        calls = failing.calls();
    }
    EXPECT_TRUE(destroyed);
    EXPECT_EQ(calls, 0U) << "allocations by destroy()";
}

/// Tries to create a rule with the n-th call failing. False: there were not so many.
bool try_failing(FaultRig &rig, const flow::Rule &rule, Fault fault, unsigned n) {
    const Observed before = observe(rig);
    const bool attached_before = rig.attached();
    bool hit = false;
    engine::FlowRules::Created created;
    {
        const FailingCall failing(fault, n);
        created = rig.rules().create(rule);
        hit = failing.hit();
    }
    SCOPED_TRACE(name_of(fault) + (" " + std::to_string(n)));
    if (!hit) {
        EXPECT_NE(created.flow, nullptr) << created.refusal.error.message();
        if (created.flow)
            destroy_with_nothing_left(rig, created.flow);
        return false;
    }
    EXPECT_EQ(created.flow, nullptr);
    EXPECT_EQ(created.refusal.error.code, ENOMEM) << created.refusal.error.message();
    EXPECT_TRUE(observe(rig) == before);
    EXPECT_EQ(rig.attached(), attached_before);
    return true;
}

/// Now without failures, and once more after that.
void expect_can_be_created(FaultRig &rig, const flow::Rule &rule) {
    const Observed before = observe(rig);
    for (int i = 0; i < 2; i++) {
        const auto created = rig.rules().create(rule);
        ASSERT_NE(created.flow, nullptr) << created.refusal.error.message();
        EXPECT_EQ(must(rig.rules().rule(created.flow)), rule);
        EXPECT_EQ(rig.rules().size(), before.size + 1);
        destroy_with_nothing_left(rig, created.flow);
    }
    EXPECT_TRUE(observe(rig) == before);
}

/// Fails all of a rule's calls on one rig.
void fail_each_call(FaultRig &rig, const flow::Rule &rule) {
    for (const Fault fault : {Fault::Allocation, Fault::Bpf}) {
        unsigned n = 1;
        while (n < kFailuresMax && !testing::Test::HasFailure() && try_failing(rig, rule, fault, n))
            n++;
        EXPECT_LT(n, kFailuresMax);
    }
    expect_can_be_created(rig, rule);
}

// ---- the first rule of all, which makes the tables

void fail_each_call_of_the_first(const flow::Rule &rule, Fault fault, unsigned at_least) {
    unsigned failures = 0;
    for (;; failures++) {
        ASSERT_LT(failures, kFailuresMax);
        FaultRig rig;
        if (!try_failing(rig, rule, fault, failures + 1) || testing::Test::HasFailure())
            break;
        expect_can_be_created(rig, rule);
    }
    EXPECT_GE(failures, at_least) << name_of(fault);
}

TEST(FlowFaults, OfTheFirstRuleLeaveNothing) {
    flow::Rule rule = with_rss(rule_of(pattern_of(3) + " / end actions count / mark id 7 / drop / end"), spread({5}));
    rule.actions.rewrites.push_back({.kind = flow::Rewrite::Kind::SetTtl, .value = 9});
    fail_each_call_of_the_first(rule, Fault::Allocation, 15);
    fail_each_call_of_the_first(rule, Fault::Bpf, 6);
}

TEST(FlowFaults, OfTheFirstEgressRuleLeaveNothing) {
    fail_each_call_of_the_first(rule_of("egress " + pattern_of(3) + " / end actions count / drop / end"), Fault::Bpf,
                                5);
}

TEST(FlowFaults, OfAttachingTheEgressProgramLeaveNothing) {
    FaultRig rig;
    const flow::Rule rule = rule_of("egress " + pattern_of(3) + " / end actions drop / end");
    rig.fail_to_attach(true);
    const auto created = rig.rules().create(rule);
    EXPECT_EQ(created.flow, nullptr);
    EXPECT_EQ(created.refusal.error.code, EPERM);
    EXPECT_EQ(rig.rules().size(), 0U);
    rig.fail_to_attach(false);
    const auto first = rig.rules().create(rule);
    ASSERT_NE(first.flow, nullptr);
    EXPECT_TRUE(rig.attached());
    rig.fail_to_attach(true); // it is there already
    const auto second = rig.rules().create(rule_of("egress " + pattern_of(4) + " / end actions drop / end"));
    ASSERT_NE(second.flow, nullptr);
    must(rig.rules().destroy(first.flow));
    EXPECT_TRUE(rig.attached());
    must(rig.rules().destroy(second.flow));
    EXPECT_FALSE(rig.attached());
}

// ---- among others

class FlowFaultsAmongRules : public testing::Test {
  protected:
    FlowFaultsAmongRules() {
        add("priority 9 " + pattern_of(1) + " / end actions queue index 4 / end");
        add("priority 5 pattern eth / ipv4 / udp dst is 2 src is 1000 / end actions count / mark id 3 / queue index 6 "
            "/ end");
        add("priority 7 pattern eth / ipv4 src is 10.0.0.1 / udp dst is 5 / end actions drop / end");
    }
    void add(const std::string &text) { ASSERT_NE(rig.rules().create(rule_of(text)).flow, nullptr); }

    FaultRig rig;
};

TEST_F(FlowFaultsAmongRules, OfARuleThatCounts) {
    fail_each_call(rig, rule_of(pattern_of(3) + " / end actions count / queue index 2 / end"));
}

TEST_F(FlowFaultsAmongRules, OfARuleOfANewMask) {
    fail_each_call(rig, rule_of("pattern eth / ipv4 tos is 3 / end actions drop / end"));
}

TEST_F(FlowFaultsAmongRules, OfARuleWithAContextOfItsOwn) {
    // Each attempt would find what the one before made, so none of them is for the same.
    for (const Fault fault : {Fault::Allocation, Fault::Bpf}) {
        unsigned n = 1;
        for (uint8_t key = 1; n < kFailuresMax && !HasFailure(); key++, n++)
            if (!try_failing(rig, with_rss(rule_of(pattern_of(3) + " / end actions drop / end"), spread({5}, key)),
                             fault, n))
                break;
        EXPECT_GT(n, 2U);
    }
    expect_can_be_created(rig, with_rss(rule_of(pattern_of(3) + " / end actions drop / end"), spread({5}, 77)));
}

TEST_F(FlowFaultsAmongRules, OfARuleWithAContextThatWasAnothers) {
    std::vector<engine::Flow *> flows;
    for (uint16_t i = 0; i < TAPFLOW_FLOW_CONTEXTS; i++)
        flows.push_back(
            rig.rules()
                .create(with_rss(rule_of(pattern_of(static_cast<uint16_t>(100 + i)) + " / end actions drop / end"),
                                 spread({0, 1}, static_cast<uint8_t>(i))))
                .flow);
    must(rig.rules().destroy(flows[17]));
    flow::RssAction action = spread({9, 9, 3});
    for (const Fault fault : {Fault::Allocation, Fault::Bpf}) {
        unsigned n = 1;
        for (; n < kFailuresMax && !HasFailure(); n++) {
            action.key[1] = static_cast<uint8_t>(n);
            if (!try_failing(rig, with_rss(rule_of(pattern_of(3) + " / end actions drop / end"), action), fault, n))
                break;
        }
        EXPECT_GT(n, 2U);
    }
}

TEST_F(FlowFaultsAmongRules, OfARuleWithHeaderChanges) {
    flow::Rule rule = rule_of(pattern_of(3) + " / end actions queue index 2 / end");
    rule.actions.rewrites.push_back({.kind = flow::Rewrite::Kind::SetTtl, .value = 3});
    rule.actions.rewrites.push_back({.kind = flow::Rewrite::Kind::DecTtl});
    fail_each_call(rig, rule);
}

TEST_F(FlowFaultsAmongRules, OfAnEgressRule) {
    fail_each_call(rig, rule_of("egress " + pattern_of(3) + " / end actions drop / end"));
}

TEST_F(FlowFaultsAmongRules, OfARuleForWhichTheTablesGrow) {
    flow::Rule rule = rule_of("pattern eth / ipv4 src is 9.0.0.0 / end actions count / drop / end");
    const auto numbered = [&rule](uint32_t number) {
        number = __builtin_bswap32(number);
        std::memcpy(rule.match.value.outer.ip_src, &number, 4);
        return rule;
    };
    while (rig.rules().size() < TAPFLOW_FLOW_RULE_CHUNK - 1)
        ASSERT_NE(rig.rules().create(numbered(static_cast<uint32_t>(rig.rules().size()))).flow, nullptr);
    // Without destroying any: that would give the next one room.
    std::vector<unsigned> failures;
    const size_t size = rig.rules().size();
    for (const Fault fault : {Fault::Allocation, Fault::Bpf})
        for (unsigned n = 1; n < kFailuresMax; n++) {
            const FailingCall failing(fault, n);
            const auto created = rig.rules().create(numbered(1'000'000 + (fault == Fault::Bpf ? 1U : 0U)));
            if (!failing.hit()) {
                ASSERT_NE(created.flow, nullptr);
                failures.push_back(n - 1);
                break;
            }
            ASSERT_EQ(created.flow, nullptr);
            ASSERT_EQ(created.refusal.error.code, ENOMEM);
            ASSERT_EQ(rig.rules().size(), size + (fault == Fault::Bpf ? 1 : 0));
        }
    ASSERT_EQ(failures.size(), 2U);
    EXPECT_GT(failures[0], 10U);
    // What has come and gone needs no memory, whatever failed before.
    std::vector<const engine::Flow *> flows;
    rig.rules().for_each([&](const flow::Rule &, const engine::Flow *flow) { flows.push_back(flow); });
    for (const engine::Flow *flow : flows)
        destroy_with_nothing_left(rig, flow);
    EXPECT_EQ(rig.rules().size(), 0U);
}

// ---- indirect actions

/// Makes, with the n-th call failing, until there are not so many.
void fail_each_call_of(
    const std::function<std::optional<Error>()> &make, const std::function<void()> &expect_nothing = [] {},
    const std::function<void()> &begin = [] {}) {
    for (const Fault fault : {Fault::Allocation, Fault::Bpf}) {
        begin();
        unsigned n = 1;
        for (; n < kFailuresMax; n++) {
            std::optional<Error> error;
            bool hit = false;
            {
                const FailingCall failing(fault, n);
                error = make();
                hit = failing.hit();
            }
            SCOPED_TRACE(name_of(fault) + (" " + std::to_string(n)));
            ASSERT_EQ(error.has_value(), hit) << (error ? error->message() : "");
            if (!hit)
                break;
            ASSERT_EQ(error->code, ENOMEM);
            expect_nothing();
        }
        EXPECT_GT(n, 1U) << name_of(fault);
    }
}

template <typename T> std::optional<Error> error_of(const Result<T> &result) {
    return result ? std::nullopt : std::optional(result.error());
}

TEST_F(FlowFaultsAmongRules, OfIndirectActionsLeaveNothing) {
    std::vector<uint32_t> made;
    const auto note = [&](const Result<uint32_t> &number) {
        if (number)
            made.push_back(*number);
        return error_of(number);
    };
    made.reserve(8);
    const flow::RssAction to_3 = spread({3});
    const flow::RssAction to_4 = spread({4});
    fail_each_call_of([&] { return note(rig.rules().create_shared_rss(to_4)); });
    fail_each_call_of([&] { return note(rig.rules().create_shared_count()); });
    ASSERT_EQ(made.size(), 4U);
    flow::Rule rule = rule_of(pattern_of(3) + " / end actions drop / end");
    rule.actions.fate = flow::Fate::Rss;
    rule.actions.shared_rss = made[0];
    rule.actions.count = true;
    rule.actions.shared_count = made[2];
    fail_each_call(rig, rule);
    const auto created = rig.rules().create(rule);
    ASSERT_NE(created.flow, nullptr);
    fail_each_call_of([&] { return error_of(rig.rules().update_shared_rss(made[0], to_4)); },
                      [&] { EXPECT_EQ(run_one(rig, udp_to(3)).queue, 3U); },
                      [&] { must(rig.rules().update_shared_rss(made[0], to_3)); });
    EXPECT_EQ(run_one(rig, udp_to(3)).queue, 4U);
    must(rig.rules().destroy(created.flow));
    for (const uint32_t number : made)
        must(rig.rules().destroy_shared(number));
    // All contexts are free again.
    std::vector<uint32_t> all;
    for (size_t i = 0; i < TAPFLOW_FLOW_CONTEXTS; i++)
        all.push_back(must(rig.rules().create_shared_rss(spread({1}))));
    EXPECT_EQ(rig.rules().create_shared_rss(spread({1})).error().code, ENOSPC);
}

} // namespace
} // namespace tapflow::test
