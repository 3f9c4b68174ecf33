// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/netlink.h"

#include "kernel/namespace.h"

#include <linux/netlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstdlib>
#include <string_view>

namespace tapflow::kernel {
namespace {

constexpr int kAnswerTimeoutMs = 10'000;

struct FreeDeleter {
    void operator()(void *memory) const { std::free(memory); } // nl_recv() allocates with malloc
};

struct SocketDeleter {
    void operator()(nl_sock *socket) const { nl_socket_free(socket); }
};

int errno_of_libnl(int error) {
    switch (-error) {
    case NLE_NOMEM:
        return ENOMEM;
    case NLE_PERM:
    case NLE_NOACCESS:
        return EPERM;
    case NLE_MSG_TOOSHORT:
    case NLE_MSG_TRUNC:
        return EMSGSIZE;
    default:
        return EIO;
    }
}

/// The NLMSGERR_ATTR_MSG string behind an error message; empty if the kernel gave none.
std::string extended_ack(const nlmsghdr *header) {
    if (!(header->nlmsg_flags & NLM_F_ACK_TLVS))
        return {};
    const auto *error = static_cast<const nlmsgerr *>(nlmsg_data(header));
    size_t offset = sizeof(nlmsgerr);
    // The request is echoed in whole unless the kernel was asked to cap it.
    if (!(header->nlmsg_flags & NLM_F_CAPPED))
        offset += error->msg.nlmsg_len - sizeof(nlmsghdr);
    offset = NLMSG_ALIGN(offset);
    const auto length = static_cast<size_t>(nlmsg_datalen(header));
    if (offset >= length)
        return {};
    auto *attributes = reinterpret_cast<nlattr *>(static_cast<char *>(nlmsg_data(header)) + offset);
    const nlattr *text = nla_find(attributes, static_cast<int>(length - offset), NLMSGERR_ATTR_MSG);
    return text ? std::string(static_cast<const char *>(nla_data(text))) : std::string();
}

} // namespace

void NlMsgDeleter::operator()(nl_msg *message) const { nlmsg_free(message); }

NlMsg make_request(int type, int flags) { return NlMsg(nlmsg_alloc_simple(type, flags | NLM_F_REQUEST | NLM_F_ACK)); }

Result<std::unique_ptr<Netlink>> Netlink::open() {
    auto socket = connect();
    if (!socket)
        return socket.error();
    return std::unique_ptr<Netlink>(new Netlink(*socket));
}

Result<nl_sock *> Netlink::connect() {
    std::unique_ptr<nl_sock, SocketDeleter> socket(nl_socket_alloc());
    if (!socket)
        return Error{ENOMEM, "open netlink socket", {}};
    if (int error = nl_connect(socket.get(), NETLINK_ROUTE); error < 0) // SOCK_CLOEXEC is libnl's default
        return Error{errno_of_libnl(error), "open netlink socket", nl_geterror(error)};
    nl_socket_set_nonblocking(socket.get());
    const int on = 1;
    setsockopt(nl_socket_get_fd(socket.get()), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
    setsockopt(nl_socket_get_fd(socket.get()), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
    return socket.release();
}

Netlink::~Netlink() { nl_socket_free(socket_); }

void Netlink::ask_in(std::function<Result<Fd>()> netns) {
    std::lock_guard lock(mutex_);
    elsewhere_ = std::move(netns);
}

Result<void> Netlink::request(const NlMsg &message, const std::string &what) {
    return request(message, what, [](const nlmsghdr *) {});
}

Result<void> Netlink::request(const NlMsg &message, const std::string &what,
                              const std::function<void(const nlmsghdr *)> &each) {
    if (!message)
        return Error{ENOMEM, what, {}};
    std::lock_guard lock(mutex_);
    if (!elsewhere_)
        return exchange(socket_, message, what, each);
    auto netns = elsewhere_();
    if (!netns)
        return netns.error();
    std::unique_ptr<nl_sock, SocketDeleter> there;
    auto opened = in_namespace(*netns, [&]() -> Result<void> {
        auto socket = connect();
        if (!socket)
            return socket.error();
        there.reset(*socket);
        return {};
    });
    return opened ? exchange(there.get(), message, what, each) : opened;
}

Result<void> Netlink::exchange(nl_sock *socket, const NlMsg &message, const std::string &what,
                               const std::function<void(const nlmsghdr *)> &each) {
    const nlmsghdr *request = nlmsg_hdr(message.get());
    if (int error = nl_send_auto(socket, message.get()); error < 0)
        return Error{errno_of_libnl(error), what, nl_geterror(error)};
    const unsigned sequence = request->nlmsg_seq;
    const bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    for (;;) {
        pollfd ready{nl_socket_get_fd(socket), POLLIN, 0};
        if (::poll(&ready, 1, kAnswerTimeoutMs) == 0)
            return Error{ETIMEDOUT, what, "no answer from the kernel"};
        sockaddr_nl sender{};
        unsigned char *buffer = nullptr;
        int length = nl_recv(socket, &sender, &buffer, nullptr);
        std::unique_ptr<unsigned char, FreeDeleter> owner(buffer);
        if (length == -NLE_AGAIN || length == -NLE_INTR || length == 0)
            continue;
        if (length < 0)
            return Error{errno_of_libnl(length), what, nl_geterror(length)};
        for (auto *header = reinterpret_cast<nlmsghdr *>(buffer); nlmsg_ok(header, length);
             header = nlmsg_next(header, &length)) {
            if (header->nlmsg_seq != sequence) // the late answer of a request that timed out
                continue;
            if (header->nlmsg_type == NLMSG_ERROR) {
                const auto *error = static_cast<const nlmsgerr *>(nlmsg_data(header));
                if (error->error == 0)
                    return {};
                return Error{-error->error, what, extended_ack(header)};
            }
            if (header->nlmsg_type == NLMSG_DONE) {
                if (dump)
                    return {};
                continue;
            }
            each(header);
        }
    }
}

} // namespace tapflow::kernel
