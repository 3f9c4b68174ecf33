// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/tc.h"

#include "kernel/attribute.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

namespace tapflow::kernel {
namespace {

NlMsg tc_request(int type, int flags, const tcmsg &tc, const char *kind, size_t bytes = 0) {
    NlMsg message = make_request(type, flags, bytes);
    if (message && (nlmsg_append(message.get(), const_cast<tcmsg *>(&tc), sizeof(tc), NLMSG_ALIGNTO) < 0 ||
                    nla_put_string(message.get(), TCA_KIND, kind) < 0))
        message.reset();
    return message;
}

tcmsg clsact(int ifindex) {
    tcmsg tc{};
    tc.tcm_family = AF_UNSPEC;
    tc.tcm_ifindex = ifindex;
    tc.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
    tc.tcm_parent = TC_H_CLSACT;
    return tc;
}

uint32_t parent_of(Hook hook) {
    return TC_H_MAKE(TC_H_CLSACT, hook == Hook::Ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

std::string describe(const BpfFilter &filter) { return describe(filter, "bpf") + ", " + filter.name; }

BpfFilter parse_filter(const nlmsghdr *header) {
    BpfFilter filter{parse_place(header), {}};
    auto *message = const_cast<nlmsghdr *>(header);
    filter.name = text_of(nlmsg_find_attr(message, sizeof(tcmsg), TCA_KIND));
    if (filter.name != "bpf")
        return filter;
    if (const nlattr *name = find_in(nlmsg_find_attr(message, sizeof(tcmsg), TCA_OPTIONS), TCA_BPF_NAME))
        filter.name = text_of(name);
    return filter;
}

Result<void> put_filter(Netlink &netlink, const BpfFilter &filter, int program_fd, int flags, const char *verb) {
    NlMsg message = filter_request(RTM_NEWTFILTER, flags, filter, "bpf");
    if (message && !put_nest(message.get(), TCA_OPTIONS, [&] {
            return nla_put_u32(message.get(), TCA_BPF_FD, static_cast<uint32_t>(program_fd)) == 0 &&
                   nla_put_string(message.get(), TCA_BPF_NAME, filter.name.c_str()) == 0 &&
                   nla_put_u32(message.get(), TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT) == 0;
        }))
        message.reset();
    return netlink.request(message, std::string(verb) + " " + describe(filter));
}

} // namespace

NlMsg filter_request(int type, int flags, const FilterPlace &place, const char *kind, size_t bytes) {
    tcmsg tc{};
    tc.tcm_family = AF_UNSPEC;
    tc.tcm_ifindex = place.ifindex;
    tc.tcm_handle = place.handle;
    tc.tcm_parent = parent_of(place.hook);
    tc.tcm_info = TC_H_MAKE(static_cast<uint32_t>(place.preference) << 16, htons(ETH_P_ALL));
    NlMsg message = tc_request(type, flags, tc, kind, bytes);
    if (message && place.chain != 0 && nla_put_u32(message.get(), TCA_CHAIN, place.chain) < 0)
        message.reset();
    return message;
}

FilterPlace parse_place(const nlmsghdr *header) {
    if (nlmsg_datalen(header) < static_cast<int>(sizeof(tcmsg)))
        return {};
    const auto *tc = static_cast<const tcmsg *>(nlmsg_data(header));
    const nlattr *chain = nlmsg_find_attr(const_cast<nlmsghdr *>(header), sizeof(tcmsg), TCA_CHAIN);
    return {tc->tcm_ifindex, tc->tcm_parent == parent_of(Hook::Egress) ? Hook::Egress : Hook::Ingress,
            static_cast<uint16_t>(TC_H_MAJ(tc->tcm_info) >> 16), tc->tcm_handle, value_of<uint32_t>(chain).value_or(0)};
}

std::string describe(const FilterPlace &place, const std::string &kind) {
    return kind + " filter at interface " + std::to_string(place.ifindex) +
           (place.hook == Hook::Ingress ? " ingress" : " egress") + ", preference " + std::to_string(place.preference) +
           (place.chain != 0 ? ", chain " + std::to_string(place.chain) : "") +
           (place.handle != 0 ? ", handle " + std::to_string(place.handle) : "");
}

NlMsg removal_request(const FilterPlace &place, const char *kind) {
    return filter_request(RTM_DELTFILTER, 0, place, kind);
}

Result<void> remove_filter(Netlink &netlink, const FilterPlace &place, const char *kind) {
    return netlink.request(removal_request(place, kind), "remove " + describe(place, kind));
}

Result<bool> ensure_clsact(Netlink &netlink, const LinkInfo &link) {
    NlMsg message = tc_request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, clsact(link.index), "clsact");
    auto added = netlink.request(message, "add clsact qdisc to " + link.name);
    if (added)
        return true;
    if (added.error().code == EEXIST)
        return false;
    return added.error();
}

Result<void> remove_clsact(Netlink &netlink, const LinkInfo &link) {
    return netlink.request(tc_request(RTM_DELQDISC, 0, clsact(link.index), "clsact"),
                           "remove clsact qdisc from " + link.name);
}

Result<void> dump_filters(Netlink &netlink, const LinkInfo &link, Hook hook,
                          const std::function<void(const nlmsghdr *)> &each) {
    tcmsg tc{}; // of every preference, protocol and chain
    tc.tcm_family = AF_UNSPEC;
    tc.tcm_ifindex = link.index;
    tc.tcm_parent = parent_of(hook);
    NlMsg message = make_request(RTM_GETTFILTER, NLM_F_DUMP);
    if (message && nlmsg_append(message.get(), &tc, sizeof(tc), NLMSG_ALIGNTO) < 0)
        message.reset();
    return netlink.request(message, "list filters of " + link.name, [&](const nlmsghdr *header) {
        // The kernel shows each preference once more as a whole, without a handle.
        if (header->nlmsg_type == RTM_NEWTFILTER && static_cast<const tcmsg *>(nlmsg_data(header))->tcm_handle != 0)
            each(header);
    });
}

Result<std::vector<BpfFilter>> list_filters(Netlink &netlink, const LinkInfo &link, Hook hook) {
    std::vector<BpfFilter> filters;
    auto answer =
        dump_filters(netlink, link, hook, [&](const nlmsghdr *header) { filters.push_back(parse_filter(header)); });
    if (!answer)
        return answer.error();
    return filters;
}

Result<std::vector<FilterProgram>> list_filter_programs(Netlink &netlink, const LinkInfo &link, Hook hook) {
    std::vector<FilterProgram> programs;
    auto answer = dump_filters(netlink, link, hook, [&](const nlmsghdr *header) {
        const nlattr *options = nlmsg_find_attr(const_cast<nlmsghdr *>(header), sizeof(tcmsg), TCA_OPTIONS);
        BpfFilter filter = parse_filter(header);
        if (text_of(nlmsg_find_attr(const_cast<nlmsghdr *>(header), sizeof(tcmsg), TCA_KIND)) != "bpf")
            return;
        if (const auto id = value_in<uint32_t>(options, TCA_BPF_ID))
            programs.push_back({std::move(filter), *id});
    });
    if (!answer)
        return answer.error();
    return programs;
}

Result<void> add_filter(Netlink &netlink, const BpfFilter &filter, int program_fd) {
    return put_filter(netlink, filter, program_fd, NLM_F_CREATE | NLM_F_EXCL, "add");
}

Result<void> replace_filter(Netlink &netlink, const BpfFilter &filter, int program_fd) {
    return put_filter(netlink, filter, program_fd, NLM_F_CREATE | NLM_F_REPLACE, "replace");
}

Result<void> remove_filter(Netlink &netlink, const BpfFilter &filter) {
    return netlink.request(removal_request(filter, "bpf"), "remove " + describe(filter));
}

} // namespace tapflow::kernel
