// SPDX-License-Identifier: BSD-3-Clause
// A traced decision as a line, as JSON, and as the comment of a captured packet.
#pragma once

#include "packet/build.h"
#include "tapflow/abi/trace.h"
#include "tapflowctl/output.h"

#include <cstdint>
#include <span>
#include <string>

namespace tapflow::ctl {

struct TracedPacket {
    tapflow_trace_event event{};
    uint64_t time_ns = 0; ///< since 1970
    packet::Bytes frame;  ///< with a tag that was beside it, as far as it was captured
    uint32_t length = 0;  ///< of that frame as a whole
};

/// `is_tun`: packets of the port that have not come to be classified begin with the IP header.
TracedPacket traced_packet(const tapflow_trace_event &event, std::span<const uint8_t> frame, uint64_t realtime_offset,
                           bool is_tun);

/// "queue 3 hash 0x70bd0a35 rule 7 mark 5"; "dropped: a rule's action; rule 7"; "kernel: not wanted by address or
/// VLAN".
std::string verdict_text(const tapflow_trace_event &event);
/// "12:34:56.789012 10.0.0.1:1000 > 10.0.0.2:53 udp 92 B: queue 3 ...".
std::string line_text(const TracedPacket &traced);
Json event_json(const TracedPacket &traced);

} // namespace tapflow::ctl
