// SPDX-License-Identifier: BSD-3-Clause
// Rules' tables in plain memory.
#pragma once

#include "flow/reference_matcher.h"
#include "flow/tables.h"
#include "flow/tuple_space.h"
#include "support/must.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace tapflow::test {

/// The word of the key that begins with a source port.
inline constexpr uint8_t kPortsWord = offsetof(tapflow_flow_key, outer.l4) / 8;
static_assert(offsetof(tapflow_flow_key, outer.l4) % 8 == 0);

/// A rule's actions as its record has them.
inline tapflow_flow_rule record_of(const flow::Actions &actions, uint32_t counter) {
    tapflow_flow_rule record{};
    record.actions = flow::record_actions(actions);
    record.mark = actions.mark.value_or(0);
    record.queue = actions.queue;
    record.group = actions.group;
    record.counter = counter;
    return record;
}

inline flow::Actions drop() {
    flow::Actions actions;
    actions.fate = flow::Fate::Drop;
    return actions;
}

/// A tuple space and its tables. What it asks of its memory is counted, and fails when told so.
class HeapTables {
  public:
    HeapTables()
        : directory_(std::make_unique<tapflow_flow_directory>()),
          buckets_(std::make_unique<tapflow_flow_bucket[]>(TAPFLOW_FLOW_BUCKETS)) {
        tables_.directory = directory_.get();
        tables_.buckets = buckets_.get();
        space_.emplace(tables_, flow::TableMemory{[this] { return grow(); }, [this] { return wait(); }});
    }

    flow::TupleSpace &space() { return *space_; }
    [[nodiscard]] const tapflow_flow_tables &tables() const { return tables_; }

    /// Reserves and inserts; the index is given back if that is refused.
    Result<uint32_t> insert(const flow::Attributes &attributes, const flow::Match &match,
                            const tapflow_flow_rule &record = record_of(drop(), 0)) {
        auto index = space_->reserve();
        if (!index)
            return index;
        if (auto inserted = space_->insert(*index, attributes, match, record); !inserted) {
            space_->cancel(*index);
            return inserted.error();
        }
        return index;
    }

    [[nodiscard]] tapflow_flow_verdict search(const tapflow_flow_key &key, flow::Direction direction) const {
        return flow::search(tables_, key,
                            direction == flow::Direction::Egress ? TAPFLOW_FLOW_EGRESS : TAPFLOW_FLOW_INGRESS);
    }

    size_t waits = 0;
    size_t growths = 0;
    bool fail_wait = false;
    bool fail_grow = false;
    std::function<void()> on_wait;

  private:
    Result<void> grow() {
        if (fail_grow)
            return Error{ENOMEM, "grow", {}};
        growths++;
        chunks_.push_back(std::make_unique<tapflow_flow_rule[]>(TAPFLOW_FLOW_RULE_CHUNK));
        tables_.chunks.at(chunks_.size() - 1) = chunks_.back().get();
        return {};
    }
    Result<void> wait() {
        // Who searches on the host looks again for as long as rules are being changed, and this takes long.
        EXPECT_EQ(directory_->generation % 2, 0U);
        if (fail_wait)
            return Error{EIO, "wait", {}};
        waits++;
        if (on_wait)
            on_wait();
        return {};
    }

    std::unique_ptr<tapflow_flow_directory> directory_;
    std::unique_ptr<tapflow_flow_bucket[]> buckets_;
    std::vector<std::unique_ptr<tapflow_flow_rule[]>> chunks_;
    tapflow_flow_tables tables_;
    std::optional<flow::TupleSpace> space_;
};

/// Rules in tables, and again in the reference matcher.
class HeapTwins {
  public:
    HeapTables heap;

    /// False: there already, or its jump would lead from a group to one before it.
    bool add(const flow::Rule &rule) {
        if (rule.actions.fate == flow::Fate::Jump && rule.actions.group <= rule.attributes.group)
            return false;
        const uint32_t index = must(heap.space().reserve());
        const auto inserted = heap.space().insert(index, rule.attributes, rule.match, record_of(rule.actions, index));
        if (!inserted) {
            EXPECT_EQ(inserted.error().code, EEXIST) << inserted.error().message();
            heap.space().cancel(index);
            return false;
        }
        EXPECT_FALSE(ids_.contains(index));
        ids_[index] = next_;
        indices_[next_] = index;
        reference_.add(next_++, rule);
        return true;
    }

    void remove(flow::RuleId id) {
        const uint32_t index = indices_.at(id);
        heap.space().remove(index);
        reference_.remove(id);
        ids_.erase(index);
        indices_.erase(id);
    }

    void clear() {
        while (!indices_.empty())
            remove(indices_.begin()->first);
    }

    [[nodiscard]] const flow::ReferenceMatcher &reference() const { return reference_; }
    [[nodiscard]] uint32_t index_of(flow::RuleId id) const { return indices_.at(id); }
    [[nodiscard]] flow::RuleId nth(size_t n) const {
        return std::next(indices_.begin(), static_cast<ptrdiff_t>(n))->first;
    }

    /// Searches both. How many rules acted.
    size_t expect_same(const tapflow_flow_key &key, flow::Direction direction) {
        const flow::ReferenceVerdict expected = reference_.match(key, direction);
        const tapflow_flow_verdict actual = heap.search(key, direction);
        const auto does = [&](uint32_t action) { return (actual.actions & action) != 0; };
        std::vector<uint32_t> counters;
        for (const flow::RuleId id : expected.acted)
            if (reference_.rules().at(id).actions.count)
                counters.push_back(indices_.at(id));
        EXPECT_EQ(actual.rule, expected.acted.empty() ? 0 : indices_.at(expected.acted.back()));
        EXPECT_EQ(std::vector<uint32_t>(actual.counters, actual.counters + actual.counter_count), counters);
        EXPECT_EQ(does(TAPFLOW_FLOW_MARK), expected.mark.has_value());
        EXPECT_EQ(expected.mark.value_or(0), does(TAPFLOW_FLOW_MARK) ? actual.mark : 0);
        EXPECT_EQ(does(TAPFLOW_FLOW_FLAG), expected.flag);
        EXPECT_EQ(does(TAPFLOW_FLOW_TAKE), expected.taken);
        EXPECT_EQ(does(TAPFLOW_FLOW_QUEUE), expected.fate == flow::Fate::Queue);
        EXPECT_EQ(does(TAPFLOW_FLOW_RSS), expected.fate == flow::Fate::Rss);
        EXPECT_EQ(does(TAPFLOW_FLOW_DROP), expected.fate == flow::Fate::Drop);
        EXPECT_EQ(does(TAPFLOW_FLOW_QUEUE) ? actual.queue : 0, expected.queue);
        return expected.acted.size();
    }

  private:
    flow::ReferenceMatcher reference_;
    flow::RuleId next_ = 1;
    std::map<uint32_t, flow::RuleId> ids_;
    std::map<flow::RuleId, uint32_t> indices_;
};

} // namespace tapflow::test
