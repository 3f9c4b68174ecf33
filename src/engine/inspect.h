// SPDX-License-Identifier: BSD-3-Clause
// Ports as the kernel has them, whoever's they are: found by their programs, read from their maps. Changes nothing,
// needs nothing of the port's process, and works as long as the kernel keeps the port's programs, also after a crash.
#pragma once

#include "engine/flow_rules.h"
#include "flow/rule.h"
#include "flow/tables.h"
#include "kernel/bpf.h"
#include "kernel/link.h"
#include "kernel/namespace.h"
#include "kernel/netlink.h"
#include "kernel/programs.h"
#include "kernel/tc.h"
#include "rss/rss_config.h"
#include "tapflow/abi/identity.h"
#include "tapflow/abi/port_state.h"
#include "tapflow/mac_address.h"
#include "tapflow/result.h"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tapflow::engine {

/// What a port says of itself: tapflow_port_identity in this process's words.
struct PortIdentity {
    std::string version; ///< of the library that has made the port
    std::string device;  ///< "net_tap0"
    std::string process; ///< its name
    uint32_t pid = 0;    ///< in that process's pid namespace
    uint64_t pid_namespace = 0;
    uint64_t process_start = 0; ///< clock ticks since boot
    uint64_t opened_ns = 0;     ///< CLOCK_REALTIME
    kernel::Delivery delivery = kernel::Delivery::Ring;
    kernel::RuleSearch search = kernel::RuleSearch::Tables;
    kernel::Layer layer = kernel::Layer::Ethernet;
    bool is_remote = false;
    bool persist = false;
    bool readopt = false;
    bool tap_was_there = false;
    kernel::NamespaceId tap_namespace;
    kernel::NamespaceId home; ///< the remote's
    int tap_ifindex = 0;      ///< in tap_namespace
    unsigned rx_queues = 0;
    unsigned tx_queues = 0;
    std::string remote;       ///< its name when the port was opened
    std::string why_not_ring; ///< empty unless rx=auto came to deliver by fd
};

/// What is known of the process that has a port.
enum class Owner : uint8_t {
    Running,
    Gone,
    Unknown, ///< it is in a pid namespace that is not ours
};

/// A program of the port's at an interface.
struct Attached {
    std::string program{}; ///< its name, as bpftool shows it
    uint32_t id = 0;
    bool at_remote = false; ///< else at the tap
    kernel::Hook hook = kernel::Hook::Ingress;
    bool tcx = false;        ///< a TCX link, which goes with its process; else a filter
    uint16_t preference = 0; ///< of a filter
    uint32_t chain = 0;      ///< of a filter
    uint32_t handle = 0;     ///< of a filter
};

/// How full a queue's ring is.
struct RingFill {
    size_t bytes = 0;       ///< its size
    size_t used = 0;        ///< bytes that wait for the reader; what it has read it gives back an eighth at a time
    uint64_t produced = 0;  ///< bytes since the ring was made
    uint64_t delivered = 0; ///< of these, what the reader has read
};

/// An RSS configuration as it is published, with the tables that the classifier goes by.
struct RssState {
    rss::RssConfig config;
    std::unique_ptr<tapflow_rss> tables;
};

/// A rule in the tables.
struct InspectedRule {
    uint64_t id = 0;    ///< counts up with each rule that the port is given, from 1
    uint32_t index = 0; ///< in the tables; a record's `rule`
    flow::Rule rule;
    tapflow_flow_rule record{};               ///< as the tables have it
    uint32_t counter = 0;                     ///< its index, with COUNT
    std::optional<FlowCount> count;           ///< since the rule was made, or its filters; only with COUNT
    std::vector<kernel::FilterPlace> filters; ///< with the flower classifier, where the rule has some
};

/// A mask of the tables: one probe of the hash table for each packet that asks a group.
struct InspectedMask {
    uint32_t list = 0; ///< see TAPFLOW_FLOW_LISTS
    tapflow_flow_mask mask{};
    size_t rules = 0;
};

/// All rules at one moment.
struct RuleSet {
    uint64_t generation = 0;          ///< the same number: the same rules
    bool consistent = true;           ///< false: they were changed all the time while they were read
    std::vector<InspectedRule> rules; ///< by id
    std::vector<InspectedMask> masks; ///< by list, in the order in which they are looked at
};

/// A port of another version of the maps, of which nothing but this can be said.
struct ForeignPort {
    uint32_t program = 0; ///< id of its classifier
    uint32_t abi = 0;     ///< 0: from before there was a number
    std::string version;  ///< may be empty
};

/// One port. Holds the kernel's objects open, so what is read stays readable when the port goes.
///
/// Thread safety: const member functions from any thread.
class InspectedPort {
  public:
    ~InspectedPort();
    InspectedPort(InspectedPort &&) noexcept;
    InspectedPort &operator=(InspectedPort &&) noexcept;
    InspectedPort(const InspectedPort &) = delete;
    InspectedPort &operator=(const InspectedPort &) = delete;

    /// As it is now.
    [[nodiscard]] PortIdentity identity() const;
    [[nodiscard]] Owner owner() const;
    /// The tap's present name; as long as it cannot be asked for, "#" and its index.
    [[nodiscard]] std::string name() const;
    /// Whether the tap is in the caller's network namespace.
    [[nodiscard]] bool is_here() const;
    /// The tap, and the remote, as they are now; none: gone, or in a namespace that cannot be entered.
    [[nodiscard]] std::optional<kernel::LinkInfo> tap() const;
    [[nodiscard]] std::optional<kernel::LinkInfo> remote() const;
    [[nodiscard]] std::vector<Attached> attached() const;
    /// Ids of the port's programs, attached or not, as they were when it was found.
    [[nodiscard]] std::vector<uint32_t> programs() const;
    /// A socket in the remote's, or the tap's, network namespace. Errors: ENOENT when nobody is in it any more; EPERM.
    [[nodiscard]] Result<std::unique_ptr<kernel::Netlink>> netlink(bool at_remote) const;

    /// Memory that the classifier and the process write while one reads.
    [[nodiscard]] const tapflow_port_state &state() const;
    /// Whether the process has renewed the lease in time.
    [[nodiscard]] bool has_lease() const;
    /// Addresses beside the port's own.
    [[nodiscard]] Result<std::vector<MacAddress>> addresses() const;
    /// None: the queue has no ring.
    [[nodiscard]] std::optional<RingFill> ring(unsigned queue) const;

    [[nodiscard]] Result<RssState> rss() const;
    /// That of rules (tapflow_flow_rule::context). Errors: ENOENT.
    [[nodiscard]] Result<RssState> rss_context(uint16_t context) const;
    [[nodiscard]] Result<RuleSet> rules() const;
    /// RuleSet::generation as it is now, without reading the rules.
    [[nodiscard]] Result<uint64_t> rule_generation() const;
    /// The counts alone, by rule index: cheaper, for who asks again and again.
    [[nodiscard]] std::map<uint32_t, FlowCount> counts(const RuleSet &rules) const;

    /// A descriptor of the classifier's program, of its hook in use. Owned by this.
    [[nodiscard]] int classifier() const;
    /// A descriptor of a map of the classifier's, by the name that bpf/ gives it; -1: there is none. Owned by this.
    [[nodiscard]] int map(const std::string &name) const;

    struct Objects;
    explicit InspectedPort(std::unique_ptr<Objects> objects);

  private:
    void add_present_counts(RuleSet &rules) const;

    std::unique_ptr<Objects> objects_;
};

struct FoundPorts {
    std::vector<InspectedPort> ports; ///< by name, those of the caller's namespace first
    std::vector<ForeignPort> foreign;
};

/// All ports of this machine. Errors: EPERM without CAP_SYS_ADMIN (and, to read them, CAP_BPF), saying so.
Result<FoundPorts> find_ports();
/// The port with that tap, device or remote name: that of the caller's namespace if several are called so.
/// Errors: ENODEV naming the ports that there are; EINVAL when several are called so elsewhere; EPROTO when there are
/// only ports of another version; those of find_ports().
Result<InspectedPort> find_port(const std::string &name);

} // namespace tapflow::engine
