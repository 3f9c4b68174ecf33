// SPDX-License-Identifier: BSD-3-Clause
// Flow rules as flower filters, which tc(8) shows: classifier=flower.
#pragma once

#include "engine/bpf_classifier.h"
#include "flow/rule.h"
#include "kernel/attachment.h"
#include "kernel/flower.h"
#include "kernel/name_lock.h"
#include "kernel/netlink.h"
#include "tapflow/result.h"

#include <bitset>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace tapflow::engine {

/// The preferences that are ours in chain 0: those of rules are their priorities behind kFirstRule.
constexpr uint16_t kProbePreference = 255; ///< of filters that are made to see whether the kernel can
constexpr uint16_t kFirstRulePreference = 256;
constexpr uint16_t kConclusionPreference = kFirstRulePreference + TAPFLOW_FLOW_PRIORITIES;

/// The filters of a port's ingress rules, at the tap's egress or the remote's ingress.
///
/// A group is a chain, JUMP goes to a chain, a priority is a preference. In front of chain 0 is a program that makes
/// room in the packet's metadata, at the end of each chain the classifier, which reads there what the rules have said
/// (bpf/flower.h). What a rule decides goes to that program at once, in a chain of its own.
///
/// Rules' filters have handles made of the rule's index, and a cookie by which those of a killed process are known.
///
/// Thread safety: every member function may be called from any thread.
class FlowerFilters {
  public:
    /// The objects referred to must outlive this.
    FlowerFilters(kernel::Netlink &netlink, const BpfClassifier &classifier, kernel::Offload offload);
    ~FlowerFilters();
    FlowerFilters(const FlowerFilters &) = delete;
    FlowerFilters &operator=(const FlowerFilters &) = delete;

    /// Where packets pass from now on: no rules are there yet, and at ingress they are suspended. Removes what a killed
    /// process has left.
    /// Errors: EBUSY when another port is there; EEXIST for somebody else's filter at a preference of ours; what the
    /// kernel says. Then nothing is left there.
    Result<void> attach(const kernel::LinkInfo &link, kernel::Hook hook);
    void detach();
    /// The interface is gone, and all filters with it, and what they have counted.
    void abandon();
    /// Takes all rules' filters away, but keeps what they have counted, and lets the interface's owner's filters see
    /// every packet. Until resume() rules are added without filters.
    void suspend();
    /// From here on added rules, first of all those that are there, have filters; then let_packets_in().
    void resume();
    Result<void> let_packets_in();

    /// Why a rule cannot be a filter; asks the kernel, by a filter that is taken away again, what is not known yet.
    std::optional<Error> refusal(const flow::Rule &rule);
    /// Adds a rule's filters, unless it has them. `actions`: enum tapflow_flow_action. Without effect while nothing is
    /// attached.
    Result<void> add(const flow::Rule &rule, uint32_t index, uint16_t actions);
    /// Removes them. Errors: what the kernel says; then the rule is as before. That they are gone is none.
    Result<void> remove(uint32_t index);
    /// Since the rule was added. Bytes as on the wire.
    Result<kernel::ActionCount> count(uint32_t index);

    /// Removes what a killed process has left of flower filters at a hook, and what of its classifier a port with
    /// `search` would not take over. Without effect where another port has its filters.
    static Result<void> remove_left(kernel::Netlink &netlink, const kernel::LinkInfo &link, kernel::Hook hook,
                                    kernel::RuleSearch search);

    /// A filter of a rule's.
    struct Listed {
        uint32_t index = 0; ///< the rule's
        kernel::FilterPlace place;
        kernel::ActionCount count; ///< bytes as on the wire
    };
    /// Those of whatever port's rules at a hook.
    static Result<std::vector<Listed>> list(kernel::Netlink &netlink, const kernel::LinkInfo &link, kernel::Hook hook);

  private:
    struct Installed {
        uint32_t chain = 0;
        uint16_t preference = 0;
        uint32_t filters = 0;
        bool counts = false;
    };

    // With mutex_ held.
    [[nodiscard]] kernel::FilterPlace place(const Installed &rule, uint32_t index, uint32_t filter) const;
    [[nodiscard]] int conclusion_program() const;
    [[nodiscard]] bool is_known(const std::vector<kernel::FlowerKey> &keys) const;
    Result<void> probe(const std::vector<kernel::FlowerKey> &keys);
    Result<void> translate(const flow::Match &match);
    Result<void> install(const kernel::LinkInfo &link, kernel::Hook hook);
    Result<void> conclude(uint32_t chain);
    Result<void> open_gate();
    Result<kernel::ActionCount> count_of_filters(uint32_t index, const Installed &rule);
    void remove_rules();
    void take_off();
    void forget();

    std::mutex mutex_; ///< taken behind those of FlowRules and Port
    kernel::Netlink &netlink_;
    const BpfClassifier &classifier_;
    kernel::Offload offload_;
    std::optional<kernel::LinkInfo> link_;
    kernel::Hook hook_ = kernel::Hook::Egress;
    std::optional<kernel::NameLock> lock_;
    std::optional<kernel::Attachment> conclusion_; ///< of chain 0
    std::optional<kernel::Attachment> gate_;
    std::vector<uint32_t> concluded_;                 ///< other chains with the program at their end
    std::map<uint32_t, Installed> rules_;             ///< by index
    std::map<uint32_t, kernel::ActionCount> counted_; ///< by filters that were taken away
    bool suspended_ = false;
    /// What refusal() has last found, for the add() that mostly follows.
    std::optional<flow::Match> translated_;
    std::vector<std::vector<kernel::FlowerKey>> translation_;
    std::bitset<kernel::kFlowerFields> known_; ///< fields that this kernel has been found to have
};

} // namespace tapflow::engine
