// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "kernel/tun_reader.h"
#include "rss/published_tables.h"
#include "tapflow/abi/port_state.h"
#include "tapflow/abi/record.h"

#include <rte_mbuf.h>

#include <cstdint>

namespace tapflow::engine {
class FlowRules;
}

namespace tapflow::pmd {

/// What an Rx queue that is read from the tap needs in this process.
struct FdPath {
    kernel::TunReader *reader = nullptr;        ///< the engine's
    const rss::PublishedTables *hash = nullptr; ///< null: the hash is not asked for
    const engine::FlowRules *rules = nullptr;   ///< the port's: they come and go while it is started
    tapflow_queue_traffic *traffic = nullptr;
    uint64_t cookie = 0;     ///< tapflow_port_config::cookie
    tapflow_record record{}; ///< of the frame in the reader's buffer
    bool waiting = false;    ///< that frame is not, or not wholly, delivered
};

/// The receive function of delivery by fd; takes a RxQueue.
uint16_t rx_burst_fd(void *queue, rte_mbuf **packets, uint16_t wanted);

} // namespace tapflow::pmd
