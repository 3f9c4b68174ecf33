// SPDX-License-Identifier: BSD-3-Clause
#include "flow/example_frame.h"

#include "flow/reference_matcher.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace tapflow::flow {
namespace {

/// A key of the match's, with what it does not say random.
tapflow_flow_key random_key(const Match &match, std::mt19937_64 &random) {
    std::array<uint64_t, TAPFLOW_FLOW_WORDS> words{};
    for (size_t i = 0; i < words.size(); i++)
        words[i] = (random() & ~word_of(match.mask, i)) | word_of(match.value, i);
    for (size_t i = 0; i < match.range_count; i++) {
        const Range &range = match.ranges[i];
        const uint32_t span = range.high - range.low;
        const std::array<uint32_t, 3> choices{range.low, range.high,
                                              range.low + static_cast<uint32_t>(random() % (uint64_t{span} + 1))};
        const uint64_t chosen = choices[random() % choices.size()] & range.bits;
        uint64_t word = __builtin_bswap64(words[range.word]);
        word = (word & ~(uint64_t{range.bits} << range.shift)) | chosen << range.shift;
        words[range.word] = __builtin_bswap64(word);
    }
    tapflow_flow_key key;
    std::memcpy(&key, words.data(), sizeof(key));
    return key;
}

uint16_t host16(uint16_t wire) { return __builtin_bswap16(wire); }

/// The headers that a match asks for, and those that must be there below them.
class Builder {
  public:
    Builder(const Match &match, const tapflow_flow_key &key, std::mt19937_64 &random)
        : wanted_(match.value.layers), outer_(key.outer), random_(random) {}

    std::optional<packet::Bytes> build() {
        constexpr uint32_t kBuilt = TAPFLOW_LAYER_ETH | TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_VLAN2 | TAPFLOW_LAYER_ARP |
                                    TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_IPV6 | TAPFLOW_LAYER_TCP | TAPFLOW_LAYER_UDP |
                                    TAPFLOW_LAYER_SCTP | TAPFLOW_LAYER_ICMP | TAPFLOW_LAYER_ICMP6;
        if (wanted_ & ~kBuilt)
            return std::nullopt;
        packet::Mac destination;
        packet::Mac source;
        std::copy(std::begin(outer_.eth_dst), std::end(outer_.eth_dst), destination.bytes.begin());
        std::copy(std::begin(outer_.eth_src), std::end(outer_.eth_src), source.bytes.begin());
        packet_.ether(destination, source);
        if (asks(TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_VLAN2))
            tag(outer_.vlan_tci);
        if (asks(TAPFLOW_LAYER_VLAN2))
            tag(outer_.vlan2_tci);
        add_network();
        return packet_.payload(random_() % 40).bytes();
    }

  private:
    [[nodiscard]] bool asks(uint32_t layers) const { return (wanted_ & layers) != 0; }

    void tag(uint16_t tci) {
        const uint16_t value = host16(tci);
        packet::Vlan tag;
        tag.vid = value & 0xfff;
        tag.pcp = static_cast<uint8_t>(value >> 13);
        tag.dei = (value & 0x1000) != 0;
        packet_.vlan(tag);
    }

    void add_network() {
        if (asks(TAPFLOW_LAYER_ARP)) {
            packet::Arp message;
            message.operation = static_cast<uint16_t>(outer_.l4[0] << 8 | outer_.l4[1]);
            std::copy_n(outer_.ip_src, 4, message.sender_ip.bytes.begin());
            std::copy_n(outer_.ip_src + 4, 6, message.sender_mac.bytes.begin());
            std::copy_n(outer_.ip_dst, 4, message.target_ip.bytes.begin());
            std::copy_n(outer_.ip_dst + 4, 6, message.target_mac.bytes.begin());
            packet_.arp(message);
            return;
        }
        if (asks(TAPFLOW_LAYER_IPV6 | TAPFLOW_LAYER_ICMP6)) {
            packet::Ipv6 header;
            std::copy_n(outer_.ip_src, 16, header.src.bytes.begin());
            std::copy_n(outer_.ip_dst, 16, header.dst.bytes.begin());
            header.traffic_class = static_cast<uint8_t>(outer_.ip_first[0] << 4 | outer_.ip_first[1] >> 4);
            header.flow_label = static_cast<uint32_t>(outer_.ip_first[1] & 15) << 16 |
                                static_cast<uint32_t>(outer_.ip_first[2]) << 8 | outer_.ip_first[3];
            header.hop_limit = outer_.ip_ttl;
            packet_.ipv6(header);
        } else {
            packet::Ipv4 header;
            std::copy_n(outer_.ip_src, 4, header.src.bytes.begin());
            std::copy_n(outer_.ip_dst, 4, header.dst.bytes.begin());
            header.tos = outer_.ip_first[1];
            header.ttl = outer_.ip_ttl;
            packet_.ipv4(header);
        }
        add_transport();
    }

    void add_transport() {
        const auto source = static_cast<uint16_t>(outer_.l4[0] << 8 | outer_.l4[1]);
        const auto destination = static_cast<uint16_t>(outer_.l4[2] << 8 | outer_.l4[3]);
        const uint8_t protocol = outer_.ip_proto;
        if (asks(TAPFLOW_LAYER_TCP) || (!asks_transport() && protocol == 6)) {
            packet::Tcp header;
            header.src_port = source;
            header.dst_port = destination;
            header.flags = outer_.l4_more[1];
            packet_.tcp(header);
        } else if (asks(TAPFLOW_LAYER_UDP) || (!asks_transport() && protocol == 17)) {
            packet_.udp(source, destination);
        } else if (asks(TAPFLOW_LAYER_SCTP)) {
            packet_.sctp(source, destination);
        } else if (asks(TAPFLOW_LAYER_ICMP)) {
            packet_.icmp({.type = outer_.l4[0], .code = outer_.l4[1]});
        } else if (asks(TAPFLOW_LAYER_ICMP6)) {
            packet_.icmpv6({.type = outer_.l4[0], .code = outer_.l4[1]});
        } else {
            packet_.next_type(protocol);
        }
    }
    [[nodiscard]] bool asks_transport() const {
        return asks(TAPFLOW_LAYER_TCP | TAPFLOW_LAYER_UDP | TAPFLOW_LAYER_SCTP | TAPFLOW_LAYER_ICMP |
                    TAPFLOW_LAYER_ICMP6);
    }

    uint32_t wanted_;
    const tapflow_flow_headers &outer_;
    std::mt19937_64 &random_;
    packet::Packet packet_;
};

} // namespace

std::optional<packet::Bytes> example_frame(const Match &match, std::mt19937_64 &random) {
    const tapflow_flow_key key = random_key(match, random);
    auto frame = Builder(match, key, random).build();
    if (frame && !matches(match, reference_key(*frame)))
        return std::nullopt;
    return frame;
}

} // namespace tapflow::flow
