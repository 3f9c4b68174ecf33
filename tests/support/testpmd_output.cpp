// SPDX-License-Identifier: BSD-3-Clause
#include "support/testpmd_output.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace tapflow::test {
namespace {

std::string_view trimmed(std::string_view text) {
    const size_t first = text.find_first_not_of(" \r\n\t");
    if (first == std::string_view::npos)
        return {};
    return text.substr(first, text.find_last_not_of(" \r\n\t") - first + 1);
}

template <typename Visit> void for_each_line(std::string_view text, Visit visit) {
    for (size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
        visit(text.substr(0, end));
        text.remove_prefix(end + 1);
    }
}

/// What stands behind `key` up to the next " - " of the line.
std::optional<std::string_view> field(std::string_view line, std::string_view key) {
    const size_t at = line.find(key);
    if (at == std::string_view::npos)
        return std::nullopt;
    const std::string_view rest = line.substr(at + key.size());
    return trimmed(rest.substr(0, rest.find(" - ")));
}

/// A decimal or 0x number at the start of the text.
template <typename T = uint64_t> std::optional<T> number(std::optional<std::string_view> text) {
    if (!text)
        return std::nullopt;
    std::string_view digits = trimmed(*text);
    int base = 10;
    if (digits.starts_with("0x")) {
        base = 16;
        digits.remove_prefix(2);
    }
    T value{};
    if (std::from_chars(digits.data(), digits.data() + digits.size(), value, base).ec != std::errc())
        return std::nullopt;
    return value;
}

std::string lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return result;
}

TestpmdPacket parse_packet_line(std::string_view line) {
    TestpmdPacket packet;
    packet.src = lower(field(line, "src=").value_or(""));
    packet.dst = lower(field(line, " - dst=").value_or(""));
    packet.ethertype = number<uint16_t>(field(line, " - type=")).value_or(0);
    packet.length = number<unsigned>(field(line, " - length=")).value_or(0);
    packet.nb_segs = number<unsigned>(field(line, " - nb_segs=")).value_or(0);
    packet.queue = number<unsigned>(field(line, " - Receive queue=")).value_or(0);
    packet.rss_hash = number<uint32_t>(field(line, " - RSS hash="));
    packet.rss_queue = number<unsigned>(field(line, " - RSS queue="));
    const auto director = field(line, " - FDIR matched");
    packet.flagged = director.has_value();
    if (director && director->starts_with("ID="))
        packet.mark = number<uint32_t>(director->substr(3));
    packet.vlan_tci = number<uint16_t>(field(line, "VLAN tci="));
    packet.vlan_tci_outer = number<uint16_t>(field(line, "VLAN tci outer="));
    packet.hw_ptype = field(line, " - hw ptype:").value_or("");
    packet.sw_ptype = field(line, " - sw ptype:").value_or("");
    return packet;
}

/// "NIC statistics for port 3" and "NIC extended statistics for port 3".
std::optional<unsigned> port_of_heading(std::string_view line) {
    return line.find("statistics for port ") == std::string_view::npos
               ? std::nullopt
               : number<unsigned>(field(line, "statistics for port "));
}

} // namespace

bool TestpmdPacket::has_flag(std::string_view name) const {
    bool found = false;
    for (std::string_view rest = ol_flags; !rest.empty() && !found;) {
        const std::string_view flag = rest.substr(0, rest.find(' '));
        found = flag == name;
        rest.remove_prefix(std::min(rest.size(), flag.size() + 1));
    }
    return found;
}

void TestpmdPacketParser::feed(std::string_view output) {
    partial_line_ += output;
    const size_t complete = partial_line_.rfind('\n') + 1;
    for_each_line(std::string_view(partial_line_).substr(0, complete),
                  [this](std::string_view line) { feed_line(line); });
    partial_line_.erase(0, complete);
}

void TestpmdPacketParser::feed_line(std::string_view line) {
    // `stop` leaves the end of this line to a later printf(), and the forwarding lcore may print before that.
    if (constexpr std::string_view kUnended = "Telling cores to stop..."; line.starts_with(kUnended))
        line.remove_prefix(kUnended.size());
    // "port 0/queue 1: received 3 packets", or "sent" with verbose 2 and 3
    if (line.starts_with("port ") && line.find("/queue ") != std::string_view::npos) {
        port_ = number<unsigned>(line.substr(5)).value_or(0);
        received_ = line.find(": received ") != std::string_view::npos;
    } else if (line.starts_with("  src=")) {
        pending_ = received_ ? std::optional(parse_packet_line(line)) : std::nullopt;
    } else if (pending_ && line.starts_with("  ol_flags:")) {
        pending_->port = port_;
        pending_->ol_flags = trimmed(line.substr(11));
        packets_.push_back(std::move(*pending_));
        pending_.reset();
    }
}

std::vector<TestpmdPacket> parse_packets(std::string_view output) {
    TestpmdPacketParser parser;
    parser.feed(output);
    return parser.take();
}

std::map<unsigned, TestpmdPortStats> parse_port_stats(std::string_view output) {
    struct Counter {
        std::string_view key;
        uint64_t TestpmdPortStats::*value;
    };
    static constexpr Counter counters[] = {
        {"RX-packets:", &TestpmdPortStats::rx_packets}, {"RX-missed:", &TestpmdPortStats::rx_missed},
        {"RX-bytes:", &TestpmdPortStats::rx_bytes},     {"RX-errors:", &TestpmdPortStats::rx_errors},
        {"RX-nombuf:", &TestpmdPortStats::rx_nombuf},   {"TX-packets:", &TestpmdPortStats::tx_packets},
        {"TX-errors:", &TestpmdPortStats::tx_errors},   {"TX-bytes:", &TestpmdPortStats::tx_bytes},
    };
    std::map<unsigned, TestpmdPortStats> stats;
    TestpmdPortStats *current = nullptr;
    for_each_line(output, [&](std::string_view line) {
        if (const auto port = port_of_heading(line))
            current = &stats[*port];
        else if (current != nullptr)
            for (const Counter &counter : counters)
                if (const auto value = number(field(line, counter.key)))
                    current->*counter.value = *value;
    });
    return stats;
}

std::map<unsigned, std::map<std::string, uint64_t>> parse_port_xstats(std::string_view output) {
    std::map<unsigned, std::map<std::string, uint64_t>> stats;
    std::map<std::string, uint64_t> *current = nullptr;
    for_each_line(output, [&](std::string_view line) {
        const size_t colon = line.rfind(": ");
        if (const auto port = port_of_heading(line))
            current = &stats[*port];
        else if (current != nullptr && colon != std::string_view::npos)
            if (const auto value = number(line.substr(colon + 2)))
                (*current)[std::string(trimmed(line.substr(0, colon)))] = *value;
    });
    return stats;
}

} // namespace tapflow::test
