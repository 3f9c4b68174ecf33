// SPDX-License-Identifier: BSD-3-Clause
// Capture files, as libpcap reads them.
#pragma once

#include "packet/build.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tapflow::test {

struct Captured {
    uint64_t time_ns = 0; ///< since 1970
    uint32_t length = 0;  ///< on the wire
    packet::Bytes frame;
};

/// What libpcap finds in a file of Ethernet frames.
std::vector<Captured> read_by_libpcap(const std::string &path);

} // namespace tapflow::test
