// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "engine/port.h"
#include "tapflow/result.h"

#include <string>

namespace tapflow::pmd {

/// Parses "iface=tap0,remote=eth3,mac=02:00:00:00:00:01,persist,rx=ring". `mac=fixed` makes an address from `index`.
///
/// Errors: EINVAL naming the key, what is wrong with it and what would be right; an unknown or repeated key is one.
Result<engine::PortOptions> parse_devargs(const char *arguments, unsigned index);

} // namespace tapflow::pmd
