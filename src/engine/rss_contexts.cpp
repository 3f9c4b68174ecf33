// SPDX-License-Identifier: BSD-3-Clause
#include "engine/rss_contexts.h"

#include "flow/stored_rule.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <vector>

namespace tapflow::engine {

rss::RssConfig RssContexts::resolve(const flow::RssAction &action) const {
    rss::RssConfig config = port_;
    if (!action.key.empty())
        config.key = action.key;
    if (action.function)
        config.function = *action.function;
    if (action.types & rss::kAllTypes)
        config.types = action.types;
    else
        config.types = (config.types & rss::kAllTypes ? config.types : rss::kIpv4 | rss::kIpv6) | action.types;
    if (action.level > 0)
        config.types = (config.types & ~uint64_t{rss::kOutermost | rss::kInnermost}) |
                       (action.level > 1 ? rss::kInnermost : rss::kOutermost);
    const auto &queues = action.queues;
    const size_t count = queues.empty() ? std::max(queues_, 1U) : queues.size();
    config.reta.resize(std::max(rss::kDefaultRetaSize, std::bit_ceil(count)));
    for (size_t slot = 0; slot < config.reta.size(); slot++)
        config.reta[slot] = queues.empty() ? static_cast<uint16_t>(slot % count) : queues[slot % count];
    return config;
}

Result<kernel::Fd> RssContexts::make_map(const flow::RssAction &action) const {
    auto tables = std::make_unique<tapflow_rss>();
    rss::build_tables(resolve(action), *tables);
    flow::store(action, *tables);
    return kernel::create_constant_map("flow_context", std::as_bytes(std::span(tables.get(), 1)));
}

const RssContexts::Context *RssContexts::find(const flow::RssAction &action) const {
    for (const Context &context : contexts_)
        if (context.map && !context.own && context.action == action)
            return &context;
    return nullptr;
}

/// One that has never been used, or else one that nobody uses now.
RssContexts::Context *RssContexts::unused() {
    auto free = std::find_if(contexts_.begin(), contexts_.end(), [](const Context &c) { return !c.map; });
    if (free == contexts_.end())
        free = std::find_if(contexts_.begin(), contexts_.end(), [](const Context &c) { return c.uses == 0; });
    return free == contexts_.end() ? nullptr : &*free;
}

bool RssContexts::has_room_for(const flow::RssAction &action) const {
    return find(action) ||
           std::any_of(contexts_.begin(), contexts_.end(), [](const Context &c) { return c.uses == 0; });
}

Result<uint16_t> RssContexts::acquire(const flow::RssAction &action, bool own) {
    if (const Context *same = own ? nullptr : find(action)) {
        const auto index = static_cast<uint16_t>(same - contexts_.data());
        add_use(index);
        return index;
    }
    Context *context = unused();
    if (!context)
        return Error{ENOSPC, "add RSS action", "too many different ones (" + std::to_string(contexts_.size()) + ")"};
    // A packet may be on its way with the rule that used it.
    if (context->map)
        if (auto waited = classifier_.quiesce(); !waited)
            return waited.error();
    flow::RssAction copy = action;
    auto map = make_map(action);
    if (!map)
        return map.error();
    const auto index = static_cast<uint16_t>(context - contexts_.data());
    if (auto put = kernel::put_inner_maps(classifier_.programs().flow_contexts(), std::array{map->get()},
                                          "install flow_context", index);
        !put)
        return put.error();
    *context = {std::move(copy), 1, own, *std::move(map)};
    return index;
}

Result<void> RssContexts::update(uint16_t index, const flow::RssAction &action) {
    flow::RssAction copy = action;
    auto map = make_map(action);
    if (!map)
        return map.error();
    if (auto put = kernel::put_inner_maps(classifier_.programs().flow_contexts(), std::array{map->get()},
                                          "install flow_context", index);
        !put)
        return put.error();
    contexts_[index].action = std::move(copy);
    contexts_[index].map = *std::move(map);
    return {};
}

Result<void> RssContexts::set_port(const rss::RssConfig &config, unsigned queues) {
    if (config == port_ && queues == queues_)
        return {};
    rss::RssConfig former = std::exchange(port_, config);
    const unsigned former_queues = std::exchange(queues_, queues);
    // They are made from the first one on, and never unmade, so one batch replaces them all.
    std::vector<kernel::Fd> maps;
    std::vector<int> fds;
    const auto failed = [&](const Error &error) {
        port_ = std::move(former);
        queues_ = former_queues;
        return error;
    };
    for (const Context &context : contexts_) {
        if (!context.map)
            break;
        auto map = make_map(context.action);
        if (!map)
            return failed(map.error());
        fds.push_back(map->get());
        maps.push_back(*std::move(map));
    }
    if (fds.empty())
        return {};
    if (auto put = kernel::put_inner_maps(classifier_.programs().flow_contexts(), fds, "install flow_contexts"); !put)
        return failed(put.error());
    for (size_t i = 0; i < maps.size(); i++)
        contexts_[i].map = std::move(maps[i]);
    return {};
}

} // namespace tapflow::engine
