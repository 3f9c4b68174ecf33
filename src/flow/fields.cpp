// SPDX-License-Identifier: BSD-3-Clause
#include "flow/fields.h"

#include "packet/byte_order.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <tuple>

namespace tapflow::flow {
namespace {

struct ItemInfo {
    Item item;
    const char *name;
    uint32_t layer; ///< outer headers'
};

constexpr std::array<ItemInfo, kItems> kItemTable{{
    {Item::Eth, "eth", TAPFLOW_LAYER_ETH},
    {Item::Vlan, "vlan", TAPFLOW_LAYER_VLAN},
    {Item::Arp, "arp_eth_ipv4", TAPFLOW_LAYER_ARP},
    {Item::Ipv4, "ipv4", TAPFLOW_LAYER_IPV4},
    {Item::Ipv6, "ipv6", TAPFLOW_LAYER_IPV6},
    {Item::Ipv6Fragment, "ipv6_frag_ext", TAPFLOW_LAYER_FRAGMENT},
    {Item::Tcp, "tcp", TAPFLOW_LAYER_TCP},
    {Item::Udp, "udp", TAPFLOW_LAYER_UDP},
    {Item::Sctp, "sctp", TAPFLOW_LAYER_SCTP},
    {Item::Icmp, "icmp", TAPFLOW_LAYER_ICMP},
    {Item::Icmp6, "icmp6", TAPFLOW_LAYER_ICMP6},
    {Item::Esp, "esp", TAPFLOW_LAYER_ESP},
    {Item::Ah, "ah", TAPFLOW_LAYER_AH},
    {Item::Gre, "gre", TAPFLOW_LAYER_GRE},
    {Item::GreKey, "gre_key", TAPFLOW_LAYER_GRE_KEY},
    {Item::Vxlan, "vxlan", TAPFLOW_LAYER_VXLAN},
    {Item::Geneve, "geneve", TAPFLOW_LAYER_GENEVE},
}};

constexpr uint16_t kEthDst = offsetof(tapflow_flow_headers, eth_dst);
constexpr uint16_t kEthSrc = offsetof(tapflow_flow_headers, eth_src);
constexpr uint16_t kEthType = offsetof(tapflow_flow_headers, eth_type);
constexpr uint16_t kVlanTci = offsetof(tapflow_flow_headers, vlan_tci);
constexpr uint16_t kVlanType = offsetof(tapflow_flow_headers, vlan_type);
constexpr uint16_t kSecondTag = offsetof(tapflow_flow_headers, vlan2_tci) - kVlanTci;
constexpr uint16_t kProto = offsetof(tapflow_flow_headers, ip_proto);
constexpr uint16_t kTtl = offsetof(tapflow_flow_headers, ip_ttl);
constexpr uint16_t kSrc = offsetof(tapflow_flow_headers, ip_src);
constexpr uint16_t kDst = offsetof(tapflow_flow_headers, ip_dst);
constexpr uint16_t kL4 = offsetof(tapflow_flow_headers, l4);
constexpr uint16_t kL4More = offsetof(tapflow_flow_headers, l4_more);
constexpr uint16_t kIpFirst = offsetof(tapflow_flow_headers, ip_first);
constexpr uint16_t kFragment = offsetof(tapflow_flow_headers, ip_fragment);
constexpr uint16_t kTunnel = offsetof(tapflow_flow_key, tunnel);
static_assert(offsetof(tapflow_flow_headers, vlan2_type) - kVlanType == kSecondTag);

constexpr FieldType kInteger = FieldType::Integer;
constexpr FieldType kBits = FieldType::Bits;
constexpr std::array kFields{
    Field{Item::Eth, "dst", FieldType::Mac, kEthDst, 6, 0, 48},
    Field{Item::Eth, "src", FieldType::Mac, kEthSrc, 6, 0, 48},
    Field{Item::Eth, "type", kInteger, kEthType, 2, 0, 16},
    Field{Item::Vlan, "tci", kBits, kVlanTci, 2, 0, 16},
    Field{Item::Vlan, "pcp", kInteger, kVlanTci, 2, 13, 3},
    Field{Item::Vlan, "dei", kBits, kVlanTci, 2, 12, 1},
    Field{Item::Vlan, "vid", kInteger, kVlanTci, 2, 0, 12},
    Field{Item::Vlan, "inner_type", kInteger, kVlanType, 2, 0, 16},
    Field{Item::Arp, "opcode", kInteger, kL4, 2, 0, 16},
    Field{Item::Arp, "sha", FieldType::Mac, kSrc + 4, 6, 0, 48},
    Field{Item::Arp, "spa", FieldType::Ipv4, kSrc, 4, 0, 32},
    Field{Item::Arp, "tha", FieldType::Mac, kDst + 4, 6, 0, 48},
    Field{Item::Arp, "tpa", FieldType::Ipv4, kDst, 4, 0, 32},
    Field{Item::Ipv4, "version_ihl", kInteger, kIpFirst, 1, 0, 8},
    Field{Item::Ipv4, "ihl", kInteger, kIpFirst, 1, 0, 4},
    Field{Item::Ipv4, "tos", kInteger, kIpFirst + 1, 1, 0, 8},
    Field{Item::Ipv4, "fragment_offset", kInteger, kFragment, 2, 0, 16},
    Field{Item::Ipv4, "ttl", kInteger, kTtl, 1, 0, 8},
    Field{Item::Ipv4, "proto", kInteger, kProto, 1, 0, 8},
    Field{Item::Ipv4, "src", FieldType::Ipv4, kSrc, 4, 0, 32},
    Field{Item::Ipv4, "dst", FieldType::Ipv4, kDst, 4, 0, 32},
    Field{Item::Ipv6, "tc", kInteger, kIpFirst, 4, 20, 8},
    Field{Item::Ipv6, "flow", kInteger, kIpFirst, 4, 0, 20},
    Field{Item::Ipv6, "proto", kInteger, kProto, 1, 0, 8},
    Field{Item::Ipv6, "hop", kInteger, kTtl, 1, 0, 8},
    Field{Item::Ipv6, "src", FieldType::Ipv6, kSrc, 16, 0, 128},
    Field{Item::Ipv6, "dst", FieldType::Ipv6, kDst, 16, 0, 128},
    Field{Item::Ipv6Fragment, "next_hdr", kInteger, kProto, 1, 0, 8},
    Field{Item::Ipv6Fragment, "frag_data", kInteger, kFragment, 2, 0, 16},
    Field{Item::Ipv6Fragment, "packet_id", kInteger, kL4, 4, 0, 32},
    Field{Item::Tcp, "src", kInteger, kL4, 2, 0, 16},
    Field{Item::Tcp, "dst", kInteger, kL4 + 2, 2, 0, 16},
    Field{Item::Tcp, "data_off", kInteger, kL4More, 1, 0, 8},
    Field{Item::Tcp, "flags", kInteger, kL4More + 1, 1, 0, 8},
    Field{Item::Udp, "src", kInteger, kL4, 2, 0, 16},
    Field{Item::Udp, "dst", kInteger, kL4 + 2, 2, 0, 16},
    Field{Item::Sctp, "src", kInteger, kL4, 2, 0, 16},
    Field{Item::Sctp, "dst", kInteger, kL4 + 2, 2, 0, 16},
    Field{Item::Sctp, "tag", kInteger, kL4More, 4, 0, 32},
    Field{Item::Icmp, "type", kInteger, kL4, 1, 0, 8},
    Field{Item::Icmp, "code", kInteger, kL4 + 1, 1, 0, 8},
    Field{Item::Icmp, "ident", kInteger, kL4More, 2, 0, 16},
    Field{Item::Icmp, "seq", kInteger, kL4More + 2, 2, 0, 16},
    Field{Item::Icmp6, "type", kInteger, kL4, 1, 0, 8},
    Field{Item::Icmp6, "code", kInteger, kL4 + 1, 1, 0, 8},
    Field{Item::Icmp6, "ident", kInteger, kL4More, 2, 0, 16},
    Field{Item::Icmp6, "seq", kInteger, kL4More + 2, 2, 0, 16},
    Field{Item::Esp, "spi", kInteger, kL4, 4, 0, 32},
    Field{Item::Ah, "spi", kInteger, kL4, 4, 0, 32},
    Field{Item::Gre, "c_rsvd0_ver", kInteger, kL4, 2, 0, 16},
    Field{Item::Gre, "protocol", kInteger, kL4 + 2, 2, 0, 16},
    Field{Item::GreKey, "value", kInteger, kTunnel, 4, 0, 32, true},
    Field{Item::Vxlan, "vni", kInteger, kTunnel, 4, 8, 24, true},
    Field{Item::Geneve, "vni", kInteger, kTunnel, 4, 8, 24, true},
    Field{Item::Geneve, "protocol", kInteger, kL4More + 2, 2, 0, 16},
};

constexpr std::array kLayerFlags{
    LayerFlag{Item::Eth, "has_vlan", TAPFLOW_LAYER_VLAN, 0},
    LayerFlag{Item::Vlan, "has_more_vlan", TAPFLOW_LAYER_VLAN2, 0},
    LayerFlag{Item::Ipv6, "has_hop_ext", 0, TAPFLOW_EXTENSION_HOP},
    LayerFlag{Item::Ipv6, "has_route_ext", 0, TAPFLOW_EXTENSION_ROUTE},
    LayerFlag{Item::Ipv6, "has_frag_ext", 0, TAPFLOW_EXTENSION_FRAGMENT},
    LayerFlag{Item::Ipv6, "has_auth_ext", 0, TAPFLOW_EXTENSION_AUTH},
    LayerFlag{Item::Ipv6, "has_esp_ext", 0, TAPFLOW_EXTENSION_ESP},
    LayerFlag{Item::Ipv6, "has_dest_ext", 0, TAPFLOW_EXTENSION_DEST},
    LayerFlag{Item::Ipv6, "has_mobil_ext", 0, TAPFLOW_EXTENSION_MOBIL},
    LayerFlag{Item::Ipv6, "has_hip_ext", 0, TAPFLOW_EXTENSION_HIP},
    LayerFlag{Item::Ipv6, "has_shim6_ext", 0, TAPFLOW_EXTENSION_SHIM6},
};

size_t offset_of(const Field &field, Place place) {
    if (field.in_key)
        return field.offset;
    return size_t{field.offset} + (place.second_tag ? kSecondTag : 0) +
           (place.inner ? sizeof(tapflow_flow_headers) : 0);
}

uint32_t all_ones(const Field &field) { return static_cast<uint32_t>((uint64_t{1} << field.width) - 1); }

/// Where a ranged field's low end is in its 64-bit word.
uint8_t shift_of(size_t offset, const Field &field) {
    return static_cast<uint8_t>(64 - 8 * (offset % 8 + field.bytes) + field.shift);
}

} // namespace

std::string_view item_name(Item item) { return kItemTable[static_cast<size_t>(item)].name; }

std::optional<Item> item_by_name(std::string_view name) {
    for (const ItemInfo &info : kItemTable)
        if (name == info.name)
            return info.item;
    return std::nullopt;
}

std::span<const Field> fields() { return kFields; }

std::span<const Field> fields_of(Item item) {
    const auto is_of_item = [item](const Field &field) { return field.item == item; };
    const auto first = std::find_if(kFields.begin(), kFields.end(), is_of_item);
    return {first, std::find_if_not(first, kFields.end(), is_of_item)};
}

const Field *field_by_name(Item item, std::string_view name) {
    for (const Field &field : fields_of(item))
        if (name == field.name)
            return &field;
    return nullptr;
}

std::span<const LayerFlag> layer_flags() { return kLayerFlags; }

uint32_t layer_of(Item item, Place place) {
    const uint32_t layer = item == Item::Vlan && place.second_tag ? uint32_t{TAPFLOW_LAYER_VLAN2}
                                                                  : kItemTable[static_cast<size_t>(item)].layer;
    return place.inner ? layer << TAPFLOW_LAYER_INNER_SHIFT : layer;
}

uint8_t *bytes_of(tapflow_flow_key &key, const Field &field, Place place) {
    return reinterpret_cast<uint8_t *>(&key) + offset_of(field, place);
}

const uint8_t *bytes_of(const tapflow_flow_key &key, const Field &field, Place place) {
    return reinterpret_cast<const uint8_t *>(&key) + offset_of(field, place);
}

uint32_t get_integer(const tapflow_flow_key &key, const Field &field, Place place) {
    return packet::load_be(bytes_of(key, field, place), field.bytes) >> field.shift & all_ones(field);
}

void set_integer(tapflow_flow_key &key, const Field &field, Place place, uint32_t value) {
    uint8_t *bytes = bytes_of(key, field, place);
    const uint32_t former = packet::load_be(bytes, field.bytes);
    const uint32_t now = (former & ~(all_ones(field) << field.shift)) | (value & all_ones(field)) << field.shift;
    packet::store_be(bytes, now, field.bytes);
}

Result<void> set_range(Match &match, const Field &field, Place place, uint32_t bits, uint32_t low, uint32_t high) {
    bits &= all_ones(field);
    low &= bits;
    high &= bits;
    const std::string what = "range of " + std::string(item_name(field.item)) + " " + field.name;
    if (low > high)
        return Error{EINVAL, what, std::to_string(low) + " is above " + std::to_string(high)};
    if (low == 0 && high == bits)
        return {};
    if (low == high) {
        set_integer(match.mask, field, place, get_integer(match.mask, field, place) | bits);
        set_integer(match.value, field, place, (get_integer(match.value, field, place) & ~bits) | low);
        return {};
    }
    if (match.range_count == TAPFLOW_FLOW_RANGES)
        return Error{ENOSPC, what, "a rule has at most " + std::to_string(TAPFLOW_FLOW_RANGES) + " ranges"};
    const size_t offset = offset_of(field, place);
    const Range range{static_cast<uint8_t>(offset / 8), shift_of(offset, field), bits, low, high};
    match.ranges[match.range_count++] = range;
    std::sort(match.ranges.begin(), match.ranges.begin() + match.range_count, [](const Range &a, const Range &b) {
        return std::tuple(a.word, -a.shift, a.bits, a.low, a.high) <
               std::tuple(b.word, -b.shift, b.bits, b.low, b.high);
    });
    return {};
}

std::optional<RangedField> field_of(const Match &match, const Range &range) {
    // Outer Ethernet is there without being asked for.
    const uint32_t present = (match.mask.layers & match.value.layers) | TAPFLOW_LAYER_ETH;
    std::optional<RangedField> narrowest;
    const auto consider = [&](const Field &field, Place place) {
        const size_t offset = offset_of(field, place);
        if ((present & layer_of(field.item, place)) != 0 && offset / 8 == range.word &&
            shift_of(offset, field) == range.shift && (range.bits & ~all_ones(field)) == 0 &&
            (!narrowest || field.width < narrowest->field->width))
            narrowest = RangedField{&field, place};
    };
    for (const Field &field : kFields) {
        if (field.type == FieldType::Mac || field.type == FieldType::Ipv6)
            continue;
        for (const bool inner : {false, true}) {
            if (inner && field.in_key)
                continue;
            consider(field, Place{inner, false});
            if (field.item == Item::Vlan)
                consider(field, Place{inner, true});
        }
    }
    return narrowest;
}

} // namespace tapflow::flow
