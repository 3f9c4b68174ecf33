// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/trace_event.h"

#include "packet/parse.h"
#include "tapflow/mac_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <optional>

namespace tapflow::ctl {
namespace {

struct Reason {
    uint32_t flag;
    const char *name; ///< in JSON
    const char *text;
};
constexpr auto kReasons = std::to_array<Reason>({
    {TAPFLOW_DECIDED_NOT_STARTED, "not_started", "port is stopped"},
    {TAPFLOW_DECIDED_RULE_DROP, "rule", "by a rule"},
    {TAPFLOW_DECIDED_FILTERED, "filtered", "address or VLAN not wanted"},
    {TAPFLOW_DECIDED_NO_LEASE, "no_lease", "process is silent"},
    {TAPFLOW_DECIDED_QUEUE_STOPPED, "queue_stopped", "queue is stopped"},
    {TAPFLOW_DECIDED_NO_QUEUE, "no_queue", "no such queue"},
    {TAPFLOW_DECIDED_OVERSIZE, "oversize", "too long"},
    {TAPFLOW_DECIDED_UNSUPPORTED_GSO, "unsupported_gso", "super-frame cannot be cut"},
    {TAPFLOW_DECIDED_RING_FULL, "ring_full", "ring is full"},
    {TAPFLOW_DECIDED_RING_STUCK, "ring_stuck", "ring is full and not read"},
});

const Reason *reason(const tapflow_trace_event &event) {
    for (const Reason &each : kReasons)
        if ((event.flags & each.flag) != 0)
            return &each;
    return nullptr;
}

bool has(const tapflow_trace_event &event, uint32_t flag) { return (event.flags & flag) != 0; }

struct ProtocolName {
    uint8_t number;
    const char *name;
};
constexpr auto kProtocolNames = std::to_array<ProtocolName>({{IPPROTO_ICMP, "icmp"},
                                                             {IPPROTO_TCP, "tcp"},
                                                             {IPPROTO_UDP, "udp"},
                                                             {IPPROTO_GRE, "gre"},
                                                             {IPPROTO_ESP, "esp"},
                                                             {IPPROTO_AH, "ah"},
                                                             {IPPROTO_ICMPV6, "icmp6"},
                                                             {IPPROTO_SCTP, "sctp"}});

/// What the outer headers say.
struct Headers {
    std::string source;
    std::string destination;
    std::optional<uint16_t> source_port;
    std::optional<uint16_t> destination_port;
    std::string protocol;
    bool is_ip = false;
    bool is_ip6 = false;
    std::optional<uint16_t> vlan;
};

std::string ip_text(int family, const void *address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    return inet_ntop(family, address, text.data(), text.size()) == nullptr ? "" : text.data();
}

std::string mac_at(const packet::Bytes &frame, size_t offset) {
    std::array<char, 24> text{};
    if (frame.size() < offset + 6)
        return "?";
    const uint8_t *mac = frame.data() + offset;
    std::snprintf(text.data(), text.size(), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                  mac[5]);
    return text.data();
}

std::string protocol_text(uint8_t number, bool is_fragment) {
    std::string text = "proto " + std::to_string(number);
    for (const ProtocolName &each : kProtocolNames)
        if (each.number == number)
            text = each.name;
    return is_fragment ? text + " fragment" : text;
}

Headers headers_of(const packet::Bytes &frame) {
    Headers headers;
    tapflow_packet parsed{};
    tapflow_parse(frame.data(), frame.data() + frame.size(), 0, &parsed);
    if (frame.size() >= 16) {
        const auto tpid = static_cast<uint16_t>(frame[12] << 8U | frame[13]);
        if (tpid == 0x8100 || tpid == 0x88a8)
            headers.vlan = static_cast<uint16_t>((frame[14] << 8U | frame[15]) & 0xfff);
    }
    if (parsed.packet_class == TAPFLOW_CLASS_NOT_IP) {
        headers.source = mac_at(frame, 6);
        headers.destination = mac_at(frame, 0);
        std::array<char, 16> type{};
        uint16_t behind_tags = 0;
        std::memcpy(&behind_tags, &parsed.words[3], sizeof(behind_tags));
        const unsigned ethertype = ntohs(behind_tags);
        std::snprintf(type.data(), type.size(), "type 0x%04x", ethertype);
        headers.protocol = ethertype == 0x0806 ? "arp" : type.data();
        return headers;
    }
    headers.is_ip = true;
    headers.is_ip6 = parsed.packet_class >= TAPFLOW_CLASS_IPV6_OTHER;
    const int family = headers.is_ip6 ? AF_INET6 : AF_INET;
    headers.source = ip_text(family, parsed.words);
    headers.destination = ip_text(family, parsed.words + (headers.is_ip6 ? 4 : 1));
    const unsigned in_family = headers.is_ip6
                                   ? parsed.packet_class - (TAPFLOW_CLASS_IPV6_OTHER - TAPFLOW_CLASS_IPV4_OTHER)
                                   : parsed.packet_class;
    headers.protocol = protocol_text(parsed.protocol, in_family == TAPFLOW_CLASS_IPV4_FRAGMENT);
    if (in_family == TAPFLOW_CLASS_IPV4_TCP || in_family == TAPFLOW_CLASS_IPV4_UDP ||
        in_family == TAPFLOW_CLASS_IPV4_SCTP) {
        std::array<uint16_t, 2> ports{};
        std::memcpy(ports.data(), &parsed.ports, sizeof(ports));
        headers.source_port = ntohs(ports[0]);
        headers.destination_port = ntohs(ports[1]);
    }
    return headers;
}

std::string endpoint_text(const Headers &headers, const std::string &address, std::optional<uint16_t> port) {
    if (!port)
        return address;
    return (headers.is_ip6 ? '[' + address + ']' : address) + ':' + std::to_string(*port);
}

std::string clock_text(uint64_t time_ns) {
    const auto seconds = static_cast<time_t>(time_ns / 1'000'000'000);
    std::array<char, 40> text{};
    tm broken_down{};
    localtime_r(&seconds, &broken_down);
    std::snprintf(text.data(), text.size(), "%02d:%02d:%02d.%06" PRIu64, broken_down.tm_hour, broken_down.tm_min,
                  broken_down.tm_sec, time_ns % 1'000'000'000 / 1000);
    return text.data();
}

} // namespace

TracedPacket traced_packet(const tapflow_trace_event &event, std::span<const uint8_t> frame, uint64_t realtime_offset,
                           bool is_tun) {
    TracedPacket traced{event, event.time_ns + realtime_offset, {frame.begin(), frame.end()}, event.length};
    if (is_tun && has(event, TAPFLOW_DECIDED_NOT_STARTED)) {
        packet::Bytes header(14);
        const bool is_ip6 = !frame.empty() && frame[0] >> 4U == 6;
        header[12] = is_ip6 ? 0x86 : 0x08;
        header[13] = is_ip6 ? 0xdd : 0x00;
        traced.frame.insert(traced.frame.begin(), header.begin(), header.end());
        traced.length += static_cast<uint32_t>(header.size());
    }
    if (event.vlan_proto != 0 && traced.frame.size() >= 12) {
        const std::array<uint16_t, 2> tag{event.vlan_proto, htons(event.vlan_tci)};
        const auto *bytes = reinterpret_cast<const uint8_t *>(tag.data());
        traced.frame.insert(traced.frame.begin() + 12, bytes, bytes + sizeof(tag));
        traced.length += sizeof(tag);
    }
    return traced;
}

std::string verdict_text(const tapflow_trace_event &event) {
    const bool taken = has(event, TAPFLOW_DECIDED_APPLICATION);
    const bool kernel = has(event, TAPFLOW_DECIDED_KERNEL);
    std::string text = taken ? "" : kernel ? "kernel: " : "dropped: ";
    if (!taken) {
        const Reason *why = reason(event);
        text += why == nullptr ? "undeliverable" : why->text;
    }
    const auto add = [&](const std::string &words) { text += (text.empty() ? "" : taken ? " " : "; ") + words; };
    if (has(event, TAPFLOW_DECIDED_QUEUE))
        add("queue " + std::to_string(event.queue));
    if (taken && kernel)
        text += " and kernel";
    if (has(event, TAPFLOW_DECIDED_HASH)) {
        std::array<char, 24> hash{};
        std::snprintf(hash.data(), hash.size(), "hash 0x%08x", event.hash);
        add(hash.data());
    }
    if (event.rule_id != 0)
        add("rule " + std::to_string(event.rule_id));
    if (has(event, TAPFLOW_DECIDED_MARK))
        add("mark " + std::to_string(event.mark));
    if (has(event, TAPFLOW_DECIDED_FLAG))
        add("flag");
    if (has(event, TAPFLOW_DECIDED_REWRITE))
        add("rewrite " + std::to_string(event.rewrite));
    return text;
}

std::string line_text(const TracedPacket &traced) {
    const Headers headers = headers_of(traced.frame);
    std::string text = clock_text(traced.time_ns) + ' ';
    text += endpoint_text(headers, headers.source, headers.source_port) + " > " +
            endpoint_text(headers, headers.destination, headers.destination_port) + ' ' + headers.protocol;
    if (headers.vlan)
        text += " vlan " + std::to_string(*headers.vlan);
    return text + ' ' + std::to_string(traced.length) + " B: " + verdict_text(traced.event);
}

Json event_json(const TracedPacket &traced) {
    const tapflow_trace_event &event = traced.event;
    const Headers headers = headers_of(traced.frame);
    Json json = document("trace");
    json["time_ns"] = traced.time_ns;
    json["at"] = event.place == TAPFLOW_TRACE_REMOTE ? "remote" : "tap";
    json["length"] = traced.length;
    if (event.gso_size != 0)
        json["gso_size"] = event.gso_size;
    if (headers.vlan)
        json["vlan"] = *headers.vlan;
    json["source"] = headers.source;
    json["destination"] = headers.destination;
    json["protocol"] = headers.protocol;
    if (headers.source_port) {
        json["source_port"] = *headers.source_port;
        json["destination_port"] = *headers.destination_port;
    }
    json["application"] = has(event, TAPFLOW_DECIDED_APPLICATION);
    json["kernel"] = has(event, TAPFLOW_DECIDED_KERNEL);
    if (const Reason *why = reason(event); why != nullptr)
        json["why"] = why->name;
    if (has(event, TAPFLOW_DECIDED_QUEUE))
        json["queue"] = event.queue;
    if (has(event, TAPFLOW_DECIDED_HASH))
        json["hash"] = event.hash;
    if (event.rule_id != 0)
        json["rule"] = event.rule_id;
    if (has(event, TAPFLOW_DECIDED_MARK))
        json["mark"] = event.mark;
    if (has(event, TAPFLOW_DECIDED_FLAG))
        json["flag"] = true;
    if (has(event, TAPFLOW_DECIDED_REWRITE))
        json["rewrite"] = event.rewrite;
    return json;
}

} // namespace tapflow::ctl
