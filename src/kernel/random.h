// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "tapflow/result.h"

#include <sys/random.h>

#include <cstdint>

namespace tapflow::kernel {

/// A number that nobody can guess (getrandom(2)).
inline Result<uint64_t> random_number() {
    uint64_t number = 0;
    if (getrandom(&number, sizeof(number), 0) != static_cast<ssize_t>(sizeof(number)))
        return last_error("get a random number");
    return number;
}

} // namespace tapflow::kernel
