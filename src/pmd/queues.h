// SPDX-License-Identifier: BSD-3-Clause
// Rx and Tx queues: set up, started and stopped, at run time too, and what can be asked of them (rte_ethdev.h).
#pragma once

#include "pmd/compat.h"

namespace tapflow::pmd {

/// The bytes of a frame beside its MTU: Ethernet header and two tags.
constexpr uint32_t kFrameOverhead = RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN;

int rx_queue_setup(rte_eth_dev *dev, uint16_t index, uint16_t descriptors, unsigned socket, const rte_eth_rxconf *conf,
                   rte_mempool *pool);
int tx_queue_setup(rte_eth_dev *dev, uint16_t index, uint16_t descriptors, unsigned socket, const rte_eth_txconf *conf);
void rx_queue_release(rte_eth_dev *dev, uint16_t index);
void tx_queue_release(rte_eth_dev *dev, uint16_t index);

/// Whether any Rx queue has RTE_ETH_RX_OFFLOAD_RSS_HASH.
bool hash_is_asked_for(const rte_eth_dev *dev);
/// Makes ready all queues of a port that starts, and says of each whether it starts with the port.
int prepare_queues(rte_eth_dev *dev);
/// Forgets what of super-frames has not been delivered, in a port that has stopped.
void reset_queues(rte_eth_dev *dev);
/// The states as the application sees them: of a port that has started, or stopped.
void report_queue_states(rte_eth_dev *dev, bool started);

int rx_queue_start(rte_eth_dev *dev, uint16_t index);
int rx_queue_stop(rte_eth_dev *dev, uint16_t index);
int tx_queue_start(rte_eth_dev *dev, uint16_t index);
int tx_queue_stop(rte_eth_dev *dev, uint16_t index);

void rxq_info_get(rte_eth_dev *dev, uint16_t index, rte_eth_rxq_info *info);
void txq_info_get(rte_eth_dev *dev, uint16_t index, rte_eth_txq_info *info);
int rx_burst_mode_get(rte_eth_dev *dev, uint16_t index, rte_eth_burst_mode *mode);
int tx_burst_mode_get(rte_eth_dev *dev, uint16_t index, rte_eth_burst_mode *mode);

/// Nothing is ever left to free.
int tx_done_cleanup(void *queue, uint32_t count);

/// Warns of queues whose mbufs are too small for a port's MTU.
void warn_of_small_mbufs(const rte_eth_dev *dev, uint32_t mtu);

} // namespace tapflow::pmd
