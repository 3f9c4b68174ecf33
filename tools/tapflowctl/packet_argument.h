// SPDX-License-Identifier: BSD-3-Clause
// The argument PACKET: in words, in hexadecimal, or from a capture.
#pragma once

#include "engine/inspect.h"
#include "tapflow/result.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace tapflow::ctl {

/// For help texts.
std::string packet_help();

/// Calls `each(frame, number)` for every packet of an argument: one, unless it is a capture without a frame number;
/// `number` is that in the capture, or 0. `each` returns false to stop. Errors: EINVAL naming what is wrong and where.
Result<void> for_each_packet(const std::vector<std::string> &words, const engine::InspectedPort &port,
                             const std::function<bool(std::span<const uint8_t>, uint64_t)> &each);

/// Calls `each` for all packets of a capture.
Result<void> for_each_in_capture(const std::string &path, bool of_tun,
                                 const std::function<bool(std::span<const uint8_t>, uint64_t)> &each);

} // namespace tapflow::ctl
