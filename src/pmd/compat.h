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
#include <rte_version.h>

#include "rss/rss_config.h"

#include <cstddef>
#include <cstdint>
#include <optional>

// 25.07: the name is exported without a counter.
#if RTE_VERSION >= RTE_VERSION_NUM(25, 7, 0, 0)
#define TAPFLOW_EXPORT_NAME(name) RTE_PMD_EXPORT_NAME(name)
#else
#define TAPFLOW_EXPORT_NAME(name) RTE_PMD_EXPORT_NAME(name, __COUNTER__)
#endif

namespace tapflow::pmd {

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
