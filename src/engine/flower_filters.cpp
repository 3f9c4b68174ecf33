// SPDX-License-Identifier: BSD-3-Clause
#include "engine/flower_filters.h"

#include "engine/flower_match.h"
#include "engine/port_internal.h"
#include "engine/remote.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>

namespace tapflow::engine {
namespace {

using kernel::BpfFilter;
using kernel::Control;
using kernel::FilterPlace;
using kernel::Hook;
using kernel::RuleSearch;

constexpr const char *kGate = "tapflow_gate";
constexpr const char *kCookie = "tapflow";

// Chains other than 0 have numbers that nobody else is likely to use.
constexpr uint32_t kChains = 0x7af0000;
constexpr uint32_t kConclusionChain = kChains + TAPFLOW_FLOW_GROUPS;

// A rule's filters have its index as handle, and multiples of this behind it: the kernel keeps handles in a radix tree.
constexpr uint32_t kNextHandle = TAPFLOW_FLOW_RULES_MAX;

constexpr uint32_t chain_of(uint32_t group) { return group ? kChains + group : 0; }

const char *conclusion_name(Hook hook) { return hook == Hook::Ingress ? kReceiveFilter : kTapFilter; }

/// What a rule does with a packet that one of its filters matches: see TAPFLOW_FLOWER_RULE.
kernel::TcAction action_of(uint32_t index, uint16_t actions, uint32_t group) {
    kernel::Skbedit edit;
    edit.mark = index;
    edit.mark_mask = TAPFLOW_FLOWER_RULE;
    kernel::TcAction action;
    action.cookie = kCookie;
    if (actions & TAPFLOW_FLOW_FINAL) {
        action.then = {Control::Code::GotoChain, kConclusionChain};
    } else {
        const uint32_t asked = (actions & TAPFLOW_FLOW_TAKE ? TAPFLOW_FLOWER_TAKE : 0) |
                               (actions & TAPFLOW_FLOW_FLAG ? TAPFLOW_FLOWER_FLAG : 0);
        edit.mark = index | asked;
        edit.mark_mask = TAPFLOW_FLOWER_RULE | asked;
        if (actions & TAPFLOW_FLOW_MARK)
            edit.priority = index;
        action.then.code = Control::Code::Continue;
        if (actions & TAPFLOW_FLOW_JUMP)
            action.then = {Control::Code::GotoChain, chain_of(group)};
    }
    action.what = edit;
    return action;
}

/// The name that a port with flower filters at its remote holds.
std::string lock_name(const kernel::LinkInfo &link) { return "tapflow/flower/" + std::to_string(link.index); }

/// Flower has had EtherTypes from the beginning, but does not show them as they were given: one that is a TPID becomes
/// a part of the tag.
bool is_always_known(kernel::FlowerField field) {
    return field == kernel::FlowerField::EthType || field == kernel::FlowerField::VlanEthType ||
           field == kernel::FlowerField::CvlanEthType;
}

/// What a rule's filter has counted. At ingress the kernel has taken the Ethernet header off before it counts.
kernel::ActionCount count_of_filter(const kernel::ToldFlower &told, Hook hook) {
    if (told.actions.empty())
        return {};
    kernel::ActionCount count = told.actions.front().count;
    if (hook == Hook::Ingress)
        count.bytes += 14 * count.packets;
    return count;
}

bool is_gone(const Error &error) { return error.code == ENOENT || error.code == ENODEV; }

} // namespace

FlowerFilters::FlowerFilters(kernel::Netlink &netlink, const BpfClassifier &classifier, kernel::Offload offload)
    : netlink_(netlink), classifier_(classifier), offload_(offload) {}

FlowerFilters::~FlowerFilters() { take_off(); }

int FlowerFilters::conclusion_program() const {
    const auto &programs = classifier_.programs();
    return hook_ == Hook::Ingress ? programs.remote_ingress() : programs.tap_egress();
}

// ---- where packets pass

Result<void> FlowerFilters::remove_left(kernel::Netlink &netlink, const kernel::LinkInfo &link, Hook hook,
                                        RuleSearch search) {
    std::optional<kernel::NameLock> lock;
    if (search != RuleSearch::Flower && hook == Hook::Ingress) { // or attach() has it
        auto taken = kernel::NameLock::take(lock_name(link));
        if (!taken)
            return taken.error().code == EADDRINUSE ? Result<void>() : taken.error();
        lock.emplace(*std::move(taken));
    }
    auto filters = kernel::list_filters(netlink, link, hook);
    if (!filters)
        return filters.error();
    const auto remove = [&](const FilterPlace &place, const char *kind) -> Result<void> {
        auto removed = kernel::remove_filter(netlink, place, kind);
        return removed || is_gone(removed.error()) ? Result<void>() : removed;
    };
    // The gate first: what has not passed it is left alone by what follows.
    const uint16_t other = search == RuleSearch::Flower ? kernel::kFilterPreference : kConclusionPreference;
    for (const BpfFilter &filter : *filters) {
        const bool gate = filter.name == kGate && search != RuleSearch::Flower;
        const bool conclusion =
            filter.name == conclusion_name(hook) && (filter.chain != 0 || filter.preference == other);
        if (gate || conclusion)
            if (auto removed = remove(filter, "bpf"); !removed)
                return removed;
    }
    auto flowers = kernel::list_flowers(netlink, link, hook);
    if (!flowers)
        return flowers.error();
    for (const kernel::ToldFlower &flower : *flowers)
        if (!flower.actions.empty() && flower.actions.front().cookie == kCookie)
            if (auto removed = remove(flower.filter.place, "flower"); !removed)
                return removed;
    return {};
}

Result<void> FlowerFilters::attach(const kernel::LinkInfo &link, Hook hook) {
    const std::lock_guard guard(mutex_);
    std::optional<kernel::NameLock> lock; // a tap is the port's own
    if (hook == Hook::Ingress) {
        auto taken = kernel::NameLock::take(lock_name(link));
        if (!taken && taken.error().code == EADDRINUSE)
            return Error{EBUSY, "put flower filters at " + link.name, "another port has its own there"};
        if (!taken)
            return taken.error();
        lock.emplace(*std::move(taken));
    }
    if (auto removed = remove_left(netlink_, link, hook, RuleSearch::Flower); !removed)
        return removed;
    link_ = link;
    hook_ = hook;
    lock_ = std::move(lock);
    auto installed = install(link, hook);
    if (!installed)
        take_off();
    return installed;
}

Result<void> FlowerFilters::install(const kernel::LinkInfo &link, Hook hook) {
    auto conclusion = kernel::Attachment::filter(netlink_, link, hook, conclusion_program(), conclusion_name(hook),
                                                 kConclusionPreference);
    if (!conclusion)
        return conclusion.error();
    conclusion_.emplace(*std::move(conclusion));
    if (auto able = probe({}); !able)
        return able;
    if (auto concluded = conclude(kConclusionChain); !concluded)
        return concluded;
    auto opened = open_gate();
    suspended_ = hook == Hook::Ingress;
    if (suspended_)
        gate_.reset(); // to see that the place is free was enough
    return opened;
}

Result<void> FlowerFilters::open_gate() {
    if (!link_ || gate_)
        return {};
    auto gate = kernel::Attachment::filter(netlink_, *link_, hook_, classifier_.programs().flower_gate(hook_), kGate);
    if (!gate)
        return gate.error();
    gate_.emplace(*std::move(gate));
    return {};
}

Result<void> FlowerFilters::let_packets_in() {
    const std::lock_guard guard(mutex_);
    return open_gate();
}

void FlowerFilters::resume() {
    const std::lock_guard guard(mutex_);
    suspended_ = false;
}

void FlowerFilters::suspend() {
    const std::lock_guard guard(mutex_);
    suspended_ = true;
    if (!link_)
        return;
    gate_.reset();
    for (const auto &[index, rule] : rules_) {
        if (!rule.counts)
            continue;
        if (const auto counted = count_of_filters(index, rule)) {
            counted_[index].packets += counted->packets;
            counted_[index].bytes += counted->bytes;
        }
    }
    remove_rules();
}

void FlowerFilters::detach() {
    const std::lock_guard guard(mutex_);
    take_off();
}

void FlowerFilters::abandon() {
    const std::lock_guard guard(mutex_);
    forget();
}

/// Nobody is left to tell of a failure: the interface may be gone, and with it the filters.
void FlowerFilters::remove_rules() {
    std::vector<kernel::NlMsg> removals;
    for (const auto &[index, rule] : rules_)
        for (uint32_t i = 0; i < rule.filters; i++)
            removals.push_back(kernel::removal_request(place(rule, index, i), "flower"));
    (void)netlink_.request_all(removals, "remove rules from " + link_->name);
    rules_.clear();
}

void FlowerFilters::take_off() {
    if (!link_)
        return;
    gate_.reset();
    remove_rules();
    for (const uint32_t chain : concluded_)
        (void)kernel::remove_filter(netlink_, {link_->index, hook_, kConclusionPreference, 1, chain}, "bpf");
    conclusion_.reset();
    forget();
}

void FlowerFilters::forget() {
    for (auto *attachment : {&gate_, &conclusion_}) {
        if (*attachment)
            (*attachment)->abandon();
        attachment->reset();
    }
    rules_.clear();
    counted_.clear();
    concluded_.clear();
    lock_.reset();
    link_.reset();
}

/// Puts the classifier at the end of a chain.
Result<void> FlowerFilters::conclude(uint32_t chain) {
    if (chain == 0 || std::find(concluded_.begin(), concluded_.end(), chain) != concluded_.end())
        return {};
    BpfFilter end;
    static_cast<FilterPlace &>(end) = {link_->index, hook_, kConclusionPreference, 1, chain};
    end.name = conclusion_name(hook_);
    auto added = kernel::add_filter(netlink_, end, conclusion_program());
    if (added)
        concluded_.push_back(chain);
    return added;
}

// ---- what is refused

bool FlowerFilters::is_known(const std::vector<kernel::FlowerKey> &keys) const {
    return offload_ != kernel::Offload::HardwareOnly &&
           std::all_of(keys.begin(), keys.end(), [this](const kernel::FlowerKey &key) {
               return is_always_known(key.field) || known_.test(static_cast<size_t>(key.field));
           });
}

/// Makes a filter that does nothing, and looks whether the kernel shows it as it was made: attributes that a kernel
/// does not know it ignores.
Result<void> FlowerFilters::probe(const std::vector<kernel::FlowerKey> &keys) {
    kernel::TcAction nothing;
    kernel::Skbedit edit;
    edit.mark = 0;
    edit.mark_mask = 0;
    nothing.what = edit;
    nothing.cookie = kCookie;
    nothing.then.code = Control::Code::Continue;
    kernel::FlowerFilter probe{{link_->index, hook_, kProbePreference, 1, 0}, keys, offload_, {nothing}};
    for (kernel::FlowerKey &key : probe.keys)
        if (key.field == kernel::FlowerField::Spi)
            key.value = key.mask; // one of 0 is not shown
    if (auto added = kernel::add_flower(netlink_, probe); !added)
        return added.error();
    auto told = kernel::get_flower(netlink_, probe.place);
    if (auto removed = kernel::remove_filter(netlink_, probe.place, "flower"); !removed)
        return removed;
    if (!told)
        return told.error();
    for (const kernel::FlowerKey &key : keys) {
        if (is_always_known(key.field))
            continue;
        const auto &seen = told->filter.keys;
        if (std::none_of(seen.begin(), seen.end(), [&](const auto &other) { return other.field == key.field; }))
            return Error{ENOTSUP, "match by flower",
                         std::string("this kernel's flower does not compare ") + kernel::flower_field_name(key.field)};
        known_.set(static_cast<size_t>(key.field));
    }
    return {};
}

Result<void> FlowerFilters::translate(const flow::Match &match) {
    if (translated_ && *translated_ == match)
        return {};
    translated_.reset();
    auto filters = flower_keys(match);
    if (!filters)
        return filters.error();
    translation_ = *std::move(filters);
    translated_ = match;
    return {};
}

std::optional<Error> FlowerFilters::refusal(const flow::Rule &rule) {
    const std::lock_guard guard(mutex_);
    if (auto translated = translate(rule.match); !translated)
        return translated.error();
    if (!link_)
        return std::nullopt;
    for (const auto &keys : translation_)
        if (!is_known(keys))
            if (auto probed = probe(keys); !probed)
                return probed.error();
    return std::nullopt;
}

// ---- rules

FilterPlace FlowerFilters::place(const Installed &rule, uint32_t index, uint32_t filter) const {
    return {link_->index, hook_, rule.preference, index + filter * kNextHandle, rule.chain};
}

Result<void> FlowerFilters::add(const flow::Rule &rule, uint32_t index, uint16_t actions) {
    const std::lock_guard guard(mutex_);
    if (!link_ || suspended_ || rules_.contains(index))
        return {};
    if (auto translated = translate(rule.match); !translated)
        return translated;
    Installed installed{chain_of(rule.attributes.group),
                        static_cast<uint16_t>(kFirstRulePreference + rule.attributes.priority), 0,
                        (actions & TAPFLOW_FLOW_COUNT) != 0};
    if (auto concluded = conclude(installed.chain); !concluded)
        return concluded;
    if (actions & TAPFLOW_FLOW_JUMP)
        if (auto concluded = conclude(chain_of(rule.actions.group)); !concluded)
            return concluded;
    for (const auto &keys : translation_) {
        const kernel::FlowerFilter filter{place(installed, index, installed.filters),
                                          keys,
                                          offload_,
                                          {action_of(index, actions, rule.actions.group)}};
        if (auto added = kernel::add_flower(netlink_, filter); !added) {
            for (uint32_t i = 0; i < installed.filters; i++)
                (void)kernel::remove_filter(netlink_, place(installed, index, i), "flower");
            return added;
        }
        installed.filters++;
    }
    rules_.emplace(index, installed);
    return {};
}

Result<void> FlowerFilters::remove(uint32_t index) {
    const std::lock_guard guard(mutex_);
    const auto found = rules_.find(index);
    if (found == rules_.end()) {
        counted_.erase(index);
        return {};
    }
    Installed &rule = found->second;
    // The last one first, so that what is left after an error is a rule with fewer filters.
    for (; rule.filters > 0; rule.filters--) {
        const FilterPlace last = place(rule, index, rule.filters - 1);
        auto removed = kernel::remove_filter(netlink_, last, "flower");
        // Somebody may have removed it, or its chain, or the qdisc, for which the kernel has several words.
        if (!removed && !is_gone(removed.error()) && kernel::get_flower(netlink_, last))
            return removed;
    }
    rules_.erase(found);
    counted_.erase(index);
    return {};
}

Result<kernel::ActionCount> FlowerFilters::count_of_filters(uint32_t index, const Installed &rule) {
    kernel::ActionCount total;
    for (uint32_t i = 0; i < rule.filters; i++) {
        auto told = kernel::get_flower(netlink_, place(rule, index, i));
        if (!told)
            return told.error();
        const kernel::ActionCount count = count_of_filter(*told, hook_);
        total.packets += count.packets;
        total.bytes += count.bytes;
    }
    return total;
}

Result<std::vector<FlowerFilters::Listed>> FlowerFilters::list(kernel::Netlink &netlink, const kernel::LinkInfo &link,
                                                               Hook hook) {
    auto told = kernel::list_flowers(netlink, link, hook);
    if (!told)
        return told.error();
    std::vector<Listed> filters;
    for (const kernel::ToldFlower &flower : *told)
        if (!flower.actions.empty() && flower.actions.front().cookie == kCookie &&
            flower.filter.place.preference >= kFirstRulePreference)
            filters.push_back(
                {flower.filter.place.handle % kNextHandle, flower.filter.place, count_of_filter(flower, hook)});
    return filters;
}

Result<kernel::ActionCount> FlowerFilters::count(uint32_t index) {
    const std::lock_guard guard(mutex_);
    kernel::ActionCount total;
    if (const auto before = counted_.find(index); before != counted_.end())
        total = before->second;
    const auto found = rules_.find(index);
    if (found == rules_.end())
        return total;
    auto now = count_of_filters(index, found->second);
    if (!now)
        return now;
    total.packets += now->packets;
    total.bytes += now->bytes;
    return total;
}

} // namespace tapflow::engine
