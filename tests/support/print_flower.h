// SPDX-License-Identifier: BSD-3-Clause
// Flower filters in the words of a failed expectation.
#pragma once

#include "kernel/flower.h"

#include <ostream>

namespace tapflow::kernel {

inline void PrintTo(const FlowerFilter &filter, std::ostream *out) { // NOLINT(readability-identifier-naming)
    *out << describe(filter.place, "flower") << " with " << filter.actions.size() << " actions and";
    for (const FlowerKey &key : filter.keys)
        *out << " " << flower_field_name(key.field);
}

} // namespace tapflow::kernel
