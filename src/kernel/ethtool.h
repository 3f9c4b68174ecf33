// SPDX-License-Identifier: BSD-3-Clause
// An interface's features by ethtool's ioctl.
#pragma once

#include "tapflow/result.h"

#include <string>

namespace tapflow::kernel {

/// Whether a feature of the caller's namespace's interface is on, by the name that `ethtool -k` has in brackets of the
/// kernel's list: "rx-lro", "rx-gro-hw". False for one that the kernel does not know.
Result<bool> has_feature(const std::string &interface, const std::string &feature);

} // namespace tapflow::kernel
