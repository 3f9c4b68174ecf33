// SPDX-License-Identifier: BSD-3-Clause
// A flow rule as a value: which packets, and what becomes of them.
#pragma once

#include "rss/rss_config.h"
#include "tapflow/abi/flow.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tapflow::flow {

enum class Direction : uint8_t {
    Ingress, ///< what the application would receive
    Egress,  ///< what the application sends
};

struct Attributes {
    uint32_t group = 0;    ///< below TAPFLOW_FLOW_GROUPS; 0 is where every packet begins
    uint32_t priority = 0; ///< below TAPFLOW_FLOW_PRIORITIES; the lower wins
    Direction direction = Direction::Ingress;

    bool operator==(const Attributes &) const = default;
};

/// An integer field that is to lie between two values: low <= (field & bits) <= high. Host byte order, right-aligned.
struct Range {
    uint8_t word = 0;  ///< index of the 64-bit word of tapflow_flow_key that the field is in, ...
    uint8_t shift = 0; ///< ... and how far from that word's (big-endian) low end
    uint32_t bits = 0; ///< the field's bits that are compared, right-aligned
    uint32_t low = 0;
    uint32_t high = 0;

    bool operator==(const Range &) const = default;
};

/// The packets: those whose key is `value` in all bits of `mask`, and whose ranged fields lie in their ranges. The
/// headers that a packet must (or must not) have are bits of tapflow_flow_key::layers like any other.
///
/// Normal form: `value` has no bit outside `mask`; `mask` has no bit of a ranged field; ranges are in the order of
/// (word, shift), highest shift first, and none is empty or covers everything that `bits` can be. There is one normal
/// form for each set of packets that can be written with masks.
struct Match {
    tapflow_flow_key value{};
    tapflow_flow_key mask{};
    std::array<Range, TAPFLOW_FLOW_RANGES> ranges{};
    uint8_t range_count = 0;

    bool operator==(const Match &other) const {
        return std::memcmp(&value, &other.value, sizeof(value)) == 0 &&
               std::memcmp(&mask, &other.mask, sizeof(mask)) == 0 && range_count == other.range_count &&
               ranges == other.ranges;
    }
};

/// How the packets of an RSS action spread. What is not given is as for the port's own RSS.
struct RssAction {
    std::optional<rss::Function> function;
    uint64_t types =
        0; ///< rss::Type and rss::Modifier bits; no Type: the port's types, or if it has none kIpv4 | kIpv6
    uint32_t level = 0;           ///< 0 and 1: outermost headers; 2: innermost
    std::vector<uint8_t> key;     ///< empty: the port's
    std::vector<uint16_t> queues; ///< dealt out round-robin; empty: all queues

    bool operator==(const RssAction &) const = default;
};

/// A change to a packet's headers. They are made in the order in which a rule has them.
struct Rewrite {
    enum class Kind : uint8_t {
        PopVlan,    ///< takes the outermost tag off; a packet without one stays as it is
        PushVlan,   ///< puts a tag in front, with the VID and PCP of the one behind it or 0; value: TPID
        SetVlanVid, ///< of the outermost tag
        SetVlanPcp,
        SetMacSrc, ///< bytes: 6
        SetMacDst,
        SetIpv4Src, ///< bytes: 4
        SetIpv4Dst,
        SetIpv6Src, ///< bytes: 16
        SetIpv6Dst,
        SetTpSrc, ///< TCP and UDP port
        SetTpDst,
        SetTtl, ///< or hop limit
        DecTtl, ///< stops at 0
    };

    Kind kind{};
    uint16_t value = 0;              ///< host byte order
    std::array<uint8_t, 16> bytes{}; ///< network byte order, from the first on

    bool operator==(const Rewrite &) const = default;
};

/// What ends a rule's part in a packet's way.
enum class Fate : uint8_t {
    None,        ///< not said: as PassThrough
    PassThrough, ///< the search goes on behind this rule
    Queue,
    Rss,
    Drop,
    Jump, ///< the search goes on in another group
};

/// What a rule does. The application gets what a rule with Queue, Rss, mark or flag matches, whatever its address.
struct Actions {
    Fate fate = Fate::None;
    uint16_t queue = 0;                   ///< with Fate::Queue
    uint32_t group = 0;                   ///< with Fate::Jump
    std::shared_ptr<const RssAction> rss; ///< with Fate::Rss, unless shared_rss is given
    std::optional<uint32_t> mark;
    bool flag = false;
    bool count = false;
    std::vector<Rewrite> rewrites;
    std::optional<uint32_t> shared_rss;   ///< with Fate::Rss: an indirect action's number
    std::optional<uint32_t> shared_count; ///< with count: an indirect action's number

    /// RSS by what it says, not by where it is kept.
    bool operator==(const Actions &other) const {
        const bool same_rss = rss && other.rss ? *rss == *other.rss : rss == other.rss;
        return fate == other.fate && queue == other.queue && group == other.group && same_rss && mark == other.mark &&
               flag == other.flag && count == other.count && rewrites == other.rewrites &&
               shared_rss == other.shared_rss && shared_count == other.shared_count;
    }
};

struct Rule {
    Attributes attributes;
    Match match;
    Actions actions;

    bool operator==(const Rule &) const = default;
};

/// A key's 64-bit words as they are in memory.
inline uint64_t word_of(const tapflow_flow_key &key, size_t index) {
    uint64_t word = 0;
    std::memcpy(&word, reinterpret_cast<const uint8_t *>(&key) + 8 * index, sizeof(word));
    return word;
}

} // namespace tapflow::flow
