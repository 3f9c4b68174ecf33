// SPDX-License-Identifier: BSD-3-Clause
#include "flow/headers.h"

#include "packet/build.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace tapflow::flow {
namespace {

template <size_t N> std::array<uint8_t, N> to_bytes(FieldBits value) {
    std::array<uint8_t, N> bytes{};
    for (size_t i = N; i-- > 0; value >>= 8)
        bytes[i] = static_cast<uint8_t>(value);
    return bytes;
}

FieldBits from_bytes(std::span<const uint8_t> bytes) {
    FieldBits value = 0;
    for (const uint8_t byte : bytes)
        value = value << 8 | byte;
    return value;
}

template <typename Address> Result<FieldBits> address_bits(const Result<Address> &address, const char *wanted) {
    if (!address)
        return Error{EINVAL, "read address", wanted};
    return from_bytes(address->bytes);
}

FieldBits get_bits(const tapflow_flow_key &key, const Field &field, Place place) {
    return from_bytes({bytes_of(key, field, place), field.bytes}) >> field.shift & all_ones(field.width);
}

void clear_bits(tapflow_flow_key &key, const Field &field, Place place) {
    uint8_t *bytes = bytes_of(key, field, place);
    const std::span<uint8_t> all(bytes, field.bytes);
    const auto kept = to_bytes<16>(from_bytes(all) & ~(all_ones(field.width) << field.shift));
    std::copy_n(kept.end() - field.bytes, field.bytes, bytes);
}

/// The bits of a field that fields behind it in the table have too: of "tci" those of "pcp", "dei" and "vid".
FieldBits bits_of_parts(const Field &field) {
    const auto own = all_ones(field.width) << field.shift;
    FieldBits parts = 0;
    const auto siblings = fields_of(field.item);
    for (const Field &other : siblings)
        if (&other > &field && other.offset == field.offset && other.bytes == field.bytes)
            parts |= all_ones(other.width) << other.shift & own;
    return parts >> field.shift;
}

/// Takes demands out of a match until nothing is left.
class Dissection {
  public:
    explicit Dissection(const Match &match) : match_(match), mask_(match.mask) {}

    std::vector<Header> headers() {
        const uint32_t present = match_.value.layers & match_.mask.layers;
        take_stack(present, false);
        if ((present & TAPFLOW_LAYER_INNER_MASK) == 0)
            return std::move(headers_);
        constexpr uint32_t tunnels = TAPFLOW_LAYER_GRE | TAPFLOW_LAYER_VXLAN | TAPFLOW_LAYER_GENEVE;
        if ((present & (tunnels | TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_IPV6)) == 0)
            add_unnamed_outer_ip();
        take_stack(present, true);
        return std::move(headers_);
    }

  private:
    void take_stack(uint32_t present, bool inner) {
        for (size_t index = 0; index < kItems; index++) {
            const Item item = static_cast<Item>(index);
            for (const Place place : {Place{inner, false}, Place{inner, true}}) {
                if ((place.second_tag && item != Item::Vlan) || (inner && index >= static_cast<size_t>(Item::Gre)))
                    continue;
                const bool always = item == Item::Eth && !inner;
                if (!always && (present & layer_of(item, place)) == 0)
                    continue;
                Header header{item, place, take_demands(item, place)};
                if (!always || !header.demands.empty())
                    headers_.push_back(std::move(header));
            }
        }
    }

    /// IP in an IP header that was only "any".
    void add_unnamed_outer_ip() {
        if (headers_.empty())
            headers_.push_back({Item::Eth, {}, {}});
        headers_.push_back({std::nullopt, {}, {}});
    }

    std::vector<Demand> take_demands(Item item, Place place) {
        std::vector<Demand> demands;
        for (const Field &field : fields_of(item)) {
            const FieldBits mask = get_bits(mask_, field, place);
            const FieldBits parts = bits_of_parts(field);
            if (mask != 0 && (parts == 0 || (mask & ~parts) != 0)) {
                demands.push_back({{&field, nullptr}, get_bits(match_.value, field, place), mask, std::nullopt});
                clear_bits(mask_, field, place);
            }
            for (size_t i = 0; i < match_.range_count; i++) {
                const Range &range = match_.ranges[i];
                const auto ranged = field_of(match_, range);
                if (ranged && ranged->field == &field && ranged->place.inner == place.inner &&
                    ranged->place.second_tag == place.second_tag)
                    demands.push_back({{&field, nullptr}, range.low, range.bits, range.high});
            }
        }
        take_flags(item, place, demands);
        return demands;
    }

    void take_flags(Item item, Place place, std::vector<Demand> &demands) {
        for (const LayerFlag &flag : layer_flags()) {
            if (flag.item != item)
                continue;
            if (flag.layer == 0) {
                const auto &value = place.inner ? match_.value.inner : match_.value.outer;
                const auto &mask = place.inner ? match_.mask.inner : match_.mask.outer;
                if (mask.ip_extension & flag.extension)
                    demands.push_back({{nullptr, &flag}, (value.ip_extension & flag.extension) != 0, 1, std::nullopt});
                continue;
            }
            // One that is there is an item of its own.
            const uint32_t layer = place.inner ? flag.layer << TAPFLOW_LAYER_INNER_SHIFT : flag.layer;
            const bool shown = !(place.second_tag && flag.layer == TAPFLOW_LAYER_VLAN2);
            if (shown && (match_.mask.layers & ~match_.value.layers & layer))
                demands.push_back({{nullptr, &flag}, 0, 1, std::nullopt});
        }
    }

    const Match &match_;
    tapflow_flow_key mask_; ///< what no demand says yet
    std::vector<Header> headers_;
};

} // namespace

std::string value_text(FieldType type, FieldBits value) {
    switch (type) {
    case FieldType::Mac:
        return MacAddress{to_bytes<6>(value)}.text();
    case FieldType::Ipv4: {
        packet::Ipv4Address address;
        address.bytes = to_bytes<4>(value);
        return packet::to_string(address);
    }
    case FieldType::Ipv6: {
        packet::Ipv6Address address;
        address.bytes = to_bytes<16>(value);
        return packet::to_string(address);
    }
    default:
        return std::to_string(static_cast<uint64_t>(value));
    }
}

Result<FieldBits> parse_value(FieldType type, unsigned width, std::string_view text) {
    switch (type) {
    case FieldType::Mac:
        return address_bits(packet::parse_mac(text), "expected a MAC address such as 02:00:00:00:00:01");
    case FieldType::Ipv4:
        return address_bits(packet::parse_ipv4(text), "expected an IPv4 address");
    case FieldType::Ipv6:
        return address_bits(packet::parse_ipv6(text), "expected an IPv6 address");
    default:
        break;
    }
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    const std::string_view digits = hexadecimal ? text.substr(2) : text;
    uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, hexadecimal ? 16 : 10);
    if (error != std::errc{} || end != digits.data() + digits.size() || value > all_ones(width))
        return Error{EINVAL, "read number", "expected a number from 0 to " + value_text(type, all_ones(width))};
    return FieldBits{value};
}

FieldName field_or_flag(Item item, std::string_view name) {
    if (const Field *field = field_by_name(item, name))
        return {field, nullptr};
    for (const LayerFlag &flag : layer_flags())
        if (flag.item == item && name == flag.name)
            return {nullptr, &flag};
    return {};
}

std::string field_names(Item item) {
    std::string names;
    const auto add = [&names](const char *name) { names += (names.empty() ? "" : ", ") + std::string(name); };
    for (const Field &field : fields_of(item))
        add(field.name);
    for (const LayerFlag &flag : layer_flags())
        if (flag.item == item)
            add(flag.name);
    return names;
}

std::vector<Header> headers_of(const Match &match) { return Dissection(match).headers(); }

Result<void> add_demand(Pattern &pattern, Place place, const Demand &demand) {
    const bool word = demand.name.field && demand.name.field->width <= 32;
    if (demand.last && !(word && demand.name.type() != FieldType::Bits))
        return Error{EINVAL, std::string("field ") + demand.name.name(),
                     "only single numbers and IPv4 addresses have ranges"};
    if (!demand.name.field)
        return demand.mask == 0 ? Result<void>() : pattern.has(*demand.name.flag, place, demand.value != 0);
    const Field &field = *demand.name.field;
    if (demand.last)
        return pattern.between(field, place, static_cast<uint32_t>(demand.mask), static_cast<uint32_t>(demand.value),
                               static_cast<uint32_t>(*demand.last));
    if (word) {
        pattern.compare(field, place, static_cast<uint32_t>(demand.value), static_cast<uint32_t>(demand.mask));
        return {};
    }
    const auto value = to_bytes<16>(demand.value);
    const auto mask = to_bytes<16>(demand.mask);
    pattern.compare(field, place, std::span(value).last(field.bytes), std::span(mask).last(field.bytes));
    return {};
}

} // namespace tapflow::flow
