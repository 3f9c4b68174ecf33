// SPDX-License-Identifier: BSD-3-Clause
#include "engine/bpf_classifier.h"

#include "kernel/random.h"

#include <algorithm>
#include <array>
#include <atomic>

namespace tapflow::engine {
namespace {

void set_bit(__u64 &word, unsigned bit, bool on) {
    std::atomic_ref<__u64> bits(word);
    if (on)
        bits.fetch_or(uint64_t{1} << bit, std::memory_order_release);
    else
        bits.fetch_and(~(uint64_t{1} << bit), std::memory_order_release);
}

} // namespace

Result<std::unique_ptr<BpfClassifier>> BpfClassifier::create(kernel::Delivery delivery, int tap_ifindex,
                                                             kernel::Layer layer, kernel::RuleSearch search,
                                                             bool has_remote) {
    auto programs = kernel::Programs::load(delivery, tap_ifindex, layer, search, has_remote);
    if (!programs)
        return programs.error();
    std::unique_ptr<BpfClassifier> classifier(new BpfClassifier(*std::move(programs)));
    // There is always a configuration, so that the programs need not ask.
    const auto key = rss::default_key();
    const rss::RssConfig nothing{{key.begin(), key.end()}, 0, rss::round_robin_reta(1), rss::Function::Toeplitz};
    if (auto set = classifier->set_rss(nothing); !set)
        return set.error();
    auto cookie = kernel::random_number();
    if (!cookie)
        return cookie.error();
    classifier->state().config.cookie = *cookie;
    if (auto made = classifier->make_identity(); !made)
        return made.error();
    return classifier;
}

Result<void> BpfClassifier::make_identity() {
    auto map = kernel::create_shared_array(TAPFLOW_IDENTITY_MAP, sizeof(tapflow_port_identity), 1);
    if (!map)
        return map.error();
    auto memory = kernel::Mapping::create(map->get(), 0, sizeof(tapflow_port_identity), true,
                                          std::string("BPF map ") + TAPFLOW_IDENTITY_MAP);
    if (!memory)
        return memory.error();
    identity_ = *std::move(memory);
    identify([](tapflow_port_identity &identity) {
        identity.abi = TAPFLOW_ABI_VERSION;
        identity.size = sizeof(identity);
    });
    return bind(map->get(), TAPFLOW_IDENTITY_MAP);
}

Result<void> BpfClassifier::bind(int map, const std::string &what) {
    if (auto bound = kernel::bind_map(programs_->tap_egress(), map, what); !bound)
        return bound;
    return programs_->remote_ingress() < 0 ? Result<void>() : kernel::bind_map(programs_->remote_ingress(), map, what);
}

// A reader that has seen the same even number before and after has seen one state.
void BpfClassifier::identify(const std::function<void(tapflow_port_identity &)> &change) {
    const std::lock_guard lock(identity_mutex_);
    auto &identity = *static_cast<tapflow_port_identity *>(identity_.data());
    const std::atomic_ref<__u64> sequence(identity.sequence);
    const uint64_t before = sequence.load(std::memory_order_relaxed);
    sequence.store(before + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    change(identity);
    sequence.store(before + 2, std::memory_order_release);
}

Result<void> BpfClassifier::set_rss(const rss::RssConfig &config) {
    auto tables = std::make_unique<tapflow_rss>();
    rss::build_tables(config, *tables);
    auto map = kernel::create_constant_map("tapflow_rss", std::as_bytes(std::span(tables.get(), 1)));
    if (!map)
        return map.error();
    const std::lock_guard lock(rss_mutex_);
    std::swap(rss_, *map);
    if (auto published = publish_rss(); !published) {
        std::swap(rss_, *map);
        return published.error();
    }
    return {};
}

Result<void> BpfClassifier::publish_rss() {
    return kernel::put_inner_maps(programs_->rss_slot(), std::array{rss_.get()}, "publish RSS configuration");
}

// Changing any inner map waits for a grace period.
Result<void> BpfClassifier::quiesce() {
    const std::lock_guard lock(rss_mutex_);
    return publish_rss();
}

Result<void> BpfClassifier::set_rings(std::span<const std::unique_ptr<kernel::Ring>> rings) {
    for (size_t first = 0; first < rings.size();) {
        std::vector<int> fds;
        while (first + fds.size() < rings.size() && rings[first + fds.size()])
            fds.push_back(rings[first + fds.size()]->fd());
        if (auto put = put_rings(first, fds); !put)
            return put.error();
        first += fds.size() + 1;
    }
    return {};
}

Result<void> BpfClassifier::set_ring(size_t queue, const kernel::Ring &ring) {
    return put_rings(queue, std::array{ring.fd()});
}

Result<void> BpfClassifier::put_rings(size_t first, std::span<const int> fds) {
    if (fds.empty())
        return {};
    if (auto put = kernel::put_inner_maps(programs_->rings(), fds, "install rings", static_cast<uint32_t>(first)); !put)
        return put.error();
    rings_ = std::max(rings_, first + fds.size());
    // What was seen of the former rings says nothing of these.
    for (size_t i = first; i < first + fds.size(); i++)
        std::atomic_ref<__u64>(state().queues[i].full_since_ns).store(0, std::memory_order_relaxed);
    return {};
}

Result<void> BpfClassifier::remove_rings(size_t first) {
    for (; rings_ > first; rings_--) {
        const auto queue = static_cast<uint32_t>(rings_ - 1);
        if (auto removed = kernel::map_remove(programs_->rings(), &queue, "remove ring"); !removed)
            return removed.error();
    }
    return {};
}

void BpfClassifier::set_flag(tapflow_port_flag flag, bool on) {
    std::atomic_ref<__u32> flags(state().config.flags);
    if (on)
        flags.fetch_or(flag, std::memory_order_release);
    else
        flags.fetch_and(~static_cast<__u32>(flag), std::memory_order_release);
}

void BpfClassifier::set_mac(const MacAddress &mac) {
    std::atomic_ref<__u64>(state().config.mac).store(mac.word(), std::memory_order_relaxed);
}

void BpfClassifier::set_remote(int ifindex) {
    std::atomic_ref<__u32>(state().config.remote_ifindex).store(static_cast<__u32>(ifindex), std::memory_order_relaxed);
}

void BpfClassifier::set_queue_stopped(unsigned queue, bool stopped) {
    set_bit(state().config.stopped_queues, queue, stopped);
}

void BpfClassifier::set_vlan(uint16_t id, bool let_in) { set_bit(state().vlans[id / 64], id % 64, let_in); }

Result<void> BpfClassifier::add_address(const MacAddress &address) {
    const uint64_t key = address.word();
    const uint8_t present = 1;
    return kernel::map_insert(programs_->addresses(), &key, &present, "add address " + address.text());
}

Result<void> BpfClassifier::remove_address(const MacAddress &address) {
    const uint64_t key = address.word();
    return kernel::map_remove(programs_->addresses(), &key, "remove address " + address.text());
}

} // namespace tapflow::engine
