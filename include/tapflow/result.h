// SPDX-License-Identifier: BSD-3-Clause
// Errors as values.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <variant>

namespace tapflow {

/// Why an operation failed.
///
/// `code` is a positive errno value, `what` says what was attempted on which object ("add bpf filter to tap0
/// egress, preference 200"), `detail` holds the kernel's own words (netlink extended ack, verifier log) where
/// it gave any.
struct Error {
    int code = EINVAL;
    std::string what;
    std::string detail;

    /// One line for people: what was attempted, why it failed, the kernel's words.
    [[nodiscard]] std::string message() const {
        std::string text = what + ": " + std::strerror(code);
        return detail.empty() ? text : text + " (" + detail + ")";
    }

    bool operator==(const Error &) const = default;
};

/// Captures errno: call it right after the failing system call.
[[nodiscard]] inline Error last_error(std::string what) { return {errno, std::move(what), {}}; }

/// A value or an Error. Test with `if (!result)`, then `result.error()`; otherwise `*result`.
template <typename T> class [[nodiscard]] Result {
  public:
    Result(T value) : state_(std::move(value)) {}     // NOLINT(google-explicit-constructor)
    Result(Error error) : state_(std::move(error)) {} // NOLINT(google-explicit-constructor)

    explicit operator bool() const { return state_.index() == 0; }
    T &operator*() & { return *std::get_if<0>(&state_); }
    const T &operator*() const & { return *std::get_if<0>(&state_); }
    T &&operator*() && { return std::move(*std::get_if<0>(&state_)); }
    T *operator->() { return std::get_if<0>(&state_); }
    const T *operator->() const { return std::get_if<0>(&state_); }
    [[nodiscard]] const Error &error() const { return *std::get_if<1>(&state_); }

  private:
    std::variant<T, Error> state_;
};

/// Success or an Error.
template <> class [[nodiscard]] Result<void> {
  public:
    Result() = default;
    Result(Error error) : error_(std::move(error)), ok_(false) {} // NOLINT(google-explicit-constructor)

    explicit operator bool() const { return ok_; }
    [[nodiscard]] const Error &error() const { return error_; }

  private:
    Error error_;
    bool ok_ = true;
};

} // namespace tapflow
