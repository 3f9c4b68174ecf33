// SPDX-License-Identifier: BSD-3-Clause
// What becomes of a packet, said as plainly as possible: the measure of every classifier, and what `explain` shows. It
// shares no code with them: packets are taken apart here once more.
#pragma once

#include "flow/rule.h"
#include "tapflow/abi/flow.h"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

namespace tapflow::flow {

/// A tag that the kernel keeps beside a frame.
struct TagBeside {
    uint16_t tpid = 0; ///< host byte order
    uint16_t tci = 0;
};

/// What rules can ask for of a frame. `frame` begins with the destination address and is all there is of the packet.
tapflow_flow_key reference_key(std::span<const uint8_t> frame, std::optional<TagBeside> tag = {});

/// Whether a packet is one of a match's.
bool matches(const Match &match, const tapflow_flow_key &key);

using RuleId = uint64_t;

/// What the rules did to a packet.
struct ReferenceVerdict {
    std::vector<RuleId> acted; ///< in this order
    Fate fate = Fate::None;    ///< Queue, Rss, Drop; None: what no rule decided
    bool taken = false;        ///< the application gets the packet, whatever its address
    std::optional<uint32_t> mark;
    bool flag = false;
    uint16_t queue = 0;         ///< with Fate::Queue
    const Rule *last = nullptr; ///< the rule that decided
};

/// A set of rules.
class ReferenceMatcher {
  public:
    /// Of rules of the same priority, the one with the lower id wins.
    void add(RuleId id, const Rule &rule) { rules_[id] = rule; }
    void remove(RuleId id) { rules_.erase(id); }
    void clear() { rules_.clear(); }
    [[nodiscard]] const std::map<RuleId, Rule> &rules() const { return rules_; }

    [[nodiscard]] ReferenceVerdict match(const tapflow_flow_key &key, Direction direction) const;

  private:
    std::map<RuleId, Rule> rules_;
};

} // namespace tapflow::flow
