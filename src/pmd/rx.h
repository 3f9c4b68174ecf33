// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pmd/compat.h"
#include "pmd/shared.h"

#include <span>

namespace tapflow::pmd {

/// Rx offloads that a queue has, and the port besides.
constexpr uint64_t kRxOffloads = RTE_ETH_RX_OFFLOAD_RSS_HASH | RTE_ETH_RX_OFFLOAD_VLAN_STRIP |
                                 RTE_ETH_RX_OFFLOAD_CHECKSUM | RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_TCP_LRO;
constexpr uint64_t kRxPortOffloads = kRxOffloads | RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
constexpr uint64_t kRxVlanOffloads = RTE_ETH_RX_OFFLOAD_VLAN_STRIP | RTE_ETH_RX_OFFLOAD_VLAN_FILTER;

/// Allocates memory: a queue's path is made when its port starts. `rules` outlive it.
RingPath make_ring_path(const kernel::RingView &ring, tapflow_queue_traffic &traffic, const engine::FlowRules &rules);

/// The burst function of a port for a set of offloads: all its queues have the one.
eth_rx_burst_t select_rx_burst(const rte_eth_dev *dev, uint64_t offloads);

/// The packet types that select_rx_burst()'s functions report; RTE_PTYPE_UNKNOWN lies behind them.
std::span<const uint32_t> supported_ptypes(const rte_eth_dev *dev);

/// The bytes of a queue's ring for `descriptors`: 2 KiB each, rounded up to a power of two, 128 KiB to 16 MiB.
///
/// 2 KiB is a full Ethernet frame with its record and the size class's rounding; a 64-byte packet takes 112 bytes.
/// Above 1 MiB (512 descriptors, the default) a ring no longer stays in a core's cache. The least ring holds a
/// super-frame.
uint32_t ring_bytes(uint16_t descriptors);
constexpr uint16_t kMinDescriptors = 64;
constexpr uint16_t kMaxDescriptors = 8192;
constexpr uint16_t kDefaultDescriptors = 512;

} // namespace tapflow::pmd
