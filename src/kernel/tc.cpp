// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/tc.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

namespace tapflow::kernel {
namespace {

NlMsg tc_request(int type, int flags, const tcmsg &tc, const char *kind) {
    NlMsg message = make_request(type, flags);
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

tcmsg place(const BpfFilter &filter) {
    tcmsg tc{};
    tc.tcm_family = AF_UNSPEC;
    tc.tcm_ifindex = filter.ifindex;
    tc.tcm_handle = filter.handle;
    tc.tcm_parent = TC_H_MAKE(TC_H_CLSACT, filter.hook == Hook::Ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
    tc.tcm_info = TC_H_MAKE(static_cast<uint32_t>(filter.preference) << 16, htons(ETH_P_ALL));
    return tc;
}

std::string describe(const BpfFilter &filter) {
    return "bpf filter " + filter.name + " at interface " + std::to_string(filter.ifindex) +
           (filter.hook == Hook::Ingress ? " ingress" : " egress") + ", preference " +
           std::to_string(filter.preference);
}

BpfFilter parse_filter(const nlmsghdr *header, Hook hook) {
    const auto *tc = static_cast<const tcmsg *>(nlmsg_data(header));
    BpfFilter filter{tc->tcm_ifindex, hook, static_cast<uint16_t>(TC_H_MAJ(tc->tcm_info) >> 16), tc->tcm_handle, {}};
    auto *message = const_cast<nlmsghdr *>(header);
    if (const nlattr *kind = nlmsg_find_attr(message, sizeof(tcmsg), TCA_KIND))
        filter.name = nla_get_string(kind);
    const nlattr *options = nlmsg_find_attr(message, sizeof(tcmsg), TCA_OPTIONS);
    if (!options || filter.name != "bpf")
        return filter;
    if (const nlattr *name = nla_find(static_cast<const nlattr *>(nla_data(options)), nla_len(options), TCA_BPF_NAME))
        filter.name = nla_get_string(name);
    return filter;
}

Result<void> put_filter(Netlink &netlink, const BpfFilter &filter, int program_fd, int flags, const char *verb) {
    NlMsg message = tc_request(RTM_NEWTFILTER, flags, place(filter), "bpf");
    if (message) {
        nlattr *options = nla_nest_start(message.get(), TCA_OPTIONS);
        if (!options || nla_put_u32(message.get(), TCA_BPF_FD, static_cast<uint32_t>(program_fd)) < 0 ||
            nla_put_string(message.get(), TCA_BPF_NAME, filter.name.c_str()) < 0 ||
            nla_put_u32(message.get(), TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT) < 0)
            message.reset();
        else
            nla_nest_end(message.get(), options);
    }
    return netlink.request(message, std::string(verb) + " " + describe(filter));
}

} // namespace

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

Result<std::vector<BpfFilter>> list_filters(Netlink &netlink, const LinkInfo &link, Hook hook) {
    tcmsg tc = place({link.index, hook, 0, 0, {}});
    tc.tcm_info = 0; // of every preference and protocol
    NlMsg message = make_request(RTM_GETTFILTER, NLM_F_DUMP);
    if (message && nlmsg_append(message.get(), &tc, sizeof(tc), NLMSG_ALIGNTO) < 0)
        message.reset();
    std::vector<BpfFilter> filters;
    auto answer = netlink.request(message, "list filters of " + link.name, [&](const nlmsghdr *header) {
        if (header->nlmsg_type == RTM_NEWTFILTER)
            filters.push_back(parse_filter(header, hook));
    });
    if (!answer)
        return answer.error();
    // The kernel shows each preference once more as a whole, without a handle.
    std::erase_if(filters, [](const BpfFilter &filter) { return filter.handle == 0; });
    return filters;
}

Result<void> add_filter(Netlink &netlink, const BpfFilter &filter, int program_fd) {
    return put_filter(netlink, filter, program_fd, NLM_F_CREATE | NLM_F_EXCL, "add");
}

Result<void> replace_filter(Netlink &netlink, const BpfFilter &filter, int program_fd) {
    return put_filter(netlink, filter, program_fd, NLM_F_CREATE | NLM_F_REPLACE, "replace");
}

Result<void> remove_filter(Netlink &netlink, const BpfFilter &filter) {
    return netlink.request(tc_request(RTM_DELTFILTER, 0, place(filter), "bpf"), "remove " + describe(filter));
}

} // namespace tapflow::kernel
