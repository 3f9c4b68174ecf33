// SPDX-License-Identifier: BSD-3-Clause
// A route-netlink socket whose errors carry the kernel's own words.
#pragma once

#include "kernel/fd.h"
#include "tapflow/result.h"

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

struct nl_msg;
struct nl_sock;
struct nlmsghdr;

namespace tapflow::kernel {

struct NlMsgDeleter {
    void operator()(nl_msg *message) const;
};
/// A netlink message under construction (libnl's nl_msg), freed with its owner.
using NlMsg = std::unique_ptr<nl_msg, NlMsgDeleter>;

/// A new request of `type` (RTM_*); NLM_F_REQUEST and NLM_F_ACK are added to `flags`. Null when out of memory.
/// `bytes`: room for the whole message; 0: a page.
[[nodiscard]] NlMsg make_request(int type, int flags, size_t bytes = 0);

/// A NETLINK_ROUTE socket: one request at a time, replies matched by sequence number, extended acks on.
///
/// Thread safety: every call locks the socket for the whole exchange.
class Netlink {
  public:
    /// Opens the socket in the network namespace of the calling thread and stays in that one.
    static Result<std::unique_ptr<Netlink>> open();
    ~Netlink();
    Netlink(const Netlink &) = delete;
    Netlink &operator=(const Netlink &) = delete;

    /// From now on asks the namespace that `netns` names, whichever that is then, over a socket for each request: an
    /// open one would keep that namespace alive. Null: where it was opened.
    void ask_in(std::function<Result<Fd>()> netns);

    /// Sends a request and waits for its ack. `what` says what is being attempted, for the Error.
    /// Errors: the kernel's errno with its extended-ack text; ETIMEDOUT after 10 s without an answer; ENOBUFS when the
    /// answer was lost.
    Result<void> request(const NlMsg &message, const std::string &what);

    /// As above, and hands each message of the answer (not acks, errors and the end of a dump) to `each` when it is
    /// complete. A dump that something has changed under is asked for again. Errors: EINTR when that does not end.
    Result<void> request(const NlMsg &message, const std::string &what,
                         const std::function<void(const nlmsghdr *)> &each);

    /// Sends requests without answers, as many in a system call as fit, and waits until all have been carried out or
    /// refused. Errors: that of the first that was refused, with its number; all others may have been carried out. What
    /// request() says of lost answers; then those behind may not have been sent.
    Result<void> request_all(std::span<const NlMsg> messages, const std::string &what);

  private:
    explicit Netlink(nl_sock *socket) : socket_(socket) {}
    static Result<nl_sock *> connect();
    /// Lets `use` have the socket of the namespace to ask.
    Result<void> with_socket(const std::function<Result<void>(nl_sock *)> &use);

    std::mutex mutex_;
    nl_sock *socket_;
    std::function<Result<Fd>()> elsewhere_;
};

} // namespace tapflow::kernel
