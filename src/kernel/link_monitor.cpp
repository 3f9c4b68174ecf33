// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/link_monitor.h"

#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace tapflow::kernel {
namespace {

constexpr int kReceiveBuffer = 4 << 20; // some thousand messages

bool watch(const Fd &epoll, int fd, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    return epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

std::string_view name_in(const nlmsghdr *header) {
    const auto *info = static_cast<const ifinfomsg *>(NLMSG_DATA(header));
    auto left = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof(*info)));
    for (const rtattr *attribute = IFLA_RTA(info); RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
        if (attribute->rta_type == IFLA_IFNAME)
            return static_cast<const char *>(RTA_DATA(attribute));
    return {};
}

} // namespace

Result<std::unique_ptr<LinkMonitor>> LinkMonitor::open() {
    const char *what = "listen to link messages";
    Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket)
        return last_error(what);
    // The former goes beyond net.core.rmem_max, and may lack the right to.
    if (setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof(kReceiveBuffer)) < 0)
        setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof(kReceiveBuffer));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    if (bind(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) < 0)
        return last_error(what);
    for (const int group : {RTNLGRP_LINK, RTNLGRP_NSID})
        if (setsockopt(socket.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
            return last_error(what);
    Fd epoll(epoll_create1(EPOLL_CLOEXEC));
    if (!epoll || !watch(epoll, socket.get(), EPOLLIN))
        return last_error(what);
    return std::unique_ptr<LinkMonitor>(new LinkMonitor(std::move(socket), std::move(epoll)));
}

LinkMonitor::Heard LinkMonitor::read(const std::function<void(const LinkMessage &)> &each) {
    Heard heard;
    alignas(nlmsghdr) std::array<char, 16384> buffer;
    for (int i = 0; i < kBatch; i++) {
        sockaddr_nl sender{};
        iovec vector{buffer.data(), buffer.size()};
        msghdr datagram{};
        datagram.msg_name = &sender;
        datagram.msg_namelen = sizeof(sender);
        datagram.msg_iov = &vector;
        datagram.msg_iovlen = 1;
        const ssize_t received = recvmsg(socket_.get(), &datagram, MSG_DONTWAIT);
        if (received < 0 && errno == EINTR)
            continue;
        if (received < 0 && errno == ENOBUFS) {
            heard.lost = losing_ = true;
            continue;
        }
        if (received <= 0) { // netlink_rcv_wake() has ended the congestion with the last message
            heard.lost = heard.lost || std::exchange(losing_, false);
            break;
        }
        if (sender.nl_pid != 0) // not from the kernel
            continue;
        if (datagram.msg_flags & MSG_TRUNC)
            heard.lost = true;
        auto left = static_cast<uint32_t>(received);
        for (const auto *header = reinterpret_cast<const nlmsghdr *>(buffer.data()); NLMSG_OK(header, left);
             header = NLMSG_NEXT(header, left)) {
            if (header->nlmsg_type == RTM_DELNSID)
                heard.namespace_gone = true;
            if (header->nlmsg_type != RTM_NEWLINK && header->nlmsg_type != RTM_DELLINK)
                continue;
            const auto *info = static_cast<const ifinfomsg *>(NLMSG_DATA(header));
            if (info->ifi_family != AF_UNSPEC) // a bridge's: the interface has only left it
                continue;
            each({info->ifi_index, name_in(header), header->nlmsg_type == RTM_DELLINK});
        }
    }
    return heard;
}

Result<void> LinkMonitor::listen_to(const Fd &netns) {
    const char *what = "listen to link messages of another network namespace";
    const int on = 1;
    if (setsockopt(socket_.get(), SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &on, sizeof(on)) < 0)
        return last_error(what);
    // The kernel has given an id to where an interface went from here, but not to where it went from there. One that
    // there is already stays (EEXIST, in the answer that read() passes over).
    struct {
        nlmsghdr header{};
        rtgenmsg family{};
        alignas(NLMSG_ALIGNTO) rtattr id{};
        int32_t id_value = -1;
        rtattr descriptor{};
        int32_t descriptor_value = 0;
    } request;
    static_assert(offsetof(decltype(request), id) == NLMSG_LENGTH(NLMSG_ALIGN(sizeof(rtgenmsg))));
    request.header.nlmsg_len = sizeof(request);
    request.header.nlmsg_type = RTM_NEWNSID;
    request.header.nlmsg_flags = NLM_F_REQUEST;
    request.id = {RTA_LENGTH(sizeof(int32_t)), NETNSA_NSID};
    request.descriptor = {RTA_LENGTH(sizeof(int32_t)), NETNSA_FD};
    request.descriptor_value = netns.get();
    if (send(socket_.get(), &request, sizeof(request), 0) < 0)
        return last_error(what);
    return {};
}

void LinkMonitor::listen_at_home() {
    const int off = 0;
    setsockopt(socket_.get(), SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &off, sizeof(off));
}

// tun_detach_all() wakes with EPOLLPRI among others, which no frame ever sets.
void LinkMonitor::watch_queue(int queue) { (void)watch(epoll_, queue, EPOLLPRI); }

void LinkMonitor::forget_queue(int queue) { (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, queue, nullptr); }

} // namespace tapflow::kernel
