// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

namespace tapflow::test {

/// The source of randomness of a test. Its seed is printed, and TAPFLOW_SEED=<seed> runs the same again.
inline std::mt19937_64 seeded_random() {
    const char *given = std::getenv("TAPFLOW_SEED");
    const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
    std::cout << "TAPFLOW_SEED=" << seed << std::endl;
    return std::mt19937_64(seed);
}

} // namespace tapflow::test
