// SPDX-License-Identifier: BSD-3-Clause
#include "packet/words.h"

#include "tapflow/abi/record.h"

#include <array>
#include <charconv>
#include <optional>
#include <variant>

namespace tapflow::packet {
namespace {

constexpr size_t kPayloadMax = 9000;

struct Protocol {
    std::string_view name;
    bool has_ports;
};
constexpr std::array kProtocols{Protocol{"udp", true},   Protocol{"tcp", true},    Protocol{"sctp", true},
                                Protocol{"icmp", false}, Protocol{"icmp6", false}, Protocol{"esp", false},
                                Protocol{"ah", false},   Protocol{"ip", false},    Protocol{"arp", false}};

struct TcpFlag {
    std::string_view name;
    uint8_t bit;
};
constexpr std::array kTcpFlags{TcpFlag{"fin", tcp_flag::kFin}, TcpFlag{"syn", tcp_flag::kSyn},
                               TcpFlag{"rst", tcp_flag::kRst}, TcpFlag{"psh", tcp_flag::kPsh},
                               TcpFlag{"ack", tcp_flag::kAck}, TcpFlag{"urg", tcp_flag::kUrg},
                               TcpFlag{"ece", tcp_flag::kEce}, TcpFlag{"cwr", tcp_flag::kCwr}};

using Address = std::variant<Ipv4Address, Ipv6Address>;

/// One end of a flow.
struct End {
    Address address;
    std::optional<uint16_t> port;
};

/// What has been said of a packet.
struct Said {
    const Protocol *protocol = nullptr;
    End source;
    End destination;
    std::vector<Vlan> tags;
    std::optional<Mac> smac;
    std::optional<Mac> dmac;
    uint8_t ttl = 64;
    uint8_t tos = 0;
    std::optional<uint8_t> flags;
    std::optional<uint8_t> type;
    uint8_t code = 0;
    uint32_t spi = 0;
    std::optional<uint16_t> fragment;
    bool more = false;
    size_t length = 18;
    std::optional<uint32_t> vni;
};

template <typename Number> std::optional<Number> number_in(std::string_view text, uint64_t most) {
    int base = 10;
    if (text.starts_with("0x")) {
        text.remove_prefix(2);
        base = 16;
    }
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size() || value > most)
        return std::nullopt;
    return static_cast<Number>(value);
}

/// Words by one and one, with their places.
class Words {
  public:
    explicit Words(std::string_view text) : text_(text) {}

    /// Empty at the end.
    std::string_view next() {
        position_++;
        const size_t begin = text_.find_first_not_of(kSpace, behind_);
        if (begin == std::string_view::npos) {
            behind_ = text_.size();
            return word_ = {};
        }
        behind_ = std::min(text_.find_first_of(kSpace, begin), text_.size());
        return word_ = text_.substr(begin, behind_ - begin);
    }
    /// Of the word that next() has returned.
    [[nodiscard]] Error wrong(const std::string &expected) const {
        return {EINVAL,
                "read packet, word " + std::to_string(position_) + " \"" + std::string(word_.substr(0, 64)) + "\"",
                "expected " + expected};
    }

  private:
    static constexpr std::string_view kSpace = " \t\n";
    std::string_view text_;
    std::string_view word_;
    size_t behind_ = 0;
    unsigned position_ = 0;
};

/// "10.0.0.1:53", "[fe80::1]:53", "fe80::1", "10.0.0.1".
std::optional<End> parse_end(std::string_view text, bool has_port) {
    End end;
    std::string_view address = text;
    if (has_port) {
        const size_t colon = text.rfind(':');
        if (colon == std::string_view::npos)
            return std::nullopt;
        end.port = number_in<uint16_t>(text.substr(colon + 1), UINT16_MAX);
        address = text.substr(0, colon);
        if (!end.port)
            return std::nullopt;
    }
    const bool brackets = address.size() >= 2 && address.front() == '[' && address.back() == ']';
    if (brackets)
        address = address.substr(1, address.size() - 2);
    if (const auto ipv4 = parse_ipv4(address); ipv4 && !brackets) {
        end.address = *ipv4;
        return end;
    }
    const auto ipv6 = parse_ipv6(address);
    if (!ipv6 || (has_port && !brackets))
        return std::nullopt;
    end.address = *ipv6;
    return end;
}

std::string protocol_names() {
    std::string names;
    for (const Protocol &protocol : kProtocols)
        names += (names.empty() ? "" : ", ") + std::string(protocol.name);
    return names;
}

class Reader {
  public:
    Reader(std::string_view text, const Mac &destination) : words_(text), destination_(destination) {}

    Result<Bytes> read() {
        if (auto read = read_flow(); !read)
            return read.error();
        for (std::string_view word = words_.next(); !word.empty(); word = words_.next())
            if (auto read = read_word(word); !read)
                return read.error();
        return build();
    }

  private:
    Result<void> read_flow() {
        const std::string_view name = words_.next();
        for (const Protocol &protocol : kProtocols)
            if (protocol.name == name)
                said_.protocol = &protocol;
        if (!said_.protocol)
            return words_.wrong("a protocol (" + protocol_names() + ")");
        if (auto read = read_end(said_.source); !read)
            return read;
        const std::string_view arrow = words_.next();
        if (arrow != ">" && arrow != "->" && arrow != "to")
            return words_.wrong("> (quoted, for the shell) or to");
        if (auto read = read_end(said_.destination); !read)
            return read;
        if (said_.source.address.index() != said_.destination.address.index())
            return words_.wrong("an address of the same IP version as the source");
        const bool is_ipv6 = said_.source.address.index() == 1;
        if (is_ipv6 ? name == "icmp" || name == "arp" : name == "icmp6")
            return words_.wrong("an address of the IP version that has " + std::string(name));
        return {};
    }

    Result<void> read_end(End &out) {
        const bool has_ports = said_.protocol->has_ports;
        const auto end = parse_end(words_.next(), has_ports);
        if (!end)
            return words_.wrong(has_ports ? "an address with a port (10.0.0.1:53, [fe80::1]:53)"
                                          : "an address (10.0.0.1, fe80::1)");
        out = *end;
        return {};
    }

    template <typename Number> Result<void> read_number(Number &out, uint64_t most) {
        const auto value = number_in<Number>(words_.next(), most);
        if (!value)
            return words_.wrong("a number from 0 to " + std::to_string(most));
        out = *value;
        return {};
    }
    template <typename Number> Result<void> read_number(std::optional<Number> &out, uint64_t most) {
        return read_number(out.emplace(), most);
    }
    Result<void> read_mac(std::optional<Mac> &out) {
        const auto mac = parse_mac(words_.next());
        if (!mac)
            return words_.wrong("a MAC address (02:00:00:00:00:01)");
        out = *mac;
        return {};
    }
    Result<void> read_flags() {
        std::string_view list = words_.next();
        uint8_t flags = 0;
        while (!list.empty()) {
            const size_t comma = std::min(list.find(','), list.size());
            const TcpFlag *found = nullptr;
            for (const TcpFlag &flag : kTcpFlags)
                if (flag.name == list.substr(0, comma))
                    found = &flag;
            if (!found)
                return words_.wrong("TCP flags between commas (fin, syn, rst, psh, ack, urg, ece, cwr)");
            flags |= found->bit;
            list.remove_prefix(std::min(comma + 1, list.size()));
        }
        said_.flags = flags;
        return {};
    }

    Result<void> read_word(std::string_view word) {
        if (word == "vlan") {
            if (said_.tags.size() == 2)
                return words_.wrong("at most two VLAN tags");
            return read_number(said_.tags.emplace_back().vid, 4095);
        }
        if (word == "pcp") {
            if (said_.tags.empty())
                return words_.wrong("a vlan before its pcp");
            return read_number(said_.tags.back().pcp, 7);
        }
        if (word == "smac")
            return read_mac(said_.smac);
        if (word == "dmac")
            return read_mac(said_.dmac);
        if (word == "ttl")
            return read_number(said_.ttl, 255);
        if (word == "tos")
            return read_number(said_.tos, 255);
        if (word == "flags")
            return read_flags();
        if (word == "type")
            return read_number(said_.type, 255);
        if (word == "code")
            return read_number(said_.code, 255);
        if (word == "spi")
            return read_number(said_.spi, UINT32_MAX);
        if (word == "len")
            return read_number(said_.length, kPayloadMax);
        if (word == "vxlan")
            return read_number(said_.vni, 0xffffff);
        if (word == "more") {
            said_.more = true;
            said_.fragment = said_.fragment.value_or(0);
            return {};
        }
        if (word == "fragment") {
            uint16_t bytes = 0;
            if (auto read = read_number(bytes, 65528); !read)
                return read;
            said_.fragment = static_cast<uint16_t>(bytes / 8);
            return bytes % 8 == 0 ? Result<void>() : words_.wrong("a multiple of 8");
        }
        return words_.wrong("vlan, pcp, smac, dmac, ttl, tos, flags, type, code, spi, fragment, more, len or vxlan");
    }

    Packet &add_ip(Packet &packet) const {
        if (const auto *source = std::get_if<Ipv4Address>(&said_.source.address)) {
            Ipv4 header;
            header.src = *source;
            header.dst = std::get<Ipv4Address>(said_.destination.address);
            header.ttl = said_.ttl;
            header.tos = said_.tos;
            header.fragment_offset = said_.fragment.value_or(0);
            header.more_fragments = said_.more;
            return packet.ipv4(header);
        }
        Ipv6 header;
        header.src = std::get<Ipv6Address>(said_.source.address);
        header.dst = std::get<Ipv6Address>(said_.destination.address);
        header.hop_limit = said_.ttl;
        header.traffic_class = said_.tos;
        packet.ipv6(header);
        return said_.fragment ? packet.fragment({.offset = *said_.fragment, .more = said_.more}) : packet;
    }

    Packet &add_transport(Packet &packet) const {
        constexpr uint16_t kEsp = 50;
        constexpr uint16_t kAnyProtocol = 253; // RFC 3692: for experiments
        const std::string_view name = said_.protocol->name;
        const uint16_t source = said_.source.port.value_or(0);
        const uint16_t destination = said_.destination.port.value_or(0);
        if (said_.fragment.value_or(0) != 0) // has no transport header
            return packet.next_type(name == "udp" ? 17 : name == "tcp" ? 6 : kAnyProtocol);
        if (name == "udp")
            return packet.udp(source, destination);
        if (name == "sctp")
            return packet.sctp(source, destination);
        if (name == "tcp") {
            Tcp header;
            header.src_port = source;
            header.dst_port = destination;
            header.flags = said_.flags.value_or(tcp_flag::kAck);
            return packet.tcp(header);
        }
        if (name == "icmp")
            return packet.icmp({.type = said_.type.value_or(8), .code = said_.code});
        if (name == "icmp6")
            return packet.icmpv6({.type = said_.type.value_or(128), .code = said_.code});
        if (name == "ah")
            return packet.authentication(said_.spi, 1).next_type(kAnyProtocol);
        if (name == "esp") {
            const uint32_t spi = said_.spi;
            return packet.next_type(kEsp).raw({static_cast<uint8_t>(spi >> 24), static_cast<uint8_t>(spi >> 16),
                                               static_cast<uint8_t>(spi >> 8), static_cast<uint8_t>(spi), 0, 0, 0, 1});
        }
        return packet.next_type(kAnyProtocol);
    }

    [[nodiscard]] Bytes build() const {
        Packet packet;
        const Mac smac = said_.smac.value_or(Mac("02:00:00:00:00:01"));
        const Mac dmac = said_.dmac.value_or(destination_);
        packet.ether(dmac, smac);
        for (const Vlan &tag : said_.tags)
            packet.vlan(tag);
        if (said_.vni) {
            packet.ipv4("192.0.2.1", "192.0.2.2").udp(49152, 4789).vxlan(*said_.vni);
            packet.ether("02:00:00:00:01:02", "02:00:00:00:01:01");
        }
        if (said_.protocol->name == "arp") {
            Arp message;
            message.sender_mac = smac;
            message.sender_ip = std::get<Ipv4Address>(said_.source.address);
            message.target_ip = std::get<Ipv4Address>(said_.destination.address);
            return packet.arp(message).bytes();
        }
        add_ip(packet);
        add_transport(packet);
        return packet.payload(said_.length).bytes();
    }

    Words words_;
    Mac destination_;
    Said said_;
};

int digit_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

} // namespace

Result<Bytes> parse_words(std::string_view text, const Mac &destination) { return Reader(text, destination).read(); }

Result<Bytes> parse_hex(std::string_view text) {
    Bytes bytes;
    for (size_t i = 0; i < text.size();) {
        if (std::string_view(" \t\n\r:-").find(text[i]) != std::string_view::npos) {
            i++;
            continue;
        }
        const int high = digit_of(text[i]);
        const int low = i + 1 < text.size() ? digit_of(text[i + 1]) : -1;
        if (high < 0 || low < 0)
            return Error{EINVAL, "read packet, character " + std::to_string(i + 1), "expected two hexadecimal digits"};
        if (bytes.size() == TAPFLOW_FRAME_MAX)
            return Error{EINVAL, "read packet", "it is longer than " + std::to_string(TAPFLOW_FRAME_MAX) + " bytes"};
        bytes.push_back(static_cast<uint8_t>(high << 4 | low));
        i += 2;
    }
    return bytes;
}

} // namespace tapflow::packet
