// SPDX-License-Identifier: BSD-3-Clause
// The one place for what differs between DPDK releases.
#pragma once

#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <rte_arp.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_flow_driver.h>
#include <rte_telemetry.h>
#include <rte_version.h>

#include "rss/rss_config.h"

#include <sys/queue.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

// 25.07: the name is exported without a counter.
#if RTE_VERSION >= RTE_VERSION_NUM(25, 7, 0, 0)
#define TAPFLOW_EXPORT_NAME(name) RTE_PMD_EXPORT_NAME(name)
#else
#define TAPFLOW_EXPORT_NAME(name) RTE_PMD_EXPORT_NAME(name, __COUNTER__)
#endif

namespace tapflow::pmd {

/// Whether the libraries are of the release that this is compiled for. Their names stay the same for a year (25.11 and
/// 26.07 are both librte_eal.so.26), a driver's structures do not.
inline bool is_compiled_for_this_dpdk() {
    return rte_version_year() == RTE_VER_YEAR && rte_version_month() == RTE_VER_MONTH;
}

/// The vdev driver that was registered before `driver`, which is registered; null: it is the first.
// 26.07: the links between a bus's drivers are in rte_driver; before, in each bus's own structure.
#if RTE_VERSION >= RTE_VERSION_NUM(26, 7, 0, 0)
inline rte_vdev_driver *driver_before(rte_vdev_driver &driver) {
    TAILQ_HEAD(DriverList, rte_driver);
    rte_driver *before = TAILQ_PREV(&driver.driver, DriverList, next);
    return before ? RTE_BUS_DRIVER(before, rte_vdev_driver) : nullptr;
}
#else
inline rte_vdev_driver *driver_before(rte_vdev_driver &driver) {
    TAILQ_HEAD(DriverList, rte_vdev_driver);
    return TAILQ_PREV(&driver, DriverList, next);
}
#endif

// 24.03: a number says how many packet types there are; before, RTE_PTYPE_UNKNOWN behind them.
#if RTE_VERSION >= RTE_VERSION_NUM(24, 3, 0, 0)
template <auto Get> constexpr eth_dev_supported_ptypes_get_t kSupportedPtypesOp = Get;
#else
template <auto Get>
constexpr eth_dev_supported_ptypes_get_t kSupportedPtypesOp = [](rte_eth_dev *dev) {
    size_t count = 0;
    return Get(dev, &count);
};
#endif

// 25.11: the statistics of queues have a structure of their own, which may be missing.
#if RTE_VERSION >= RTE_VERSION_NUM(25, 11, 0, 0)
using QueueStats = eth_queue_stats;
template <auto Get> constexpr eth_stats_get_t kStatsOp = Get;
#else
using QueueStats = rte_eth_stats;
template <auto Get>
constexpr eth_stats_get_t kStatsOp = [](rte_eth_dev *dev, rte_eth_stats *stats) { return Get(dev, stats, stats); };
#endif

/// The hash function that DPDK's stands for; none: one that is not known here.
inline std::optional<rss::Function> hash_function(rte_eth_hash_function function, rss::Function by_default) {
    switch (function) {
    case RTE_ETH_HASH_FUNCTION_DEFAULT:
        return by_default;
    case RTE_ETH_HASH_FUNCTION_TOEPLITZ:
        return rss::Function::Toeplitz;
    case RTE_ETH_HASH_FUNCTION_SIMPLE_XOR:
        return rss::Function::SimpleXor;
    case RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ:
        return rss::Function::SymmetricToeplitz;
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
    case RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ_SORT:
        return rss::Function::SymmetricToeplitzSort;
#endif
    default:
        return std::nullopt;
    }
}

// 23.11: a port's configuration names the hash function, too; before, only flow rules do.
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
/// The function that is asked for; none: one that is not known here.
inline std::optional<rss::Function> asked_hash_function(const rte_eth_rss_conf &conf, rss::Function by_default) {
    return hash_function(conf.algorithm, by_default);
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

// 23.03: the ARP item is the header as on the wire; before, it is a structure with gaps.
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
constexpr uint16_t kArpItemSpa = offsetof(rte_arp_hdr, arp_data.arp_sip);
constexpr uint16_t kArpItemTha = offsetof(rte_arp_hdr, arp_data.arp_tha);
constexpr uint16_t kArpItemTpa = offsetof(rte_arp_hdr, arp_data.arp_tip);
#else
constexpr uint16_t kArpItemSpa = offsetof(rte_flow_item_arp_eth_ipv4, spa);
constexpr uint16_t kArpItemTha = offsetof(rte_flow_item_arp_eth_ipv4, tha);
constexpr uint16_t kArpItemTpa = offsetof(rte_flow_item_arp_eth_ipv4, tpa);
#endif

/// What an eth_rx_queue_count_t returns. 25.11: it is signed, for a negative errno.
using QueueCount = std::invoke_result_t<eth_rx_queue_count_t, void *>;

// 23.03: numbers without sign are called uint, before, u64.
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
constexpr auto *kTelemetryDictUint = rte_tel_data_add_dict_uint;
#else
constexpr auto *kTelemetryDictUint = rte_tel_data_add_dict_u64;
#endif

/// In the place of an enum rte_flow_item_type that this DPDK does not have.
constexpr int kNoItem = -1;
// 23.03: ICMPv6 echo messages, laid out as struct rte_icmp_hdr.
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
constexpr int kItemIcmp6EchoRequest = RTE_FLOW_ITEM_TYPE_ICMP6_ECHO_REQUEST;
constexpr int kItemIcmp6EchoReply = RTE_FLOW_ITEM_TYPE_ICMP6_ECHO_REPLY;
#else
constexpr int kItemIcmp6EchoRequest = kNoItem;
constexpr int kItemIcmp6EchoReply = kNoItem;
#endif

} // namespace tapflow::pmd
