// SPDX-License-Identifier: BSD-3-Clause
// Packets before and after their headers are rewritten.
#pragma once

#include "flow/rewrite.h"
#include "packet/build.h"
#include "support/expected_record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace tapflow::test {

using flow::Rewrite;
using packet::Bytes;
using packet::Ipv4Address;
using packet::Ipv6Address;
using packet::Mac;
using packet::Packet;
using Kind = Rewrite::Kind;

inline constexpr uint16_t kCTag = TAPFLOW_TPID_8021Q; // as on the wire
inline constexpr uint16_t kSTag = TAPFLOW_TPID_8021AD;

inline Rewrite change(Kind kind, uint16_t value = 0) { return {.kind = kind, .value = value}; }

template <size_t N> Rewrite change(Kind kind, const std::array<uint8_t, N> &bytes) {
    Rewrite rewrite{.kind = kind};
    std::copy(bytes.begin(), bytes.end(), rewrite.bytes.begin());
    return rewrite;
}

/// A frame with its record.
struct Received {
    tapflow_record record{};
    Bytes frame;
};

/// What the classifier hands over. `tpid` (as on the wire) and `tci`: a tag beside the frame.
inline Received received(const Bytes &frame, uint16_t tpid = 0, uint16_t tci = 0) {
    const tapflow_packet parsed = parse(frame, tpid);
    tapflow_record record{};
    record.length = static_cast<uint32_t>(frame.size());
    record.flags = TAPFLOW_RECORD_HASH | TAPFLOW_RECORD_REWRITE;
    record.hash = 0x12345678;
    record.rewrite = 7;
    record.l3_offset = parsed.l3_offset;
    record.l4_offset = parsed.l4_offset;
    record.packet_class = parsed.packet_class;
    if (tpid != 0) {
        record.flags |= TAPFLOW_RECORD_VLAN;
        record.vlan_proto = tpid;
        record.vlan_tci = tci;
    }
    return {record, frame};
}

/// ... with a partial checksum in its innermost TCP or UDP header.
inline Received partial(Packet packet, const Bytes &payload) {
    packet.partial_checksum();
    Received result = received(Packet(packet).raw(payload).bytes());
    result.record.flags |= TAPFLOW_RECORD_CSUM_PARTIAL;
    result.record.csum_start = static_cast<uint16_t>(packet.transport_offset());
    result.record.csum_offset = static_cast<uint16_t>(packet.transport_checksum_offset());
    return result;
}

/// Rewrites in a buffer that ends where the frame may end at the latest.
inline std::optional<Received> rewritten(const Received &in, std::span<const Rewrite> changes) {
    Bytes buffer(in.record.length + flow::kRewriteGrowthMax, 0xcc);
    const auto out = flow::rewrite(changes, in.record, in.frame.data(), buffer);
    if (!out)
        return std::nullopt;
    EXPECT_GE(out->frame, buffer.data());
    EXPECT_LE(out->frame + out->record.length, buffer.data() + buffer.size());
    return Received{out->record, {out->frame, out->frame + out->record.length}};
}

inline Received rewritten(const Received &in, std::initializer_list<Rewrite> changes) {
    auto out = rewritten(in, std::span(changes.begin(), changes.size()));
    EXPECT_TRUE(out);
    return out.value_or(Received{});
}

inline Bytes payload_of(size_t size) {
    Bytes data(size);
    for (size_t i = 0; i < size; i++)
        data[i] = static_cast<uint8_t>(i * 7 + (i >> 8));
    return data;
}

/// What the changes are about.
struct Headers {
    Mac src_mac = "02:00:00:00:00:01";
    Mac dst_mac = "02:00:00:00:00:02";
    Ipv4Address src4 = "10.0.0.1";
    Ipv4Address dst4 = "10.0.0.2";
    Ipv6Address src6 = "2001:db8::1";
    Ipv6Address dst6 = "2001:db8::2";
    uint16_t src_port = 1000;
    uint16_t dst_port = 53;
    uint8_t ttl = 64;

    [[nodiscard]] Packet ether() const { return Packet().ether(dst_mac, src_mac); }
    [[nodiscard]] packet::Ipv4 ipv4() const { return {.src = src4, .dst = dst4, .ttl = ttl}; }
    [[nodiscard]] packet::Ipv6 ipv6() const { return {.src = src6, .dst = dst6, .hop_limit = ttl}; }
};

struct Stack {
    const char *name;
    std::function<Packet(const Headers &)> build;
};

/// Stacks whose TCP and UDP ports can be changed.
inline std::vector<Stack> stacks_with_ports() {
    const packet::Vlan outer{.vid = 7, .pcp = 3, .tpid = 0x88a8};
    return {
        {"TCP over IPv4", [](const Headers &h) { return h.ether().ipv4(h.ipv4()).tcp(h.src_port, h.dst_port); }},
        {"UDP over IPv4", [](const Headers &h) { return h.ether().ipv4(h.ipv4()).udp(h.src_port, h.dst_port); }},
        {"TCP over IPv4 with options",
         [](const Headers &h) {
             packet::Ipv4 ip = h.ipv4();
             ip.options = {7, 7, 4, 1, 2, 3, 4};
             return h.ether().ipv4(ip).tcp(h.src_port, h.dst_port);
         }},
        {"tagged UDP over IPv4",
         [](const Headers &h) { return h.ether().vlan(5).ipv4(h.ipv4()).udp(h.src_port, h.dst_port); }},
        {"QinQ TCP over IPv6",
         [=](const Headers &h) { return h.ether().vlan(outer).vlan(5).ipv6(h.ipv6()).tcp(h.src_port, h.dst_port); }},
        {"TCP over IPv6", [](const Headers &h) { return h.ether().ipv6(h.ipv6()).tcp(h.src_port, h.dst_port); }},
        {"UDP over IPv6 with extension headers",
         [](const Headers &h) {
             return h.ether().ipv6(h.ipv6()).hop_by_hop().destination_options().udp(h.src_port, h.dst_port);
         }},
    };
}

inline std::vector<Stack> stacks_without_ports() {
    return {
        {"ICMP", [](const Headers &h) { return h.ether().ipv4(h.ipv4()).icmp(); }},
        {"ICMPv6", [](const Headers &h) { return h.ether().ipv6(h.ipv6()).icmpv6(); }},
        {"ICMPv6 behind an extension header",
         [](const Headers &h) { return h.ether().ipv6(h.ipv6()).hop_by_hop().icmpv6({.type = 143}); }},
        {"SCTP over IPv4", [](const Headers &h) { return h.ether().ipv4(h.ipv4()).sctp(1, 2); }},
        {"first fragment of UDP over IPv4",
         [](const Headers &h) {
             packet::Ipv4 ip = h.ipv4();
             ip.more_fragments = true;
             return h.ether().ipv4(ip).udp(1, 2);
         }},
        {"first fragment of TCP over IPv6",
         [](const Headers &h) { return h.ether().ipv6(h.ipv6()).hop_by_hop().fragment({.more = true}).tcp(1, 2); }},
        {"atomic fragment of UDP over IPv6",
         [](const Headers &h) { return h.ether().vlan(3).ipv6(h.ipv6()).fragment({}).udp(1, 2); }},
        {"other fragment of IPv4",
         [](const Headers &h) {
             packet::Ipv4 ip = h.ipv4();
             ip.fragment_offset = 185;
             return h.ether().ipv4(ip).next_type(TAPFLOW_IPPROTO_UDP).payload(100);
         }},
        {"other fragment of IPv6",
         [](const Headers &h) {
             return h.ether().ipv6(h.ipv6()).fragment({.offset = 185}).next_type(TAPFLOW_IPPROTO_TCP).payload(100);
         }},
        {"IPv4 in IPv4",
         [](const Headers &h) { return h.ether().ipv4(h.ipv4()).ipv4("10.8.0.1", "10.8.0.2").tcp(1, 2); }},
        {"ARP", [](const Headers &h) { return h.ether().arp({}); }},
    };
}

inline std::vector<Stack> all_stacks() {
    std::vector<Stack> stacks = stacks_with_ports();
    for (Stack &stack : stacks_without_ports())
        stacks.push_back(std::move(stack));
    return stacks;
}

/// A change, and what it makes of the headers.
struct Case {
    const char *name;
    Rewrite change;
    std::function<void(Headers &)> apply;
};

inline std::vector<Case> header_changes() {
    const Mac mac = "06:11:22:33:44:55";
    const Ipv4Address v4 = "192.168.77.254";
    const Ipv6Address v6 = "fd00:1234:5678::9abc:def0";
    return {
        {"MAC source", change(Kind::SetMacSrc, mac.bytes), [=](Headers &h) { h.src_mac = mac; }},
        {"MAC destination", change(Kind::SetMacDst, mac.bytes), [=](Headers &h) { h.dst_mac = mac; }},
        {"IPv4 source", change(Kind::SetIpv4Src, v4.bytes), [=](Headers &h) { h.src4 = v4; }},
        {"IPv4 destination", change(Kind::SetIpv4Dst, v4.bytes), [=](Headers &h) { h.dst4 = v4; }},
        {"IPv6 source", change(Kind::SetIpv6Src, v6.bytes), [=](Headers &h) { h.src6 = v6; }},
        {"IPv6 destination", change(Kind::SetIpv6Dst, v6.bytes), [=](Headers &h) { h.dst6 = v6; }},
        {"source port", change(Kind::SetTpSrc, 65535), [](Headers &h) { h.src_port = 65535; }},
        {"destination port", change(Kind::SetTpDst, 8080), [](Headers &h) { h.dst_port = 8080; }},
        {"TTL", change(Kind::SetTtl, 255), [](Headers &h) { h.ttl = 255; }},
        {"TTL less 1", change(Kind::DecTtl), [](Headers &h) { h.ttl--; }},
    };
}

/// All of them.
inline std::vector<Rewrite> all_header_changes() {
    std::vector<Rewrite> changes;
    for (const Case &each : header_changes())
        changes.push_back(each.change);
    return changes;
}

/// ... and what they make of the headers.
inline Headers changed_headers() {
    Headers headers;
    for (const Case &each : header_changes())
        each.apply(headers);
    return headers;
}

/// The sum over a packet's pseudo-header and L4, checksum included: 0xffff when that is right.
inline uint16_t transport_sum(const Received &packet) {
    const tapflow_record &record = packet.record;
    const std::span frame(packet.frame);
    const bool ipv6 = record.packet_class >= TAPFLOW_CLASS_IPV6_OTHER;
    const bool tcp = record.packet_class == TAPFLOW_CLASS_IPV4_TCP || record.packet_class == TAPFLOW_CLASS_IPV6_TCP;
    const auto l4 = frame.subspan(record.l4_offset);
    const auto addresses = ipv6 ? frame.subspan(record.l3_offset + 8U, 32) : frame.subspan(record.l3_offset + 12U, 8);
    const uint32_t pseudo =
        packet::ones_complement_sum(addresses) + (tcp ? 6U : 17U) + static_cast<uint32_t>(l4.size());
    return packet::ones_complement_sum(l4, pseudo);
}

} // namespace tapflow::test
