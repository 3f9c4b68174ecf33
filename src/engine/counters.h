// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <linux/types.h>

#include <atomic>
#include <cstdint>

namespace tapflow::engine {

/// A counter in memory that programs add to while one reads.
inline uint64_t read_counter(const __u64 &counter) {
    return std::atomic_ref<__u64>(const_cast<__u64 &>(counter)).load(std::memory_order_relaxed);
}

} // namespace tapflow::engine
