// SPDX-License-Identifier: BSD-3-Clause
// Frames that a rule matches, for who wants to see it act.
#pragma once

#include "flow/rule.h"
#include "packet/build.h"

#include <optional>
#include <random>

namespace tapflow::flow {

/// A frame of the match's packets, random in what it does not say, often at the borders of its ranges. None where the
/// match asks for what is not built here: inner headers and tunnels, IPv6 extension headers, fragments.
std::optional<packet::Bytes> example_frame(const Match &match, std::mt19937_64 &random);

} // namespace tapflow::flow
