// SPDX-License-Identifier: BSD-3-Clause
#include "engine/lease.h"

#include "kernel/clock.h"
#include "kernel/thread.h"

#include <atomic>
#include <chrono>
#include <utility>

namespace tapflow::engine {

Lease::Lease(tapflow_port_config &config, std::function<bool()> alive)
    : config_(config), alive_(std::move(alive)), thread_([this](const std::stop_token &stop) { run(stop); }) {}

void Lease::renew() {
    std::atomic_ref<__u64>(config_.lease_ns).store(kernel::monotonic_ns(), std::memory_order_relaxed);
}

void Lease::run(const std::stop_token &stop) {
    kernel::become_control_thread("tapflow-lease");
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
        if (alive_())
            renew();
        wake_.wait_for(lock, stop, std::chrono::nanoseconds(TAPFLOW_LEASE_RENEW_NS), [] { return false; });
    }
}

} // namespace tapflow::engine
