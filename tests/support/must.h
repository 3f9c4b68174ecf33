// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "tapflow/result.h"

#include <stdexcept>
#include <utility>

namespace tapflow::test {

/// What a Result holds; std::runtime_error with its message if that is an Error.
inline void must(const Result<void> &result) {
    if (!result)
        throw std::runtime_error(result.error().message());
}
template <typename T> T must(Result<T> result) {
    if (!result)
        throw std::runtime_error(result.error().message());
    return *std::move(result);
}

} // namespace tapflow::test
