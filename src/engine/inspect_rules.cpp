// SPDX-License-Identifier: BSD-3-Clause
// A port's rules, read from its tables, and from its filters with the flower classifier.
#include "engine/counters.h"
#include "engine/flower_filters.h"
#include "engine/inspect.h"
#include "engine/inspect_objects.h"
#include "flow/stored_rule.h"

#include <algorithm>
#include <atomic>
#include <thread>

namespace tapflow::engine {
namespace {

// Rules change for as long as an application makes some.
constexpr int kRuleAttempts = 200;

/// The rules' tables of another process, mapped for reading.
struct MappedTables {
    kernel::Mapping directory;
    kernel::Mapping buckets;
    std::vector<kernel::Mapping> chunks;

    [[nodiscard]] const tapflow_flow_directory &of_directory() const {
        return *static_cast<const tapflow_flow_directory *>(directory.data());
    }
    [[nodiscard]] const tapflow_flow_rule *rule(uint32_t index) const {
        const size_t chunk = index / TAPFLOW_FLOW_RULE_CHUNK;
        if (index == 0 || chunk >= chunks.size())
            return nullptr;
        return static_cast<const tapflow_flow_rule *>(chunks[chunk].data()) + index % TAPFLOW_FLOW_RULE_CHUNK;
    }
};

uint64_t generation_of(const MappedTables &tables) { return read_counter(tables.of_directory().generation); }

/// The masks of all lists, in the order in which they are looked at, and which list a rule's mask is in.
struct Masks {
    std::vector<InspectedMask> all;
    std::map<uint32_t, size_t> by_id;
};

/// False if the lists make no sense: they are being changed.
bool read_masks(const tapflow_flow_directory &directory, Masks &masks) {
    for (uint32_t list = 0; list < TAPFLOW_FLOW_LISTS; list++) {
        int steps = 0;
        for (uint32_t index = directory.head[list]; index != 0; index = directory.masks[index].next) {
            if (index >= TAPFLOW_FLOW_MASK_SLOTS || ++steps > TAPFLOW_FLOW_MASK_SLOTS)
                return false;
            const tapflow_flow_mask &mask = directory.masks[index];
            // A mask that has moved forward is in its list twice for a while.
            if (masks.by_id.try_emplace(mask.id, masks.all.size()).second)
                masks.all.push_back({list, mask, 0});
        }
    }
    return true;
}

/// All rules that a packet can find; false if they are being changed.
bool read_live_rules(const MappedTables &tables, Masks &masks, std::vector<InspectedRule> &rules) {
    const auto *buckets = static_cast<const tapflow_flow_bucket *>(tables.buckets.data());
    for (size_t bucket = 0; buckets && bucket < TAPFLOW_FLOW_BUCKETS; bucket++)
        for (const __u64 &slot : buckets[bucket].slots) {
            const uint64_t value = read_counter(slot);
            if (value == 0 || value == TAPFLOW_FLOW_GONE)
                continue;
            for (auto index = static_cast<uint32_t>(value); index != 0;) {
                const tapflow_flow_rule *record = tables.rule(index);
                if (!record || rules.size() >= TAPFLOW_FLOW_RULES_MAX)
                    return false;
                const tapflow_flow_rule copy = *record;
                const auto mask = masks.by_id.find(copy.mask);
                if (mask == masks.by_id.end())
                    return false;
                InspectedMask &of = masks.all[mask->second];
                of.rules++;
                InspectedRule rule;
                rule.id = flow::number_of(copy);
                rule.index = index;
                rule.record = copy;
                rule.counter = copy.actions & TAPFLOW_FLOW_COUNT ? copy.counter : 0;
                rule.rule = {flow::stored_attributes(copy, of.list), flow::stored_match(copy, of.mask),
                             flow::stored_actions(copy)};
                rules.push_back(std::move(rule));
                index = copy.next;
            }
        }
    return true;
}

} // namespace

Result<RuleSet> InspectedPort::Objects::read_rules() const {
    MappedTables tables;
    auto directory = map_view(map("flow_directory"), sizeof(tapflow_flow_directory), "flow_directory");
    if (!directory)
        return directory.error();
    tables.directory = *std::move(directory);
    RuleSet result;
    for (int attempt = 0;; attempt++) {
        // Tables that come with the first rules, and those that they grow by.
        if (const auto buckets = inner("flow_buckets", 0); buckets && !tables.buckets.data()) {
            auto memory = map_view(buckets->get(), sizeof(tapflow_flow_bucket) * TAPFLOW_FLOW_BUCKETS, "flow_buckets");
            if (!memory)
                return memory.error();
            tables.buckets = *std::move(memory);
        }
        while (tables.chunks.size() < TAPFLOW_FLOW_RULE_CHUNKS) {
            const auto chunk = inner("flow_rules", static_cast<uint32_t>(tables.chunks.size()));
            if (!chunk)
                break;
            auto memory = map_view(chunk->get(), sizeof(tapflow_flow_rule) * TAPFLOW_FLOW_RULE_CHUNK, "flow_rules");
            if (!memory)
                return memory.error();
            tables.chunks.push_back(*std::move(memory));
        }
        result = {};
        result.generation = generation_of(tables);
        Masks masks;
        result.consistent = result.generation % 2 == 0 && read_masks(tables.of_directory(), masks) &&
                            read_live_rules(tables, masks, result.rules);
        result.masks = std::move(masks.all);
        std::atomic_thread_fence(std::memory_order_acquire);
        result.consistent = result.consistent && generation_of(tables) == result.generation;
        if (result.consistent || attempt == kRuleAttempts)
            break;
        std::this_thread::yield();
    }
    std::sort(result.rules.begin(), result.rules.end(),
              [](const InspectedRule &a, const InspectedRule &b) { return a.id < b.id; });
    return result;
}

void InspectedPort::Objects::add_counts(RuleSet &rules) const {
    std::map<uint32_t, kernel::Mapping> chunks;
    for (InspectedRule &rule : rules.rules) {
        if (rule.counter == 0)
            continue;
        const uint32_t chunk = rule.counter / TAPFLOW_FLOW_RULE_CHUNK;
        auto [found, is_new] = chunks.try_emplace(chunk);
        if (is_new)
            if (const auto map = inner("flow_counters", chunk))
                if (auto memory =
                        map_view(map->get(), sizeof(tapflow_flow_counter) * TAPFLOW_FLOW_RULE_CHUNK, "flow_counters"))
                    found->second = *std::move(memory);
        const auto *counters = static_cast<const tapflow_flow_counter *>(found->second.data());
        if (!counters)
            continue;
        const tapflow_flow_counter &counter = counters[rule.counter % TAPFLOW_FLOW_RULE_CHUNK];
        rule.count = {read_counter(counter.packets), read_counter(counter.bytes)};
    }
}

/// With the flower classifier ingress rules are filters, too, which count.
void InspectedPort::Objects::add_filters(RuleSet &rules) const {
    const tapflow_port_identity told = read_identity();
    const bool is_remote = (told.flags & TAPFLOW_IDENTITY_REMOTE) != 0;
    const auto *state_memory = static_cast<const tapflow_port_state *>(state.data());
    const tapflow_namespace &where = is_remote ? told.home : told.tap_namespace;
    const auto link =
        link_in(where, static_cast<int>(is_remote ? state_memory->config.remote_ifindex : told.tap_ifindex), told.pid);
    auto netlink = netlink_in(where, told.pid);
    if (!link || !netlink)
        return;
    const auto filters =
        FlowerFilters::list(**netlink, *link, is_remote ? kernel::Hook::Ingress : kernel::Hook::Egress);
    if (!filters)
        return;
    std::map<uint32_t, InspectedRule *> by_index;
    for (InspectedRule &rule : rules.rules)
        if (rule.rule.attributes.direction == flow::Direction::Ingress) {
            by_index[rule.index] = &rule;
            rule.count.reset();
        }
    for (const FlowerFilters::Listed &filter : *filters) {
        const auto found = by_index.find(filter.index);
        if (found == by_index.end())
            continue;
        InspectedRule &rule = *found->second;
        rule.filters.push_back(filter.place);
        if (!rule.rule.actions.count)
            continue;
        const FlowCount before = rule.count.value_or(FlowCount{});
        rule.count = {before.packets + filter.count.packets, before.bytes + filter.count.bytes};
    }
}

Result<RuleSet> InspectedPort::rules() const {
    auto rules = objects_->read_rules();
    if (!rules)
        return rules;
    std::map<uint16_t, std::shared_ptr<const flow::RssAction>> contexts;
    for (InspectedRule &rule : rules->rules) {
        flow::Actions &actions = rule.rule.actions;
        if (actions.fate == flow::Fate::Rss && !actions.shared_rss) {
            auto [context, is_new] = contexts.try_emplace(rule.record.context);
            if (is_new)
                if (const auto rss = rss_context(rule.record.context))
                    context->second = std::make_shared<flow::RssAction>(flow::stored_rss_action(*rss->tables));
            actions.rss = context->second ? context->second : std::make_shared<flow::RssAction>();
        }
        if (rule.record.actions & TAPFLOW_FLOW_REWRITE) {
            const uint32_t number = rule.record.rewrite;
            tapflow_flow_rewrites changes{};
            if (kernel::map_lookup(objects_->map(TAPFLOW_FLOW_REWRITES_MAP), &number, &changes, "read header changes"))
                actions.rewrites = flow::stored_rewrites(changes);
        }
    }
    add_present_counts(*rules);
    return rules;
}

Result<uint64_t> InspectedPort::rule_generation() const {
    MappedTables tables;
    auto directory = map_view(map("flow_directory"), sizeof(tapflow_flow_directory), "flow_directory");
    if (!directory)
        return directory.error();
    tables.directory = *std::move(directory);
    return generation_of(tables);
}

void InspectedPort::add_present_counts(RuleSet &rules) const {
    objects_->add_counts(rules);
    if (identity().search == kernel::RuleSearch::Flower)
        objects_->add_filters(rules);
}

std::map<uint32_t, FlowCount> InspectedPort::counts(const RuleSet &rules) const {
    RuleSet copy = rules;
    for (InspectedRule &rule : copy.rules)
        rule.filters.clear();
    add_present_counts(copy);
    std::map<uint32_t, FlowCount> counts;
    for (const InspectedRule &rule : copy.rules)
        if (rule.count)
            counts[rule.index] = *rule.count;
    return counts;
}

} // namespace tapflow::engine
