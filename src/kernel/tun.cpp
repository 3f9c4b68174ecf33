// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/tun.h"

#include "kernel/namespace.h"
#include "kernel/tun_reader.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <array>

// Newer than Debian 12's linux-libc-dev.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace tapflow::kernel {
namespace {

constexpr short kFlags = IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR;

/// Offers the kernel all offloads, or those that it knows. A queue that refuses TUN_F_CSUM is no use:
/// the kernel drops UDP GSO without it.
bool set_offloads(int fd) {
    constexpr unsigned kBase = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    return ioctl(fd, TUNSETOFFLOAD, kBase | TUN_F_USO4 | TUN_F_USO6) == 0 || ioctl(fd, TUNSETOFFLOAD, kBase) == 0;
}

struct Attached {
    Fd fd;
    std::string name;
};

Result<Attached> attach(const std::string &name, Layer layer) {
    const std::string kind = layer == Layer::Ip ? "tun" : "tap";
    const std::string what = "open " + kind + " " + name;
    if (name.empty() || name.size() >= IFNAMSIZ)
        return Error{EINVAL, what, "an interface name has 1 to 15 characters"};
    Fd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!fd)
        return last_error(what + ", /dev/net/tun");
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = static_cast<short>(kFlags | (layer == Layer::Ip ? IFF_TUN : IFF_TAP));
    if (ioctl(fd.get(), TUNSETIFF, &request) < 0) {
        Error error = last_error(what);
        if (error.code == EINVAL)
            error.detail = "the name belongs to an interface that is no multi-queue " + kind;
        else if (error.code == EBUSY)
            error.detail = "another process has it open";
        else if (error.code == EPERM)
            error.detail = "needs CAP_NET_ADMIN";
        return error;
    }
    if (!set_offloads(fd.get()))
        return last_error("set offloads of " + kind + " " + name);
    return Attached{std::move(fd), request.ifr_name};
}

} // namespace

Result<Tun> Tun::open(const std::string &name, Layer layer) {
    auto first = attach(name, layer);
    if (!first)
        return first.error();
    Tun tun(std::move(first->name), layer, std::move(first->fd));
    if (auto off = tun.set_carrier(false); !off)
        return off.error();
    return tun;
}

Error Tun::ioctl_error(const char *what) const { return last_error(std::string(what) + " of tap " + name_); }

/// TUNSETIFF takes nothing but a name, and makes a new device if it finds none of that name.
Result<std::string> Tun::current_name() const {
    ifreq request{};
    if (ioctl(queues_[0].get(), TUNGETIFF, &request) < 0)
        return ioctl_error("look up present name");
    return std::string(request.ifr_name);
}

Result<Fd> Tun::netns() const {
    Fd fd(ioctl(queues_[0].get(), TUNGETDEVNETNS));
    if (!fd)
        return ioctl_error("look up network namespace");
    return fd;
}

/// A queue of the device under its present name, in its present namespace: a tap's fd belongs to the one in which it
/// was opened.
Result<Fd> Tun::attach_queue() const {
    const auto name = current_name();
    if (!name)
        return name.error();
    auto where = netns();
    if (!where)
        return where.error();
    Fd fd;
    auto done = in_namespace(*where, [&]() -> Result<void> {
        auto next = attach(*name, layer_);
        if (!next)
            return next.error();
        fd = std::move(next->fd);
        return {};
    });
    if (!done)
        return done.error();
    return fd;
}

Result<void> Tun::set_queues(size_t count) {
    if (count == 0)
        count = 1;
    const size_t before = queues_.size();
    while (queues_.size() < count) {
        auto next = attach_queue();
        if (!next) {
            queues_.resize(before);
            return next.error();
        }
        queues_.push_back(*std::move(next));
    }
    queues_.resize(count);
    return set_carrier(carrier_); // attaching a queue has switched it on (tun_set_iff)
}

Result<void> Tun::set_persistent(bool persistent) {
    if (ioctl(queues_[0].get(), TUNSETPERSIST, persistent ? 1 : 0) < 0)
        return ioctl_error("set persistence");
    return {};
}

Result<void> Tun::set_carrier(bool on) {
    int value = on ? 1 : 0;
    if (ioctl(queues_[0].get(), TUNSETCARRIER, &value) < 0)
        return ioctl_error("set carrier");
    carrier_ = on;
    return {};
}

Result<void> Tun::set_steering(int program_fd) {
    if (ioctl(queues_[0].get(), TUNSETSTEERINGEBPF, &program_fd) < 0)
        return ioctl_error("set steering program");
    return {};
}

Result<void> Tun::set_filter(int program_fd) {
    if (ioctl(queues_[0].get(), TUNSETFILTEREBPF, &program_fd) < 0)
        return ioctl_error("set filter program");
    return {};
}

void Tun::drain() {
    for (size_t i = 0; i < queues_.size(); i++)
        drain(i);
}

void Tun::drain(size_t queue) {
    std::array<char, 2048> scrap{}; // a longer frame is cut short, and gone all the same
    while (::read(queues_[queue].get(), scrap.data(), scrap.size()) > 0) {
    }
}

TunReader::Waiting TunReader::waiting() const {
    pollfd queue{queue_, POLLIN, 0};
    if (poll(&queue, 1, 0) <= 0)
        return Waiting::Nothing;
    return queue.revents & POLLERR ? Waiting::Gone : Waiting::Frame;
}

} // namespace tapflow::kernel
