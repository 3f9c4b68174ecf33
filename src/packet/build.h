// SPDX-License-Identifier: BSD-3-Clause
// Frames written the way one would say them, for tests, `tapflowctl explain` and fuzz corpora.
#pragma once

#include "tapflow/mac_address.h"
#include "tapflow/result.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::packet {

using Bytes = std::vector<uint8_t>;

// Addresses in network order. Their `const char *` constructors are for literals and throw std::invalid_argument on
// bad text; text from outside goes through the parse functions.

struct Mac : MacAddress {
    Mac() = default;
    Mac(const MacAddress &address) : MacAddress(address) {} // NOLINT(google-explicit-constructor)
    Mac(const char *text);                                  // NOLINT(google-explicit-constructor)
};

struct Ipv4Address {
    std::array<uint8_t, 4> bytes{};

    Ipv4Address() = default;
    Ipv4Address(const char *text); // NOLINT(google-explicit-constructor)
    bool operator==(const Ipv4Address &) const = default;
};

struct Ipv6Address {
    std::array<uint8_t, 16> bytes{};

    Ipv6Address() = default;
    Ipv6Address(const char *text); // NOLINT(google-explicit-constructor)
    bool operator==(const Ipv6Address &) const = default;
};

/// "02:00:00:00:00:01": six times two hexadecimal digits. The error names the text, as in the two below.
Result<MacAddress> parse_mac(std::string_view text);
/// Dotted decimal, as inet_pton(3).
Result<Ipv4Address> parse_ipv4(std::string_view text);
/// RFC 4291 text, as inet_pton(3).
Result<Ipv6Address> parse_ipv6(std::string_view text);

[[nodiscard]] std::string to_string(const Ipv4Address &address);
[[nodiscard]] std::string to_string(const Ipv6Address &address);

/// The ones-complement sum of big-endian 16-bit words (RFC 1071), folded but not inverted; an odd last byte counts
/// as the high half of a word. Over data that holds its own checksum it is 0xffff when the checksum is right.
[[nodiscard]] uint16_t ones_complement_sum(std::span<const uint8_t> data, uint32_t initial = 0);

/// The value for a checksum field, in host order: the inverted ones_complement_sum().
[[nodiscard]] uint16_t internet_checksum(std::span<const uint8_t> data, uint32_t initial = 0);

/// CRC-32C (Castagnoli), the checksum of SCTP (RFC 9260 appendix A).
[[nodiscard]] uint32_t crc32c(std::span<const uint8_t> data);

struct Vlan {
    uint16_t vid = 0;
    uint8_t pcp = 0;
    bool dei = false;
    uint16_t tpid = 0x8100; ///< written where the layer before names what follows; 0x88a8 for an S-tag
};

struct Ipv4 {
    Ipv4Address src{};
    Ipv4Address dst{};
    uint8_t tos = 0;
    uint16_t id = 0;
    bool dont_fragment = false;
    bool more_fragments = false;
    uint16_t fragment_offset = 0; ///< in units of 8 bytes
    uint8_t ttl = 64;
    Bytes options{}; ///< padded with zeros to a multiple of 4; at most 40 bytes
};

struct Ipv6 {
    Ipv6Address src{};
    Ipv6Address dst{};
    uint8_t traffic_class = 0;
    uint32_t flow_label = 0;
    uint8_t hop_limit = 64;
};

struct Ipv6Fragment {
    uint16_t offset = 0; ///< in units of 8 bytes
    bool more = false;
    uint32_t id = 0;
};

struct Ipv6Routing {
    uint8_t type = 0;
    uint8_t segments_left = 0;
    Bytes data = Bytes(4, 0); ///< everything behind segments_left, padded with zeros to the 8-byte grid
};

namespace tcp_flag {
inline constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10, kUrg = 0x20, kEce = 0x40,
                         kCwr = 0x80;
}

struct Tcp {
    uint16_t src_port = 0;
    uint16_t dst_port = 0;
    uint32_t seq = 0;
    uint32_t ack = 0;
    uint8_t flags = tcp_flag::kAck;
    uint16_t window = 0xffff;
    uint16_t urgent = 0;
    Bytes options{}; ///< padded with zeros to a multiple of 4; at most 40 bytes
};

struct Icmp {
    uint8_t type = 8;
    uint8_t code = 0;
    uint32_t rest = 0; ///< the second word: identifier and sequence number of an echo, MTU, pointer …
};

struct Arp {
    uint16_t operation = 1;
    Mac sender_mac{};
    Ipv4Address sender_ip{};
    Mac target_mac{};
    Ipv4Address target_ip{};
};

/// A frame as a stack of layers, outermost first. A value: copy it and go on with either copy.
///
///     Packet().ether().vlan(5).ipv4("10.0.0.1", "10.0.0.2").udp(53, 4000).payload(64).bytes()
///
/// Every layer's link to the next one (ethertype, protocol, next header), its length and its checksum follow from
/// the layers around it unless a call says otherwise. The calls below "about the last layer" change the layer added
/// last. All integers are in host order. Headers that cannot be encoded (too many options) throw std::length_error.
/// A routing header does not change the destination in the pseudo header: it is the IPv6 header's own.
class Packet {
  public:
    Packet &ether(const Mac &dst = "02:00:00:00:00:02", const Mac &src = "02:00:00:00:00:01");
    Packet &vlan(const Vlan &tag);
    Packet &vlan(uint16_t vid) { return vlan(Vlan{.vid = vid}); }
    Packet &arp(const Arp &message);

    Packet &ipv4(const Ipv4 &header);
    Packet &ipv4(const Ipv4Address &src, const Ipv4Address &dst) { return ipv4(Ipv4{.src = src, .dst = dst}); }
    Packet &ipv6(const Ipv6 &header);
    Packet &ipv6(const Ipv6Address &src, const Ipv6Address &dst) { return ipv6(Ipv6{.src = src, .dst = dst}); }

    /// Extension headers, in the order they stand on the wire. Without options they carry one PadN.
    Packet &hop_by_hop(const Bytes &options = {1, 4, 0, 0, 0, 0});
    Packet &destination_options(const Bytes &options = {1, 4, 0, 0, 0, 0});
    Packet &routing(const Ipv6Routing &header = {});
    Packet &fragment(const Ipv6Fragment &header);
    /// AH (RFC 4302), behind either IP version. The check value is padded to 4 bytes.
    Packet &authentication(uint32_t spi, uint32_t sequence, const Bytes &check_value = Bytes(12, 0));

    Packet &tcp(const Tcp &header);
    Packet &tcp(uint16_t src_port, uint16_t dst_port) { return tcp(Tcp{.src_port = src_port, .dst_port = dst_port}); }
    Packet &udp(uint16_t src_port, uint16_t dst_port);
    Packet &sctp(uint16_t src_port, uint16_t dst_port, uint32_t verification_tag = 0);
    Packet &icmp(const Icmp &header = {});
    Packet &icmpv6(const Icmp &header = {.type = 128});

    /// Tunnels: the next layer is an inner ether() (or, behind gre(), any network header).
    Packet &vxlan(uint32_t vni);
    Packet &gre();

    /// `size` bytes counting up from 0.
    Packet &payload(size_t size);
    /// Literal bytes.
    Packet &raw(const Bytes &data);

    /// About the last layer: the ethertype, protocol or next header it names, instead of that of the next layer.
    Packet &next_type(uint16_t value);
    /// About the last layer: a length field (IPv4, IPv6, UDP) that does not fit the packet.
    Packet &length(uint16_t value);
    /// About the last layer: this checksum, right or wrong. Zero with udp() is "no checksum".
    Packet &checksum(uint32_t value);
    /// About the last layer: a checksum that is certainly not the right one.
    Packet &wrong_checksum();
    /// About the last layer (TCP or UDP): only the pseudo header's sum, as the kernel's CHECKSUM_PARTIAL wants it.
    Packet &partial_checksum();

    /// About the whole frame: zeros behind the last layer up to `size`, which no length field counts.
    Packet &pad_to(size_t size);
    /// About the whole frame: cut to `size` bytes after all fields were computed.
    Packet &truncate(size_t size);

    /// The frame.
    [[nodiscard]] Bytes bytes() const;
    /// Where the innermost TCP, UDP, SCTP or ICMP header starts in bytes() (csum_start of a virtio_net_hdr), the place
    /// of the checksum in it (csum_offset), and its size. std::logic_error if there is none.
    [[nodiscard]] size_t transport_offset() const;
    [[nodiscard]] size_t transport_checksum_offset() const;
    [[nodiscard]] size_t transport_header_size() const;

  private:
    enum class Kind : uint8_t { Link, Ipv4, Ipv6, Extension, Transport, Other };
    enum class Sum : uint8_t { None, Header, Message, Pseudo, Crc };
    enum class SumMode : uint8_t { Right, Given, Wrong, Partial };

    /// One header, and the places of its fields that depend on the layers around it.
    struct Layer {
        Kind kind = Kind::Other;
        Bytes header{};
        uint16_t ether_type = 0;  ///< how a link layer names this one
        uint8_t protocol = 0;     ///< how an IP header names this one
        size_t next_offset = 0;   ///< where this layer names the next one …
        size_t next_width = 0;    ///< … in 0, 1 or 2 bytes
        size_t length_offset = 0; ///< 0: no length field
        size_t sum_offset = 0;
        Sum sum = Sum::None;
        SumMode sum_mode = SumMode::Right;
        uint32_t given_sum = 0;
        std::optional<uint16_t> given_next{};
        std::optional<uint16_t> given_length{};
    };

    Packet &add(Layer layer);
    Packet &extension(uint8_t protocol, Bytes header);
    Layer &last();
    [[nodiscard]] size_t transport_index() const;
    void link(Bytes &frame, size_t index, size_t start) const;
    void write_length(Bytes &frame, const Layer &layer, size_t start) const;
    void write_checksum(Bytes &frame, size_t index, const std::vector<size_t> &starts) const;
    [[nodiscard]] uint32_t pseudo_header_sum(const Bytes &frame, size_t index, const std::vector<size_t> &starts) const;

    std::vector<Layer> layers_;
    size_t padded_size_ = 0;
    std::optional<size_t> truncated_size_;
};

} // namespace tapflow::packet
