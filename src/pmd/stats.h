// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pmd/compat.h"

#include <functional>

namespace tapflow::pmd {

// Statistics operations of eth_dev_ops. Rx counts packets as on the wire: each segment of a super-frame.
int stats_get(rte_eth_dev *dev, rte_eth_stats *stats, QueueStats *of_queues); ///< of_queues may be null
int stats_reset(rte_eth_dev *dev);
int xstats_get(rte_eth_dev *dev, rte_eth_xstat *values, unsigned count);
int xstats_get_names(rte_eth_dev *dev, rte_eth_xstat_name *names, unsigned count);

/// Packets that found their ring, or their queue of the tap, full.
uint64_t rx_missed(const rte_eth_dev *dev);
/// Calls `each` for the statistics of a queue, by the names that extended statistics have behind "rx_q0_".
using EachStatistic = std::function<void(const char *name, uint64_t value)>;
void for_each_rx_statistic(const rte_eth_dev *dev, uint16_t queue, const EachStatistic &each);
void for_each_tx_statistic(const rte_eth_dev *dev, uint16_t queue, const EachStatistic &each);

} // namespace tapflow::pmd
