// SPDX-License-Identifier: BSD-3-Clause
// Rules in the classifier's program beside the reference matcher's.
#pragma once

#include "flow/text.h"
#include "kernel/flow_rig.h"
#include "packet/random_packets.h"
#include "support/expected_record.h"

#include <gtest/gtest.h>
#include <linux/pkt_cls.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

namespace tapflow::test {

/// What an RSS action means on a port, said once more by what the user guide promises.
inline rss::RssConfig resolved(const flow::RssAction &action, rss::RssConfig port) {
    const auto queues = static_cast<uint16_t>(*std::max_element(port.reta.begin(), port.reta.end()) + 1);
    if (!action.key.empty())
        port.key = action.key;
    if (action.function)
        port.function = *action.function;
    port.types = action.types & rss::kAllTypes ? action.types : port.types | action.types;
    if (action.level == 1)
        port.types = (port.types & ~uint64_t{rss::kInnermost}) | rss::kOutermost;
    if (action.level == 2)
        port.types = (port.types & ~uint64_t{rss::kOutermost}) | rss::kInnermost;
    const size_t slots = action.queues.size() > 256 ? 512 : action.queues.size() > 128 ? 256 : 128;
    port.reta.resize(slots);
    for (size_t i = 0; i < slots; i++)
        port.reta[i] =
            action.queues.empty() ? static_cast<uint16_t>(i % queues) : action.queues[i % action.queues.size()];
    return port;
}

/// What must become of a packet. By fd the queue is not to be seen, but the hash is that it goes by.
struct Expected {
    bool dropped = false;
    unsigned queue = 0;
    std::optional<uint32_t> mark;
    bool flag = false;
    uint32_t hash = 0;

    bool operator==(const Expected &) const = default;
    friend std::ostream &operator<<(std::ostream &out, const Expected &e) {
        out << (e.dropped ? "dropped" : "queue " + std::to_string(e.queue) + ", hash " + std::to_string(e.hash));
        return out << (e.mark ? ", mark " + std::to_string(*e.mark) : "") << (e.flag ? ", flag" : "");
    }
};

/// Rules that are in the tables, and again in the reference matcher.
class Twins {
  public:
    explicit Twins(FlowRig &rig) : rig_(rig) {}

    /// False: refused, as a rule that is there already, or whose jump would lead back.
    bool add(const flow::Rule &rule) {
        const auto created = rig_.rules().create(rule);
        if (!created.flow) {
            EXPECT_TRUE(created.refusal.error.code == EEXIST || created.refusal.error.code == ELOOP)
                << created.refusal.error.message() << "\n"
                << flow::to_text(rule);
            return false;
        }
        const flow::RuleId id = next_++;
        reference_.add(id, rule);
        flows_[id] = created.flow;
        return true;
    }

    void remove(flow::RuleId id) {
        must(rig_.rules().destroy(flows_.at(id)));
        reference_.remove(id);
        flows_.erase(id);
        counts_.erase(id);
    }

    /// Runs a packet through both.
    void expect_same(const packet::Bytes &frame) {
        const flow::ReferenceVerdict verdict = match(frame, flow::Direction::Ingress);
        const auto [result, delivered] = rig_.handle(frame);
        ASSERT_EQ(result, delivered.empty() || rig_.by_ring() ? TC_ACT_STOLEN : TC_ACT_OK);
        Expected actual;
        actual.dropped = delivered.empty();
        if (!delivered.empty()) {
            const tapflow_record &record = delivered[0].record;
            actual.queue = delivered[0].queue;
            actual.hash = record.hash;
            if (record.flags & TAPFLOW_RECORD_MARK)
                actual.mark = record.mark;
            actual.flag = (record.flags & TAPFLOW_RECORD_FLAG) != 0;
        }
        ASSERT_EQ(actual, expected(frame, verdict)) << describe(frame, verdict);
    }

    /// The same of what the application sends.
    void expect_same_of_sent(const packet::Bytes &frame) {
        const flow::ReferenceVerdict verdict = match(frame, flow::Direction::Egress);
        ASSERT_EQ(rig_.run_transmit(frame), verdict.fate == flow::Fate::Drop ? TC_ACT_SHOT : TC_ACT_UNSPEC)
            << describe(frame, verdict);
    }

    /// Every rule that counts has counted what it acted on.
    void expect_same_counts() {
        for (const auto &[id, rule] : reference_.rules()) {
            if (!rule.actions.count)
                continue;
            const auto count = must(rig_.rules().query(flows_.at(id), false));
            ASSERT_EQ(count.packets, counts_[id].packets) << flow::to_text(rule);
            ASSERT_EQ(count.bytes, counts_[id].bytes) << flow::to_text(rule);
        }
    }

    [[nodiscard]] const flow::ReferenceMatcher &reference() const { return reference_; }
    [[nodiscard]] const flow::Rule &rule_of(flow::RuleId id) const { return reference_.rules().at(id); }
    const engine::Flow *flow_of(flow::RuleId id) { return flows_.at(id); }

  private:
    flow::ReferenceVerdict match(const packet::Bytes &frame, flow::Direction direction) {
        flow::ReferenceVerdict verdict = reference_.match(flow::reference_key(frame), direction);
        for (const flow::RuleId id : verdict.acted) {
            counts_[id].packets++;
            counts_[id].bytes += frame.size();
        }
        return verdict;
    }

    Expected expected(const packet::Bytes &frame, const flow::ReferenceVerdict &verdict) {
        Expected result;
        result.dropped = verdict.fate == flow::Fate::Drop;
        if (result.dropped)
            return result;
        result.mark = verdict.mark;
        result.flag = verdict.flag;
        const Classified classified = classify(*tables_for(verdict), frame);
        result.hash = classified.hash;
        if (rig_.by_ring())
            result.queue = verdict.fate == flow::Fate::Queue ? verdict.queue : classified.queue;
        return result;
    }

    /// Made once for each rule that spreads.
    const tapflow_rss *tables_for(const flow::ReferenceVerdict &verdict) {
        const bool by_rule = verdict.fate == flow::Fate::Rss;
        auto &tables = tables_[by_rule ? verdict.acted.back() : 0];
        if (!tables)
            tables = tables_of(by_rule ? resolved(*verdict.last->actions.rss, rig_.rss()) : rig_.rss());
        return tables.get();
    }

    std::string describe(const packet::Bytes &frame, const flow::ReferenceVerdict &verdict) const {
        std::string text = "packet " + testing::PrintToString(frame) + "\nacted:";
        for (const flow::RuleId id : verdict.acted)
            text += "\n  " + flow::to_text(reference_.rules().at(id));
        return text + "\nof " + std::to_string(reference_.rules().size()) + " rules";
    }

    FlowRig &rig_;
    flow::ReferenceMatcher reference_;
    flow::RuleId next_ = 1;
    std::map<flow::RuleId, engine::Flow *> flows_;
    std::map<flow::RuleId, engine::FlowCount> counts_;
    std::map<flow::RuleId, std::unique_ptr<tapflow_rss>> tables_;
};

/// One that can be run.
inline packet::Bytes next_frame(packet::RandomPackets &packets) {
    packet::Bytes frame = packets.next(15, 700);
    while (!can_be_run(frame))
        frame = packets.next(15, 700);
    return frame;
}

} // namespace tapflow::test
