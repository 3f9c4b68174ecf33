// SPDX-License-Identifier: BSD-3-Clause
#include "packet/segment.h"

#include "packet/byte_order.h"
#include "packet/checksum.h"
#include "tapflow/abi/packet_class.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace tapflow::packet {
namespace {

constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr size_t kIpv4Header = 20;
constexpr size_t kIpv6Header = 40;
constexpr size_t kTcpHeader = 20;
constexpr size_t kUdpHeader = 8;
constexpr uint8_t kTcpFin = 0x01;
constexpr uint8_t kTcpPsh = 0x08;
constexpr uint8_t kTcpCwr = 0x80;

/// Sets the length, the IPv4 identification and header checksum of a segment's IP header, `header` bytes long with
/// options or extensions, in front of `content` bytes.
void set_ip_length(uint8_t *ip, bool ipv6, size_t header, uint32_t content, unsigned segment) {
    const auto total = static_cast<uint32_t>(header) + content;
    if (ipv6) {
        store_be(ip + 4, total - static_cast<uint32_t>(kIpv6Header), 2);
        return;
    }
    store_be(ip + 2, total, 2);
    store_be(ip + 4, load_be(ip + 4, 2) + segment, 2);
    std::memset(ip + 10, 0, 2);
    const auto sum = static_cast<uint16_t>(~checksum_fold(checksum_add(0, ip, header)));
    std::memcpy(ip + 10, &sum, sizeof(sum));
}

void store_checksum(uint8_t *field, uint64_t sum, bool zero_allowed) {
    auto value = static_cast<uint16_t>(~checksum_fold(sum));
    if (value == 0 && !zero_allowed)
        value = 0xffff; // RFC 768: zero means that there is none
    std::memcpy(field, &value, sizeof(value));
}

} // namespace

uint64_t checksum_pseudo_header(const uint8_t *ip, bool ipv6, uint8_t protocol, uint32_t length) {
    std::array<uint8_t, 8> tail{};
    store_be(tail.data(), length, 4);
    tail[7] = protocol;
    const uint64_t addresses = ipv6 ? checksum_add(0, ip + 8, 32) : checksum_add(0, ip + 12, 8);
    return checksum_add(addresses, tail.data(), tail.size());
}

std::optional<SuperFrame> SuperFrame::parse(const tapflow_record &record, const uint8_t *frame) {
    SuperFrame super;
    if (record.l3_offset == 0 || record.gso_size == 0)
        return std::nullopt;
    super.l3_offset_ = record.l3_offset;
    super.l4_offset_ = record.l4_offset;
    super.segment_size_ = record.gso_size;
    super.tcp_ = record.gso_type == TAPFLOW_GSO_TCP;
    const bool tcp = record.packet_class == TAPFLOW_CLASS_IPV4_TCP || record.packet_class == TAPFLOW_CLASS_IPV6_TCP;
    const bool udp = record.packet_class == TAPFLOW_CLASS_IPV4_UDP || record.packet_class == TAPFLOW_CLASS_IPV6_UDP;
    if (record.inner_l3_offset == 0) {
        if (super.tcp_ ? !tcp : !udp)
            return std::nullopt;
    } else {
        super.outer_ = Outer{record.l3_offset, record.l4_offset, record.packet_class >= TAPFLOW_CLASS_IPV6_OTHER, udp,
                             (record.flags & TAPFLOW_RECORD_TUNNEL_CSUM) != 0};
        super.l3_offset_ = record.inner_l3_offset;
        super.l4_offset_ = record.flags & TAPFLOW_RECORD_CSUM_PARTIAL ? record.csum_start : uint16_t{0};
        const size_t outer_end = record.l4_offset + (udp ? kUdpHeader : 0);
        const size_t outer_fixed = super.outer_->ipv6 ? kIpv6Header : kIpv4Header;
        if (record.l4_offset < record.l3_offset + outer_fixed || record.inner_l3_offset < outer_end)
            return std::nullopt;
    }
    const size_t l4_fixed = super.tcp_ ? kTcpHeader : kUdpHeader;
    if (super.l4_offset_ + l4_fixed > record.length || super.l4_offset_ <= super.l3_offset_)
        return std::nullopt;
    super.ipv6_ = frame[super.l3_offset_] >> 4 == 6;
    if (super.l4_offset_ < super.l3_offset_ + (super.ipv6_ ? kIpv6Header : kIpv4Header))
        return std::nullopt;
    const size_t l4_length = super.tcp_ ? (frame[super.l4_offset_ + 12] >> 4) * size_t{4} : kUdpHeader;
    const size_t header = super.l4_offset_ + l4_length;
    if (l4_length < l4_fixed || header >= record.length || header > kHeaderMax)
        return std::nullopt;
    super.header_ = {frame, header};
    super.payload_ = {frame + header, record.length - header};
    return super;
}

std::span<const uint8_t> SuperFrame::payload(unsigned segment) const {
    const size_t offset = size_t{segment} * segment_size_;
    return payload_.subspan(offset, std::min<size_t>(segment_size_, payload_.size() - offset));
}

void SuperFrame::write_header(unsigned segment, ChecksumField field, uint8_t *out) const {
    const std::span<const uint8_t> data = payload(segment);
    const size_t l4_length = header_.size() - l4_offset_;
    const auto datagram = static_cast<uint32_t>(l4_length + data.size());
    std::memcpy(out, header_.data(), header_.size());
    uint8_t *ip = out + l3_offset_;
    uint8_t *l4 = out + l4_offset_;
    set_ip_length(ip, ipv6_, static_cast<size_t>(l4_offset_ - l3_offset_), datagram, segment);

    uint8_t *checksum = l4 + (tcp_ ? 16 : 6);
    if (tcp_) {
        store_be(l4 + 4, load_be(l4 + 4, 4) + segment * uint32_t{segment_size_}, 4);
        if (segment + 1 < segments())
            l4[13] = static_cast<uint8_t>(l4[13] & ~(kTcpFin | kTcpPsh));
        if (segment > 0)
            l4[13] = static_cast<uint8_t>(l4[13] & ~kTcpCwr);
    } else {
        store_be(l4 + 4, datagram, 2);
    }
    const uint64_t pseudo = checksum_pseudo_header(ip, ipv6_, tcp_ ? kTcp : kUdp, datagram);
    if (field == ChecksumField::PseudoHeader && !outer_) {
        const uint16_t sum = checksum_fold(pseudo);
        std::memcpy(checksum, &sum, sizeof(sum));
        return;
    }
    std::memset(checksum, 0, 2);
    const uint64_t payload_sum = checksum_add(0, data.data(), data.size());
    store_checksum(checksum, checksum_add(pseudo, l4, l4_length) + payload_sum, tcp_);
    if (outer_)
        write_outer_header(segment, data.size(), payload_sum, out);
}

void SuperFrame::write_outer_header(unsigned segment, size_t payload, uint64_t payload_sum, uint8_t *out) const {
    uint8_t *ip = out + outer_->l3_offset;
    uint8_t *l4 = out + outer_->l4_offset;
    const size_t inside = header_.size() - outer_->l4_offset;
    const auto datagram = static_cast<uint32_t>(inside + payload);
    set_ip_length(ip, outer_->ipv6, static_cast<size_t>(outer_->l4_offset - outer_->l3_offset), datagram, segment);
    if (!outer_->udp)
        return;
    store_be(l4 + 4, datagram, 2);
    std::memset(l4 + 6, 0, 2);
    if (outer_->checksum) {
        const uint64_t pseudo = checksum_pseudo_header(ip, outer_->ipv6, kUdp, datagram);
        store_checksum(l4 + 6, checksum_add(pseudo, l4, inside) + payload_sum, false);
    }
}

} // namespace tapflow::packet
