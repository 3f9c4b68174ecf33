// SPDX-License-Identifier: BSD-3-Clause
// The rivals' side of the kernel: a tap as one opens it without a second thought, and programs that only drop.
#pragma once

#include "kernel/fd.h"
#include "tapflow/mac_address.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tapflow::bench {

/// A tap with one queue and neither vnet_hdr nor multi-queue, non-blocking, in the calling thread's namespace; it goes
/// with the fd.
kernel::Fd open_plain_tap(const std::string &name);

/// A TCX program at the interface's ingress that drops everything, for as long as the fd lives.
kernel::Fd drop_ingress(const std::string &interface);

/// An IPv4/UDP frame of `size` bytes without UDP checksum, FCS not counted.
std::vector<uint8_t> udp_frame(const MacAddress &destination, unsigned size);

} // namespace tapflow::bench
