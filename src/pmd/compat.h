// SPDX-License-Identifier: BSD-3-Clause
// The one place for what differs between DPDK releases.
#pragma once

#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_flow_driver.h>
#include <rte_version.h>

#include "rss/rss_config.h"

#include <optional>

// 25.07: the name is exported without a counter.
#if RTE_VERSION >= RTE_VERSION_NUM(25, 7, 0, 0)
#define TAPFLOW_EXPORT_NAME(name) RTE_PMD_EXPORT_NAME(name)
#else
#define TAPFLOW_EXPORT_NAME(name) RTE_PMD_EXPORT_NAME(name, __COUNTER__)
#endif

namespace tapflow::pmd {

// 23.11: a port's configuration names the hash function, too; before, only flow rules do.
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
/// The function that is asked for; none: one that is not known here.
inline std::optional<rss::Function> asked_hash_function(const rte_eth_rss_conf &conf, rss::Function by_default) {
    switch (conf.algorithm) {
    case RTE_ETH_HASH_FUNCTION_DEFAULT:
        return by_default;
    case RTE_ETH_HASH_FUNCTION_TOEPLITZ:
        return rss::Function::Toeplitz;
    case RTE_ETH_HASH_FUNCTION_SIMPLE_XOR:
        return rss::Function::SimpleXor;
    case RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ:
        return rss::Function::SymmetricToeplitz;
    case RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ_SORT:
        return rss::Function::SymmetricToeplitzSort;
    default:
        return std::nullopt;
    }
}

inline void report_hash_function(rte_eth_rss_conf &conf, rss::Function function) {
    switch (function) {
    case rss::Function::Toeplitz:
        conf.algorithm = RTE_ETH_HASH_FUNCTION_TOEPLITZ;
        break;
    case rss::Function::SimpleXor:
        conf.algorithm = RTE_ETH_HASH_FUNCTION_SIMPLE_XOR;
        break;
    case rss::Function::SymmetricToeplitz:
        conf.algorithm = RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ;
        break;
    case rss::Function::SymmetricToeplitzSort:
        conf.algorithm = RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ_SORT;
        break;
    }
}

inline void report_hash_functions(rte_eth_dev_info &info) {
    info.rss_algo_capa = RTE_ETH_HASH_ALGO_CAPA_MASK(DEFAULT) | RTE_ETH_HASH_ALGO_CAPA_MASK(TOEPLITZ) |
                         RTE_ETH_HASH_ALGO_CAPA_MASK(SIMPLE_XOR) | RTE_ETH_HASH_ALGO_CAPA_MASK(SYMMETRIC_TOEPLITZ) |
                         RTE_ETH_HASH_ALGO_CAPA_MASK(SYMMETRIC_TOEPLITZ_SORT);
}
#else
inline std::optional<rss::Function> asked_hash_function(const rte_eth_rss_conf &, rss::Function by_default) {
    return by_default;
}
inline void report_hash_function(rte_eth_rss_conf &, rss::Function) {}
inline void report_hash_functions(rte_eth_dev_info &) {}
#endif

} // namespace tapflow::pmd
