// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/wakeup.h"

#include <sys/epoll.h>

#include <cerrno>
#include <utility>

namespace tapflow::kernel {

Result<Wakeup> Wakeup::create(int source) {
    Fd epoll(epoll_create1(EPOLL_CLOEXEC));
    if (!epoll)
        return Error{errno, "create epoll instance", ""};
    return Wakeup(std::move(epoll), source);
}

Result<void> Wakeup::enable() {
    epoll_event readable{};
    readable.events = EPOLLIN;
    if (epoll_ctl(epoll_.get(), enabled_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, source_, &readable) < 0)
        return Error{errno, "wait for a queue", ""};
    enabled_ = true;
    return {};
}

Result<void> Wakeup::disable() {
    if (enabled_ && epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, source_, nullptr) < 0)
        return Error{errno, "stop waiting for a queue", ""};
    enabled_ = false;
    return {};
}

Result<void> Wakeup::change_source(int source) {
    const bool enabled = enabled_;
    if (auto disabled = disable(); !disabled)
        return disabled.error();
    source_ = source;
    return enabled ? enable() : Result<void>();
}

} // namespace tapflow::kernel
