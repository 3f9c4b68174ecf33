// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "tapflowctl/watch_sample.h"

#include <cstddef>

namespace tapflow::ctl {

/// One document of the stream, with so many rules at most: those with most packets.
Json watch_json(const Sample &now, Activity activity, size_t rules);

} // namespace tapflow::ctl
