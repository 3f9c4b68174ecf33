// SPDX-License-Identifier: BSD-3-Clause
#include "packet/build.h"

#include "packet/checksum.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace tapflow::packet {
namespace {

constexpr uint8_t kProtocolIpv4 = 4; // IPPROTO_IPIP, named for what follows
constexpr uint8_t kProtocolIpv6 = 41;

/// Appends big-endian fields.
class Writer {
  public:
    Writer &u8(unsigned value) {
        out_.push_back(static_cast<uint8_t>(value));
        return *this;
    }
    Writer &u16(unsigned value) { return u8(value >> 8U).u8(value); }
    Writer &u32(uint32_t value) { return u16(value >> 16U).u16(value & 0xffffU); }
    Writer &data(std::span<const uint8_t> value) {
        out_.insert(out_.end(), value.begin(), value.end());
        return *this;
    }
    Writer &zeros_to_multiple_of(size_t grid) {
        out_.resize((out_.size() + grid - 1) / grid * grid);
        return *this;
    }
    Bytes take() { return std::move(out_); }

  private:
    Bytes out_;
};

void put16(Bytes &frame, size_t offset, size_t value) {
    frame.at(offset) = static_cast<uint8_t>(value >> 8U);
    frame.at(offset + 1) = static_cast<uint8_t>(value);
}

uint8_t header_words(size_t size, size_t limit) {
    if (size > limit)
        throw std::length_error("header of " + std::to_string(size) + " bytes, at most " + std::to_string(limit));
    return static_cast<uint8_t>(size / 4);
}

int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    const int letter = (digit | 0x20) - 'a';
    return letter >= 0 && letter < 6 ? letter + 10 : -1;
}

template <int Family, typename Ip> Result<Ip> parse_ip(std::string_view text, const char *kind) {
    Ip address;
    if (inet_pton(Family, std::string(text).c_str(), address.bytes.data()) != 1)
        return Error{EINVAL, "parse " + std::string(kind) + " address \"" + std::string(text) + "\"", {}};
    return address;
}

template <typename T> T value_or_throw(const Result<T> &parsed) {
    if (!parsed)
        throw std::invalid_argument(parsed.error().message());
    return *parsed;
}

template <int Family, typename Ip> std::string ip_text(const Ip &address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    return inet_ntop(Family, address.bytes.data(), text.data(), text.size());
}

} // namespace

Result<MacAddress> parse_mac(std::string_view text) {
    const Error error{EINVAL, "parse MAC address \"" + std::string(text) + "\"", {}};
    MacAddress address;
    if (text.size() != 17)
        return error;
    for (size_t i = 0; i < 6; ++i) {
        const int high = hex_digit(text[3 * i]);
        const int low = hex_digit(text[3 * i + 1]);
        if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
            return error;
        address.bytes[i] = static_cast<uint8_t>(high << 4 | low);
    }
    return address;
}

Result<Ipv4Address> parse_ipv4(std::string_view text) { return parse_ip<AF_INET, Ipv4Address>(text, "IPv4"); }
Result<Ipv6Address> parse_ipv6(std::string_view text) { return parse_ip<AF_INET6, Ipv6Address>(text, "IPv6"); }

Mac::Mac(const char *text) : Mac(value_or_throw(parse_mac(text))) {}
Ipv4Address::Ipv4Address(const char *text) : Ipv4Address(value_or_throw(parse_ipv4(text))) {}
Ipv6Address::Ipv6Address(const char *text) : Ipv6Address(value_or_throw(parse_ipv6(text))) {}

std::string to_string(const Ipv4Address &address) { return ip_text<AF_INET>(address); }
std::string to_string(const Ipv6Address &address) { return ip_text<AF_INET6>(address); }

// The sum is the same in either byte order but for the order of its own bytes (RFC 1071, section 2B).
uint16_t ones_complement_sum(std::span<const uint8_t> data, uint32_t initial) {
    return ntohs(checksum_fold(checksum_add(htons(checksum_fold(initial)), data.data(), data.size())));
}

uint16_t internet_checksum(std::span<const uint8_t> data, uint32_t initial) {
    return static_cast<uint16_t>(~ones_complement_sum(data, initial));
}

uint32_t crc32c(std::span<const uint8_t> data) {
    uint32_t crc = 0xffffffff;
    for (const uint8_t byte : data) {
        crc ^= byte;
        for (int bit = 0; bit < 8; ++bit)
            crc = crc >> 1U ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
    }
    return ~crc;
}

Packet &Packet::ether(const Mac &dst, const Mac &src) {
    return add({.kind = Kind::Link,
                .header = Writer().data(dst.bytes).data(src.bytes).u16(0).take(),
                .ether_type = 0x6558, // transparent Ethernet bridging, when inside GRE
                .next_offset = 12,
                .next_width = 2});
}

Packet &Packet::vlan(const Vlan &tag) {
    const unsigned tci = (tag.pcp & 7U) << 13U | (tag.dei ? 1U << 12U : 0U) | (tag.vid & 0xfffU);
    return add({.kind = Kind::Link,
                .header = Writer().u16(tci).u16(0).take(),
                .ether_type = tag.tpid,
                .next_offset = 2,
                .next_width = 2});
}

Packet &Packet::arp(const Arp &message) {
    Writer out;
    out.u16(1).u16(0x0800).u8(6).u8(4).u16(message.operation);
    out.data(message.sender_mac.bytes).data(message.sender_ip.bytes);
    out.data(message.target_mac.bytes).data(message.target_ip.bytes);
    return add({.header = out.take(), .ether_type = 0x0806});
}

Packet &Packet::ipv4(const Ipv4 &header) {
    const unsigned fragment = (header.dont_fragment ? 0x4000U : 0U) | (header.more_fragments ? 0x2000U : 0U) |
                              (header.fragment_offset & 0x1fffU);
    Writer out;
    out.u8(0x40).u8(header.tos).u16(0).u16(header.id).u16(fragment).u8(header.ttl).u8(0).u16(0);
    out.data(header.src.bytes).data(header.dst.bytes).data(header.options).zeros_to_multiple_of(4);
    Bytes encoded = out.take();
    encoded[0] |= header_words(encoded.size(), 60);
    return add({.kind = Kind::Ipv4,
                .header = std::move(encoded),
                .ether_type = 0x0800,
                .protocol = kProtocolIpv4,
                .next_offset = 9,
                .next_width = 1,
                .length_offset = 2,
                .sum_offset = 10,
                .sum = Sum::Header});
}

Packet &Packet::ipv6(const Ipv6 &header) {
    Writer out;
    out.u32(6U << 28U | static_cast<uint32_t>(header.traffic_class) << 20U | (header.flow_label & 0xfffffU));
    out.u16(0).u8(0).u8(header.hop_limit).data(header.src.bytes).data(header.dst.bytes);
    return add({.kind = Kind::Ipv6,
                .header = out.take(),
                .ether_type = 0x86dd,
                .protocol = kProtocolIpv6,
                .next_offset = 6,
                .next_width = 1,
                .length_offset = 4});
}

Packet &Packet::extension(uint8_t protocol, Bytes header) {
    return add({.kind = Kind::Extension,
                .header = std::move(header),
                .protocol = protocol,
                .next_offset = 0,
                .next_width = 1});
}

namespace {

/// The common form of RFC 8200 extension headers: next header, length in 8-byte units without the first, data.
Bytes options_header(const Bytes &data) {
    Bytes header = Writer().u16(0).data(data).zeros_to_multiple_of(8).take();
    if (header.size() > 8 * 256)
        throw std::length_error("IPv6 extension header longer than 2048 bytes");
    header[1] = static_cast<uint8_t>(header.size() / 8 - 1);
    return header;
}

} // namespace

Packet &Packet::hop_by_hop(const Bytes &options) { return extension(IPPROTO_HOPOPTS, options_header(options)); }
Packet &Packet::destination_options(const Bytes &options) {
    return extension(IPPROTO_DSTOPTS, options_header(options));
}

Packet &Packet::routing(const Ipv6Routing &header) {
    const Bytes data = Writer().u8(header.type).u8(header.segments_left).data(header.data).take();
    return extension(IPPROTO_ROUTING, options_header(data));
}

Packet &Packet::fragment(const Ipv6Fragment &header) {
    const unsigned offset_and_more = (header.offset & 0x1fffU) << 3U | (header.more ? 1U : 0U);
    return extension(IPPROTO_FRAGMENT, Writer().u16(0).u16(offset_and_more).u32(header.id).take());
}

Packet &Packet::authentication(uint32_t spi, uint32_t sequence, const Bytes &check_value) {
    Bytes header = Writer().u16(0).u16(0).u32(spi).u32(sequence).data(check_value).zeros_to_multiple_of(4).take();
    header[1] = static_cast<uint8_t>(header_words(header.size(), 4 * 257) - 2U); // RFC 4302 section 2.2
    return extension(IPPROTO_AH, std::move(header));
}

Packet &Packet::tcp(const Tcp &header) {
    Writer out;
    out.u16(header.src_port).u16(header.dst_port).u32(header.seq).u32(header.ack).u8(0).u8(header.flags);
    out.u16(header.window).u16(0).u16(header.urgent).data(header.options).zeros_to_multiple_of(4);
    Bytes encoded = out.take();
    encoded[12] = static_cast<uint8_t>(header_words(encoded.size(), 60) << 4U);
    return add({.kind = Kind::Transport,
                .header = std::move(encoded),
                .protocol = IPPROTO_TCP,
                .sum_offset = 16,
                .sum = Sum::Pseudo});
}

Packet &Packet::udp(uint16_t src_port, uint16_t dst_port) {
    return add({.kind = Kind::Transport,
                .header = Writer().u16(src_port).u16(dst_port).u32(0).take(),
                .protocol = IPPROTO_UDP,
                .length_offset = 4,
                .sum_offset = 6,
                .sum = Sum::Pseudo});
}

Packet &Packet::sctp(uint16_t src_port, uint16_t dst_port, uint32_t verification_tag) {
    return add({.kind = Kind::Transport,
                .header = Writer().u16(src_port).u16(dst_port).u32(verification_tag).u32(0).take(),
                .protocol = IPPROTO_SCTP,
                .sum_offset = 8,
                .sum = Sum::Crc});
}

Packet &Packet::icmp(const Icmp &header) {
    return add({.kind = Kind::Transport,
                .header = Writer().u8(header.type).u8(header.code).u16(0).u32(header.rest).take(),
                .protocol = IPPROTO_ICMP,
                .sum_offset = 2,
                .sum = Sum::Message});
}

Packet &Packet::icmpv6(const Icmp &header) {
    icmp(header);
    last().protocol = IPPROTO_ICMPV6;
    last().sum = Sum::Pseudo;
    return *this;
}

Packet &Packet::vxlan(uint32_t vni) { return add({.header = Writer().u32(0x08000000).u32(vni << 8U).take()}); }

Packet &Packet::gre() {
    return add({.kind = Kind::Link,
                .header = Writer().u32(0).take(),
                .protocol = IPPROTO_GRE,
                .next_offset = 2,
                .next_width = 2});
}

Packet &Packet::payload(size_t size) {
    Bytes data(size);
    for (size_t i = 0; i < size; ++i)
        data[i] = static_cast<uint8_t>(i);
    return raw(data);
}

Packet &Packet::raw(const Bytes &data) { return add({.header = data, .protocol = IPPROTO_NONE}); }

Packet &Packet::next_type(uint16_t value) {
    last().given_next = value;
    return *this;
}

Packet &Packet::length(uint16_t value) {
    last().given_length = value;
    return *this;
}

Packet &Packet::checksum(uint32_t value) {
    last().sum_mode = SumMode::Given;
    last().given_sum = value;
    return *this;
}

Packet &Packet::wrong_checksum() {
    last().sum_mode = SumMode::Wrong;
    return *this;
}

Packet &Packet::partial_checksum() {
    last().sum_mode = SumMode::Partial;
    return *this;
}

Packet &Packet::pad_to(size_t size) {
    padded_size_ = size;
    return *this;
}

Packet &Packet::truncate(size_t size) {
    truncated_size_ = size;
    return *this;
}

Packet &Packet::add(Layer layer) {
    layers_.push_back(std::move(layer));
    return *this;
}

Packet::Layer &Packet::last() {
    if (layers_.empty())
        throw std::logic_error("the packet has no layer yet");
    return layers_.back();
}

Bytes Packet::bytes() const {
    Bytes frame;
    std::vector<size_t> starts;
    for (const Layer &layer : layers_) {
        starts.push_back(frame.size());
        frame.insert(frame.end(), layer.header.begin(), layer.header.end());
    }
    // All lengths before any checksum, and inner checksums before outer ones: sums cover what lies behind them.
    for (size_t i = 0; i < layers_.size(); ++i) {
        link(frame, i, starts[i]);
        write_length(frame, layers_[i], starts[i]);
    }
    for (size_t i = layers_.size(); i-- > 0;)
        write_checksum(frame, i, starts);
    frame.resize(std::max(frame.size(), padded_size_));
    frame.resize(std::min(frame.size(), truncated_size_.value_or(frame.size())));
    return frame;
}

size_t Packet::transport_index() const {
    for (size_t i = layers_.size(); i-- > 0;)
        if (layers_[i].kind == Kind::Transport)
            return i;
    throw std::logic_error("the packet has no transport header");
}

size_t Packet::transport_offset() const {
    size_t offset = 0;
    for (size_t i = 0, end = transport_index(); i < end; ++i)
        offset += layers_[i].header.size();
    return offset;
}

size_t Packet::transport_checksum_offset() const { return layers_[transport_index()].sum_offset; }
size_t Packet::transport_header_size() const { return layers_[transport_index()].header.size(); }

void Packet::link(Bytes &frame, size_t index, size_t start) const {
    const Layer &layer = layers_[index];
    if (layer.next_width == 0)
        return;
    uint16_t next = 0;
    if (layer.given_next)
        next = *layer.given_next;
    else if (index + 1 < layers_.size())
        next = layer.next_width == 2 ? layers_[index + 1].ether_type : layers_[index + 1].protocol;
    else if (layer.next_width == 1)
        next = IPPROTO_NONE;
    if (layer.next_width == 2)
        put16(frame, start + layer.next_offset, next);
    else
        frame[start + layer.next_offset] = static_cast<uint8_t>(next);
}

void Packet::write_length(Bytes &frame, const Layer &layer, size_t start) const {
    if (layer.length_offset == 0)
        return;
    const size_t counted_from = layer.kind == Kind::Ipv6 ? start + layer.header.size() : start;
    const size_t length = frame.size() - counted_from;
    // Linux writes 0 for what 16 bits cannot hold (BIG TCP, jumbograms).
    put16(frame, start + layer.length_offset, layer.given_length.value_or(length > 0xffff ? 0 : length));
}

void Packet::write_checksum(Bytes &frame, size_t index, const std::vector<size_t> &starts) const {
    const Layer &layer = layers_[index];
    const size_t start = starts[index];
    const size_t field = start + layer.sum_offset;
    if (layer.sum == Sum::None)
        return;
    const auto covered = std::span<const uint8_t>(frame).subspan(
        start, layer.sum == Sum::Header ? layer.header.size() : frame.size() - start);
    if (layer.sum == Sum::Crc) {
        uint32_t crc = crc32c(covered);
        if (layer.sum_mode != SumMode::Right)
            crc = layer.sum_mode == SumMode::Given ? layer.given_sum : ~crc;
        for (size_t i = 0; i < 4; ++i) // the CRC is reflected: its low byte goes first
            frame[field + i] = static_cast<uint8_t>(crc >> 8U * i);
        return;
    }
    const uint32_t pseudo = layer.sum == Sum::Pseudo ? pseudo_header_sum(frame, index, starts) : 0;
    uint16_t value = internet_checksum(covered, pseudo);
    if (value == 0 && layer.protocol == IPPROTO_UDP)
        value = 0xffff; // RFC 768: zero means "none was computed"
    switch (layer.sum_mode) {
    case SumMode::Right:
        break;
    case SumMode::Given:
        value = static_cast<uint16_t>(layer.given_sum);
        break;
    case SumMode::Wrong:
        // 0x5555 away can neither be the other zero of ones-complement arithmetic nor UDP's "none".
        value = static_cast<uint16_t>(value == 0x5555 ? 0x1234 : value ^ 0x5555);
        break;
    case SumMode::Partial:
        value = ones_complement_sum({}, pseudo);
        break;
    }
    put16(frame, field, value);
}

uint32_t Packet::pseudo_header_sum(const Bytes &frame, size_t index, const std::vector<size_t> &starts) const {
    size_t ip = index;
    while (ip > 0 && layers_[ip - 1].kind == Kind::Extension)
        --ip;
    if (ip == 0)
        return 0;
    --ip;
    const bool ipv6 = layers_[ip].kind == Kind::Ipv6;
    if (!ipv6 && layers_[ip].kind != Kind::Ipv4)
        return 0;
    const auto length = static_cast<uint32_t>(frame.size() - starts[index]);
    return ntohs(
        checksum_fold(checksum_pseudo_header(frame.data() + starts[ip], ipv6, layers_[index].protocol, length)));
}

} // namespace tapflow::packet
