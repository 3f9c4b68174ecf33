// SPDX-License-Identifier: BSD-3-Clause
// Waiting, with limits generous enough for a CI machine ten times slower than ours.
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace tapflow::test {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

inline constexpr milliseconds kDefaultTimeout{60'000};

/// The time left until `deadline`, never negative, as poll(2) takes it (rounded up: no spinning in the last one).
[[nodiscard]] inline int poll_timeout(Clock::time_point deadline) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    return static_cast<int>(std::clamp<decltype(left)>(left, 0, 3'600'000));
}

/// For conditions that have no event to wait for: polls until `predicate()` holds. Returns whether it came to hold.
template <typename Predicate>
[[nodiscard]] bool wait_until(Predicate predicate, milliseconds timeout = kDefaultTimeout,
                              milliseconds interval = milliseconds(5)) {
    const auto deadline = Clock::now() + timeout;
    while (!predicate()) {
        if (Clock::now() >= deadline)
            return false;
        std::this_thread::sleep_for(interval);
    }
    return true;
}

} // namespace tapflow::test
