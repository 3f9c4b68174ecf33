// SPDX-License-Identifier: BSD-3-Clause
// What testpmd calls RSS types and functions.
#pragma once

#include "rss/rss_config.h"

#include <array>
#include <cstdint>

namespace tapflow::rss {

struct TypeName {
    const char *name;
    uint64_t bits;
};

/// One name for each Type and Modifier bit.
constexpr auto kTypeNames = std::to_array<TypeName>({
    {"ipv4", kIpv4},
    {"ipv4-frag", kFragmentIpv4},
    {"ipv4-tcp", kIpv4Tcp},
    {"ipv4-udp", kIpv4Udp},
    {"ipv4-sctp", kIpv4Sctp},
    {"ipv4-other", kIpv4Other},
    {"ipv6", kIpv6},
    {"ipv6-frag", kFragmentIpv6},
    {"ipv6-tcp", kIpv6Tcp},
    {"ipv6-udp", kIpv6Udp},
    {"ipv6-sctp", kIpv6Sctp},
    {"ipv6-other", kIpv6Other},
    {"l2-payload", kL2Payload},
    {"ipv6-ex", kIpv6Ex},
    {"ipv6-tcp-ex", kIpv6TcpEx},
    {"ipv6-udp-ex", kIpv6UdpEx},
    {"esp", kEsp},
    {"ah", kAh},
    {"l2-src-only", kL2SourceOnly},
    {"l2-dst-only", kL2DestinationOnly},
    {"l3-src-only", kL3SourceOnly},
    {"l3-dst-only", kL3DestinationOnly},
    {"l4-src-only", kL4SourceOnly},
    {"l4-dst-only", kL4DestinationOnly},
    {"level-outer", kOutermost},
    {"level-inner", kInnermost},
});

/// Names of several types at once, for who reads; RTE_ETH_RSS_IP and its like. "all" is what we have of testpmd's.
constexpr auto kTypeGroups = std::to_array<TypeName>({
    {"all", kAllTypes},
    {"none", 0},
    {"ip", kIpv4 | kFragmentIpv4 | kIpv4Other | kIpv6 | kFragmentIpv6 | kIpv6Other | kIpv6Ex},
    {"udp", kIpv4Udp | kIpv6Udp | kIpv6UdpEx},
    {"tcp", kIpv4Tcp | kIpv6Tcp | kIpv6TcpEx},
    {"sctp", kIpv4Sctp | kIpv6Sctp},
});

struct FunctionName {
    const char *name;
    Function function;
};

constexpr auto kFunctionNames = std::to_array<FunctionName>({
    {"toeplitz", Function::Toeplitz},
    {"simple_xor", Function::SimpleXor},
    {"symmetric_toeplitz", Function::SymmetricToeplitz},
    {"symmetric_toeplitz_sort", Function::SymmetricToeplitzSort},
});

} // namespace tapflow::rss
