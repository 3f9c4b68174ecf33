// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/flower.h"

#include "kernel/attribute.h"

#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>

#include <algorithm>
#include <optional>

namespace tapflow::kernel {
namespace {

// Those of linux/pkt_cls.h that are younger than Linux 6.1.
constexpr uint16_t kKeySpi = 108;
constexpr uint16_t kKeySpiMask = 109;
constexpr int kAttributes = kKeySpiMask + 1;

/// Attributes that have no mask say so with this one's number.
constexpr uint16_t kNoMask = TCA_FLOWER_UNSPEC;

struct Format {
    FlowerField field;
    const char *name;
    uint8_t bytes;
    uint16_t value; ///< TCA_FLOWER_KEY_*
    uint16_t mask;
    bool host_order = false; ///< 16 bits that the kernel takes in its own byte order, whatever its header says
};

using enum FlowerField;
constexpr std::array kFormats{
    Format{EthDst, "dst_mac", 6, TCA_FLOWER_KEY_ETH_DST, TCA_FLOWER_KEY_ETH_DST_MASK},
    Format{EthSrc, "src_mac", 6, TCA_FLOWER_KEY_ETH_SRC, TCA_FLOWER_KEY_ETH_SRC_MASK},
    Format{EthType, "eth_type", 2, TCA_FLOWER_KEY_ETH_TYPE, kNoMask},
    Format{VlanId, "vlan_id", 2, TCA_FLOWER_KEY_VLAN_ID, kNoMask, true},
    Format{VlanPriority, "vlan_prio", 1, TCA_FLOWER_KEY_VLAN_PRIO, kNoMask},
    Format{VlanEthType, "vlan_ethtype", 2, TCA_FLOWER_KEY_VLAN_ETH_TYPE, kNoMask},
    Format{CvlanId, "cvlan_id", 2, TCA_FLOWER_KEY_CVLAN_ID, kNoMask, true},
    Format{CvlanPriority, "cvlan_prio", 1, TCA_FLOWER_KEY_CVLAN_PRIO, kNoMask},
    Format{CvlanEthType, "cvlan_ethtype", 2, TCA_FLOWER_KEY_CVLAN_ETH_TYPE, kNoMask},
    Format{VlanCount, "num_of_vlans", 1, TCA_FLOWER_KEY_NUM_OF_VLANS, kNoMask},
    Format{IpProto, "ip_proto", 1, TCA_FLOWER_KEY_IP_PROTO, kNoMask},
    Format{IpTos, "ip_tos", 1, TCA_FLOWER_KEY_IP_TOS, TCA_FLOWER_KEY_IP_TOS_MASK},
    Format{IpTtl, "ip_ttl", 1, TCA_FLOWER_KEY_IP_TTL, TCA_FLOWER_KEY_IP_TTL_MASK},
    Format{Ipv4Src, "ipv4 src_ip", 4, TCA_FLOWER_KEY_IPV4_SRC, TCA_FLOWER_KEY_IPV4_SRC_MASK},
    Format{Ipv4Dst, "ipv4 dst_ip", 4, TCA_FLOWER_KEY_IPV4_DST, TCA_FLOWER_KEY_IPV4_DST_MASK},
    Format{Ipv6Src, "ipv6 src_ip", 16, TCA_FLOWER_KEY_IPV6_SRC, TCA_FLOWER_KEY_IPV6_SRC_MASK},
    Format{Ipv6Dst, "ipv6 dst_ip", 16, TCA_FLOWER_KEY_IPV6_DST, TCA_FLOWER_KEY_IPV6_DST_MASK},
    Format{Fragment, "ip_flags", 4, TCA_FLOWER_KEY_FLAGS, TCA_FLOWER_KEY_FLAGS_MASK},
    Format{TcpSrc, "tcp src_port", 2, TCA_FLOWER_KEY_TCP_SRC, TCA_FLOWER_KEY_TCP_SRC_MASK},
    Format{TcpDst, "tcp dst_port", 2, TCA_FLOWER_KEY_TCP_DST, TCA_FLOWER_KEY_TCP_DST_MASK},
    Format{UdpSrc, "udp src_port", 2, TCA_FLOWER_KEY_UDP_SRC, TCA_FLOWER_KEY_UDP_SRC_MASK},
    Format{UdpDst, "udp dst_port", 2, TCA_FLOWER_KEY_UDP_DST, TCA_FLOWER_KEY_UDP_DST_MASK},
    Format{SctpSrc, "sctp src_port", 2, TCA_FLOWER_KEY_SCTP_SRC, TCA_FLOWER_KEY_SCTP_SRC_MASK},
    Format{SctpDst, "sctp dst_port", 2, TCA_FLOWER_KEY_SCTP_DST, TCA_FLOWER_KEY_SCTP_DST_MASK},
    Format{PortSrcMin, "src_port minimum", 2, TCA_FLOWER_KEY_PORT_SRC_MIN, kNoMask},
    Format{PortSrcMax, "src_port maximum", 2, TCA_FLOWER_KEY_PORT_SRC_MAX, kNoMask},
    Format{PortDstMin, "dst_port minimum", 2, TCA_FLOWER_KEY_PORT_DST_MIN, kNoMask},
    Format{PortDstMax, "dst_port maximum", 2, TCA_FLOWER_KEY_PORT_DST_MAX, kNoMask},
    Format{TcpFlags, "tcp_flags", 2, TCA_FLOWER_KEY_TCP_FLAGS, TCA_FLOWER_KEY_TCP_FLAGS_MASK},
    Format{Icmp4Type, "icmp type", 1, TCA_FLOWER_KEY_ICMPV4_TYPE, TCA_FLOWER_KEY_ICMPV4_TYPE_MASK},
    Format{Icmp4Code, "icmp code", 1, TCA_FLOWER_KEY_ICMPV4_CODE, TCA_FLOWER_KEY_ICMPV4_CODE_MASK},
    Format{Icmp6Type, "icmpv6 type", 1, TCA_FLOWER_KEY_ICMPV6_TYPE, TCA_FLOWER_KEY_ICMPV6_TYPE_MASK},
    Format{Icmp6Code, "icmpv6 code", 1, TCA_FLOWER_KEY_ICMPV6_CODE, TCA_FLOWER_KEY_ICMPV6_CODE_MASK},
    Format{ArpSenderIp, "arp_sip", 4, TCA_FLOWER_KEY_ARP_SIP, TCA_FLOWER_KEY_ARP_SIP_MASK},
    Format{ArpTargetIp, "arp_tip", 4, TCA_FLOWER_KEY_ARP_TIP, TCA_FLOWER_KEY_ARP_TIP_MASK},
    Format{ArpOperation, "arp_op", 1, TCA_FLOWER_KEY_ARP_OP, TCA_FLOWER_KEY_ARP_OP_MASK},
    Format{ArpSenderMac, "arp_sha", 6, TCA_FLOWER_KEY_ARP_SHA, TCA_FLOWER_KEY_ARP_SHA_MASK},
    Format{ArpTargetMac, "arp_tha", 6, TCA_FLOWER_KEY_ARP_THA, TCA_FLOWER_KEY_ARP_THA_MASK},
    Format{Spi, "spi", 4, kKeySpi, kKeySpiMask},
};

consteval bool in_order_of_fields() {
    for (size_t i = 0; i < kFormats.size(); i++)
        if (static_cast<size_t>(kFormats[i].field) != i)
            return false;
    return kFormats.size() == static_cast<size_t>(Spi) + 1;
}
static_assert(in_order_of_fields());

const Format &format_of(FlowerField field) { return kFormats[static_cast<size_t>(field)]; }

using Bytes = std::array<uint8_t, 16>;

/// Between a key's bytes and an attribute's, either way.
Bytes convert(const Format &format, Bytes bytes) {
    if (format.host_order) {
        uint16_t word = 0;
        std::memcpy(&word, bytes.data(), sizeof(word));
        word = ntohs(word);
        std::memcpy(bytes.data(), &word, sizeof(word));
    }
    return bytes;
}

bool put(nl_msg *message, const Format &format, int type, const Bytes &bytes) {
    return nla_put(message, type, format.bytes, convert(format, bytes).data()) == 0;
}

std::optional<Bytes> parse(const Format &format, const nlattr *attribute) {
    if (!attribute || nla_len(attribute) < format.bytes)
        return std::nullopt;
    Bytes bytes{};
    std::copy_n(static_cast<const uint8_t *>(nla_data(attribute)), format.bytes, bytes.begin());
    return convert(format, bytes);
}

bool put_key(nl_msg *message, const FlowerKey &key) {
    const Format &format = format_of(key.field);
    return put(message, format, format.value, key.value) &&
           (format.mask == kNoMask || put(message, format, format.mask, key.mask));
}

std::optional<FlowerKey> parse_key(const Format &format, std::span<nlattr *const> attributes) {
    const auto value = parse(format, attributes[format.value]);
    if (!value)
        return std::nullopt;
    FlowerKey key{format.field, *value, {}};
    const auto mask = format.mask == kNoMask ? std::nullopt : parse(format, attributes[format.mask]);
    if (mask)
        key.mask = *mask;
    else // the kernel compares all of it
        std::fill_n(key.mask.begin(), format.bytes, uint8_t{0xff});
    return key;
}

uint32_t flags_of(Offload offload) {
    switch (offload) {
    case Offload::SoftwareOnly:
        return TCA_CLS_FLAGS_SKIP_HW;
    case Offload::HardwareOnly:
        return TCA_CLS_FLAGS_SKIP_SW;
    case Offload::Auto:
        break;
    }
    return 0;
}

Offload offload_of(uint32_t flags) {
    if (flags & TCA_CLS_FLAGS_SKIP_HW)
        return Offload::SoftwareOnly;
    return flags & TCA_CLS_FLAGS_SKIP_SW ? Offload::HardwareOnly : Offload::Auto;
}

/// Room enough for the filter's message: what comes of a million filters is not a page each.
size_t message_bytes(const FlowerFilter &filter) {
    constexpr size_t kHeaders = 128; // nlmsghdr, tcmsg, kind, chain, flags
    constexpr size_t kKey = 2 * (NLA_HDRLEN + sizeof(Bytes));
    constexpr size_t kAction = 256; // but for names and lists of keys
    constexpr size_t kPeditKey = 64;
    size_t bytes = kHeaders + filter.keys.size() * kKey;
    for (const TcAction &action : filter.actions) {
        bytes += kAction + action.cookie.size();
        if (const auto *pedit = std::get_if<Pedit>(&action.what))
            bytes += pedit->keys.size() * kPeditKey;
        if (const auto *bpf = std::get_if<BpfAction>(&action.what))
            bytes += bpf->name.size();
    }
    return bytes;
}

bool put_options(nl_msg *message, const FlowerFilter &filter) {
    return put_nest(message, TCA_OPTIONS, [&] {
        for (const FlowerKey &key : filter.keys)
            if (!put_key(message, key))
                return false;
        return (filter.actions.empty() || put_actions(message, TCA_FLOWER_ACT, filter.actions)) &&
               nla_put_u32(message, TCA_FLOWER_FLAGS, flags_of(filter.offload)) == 0;
    });
}

} // namespace

size_t flower_field_bytes(FlowerField field) { return format_of(field).bytes; }
bool flower_field_has_mask(FlowerField field) { return format_of(field).mask != kNoMask; }
const char *flower_field_name(FlowerField field) { return format_of(field).name; }

NlMsg flower_request(const FlowerFilter &filter) {
    NlMsg message =
        filter_request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, filter.place, "flower", message_bytes(filter));
    if (message && !put_options(message.get(), filter))
        message.reset();
    return message;
}

ToldFlower parse_flower(const nlmsghdr *header) {
    ToldFlower told;
    told.filter.place = parse_place(header);
    nlattr *options = nlmsg_find_attr(const_cast<nlmsghdr *>(header), sizeof(tcmsg), TCA_OPTIONS);
    std::array<nlattr *, kAttributes> attributes{};
    if (!options || nla_parse_nested(attributes.data(), kAttributes - 1, options, nullptr) < 0)
        return told;
    for (const Format &format : kFormats)
        if (const auto key = parse_key(format, attributes))
            told.filter.keys.push_back(*key);
    const uint32_t flags = value_of<uint32_t>(attributes[TCA_FLOWER_FLAGS]).value_or(0);
    told.filter.offload = offload_of(flags);
    told.in_hardware = flags & TCA_CLS_FLAGS_IN_HW;
    told.actions = parse_actions(attributes[TCA_FLOWER_ACT]);
    for (const ToldAction &action : told.actions)
        if (action.action)
            told.filter.actions.push_back(*action.action);
    return told;
}

Result<void> add_flower(Netlink &netlink, const FlowerFilter &filter) {
    return netlink.request(flower_request(filter), "add " + describe(filter.place, "flower"));
}

Result<ToldFlower> get_flower(Netlink &netlink, const FilterPlace &place) {
    const std::string what = "look up " + describe(place, "flower");
    std::optional<ToldFlower> told;
    auto answer =
        netlink.request(filter_request(RTM_GETTFILTER, 0, place, "flower"), what, [&](const nlmsghdr *header) {
            if (header->nlmsg_type == RTM_NEWTFILTER)
                told = parse_flower(header);
        });
    if (!answer)
        return answer.error();
    if (!told)
        return Error{ENOENT, what, "the kernel's answer has no filter"};
    return *std::move(told);
}

Result<std::vector<ToldFlower>> list_flowers(Netlink &netlink, const LinkInfo &link, Hook hook) {
    std::vector<ToldFlower> flowers;
    auto answer = dump_filters(netlink, link, hook, [&](const nlmsghdr *header) {
        const nlattr *kind = nlmsg_find_attr(const_cast<nlmsghdr *>(header), sizeof(tcmsg), TCA_KIND);
        if (kind && std::string_view(nla_get_string(kind)) == "flower")
            flowers.push_back(parse_flower(header));
    });
    if (!answer)
        return answer.error();
    return flowers;
}

} // namespace tapflow::kernel
