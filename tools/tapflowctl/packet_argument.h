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

struct GivenPacket {
    std::span<const uint8_t> bytes; ///< while the call lasts
    uint64_t length = 0;            ///< on the wire: more than `bytes` if a capture has cut it
    uint64_t number = 0;            ///< in the capture, from 1 on; 0: not of one
    bool of_many = false;           ///< all packets of the capture are asked for
};
/// Returns false to stop.
using UsePacket = std::function<bool(const GivenPacket &)>;

/// Calls `each` for every packet of an argument: one, unless it is a capture without a frame number. Errors: EINVAL
/// naming what is wrong and where.
Result<void> for_each_packet(const std::vector<std::string> &words, const engine::InspectedPort &port,
                             const UsePacket &each);

/// Calls `each` for all packets of a capture. Errors: EINVAL for one that has none, or is broken.
Result<void> for_each_in_capture(const std::string &path, bool of_tun, const UsePacket &each);

} // namespace tapflow::ctl
