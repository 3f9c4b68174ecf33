// SPDX-License-Identifier: BSD-3-Clause
// A rule set as the tables of tapflow/abi/flow.h, changed while packets are matched.
#pragma once

#include "flow/rule.h"
#include "flow/tables.h"
#include "tapflow/result.h"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace tapflow::flow {

/// A rule's actions as tapflow_flow_rule::actions has them, but for REWRITE, which needs a number.
uint16_t record_actions(const Actions &actions);

/// What the tables' owner does for their writer.
struct TableMemory {
    /// Gives more chunks of rules: those of the tables' that are null, from the first on. Errors: what the kernel says.
    std::function<Result<void>()> grow;
    /// Returns when no search is under way that began before the call.
    std::function<Result<void>()> wait;
};

/// Writes the tables. A packet meets the rules from before a change or from after it, and every rule that is in both.
///
/// Each change is published by one aligned store: a rule by the bucket's slot or the chain's link to it, a mask by its
/// list's link. What a search may still be looking at is not written again until it is over (TableMemory::wait), so
/// freed rules and masks are collected and reused together. A mask whose best priority gets better gets a second place
/// further ahead in its list and loses the former only after such a wait: otherwise a search between the two would miss
/// it. The directory's generation is odd during a change, and a higher even number after it.
///
/// Allocates memory when it is made and when the tables grow, never else.
///
/// Thread safety: none; searches may go on.
class TupleSpace {
    /// A mask's part of a match, and the match's words under it.
    struct Shape {
        tapflow_flow_mask mask{};                      ///< without id, links and priority
        std::array<__u64, TAPFLOW_FLOW_WORDS> words{}; ///< the rule's
    };
    /// Where a rule's words are, or would be.
    struct Place {
        __u64 *slot = nullptr; ///< of its chain, or an unused one; null: no room
        uint32_t bucket = 0;   ///< the slot's
        uint32_t probes = 0;   ///< buckets passed on the way from the first one
        uint32_t head = 0;     ///< the chain's first rule
        uint32_t tag = 0;
    };

  public:
    /// `tables`, whose memory is zero but for that of other tuple spaces' making, must outlive this.
    TupleSpace(tapflow_flow_tables &tables, TableMemory memory);
    TupleSpace(const TupleSpace &) = delete;
    TupleSpace &operator=(const TupleSpace &) = delete;

    /// A rule's way into the tables, for as long as these do not change.
    class Plan {
      public:
        /// EEXIST for the same match at the same priority; ENOSPC when rules, masks, or rules that differ only in
        /// priority and ranges are too many.
        [[nodiscard]] const std::optional<Error> &refusal() const { return refusal_; }

      private:
        friend class TupleSpace;
        Shape shape_;
        Attributes attributes_;
        uint32_t list_ = 0;
        uint64_t hash_ = 0;                 ///< of list and shape
        tapflow_flow_mask *mask_ = nullptr; ///< null: a new one
        Place place_;
        std::optional<Error> refusal_;
    };
    [[nodiscard]] Plan plan(const Attributes &attributes, const Match &match);

    /// An index for a rule, which no search looks at until insert(). Errors: TableMemory's.
    Result<uint32_t> reserve();
    void cancel(uint32_t index) { free_.push_back(index); }
    /// Adds a rule at a reserved index. Its actions are those of `actions`: everything but rank, mask, next and words.
    /// Errors: the plan's refusal, and TableMemory's; then everything is as before, the index is still reserved.
    Result<void> insert(uint32_t index, const Plan &plan, const tapflow_flow_rule &actions);
    Result<void> insert(uint32_t index, const Attributes &attributes, const Match &match,
                        const tapflow_flow_rule &actions) {
        return insert(index, plan(attributes, match), actions);
    }
    /// Takes out a rule; its index is free.
    void remove(uint32_t index);

    [[nodiscard]] size_t size() const { return size_; }
    [[nodiscard]] size_t masks() const { return masks_; }
    [[nodiscard]] const tapflow_flow_rule &rule(uint32_t index) const { return at(index); }
    /// What a rule was inserted with.
    [[nodiscard]] Attributes attributes_of(uint32_t index) const;
    [[nodiscard]] Match match_of(uint32_t index) const;

  private:
    /// A mask in use. Its number among them is the low part of tapflow_flow_mask::id.
    struct MaskUse {
        uint32_t index = 0; ///< its foremost place; 0: this is not in use
        uint32_t list = 0;
        uint32_t rules = 0;
        uint64_t hash = 0; ///< of list and shape
    };
    struct Moved {
        uint32_t list;
        uint32_t index;
    };
    class Change;

    [[nodiscard]] tapflow_flow_rule &at(uint32_t index) const;
    [[nodiscard]] MaskUse &use_of(uint32_t mask) { return uses_[mask % TAPFLOW_FLOW_MASKS_MAX]; }
    [[nodiscard]] const MaskUse &use_of(uint32_t mask) const { return uses_[mask % TAPFLOW_FLOW_MASKS_MAX]; }
    [[nodiscard]] static Shape shape_of(const Match &match);
    [[nodiscard]] static uint64_t hash_of(uint32_t list, const tapflow_flow_mask &mask);
    [[nodiscard]] tapflow_flow_mask *find_mask(uint32_t list, const Shape &shape, uint64_t hash);
    [[nodiscard]] Place find(const tapflow_flow_mask &mask, const __u64 *words) const;
    [[nodiscard]] std::optional<Error> refusal_of(const Plan &plan) const;
    Result<uint32_t> take_mask();
    Result<void> reclaim();
    tapflow_flow_mask &add_mask(uint32_t index, uint32_t list, const Shape &shape, uint64_t hash, uint32_t priority);
    void promote(uint32_t index, const tapflow_flow_mask &mask, uint32_t priority);
    void link(uint32_t list, uint32_t index);
    void unlink(uint32_t list, uint32_t index);
    void drop_mask(uint32_t id);
    void release_slot(const Place &place);
    void update_summary();

    tapflow_flow_tables &tables_;
    TableMemory memory_;
    size_t size_ = 0;
    uint64_t next_number_ = 1;
    uint32_t next_mask_ = 1;
    uint32_t unused_ = 1;           ///< rules from here on have never been used
    std::vector<uint32_t> free_;    ///< rules to use again
    std::vector<uint32_t> pending_; ///< ... after a wait
    std::vector<uint32_t> free_masks_;
    std::vector<uint32_t> pending_masks_;
    std::vector<Moved> moved_; ///< former places of masks, to be taken out after a wait
    std::array<MaskUse, TAPFLOW_FLOW_MASKS_MAX> uses_;
    size_t masks_ = 0;
    std::vector<uint16_t> passed_; ///< by bucket: rules that are behind it because it was full
};

} // namespace tapflow::flow
