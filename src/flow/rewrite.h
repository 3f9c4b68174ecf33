// SPDX-License-Identifier: BSD-3-Clause
// Changing a packet's headers as rules say.
#pragma once

#include "flow/rule.h"
#include "tapflow/abi/record.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace tapflow::flow {

/// Tags that one list of changes may push, and the bytes that they may add to a frame.
constexpr size_t kRewritePushesMax = 2;
constexpr size_t kRewriteGrowthMax = 4 * kRewritePushesMax;

/// A frame with its headers changed.
struct Rewritten {
    tapflow_record record{};
    const uint8_t *frame = nullptr; ///< record.length bytes, in the buffer that was given
};

/// Makes `changes`, one after another, to a copy in `buffer` of the frame that `record` describes. A super-frame is
/// changed as a whole, to be cut afterwards. What a packet does not have stays as it is: a tag, addresses of that IP
/// version, ports. Of a tunnel it is the outer headers.
///
/// A tag that is pushed goes beside the frame, into the record; one that is there goes into the frame before.
///
/// Checksums of IPv4, TCP, UDP and ICMPv6 are adjusted by what has changed (RFC 1624), so that what was wrong stays
/// wrong, and a UDP checksum that is not used stays so. A partial checksum is a pseudo-header's sum, in which ports do
/// not count. The TCP, UDP or ICMPv6 checksum of a datagram in fragments is in the first one of them and is adjusted
/// there, ports are not changed: the other fragments do not have them. IPv6 extension headers are followed as far as
/// the parser does it. The destination in an IPv6 pseudo-header is the IPv6 header's own, whatever a routing header
/// says.
///
/// `buffer`: at least record.length + kRewriteGrowthMax bytes. Nothing is returned if it is smaller, if the frame is
/// shorter than an Ethernet header, if tags are pushed more often than kRewritePushesMax, or if an offset in the record
/// would grow beyond what a record can hold.
std::optional<Rewritten> rewrite(std::span<const Rewrite> changes, const tapflow_record &record, const uint8_t *frame,
                                 std::span<uint8_t> buffer);

} // namespace tapflow::flow
