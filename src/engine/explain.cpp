// SPDX-License-Identifier: BSD-3-Clause
#include "engine/explain.h"

#include "engine/counters.h"
#include "flow/fields.h"
#include "flow/headers.h"
#include "tapflow/abi/decision.h"
#include "tapflow/abi/record.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace tapflow::engine {
namespace {

struct ObstacleText {
    Obstacle obstacle;
    uint32_t flag; ///< enum tapflow_decision_flag
    const char *text;
};
constexpr std::array kObstacles{
    ObstacleText{Obstacle::None, 0, "nothing"},
    ObstacleText{Obstacle::NotStarted, TAPFLOW_DECIDED_NOT_STARTED, "the port is not started"},
    ObstacleText{Obstacle::RuleDrop, TAPFLOW_DECIDED_RULE_DROP, "a rule drops it"},
    ObstacleText{Obstacle::Filtered, TAPFLOW_DECIDED_FILTERED, "its address, VLAN or isolated mode keeps it out"},
    ObstacleText{Obstacle::NoLease, TAPFLOW_DECIDED_NO_LEASE, "the process is dead or hangs: the lease has run out"},
    ObstacleText{Obstacle::QueueStopped, TAPFLOW_DECIDED_QUEUE_STOPPED, "its queue is stopped"},
    ObstacleText{Obstacle::NoQueue, TAPFLOW_DECIDED_NO_QUEUE, "there is no such queue"},
    ObstacleText{Obstacle::Oversize, TAPFLOW_DECIDED_OVERSIZE, "it is longer than a ring's record can be"},
};

// After so many attempts between which the port has changed, a disagreement is shown.
constexpr int kAttempts = 5;

Decision decision_of(const std::array<uint32_t, 5> &words, const std::map<uint32_t, uint64_t> &id_of_index) {
    const uint32_t flags = words[TAPFLOW_DECISION_FLAGS];
    const auto is = [flags](uint32_t flag) { return (flags & flag) != 0; };
    Decision decision;
    decision.application = is(TAPFLOW_DECIDED_APPLICATION);
    decision.kernel = is(TAPFLOW_DECIDED_KERNEL);
    for (const ObstacleText &obstacle : kObstacles)
        if (is(obstacle.flag))
            decision.obstacle = obstacle.obstacle;
    decision.packet_class = static_cast<uint8_t>(flags >> TAPFLOW_DECISION_CLASS_SHIFT);
    if (is(TAPFLOW_DECIDED_HASH))
        decision.hash = words[TAPFLOW_DECISION_HASH];
    decision.queue = static_cast<uint16_t>(words[TAPFLOW_DECISION_QUEUE]);
    if (const uint32_t index = words[TAPFLOW_DECISION_RULE]) {
        const auto id = id_of_index.find(index);
        decision.rule = id == id_of_index.end() ? UINT64_MAX : id->second;
    }
    if (is(TAPFLOW_DECIDED_MARK))
        decision.mark = words[TAPFLOW_DECISION_MARK];
    decision.flag = is(TAPFLOW_DECIDED_FLAG);
    decision.rewrites = is(TAPFLOW_DECIDED_REWRITE);
    return decision;
}

std::string number_or_none(const std::optional<uint32_t> &number) { return number ? std::to_string(*number) : "none"; }
std::string hash_or_none(const std::optional<uint32_t> &hash) {
    std::array<char, 16> text{};
    if (hash)
        std::snprintf(text.data(), text.size(), "0x%08x", *hash);
    return hash ? text.data() : "none";
}
std::string rule_text(uint64_t id) {
    return id == 0 ? "none" : id == UINT64_MAX ? "one that is not listed" : std::to_string(id);
}

uint64_t destination_of(std::span<const uint8_t> frame) {
    uint64_t address = 0;
    if (frame.size() >= 6)
        std::memcpy(&address, frame.data(), 6);
    return address;
}

/// The outermost tag's VLAN; 0: none.
unsigned vlan_of(std::span<const uint8_t> frame) {
    if (frame.size() < 16)
        return 0;
    const unsigned type = static_cast<unsigned>(frame[12]) << 8 | frame[13];
    return type == 0x8100 || type == 0x88a8 ? (static_cast<unsigned>(frame[14]) << 8 | frame[15]) & 0xfff : 0;
}

flow::FieldBits field_bits(const tapflow_flow_key &key, const flow::Field &field, flow::Place place) {
    const uint8_t *bytes = flow::bytes_of(key, field, place);
    flow::FieldBits value = 0;
    for (size_t i = 0; i < field.bytes; i++)
        value = value << 8 | bytes[i];
    return value >> field.shift & flow::all_ones(field.width);
}

/// EtherTypes as everybody knows them.
std::string field_text(const tapflow_flow_key &key, const flow::Field &field, flow::Place place) {
    const flow::FieldBits value = field_bits(key, field, place);
    if (field.width != 16 || !std::string_view(field.name).ends_with("type"))
        return flow::value_text(field.type, value);
    std::array<char, 8> text{};
    std::snprintf(text.data(), text.size(), "0x%04x", static_cast<unsigned>(value));
    return text.data();
}

std::vector<ParsedHeader> headers_of(const tapflow_flow_key &key) {
    std::vector<ParsedHeader> headers;
    for (const bool inner : {false, true})
        for (size_t item = 0; item < flow::kItems; item++)
            for (const bool second_tag : {false, true}) {
                const auto which = static_cast<flow::Item>(item);
                const flow::Place place{inner, second_tag};
                const uint32_t layer = flow::layer_of(which, place);
                if ((second_tag && which != flow::Item::Vlan) || (key.layers & layer) != layer || layer == 0)
                    continue;
                ParsedHeader header{std::string(flow::item_name(which)), inner, {}};
                for (const flow::Field &field : flow::fields_of(which))
                    header.fields.emplace_back(field.name, field_text(key, field, place));
                headers.push_back(std::move(header));
            }
    return headers;
}

/// The fields that a rule's match names: "eth / ipv4 src / udp dst".
std::string compared_by(const flow::Match &match) {
    std::string text;
    for (const flow::Header &header : flow::headers_of(match)) {
        text += (text.empty() ? "" : " / ") + std::string(header.item ? flow::item_name(*header.item) : "any");
        for (const flow::Demand &demand : header.demands)
            text += std::string(" ") + demand.name.name();
    }
    return text.empty() ? "everything" : text;
}

uint64_t rank_of(const InspectedRule &rule) { return rule.record.rank; }

} // namespace

const char *text_of(Obstacle obstacle) {
    for (const ObstacleText &row : kObstacles)
        if (row.obstacle == obstacle)
            return row.text;
    return "?";
}

std::vector<Difference> differences(const Decision &a, const Decision &b) {
    std::vector<Difference> result;
    const auto compare = [&](const char *what, const auto &of_a, const auto &of_b, auto text) {
        if (of_a != of_b)
            result.push_back({what, text(of_a), text(of_b)});
    };
    const auto yes_or_no = [](bool value) { return std::string(value ? "yes" : "no"); };
    const auto number = [](uint64_t value) { return std::to_string(value); };
    compare("application gets it", a.application, b.application, yes_or_no);
    compare("kernel gets it", a.kernel, b.kernel, yes_or_no);
    compare("obstacle", a.obstacle, b.obstacle, [](Obstacle obstacle) { return std::string(text_of(obstacle)); });
    compare("class", a.packet_class, b.packet_class, [](uint8_t value) { return std::string(rss::class_name(value)); });
    compare("hash", a.hash, b.hash, hash_or_none);
    compare("queue", a.queue, b.queue, number);
    compare("rule", a.rule, b.rule, rule_text);
    compare("mark", a.mark, b.mark, number_or_none);
    compare("flag", a.flag, b.flag, yes_or_no);
    compare("header changes", a.rewrites, b.rewrites, yes_or_no);
    return result;
}

Result<Explainer> Explainer::create(const InspectedPort &port, bool offline) {
    Explainer explainer(port, port.identity());
    if (auto refreshed = explainer.refresh(); !refreshed)
        return refreshed.error();
    if (!offline) {
        auto dry_run = kernel::DryRun::load(explainer.identity_.delivery,
                                            [&port](const std::string &name) { return port.map(name); });
        if (!dry_run)
            return dry_run.error();
        explainer.dry_run_.emplace(*std::move(dry_run));
    }
    return explainer;
}

const InspectedRule *Explainer::rule(uint64_t id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : found->second;
}

Result<void> Explainer::refresh_rules() {
    const auto generation = port_.rule_generation();
    if (!generation)
        return generation.error();
    if (rules_.consistent && rules_.generation == *generation)
        return {};
    auto rules = port_.rules();
    if (!rules)
        return rules.error();
    rules_ = *std::move(rules);
    matcher_.clear();
    by_id_.clear();
    id_of_index_.clear();
    for (const InspectedRule &rule : rules_.rules) {
        matcher_.add(rule.id, rule.rule);
        by_id_[rule.id] = &rule;
        id_of_index_[rule.index] = rule.id;
    }
    return {};
}

Result<void> Explainer::refresh() {
    if (auto refreshed = refresh_rules(); !refreshed)
        return refreshed;
    auto rss = port_.rss();
    if (!rss)
        return rss.error();
    auto addresses = port_.addresses();
    if (!addresses)
        return addresses.error();
    rss_ = *std::move(rss);
    contexts_.clear();
    addresses_.clear();
    for (const MacAddress &address : *addresses)
        addresses_.insert(address.word());
    for (const InspectedRule &rule : rules_.rules) {
        const uint16_t context = rule.record.context;
        if (rule.rule.actions.fate != flow::Fate::Rss || contexts_.contains(context))
            continue;
        auto state = port_.rss_context(context);
        if (!state)
            return state.error();
        contexts_.emplace(context, *std::move(state));
    }
    for (unsigned queue = 0; queue < TAPFLOW_QUEUES_MAX; queue++)
        has_ring_[queue] = identity_.delivery == kernel::Delivery::Ring && port_.ring(queue);
    return {};
}

/// A tun device's packets have an Ethernet header without addresses when they are classified.
std::vector<uint8_t> Explainer::on_ethernet(std::span<const uint8_t> frame) const {
    std::vector<uint8_t> result(frame.begin(), frame.end());
    if (identity_.layer == kernel::Layer::Ethernet)
        return result;
    const bool is_ipv6 = !frame.empty() && frame[0] >> 4 == 6;
    std::array<uint8_t, 14> header{};
    header[12] = is_ipv6 ? 0x86 : 0x08;
    header[13] = is_ipv6 ? 0xdd : 0x00;
    result.insert(result.begin(), header.begin(), header.end());
    return result;
}

// ---- the reference's decision

const RssState &Explainer::rss_of(const flow::ReferenceVerdict &verdict) const {
    if (verdict.fate != flow::Fate::Rss || verdict.acted.empty())
        return rss_;
    const InspectedRule *decided = rule(verdict.acted.back());
    const auto context = decided ? contexts_.find(decided->record.context) : contexts_.end();
    return context == contexts_.end() ? rss_ : context->second;
}

/// The table in doc/user-guide.md.
void Explainer::decide_audience(std::span<const uint8_t> frame, const flow::ReferenceVerdict &verdict,
                                Decision &decision) const {
    const tapflow_port_config &config = port_.state().config;
    const auto has = [&config](tapflow_port_flag flag) { return (config.flags & flag) != 0; };
    const auto keep_out = [&decision](Obstacle obstacle, bool kernel) {
        decision.obstacle = obstacle;
        decision.kernel = kernel;
    };
    if (!has(TAPFLOW_PORT_STARTED))
        return keep_out(Obstacle::NotStarted, identity_.is_remote);

    bool application = true;
    bool kernel = false;
    if (verdict.fate != flow::Fate::Drop && !verdict.taken) {
        const uint64_t destination = destination_of(frame);
        const bool group = (destination & 1) != 0;
        const bool is_added = addresses_.contains(destination);
        if (has(TAPFLOW_PORT_ISOLATED))
            application = false;
        else if (destination == config.mac || (!group && is_added))
            application = true;
        else if (group)
            application = has(TAPFLOW_PORT_PROMISCUOUS) || has(TAPFLOW_PORT_ALLMULTICAST) ||
                          destination == 0xffffffffffff || (destination & 0xffff) == 0x3333 || is_added;
        else
            application = has(TAPFLOW_PORT_PROMISCUOUS);
        kernel = !application || (destination != config.mac && (group || !is_added));
        const unsigned vlan = vlan_of(frame);
        if (application && has(TAPFLOW_PORT_VLAN_FILTER) && vlan != 0 &&
            !(read_counter(port_.state().vlans[vlan / 64]) >> (vlan % 64) & 1)) {
            application = false;
            kernel = true;
        }
    }
    if (identity_.is_remote && application && !port_.has_lease())
        return keep_out(Obstacle::NoLease, true);
    if (verdict.fate == flow::Fate::Drop)
        return keep_out(Obstacle::RuleDrop, false);
    decision.kernel = identity_.is_remote && kernel;
    if (!application)
        return keep_out(Obstacle::Filtered, identity_.is_remote);
    decision.application = true;
}

Decision Explainer::decide(std::span<const uint8_t> frame, const flow::ReferenceVerdict &verdict) const {
    Decision decision;
    decide_audience(frame, verdict, decision);
    const RssState &rss = rss_of(verdict);
    const rss::HashInput input = rss::hash_input(rss.config, *rss.tables, frame);
    decision.packet_class = input.packet_class;
    decision.hash = rss::hash_of(rss.config, input);
    decision.queue = verdict.fate == flow::Fate::Queue
                         ? verdict.queue
                         : rss.config.reta[decision.hash.value_or(0) & (rss.config.reta.size() - 1)];
    decision.mark = verdict.mark;
    decision.flag = verdict.flag;
    if (!verdict.acted.empty()) {
        decision.rule = verdict.acted.back();
        for (const uint64_t id : verdict.acted)
            if (const InspectedRule *acted = rule(id))
                decision.rewrites = decision.rewrites || (acted->record.actions & TAPFLOW_FLOW_REWRITE) != 0;
    }
    if (!decision.application)
        return decision;
    const bool by_ring = identity_.delivery == kernel::Delivery::Ring;
    if (read_counter(port_.state().config.stopped_queues) >> (decision.queue % TAPFLOW_QUEUES_MAX) & 1)
        decision.obstacle = Obstacle::QueueStopped;
    else if (by_ring && frame.size() > TAPFLOW_FRAME_MAX)
        decision.obstacle = Obstacle::Oversize;
    else if (by_ring && (decision.queue >= TAPFLOW_QUEUES_MAX || !has_ring_[decision.queue]))
        decision.obstacle = Obstacle::NoQueue;
    decision.application = decision.obstacle == Obstacle::None;
    return decision;
}

// ---- both

void Explainer::ask_kernel(std::span<const uint8_t> frame, Comparison &comparison) const {
    if (!dry_run_) {
        comparison.no_dry_run = "not asked for";
        return;
    }
    const auto words = dry_run_->run(frame, identity_.is_remote);
    if (!words) {
        comparison.no_dry_run = words.error().message();
        return;
    }
    if (!((*words)[TAPFLOW_DECISION_FLAGS] & TAPFLOW_DECIDED)) {
        comparison.no_dry_run = "the port has no RSS configuration";
        return;
    }
    comparison.dry_run = decision_of(*words, id_of_index_);
    comparison.disagreements = differences(comparison.reference, *comparison.dry_run);
}

Explainer::Comparison Explainer::compare_once(std::span<const uint8_t> frame,
                                              const flow::ReferenceVerdict &verdict) const {
    Comparison comparison;
    comparison.reference = decide(frame, verdict);
    ask_kernel(frame, comparison);
    return comparison;
}

// The port goes on while one looks: what disagrees is looked at again, by the state that it has then.
Result<Explainer::Comparison> Explainer::compare(std::span<const uint8_t> raw) {
    const std::vector<uint8_t> frame = on_ethernet(raw);
    const tapflow_flow_key key = flow::reference_key(frame);
    for (int attempt = 0;; attempt++) {
        Comparison comparison = compare_once(frame, matcher_.match(key, flow::Direction::Ingress));
        if (comparison.disagreements.empty() || attempt == kAttempts)
            return comparison;
        if (auto refreshed = refresh(); !refreshed)
            return refreshed.error();
    }
}

Result<Explanation> Explainer::explain(std::span<const uint8_t> raw) {
    auto compared = compare(raw);
    if (!compared)
        return compared.error();
    const std::vector<uint8_t> frame = on_ethernet(raw);
    const tapflow_flow_key key = flow::reference_key(frame);
    const flow::ReferenceVerdict verdict = matcher_.match(key, flow::Direction::Ingress);
    const RssState &rss = rss_of(verdict);
    Explanation explanation;
    explanation.headers = headers_of(key);
    explanation.groups = visit(key);
    explanation.input = rss::hash_input(rss.config, *rss.tables, frame);
    explanation.config = rss.config;
    if (verdict.fate == flow::Fate::Rss && !verdict.acted.empty())
        explanation.config_rule = verdict.acted.back();
    if (verdict.fate != flow::Fate::Queue)
        explanation.reta_slot =
            static_cast<uint32_t>(compared->reference.hash.value_or(0) & (rss.config.reta.size() - 1));
    explanation.reference = compared->reference;
    explanation.dry_run = compared->dry_run;
    explanation.no_dry_run = std::move(compared->no_dry_run);
    explanation.disagreements = std::move(compared->disagreements);
    return explanation;
}

// ---- the way through the tables

std::vector<VisitedGroup> Explainer::visit(const tapflow_flow_key &key) const {
    std::map<uint32_t, std::vector<const InspectedRule *>> of_mask;
    for (const InspectedRule &rule : rules_.rules)
        of_mask[rule.record.mask].push_back(&rule);
    std::vector<VisitedGroup> groups;
    uint32_t group = 0;
    uint64_t behind = 0;
    while (groups.size() < TAPFLOW_FLOW_STEPS) {
        VisitedGroup visited;
        visited.group = group;
        const InspectedRule *best = nullptr;
        std::vector<const InspectedRule *> matching;
        for (const InspectedMask &mask : rules_.masks) {
            if (mask.list != TAPFLOW_FLOW_INGRESS + group || of_mask[mask.mask.id].empty())
                continue;
            const auto &rules = of_mask[mask.mask.id];
            VisitedMask seen;
            seen.compares = compared_by(rules.front()->rule.match);
            seen.priority = mask.mask.priority;
            seen.rules = rules.size();
            seen.skipped = best && rank_of(*best) >> 48 < mask.mask.priority;
            const InspectedRule *found = nullptr;
            for (const InspectedRule *rule : rules) {
                if (!flow::matches(rule->rule.match, key))
                    continue;
                matching.push_back(rule);
                if (rank_of(*rule) > behind && (!found || rank_of(*rule) < rank_of(*found)))
                    found = rule;
            }
            if (found && !seen.skipped) {
                seen.matched = found->id;
                if (!best || rank_of(*found) < rank_of(*best))
                    best = found;
            }
            visited.masks.push_back(std::move(seen));
        }
        const flow::Actions *actions = best ? &best->rule.actions : nullptr;
        const bool goes_on = actions && (actions->fate == flow::Fate::None || actions->fate == flow::Fate::PassThrough);
        if (best) {
            visited.acted = best->id;
            if (!goes_on)
                for (const InspectedRule *rule : matching)
                    if (rank_of(*rule) > rank_of(*best))
                        visited.shadowed.push_back(rule->id);
            std::sort(visited.shadowed.begin(), visited.shadowed.end());
        }
        if (!visited.masks.empty() || best)
            groups.push_back(std::move(visited));
        if (!best)
            break;
        if (actions->fate == flow::Fate::Jump) {
            group = actions->group;
            behind = 0;
        } else if (goes_on) {
            behind = rank_of(*best);
        } else {
            break;
        }
    }
    return groups;
}

} // namespace tapflow::engine
