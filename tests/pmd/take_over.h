// SPDX-License-Identifier: BSD-3-Clause
// How long it takes until the kernel has the packets of a port that lets nobody have them.
#pragma once

#include "pmd/remote_rig.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <functional>

namespace tapflow::test {

struct TakeOver {
    milliseconds elapsed{};
    milliseconds longest_stall{}; ///< of the test itself: how little of the machine it gets
};

/// Sends frames to `own` about every millisecond until the kernel gets one. `meanwhile` is called between them.
inline TakeOver wait_for_kernel(
    PacketSocket &peer, PacketSocket &kernel, const MacAddress &own, size_t size = 60,
    const std::function<void()> &meanwhile = [] {}) {
    TakeOver result;
    const auto start = Clock::now();
    auto before = start;
    const packet::Bytes frame = probe(own, packet::Mac("02:00:00:00:03:01"), size);
    const bool came = wait_until(
        [&] {
            (void)peer.send(frame);
            meanwhile();
            const auto now = Clock::now();
            result.longest_stall =
                std::max(result.longest_stall, std::chrono::duration_cast<milliseconds>(now - before));
            before = now;
            return kernel.receive(milliseconds(0)).has_value();
        },
        kDefaultTimeout, milliseconds(1));
    result.elapsed = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
    if (!came)
        throw std::runtime_error("the kernel got nothing");
    return result;
}

/// The promise is two seconds. A machine on which this test stands still for a while is allowed that as well, up to
/// five times the promise.
inline void expect_in_time(const char *what, const TakeOver &take_over) {
    using std::chrono::seconds;
    std::printf("[ MEASURED ] %s: %lld ms (longest stall of the test: %lld ms)\n", what,
                static_cast<long long>(take_over.elapsed.count()),
                static_cast<long long>(take_over.longest_stall.count()));
    const milliseconds limit = seconds(2) + 5 * std::max(take_over.longest_stall - milliseconds(10), milliseconds(0));
    EXPECT_LE(take_over.elapsed, std::min<milliseconds>(limit, seconds(10))) << what;
}

} // namespace tapflow::test
