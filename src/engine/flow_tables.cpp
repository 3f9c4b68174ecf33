// SPDX-License-Identifier: BSD-3-Clause
#include "engine/flow_tables.h"

#include "flow/stored_rule.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <new>
#include <optional>
#include <system_error>
#include <thread>

namespace tapflow::engine {
namespace {

template <typename T> T *entries(const kernel::Mapping &memory) { return static_cast<T *>(memory.data()); }

} // namespace

Result<std::unique_ptr<FlowTables>> FlowTables::create(BpfClassifier &classifier) {
    std::unique_ptr<FlowTables> tables(new FlowTables(classifier));
    auto directory = kernel::Mapping::create(classifier.programs().flow_directory(), 0, sizeof(tapflow_flow_directory),
                                             true, "BPF map flow_directory");
    if (!directory)
        return directory.error();
    tables->directory_ = *std::move(directory);
    tables->tables_.directory = entries<tapflow_flow_directory>(tables->directory_);
    return tables;
}

Result<FlowTables::Shared> FlowTables::make(const char *name, size_t entry_bytes, size_t entries) {
    auto map = kernel::create_shared_array(name, entry_bytes, entries);
    if (!map)
        return map.error();
    auto memory = kernel::Mapping::create(map->get(), 0, entry_bytes * entries, true, std::string("BPF map ") + name);
    if (!memory)
        return memory.error();
    return Shared{*std::move(map), *std::move(memory)};
}

Result<void> FlowTables::add(int outer, std::vector<Shared> &to, size_t wanted, const char *name, size_t entry_bytes) {
    std::vector<Shared> made;
    std::vector<int> fds;
    to.reserve(wanted);
    while (to.size() + made.size() < wanted) {
        auto chunk = make(name, entry_bytes, TAPFLOW_FLOW_RULE_CHUNK);
        if (!chunk)
            return chunk.error();
        fds.push_back(chunk->map.get());
        made.push_back(*std::move(chunk));
    }
    if (made.empty())
        return {};
    if (auto put = kernel::put_inner_maps(outer, fds, std::string("install ") + name, static_cast<uint32_t>(to.size()));
        !put)
        return put.error();
    std::move(made.begin(), made.end(), std::back_inserter(to));
    return {};
}

Result<void> FlowTables::install_buckets(const Shared &buckets) {
    return kernel::put_inner_maps(classifier_.programs().flow_buckets(), std::array{buckets.map.get()},
                                  "install flow_buckets");
}

// Both maps wait for a grace period when they are put in place: for the same one, if that is done at the same time.
Result<void> FlowTables::prepare() {
    if (tables_.buckets)
        return rules_.empty() ? grow() : Result<void>();
    auto buckets = make("flow_buckets", sizeof(tapflow_flow_bucket), TAPFLOW_FLOW_BUCKETS);
    if (!buckets)
        return buckets.error();
    std::optional<Result<void>> installed;
    Result<void> grown;
    try {
        const std::jthread other([&] {
            try {
                installed = install_buckets(*buckets);
            } catch (const std::bad_alloc &) { // nobody would catch it further out
                installed = Error{ENOMEM, "install buckets", {}};
            }
        });
        grown = grow();
    } catch (const std::system_error &) { // no thread to be had
        installed = install_buckets(*buckets);
        grown = grow();
    }
    if (!*installed)
        return installed->error();
    buckets_ = *std::move(buckets);
    tables_.buckets = entries<tapflow_flow_bucket>(buckets_.memory);
    return grown;
}

Result<void> FlowTables::prepare_cache() {
    if (cache_)
        return {};
    auto cache = kernel::create_percpu_array("flow_cache", sizeof(tapflow_flow_cache_set), TAPFLOW_FLOW_CACHE_SETS);
    if (!cache)
        return cache.error();
    if (auto put =
            kernel::put_inner_maps(classifier_.programs().flow_cache(), std::array{cache->get()}, "install flow_cache");
        !put)
        return put.error();
    cache_ = *std::move(cache);
    return {};
}

Result<void> FlowTables::grow() {
    // In one step: each takes a grace period (some 10 ms), in which as many rules could be made.
    const size_t wanted = rules_.empty() ? 1 : TAPFLOW_FLOW_RULE_CHUNKS;
    const size_t former = rules_.size();
    if (auto added = add(classifier_.programs().flow_rules(), rules_, wanted, "flow_rules", sizeof(tapflow_flow_rule));
        !added)
        return added.error();
    for (size_t i = former; i < rules_.size(); i++)
        tables_.chunks[i] = entries<tapflow_flow_rule>(rules_[i].memory);
    return counting_ ? add_counters() : Result<void>();
}

Result<void> FlowTables::add_counters() {
    return add(classifier_.programs().flow_counters(), counters_, rules_.size(), "flow_counters",
               sizeof(tapflow_flow_counter));
}

Result<void> FlowTables::prepare_counters() {
    counting_ = true;
    return add_counters();
}

Result<void> FlowTables::prepare_shared_counters() {
    if (shared_counters_.map)
        return {};
    auto made = make("flow_counters", sizeof(tapflow_flow_counter), TAPFLOW_FLOW_RULE_CHUNK);
    if (!made)
        return made.error();
    if (auto put = kernel::put_inner_maps(classifier_.programs().flow_counters(), std::array{made->map.get()},
                                          "install flow_counters", TAPFLOW_FLOW_RULE_CHUNKS);
        !put)
        return put.error();
    shared_counters_ = *std::move(made);
    return {};
}

tapflow_flow_counter *FlowTables::counter(uint32_t index) const {
    const uint32_t chunk = index / TAPFLOW_FLOW_RULE_CHUNK;
    const Shared *shared = chunk == TAPFLOW_FLOW_RULE_CHUNKS ? &shared_counters_
                           : chunk < counters_.size()        ? &counters_[chunk]
                                                             : nullptr;
    if (!shared || !shared->map)
        return nullptr;
    return entries<tapflow_flow_counter>(shared->memory) + index % TAPFLOW_FLOW_RULE_CHUNK;
}

void FlowTables::clear_counter(uint32_t index) const {
    tapflow_flow_counter *entry = counter(index);
    if (!entry)
        return;
    std::atomic_ref<__u64>(entry->packets).store(0, std::memory_order_relaxed);
    std::atomic_ref<__u64>(entry->bytes).store(0, std::memory_order_relaxed);
}

Result<void> FlowTables::publish_rewrites(uint16_t number, const std::vector<flow::Rewrite> &changes) {
    if (!rewrites_) {
        auto map = kernel::create_hash_map(TAPFLOW_FLOW_REWRITES_MAP, sizeof(uint32_t), sizeof(tapflow_flow_rewrites),
                                           UINT16_MAX);
        if (!map)
            return map.error();
        if (auto bound = classifier_.bind(map->get(), TAPFLOW_FLOW_REWRITES_MAP); !bound)
            return bound.error();
        rewrites_ = *std::move(map);
    }
    const uint32_t key = number;
    tapflow_flow_rewrites value;
    flow::store(changes, value);
    return kernel::map_insert(rewrites_.get(), &key, &value, "publish header changes");
}

void FlowTables::withdraw_rewrites(uint16_t number) const {
    const uint32_t key = number;
    kernel::map_discard(rewrites_.get(), &key);
}

} // namespace tapflow::engine
