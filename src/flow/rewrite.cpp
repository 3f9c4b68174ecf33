// SPDX-License-Identifier: BSD-3-Clause
#include "flow/rewrite.h"

#include "packet/byte_order.h"
#include "packet/checksum.h"
#include "packet/parse.h"
#include "tapflow/abi/packet_class.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

namespace tapflow::flow {
namespace {

constexpr size_t kMac = 6;
constexpr size_t kMacs = 2 * kMac; // where a tag goes in
constexpr size_t kTag = 4;
constexpr size_t kEthernetHeader = kMacs + 2;
constexpr size_t kIpv4Header = 20;
constexpr size_t kIpv6Header = 40;
constexpr uint16_t kVidBits = 0x0fff;
constexpr uint16_t kPcpBits = 0xe000;
constexpr unsigned kPcpShift = 13;
constexpr uint8_t kIcmp6 = 58;

/// Where an L4 header's checksum is, for protocols whose checksum counts the IP addresses. 0: it is none of these.
size_t checksum_offset_of(uint8_t protocol) {
    switch (protocol) {
    case TAPFLOW_IPPROTO_TCP:
        return 16;
    case TAPFLOW_IPPROTO_UDP:
        return 6;
    case kIcmp6:
        return 2;
    default:
        return 0;
    }
}

/// What a ones'-complement sum changes by when `before` becomes `after`; both begin at an even place of what is summed.
uint64_t difference(const uint8_t *before, const uint8_t *after, size_t size) {
    const auto less = static_cast<uint16_t>(~packet::checksum_fold(packet::checksum_add(0, before, size)));
    return packet::checksum_add(less, after, size);
}

/// A frame in the course of its changes.
class Frame {
  public:
    Frame(const tapflow_record &record, uint8_t *bytes) : record_(record), bytes_(bytes) {}

    /// False if the record cannot say what has come of it.
    bool change(const Rewrite &rewrite);
    [[nodiscard]] Rewritten result() const { return {record_, bytes_}; }

  private:
    /// A header with a checksum that counts the addresses.
    struct Transport {
        uint8_t protocol = 0;
        size_t offset = 0;
    };

    /// The tag in front of all others.
    struct Tag {
        uint16_t tpid = 0; ///< as on the wire
        uint16_t tci = 0;  ///< host byte order
    };

    [[nodiscard]] bool is_tagged() const;
    [[nodiscard]] std::optional<Tag> tag() const;
    bool move_headers(int bytes);
    bool push_tag(uint16_t tpid);
    void pop_tag();
    void set_tci(uint16_t bits, uint16_t value);

    [[nodiscard]] bool is_ipv4() const;
    [[nodiscard]] bool is_ipv6() const;
    [[nodiscard]] std::optional<Transport> transport() const;
    [[nodiscard]] std::optional<Transport> transport_behind_ipv6() const;
    void set_address(bool right_version, size_t offset, std::span<const uint8_t> address);
    void set_port(size_t offset, uint16_t port);
    void set_ttl(std::optional<uint8_t> value);

    void adjust_ipv4_checksum(uint64_t delta);
    void adjust_transport_checksum(const Transport &transport, uint64_t delta, bool in_pseudo_header);

    [[nodiscard]] bool has(size_t offset, size_t size) const {
        return offset <= record_.length && size <= record_.length - offset;
    }
    [[nodiscard]] uint8_t *ip() const { return bytes_ + record_.l3_offset; }

    tapflow_record record_;
    uint8_t *bytes_;
};

// ---- tags

/// True for a tag in the frame itself.
bool Frame::is_tagged() const {
    const uint16_t type = tapflow_load16(bytes_ + kMacs);
    return (type == TAPFLOW_TPID_8021Q || type == TAPFLOW_TPID_8021AD) && has(kMacs + kTag, 2);
}

std::optional<Frame::Tag> Frame::tag() const {
    if (record_.flags & TAPFLOW_RECORD_VLAN)
        return Tag{record_.vlan_proto, record_.vlan_tci};
    if (is_tagged())
        return Tag{tapflow_load16(bytes_ + kMacs), static_cast<uint16_t>(packet::load_be(bytes_ + kMacs + 2, 2))};
    return std::nullopt;
}

/// Moves what is behind the tags' place by `bytes`, or rather what is in front of it the other way.
bool Frame::move_headers(int bytes) {
    const std::array offsets{&record_.csum_start, &record_.l3_offset, &record_.l4_offset, &record_.inner_l3_offset};
    const size_t first = kMacs + (bytes < 0 ? static_cast<size_t>(-bytes) : 0);
    for (const uint16_t *offset : offsets)
        if (*offset >= first && *offset + bytes > std::numeric_limits<uint16_t>::max())
            return false;
    for (uint16_t *offset : offsets)
        if (*offset >= first)
            *offset = static_cast<uint16_t>(*offset + bytes);
    std::memmove(bytes_ - bytes, bytes_, kMacs);
    bytes_ -= bytes;
    record_.length = static_cast<uint32_t>(static_cast<int64_t>(record_.length) + bytes);
    return true;
}

bool Frame::push_tag(uint16_t tpid) {
    const auto behind = tag();
    if (record_.flags & TAPFLOW_RECORD_VLAN) {
        if (!move_headers(static_cast<int>(kTag)))
            return false;
        std::memcpy(bytes_ + kMacs, &record_.vlan_proto, sizeof(record_.vlan_proto));
        packet::store_be(bytes_ + kMacs + 2, record_.vlan_tci, 2);
    }
    record_.flags |= TAPFLOW_RECORD_VLAN;
    record_.vlan_proto = TAPFLOW_BE16(tpid);
    record_.vlan_tci = behind ? static_cast<uint16_t>(behind->tci & (kVidBits | kPcpBits)) : uint16_t{0};
    return true;
}

void Frame::pop_tag() {
    if (record_.flags & TAPFLOW_RECORD_VLAN) {
        record_.flags = static_cast<uint16_t>(record_.flags & ~TAPFLOW_RECORD_VLAN);
        record_.vlan_proto = 0;
        record_.vlan_tci = 0;
    } else if (is_tagged()) {
        (void)move_headers(-static_cast<int>(kTag));
    }
}

void Frame::set_tci(uint16_t bits, uint16_t value) {
    const auto old = tag();
    if (!old)
        return;
    const auto tci = static_cast<uint16_t>((old->tci & ~bits) | (value & bits));
    if (record_.flags & TAPFLOW_RECORD_VLAN)
        record_.vlan_tci = tci;
    else
        packet::store_be(bytes_ + kMacs + 2, tci, 2);
}

// ---- checksums

void Frame::adjust_ipv4_checksum(uint64_t delta) {
    uint8_t *field = ip() + 10;
    const auto sum = static_cast<uint16_t>(~tapflow_load16(field));
    const auto value = static_cast<uint16_t>(~packet::checksum_fold(sum + delta));
    std::memcpy(field, &value, sizeof(value));
}

void Frame::adjust_transport_checksum(const Transport &transport, uint64_t delta, bool in_pseudo_header) {
    const size_t offset = transport.offset + checksum_offset_of(transport.protocol);
    if (!has(offset, sizeof(uint16_t)))
        return;
    uint8_t *field = bytes_ + offset;
    uint16_t value = tapflow_load16(field);
    const bool udp = transport.protocol == TAPFLOW_IPPROTO_UDP;
    if (record_.flags & TAPFLOW_RECORD_CSUM_PARTIAL && size_t{record_.csum_start} + record_.csum_offset == offset) {
        if (!in_pseudo_header)
            return;
        value = packet::checksum_fold(value + delta);
    } else if (udp && value == 0) {
        return; // there is none (RFC 768; RFC 6935 for tunnels over IPv6)
    } else {
        value = static_cast<uint16_t>(~packet::checksum_fold(static_cast<uint16_t>(~value) + delta));
        if (udp && value == 0)
            value = 0xffff;
    }
    std::memcpy(field, &value, sizeof(value));
}

// ---- IP and what it carries

bool Frame::is_ipv4() const {
    const uint8_t packet_class = record_.packet_class;
    return packet_class >= TAPFLOW_CLASS_IPV4_OTHER && packet_class < TAPFLOW_CLASS_IPV6_OTHER &&
           has(record_.l3_offset, kIpv4Header);
}

bool Frame::is_ipv6() const {
    const uint8_t packet_class = record_.packet_class;
    return packet_class >= TAPFLOW_CLASS_IPV6_OTHER && packet_class < TAPFLOW_CLASS_COUNT &&
           has(record_.l3_offset, kIpv6Header);
}

/// Also that of a first fragment, of which the record says nothing. Need not be in the frame.
std::optional<Frame::Transport> Frame::transport() const {
    if (!is_ipv4() && !is_ipv6())
        return std::nullopt;
    switch (record_.packet_class) {
    case TAPFLOW_CLASS_IPV4_TCP:
    case TAPFLOW_CLASS_IPV6_TCP:
        return Transport{TAPFLOW_IPPROTO_TCP, record_.l4_offset};
    case TAPFLOW_CLASS_IPV4_UDP:
    case TAPFLOW_CLASS_IPV6_UDP:
        return Transport{TAPFLOW_IPPROTO_UDP, record_.l4_offset};
    case TAPFLOW_CLASS_IPV4_FRAGMENT:
        if (packet::load_be(ip() + 6, 2) & 0x1fff || ip()[9] == kIcmp6) // ICMPv6 is not defined over IPv4
            return std::nullopt;
        return Transport{ip()[9], record_.l3_offset + (ip()[0] & 0x0fu) * size_t{4}};
    case TAPFLOW_CLASS_IPV6_OTHER: // ICMPv6 is among them
    case TAPFLOW_CLASS_IPV6_FRAGMENT:
        return transport_behind_ipv6();
    default:
        return std::nullopt;
    }
}

std::optional<Frame::Transport> Frame::transport_behind_ipv6() const {
    uint8_t next = ip()[6];
    size_t offset = record_.l3_offset + kIpv6Header;
    for (int i = 0; i < TAPFLOW_PARSE_EXTENSIONS_MAX; i++) {
        const bool fragment = next == TAPFLOW_IPPROTO_FRAGMENT;
        if (!fragment && next != TAPFLOW_IPPROTO_HOPOPTS && next != TAPFLOW_IPPROTO_ROUTING &&
            next != TAPFLOW_IPPROTO_DSTOPTS)
            break;
        if (!has(offset, 8))
            return std::nullopt;
        const uint8_t *extension = bytes_ + offset;
        if (fragment && packet::load_be(extension + 2, 2) & 0xfff8)
            return std::nullopt;
        next = extension[0];
        offset += fragment ? 8 : (extension[1] + size_t{1}) * 8;
    }
    return Transport{next, offset};
}

void Frame::set_address(bool right_version, size_t offset, std::span<const uint8_t> address) {
    if (!right_version)
        return;
    uint8_t *field = ip() + offset;
    const uint64_t changed = difference(field, address.data(), address.size());
    const auto l4 = transport();
    std::memcpy(field, address.data(), address.size());
    if (is_ipv4())
        adjust_ipv4_checksum(changed);
    if (l4 && checksum_offset_of(l4->protocol) != 0)
        adjust_transport_checksum(*l4, changed, true);
}

void Frame::set_port(size_t offset, uint16_t port) {
    const auto l4 = record_.l4_offset ? transport() : std::nullopt;
    if (!l4 || (l4->protocol != TAPFLOW_IPPROTO_TCP && l4->protocol != TAPFLOW_IPPROTO_UDP) || !has(l4->offset, 4))
        return;
    uint8_t *field = bytes_ + l4->offset + offset;
    std::array<uint8_t, 2> bytes;
    packet::store_be(bytes.data(), port, bytes.size());
    const uint64_t changed = difference(field, bytes.data(), bytes.size());
    std::memcpy(field, bytes.data(), bytes.size());
    adjust_transport_checksum(*l4, changed, false);
}

/// Without a value: one less than before.
void Frame::set_ttl(std::optional<uint8_t> value) {
    if (!is_ipv4() && !is_ipv6())
        return;
    const size_t offset = is_ipv4() ? 8 : 7;
    const uint8_t old = ip()[offset];
    const uint8_t ttl = value.value_or(old > 0 ? static_cast<uint8_t>(old - 1) : uint8_t{0});
    if (is_ipv6()) {
        ip()[offset] = ttl;
        return;
    }
    const std::array<uint8_t, 2> bytes{ttl, ip()[offset + 1]}; // the word of the TTL has the protocol, too
    const uint64_t changed = difference(ip() + offset, bytes.data(), bytes.size());
    ip()[offset] = ttl;
    adjust_ipv4_checksum(changed);
}

bool Frame::change(const Rewrite &rewrite) {
    const std::span<const uint8_t> bytes = rewrite.bytes;
    switch (rewrite.kind) {
    case Rewrite::Kind::PopVlan:
        pop_tag();
        return true;
    case Rewrite::Kind::PushVlan:
        return push_tag(rewrite.value);
    case Rewrite::Kind::SetVlanVid:
        set_tci(kVidBits, rewrite.value);
        return true;
    case Rewrite::Kind::SetVlanPcp:
        set_tci(kPcpBits, static_cast<uint16_t>(rewrite.value << kPcpShift));
        return true;
    case Rewrite::Kind::SetMacSrc:
        std::memcpy(bytes_ + kMac, bytes.data(), kMac);
        return true;
    case Rewrite::Kind::SetMacDst:
        std::memcpy(bytes_, bytes.data(), kMac);
        return true;
    case Rewrite::Kind::SetIpv4Src:
        set_address(is_ipv4(), 12, bytes.first(4));
        return true;
    case Rewrite::Kind::SetIpv4Dst:
        set_address(is_ipv4(), 16, bytes.first(4));
        return true;
    case Rewrite::Kind::SetIpv6Src:
        set_address(is_ipv6(), 8, bytes);
        return true;
    case Rewrite::Kind::SetIpv6Dst:
        set_address(is_ipv6(), 24, bytes);
        return true;
    case Rewrite::Kind::SetTpSrc:
        set_port(0, rewrite.value);
        return true;
    case Rewrite::Kind::SetTpDst:
        set_port(2, rewrite.value);
        return true;
    case Rewrite::Kind::SetTtl:
        set_ttl(static_cast<uint8_t>(rewrite.value));
        return true;
    case Rewrite::Kind::DecTtl:
        set_ttl(std::nullopt);
        return true;
    }
    return true;
}

} // namespace

std::optional<Rewritten> rewrite(std::span<const Rewrite> changes, const tapflow_record &record, const uint8_t *frame,
                                 std::span<uint8_t> buffer) {
    const auto pushes = std::count_if(changes.begin(), changes.end(),
                                      [](const Rewrite &change) { return change.kind == Rewrite::Kind::PushVlan; });
    if (std::cmp_greater(pushes, kRewritePushesMax) || record.length < kEthernetHeader ||
        buffer.size() < kRewriteGrowthMax || record.length > buffer.size() - kRewriteGrowthMax)
        return std::nullopt;
    uint8_t *bytes = buffer.data() + kRewriteGrowthMax;
    std::memcpy(bytes, frame, record.length);
    Frame changed(record, bytes);
    for (const Rewrite &change : changes)
        if (!changed.change(change))
            return std::nullopt;
    Rewritten result = changed.result();
    result.record.flags = static_cast<uint16_t>(result.record.flags & ~TAPFLOW_RECORD_REWRITE);
    result.record.rewrite = 0;
    return result;
}

} // namespace tapflow::flow
