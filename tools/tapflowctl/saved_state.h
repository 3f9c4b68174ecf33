// SPDX-License-Identifier: BSD-3-Clause
// A port's rules and RSS configuration, from the port or from what `save` has printed.
#pragma once

#include "engine/inspect.h"
#include "flow/rule.h"
#include "rss/rss_config.h"
#include "tapflow/result.h"
#include "tapflowctl/output.h"

#include <map>
#include <string>
#include <vector>

namespace tapflow::ctl {

struct SavedState {
    std::string port;
    std::string device;
    unsigned rx_queues = 0;
    rss::RssConfig rss;
    std::vector<flow::Rule> rules;                   ///< in the order in which they were made
    std::map<uint32_t, rss::RssConfig> indirect_rss; ///< by number
};

/// Errors: EAGAIN when the rules were changed all the time; what the kernel says.
Result<SavedState> state_of(const engine::InspectedPort &port);

Json state_json(const SavedState &state);
/// Reads that, whatever it is. Errors: EINVAL naming the member that is wrong.
Result<SavedState> state_from_json(const nlohmann::json &json);

/// That of a file, or of the port of that name if there is no such file.
Result<SavedState> read_state(const std::string &name);

} // namespace tapflow::ctl
