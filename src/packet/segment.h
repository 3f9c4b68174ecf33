// SPDX-License-Identifier: BSD-3-Clause
// Cutting a GSO super-frame into the packets that would have been on the wire (net/ipv4/tcp_offload.c, udp_offload.c).
#pragma once

#include "tapflow/abi/record.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace tapflow::packet {

/// What a segment's L4 checksum field is to hold.
enum class ChecksumField : uint8_t {
    Complete,     ///< the checksum
    PseudoHeader, ///< the sum over the pseudo-header alone, as hardware wants it for Tx offload
};

/// A super-frame in a ring record. Refers to the record's memory.
class SuperFrame {
  public:
    /// The most that header_length() can be: no real stack of headers comes near it.
    static constexpr size_t kHeaderMax = 640;

    /// Nothing if the headers do not fit into the frame or contradict the record.
    static std::optional<SuperFrame> parse(const tapflow_record &record, const uint8_t *frame);

    [[nodiscard]] unsigned segments() const {
        return static_cast<unsigned>((payload_.size() + segment_size_ - 1) / segment_size_);
    }
    /// Bytes of headers in front of each segment's payload.
    [[nodiscard]] size_t header_length() const { return header_.size(); }
    [[nodiscard]] std::span<const uint8_t> payload(unsigned segment) const;
    /// Writes the headers of a segment, header_length() bytes. In a tunnel every checksum is complete.
    void write_header(unsigned segment, ChecksumField field, uint8_t *out) const;

  private:
    /// The IP header around the tunnel that the segments' own headers are in.
    struct Outer {
        uint16_t l3_offset;
        uint16_t l4_offset;
        bool ipv6;
        bool udp;
        bool checksum; ///< the UDP checksum is in use
    };

    void write_outer_header(unsigned segment, size_t payload, uint64_t payload_sum, uint8_t *out) const;

    std::span<const uint8_t> header_;
    std::span<const uint8_t> payload_;
    std::optional<Outer> outer_;
    uint16_t l3_offset_ = 0;
    uint16_t l4_offset_ = 0;
    uint16_t segment_size_ = 0;
    bool tcp_ = false;
    bool ipv6_ = false;
};

} // namespace tapflow::packet
