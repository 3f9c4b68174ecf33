// SPDX-License-Identifier: BSD-3-Clause
// What the kernel says of interfaces, as it happens.
#pragma once

#include "kernel/fd.h"
#include "tapflow/result.h"

#include <functional>
#include <memory>
#include <string_view>

namespace tapflow::kernel {

/// RTM_NEWLINK or RTM_DELLINK of an interface, in whichever of the namespaces that are listened to.
struct LinkMessage {
    int index = 0;
    std::string_view name; ///< valid during the call
    bool gone = false;     ///< deleted, or moved to another namespace
};

/// A route-netlink socket in the group RTNLGRP_LINK, never blocking.
///
/// Thread safety: one thread at a time.
class LinkMonitor {
  public:
    /// Listens in the network namespace of the calling thread.
    static Result<std::unique_ptr<LinkMonitor>> open();

    /// Readable as long as there is something to read(), the same for as long as this lives; owned by this object.
    [[nodiscard]] int fd() const { return epoll_.get(); }

    struct Heard {
        /// There were more messages than the socket holds: anything may have happened. Said when that is found, and
        /// when the rest has been read: until then the kernel drops what comes, without a word.
        bool lost = false;
        bool namespace_gone = false; ///< one of the other namespaces has begun to go
    };
    /// Hands what has come to `each`, kBatch messages at most: whoever shares the thread gets its turn between
    /// two calls, however many there are.
    Heard read(const std::function<void(const LinkMessage &)> &each);
    static constexpr int kBatch = 64;

    /// Listens to that namespace as well, and so to all those that have an id in this one (ip-netns(8)). Holds no
    /// reference to it: it can go. Errors: EPERM without CAP_NET_BROADCAST.
    Result<void> listen_to(const Fd &netns);
    /// Listens to its own namespace alone again.
    void listen_at_home();

    /// A namespace takes its interfaces along when it goes, and no message says so outside. From now on fd() is
    /// readable when the tap of this queue is gone, too; each frame for the queue costs a wake-up.
    void watch_queue(int queue);
    void forget_queue(int queue);

  private:
    LinkMonitor(Fd socket, Fd epoll) : socket_(std::move(socket)), epoll_(std::move(epoll)) {}

    bool losing_ = false;
    Fd socket_;
    Fd epoll_; ///< of the socket, and sometimes a queue: what the outside registers stays the same
};

} // namespace tapflow::kernel
