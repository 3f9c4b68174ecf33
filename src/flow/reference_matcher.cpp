// SPDX-License-Identifier: BSD-3-Clause
#include "flow/reference_matcher.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tapflow::flow {
namespace {

/// Headers that begin further back than this in a frame are not looked at.
constexpr size_t kWindow = 512;
constexpr int kExtensionsMax = 8;

constexpr bool is_tpid(unsigned type) { return type == 0x8100 || type == 0x88a8; }

/// What an L4 header may be followed by.
struct Payload {
    size_t offset = 0;
    unsigned type = 0; ///< EtherType; 0x6558: Ethernet; 0: nothing that is looked at
};

/// Takes a frame apart, first its outer headers, then those in a tunnel.
class Dissector {
  public:
    explicit Dissector(std::span<const uint8_t> frame) : frame_(frame) {}

    tapflow_flow_key key(std::optional<TagBeside> tag) {
        ethernet(0, tag);
        const Payload payload = payload_;
        if (payload.type != 0 && payload.offset <= kWindow) {
            inner_ = true;
            headers_ = &key_.inner;
            if (payload.type == 0x6558)
                ethernet(payload.offset, std::nullopt);
            else
                network(payload.offset, payload.type);
        }
        return key_;
    }

  private:
    [[nodiscard]] bool has(size_t offset, size_t bytes) const { return offset + bytes <= frame_.size(); }
    [[nodiscard]] unsigned byte(size_t offset) const { return frame_[offset]; }
    [[nodiscard]] unsigned two_bytes(size_t offset) const { return byte(offset) << 8 | byte(offset + 1); }
    /// A field as it is on the wire.
    template <typename Out> void copy(Out &out, size_t offset, size_t bytes = sizeof(Out)) {
        std::memcpy(&out, frame_.data() + offset, bytes);
    }
    static void put(uint16_t &out, unsigned value) {
        const uint8_t bytes[2] = {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
        std::memcpy(&out, bytes, sizeof(out));
    }
    void found(uint32_t layer) { key_.layers |= inner_ ? layer << TAPFLOW_LAYER_INNER_SHIFT : layer; }
    void found_extension(uint16_t extension) { headers_->ip_extension |= extension; }

    void ethernet(size_t offset, std::optional<TagBeside> beside) {
        if (!has(offset, 14))
            return;
        found(TAPFLOW_LAYER_ETH);
        copy(headers_->eth_dst, offset);
        copy(headers_->eth_src, offset + 6);
        unsigned type = two_bytes(offset + 12);
        offset += 14;
        put(headers_->eth_type, beside ? beside->tpid : type);
        if (beside) {
            found(TAPFLOW_LAYER_VLAN);
            put(headers_->vlan_tci, beside->tci);
            put(headers_->vlan_type, type);
        } else if (is_tpid(type)) {
            if (!has(offset, 4))
                return;
            found(TAPFLOW_LAYER_VLAN);
            copy(headers_->vlan_tci, offset);
            copy(headers_->vlan_type, offset + 2);
            type = two_bytes(offset + 2);
            offset += 4;
        } else {
            network(offset, type);
            return;
        }
        if (is_tpid(type)) {
            if (!has(offset, 4))
                return;
            found(TAPFLOW_LAYER_VLAN2);
            copy(headers_->vlan2_tci, offset);
            copy(headers_->vlan2_type, offset + 2);
            type = two_bytes(offset + 2);
            offset += 4;
        }
        network(offset, type);
    }

    void network(size_t offset, unsigned type) {
        if (type == 0x0800)
            ipv4(offset);
        else if (type == 0x86dd)
            ipv6(offset);
        else if (type == 0x0806)
            arp(offset);
    }

    void arp(size_t offset) {
        // Ethernet and IPv4, with addresses of 6 and 4 bytes.
        if (!has(offset, 28) || two_bytes(offset) != 1 || two_bytes(offset + 2) != 0x0800 || byte(offset + 4) != 6 ||
            byte(offset + 5) != 4)
            return;
        found(TAPFLOW_LAYER_ARP);
        copy(headers_->l4, offset + 6, 2);
        copy(headers_->ip_src, offset + 14, 4);
        copy(headers_->ip_src[4], offset + 8, 6);
        copy(headers_->ip_dst, offset + 24, 4);
        copy(headers_->ip_dst[4], offset + 18, 6);
    }

    void ipv4(size_t offset) {
        if (!has(offset, 20) || byte(offset) >> 4 != 4 || (byte(offset) & 0xf) < 5)
            return;
        found(TAPFLOW_LAYER_IPV4);
        copy(headers_->ip_first, offset, 2);
        copy(headers_->ip_fragment, offset + 6);
        copy(headers_->ip_ttl, offset + 8);
        copy(headers_->ip_proto, offset + 9);
        copy(headers_->ip_src, offset + 12, 4);
        copy(headers_->ip_dst, offset + 16, 4);
        const bool fragment = (two_bytes(offset + 6) & 0x3fff) != 0; // more fragments, or an offset
        if (!fragment)
            transport(offset + size_t{4} * (byte(offset) & 0xf), byte(offset + 9), false);
    }

    void ipv6(size_t offset) {
        if (!has(offset, 40) || byte(offset) >> 4 != 6)
            return;
        found(TAPFLOW_LAYER_IPV6);
        copy(headers_->ip_first, offset);
        copy(headers_->ip_ttl, offset + 7);
        copy(headers_->ip_src, offset + 8);
        copy(headers_->ip_dst, offset + 24);
        unsigned next = byte(offset + 6);
        offset += 40;
        for (int followed = 0; followed < kExtensionsMax; followed++) {
            if (next == 44) {
                fragment(offset);
                return;
            }
            const uint16_t extension = extension_with_length(next);
            if (extension == 0)
                break;
            if (offset > kWindow || !has(offset, 8))
                break;
            found_extension(extension);
            next = byte(offset);
            offset += size_t{8} * (byte(offset + 1) + 1);
        }
        headers_->ip_proto = static_cast<uint8_t>(next);
        found_extension(extension_that_ends(next));
        transport(offset, next, true);
    }

    /// Headers whose second byte says where the next one is.
    static uint16_t extension_with_length(unsigned number) {
        switch (number) {
        case 0:
            return TAPFLOW_EXTENSION_HOP;
        case 43:
            return TAPFLOW_EXTENSION_ROUTE;
        case 60:
            return TAPFLOW_EXTENSION_DEST;
        default:
            return 0;
        }
    }

    static uint16_t extension_that_ends(unsigned number) {
        switch (number) {
        case 50:
            return TAPFLOW_EXTENSION_ESP;
        case 51:
            return TAPFLOW_EXTENSION_AUTH;
        case 135:
            return TAPFLOW_EXTENSION_MOBIL;
        case 139:
            return TAPFLOW_EXTENSION_HIP;
        case 140:
            return TAPFLOW_EXTENSION_SHIM6;
        default:
            return 0;
        }
    }

    void fragment(size_t offset) {
        found_extension(TAPFLOW_EXTENSION_FRAGMENT);
        headers_->ip_proto = 44;
        if (offset > kWindow || !has(offset, 8))
            return;
        found(TAPFLOW_LAYER_FRAGMENT);
        copy(headers_->ip_proto, offset);
        copy(headers_->ip_fragment, offset + 2);
        copy(headers_->l4, offset + 4);
    }

    void transport(size_t offset, unsigned protocol, bool over_ipv6) {
        if (offset > kWindow)
            return;
        switch (protocol) {
        case 1:
            if (!over_ipv6)
                fixed_header(offset, 8, TAPFLOW_LAYER_ICMP, 2, 4);
            break;
        case 58:
            if (over_ipv6)
                fixed_header(offset, 8, TAPFLOW_LAYER_ICMP6, 2, 4);
            break;
        case 4:
            payload_ = {offset, 0x0800};
            break;
        case 41:
            payload_ = {offset, 0x86dd};
            break;
        case 6:
            tcp(offset);
            break;
        case 17:
            fixed_header(offset, 8, TAPFLOW_LAYER_UDP, 4, 0);
            if (!inner_ && has(offset, 16))
                tunnel_over_udp(offset);
            break;
        case 132:
            fixed_header(offset, 12, TAPFLOW_LAYER_SCTP, 4, 4);
            break;
        case 47:
            if (!inner_ && has(offset, 4))
                gre(offset);
            break;
        case 50:
            fixed_header(offset, 8, TAPFLOW_LAYER_ESP, 4, 0);
            break;
        case 51:
            if (has(offset, 12)) {
                found(TAPFLOW_LAYER_AH);
                copy(headers_->l4, offset + 4);
            }
            break;
        default:
            break;
        }
    }

    /// A header of `size` bytes: so many from its beginning go to l4, so many from its fifth byte on to l4_more.
    void fixed_header(size_t offset, size_t size, uint32_t layer, size_t l4, size_t l4_more) {
        if (!has(offset, size))
            return;
        found(layer);
        copy(headers_->l4, offset, l4);
        copy(headers_->l4_more, offset + 4, l4_more);
    }

    void tcp(size_t offset) {
        if (!has(offset, 20))
            return;
        found(TAPFLOW_LAYER_TCP);
        copy(headers_->l4, offset);
        copy(headers_->l4_more, offset + 12, 2); // data offset, flags
    }

    void tunnel_over_udp(size_t offset) {
        const unsigned port = two_bytes(offset + 2);
        const unsigned first = byte(offset + 8);
        const bool vxlan = port == 4789 && (first & 0x08) != 0; // RFC 7348: a valid VNI
        const bool geneve = port == 6081 && first >> 6 == 0;    // RFC 8926: version 0
        if (!vxlan && !geneve)
            return;
        found(vxlan ? TAPFLOW_LAYER_VXLAN : TAPFLOW_LAYER_GENEVE);
        copy(headers_->l4_more, offset + 8);
        copy(key_.tunnel, offset + 12);
        if (vxlan)
            payload_ = {offset + 16, 0x6558};
        else
            payload_ = payload_of_type(offset + 16 + size_t{4} * (first & 0x3f), two_bytes(offset + 10));
    }

    void gre(size_t offset) {
        found(TAPFLOW_LAYER_GRE);
        copy(headers_->l4, offset);
        const unsigned flags = byte(offset);
        const size_t checksum = (flags & 0x80) != 0 ? 4 : 0;
        const size_t key = (flags & 0x20) != 0 ? 4 : 0;
        const size_t sequence = (flags & 0x10) != 0 ? 4 : 0;
        if (key != 0 && has(offset + 4 + checksum, 4)) {
            found(TAPFLOW_LAYER_GRE_KEY);
            copy(key_.tunnel, offset + 4 + checksum);
        }
        // RFC 2784: no source routing, version 0.
        if ((flags & 0x4f) == 0 && (byte(offset + 1) & 0x07) == 0 && has(offset, 16))
            payload_ = payload_of_type(offset + 4 + checksum + key + sequence, two_bytes(offset + 2));
    }

    static Payload payload_of_type(size_t offset, unsigned type) {
        const bool known = type == 0x6558 || type == 0x0800 || type == 0x86dd;
        return known ? Payload{offset, type} : Payload{};
    }

    std::span<const uint8_t> frame_;
    tapflow_flow_key key_{};
    tapflow_flow_headers *headers_ = &key_.outer;
    bool inner_ = false;
    Payload payload_;
};

uint64_t big_endian_word(const tapflow_flow_key &key, size_t index) {
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value = value << 8 | reinterpret_cast<const uint8_t *>(&key)[8 * index + i];
    return value;
}

bool is_taking(const Actions &actions) {
    return actions.fate == Fate::Queue || actions.fate == Fate::Rss || actions.mark || actions.flag;
}

using Rank = std::pair<uint32_t, RuleId>;

} // namespace

tapflow_flow_key reference_key(std::span<const uint8_t> frame, std::optional<TagBeside> tag) {
    return Dissector(frame).key(tag);
}

bool matches(const Match &match, const tapflow_flow_key &key) {
    for (size_t i = 0; i < TAPFLOW_FLOW_WORDS; i++)
        if ((word_of(key, i) & word_of(match.mask, i)) != word_of(match.value, i))
            return false;
    for (size_t i = 0; i < match.range_count; i++) {
        const Range &range = match.ranges[i];
        const uint64_t field = big_endian_word(key, range.word) >> range.shift & range.bits;
        if (field < range.low || field > range.high)
            return false;
    }
    return true;
}

ReferenceVerdict ReferenceMatcher::match(const tapflow_flow_key &key, Direction direction) const {
    ReferenceVerdict verdict;
    uint32_t group = 0;
    std::optional<Rank> behind;
    while (verdict.acted.size() < TAPFLOW_FLOW_STEPS) {
        const Rule *next = nullptr;
        Rank best{};
        for (const auto &[id, rule] : rules_) {
            const Rank rank{rule.attributes.priority, id};
            if (rule.attributes.direction == direction && rule.attributes.group == group &&
                (!behind || rank > *behind) && (!next || rank < best) && matches(rule.match, key)) {
                next = &rule;
                best = rank;
            }
        }
        if (!next)
            break;
        const Actions &actions = next->actions;
        verdict.acted.push_back(best.second);
        verdict.taken |= is_taking(actions);
        verdict.flag |= actions.flag;
        if (actions.mark)
            verdict.mark = actions.mark;
        behind = best;
        if (actions.fate == Fate::Jump) {
            group = actions.group;
            behind.reset();
        } else if (actions.fate == Fate::Queue || actions.fate == Fate::Rss || actions.fate == Fate::Drop) {
            verdict.fate = actions.fate;
            verdict.queue = actions.fate == Fate::Queue ? actions.queue : uint16_t{0};
            verdict.last = next;
            break;
        }
    }
    return verdict;
}

} // namespace tapflow::flow
