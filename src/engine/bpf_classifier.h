// SPDX-License-Identifier: BSD-3-Clause
// The classifier that runs in our own BPF programs.
#pragma once

#include "kernel/bpf.h"
#include "kernel/programs.h"
#include "kernel/ring.h"
#include "rss/rss_config.h"
#include "tapflow/abi/identity.h"
#include "tapflow/mac_address.h"
#include "tapflow/result.h"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace tapflow::engine {

/// Loads the programs of a port and keeps what they read: RSS configuration, rings, addresses, flags.
///
/// Thread safety: quiesce(), identify() and flags from any thread; of the rest none, the Port that owns it locks.
/// Changes are seen by the next packet and are atomic to it.
class BpfClassifier {
  public:
    /// As kernel::Programs::load().
    static Result<std::unique_ptr<BpfClassifier>> create(kernel::Delivery delivery, int tap_ifindex,
                                                         kernel::Layer layer = kernel::Layer::Ethernet,
                                                         kernel::RuleSearch search = kernel::RuleSearch::Tables,
                                                         bool has_remote = true);

    [[nodiscard]] const kernel::Programs &programs() const { return *programs_; }
    /// The memory shared with the programs.
    [[nodiscard]] tapflow_port_state &state() const { return programs_->state(); }

    /// Publishes a configuration (see rss::validate). When it returns, no packet is under way with the former one.
    Result<void> set_rss(const rss::RssConfig &config);
    /// Gives queue i the ring rings[i], where that is not null. Returns when no program writes into the former ones.
    Result<void> set_rings(std::span<const std::unique_ptr<kernel::Ring>> rings);
    /// The same for one queue.
    Result<void> set_ring(size_t queue, const kernel::Ring &ring);
    /// Takes away the rings of queues `first` and up.
    Result<void> remove_rings(size_t first);
    /// Returns when every packet that a program had before the call is delivered.
    Result<void> quiesce();

    /// Keeps a map as long as the programs, so that it is found by them.
    Result<void> bind(int map, const std::string &what);
    /// Changes what the port says of itself to who looks at it from outside.
    void identify(const std::function<void(tapflow_port_identity &)> &change);

    void set_flag(tapflow_port_flag flag, bool on);
    [[nodiscard]] bool has_flag(tapflow_port_flag flag) const {
        return (std::atomic_ref<__u32>(state().config.flags).load(std::memory_order_relaxed) & flag) != 0;
    }
    void set_mac(const MacAddress &mac);
    /// Where Tx goes in remote mode; 0: it is dropped.
    void set_remote(int ifindex);
    /// Packets for a stopped queue are dropped.
    void set_queue_stopped(unsigned queue, bool stopped);
    [[nodiscard]] bool is_queue_stopped(unsigned queue) const {
        return std::atomic_ref<__u64>(state().config.stopped_queues).load(std::memory_order_relaxed) >> queue & 1;
    }
    /// What the VLAN filter, where TAPFLOW_PORT_VLAN_FILTER is on, lets in.
    void set_vlan(uint16_t id, bool let_in);
    Result<void> add_address(const MacAddress &address);
    Result<void> remove_address(const MacAddress &address);

  private:
    explicit BpfClassifier(std::unique_ptr<kernel::Programs> programs) : programs_(std::move(programs)) {}
    Result<void> make_identity();
    Result<void> publish_rss(); ///< with rss_mutex_ held
    Result<void> put_rings(size_t first, std::span<const int> fds);

    std::unique_ptr<kernel::Programs> programs_;
    std::mutex identity_mutex_;
    kernel::Mapping identity_;
    std::mutex rss_mutex_;
    kernel::Fd rss_;   ///< the map that is published
    size_t rings_ = 0; ///< one more than the last queue that has one
};

} // namespace tapflow::engine
