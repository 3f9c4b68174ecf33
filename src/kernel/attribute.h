// SPDX-License-Identifier: BSD-3-Clause
// Netlink attributes, read without trust in their lengths.
#pragma once

#include <netlink/attr.h>

#include <cstring>
#include <optional>
#include <string>
#include <type_traits>

namespace tapflow::kernel {

/// The attribute of that type in a nest; null if there is none, or no nest.
inline nlattr *find_in(const nlattr *nest, int type) {
    return nest ? nla_find(static_cast<const nlattr *>(nla_data(nest)), nla_len(nest), type) : nullptr;
}

/// A payload as in memory; nothing if the attribute is null or too short.
template <typename T> std::optional<T> value_of(const nlattr *attribute) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (!attribute || nla_len(attribute) < static_cast<int>(sizeof(T)))
        return std::nullopt;
    T value;
    std::memcpy(&value, nla_data(attribute), sizeof(value)); // aligned to 4 bytes only
    return value;
}
template <typename T> std::optional<T> value_in(const nlattr *nest, int type) {
    return value_of<T>(find_in(nest, type));
}

/// A payload as text, which a zero byte may end; empty if the attribute is null.
inline std::string text_of(const nlattr *attribute) {
    if (!attribute)
        return {};
    const auto *text = static_cast<const char *>(nla_data(attribute));
    return {text, strnlen(text, static_cast<size_t>(nla_len(attribute)))};
}

/// Appends a nest that `fill` fills; an empty one is left out. False: out of room, or longer than an attribute can be.
template <typename Fill> [[nodiscard]] bool put_nest(nl_msg *message, int type, const Fill &fill) {
    nlattr *nest = nla_nest_start(message, type);
    return nest && fill() && nla_nest_end(message, nest) == 0;
}

} // namespace tapflow::kernel
