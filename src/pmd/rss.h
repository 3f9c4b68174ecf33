// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pmd/compat.h"
#include "rss/rss_config.h"

namespace tapflow::pmd {

/// What rss_hf may hold.
constexpr uint64_t kRssTypes = rss::kAllTypes | rss::kAllModifiers;

/// Takes over what rte_eth_dev_configure() asks for: key, types, and a round-robin RETA when the number of queues
/// has changed. Returns 0 or -errno with a log line.
int configure_rss(rte_eth_dev *dev);

/// Delivery by fd: gives the Rx queues' own hashing the configuration in shared memory.
void publish_rss(rte_eth_dev *dev);

// Operations of eth_dev_ops; on a started port they take effect with the next packet.
int rss_hash_update(rte_eth_dev *dev, rte_eth_rss_conf *conf);
int rss_hash_conf_get(rte_eth_dev *dev, rte_eth_rss_conf *conf);
int reta_update(rte_eth_dev *dev, rte_eth_rss_reta_entry64 *entries, uint16_t size);
int reta_query(rte_eth_dev *dev, rte_eth_rss_reta_entry64 *entries, uint16_t size);

} // namespace tapflow::pmd
