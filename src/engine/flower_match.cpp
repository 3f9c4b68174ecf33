// SPDX-License-Identifier: BSD-3-Clause
#include "engine/flower_match.h"

#include "flow/fields.h"
#include "packet/parse.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace tapflow::engine {
namespace {

using flow::Item;
using kernel::FlowerField;
using kernel::FlowerKey;
using Keys = std::vector<FlowerKey>;

constexpr uint16_t kTypeIpv4 = 0x0800;
constexpr uint16_t kTypeIpv6 = 0x86dd;
constexpr uint16_t kTypeArp = 0x0806;

// linux/pkt_cls.h: TCA_FLOWER_KEY_FLAGS_*
constexpr uint8_t kIsFragment = 1;
constexpr uint8_t kFirstFragment = 2;

// More significant bits of IPv4's fragment field are flags: DF and the reserved one are nothing to flower.
constexpr uint16_t kMoreFragments = 0x2000;
constexpr uint16_t kFragmentOffset = 0x1fff;
constexpr uint16_t kIpv6FragmentOffset = 0xfff8;

struct Transport {
    uint32_t layer;
    uint8_t protocol;
    std::optional<FlowerField> source; ///< ports
    std::optional<FlowerField> destination;
};
constexpr std::array kTransports{
    Transport{TAPFLOW_LAYER_TCP, TAPFLOW_IPPROTO_TCP, FlowerField::TcpSrc, FlowerField::TcpDst},
    Transport{TAPFLOW_LAYER_UDP, TAPFLOW_IPPROTO_UDP, FlowerField::UdpSrc, FlowerField::UdpDst},
    Transport{TAPFLOW_LAYER_SCTP, TAPFLOW_IPPROTO_SCTP, FlowerField::SctpSrc, FlowerField::SctpDst},
    Transport{TAPFLOW_LAYER_ICMP, 1, {}, {}},
    Transport{TAPFLOW_LAYER_ICMP6, 58, {}, {}},
    Transport{TAPFLOW_LAYER_ESP, TAPFLOW_IPPROTO_ESP, {}, {}},
    Transport{TAPFLOW_LAYER_AH, TAPFLOW_IPPROTO_AH, {}, {}},
    Transport{TAPFLOW_LAYER_GRE, TAPFLOW_IPPROTO_GRE, {}, {}},
};
constexpr uint32_t kLayersOfFlower = TAPFLOW_LAYER_ETH | TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_VLAN2 | TAPFLOW_LAYER_ARP |
                                     TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_IPV6 | TAPFLOW_LAYER_FRAGMENT |
                                     TAPFLOW_LAYER_TCP | TAPFLOW_LAYER_UDP | TAPFLOW_LAYER_SCTP | TAPFLOW_LAYER_ICMP |
                                     TAPFLOW_LAYER_ICMP6 | TAPFLOW_LAYER_ESP | TAPFLOW_LAYER_AH | TAPFLOW_LAYER_GRE;

template <typename Integer> FlowerKey key_of(FlowerField field, Integer value, Integer mask) {
    FlowerKey key{field, {}, {}};
    for (size_t i = 0; i < sizeof(Integer); i++) {
        key.value[i] = static_cast<uint8_t>(value >> (8 * (sizeof(Integer) - 1 - i)));
        key.mask[i] = static_cast<uint8_t>(mask >> (8 * (sizeof(Integer) - 1 - i)));
    }
    return key;
}
template <typename Integer> FlowerKey key_of(FlowerField field, Integer value) {
    return key_of(field, value, static_cast<Integer>(~Integer{0}));
}

/// Flags of the dissector, which are in the last byte of four.
FlowerKey fragment_key(uint8_t flags, uint8_t mask) { return key_of<uint32_t>(FlowerField::Fragment, flags, mask); }

/// What is still to be said of a match in flower's words.
class Translation {
  public:
    explicit Translation(const flow::Match &match) : value_(match.value), rest_(match.mask), match_(match) {}

    Result<std::vector<Keys>> run();

  private:
    /// What the mask has of some bytes of the outer headers, and is thereby said.
    struct Taken {
        std::span<const uint8_t> value;
        std::array<uint8_t, 16> mask{};
        [[nodiscard]] bool any() const {
            return std::any_of(mask.begin(), mask.end(), [](uint8_t byte) { return byte != 0; });
        }
    };
    Taken take(size_t offset, size_t bytes);
    /// The same as an integer of up to two bytes in host byte order: value and mask.
    std::pair<uint16_t, uint16_t> take_integer(size_t offset, size_t bytes);
    /// One whose mask is all ones or nothing.
    Result<std::optional<uint16_t>> take_whole(size_t offset, const char *name);
    void compare(FlowerField field, size_t offset, size_t bytes);

    Result<void> take_layers();
    Result<void> take_types();
    Result<void> take_tag(size_t offset, bool second);
    Result<void> take_network();
    Result<void> take_fragment();
    Result<void> take_transport();
    Result<void> take_ranges();
    void take_arp();
    [[nodiscard]] Result<void> refuse_rest() const;
    [[nodiscard]] bool demands(uint32_t layer) const { return (present_ & layer) != 0; }
    /// Numbers of tags; none: they are all the same to the rule.
    [[nodiscard]] std::vector<std::optional<unsigned>> possible_tags() const;
    [[nodiscard]] std::vector<std::optional<uint16_t>> possible_networks() const;
    void add_keys_of_tags(std::optional<unsigned> tags, std::optional<uint16_t> network, Keys &keys) const;
    [[nodiscard]] bool agrees(unsigned tags, std::optional<uint16_t> network) const;

    static Error unable(const std::string &what) { return {ENOTSUP, "match by flower", what}; }

    tapflow_flow_key value_;
    tapflow_flow_key rest_;
    const flow::Match &match_;
    uint32_t present_ = 0; ///< layers
    uint32_t absent_ = 0;
    std::optional<uint16_t> types_[3]; ///< of the Ethernet header and behind its tags
    std::optional<uint8_t> protocol_;
    Keys tag_keys_[2];
    Keys keys_;
    std::optional<FlowerKey> fragment_;
    bool or_not_fragment_ = false; ///< beside `fragment_`: a packet that is none will do, too
    bool never_ = false;           ///< no packet can be like that
};

Translation::Taken Translation::take(size_t offset, size_t bytes) {
    Taken taken{{reinterpret_cast<const uint8_t *>(&value_.outer) + offset, bytes}, {}};
    auto *rest = reinterpret_cast<uint8_t *>(&rest_.outer) + offset;
    std::copy_n(rest, bytes, taken.mask.begin());
    std::fill_n(rest, bytes, uint8_t{0});
    return taken;
}

std::pair<uint16_t, uint16_t> Translation::take_integer(size_t offset, size_t bytes) {
    const Taken taken = take(offset, bytes);
    uint16_t value = 0;
    uint16_t mask = 0;
    for (size_t i = 0; i < bytes; i++) {
        value = static_cast<uint16_t>(value << 8 | taken.value[i]);
        mask = static_cast<uint16_t>(mask << 8 | taken.mask[i]);
    }
    return {value, mask};
}

Result<std::optional<uint16_t>> Translation::take_whole(size_t offset, const char *name) {
    const auto [value, mask] = take_integer(offset, 2);
    if (mask != 0 && mask != 0xffff)
        return unable(std::string(name) + " is compared as a whole only");
    return mask ? std::optional(value) : std::nullopt;
}

void Translation::compare(FlowerField field, size_t offset, size_t bytes) {
    const Taken taken = take(offset, bytes);
    if (!taken.any())
        return;
    FlowerKey key{field, {}, taken.mask};
    std::copy_n(taken.value.begin(), bytes, key.value.begin());
    keys_.push_back(key);
}

Result<void> Translation::take_layers() {
    if (rest_.layers & ~kLayersOfFlower)
        return unable("the kernel looks for no headers in tunnels");
    present_ = value_.layers & rest_.layers;
    absent_ = rest_.layers & ~present_;
    rest_.layers = 0;
    if (absent_ & ~static_cast<uint32_t>(TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_VLAN2))
        return unable("that a packet lacks a header is asked of tags only");
    if (demands(TAPFLOW_LAYER_VLAN2))
        present_ |= TAPFLOW_LAYER_VLAN;
    // Two networks, or two transports, that a pattern cannot have both.
    never_ = demands(TAPFLOW_LAYER_IPV4) + demands(TAPFLOW_LAYER_IPV6) + demands(TAPFLOW_LAYER_ARP) > 1;
    return {};
}

Result<void> Translation::take_types() {
    constexpr std::array<std::pair<size_t, const char *>, 3> kTypes{
        {{offsetof(tapflow_flow_headers, eth_type), "the Ethernet type"},
         {offsetof(tapflow_flow_headers, vlan_type), "the type behind a tag"},
         {offsetof(tapflow_flow_headers, vlan2_type), "the type behind the second tag"}}};
    for (size_t i = 0; i < kTypes.size(); i++) {
        auto type = take_whole(kTypes[i].first, kTypes[i].second);
        if (!type)
            return type.error();
        types_[i] = *type;
    }
    return {};
}

Result<void> Translation::take_tag(size_t offset, bool second) {
    const auto [value, mask] = take_integer(offset, 2);
    const uint16_t id = mask & 0xfff;
    const uint16_t priority = mask >> 13;
    if (mask & 0x1000)
        return unable("the DEI bit of a tag is not looked at");
    if ((id != 0 && id != 0xfff) || (priority != 0 && priority != 7))
        return unable("VLAN ID and priority are compared as a whole only");
    Keys &keys = tag_keys_[second ? 1 : 0];
    if (id)
        keys.push_back(key_of<uint16_t>(second ? FlowerField::CvlanId : FlowerField::VlanId, value & 0xfff));
    if (priority)
        keys.push_back(key_of<uint8_t>(second ? FlowerField::CvlanPriority : FlowerField::VlanPriority,
                                       static_cast<uint8_t>(value >> 13)));
    return {};
}

void Translation::take_arp() {
    constexpr size_t kSource = offsetof(tapflow_flow_headers, ip_src);
    constexpr size_t kDestination = offsetof(tapflow_flow_headers, ip_dst);
    compare(FlowerField::ArpSenderIp, kSource, 4);
    compare(FlowerField::ArpTargetIp, kDestination, 4);
    compare(FlowerField::ArpSenderMac, kSource + 4, 6);
    compare(FlowerField::ArpTargetMac, kDestination + 4, 6);
}

Result<void> Translation::take_network() {
    if (demands(TAPFLOW_LAYER_ARP)) {
        take_arp();
        const auto [operation, mask] = take_integer(offsetof(tapflow_flow_headers, l4), 2);
        if (mask != 0 && (mask != 0xffff || operation < 1 || operation > 2))
            return unable("of ARP only requests and replies are told apart");
        if (mask)
            keys_.push_back(key_of<uint8_t>(FlowerField::ArpOperation, static_cast<uint8_t>(operation)));
        return {};
    }
    const bool ipv6 = demands(TAPFLOW_LAYER_IPV6);
    if (!ipv6 && !demands(TAPFLOW_LAYER_IPV4))
        return {};
    const size_t bytes = ipv6 ? 16 : 4;
    compare(ipv6 ? FlowerField::Ipv6Src : FlowerField::Ipv4Src, offsetof(tapflow_flow_headers, ip_src), bytes);
    compare(ipv6 ? FlowerField::Ipv6Dst : FlowerField::Ipv4Dst, offsetof(tapflow_flow_headers, ip_dst), bytes);
    compare(FlowerField::IpTtl, offsetof(tapflow_flow_headers, ip_ttl), 1);
    const auto [protocol, mask] = take_integer(offsetof(tapflow_flow_headers, ip_proto), 1);
    if (mask != 0 && mask != 0xff)
        return unable("the protocol of IP is compared as a whole only");
    if (mask)
        protocol_ = static_cast<uint8_t>(protocol);
    if (!ipv6) {
        compare(FlowerField::IpTos, offsetof(tapflow_flow_headers, ip_first) + 1, 1);
        return {};
    }
    const auto [first, first_mask] = take_integer(offsetof(tapflow_flow_headers, ip_first), 2);
    rest_.outer.ip_first[0] |= static_cast<uint8_t>((first_mask & 0xf000) >> 8);
    rest_.outer.ip_first[1] |= static_cast<uint8_t>(first_mask & 0x000f);
    if (first_mask & 0x0ff0)
        keys_.push_back(key_of<uint8_t>(FlowerField::IpTos, static_cast<uint8_t>(first >> 4),
                                        static_cast<uint8_t>(first_mask >> 4)));
    return {};
}

/// What is asked of fragments comes from three places: the field, the extension header, and that whatever asks for a
/// transport header asks for no fragment.
Result<void> Translation::take_fragment() {
    const bool ipv6 = demands(TAPFLOW_LAYER_IPV6);
    const auto demand = [&](uint8_t flags, uint8_t mask) {
        const FlowerKey key = fragment_key(flags, mask);
        if (fragment_ && !or_not_fragment_ && *fragment_ != key) {
            // A first fragment is a fragment; all else that differs is a contradiction.
            if (((fragment_->value[3] ^ flags) & fragment_->mask[3] & mask) != 0)
                never_ = true;
            fragment_ = fragment_key(fragment_->value[3] | flags, fragment_->mask[3] | mask);
            return;
        }
        fragment_ = key;
        or_not_fragment_ = false;
    };
    const auto [value, mask] = take_integer(offsetof(tapflow_flow_headers, ip_fragment), 2);
    if (!ipv6 && mask == (kMoreFragments | kFragmentOffset) && value == 0) {
        demand(0, kIsFragment);
    } else if (!ipv6 && mask == kFragmentOffset && value == 0) {
        demand(kIsFragment | kFirstFragment, kIsFragment | kFirstFragment);
        or_not_fragment_ = true;
    } else if (ipv6 && mask == kIpv6FragmentOffset && value == 0 && demands(TAPFLOW_LAYER_FRAGMENT)) {
        demand(kIsFragment | kFirstFragment, kIsFragment | kFirstFragment);
    } else if (mask != 0) {
        return unable("of fragments only whether a packet is one, and the first one, is compared");
    }
    // In host byte order.
    uint16_t &extension = rest_.outer.ip_extension;
    if (extension & TAPFLOW_EXTENSION_FRAGMENT)
        demand(value_.outer.ip_extension & TAPFLOW_EXTENSION_FRAGMENT ? kIsFragment : 0, kIsFragment);
    extension = static_cast<uint16_t>(extension & ~TAPFLOW_EXTENSION_FRAGMENT);
    if (extension)
        return unable("IPv6 extension headers other than that of fragments are not looked at");
    if (demands(TAPFLOW_LAYER_FRAGMENT))
        demand(kIsFragment, kIsFragment);
    for (const Transport &transport : kTransports)
        if (demands(transport.layer))
            demand(0, kIsFragment);
    return {};
}

Result<void> Translation::take_transport() {
    constexpr size_t kFirst = offsetof(tapflow_flow_headers, l4);
    constexpr size_t kMore = offsetof(tapflow_flow_headers, l4_more);
    const Transport *found = nullptr;
    for (const Transport &transport : kTransports) {
        if (!demands(transport.layer))
            continue;
        never_ = never_ || (found != nullptr) || (protocol_ && *protocol_ != transport.protocol);
        found = &transport;
        protocol_ = transport.protocol;
    }
    if (!found)
        return {};
    if (found->source) {
        compare(*found->source, kFirst, 2);
        compare(*found->destination, kFirst + 2, 2);
    }
    if (found->layer == TAPFLOW_LAYER_TCP) {
        const auto [flags, mask] = take_integer(kMore, 2);
        if (mask & 0xf000)
            return unable("the data offset of TCP is not compared");
        if (mask)
            keys_.push_back(key_of<uint16_t>(FlowerField::TcpFlags, flags, mask));
    }
    const bool icmp6 = found->layer == TAPFLOW_LAYER_ICMP6;
    if (icmp6 || found->layer == TAPFLOW_LAYER_ICMP) {
        compare(icmp6 ? FlowerField::Icmp6Type : FlowerField::Icmp4Type, kFirst, 1);
        compare(icmp6 ? FlowerField::Icmp6Code : FlowerField::Icmp4Code, kFirst + 1, 1);
    }
    if (found->layer & (TAPFLOW_LAYER_ESP | TAPFLOW_LAYER_AH))
        compare(FlowerField::Spi, kFirst, 4);
    return {};
}

Result<void> Translation::take_ranges() {
    for (size_t i = 0; i < match_.range_count; i++) {
        const flow::Range &range = match_.ranges[i];
        const auto ranged = flow::field_of(match_, range);
        const bool is_port =
            ranged && !ranged->place.inner && range.bits == 0xffff &&
            (ranged->field->item == Item::Tcp || ranged->field->item == Item::Udp || ranged->field->item == Item::Sctp);
        if (!is_port)
            return unable("ranges are of ports only");
        const bool source = ranged->field->offset == offsetof(tapflow_flow_headers, l4);
        keys_.push_back(key_of<uint16_t>(source ? FlowerField::PortSrcMin : FlowerField::PortDstMin,
                                         static_cast<uint16_t>(range.low)));
        keys_.push_back(key_of<uint16_t>(source ? FlowerField::PortSrcMax : FlowerField::PortDstMax,
                                         static_cast<uint16_t>(range.high)));
    }
    return {};
}

Result<void> Translation::refuse_rest() const {
    const auto asks = [this](const flow::Field &field, flow::Place place) {
        const uint32_t layer = flow::layer_of(field.item, place);
        if (place.second_tag && field.item != Item::Vlan)
            return false;
        if (field.item != Item::Eth && (match_.value.layers & layer) != layer)
            return false;
        if (field.type == flow::FieldType::Integer || field.type == flow::FieldType::Bits)
            return flow::get_integer(rest_, field, place) != 0;
        const uint8_t *bytes = flow::bytes_of(rest_, field, place);
        return std::any_of(bytes, bytes + field.bytes, [](uint8_t byte) { return byte != 0; });
    };
    for (const flow::Field &field : flow::fields())
        for (const flow::Place place : {flow::Place{}, flow::Place{true, false}, flow::Place{false, true}})
            if (asks(field, place))
                return unable("flower does not compare " + std::string(flow::item_name(field.item)) + " " + field.name);
    static constexpr tapflow_flow_key kNothing{};
    if (std::memcmp(&rest_, &kNothing, sizeof(rest_)) != 0)
        return unable("flower does not compare one of the fields");
    return {};
}

/// The EtherTypes of the network that is demanded, one of which a filter must have to look behind it.
std::vector<std::optional<uint16_t>> Translation::possible_networks() const {
    if (demands(TAPFLOW_LAYER_ARP))
        return {kTypeArp};
    const bool icmp = demands(TAPFLOW_LAYER_ICMP);
    const bool icmp6 = demands(TAPFLOW_LAYER_ICMP6 | TAPFLOW_LAYER_FRAGMENT);
    std::vector<std::optional<uint16_t>> networks;
    if (!protocol_ && !demands(TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_IPV6) && !icmp6)
        return {std::nullopt};
    if (!demands(TAPFLOW_LAYER_IPV6) && !icmp6)
        networks.emplace_back(kTypeIpv4);
    if (!demands(TAPFLOW_LAYER_IPV4) && !icmp)
        networks.emplace_back(kTypeIpv6);
    return networks;
}

bool is_tpid(uint16_t type) { return type == 0x8100 || type == 0x88a8; }

/// Whether a packet can have so many tags, with that network behind them.
bool Translation::agrees(unsigned tags, std::optional<uint16_t> network) const {
    if ((tags == 0 && demands(TAPFLOW_LAYER_VLAN)) || (tags < 2 && demands(TAPFLOW_LAYER_VLAN2)))
        return false;
    if ((tags > 0 && absent_ & TAPFLOW_LAYER_VLAN) || (tags > 1 && absent_ & TAPFLOW_LAYER_VLAN2))
        return false;
    for (unsigned i = 0; i < 3; i++) {
        if (!types_[i])
            continue;
        // A type behind a tag that is not there is 0.
        if (i > tags && *types_[i] != 0)
            return false;
        if (i < tags && !is_tpid(*types_[i]))
            return false;
        if (i == tags && ((i < 2 && is_tpid(*types_[i])) || (network && *types_[i] != *network)))
            return false;
    }
    return true;
}

std::vector<std::optional<unsigned>> Translation::possible_tags() const {
    const bool asked = demands(TAPFLOW_LAYER_VLAN) || absent_ || types_[0] || types_[1] || types_[2];
    if (!asked)
        return {std::nullopt};
    return {0, 1, 2};
}

void Translation::add_keys_of_tags(std::optional<unsigned> tags, std::optional<uint16_t> network, Keys &keys) const {
    constexpr std::array kTypes{FlowerField::EthType, FlowerField::VlanEthType, FlowerField::CvlanEthType};
    const unsigned count = tags.value_or(0);
    if (tags)
        keys.push_back(key_of<uint8_t>(FlowerField::VlanCount, static_cast<uint8_t>(count)));
    for (unsigned i = 0; i <= count; i++) {
        const auto type = i == count && network ? network : types_[i];
        if (type)
            keys.push_back(key_of<uint16_t>(kTypes[i], *type));
    }
    for (unsigned i = 0; i < count; i++)
        keys.insert(keys.end(), tag_keys_[i].begin(), tag_keys_[i].end());
}

Result<std::vector<Keys>> Translation::run() {
    compare(FlowerField::EthDst, offsetof(tapflow_flow_headers, eth_dst), 6);
    compare(FlowerField::EthSrc, offsetof(tapflow_flow_headers, eth_src), 6);
    for (const auto step : {&Translation::take_layers, &Translation::take_types, &Translation::take_network,
                            &Translation::take_fragment, &Translation::take_transport, &Translation::take_ranges})
        if (auto taken = (this->*step)(); !taken)
            return taken.error();
    if (auto taken = take_tag(offsetof(tapflow_flow_headers, vlan_tci), false); !taken)
        return taken.error();
    if (auto taken = take_tag(offsetof(tapflow_flow_headers, vlan2_tci), true); !taken)
        return taken.error();
    if (auto said = refuse_rest(); !said)
        return said.error();

    std::vector<Keys> filters;
    if (never_)
        return filters;
    for (const auto &network : possible_networks())
        for (const auto &tags : possible_tags()) {
            if (tags && !agrees(*tags, network))
                continue;
            Keys keys = keys_;
            add_keys_of_tags(tags, network, keys);
            if (protocol_)
                keys.push_back(key_of<uint8_t>(FlowerField::IpProto, *protocol_));
            if (fragment_)
                keys.push_back(*fragment_);
            std::sort(keys.begin(), keys.end(),
                      [](const FlowerKey &a, const FlowerKey &b) { return a.field < b.field; });
            filters.push_back(keys);
            if (!or_not_fragment_)
                continue;
            const auto at = std::find_if(keys.begin(), keys.end(),
                                         [](const FlowerKey &key) { return key.field == FlowerField::Fragment; });
            *at = fragment_key(0, kIsFragment);
            filters.push_back(keys);
        }
    return filters;
}

} // namespace

Result<std::vector<Keys>> flower_keys(const flow::Match &match) { return Translation(match).run(); }

} // namespace tapflow::engine
