// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "engine/port.h"
#include "rss/rss_config.h"
#include "tapflow/result.h"

#include <cstdint>

namespace tapflow::pmd {

/// What a port is made from.
struct Devargs {
    engine::PortOptions port;
    uint16_t reta_size = rss::kDefaultRetaSize; ///< that the port offers
    uint8_t rss_key_size = rss::kKeySize;       ///< that the port says it has; it takes either
    rss::Function rss_function = rss::Function::Toeplitz;
};

/// Parses "iface=tap0,remote=eth3,mac=02:00:00:00:00:01,persist,rx=ring,reta_size=512". `mac=fixed` makes an address
/// from `index`. `layer`: the device's.
///
/// Errors: EINVAL naming the key, what is wrong with it and what would be right; an unknown or repeated key is one.
Result<Devargs> parse_devargs(const char *arguments, unsigned index, kernel::Layer layer);

} // namespace tapflow::pmd
