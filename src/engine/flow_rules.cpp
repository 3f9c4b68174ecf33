// SPDX-License-Identifier: BSD-3-Clause
#include "engine/flow_rules.h"

#include "engine/counters.h"
#include "engine/flow_tables.h"
#include "engine/rss_contexts.h"
#include "flow/stored_rule.h"
#include "flow/tuple_space.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <mutex>
#include <new>
#include <type_traits>

namespace tapflow::engine {

struct Flow {
    FlowCount base; ///< of its counter, when it was created or last reset
    uint32_t shared_count = 0;
    uint32_t shared_rss = 0;
    bool live = false;
};

namespace {

using flow::Part;
using flow::Refusal;

constexpr uint32_t kSharedMax = TAPFLOW_FLOW_RULE_CHUNK;

Refusal refused(Part part, int code, const char *detail) { return {part, Error{code, "add flow rule", detail}}; }

/// What happens to an allocation that fails in `body` is an error like others.
template <typename Body> auto guarded(Body body) -> decltype(body()) {
    try {
        return body();
    } catch (const std::bad_alloc &) {
        // So short that it takes no memory.
        const Error error{ENOMEM, "change rules", "out of memory"};
        if constexpr (std::is_same_v<decltype(body()), std::optional<Refusal>>)
            return Refusal{Part::Other, error};
        else
            return error;
    }
}

// Searches that a change of the rules has overtaken are repeated so often.
constexpr int kAttempts = 1000;

FlowCount read(const tapflow_flow_counter *counter) {
    return counter ? FlowCount{read_counter(counter->packets), read_counter(counter->bytes)} : FlowCount{};
}

/// What has been counted since `base`, which a reset sets to now: what is counted meanwhile is not lost.
FlowCount take_count(const FlowCount &now, FlowCount &base, bool reset) {
    const FlowCount count{now.packets - base.packets, now.bytes - base.bytes};
    if (reset)
        base = now;
    return count;
}

} // namespace

struct FlowRules::State {
    State(BpfClassifier &owner, std::function<Result<void>(bool)> attach, RecordClock clock, FlowerFilters *flower)
        : classifier(owner), attach_egress(std::move(attach)), filters(flower), contexts(owner),
          rewrites(std::move(clock)) {}

    /// An indirect action.
    struct Shared {
        enum class Kind : uint8_t { None, Rss, Count } kind = Kind::None;
        uint16_t context = 0;
        uint32_t uses = 0; ///< rules
        FlowCount base;
        FlowCount gone; ///< counted by filters of rules that are no more
    };

    mutable std::mutex mutex;
    BpfClassifier &classifier;
    std::function<Result<void>(bool)> attach_egress;
    FlowerFilters *filters; ///< null: ingress rules are in the tables alone
    std::unique_ptr<FlowTables> tables;
    std::unique_ptr<flow::TupleSpace> space;
    RssContexts contexts;
    RewriteLists rewrites;
    flow::Capabilities capabilities;
    std::array<std::vector<Flow>, TAPFLOW_FLOW_RULE_CHUNKS> flows; ///< by rule index; a chunk is empty or whole
    std::array<size_t, 2> in_direction{};
    /// Rules by what their JUMPs lead from and to.
    std::array<std::array<std::array<uint32_t, TAPFLOW_FLOW_GROUPS>, TAPFLOW_FLOW_GROUPS>, 2> jumps{};
    std::vector<Shared> shared; ///< by number - 1

    /// The shared actions that a rule uses; null where it has its own, or none.
    Shared *shared_rss(const Flow &flow) { return flow.shared_rss ? &shared[flow.shared_rss - 1] : nullptr; }
    Shared *shared_count(const Flow &flow) { return flow.shared_count ? &shared[flow.shared_count - 1] : nullptr; }
    Shared *find_shared(uint32_t number, Shared::Kind kind) {
        return number > 0 && number <= shared.size() && shared[number - 1].kind == kind ? &shared[number - 1] : nullptr;
    }
    [[nodiscard]] bool leads_to(size_t direction, uint32_t from, uint32_t to) const {
        if (from == to)
            return true;
        // Groups are few and the jumps have no circle.
        for (uint32_t next = 0; next < TAPFLOW_FLOW_GROUPS; next++)
            if (jumps[direction][from][next] > 0 && leads_to(direction, next, to))
                return true;
        return false;
    }
    std::optional<Refusal> refusal(const flow::Rule &rule, const flow::TupleSpace::Plan &plan);
    Result<void> prepare(const flow::Rule &rule);
    Result<void> fill(const flow::Rule &rule, uint32_t index, tapflow_flow_rule &record);
    void give_back(const tapflow_flow_rule &record);
    Result<uint32_t> create(const flow::Rule &rule, const flow::TupleSpace::Plan &plan);
    void enter(const flow::Rule &rule, uint32_t index);
    Result<void> remove(uint32_t index);
    [[nodiscard]] bool has_filters(const flow::Attributes &attributes) const {
        return filters && attributes.direction == flow::Direction::Ingress;
    }
    Result<void> add_filters();
    Result<FlowCount> count_of(uint32_t index);
    Result<FlowCount> shared_count_of(uint32_t number);
    Result<FlowCount> take_count_of(uint32_t index, bool reset);
    [[nodiscard]] Flow &flow_at(uint32_t index) {
        return flows[index / TAPFLOW_FLOW_RULE_CHUNK][index % TAPFLOW_FLOW_RULE_CHUNK];
    }
    /// 0: not a rule of this port's.
    [[nodiscard]] uint32_t index_of(const Flow *flow) const;
    [[nodiscard]] flow::Rule rule_at(uint32_t index);
    [[nodiscard]] uint64_t id_of(uint32_t index) const { return flow::number_of(space->rule(index)); }
    [[nodiscard]] std::vector<uint32_t> in_order() const;
    Result<uint32_t> add_shared(Shared action);
    [[nodiscard]] static size_t direction_of(const flow::Attributes &attributes) {
        return attributes.direction == flow::Direction::Egress ? 1 : 0;
    }
};

Result<std::unique_ptr<FlowRules>> FlowRules::create(BpfClassifier &classifier,
                                                     std::function<Result<void>(bool)> attach_egress, RecordClock clock,
                                                     FlowerFilters *filters) {
    auto state = std::make_unique<State>(classifier, std::move(attach_egress), std::move(clock), filters);
    auto tables = FlowTables::create(classifier);
    if (!tables)
        return tables.error();
    state->tables = *std::move(tables);
    state->space = std::make_unique<flow::TupleSpace>(
        state->tables->tables(), flow::TableMemory{[memory = state->tables.get()] { return memory->grow(); },
                                                   [memory = state->tables.get()] { return memory->wait(); }});
    const bool ethernet = classifier.programs().layer() == kernel::Layer::Ethernet;
    state->capabilities.rewrites = ethernet && classifier.programs().delivery() == kernel::Delivery::Ring;
    state->capabilities.egress = ethernet;
    return std::unique_ptr<FlowRules>(new FlowRules(std::move(state)));
}

FlowRules::FlowRules(std::unique_ptr<State> state) : state_(std::move(state)) {}
FlowRules::~FlowRules() = default;

// ---- what is refused

std::optional<Refusal> FlowRules::State::refusal(const flow::Rule &rule, const flow::TupleSpace::Plan &plan) {
    if (auto invalid = flow::validate(rule, capabilities))
        return invalid;
    const flow::Actions &actions = rule.actions;
    if (actions.shared_rss && !find_shared(*actions.shared_rss, Shared::Kind::Rss))
        return refused(Part::Rss, ENOENT, "there is no such indirect RSS action");
    if (actions.shared_count && !find_shared(*actions.shared_count, Shared::Kind::Count))
        return refused(Part::Other, ENOENT, "there is no such indirect COUNT action");
    if (actions.fate == flow::Fate::Jump &&
        leads_to(direction_of(rule.attributes), actions.group, rule.attributes.group))
        return refused(Part::Jump, ELOOP, "a rule of that group leads back to this one's");
    if (actions.fate == flow::Fate::Rss && actions.rss && !contexts.has_room_for(*actions.rss))
        return refused(Part::Rss, ENOSPC, "too many different RSS actions (256)");
    if (const auto &error = plan.refusal())
        return Refusal{error->code == EEXIST ? Part::Pattern : Part::Other, *error};
    if (has_filters(rule.attributes))
        if (auto error = filters->refusal(rule))
            return Refusal{error->code == ENOTSUP ? Part::Pattern : Part::Other, *error};
    return std::nullopt;
}

std::optional<Refusal> FlowRules::check(const flow::Rule &rule) {
    const std::lock_guard lock(state_->mutex);
    return guarded([&] { return state_->refusal(rule, state_->space->plan(rule.attributes, rule.match)); });
}

// ---- creating

/// Makes what the tables must have for a rule.
Result<void> FlowRules::State::prepare(const flow::Rule &rule) {
    if (auto prepared = tables->prepare(); !prepared)
        return prepared.error();
    // Before the last mask that goes without.
    if (space->masks() + 1 >= TAPFLOW_FLOW_CACHE_FROM)
        if (auto prepared = tables->prepare_cache(); !prepared)
            return prepared.error();
    const flow::Actions &actions = rule.actions;
    if (actions.count && !actions.shared_count && !has_filters(rule.attributes))
        if (auto prepared = tables->prepare_counters(); !prepared)
            return prepared.error();
    if (rule.attributes.direction == flow::Direction::Egress && in_direction[1] == 0)
        return attach_egress(true);
    return {};
}

/// A rule's actions as a record has them; what they take is given back by give_back().
Result<void> FlowRules::State::fill(const flow::Rule &rule, uint32_t index, tapflow_flow_rule &record) {
    const flow::Actions &actions = rule.actions;
    if (actions.fate == flow::Fate::Rss && actions.shared_rss) {
        record.context = find_shared(*actions.shared_rss, Shared::Kind::Rss)->context;
        contexts.add_use(record.context);
    } else if (actions.fate == flow::Fate::Rss) {
        auto context = contexts.acquire(*actions.rss);
        if (!context)
            return context.error();
        record.context = *context;
    }
    record.actions = flow::record_actions(actions);
    record.queue = actions.queue;
    record.group = actions.group;
    record.mark = actions.mark.value_or(0);
    record.counter = actions.shared_count ? TAPFLOW_FLOW_SHARED_COUNTERS + *actions.shared_count - 1 : index;
    record.indirect_rss = static_cast<uint16_t>(actions.shared_rss.value_or(0));
    record.pass_through = actions.fate == flow::Fate::PassThrough;
    if (actions.rewrites.empty())
        return {};
    auto number = rewrites.acquire(actions.rewrites);
    if (!number)
        return number.error();
    record.rewrite = *number;
    record.actions |= TAPFLOW_FLOW_REWRITE;
    return tables->publish_rewrites(*number, actions.rewrites);
}

void FlowRules::State::give_back(const tapflow_flow_rule &record) {
    if (record.actions & TAPFLOW_FLOW_RSS)
        contexts.release(record.context);
    if (record.actions & TAPFLOW_FLOW_REWRITE && rewrites.release(record.rewrite))
        tables->withdraw_rewrites(record.rewrite);
}

/// Notes what a rule is besides what the tables say.
void FlowRules::State::enter(const flow::Rule &rule, uint32_t index) {
    const flow::Actions &actions = rule.actions;
    const size_t direction = direction_of(rule.attributes);
    Flow &flow = flow_at(index);
    flow.live = true;
    flow.shared_rss = actions.shared_rss.value_or(0);
    flow.shared_count = actions.shared_count.value_or(0);
    for (Shared *action : {shared_rss(flow), shared_count(flow)})
        if (action)
            action->uses++;
    if (actions.fate == flow::Fate::Jump)
        jumps[direction][rule.attributes.group][actions.group]++;
    if (in_direction[direction]++ == 0 && direction == 0)
        classifier.set_flag(TAPFLOW_PORT_RULES, true);
}

Result<uint32_t> FlowRules::State::create(const flow::Rule &rule, const flow::TupleSpace::Plan &plan) {
    if (auto prepared = prepare(rule); !prepared)
        return prepared.error();
    auto index = space->reserve();
    if (!index)
        return index.error();
    tapflow_flow_rule record{};
    const auto inserted = guarded([&]() -> Result<void> {
        auto &chunk = flows[*index / TAPFLOW_FLOW_RULE_CHUNK];
        if (chunk.empty())
            chunk.resize(TAPFLOW_FLOW_RULE_CHUNK);
        if (auto filled = fill(rule, *index, record); !filled)
            return filled.error();
        // Before the first packet can be counted. Nobody is under way with the rule that had the index before.
        if (record.counter == *index)
            tables->clear_counter(*index);
        flow_at(*index).base = read(tables->counter(record.counter));
        return space->insert(*index, plan, record);
    });
    if (!inserted) {
        give_back(record);
        space->cancel(*index);
        return inserted.error();
    }
    if (has_filters(rule.attributes)) {
        flow_at(*index).base = {}; // its filters begin to count at 0
        const auto added = guarded([&] { return filters->add(rule, *index, record.actions); });
        if (!added) {
            space->remove(*index);
            give_back(record);
            return added.error();
        }
    }
    enter(rule, *index);
    return index;
}

FlowRules::Created FlowRules::create(const flow::Rule &rule) {
    State &state = *state_;
    const std::lock_guard lock(state.mutex);
    flow::TupleSpace::Plan plan;
    const auto ask = [&] {
        plan = state.space->plan(rule.attributes, rule.match);
        return state.refusal(rule, plan);
    };
    if (auto refusal = guarded(ask))
        return {nullptr, *std::move(refusal)};
    auto index = guarded([&] { return state.create(rule, plan); });
    if (index)
        return {&state.flow_at(*index), {}};
    if (state.in_direction[1] == 0)
        (void)guarded([&] { return state.attach_egress(false); });
    return {nullptr, {Part::Other, index.error()}};
}

// ---- destroying

uint32_t FlowRules::State::index_of(const Flow *flow) const {
    for (size_t chunk = 0; chunk < flows.size(); chunk++) {
        const auto &part = flows[chunk];
        // std::less orders pointers of different objects as well.
        if (part.empty() || std::less<>()(flow, part.data()) || !std::less<>()(flow, part.data() + part.size()))
            continue;
        const auto offset = reinterpret_cast<uintptr_t>(flow) - reinterpret_cast<uintptr_t>(part.data());
        if (offset % sizeof(Flow) != 0 || !flow->live)
            return 0;
        return static_cast<uint32_t>(chunk * TAPFLOW_FLOW_RULE_CHUNK + offset / sizeof(Flow));
    }
    return 0;
}

Result<void> FlowRules::State::remove(uint32_t index) {
    Flow &flow = flow_at(index);
    const tapflow_flow_rule record = space->rule(index);
    const flow::Attributes attributes = space->attributes_of(index);
    const size_t direction = direction_of(attributes);
    if (has_filters(attributes)) {
        const auto counted = flow.shared_count ? count_of(index) : FlowCount{};
        if (auto removed = filters->remove(index); !removed)
            return removed;
        if (flow.shared_count && counted) {
            shared_count(flow)->gone.packets += counted->packets;
            shared_count(flow)->gone.bytes += counted->bytes;
        }
    }
    space->remove(index);
    give_back(record);
    for (Shared *action : {shared_rss(flow), shared_count(flow)})
        if (action)
            action->uses--;
    if (record.actions & TAPFLOW_FLOW_JUMP)
        jumps[direction][attributes.group][record.group]--;
    flow.live = false;
    if (--in_direction[direction] > 0)
        return {};
    if (direction == 0)
        classifier.set_flag(TAPFLOW_PORT_RULES, false);
    else
        (void)guarded([&] { return attach_egress(false); });
    return {};
}

Result<void> FlowRules::destroy(const Flow *flow) {
    const std::lock_guard lock(state_->mutex);
    const uint32_t index = state_->index_of(flow);
    if (index == 0)
        return Error{ENOENT, "destroy flow rule", "there is no such rule"};
    return guarded([&] { return state_->remove(index); });
}

Result<void> FlowRules::flush() {
    const std::lock_guard lock(state_->mutex);
    Result<void> first;
    for (size_t chunk = 0; chunk < state_->flows.size(); chunk++)
        for (size_t i = 0; i < state_->flows[chunk].size(); i++)
            if (state_->flows[chunk][i].live) {
                const auto index = static_cast<uint32_t>(chunk * TAPFLOW_FLOW_RULE_CHUNK + i);
                auto removed = guarded([&] { return state_->remove(index); });
                if (!removed && first)
                    first = removed;
            }
    return first;
}

void FlowRules::suspend_filters() {
    const std::lock_guard lock(state_->mutex);
    if (state_->filters)
        (void)guarded([&]() -> Result<void> {
            state_->filters->suspend();
            return {};
        });
}

Result<void> FlowRules::State::add_filters() {
    filters->resume();
    for (const uint32_t index : in_order()) {
        const flow::Rule rule = rule_at(index);
        if (has_filters(rule.attributes))
            if (auto added = filters->add(rule, index, space->rule(index).actions); !added)
                return added;
    }
    return filters->let_packets_in();
}

Result<void> FlowRules::resume_filters() {
    const std::lock_guard lock(state_->mutex);
    if (!state_->filters)
        return {};
    auto added = guarded([&] { return state_->add_filters(); });
    if (!added)
        state_->filters->suspend();
    return added;
}

Result<void> FlowRules::restore_filters(bool active) {
    {
        const std::lock_guard lock(state_->mutex);
        for (const uint32_t index : state_->in_order())
            if (state_->has_filters(state_->space->attributes_of(index)))
                state_->flow_at(index).base = {};
    }
    return active ? resume_filters() : Result<void>();
}

// ---- asking

/// What a rule with COUNT has counted since it was created or last reset.
Result<FlowCount> FlowRules::State::take_count_of(uint32_t index, bool reset) {
    Flow &flow = flow_at(index);
    const auto now = flow.shared_count ? shared_count_of(flow.shared_count) : count_of(index);
    if (!now)
        return now.error();
    Shared *const counter = shared_count(flow);
    return take_count(*now, counter ? counter->base : flow.base, reset);
}

Result<FlowCount> FlowRules::query(const Flow *flow, bool reset) {
    State &state = *state_;
    const std::lock_guard lock(state.mutex);
    const uint32_t index = state.index_of(flow);
    if (index == 0)
        return Error{ENOENT, "query flow rule", "there is no such rule"};
    if (!(state.space->rule(index).actions & TAPFLOW_FLOW_COUNT))
        return Error{EINVAL, "query flow rule", "it does not count"};
    return state.take_count_of(index, reset);
}

/// What a rule's own counter, or its filters, have counted.
Result<FlowCount> FlowRules::State::count_of(uint32_t index) {
    if (!has_filters(space->attributes_of(index)))
        return read(tables->counter(space->rule(index).counter));
    const auto counted = guarded([&] { return filters->count(index); });
    if (!counted)
        return counted.error();
    return FlowCount{counted->packets, counted->bytes};
}

/// What rules that share a counter have counted.
Result<FlowCount> FlowRules::State::shared_count_of(uint32_t number) {
    FlowCount total = read(tables->counter(TAPFLOW_FLOW_SHARED_COUNTERS + number - 1));
    if (!filters)
        return total;
    total.packets += shared[number - 1].gone.packets;
    total.bytes += shared[number - 1].gone.bytes;
    for (const uint32_t index : in_order()) {
        if (flow_at(index).shared_count != number || !has_filters(space->attributes_of(index)))
            continue;
        auto counted = count_of(index);
        if (!counted)
            return counted;
        total.packets += counted->packets;
        total.bytes += counted->bytes;
    }
    return total;
}

flow::Rule FlowRules::State::rule_at(uint32_t index) {
    const tapflow_flow_rule &record = space->rule(index);
    flow::Rule rule{space->attributes_of(index), space->match_of(index), flow::stored_actions(record)};
    if (record.actions & TAPFLOW_FLOW_RSS && record.indirect_rss == 0)
        rule.actions.rss = std::make_shared<flow::RssAction>(contexts.action(record.context));
    if (record.actions & TAPFLOW_FLOW_REWRITE)
        rule.actions.rewrites = *rewrites.get(record.rewrite);
    return rule;
}

Result<flow::Rule> FlowRules::rule(const Flow *flow) {
    const std::lock_guard lock(state_->mutex);
    const uint32_t index = state_->index_of(flow);
    if (index == 0)
        return Error{ENOENT, "show flow rule", "there is no such rule"};
    return guarded([&]() -> Result<flow::Rule> { return state_->rule_at(index); });
}

/// The rules' indices in the order of their creation.
std::vector<uint32_t> FlowRules::State::in_order() const {
    std::vector<uint32_t> result;
    for (size_t chunk = 0; chunk < flows.size(); chunk++)
        for (size_t i = 0; i < flows[chunk].size(); i++)
            if (flows[chunk][i].live)
                result.push_back(static_cast<uint32_t>(chunk * TAPFLOW_FLOW_RULE_CHUNK + i));
    std::sort(result.begin(), result.end(), [this](uint32_t a, uint32_t b) { return id_of(a) < id_of(b); });
    return result;
}

void FlowRules::for_each(const std::function<void(const flow::Rule &, const Flow *)> &each) {
    const std::lock_guard lock(state_->mutex);
    for (const uint32_t index : state_->in_order())
        each(state_->rule_at(index), &state_->flow_at(index));
}

std::vector<ListedRule> FlowRules::list(uint64_t first, size_t limit) {
    State &state = *state_;
    const std::lock_guard lock(state.mutex);
    const std::vector<uint32_t> order = state.in_order();
    auto at = std::partition_point(order.begin(), order.end(), [&](uint32_t i) { return state.id_of(i) < first; });
    std::vector<ListedRule> listed;
    for (; at != order.end() && listed.size() < limit; ++at) {
        ListedRule &rule = listed.emplace_back(ListedRule{state.id_of(*at), state.rule_at(*at), {}});
        if (!rule.rule.actions.count)
            continue;
        if (const auto count = state.take_count_of(*at, false))
            rule.count = *count;
    }
    return listed;
}

size_t FlowRules::size() const {
    const std::lock_guard lock(state_->mutex);
    return state_->space->size();
}

// ---- indirect actions

Result<uint32_t> FlowRules::State::add_shared(Shared action) {
    auto free =
        std::find_if(shared.begin(), shared.end(), [](const Shared &s) { return s.kind == Shared::Kind::None; });
    if (free == shared.end()) {
        if (shared.size() == kSharedMax)
            return Error{ENOSPC, "create indirect action", "too many (4096)"};
        shared.emplace_back();
        free = shared.end() - 1;
    }
    const auto number = static_cast<uint32_t>(free - shared.begin()) + 1;
    if (action.kind == Shared::Kind::Count) {
        // Packets of rules that used the same number before have been counted by then.
        if (auto waited = tables->wait(); !waited)
            return waited.error();
        tables->clear_counter(TAPFLOW_FLOW_SHARED_COUNTERS + number - 1);
        action.base = read(tables->counter(TAPFLOW_FLOW_SHARED_COUNTERS + number - 1));
    }
    *free = action;
    return number;
}

Result<uint32_t> FlowRules::create_shared_rss(const flow::RssAction &action) {
    State &state = *state_;
    const std::lock_guard lock(state.mutex);
    return guarded([&]() -> Result<uint32_t> {
        if (auto invalid = flow::validate(action, state.capabilities))
            return *std::move(invalid);
        auto context = state.contexts.acquire(action, true);
        if (!context)
            return context.error();
        auto number = guarded([&] { return state.add_shared({State::Shared::Kind::Rss, *context, 0, {}, {}}); });
        if (!number)
            state.contexts.release(*context);
        return number;
    });
}

Result<uint32_t> FlowRules::create_shared_count() {
    State &state = *state_;
    const std::lock_guard lock(state.mutex);
    return guarded([&]() -> Result<uint32_t> {
        if (auto prepared = state.tables->prepare_shared_counters(); !prepared)
            return prepared.error();
        return state.add_shared({State::Shared::Kind::Count, 0, 0, {}, {}});
    });
}

Result<void> FlowRules::update_shared_rss(uint32_t number, const flow::RssAction &action) {
    State &state = *state_;
    const std::lock_guard lock(state.mutex);
    const State::Shared *shared = state.find_shared(number, State::Shared::Kind::Rss);
    if (!shared)
        return Error{ENOENT, "update indirect action", "there is no such indirect RSS action"};
    return guarded([&]() -> Result<void> {
        if (auto invalid = flow::validate(action, state.capabilities))
            return *std::move(invalid);
        return state.contexts.update(shared->context, action);
    });
}

Result<void> FlowRules::destroy_shared(uint32_t number) {
    State &state = *state_;
    const std::lock_guard lock(state.mutex);
    if (number == 0 || number > state.shared.size() || state.shared[number - 1].kind == State::Shared::Kind::None)
        return Error{ENOENT, "destroy indirect action", "there is no such indirect action"};
    State::Shared &shared = state.shared[number - 1];
    if (shared.uses > 0)
        return Error{EBUSY, "destroy indirect action", std::to_string(shared.uses) + " rules use it"};
    if (shared.kind == State::Shared::Kind::Rss)
        state.contexts.release(shared.context);
    shared = {};
    return {};
}

Result<FlowCount> FlowRules::query_shared_count(uint32_t number, bool reset) {
    State &state = *state_;
    const std::lock_guard lock(state.mutex);
    State::Shared *shared = state.find_shared(number, State::Shared::Kind::Count);
    if (!shared)
        return Error{ENOENT, "query indirect action", "there is no such indirect COUNT action"};
    const auto now = guarded([&] { return state.shared_count_of(number); });
    if (!now)
        return now.error();
    return take_count(*now, shared->base, reset);
}

// ---- what the port tells and asks

void FlowRules::set_queues(unsigned queues) {
    const std::lock_guard lock(state_->mutex);
    state_->capabilities.queues = queues;
}

Result<void> FlowRules::set_port_rss(const rss::RssConfig &config, unsigned queues) {
    State &state = *state_;
    const std::lock_guard lock(state.mutex);
    return guarded([&] { return state.contexts.set_port(config, queues); });
}

const std::vector<flow::Rewrite> *FlowRules::rewrites(uint16_t number) const { return state_->rewrites.get(number); }

// Rules' memory is used again when the kernel's searches are over, which says nothing of ours: a change in between
// means to look again.
tapflow_flow_verdict FlowRules::match(std::span<const uint8_t> frame) const {
    if (!state_->classifier.has_flag(TAPFLOW_PORT_RULES))
        return {};
    const tapflow_flow_tables &tables = state_->tables->tables();
    const tapflow_flow_key key = flow::key_of(frame.data(), frame.data() + frame.size());
    const std::atomic_ref<__u64> generation(tables.directory->generation);
    tapflow_flow_verdict verdict{};
    for (int attempt = 0; attempt < kAttempts; attempt++) {
        const uint64_t before = generation.load(std::memory_order_acquire);
        verdict = flow::search(tables, key, TAPFLOW_FLOW_INGRESS);
        std::atomic_thread_fence(std::memory_order_acquire);
        if (before % 2 == 0 && generation.load(std::memory_order_relaxed) == before)
            break;
    }
    return verdict;
}

} // namespace tapflow::engine
