// SPDX-License-Identifier: BSD-3-Clause
// A port that is not what it says of itself.
#pragma once

#include "engine/inspect.h"
#include "kernel/bpf.h"
#include "support/must.h"
#include "support/system.h"

#include <bpf/bpf.h>

#include <span>
#include <string>

namespace tapflow::test {

/// Publishes a port's RSS configuration anew such that the classifier hashes destination addresses that end in 2
/// otherwise than the configuration's key says: bit 0 of the hash is wrong, and so is the queue.
inline void publish_wrong_tables(const std::string &name) {
    const engine::InspectedPort port = must(engine::find_port(name));
    const engine::RssState rss = must(port.rss());
    rss.tables->table[TAPFLOW_ROW_IPV4 + 7][2] ^= 1U;
    const kernel::Fd map =
        must(kernel::create_constant_map("tapflow_rss", std::as_bytes(std::span(rss.tables.get(), 1))));
    const uint32_t slot = 0;
    const int fd = map.get();
    if (bpf_map_update_elem(port.map("rss_slot"), &slot, &fd, BPF_ANY) != 0)
        throw_errno("publish RSS configuration");
}

} // namespace tapflow::test
