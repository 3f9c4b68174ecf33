// SPDX-License-Identifier: BSD-3-Clause
// A port's flow rules: what was asked for, in the tables that the classifier searches.
#pragma once

#include "engine/bpf_classifier.h"
#include "engine/flower_filters.h"
#include "engine/rewrite_lists.h"
#include "flow/rule.h"
#include "flow/validate.h"
#include "rss/rss_config.h"
#include "tapflow/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tapflow::engine {

/// A rule that has been created. Opaque; its address is its handle.
struct Flow;

struct FlowCount {
    uint64_t packets = 0; ///< on the wire: a super-frame's segments
    uint64_t bytes = 0;
};

/// A rule for who wants to see it.
struct ListedRule {
    uint64_t id = 0; ///< counts up with each rule that the port is given, from 1
    flow::Rule rule;
    std::optional<FlowCount> count; ///< with COUNT, as query() has it; none if the kernel does not tell
};

/// Thread safety: every member function may be called from any thread.
class FlowRules {
  public:
    /// `attach_egress` puts the program for egress rules in place, and takes it away. `filters`: where ingress rules
    /// are besides, for a classifier that does not search the tables; null for one that does. It must outlive this.
    static Result<std::unique_ptr<FlowRules>> create(BpfClassifier &classifier,
                                                     std::function<Result<void>(bool)> attach_egress, RecordClock clock,
                                                     FlowerFilters *filters = nullptr);
    ~FlowRules();
    FlowRules(const FlowRules &) = delete;
    FlowRules &operator=(const FlowRules &) = delete;

    struct Created {
        Flow *flow = nullptr; ///< null: refused
        flow::Refusal refusal;
    };
    /// What create() would refuse now; changes nothing.
    std::optional<flow::Refusal> check(const flow::Rule &rule);
    /// Packets that come later meet the rule. Errors beside validate()'s: EEXIST for the same match at the same
    /// priority, ENOSPC when a table is full, ELOOP for a JUMP that would close a circle, ENOENT for an indirect action
    /// that is not there; ENOMEM and what the kernel says. After an error everything is as before.
    Created create(const flow::Rule &rule);
    /// Errors: ENOENT for what is not a rule of this port; what the kernel says of a rule's filters, then it stays.
    Result<void> destroy(const Flow *flow);
    /// Destroys all that can be. Errors: the first rule's that stays.
    Result<void> flush();
    /// Rules that have filters have none until resume_filters(), as FlowerFilters::suspend().
    void suspend_filters();
    /// Makes the filters of all rules that have none. Errors: what the kernel says; then they are suspended.
    Result<void> resume_filters();
    /// The filters, and what they have counted, have gone with their interface. `active`: makes them where packets pass
    /// now.
    Result<void> restore_filters(bool active);
    /// Since the rule was created, or last reset. Errors: ENOENT; EINVAL for a rule without COUNT.
    Result<FlowCount> query(const Flow *flow, bool reset);

    Result<flow::Rule> rule(const Flow *flow);
    /// Calls `each(rule, flow)` for all rules, in the order of their creation.
    void for_each(const std::function<void(const flow::Rule &, const Flow *)> &each);
    /// At most `limit` rules, in the order of their creation, from the id `first` on.
    [[nodiscard]] std::vector<ListedRule> list(uint64_t first, size_t limit);
    [[nodiscard]] size_t size() const;

    /// Indirect actions: made once, used by many rules. The number is never 0.
    Result<uint32_t> create_shared_rss(const flow::RssAction &action);
    Result<uint32_t> create_shared_count();
    /// The next packet of each rule that uses the action spreads as now said.
    Result<void> update_shared_rss(uint32_t number, const flow::RssAction &action);
    /// Errors: ENOENT; EBUSY while a rule uses it.
    Result<void> destroy_shared(uint32_t number);
    Result<FlowCount> query_shared_count(uint32_t number, bool reset);

    /// How many queues rules may name from now on, as flow::Capabilities::queues.
    void set_queues(unsigned queues);
    /// What RSS actions go by where they say nothing.
    Result<void> set_port_rss(const rss::RssConfig &config, unsigned queues);

    /// The changes to headers that a record's `rewrite` stands for; null for a number that is not in use. The list
    /// stays valid while a record with its number is in a ring.
    [[nodiscard]] const std::vector<flow::Rewrite> *rewrites(uint16_t number) const;
    /// Delivery by fd: what the rules say of a frame that the classifier could tell us nothing of.
    [[nodiscard]] tapflow_flow_verdict match(std::span<const uint8_t> frame) const;

  private:
    struct State;
    explicit FlowRules(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace tapflow::engine
