// SPDX-License-Identifier: BSD-3-Clause
// What becomes of a packet at a port, and why: by the reference matcher and the hash's definition, over what the port
// has in the kernel, and by the classifier's own dry run in the kernel.
#pragma once

#include "engine/inspect.h"
#include "flow/reference_matcher.h"
#include "kernel/dry_run.h"
#include "rss/hash_input.h"
#include "tapflow/result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tapflow::engine {

/// Why the application does not get a packet.
enum class Obstacle : uint8_t {
    None, ///< it does
    NotStarted,
    RuleDrop,
    Filtered, ///< by its address, its VLAN, or isolated mode
    NoLease,  ///< remote mode: the process is dead or hangs
    QueueStopped,
    NoQueue,  ///< rx=ring: there is no such queue
    Oversize, ///< rx=ring: longer than a record can be
};
/// "a rule drops it".
const char *text_of(Obstacle obstacle);

/// What becomes of a packet. Hash and queue are those that it would have, also where the application does not get it.
struct Decision {
    bool application = false; ///< gets it
    bool kernel = false;      ///< remote mode: the remote's kernel gets it
    Obstacle obstacle = Obstacle::None;
    uint8_t packet_class = 0; ///< enum tapflow_packet_class
    std::optional<uint32_t> hash;
    uint16_t queue = 0;
    uint64_t rule = 0; ///< id of the last rule that acts; 0: none
    std::optional<uint32_t> mark;
    bool flag = false;
    bool rewrites = false; ///< headers are changed

    bool operator==(const Decision &) const = default;
};
/// What two of them do not agree about.
struct Difference {
    std::string what; ///< "queue"
    std::string reference;
    std::string dry_run;
};
std::vector<Difference> differences(const Decision &reference, const Decision &dry_run);

/// A header of the packet, with its fields as people write them.
struct ParsedHeader {
    std::string name; ///< testpmd's: "ipv4"
    bool inner = false;
    std::vector<std::pair<std::string, std::string>> fields;
};

/// A mask that the search for rules came by.
struct VisitedMask {
    std::string compares;  ///< "eth / ipv4 src / udp dst": the fields
    uint32_t priority = 0; ///< none of its rules has a better one
    size_t rules = 0;
    bool skipped = false;            ///< a better rule had been found before
    std::optional<uint64_t> matched; ///< id of its best rule that matches
};

/// One search: in a group, for the best rule behind those that have had their turn.
struct VisitedGroup {
    uint32_t group = 0;
    std::vector<VisitedMask> masks;
    uint64_t acted = 0;             ///< id; 0: none
    std::vector<uint64_t> shadowed; ///< ids of rules that match as well, but come behind the one that ended the search
};

/// A packet's way through a port.
struct Explanation {
    std::vector<ParsedHeader> headers;
    std::vector<VisitedGroup> groups;
    rss::HashInput input;
    rss::RssConfig config;               ///< by which it is hashed
    std::optional<uint64_t> config_rule; ///< whose RSS action that is; none: the port's own
    std::optional<uint32_t> reta_slot;   ///< none: the queue is a rule's
    Decision reference;
    std::optional<Decision> dry_run;
    std::string no_dry_run;                ///< why there is none
    std::vector<Difference> disagreements; ///< empty: both say the same, or there was no dry run
};

/// Explains packets by the state that a port has when they are asked for.
///
/// Thread safety: none.
class Explainer {
  public:
    /// `port` must outlive this. `offline`: without the kernel's dry run. Errors: what the kernel says.
    static Result<Explainer> create(const InspectedPort &port, bool offline);

    /// `frame`: from the destination address on; of a tun device, from the IP header on.
    Result<Explanation> explain(std::span<const uint8_t> frame);
    /// The decisions alone: of the reference, and of the dry run where there is one.
    struct Comparison {
        Decision reference;
        std::optional<Decision> dry_run;
        std::string no_dry_run;
        std::vector<Difference> disagreements;
    };
    Result<Comparison> compare(std::span<const uint8_t> frame);

    [[nodiscard]] const RuleSet &rules() const { return rules_; }
    /// By id; null: there is none.
    [[nodiscard]] const InspectedRule *rule(uint64_t id) const;

  private:
    Explainer(const InspectedPort &port, PortIdentity identity) : port_(port), identity_(std::move(identity)) {
        rules_.consistent = false; // not read yet
    }
    Result<void> refresh();
    Result<void> refresh_rules(); ///< reads them only if they have changed
    [[nodiscard]] std::vector<uint8_t> on_ethernet(std::span<const uint8_t> frame) const;
    [[nodiscard]] const RssState &rss_of(const flow::ReferenceVerdict &verdict) const;
    [[nodiscard]] Decision decide(std::span<const uint8_t> frame, const flow::ReferenceVerdict &verdict) const;
    void decide_audience(std::span<const uint8_t> frame, const flow::ReferenceVerdict &verdict,
                         Decision &decision) const;
    void ask_kernel(std::span<const uint8_t> frame, Comparison &comparison) const;
    [[nodiscard]] Comparison compare_once(std::span<const uint8_t> frame, const flow::ReferenceVerdict &verdict) const;
    [[nodiscard]] std::vector<VisitedGroup> visit(const tapflow_flow_key &key) const;

    const InspectedPort &port_;
    PortIdentity identity_;
    std::optional<kernel::DryRun> dry_run_;
    RuleSet rules_;
    flow::ReferenceMatcher matcher_;
    std::map<uint64_t, const InspectedRule *> by_id_;
    std::map<uint32_t, uint64_t> id_of_index_;
    RssState rss_;
    std::map<uint16_t, RssState> contexts_;
    std::set<uint64_t> addresses_; ///< as tapflow_port_config::mac
    std::array<bool, TAPFLOW_QUEUES_MAX> has_ring_{};
};

} // namespace tapflow::engine
