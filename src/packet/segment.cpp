// SPDX-License-Identifier: BSD-3-Clause
#include "packet/segment.h"

#include "packet/checksum.h"
#include "tapflow/abi/packet_class.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace tapflow::packet {
namespace {

constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr size_t kUdpHeader = 8;
constexpr uint8_t kTcpFin = 0x01;
constexpr uint8_t kTcpPsh = 0x08;
constexpr uint8_t kTcpCwr = 0x80;

uint32_t load_be(const uint8_t *at, size_t bytes) {
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

void store_be(uint8_t *at, uint32_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        at[i] = static_cast<uint8_t>(value >> (8 * (bytes - 1 - i)));
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
    super.l3_offset_ = record.l3_offset;
    super.l4_offset_ = record.l4_offset;
    super.segment_size_ = record.gso_size;
    super.tcp_ = record.gso_type == TAPFLOW_GSO_TCP;
    super.ipv6_ = record.packet_class >= TAPFLOW_CLASS_IPV6_OTHER;
    const uint8_t expected =
        static_cast<uint8_t>(super.ipv6_ ? (super.tcp_ ? TAPFLOW_CLASS_IPV6_TCP : TAPFLOW_CLASS_IPV6_UDP)
                                         : (super.tcp_ ? TAPFLOW_CLASS_IPV4_TCP : TAPFLOW_CLASS_IPV4_UDP));
    const size_t fixed = super.tcp_ ? 20 : kUdpHeader;
    if (record.packet_class != expected || record.gso_size == 0 || record.l4_offset + fixed > record.length)
        return std::nullopt;
    const size_t l4_length = super.tcp_ ? (frame[record.l4_offset + 12] >> 4) * size_t{4} : kUdpHeader;
    const size_t header = record.l4_offset + l4_length;
    if (l4_length < fixed || header >= record.length)
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

    if (ipv6_) {
        store_be(ip + 4, static_cast<uint32_t>(l4_offset_ - l3_offset_ - 40) + datagram, 2);
    } else {
        store_be(ip + 2, static_cast<uint32_t>(l4_offset_ - l3_offset_) + datagram, 2);
        store_be(ip + 4, load_be(ip + 4, 2) + segment, 2);
        std::memset(ip + 10, 0, 2);
        const auto sum =
            static_cast<uint16_t>(~checksum_fold(checksum_add(0, ip, static_cast<size_t>(l4_offset_ - l3_offset_))));
        std::memcpy(ip + 10, &sum, sizeof(sum));
    }

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

    uint64_t sum = checksum_pseudo_header(ip, ipv6_, tcp_ ? kTcp : kUdp, datagram);
    uint16_t value = checksum_fold(sum);
    if (field == ChecksumField::Complete) {
        std::memset(checksum, 0, 2);
        sum = checksum_add(sum, l4, l4_length);
        value = static_cast<uint16_t>(~checksum_fold(checksum_add(sum, data.data(), data.size())));
        if (value == 0 && !tcp_)
            value = 0xffff; // RFC 768: zero means that there is none
    }
    std::memcpy(checksum, &value, sizeof(value));
}

} // namespace tapflow::packet
