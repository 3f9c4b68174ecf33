// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/link.h"

#include "kernel/attribute.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace tapflow::kernel {
namespace {

void parse_kind(const nlattr *information, LinkInfo &link) {
    if (const nlattr *kind = find_in(information, IFLA_INFO_KIND))
        link.kind = nla_get_string(kind);
    const nlattr *data = link.kind == "tun" ? find_in(information, IFLA_INFO_DATA) : nullptr;
    if (!data)
        return;
    for (const int type : {IFLA_TUN_NUM_QUEUES, IFLA_TUN_NUM_DISABLED_QUEUES})
        if (const nlattr *queues = find_in(data, type))
            link.tun_queues += nla_get_u32(queues);
}

std::optional<LinkInfo> parse_link(const nlmsghdr *header) {
    if (header->nlmsg_type != RTM_NEWLINK)
        return std::nullopt;
    const auto *info = static_cast<const ifinfomsg *>(nlmsg_data(header));
    LinkInfo link;
    link.index = info->ifi_index;
    link.up = info->ifi_flags & IFF_UP;
    link.loopback = info->ifi_flags & IFF_LOOPBACK;

    nlattr *attribute = nullptr;
    int remaining = 0;
    nlmsg_for_each_attr(attribute, const_cast<nlmsghdr *>(header), sizeof(ifinfomsg), remaining) {
        switch (nla_type(attribute)) {
        case IFLA_IFNAME:
            link.name = nla_get_string(attribute);
            break;
        case IFLA_ADDRESS:
            if (nla_len(attribute) == static_cast<int>(link.mac.bytes.size()))
                std::copy_n(static_cast<const uint8_t *>(nla_data(attribute)), link.mac.bytes.size(),
                            link.mac.bytes.begin());
            break;
        case IFLA_MTU:
            link.mtu = nla_get_u32(attribute);
            break;
        case IFLA_MAX_MTU:
            link.max_mtu = nla_get_u32(attribute);
            break;
        case IFLA_CARRIER:
            link.carrier = nla_get_u8(attribute) != 0;
            break;
        case IFLA_MASTER:
            link.master = static_cast<int>(nla_get_u32(attribute));
            break;
        case IFLA_XDP:
            link.xdp_program = value_in<uint32_t>(attribute, IFLA_XDP_PROG_ID).value_or(0);
            break;
        case IFLA_STATS64: {
            rtnl_link_stats64 statistics{}; // the attribute is aligned to 4 bytes only
            std::memcpy(&statistics, nla_data(attribute),
                        std::min(sizeof(statistics), static_cast<size_t>(nla_len(attribute))));
            link.tx_dropped = statistics.tx_dropped;
            break;
        }
        case IFLA_LINKINFO:
            parse_kind(attribute, link);
            break;
        default:
            break;
        }
    }
    return link;
}

NlMsg link_request(int type, int index) {
    NlMsg message = make_request(type, 0);
    ifinfomsg info{};
    info.ifi_family = AF_UNSPEC;
    info.ifi_index = index;
    if (message && nlmsg_append(message.get(), &info, sizeof(info), NLMSG_ALIGNTO) < 0)
        message.reset();
    return message;
}

Result<LinkInfo> get(Netlink &netlink, const NlMsg &message, const std::string &what) {
    std::optional<LinkInfo> found;
    auto answer = netlink.request(message, what, [&](const nlmsghdr *header) {
        if (auto link = parse_link(header))
            found = std::move(link);
    });
    if (!answer)
        return answer.error();
    if (!found)
        return Error{ENODEV, what, {}};
    return *std::move(found);
}

} // namespace

Result<LinkInfo> get_link(Netlink &netlink, const std::string &name) {
    NlMsg message = link_request(RTM_GETLINK, 0);
    if (message && nla_put_string(message.get(), IFLA_IFNAME, name.c_str()) < 0)
        message.reset();
    return get(netlink, message, "look up interface " + name);
}

Result<LinkInfo> get_link(Netlink &netlink, int index) {
    return get(netlink, link_request(RTM_GETLINK, index), "look up interface with index " + std::to_string(index));
}

Result<void> set_link_up(Netlink &netlink, const LinkInfo &link, bool up) {
    NlMsg message = link_request(RTM_NEWLINK, link.index);
    if (message) {
        auto *info = static_cast<ifinfomsg *>(nlmsg_data(nlmsg_hdr(message.get())));
        info->ifi_flags = up ? IFF_UP : 0;
        info->ifi_change = IFF_UP;
    }
    return netlink.request(message, "set " + link.name + (up ? " up" : " down"));
}

Result<void> set_link_mtu(Netlink &netlink, const LinkInfo &link, unsigned mtu) {
    NlMsg message = link_request(RTM_NEWLINK, link.index);
    if (message && nla_put_u32(message.get(), IFLA_MTU, mtu) < 0)
        message.reset();
    return netlink.request(message, "set MTU of " + link.name + " to " + std::to_string(mtu));
}

Result<void> set_link_tx_queue_length(Netlink &netlink, const LinkInfo &link, unsigned frames) {
    NlMsg message = link_request(RTM_NEWLINK, link.index);
    if (message && nla_put_u32(message.get(), IFLA_TXQLEN, frames) < 0)
        message.reset();
    return netlink.request(message, "set queue length of " + link.name + " to " + std::to_string(frames));
}

Result<void> set_link_mac(Netlink &netlink, const LinkInfo &link, const MacAddress &mac) {
    NlMsg message = link_request(RTM_NEWLINK, link.index);
    if (message && nla_put(message.get(), IFLA_ADDRESS, static_cast<int>(mac.bytes.size()), mac.bytes.data()) < 0)
        message.reset();
    return netlink.request(message, "set MAC address of " + link.name + " to " + mac.text());
}

Result<void> set_link_no_ipv6_autoconf(Netlink &netlink, const LinkInfo &link) {
    NlMsg message = link_request(RTM_NEWLINK, link.index);
    if (message) {
        nlattr *families = nla_nest_start(message.get(), IFLA_AF_SPEC);
        nlattr *inet6 = families ? nla_nest_start(message.get(), AF_INET6) : nullptr;
        if (!inet6 || nla_put_u8(message.get(), IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE) < 0) {
            message.reset();
        } else {
            nla_nest_end(message.get(), inet6);
            nla_nest_end(message.get(), families);
        }
    }
    return netlink.request(message, "turn off IPv6 autoconfiguration of " + link.name);
}

} // namespace tapflow::kernel
