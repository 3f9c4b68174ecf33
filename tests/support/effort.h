// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstdlib>

namespace tapflow::test {

/// How many of `count` repetitions to do: TAPFLOW_TEST_EFFORT percent of them, for emulated CPUs; at least one.
inline unsigned effort(unsigned count) {
    const char *percent = std::getenv("TAPFLOW_TEST_EFFORT");
    return percent ? std::max(1U, count * static_cast<unsigned>(std::atoi(percent)) / 100) : count;
}

} // namespace tapflow::test
