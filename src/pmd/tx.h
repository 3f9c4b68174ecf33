// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pmd/compat.h"
#include "pmd/shared.h"

namespace tapflow::pmd {

/// Tx offloads that the port has: the kernel, or whoever it gives the packet to, does the work.
constexpr uint64_t kTxOffloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_VLAN_INSERT |
                                 RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
                                 RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO |
                                 RTE_ETH_TX_OFFLOAD_UDP_TSO | RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

/// Segments of one packet at the most.
constexpr uint16_t kMaxTxSegments = 255;

/// Makes what a Tx queue needs in this process.
TxPath make_tx_path(int fd, tapflow_queue_traffic &traffic, bool tun);

/// Writes packets to the queue's fd without blocking. Returns how many were taken, sent or dropped with a count; the
/// rest is as the caller had it. The mbuf's data is never changed, so it may be shared or read-only.
uint16_t tx_burst(void *queue, rte_mbuf **packets, uint16_t count);

} // namespace tapflow::pmd
