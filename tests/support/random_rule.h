// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "flow/fields.h"
#include "flow/pattern.h"
#include "flow/reference_matcher.h"
#include "flow/rule.h"
#include "flow/validate.h"
#include "rss/names.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

namespace tapflow::test {

/// What random rules keep to.
struct RuleBounds {
    uint32_t groups = TAPFLOW_FLOW_GROUPS; ///< rules are in groups below this, and jump to such
    uint32_t priorities = TAPFLOW_FLOW_PRIORITIES;
    uint16_t queues = 4;
    /// Those that a direction does not allow are left out there; if none is left, the rule counts.
    std::vector<flow::Fate> fates{flow::Fate::None, flow::Fate::PassThrough, flow::Fate::Queue,
                                  flow::Fate::Rss,  flow::Fate::Drop,        flow::Fate::Jump};
    std::vector<flow::Direction> directions{flow::Direction::Ingress, flow::Direction::Egress};
    bool rewrites = true;
    bool ranges = true;
    bool indirect = false;     ///< RSS and COUNT by the number of an action kept elsewhere
    unsigned near_misses = 10; ///< of next_for(): percent of rules that differ from the packet in one bit
};

/// A stream of random rules, all of which validate() lets pass. Matches are put together by Pattern, from all items.
class RandomRules {
  public:
    explicit RandomRules(std::mt19937_64 random, RuleBounds bounds = {})
        : random_(random), bounds_(std::move(bounds)) {}

    /// Values are random: hardly any packet matches what is not very wide.
    flow::Rule next() {
        return valid_rule([this] { return random_match(nullptr); });
    }
    /// Values are those of a packet, so that most of the rules match it.
    flow::Rule next_for(const tapflow_flow_key &packet) {
        return valid_rule([&] { return match_for(packet); });
    }

    size_t below(size_t limit) { return random_() % limit; }
    bool chance(unsigned percent) { return below(100) < percent; }
    std::mt19937_64 &random() { return random_; }

  private:
    using Item = flow::Item;
    using Place = flow::Place;
    using Field = flow::Field;

    template <typename T> T any() { return static_cast<T>(random_()); }
    template <typename Range> auto pick(const Range &range) { return range[below(range.size())]; }

    template <typename MakeMatch> flow::Rule valid_rule(const MakeMatch &make_match) {
        const flow::Capabilities capabilities{.queues = bounds_.queues, .rewrites = true};
        for (;;) {
            flow::Rule rule;
            rule.attributes = {.group = static_cast<uint32_t>(below(bounds_.groups)),
                               .priority = static_cast<uint32_t>(below(bounds_.priorities)),
                               .direction = pick(bounds_.directions)};
            rule.match = make_match();
            rule.actions = random_actions(rule.attributes);
            // What is left to refuse is a match over too many words.
            if (!flow::validate(rule, capabilities))
                return rule;
        }
    }

    // Patterns.

    flow::Match match_for(const tapflow_flow_key &packet) {
        flow::Match match;
        for (int attempt = 0; attempt < 16; attempt++) {
            match = random_match(&packet);
            if (flow::matches(match, packet))
                break;
        }
        if (chance(bounds_.near_misses))
            flip_a_compared_bit(match);
        return match;
    }

    void flip_a_compared_bit(flow::Match &match) {
        const auto *mask = reinterpret_cast<const uint8_t *>(&match.mask);
        auto *value = reinterpret_cast<uint8_t *>(&match.value);
        // Not of the layers: some pairs of these no pattern can ask for.
        constexpr size_t layers = offsetof(tapflow_flow_key, layers);
        for (size_t i = below(layers), tries = 0; tries < layers; i = (i + 1) % layers, tries++)
            for (unsigned bit = 0; bit < 8; bit++)
                if (mask[i] & 1U << bit) {
                    value[i] = static_cast<uint8_t>(value[i] ^ 1U << bit);
                    return;
                }
    }

    /// A pattern with the packet's headers and values, or with random ones.
    flow::Match random_match(const tapflow_flow_key *packet) {
        flow::Pattern pattern;
        compared_ = {};
        ranged_ = {};
        if (!packet && chance(4))
            (void)pattern.any(static_cast<unsigned>(1 + below(2)));
        for (const Item item : packet ? items_of(*packet) : random_items())
            if (const auto place = pattern.next(item))
                ask(pattern, item, *place, packet);
        return pattern.match();
    }

    /// Some of a packet's headers, in their order; lower ones may be missing.
    std::vector<Item> items_of(const tapflow_flow_key &packet) {
        std::vector<Item> items;
        for (const bool inner : {false, true}) {
            if (inner && ((packet.layers & TAPFLOW_LAYER_INNER_MASK) == 0 || chance(30)))
                break;
            for (size_t i = 0; i < flow::kItems; i++) {
                const auto item = static_cast<Item>(i);
                if (inner && item >= Item::Gre)
                    break;
                for (const bool second : {false, true}) {
                    const uint32_t layer = flow::layer_of(item, {inner, second});
                    if ((item == Item::Vlan || !second) && (packet.layers & layer) == layer && chance(85))
                        items.push_back(item);
                }
            }
        }
        return items;
    }

    /// Items that may follow each other, and some that may not: these are refused and so left out.
    std::vector<Item> random_items() {
        std::vector<Item> items;
        add_random_stack(items);
        if (chance(40)) {
            items.push_back(pick(std::array{Item::Gre, Item::Vxlan, Item::Geneve}));
            if (items.back() == Item::Gre && chance(50))
                items.push_back(Item::GreKey);
        }
        if (chance(40))
            add_random_stack(items);
        return items;
    }

    void add_random_stack(std::vector<Item> &items) {
        if (chance(60))
            items.push_back(Item::Eth);
        for (size_t tags = chance(30) ? 1 + below(2) : 0; tags > 0; tags--)
            items.push_back(Item::Vlan);
        if (chance(75))
            items.push_back(chance(10) ? Item::Arp : chance(50) ? Item::Ipv4 : Item::Ipv6);
        if (chance(15))
            items.push_back(Item::Ipv6Fragment);
        if (chance(60))
            items.push_back(pick(
                std::array{Item::Tcp, Item::Udp, Item::Udp, Item::Sctp, Item::Icmp, Item::Icmp6, Item::Esp, Item::Ah}));
    }

    /// Asks for some of a header's fields and flags.
    void ask(flow::Pattern &pattern, Item item, Place place, const tapflow_flow_key *packet) {
        const unsigned percent = pick(std::array{5U, 30U, 60U});
        for (const Field &field : flow::fields_of(item))
            if (chance(percent))
                ask_field(pattern, field, place, packet);
        for (const flow::LayerFlag &flag : flow::layer_flags())
            if (flag.item == item && chance(5)) {
                const bool present = packet ? has(*packet, flag, place) : chance(50);
                (void)pattern.has(flag, place, present);
            }
    }

    static bool has(const tapflow_flow_key &packet, const flow::LayerFlag &flag, Place place) {
        if (flag.layer == 0)
            return ((place.inner ? packet.inner : packet.outer).ip_extension & flag.extension) != 0;
        return (packet.layers >> (place.inner ? TAPFLOW_LAYER_INNER_SHIFT : 0) & flag.layer) != 0;
    }

    void ask_field(flow::Pattern &pattern, const Field &field, Place place, const tapflow_flow_key *packet) {
        const bool is_number = field.width <= 32;
        // Fields that share bits: a range stands alone.
        if (touched(ranged_, field, place))
            return;
        std::array<uint8_t, 16> value{};
        const std::array<uint8_t, 16> mask = random_mask(field);
        for (size_t i = 0; i < field.bytes; i++)
            value[i] = packet ? flow::bytes_of(*packet, field, place)[i] : any<uint8_t>();
        if (!is_number) {
            pattern.compare(field, place, std::span(value).first(field.bytes), std::span(mask).first(field.bytes));
            return;
        }
        const uint32_t bits = right_aligned(mask, field);
        const uint32_t number = right_aligned(value, field);
        if (bounds_.ranges && field.type != flow::FieldType::Bits && chance(15) && !touched(compared_, field, place)) {
            ask_range(pattern, field, place, bits, number & bits);
            flow::set_integer(ranged_, field, place, UINT32_MAX);
        } else {
            pattern.compare(field, place, number, bits);
            flow::set_integer(compared_, field, place, UINT32_MAX);
        }
    }

    /// With a number somewhere in it.
    void ask_range(flow::Pattern &pattern, const Field &field, Place place, uint32_t bits, uint32_t number) {
        const auto low = static_cast<uint32_t>(number - below(uint64_t{number} + 1));
        const auto high = static_cast<uint32_t>(number + below(uint64_t{bits} - number + 1));
        // A bound loses the bits that the mask has not, and with them its order.
        if ((low & bits) <= number && (high & bits) >= number)
            (void)pattern.between(field, place, bits, low, high);
    }

    static bool touched(const tapflow_flow_key &key, const Field &field, Place place) {
        return field.width <= 32 && flow::get_integer(key, field, place) != 0;
    }

    static uint32_t right_aligned(const std::array<uint8_t, 16> &bytes, const Field &field) {
        uint64_t number = 0;
        for (size_t i = 0; i < field.bytes; i++)
            number = number << 8 | bytes[i];
        return static_cast<uint32_t>(number >> field.shift & ((uint64_t{1} << field.width) - 1));
    }

    /// The whole field, its first bits, one bit, or any.
    std::array<uint8_t, 16> random_mask(const Field &field) {
        std::array<uint8_t, 16> mask{};
        const size_t bits = size_t{8} * field.bytes;
        const auto set = [&mask](size_t bit) { mask[bit / 8] |= static_cast<uint8_t>(0x80U >> bit % 8); };
        switch (below(5)) {
        case 0:
        case 1:
            mask.fill(0xff);
            break;
        case 2:
            for (size_t bit = 0, prefix = below(bits + 1); bit < prefix; bit++)
                set(bit);
            break;
        case 3:
            set(below(bits));
            break;
        default:
            for (size_t i = 0; i < field.bytes; i++)
                mask[i] = any<uint8_t>();
            break;
        }
        return mask;
    }

    // Actions.

    flow::Actions random_actions(const flow::Attributes &attributes) {
        const bool ingress = attributes.direction == flow::Direction::Ingress;
        flow::Actions actions;
        actions.fate = random_fate(ingress);
        actions.count = chance(20);
        const bool ends = actions.fate == flow::Fate::Queue || actions.fate == flow::Fate::Rss;
        if (ingress && actions.fate != flow::Fate::Drop && chance(40)) {
            if (chance(70))
                actions.mark = chance(10) ? any<uint32_t>() : static_cast<uint32_t>(below(100));
            else
                actions.flag = true;
        }
        if (ends && bounds_.rewrites && chance(20))
            for (size_t rewrites = 1 + below(3); rewrites > 0; rewrites--)
                actions.rewrites.push_back(random_rewrite());
        if (actions.fate == flow::Fate::Queue)
            actions.queue = static_cast<uint16_t>(below(bounds_.queues));
        if (actions.fate == flow::Fate::Jump)
            actions.group = static_cast<uint32_t>((attributes.group + 1 + below(bounds_.groups - 1)) % bounds_.groups);
        if (actions.fate == flow::Fate::Rss)
            set_rss(actions);
        if (actions.fate == flow::Fate::None && !actions.mark && !actions.flag)
            actions.count = true;
        if (actions.count && bounds_.indirect && chance(30))
            actions.shared_count = any<uint32_t>();
        return actions;
    }

    flow::Fate random_fate(bool ingress) {
        std::vector<flow::Fate> fates;
        for (const flow::Fate fate : bounds_.fates) {
            const bool has_queue = fate == flow::Fate::Queue || fate == flow::Fate::Rss;
            if ((ingress || !has_queue) && (fate != flow::Fate::Jump || bounds_.groups > 1))
                fates.push_back(fate);
        }
        return fates.empty() ? flow::Fate::None : pick(fates);
    }

    void set_rss(flow::Actions &actions) {
        if (bounds_.indirect && chance(30)) {
            actions.shared_rss = any<uint32_t>();
            return;
        }
        flow::RssAction rss;
        if (chance(50))
            rss.function = pick(rss::kFunctionNames).function;
        for (size_t types = below(4); types > 0; types--)
            rss.types |= pick(rss::kTypeNames).bits;
        rss.level = static_cast<uint32_t>(below(3));
        if (chance(30))
            rss.key.resize(chance(50) ? rss::kKeySize : rss::kLongKeySize);
        for (uint8_t &byte : rss.key)
            byte = any<uint8_t>();
        for (size_t queues = below(6); queues > 0; queues--)
            rss.queues.push_back(static_cast<uint16_t>(below(bounds_.queues)));
        actions.rss = std::make_shared<const flow::RssAction>(std::move(rss));
    }

    flow::Rewrite random_rewrite() {
        using Kind = flow::Rewrite::Kind;
        flow::Rewrite rewrite{.kind = static_cast<Kind>(below(static_cast<size_t>(Kind::DecTtl) + 1))};
        const auto fill = [&](size_t bytes) {
            std::generate_n(rewrite.bytes.begin(), bytes, [this] { return any<uint8_t>(); });
        };
        switch (rewrite.kind) {
        case Kind::PopVlan:
        case Kind::DecTtl:
            break;
        case Kind::PushVlan:
            rewrite.value = chance(50) ? 0x8100 : 0x88a8;
            break;
        case Kind::SetVlanVid:
            rewrite.value = static_cast<uint16_t>(below(4096));
            break;
        case Kind::SetVlanPcp:
            rewrite.value = static_cast<uint16_t>(below(8));
            break;
        case Kind::SetMacSrc:
        case Kind::SetMacDst:
            fill(6);
            break;
        case Kind::SetIpv4Src:
        case Kind::SetIpv4Dst:
            fill(4);
            break;
        case Kind::SetIpv6Src:
        case Kind::SetIpv6Dst:
            fill(16);
            break;
        case Kind::SetTtl:
            rewrite.value = any<uint8_t>();
            break;
        default:
            rewrite.value = any<uint16_t>();
            break;
        }
        return rewrite;
    }

    std::mt19937_64 random_;
    RuleBounds bounds_;
    tapflow_flow_key compared_{}; ///< bits that the pattern compares so far ...
    tapflow_flow_key ranged_{};   ///< ... and those of fields in ranges
};

} // namespace tapflow::test
