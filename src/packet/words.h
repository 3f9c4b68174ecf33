// SPDX-License-Identifier: BSD-3-Clause
// Frames in a line of words, as one would type them.
#pragma once

#include "packet/build.h"
#include "tapflow/result.h"

#include <string_view>

namespace tapflow::packet {

/// What parse_words() reads, for help texts.
inline constexpr const char *kWordsHelp =
    "PROTOCOL SOURCE > DESTINATION [WORDS], where PROTOCOL is udp, tcp, sctp, icmp, icmp6, esp, ah, ip or arp; source "
    "and destination are addresses, for udp, tcp and sctp with \":PORT\" ([fe80::1]:53 for IPv6), for esp and ah with "
    "\"spi N\" among the words; instead of > also \"to\". Words: vlan VID (twice: outer tag, inner tag), pcp N, smac "
    "MAC, dmac MAC, ttl N, tos N, flags syn,ack,fin,rst,psh,urg, type N, code N, fragment OFFSET (in bytes), more "
    "(fragments follow), len N (bytes of payload), vxlan VNI (what stands before goes into a tunnel).";

/// "udp 10.0.0.1:53 > 10.0.0.2:4000 vlan 5". `destination`: the MAC address of frames that name none. Errors: EINVAL
/// naming the word, its position and what could stand there.
Result<Bytes> parse_words(std::string_view text, const Mac &destination);

/// Bytes in hexadecimal, two digits each; white space, ':' and '-' between bytes are of no account. Errors: EINVAL.
Result<Bytes> parse_hex(std::string_view text);

} // namespace tapflow::packet
