// SPDX-License-Identifier: BSD-3-Clause
// A port's parts in words and as JSON, the same in all verbs.
#pragma once

#include "engine/inspect.h"
#include "tapflowctl/output.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace tapflow::ctl {

/// A counter of packets that ended their way at the port.
struct PortCounter {
    const char *name; ///< as in JSON
    __u64 tapflow_port_counters::*member;
    const char *meaning; ///< for people
};
constexpr auto kCounters = std::to_array<PortCounter>({
    {"filtered", &tapflow_port_counters::filtered, "not wanted by the address filter"},
    {"bypass", &tapflow_port_counters::bypass, "sent past the classifier"},
    {"oversize", &tapflow_port_counters::oversize, "longer than any frame can be"},
    {"unsupported_gso", &tapflow_port_counters::unsupported_gso, "super-frames that cannot be cut"},
    {"no_lease", &tapflow_port_counters::no_lease, "left to the kernel: the process was silent"},
    {"forged", &tapflow_port_counters::forged, "looked as if they had a trailer"},
    {"rule_dropped", &tapflow_port_counters::rule_dropped, "dropped by rules"},
    {"no_queue", &tapflow_port_counters::no_queue, "for queues that there are not"},
    {"queue_stopped", &tapflow_port_counters::queue_stopped, "for stopped queues"},
});

const char *owner_name(engine::Owner owner);
const char *delivery_name(const engine::PortIdentity &identity);   ///< "ring", "fd"
const char *classifier_name(const engine::PortIdentity &identity); ///< "bpf", "flower"
const char *hook_name(kernel::Hook hook);
/// "testpmd (pid 4711, running)".
std::string process_text(const engine::PortIdentity &identity, engine::Owner owner);

const char *function_name(rss::Function function);
/// testpmd's names of the Type and Modifier bits; "none" by itself if there is none.
std::vector<std::string> type_names(uint64_t types);
std::string hex(const std::vector<uint8_t> &bytes);
/// Slots that follow each other and have the same queue; or, if that is shorter, what repeats: "0 1 2 3, 32 times".
std::string reta_text(const std::vector<uint16_t> &reta);
/// Numbers that follow each other: "1-3, 7".
std::string runs_text(const std::vector<unsigned> &numbers);

/// The queue that has most slots, against an even share of them among `queues`.
struct Imbalance {
    uint16_t queue = 0;
    size_t slots = 0;
    double factor = 1; ///< slots over the even share
};
Imbalance imbalance(const std::vector<uint16_t> &reta, unsigned queues);

/// {"key", "types", "function", "reta"}: all there is to an RSS configuration.
Json rss_json(const rss::RssConfig &config);

} // namespace tapflow::ctl
