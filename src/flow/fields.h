// SPDX-License-Identifier: BSD-3-Clause
// The fields that a rule can name, each with its place in the key: the one table behind rte_flow's structures, the text
// form, JSON and TC's attributes.
#pragma once

#include "flow/rule.h"
#include "tapflow/result.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace tapflow::flow {

/// Headers, by the names of testpmd's pattern items.
enum class Item : uint8_t {
    Eth,
    Vlan,
    Arp, ///< arp_eth_ipv4
    Ipv4,
    Ipv6,
    Ipv6Fragment, ///< ipv6_frag_ext
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmp6,
    Esp,
    Ah,
    Gre,
    GreKey,
    Vxlan,
    Geneve,
};
constexpr size_t kItems = 17;

/// testpmd's name of an item.
std::string_view item_name(Item item);
std::optional<Item> item_by_name(std::string_view name);

enum class FieldType : uint8_t {
    Integer, ///< ranges are possible
    Bits,    ///< an integer without ranges: a flag, or several fields in one
    Mac,
    Ipv4,
    Ipv6,
};

/// A field of an item.
struct Field {
    Item item;
    const char *name; ///< testpmd's, where it has one
    FieldType type;
    uint16_t offset; ///< of its first byte, in tapflow_flow_headers; in tapflow_flow_key where `in_key`
    uint8_t bytes;   ///< that it stretches over, 1 to 16
    uint8_t shift;   ///< Integer, Bits: bits right of it in these bytes (big-endian)
    uint8_t width;   ///< bits
    bool in_key = false;
};

/// All fields, those of one item together. The bits of `layers` and `ip_extension`, which are in host byte order, are
/// not among them: see layer_flags.
std::span<const Field> fields();
std::span<const Field> fields_of(Item item);
/// The field "vid" of Vlan; null if there is none.
const Field *field_by_name(Item item, std::string_view name);

/// One bit of a word in host byte order, which an item shows as a field of one bit: has_vlan, has_frag_ext.
struct LayerFlag {
    Item item;
    const char *name;
    uint32_t layer;     ///< enum tapflow_flow_layer of outer headers, or 0 …
    uint16_t extension; ///< … and then enum tapflow_flow_extension
};
std::span<const LayerFlag> layer_flags();

/// Where a pattern's next item is to go: which tag, and which of the two stacks of headers.
struct Place {
    bool inner = false;
    bool second_tag = false; ///< Vlan: vlan2_*
};

/// The bits of tapflow_flow_key::layers that a packet with this header has.
uint32_t layer_of(Item item, Place place);

/// A field's bytes in a key, `bytes` of them.
uint8_t *bytes_of(tapflow_flow_key &key, const Field &field, Place place);
const uint8_t *bytes_of(const tapflow_flow_key &key, const Field &field, Place place);

/// An integer field's value in a key, right-aligned, in host byte order; and its replacement.
uint32_t get_integer(const tapflow_flow_key &key, const Field &field, Place place);
void set_integer(tapflow_flow_key &key, const Field &field, Place place, uint32_t value);

/// Demands low <= (field & bits) <= high of an integer field, in a normal form (see Match): an empty range, one that
/// covers everything and one of a single value are none. Errors: EINVAL for low > high, ENOSPC when the match has no
/// room for another range.
Result<void> set_range(Match &match, const Field &field, Place place, uint32_t bits, uint32_t low, uint32_t high);
/// The field and place of a range, for who shows it: of fields that share their low end, the narrowest that has it all.
struct RangedField {
    const Field *field = nullptr;
    Place place;
};
std::optional<RangedField> field_of(const Match &match, const Range &range);

} // namespace tapflow::flow
