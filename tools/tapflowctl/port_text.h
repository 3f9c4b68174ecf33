// SPDX-License-Identifier: BSD-3-Clause
// A port's parts in words and as JSON, the same in all verbs.
#pragma once

#include "engine/inspect.h"
#include "tapflowctl/output.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tapflow::ctl {

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
