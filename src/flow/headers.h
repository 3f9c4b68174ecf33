// SPDX-License-Identifier: BSD-3-Clause
// A match taken apart again into the headers and fields that a Pattern is told: what the text form and JSON have in
// common.
#pragma once

#include "flow/fields.h"
#include "flow/pattern.h"
#include "flow/rule.h"
#include "tapflow/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::flow {

/// A field's bits, right-aligned; what comes first on the wire is highest. Wide enough for an IPv6 address.
__extension__ using FieldBits = unsigned __int128;

constexpr FieldBits all_ones(unsigned width) { return width == 128 ? ~FieldBits{0} : (FieldBits{1} << width) - 1; }

/// As people write it: integers in decimal, addresses as addresses.
std::string value_text(FieldType type, FieldBits value);
/// Reads that; integers may be hexadecimal behind "0x". Errors: EINVAL, with `detail` saying what could stand there.
Result<FieldBits> parse_value(FieldType type, unsigned width, std::string_view text);

/// A field or a flag by its name in an item.
struct FieldName {
    const Field *field = nullptr;    ///< or ...
    const LayerFlag *flag = nullptr; ///< ... this; neither: there is no such name

    explicit operator bool() const { return field != nullptr || flag != nullptr; }
    [[nodiscard]] const char *name() const { return field ? field->name : flag->name; }
    [[nodiscard]] FieldType type() const { return field ? field->type : FieldType::Bits; }
    [[nodiscard]] unsigned width() const { return field ? field->width : 1; }
    bool operator==(const FieldName &) const = default;
};
FieldName field_or_flag(Item item, std::string_view name);
/// All names of an item, for who has to say what could stand somewhere: "src, dst, has_vlan".
std::string field_names(Item item);

/// What is asked of a field: (field & mask) == (value & mask), or value <= (field & mask) <= last.
struct Demand {
    FieldName name;
    FieldBits value = 0;
    FieldBits mask = 0;
    std::optional<FieldBits> last;
};

/// A header with what is asked of it.
struct Header {
    std::optional<Item> item; ///< none: "any", a header of whatever kind
    Place place;
    std::vector<Demand> demands;
};

/// The headers of a match, outermost first. A Pattern that gets them in this order has the same match again. An outer
/// Ethernet header of which nothing is asked is not among them.
std::vector<Header> headers_of(const Match &match);

/// Tells a pattern one demand on the header at `place`. Errors: EINVAL for a range of what has no order; those of
/// Pattern.
Result<void> add_demand(Pattern &pattern, Place place, const Demand &demand);

} // namespace tapflow::flow
