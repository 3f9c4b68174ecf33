// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pmd/compat.h"

namespace tapflow::pmd {

// Statistics operations of eth_dev_ops. Rx counts packets as on the wire: each segment of a super-frame.
int stats_get(rte_eth_dev *dev, rte_eth_stats *stats, QueueStats *of_queues); ///< of_queues may be null
int stats_reset(rte_eth_dev *dev);
int xstats_get(rte_eth_dev *dev, rte_eth_xstat *values, unsigned count);
int xstats_get_names(rte_eth_dev *dev, rte_eth_xstat_name *names, unsigned count);

} // namespace tapflow::pmd
