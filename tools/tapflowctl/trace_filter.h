// SPDX-License-Identifier: BSD-3-Clause
// Which decisions are wanted, in words: "udp src 10.0.0.1 dport 53 queue 3 dropped".
#pragma once

#include "tapflow/abi/trace.h"
#include "tapflow/result.h"

#include <string>
#include <vector>

namespace tapflow::ctl {

/// All words must agree with a packet. Errors: EINVAL naming the word, and why it cannot be there.
Result<tapflow_trace_filter> parse_trace_filter(const std::vector<std::string> &words);

/// What the words are, for the help.
extern const char *const kTraceFilterHelp;

} // namespace tapflow::ctl
