// SPDX-License-Identifier: BSD-3-Clause
// Rules in a line of text, packets that meet them, and what then can be seen.
#pragma once

#include "flow/text.h"
#include "kernel/flow_twins.h"
#include "support/must.h"

#include <memory>
#include <string>
#include <tuple>
#include <vector>

namespace tapflow::test {

/// See flow::parse_rule(); ingress unless it says otherwise.
inline flow::Rule rule_of(const std::string &text) {
    return must(flow::parse_rule((text.find("egress") == std::string::npos ? "ingress " : "") + text));
}

inline flow::Rule with_rss(flow::Rule rule, flow::RssAction action) {
    rule.actions.fate = flow::Fate::Rss;
    rule.actions.rss = std::make_shared<const flow::RssAction>(std::move(action));
    return rule;
}

inline packet::Bytes udp_to(uint16_t port, uint16_t from = 1000) {
    return packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(from, port).payload(30).bytes();
}

inline std::string pattern_of(uint16_t port) { return "pattern eth / ipv4 / udp dst is " + std::to_string(port); }

/// What becomes of one packet.
inline Expected run_one(FlowRig &rig, const packet::Bytes &frame) {
    EXPECT_EQ(rig.run(frame), TC_ACT_STOLEN);
    Expected seen;
    const auto delivered = rig.drain_all();
    seen.dropped = delivered.empty();
    if (seen.dropped)
        return seen;
    EXPECT_EQ(delivered.size(), 1U);
    const tapflow_record &record = delivered[0].record;
    seen.queue = delivered[0].queue;
    if (record.flags & TAPFLOW_RECORD_MARK)
        seen.mark = record.mark;
    seen.flag = (record.flags & TAPFLOW_RECORD_FLAG) != 0;
    return seen;
}

/// A rule set as it shows itself.
struct Observed {
    size_t size = 0;
    std::vector<flow::Rule> rules;
    std::vector<const engine::Flow *> flows;
    std::vector<Expected> packets; ///< to ports 1 to 8

    bool operator==(const Observed &) const = default;
};

inline Observed observe(FlowRig &rig) {
    Observed seen;
    seen.size = rig.rules().size();
    rig.rules().for_each([&](const flow::Rule &rule, const engine::Flow *flow) {
        seen.rules.push_back(rule);
        seen.flows.push_back(flow);
    });
    for (uint16_t port = 1; port <= 8; port++)
        seen.packets.push_back(run_one(rig, udp_to(port)));
    return seen;
}

} // namespace tapflow::test
