// SPDX-License-Identifier: BSD-3-Clause
// The flower classifier's filters as values, and their ways over netlink.
#pragma once

#include "kernel/tc.h"
#include "kernel/tc_action.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

struct nlmsghdr;

namespace tapflow::kernel {

/// What a flower filter can compare: each is an attribute of its own (linux/pkt_cls.h: TCA_FLOWER_KEY_*).
enum class FlowerField : uint8_t {
    EthDst,
    EthSrc,
    EthType, ///< behind the tags; a TPID: that of the outer tag
    VlanId,
    VlanPriority,
    VlanEthType, ///< behind the outer tag
    CvlanId,
    CvlanPriority,
    CvlanEthType,
    VlanCount, ///< tags
    IpProto,   ///< behind IP's extension headers
    IpTos,
    IpTtl,
    Ipv4Src,
    Ipv4Dst,
    Ipv6Src,
    Ipv6Dst,
    Fragment, ///< TCA_FLOWER_KEY_FLAGS_*, 32 bits
    TcpSrc,
    TcpDst,
    UdpSrc,
    UdpDst,
    SctpSrc,
    SctpDst,
    PortSrcMin, ///< of TCP, UDP and SCTP; Min and Max go together, Min is the lower
    PortSrcMax,
    PortDstMin,
    PortDstMax,
    TcpFlags,
    Icmp4Type,
    Icmp4Code,
    Icmp6Type,
    Icmp6Code,
    ArpSenderIp,
    ArpTargetIp,
    ArpOperation, ///< one byte
    ArpSenderMac,
    ArpTargetMac,
    Spi, ///< of ESP and AH, from Linux 6.6 on
};
constexpr size_t kFlowerFields = static_cast<size_t>(FlowerField::Spi) + 1;

/// A field's demand: (field & mask) == value. As on the wire, from the first byte on; VlanId and the like, which are
/// not whole bytes there, right-aligned.
struct FlowerKey {
    FlowerField field{};
    std::array<uint8_t, 16> value{};
    std::array<uint8_t, 16> mask{}; ///< all ones, as long as the field, for fields that the kernel compares whole

    bool operator==(const FlowerKey &) const = default;
};

/// Bytes of a field; whether it can be compared in part; its name in tc(8) or close to it.
[[nodiscard]] size_t flower_field_bytes(FlowerField field);
[[nodiscard]] bool flower_field_has_mask(FlowerField field);
[[nodiscard]] const char *flower_field_name(FlowerField field);

/// TCA_CLS_FLAGS_*
enum class Offload : uint8_t {
    Auto,         ///< into hardware, too, where that takes it
    SoftwareOnly, ///< skip_hw
    HardwareOnly, ///< skip_sw: an error where hardware does not take it
};

/// A filter of kind flower for packets of all protocols (ETH_P_ALL).
struct FlowerFilter {
    FilterPlace place;
    std::vector<FlowerKey> keys; ///< in the order of FlowerField
    Offload offload = Offload::Auto;
    std::vector<TcAction> actions;

    bool operator==(const FlowerFilter &) const = default;
};

/// What the kernel tells of a filter.
struct ToldFlower {
    FlowerFilter filter; ///< with the actions that TcAction knows
    bool in_hardware = false;
    std::vector<ToldAction> actions;
};

/// RTM_NEWTFILTER with NLM_F_CREATE | NLM_F_EXCL; null when out of memory, or when its actions do not fit into an
/// attribute (64 KiB).
[[nodiscard]] NlMsg flower_request(const FlowerFilter &filter);
/// What RTM_NEWTFILTER says of a filter of kind flower.
[[nodiscard]] ToldFlower parse_flower(const nlmsghdr *header);

/// Errors: EEXIST when the place is taken, or another filter of its preference and chain compares the very same; ENOENT
/// on a kernel without flower; EOPNOTSUPP for HardwareOnly where no hardware takes it. What is younger than the
/// kernel's flower it leaves out without a word: get_flower() tells.
Result<void> add_flower(Netlink &netlink, const FlowerFilter &filter);
/// What the kernel tells differs from what it was given: keys under a mask of nothing are missing; of EthType, when it
/// was a TPID, there comes the ethertype behind the tags instead, or nothing where no key has that. Actions have their
/// index. Errors: ENOENT; EINVAL when its chain has no filter at all.
Result<ToldFlower> get_flower(Netlink &netlink, const FilterPlace &place);
/// All of that kind at a hook of an interface's clsact qdisc.
Result<std::vector<ToldFlower>> list_flowers(Netlink &netlink, const LinkInfo &link, Hook hook);

} // namespace tapflow::kernel
