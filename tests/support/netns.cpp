// SPDX-License-Identifier: BSD-3-Clause
#include "support/netns.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <thread>

namespace tapflow::test {
namespace {

constexpr uint8_t kOperstateUp = 6; // IF_OPER_UP; <linux/if.h> clashes with <net/if.h>

/// A thread changes its own namespace alone, and this one ends there: nothing has to be put back.
Fd new_namespace() {
    int fd = -1;
    int error = 0;
    std::thread([&fd, &error] {
        if (unshare(CLONE_NEWNET) == 0)
            fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        error = errno;
    }).join();
    errno = error;
    return owned(fd, "create a network namespace");
}

Fd route_socket(uint32_t groups) {
    Fd fd = owned(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "open a netlink socket");
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = groups;
    if (bind(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) != 0)
        throw_errno("bind a netlink socket");
    return fd;
}

template <typename T> T value_of(const rtattr *attribute) {
    T value{};
    std::memcpy(&value, RTA_DATA(attribute), std::min<size_t>(sizeof(value), RTA_PAYLOAD(attribute)));
    return value;
}

void read_attribute(const rtattr *attribute, Link &link) {
    switch (attribute->rta_type) {
    case IFLA_IFNAME:
        link.name = static_cast<const char *>(RTA_DATA(attribute));
        break;
    case IFLA_MTU:
        link.mtu = value_of<uint32_t>(attribute);
        break;
    case IFLA_ADDRESS:
        link.mac.bytes = value_of<std::array<uint8_t, 6>>(attribute);
        break;
    case IFLA_PROMISCUITY:
        link.promiscuity = value_of<uint32_t>(attribute);
        break;
    case IFLA_OPERSTATE:
        link.operstate = value_of<uint8_t>(attribute);
        break;
    case IFLA_CARRIER:
        link.carrier = value_of<uint8_t>(attribute) != 0;
        break;
    case IFLA_NUM_TX_QUEUES:
        link.tx_queues = value_of<uint32_t>(attribute);
        break;
    case IFLA_NUM_RX_QUEUES:
        link.rx_queues = value_of<uint32_t>(attribute);
        break;
    case IFLA_TXQLEN:
        link.tx_queue_length = value_of<uint32_t>(attribute);
        break;
    case IFLA_MASTER:
        link.master = value_of<int32_t>(attribute);
        break;
    case IFLA_STATS64: {
        const auto stats = value_of<rtnl_link_stats64>(attribute);
        link.rx_packets = stats.rx_packets;
        link.tx_packets = stats.tx_packets;
        link.rx_bytes = stats.rx_bytes;
        link.tx_bytes = stats.tx_bytes;
        link.rx_dropped = stats.rx_dropped;
        link.tx_dropped = stats.tx_dropped;
        break;
    }
    default:
        break;
    }
}

Link read_link(const nlmsghdr *message) {
    const auto *info = static_cast<const ifinfomsg *>(NLMSG_DATA(message));
    Link link;
    link.index = info->ifi_index;
    link.flags = info->ifi_flags;
    auto left = static_cast<int>(message->nlmsg_len - NLMSG_LENGTH(sizeof(*info)));
    for (const rtattr *attribute = IFLA_RTA(info); RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
        read_attribute(attribute, link);
    return link;
}

} // namespace

NetNsGuard::NetNsGuard(int netns)
    : before_(owned(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "open the current network namespace")) {
    if (setns(netns, CLONE_NEWNET) != 0)
        throw_errno("enter a network namespace");
}

NetNsGuard::~NetNsGuard() {
    if (setns(before_.get(), CLONE_NEWNET) != 0)
        std::terminate(); // what follows would run against the wrong machine
}

NetNs::NetNs() : fd_(new_namespace()) {
    must_run({"ip", "link", "set", "lo", "up"});
    for (const char *scope : {"all", "default"}) {
        const std::string path = std::string("net/ipv6/conf/") + scope + "/addr_gen_mode";
        if (access(("/proc/sys/" + path).c_str(), F_OK) == 0)
            set_sysctl(path, "1"); // IN6_ADDR_GEN_MODE_NONE
    }
}

std::string NetNs::path() const { return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_.get()); }

CommandResult NetNs::run(std::vector<std::string> argv, milliseconds timeout) const {
    return run_command(std::move(argv), {.netns = fd_.get()}, timeout);
}

std::string NetNs::must_run(std::vector<std::string> argv, milliseconds timeout) const {
    std::string line;
    for (const std::string &word : argv)
        line += word + ' ';
    CommandResult result = run(std::move(argv), timeout);
    if (result.status != 0)
        throw std::runtime_error(line + "exited with " + std::to_string(result.status) + ": " + result.output);
    return std::move(result.output);
}

std::string NetNs::ip_json(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"ip", "-j", "-d"});
    return must_run(std::move(arguments));
}

std::optional<Link> NetNs::find_link(const std::string &name) const {
    if (name.size() >= IFNAMSIZ)
        return std::nullopt;
    const NetNsGuard inside = enter();
    const Fd socket = route_socket(0);
    struct {
        nlmsghdr header{};
        ifinfomsg info{};
        rtattr attribute{};
        std::array<char, IFNAMSIZ> name{};
    } request;
    request.header.nlmsg_len = sizeof(request);
    request.header.nlmsg_type = RTM_GETLINK;
    request.header.nlmsg_flags = NLM_F_REQUEST;
    request.attribute.rta_len = RTA_LENGTH(IFNAMSIZ);
    request.attribute.rta_type = IFLA_IFNAME;
    name.copy(request.name.data(), IFNAMSIZ - 1);
    if (send(socket.get(), &request, sizeof(request), 0) < 0)
        throw_errno("ask for link " + name);
    alignas(nlmsghdr) std::array<char, 32768> answer;
    if (recv(socket.get(), answer.data(), answer.size(), 0) < 0)
        throw_errno("read link " + name);
    const auto *message = reinterpret_cast<const nlmsghdr *>(answer.data());
    if (message->nlmsg_type == RTM_NEWLINK)
        return read_link(message);
    const int error = -static_cast<const nlmsgerr *>(NLMSG_DATA(message))->error;
    if (error == ENODEV)
        return std::nullopt;
    throw std::system_error(error, std::generic_category(), "read link " + name);
}

Link NetNs::link(const std::string &name) const {
    std::optional<Link> found = find_link(name);
    if (!found)
        throw std::runtime_error("no interface " + name + " in this namespace");
    return *found;
}

bool NetNs::wait_links(const std::function<bool()> &condition, milliseconds timeout) const {
    const auto deadline = Clock::now() + timeout;
    const Fd events = [this] {
        const NetNsGuard inside = enter();
        return route_socket(RTMGRP_LINK);
    }();
    while (!condition()) { // the events only say when to look again
        pollfd event{events.get(), POLLIN, 0};
        if (poll(&event, 1, poll_timeout(deadline)) == 0)
            return condition();
        std::array<char, 32768> message;
        while (recv(events.get(), message.data(), message.size(), MSG_DONTWAIT) > 0 || errno == ENOBUFS)
            errno = 0;
    }
    return true;
}

bool NetNs::wait_link(const std::string &name, const std::function<bool(const Link &)> &predicate,
                      milliseconds timeout) const {
    return wait_links(
        [&] {
            const std::optional<Link> found = find_link(name);
            return found && predicate(*found);
        },
        timeout);
}

bool NetNs::wait_link_gone(const std::string &name, milliseconds timeout) const {
    return wait_links([&] { return !find_link(name); }, timeout);
}

void NetNs::wait_operstate_up(const std::string &name, milliseconds timeout) const {
    if (!wait_link(
            name, [](const Link &link) { return link.operstate == kOperstateUp; }, timeout))
        throw std::runtime_error(name + " did not come up in time");
}

void NetNs::set_sysctl(const std::string &path, std::string_view value) const {
    const NetNsGuard inside = enter(); // /proc/sys/net shows the namespace of whoever opens a file
    const Fd fd = owned(open(("/proc/sys/" + path).c_str(), O_WRONLY | O_CLOEXEC), "open sysctl " + path);
    if (write(fd.get(), value.data(), value.size()) < 0)
        throw_errno("set sysctl " + path);
}

std::string NetNs::sysctl(const std::string &path) const {
    const NetNsGuard inside = enter();
    const Fd fd = owned(open(("/proc/sys/" + path).c_str(), O_RDONLY | O_CLOEXEC), "open sysctl " + path);
    std::array<char, 4096> text;
    const ssize_t size = read(fd.get(), text.data(), text.size());
    if (size < 0)
        throw_errno("read sysctl " + path);
    const std::string value(text.data(), static_cast<size_t>(size));
    return value.substr(0, value.find('\n'));
}

void add_veth(const NetNs &ns_a, const std::string &name_a, const NetNs &ns_b, const std::string &name_b) {
    // The namespaces' defaults keep both ends quiet: the kernel takes no addrgenmode when it creates a link.
    ns_a.must_run({"ip", "link", "add", name_a, "type", "veth", "peer", "name", name_b, "netns", ns_b.path()});
    ns_a.must_run({"ip", "link", "set", name_a, "up"});
    ns_b.must_run({"ip", "link", "set", name_b, "up"});
    ns_a.wait_operstate_up(name_a);
    ns_b.wait_operstate_up(name_b);
}

} // namespace tapflow::test
