// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/netlink.h"

#include "kernel/attribute.h"
#include "kernel/namespace.h"

#include <linux/netlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace tapflow::kernel {
namespace {

constexpr int kAnswerTimeoutMs = 10'000;
constexpr unsigned kDumpAttempts = 20;

// Of one system call: what libnl's send buffer takes, and as many refusals as the receive buffer below holds.
constexpr size_t kBatchBytes = 32U << 10U;
constexpr size_t kBatchMessages = 128;
// Of one answer: dumps come in pieces of 32 KiB at most (net/netlink/af_netlink.c, netlink_dump()).
constexpr size_t kAnswerBytes = 64U << 10U;
constexpr int kReceiveBuffer = 512 << 10;

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
    default:
        return EIO;
    }
}

/// The NLMSGERR_ATTR_MSG string behind an error message; empty if the kernel gave none.
std::string extended_ack(const nlmsghdr *header) {
    if (!(header->nlmsg_flags & NLM_F_ACK_TLVS))
        return {};
    if (header->nlmsg_type != NLMSG_ERROR || nlmsg_datalen(header) < static_cast<int>(sizeof(nlmsgerr)))
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
    return text_of(text);
}

/// A datagram of whole messages.
using Datagram = std::vector<char>;

template <typename Handle> void for_each_message(const Datagram &datagram, const Handle &handle) {
    int length = static_cast<int>(datagram.size());
    for (auto *header = reinterpret_cast<nlmsghdr *>(const_cast<char *>(datagram.data())); nlmsg_ok(header, length);
         header = nlmsg_next(header, &length))
        handle(header);
}

/// Reads whatever has come. After an overflow the kernel drops every answer until the queue has been empty once.
void drain(int fd) {
    char byte = 0;
    while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC) >= 0 || errno == EINTR) {
    }
}

Result<Datagram> receive(int fd, const std::string &what) {
    const auto buffer = std::make_unique_for_overwrite<char[]>(kAnswerBytes);
    for (;;) {
        // The kernel has mostly answered before it returns from the request.
        const ssize_t length = recv(fd, buffer.get(), kAnswerBytes, MSG_DONTWAIT | MSG_TRUNC);
        if (length > static_cast<ssize_t>(kAnswerBytes))
            return Error{EMSGSIZE, what, "the kernel's answer has " + std::to_string(length) + " bytes"};
        if (length >= 0)
            return Datagram(buffer.get(), buffer.get() + length);
        if (errno == ENOBUFS) {
            drain(fd);
            return Error{ENOBUFS, what, "the socket overflowed: the answer was lost"};
        }
        pollfd ready{fd, POLLIN, 0};
        if (errno == EAGAIN && ::poll(&ready, 1, kAnswerTimeoutMs) == 0)
            return Error{ETIMEDOUT, what, "no answer from the kernel"};
        if (errno != EAGAIN && errno != EINTR)
            return last_error(what);
    }
}

/// Sends requests in one system call, with consecutive sequence numbers.
Result<void> send(nl_sock *socket, std::span<const NlMsg> messages, const std::string &what) {
    std::array<iovec, kBatchMessages> parts{};
    for (size_t i = 0; i < messages.size(); i++) {
        nlmsghdr *header = nlmsg_hdr(messages[i].get());
        header->nlmsg_seq = nl_socket_use_seq(socket);
        header->nlmsg_pid = nl_socket_get_local_port(socket);
        parts[i] = {header, header->nlmsg_len};
    }
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    msghdr datagram{};
    datagram.msg_name = &kernel;
    datagram.msg_namelen = sizeof(kernel);
    datagram.msg_iov = parts.data();
    datagram.msg_iovlen = messages.size();
    while (sendmsg(nl_socket_get_fd(socket), &datagram, 0) < 0)
        if (errno != EINTR)
            return last_error(what);
    return {};
}

/// The errno that an NLMSG_ERROR or NLMSG_DONE begins with, 0 if it is an ack or all of a dump.
int error_of(const nlmsghdr *header) {
    return nlmsg_datalen(header) < static_cast<int>(sizeof(int)) ? 0 : -*static_cast<const int *>(nlmsg_data(header));
}

struct Answer {
    std::vector<Datagram> datagrams;
    bool inconsistent = false; ///< a dump that something has changed under
};

/// One request and its whole answer.
Result<Answer> ask(nl_sock *socket, const NlMsg &message, const std::string &what) {
    nlmsghdr *request = nlmsg_hdr(message.get());
    request->nlmsg_flags |= NLM_F_ACK; // a batch may have taken it
    if (auto sent = send(socket, {&message, 1}, what); !sent)
        return sent.error();
    const bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    Answer answer;
    for (;;) {
        auto datagram = receive(nl_socket_get_fd(socket), what);
        if (!datagram)
            return datagram.error();
        std::optional<Result<void>> end;
        for_each_message(*datagram, [&](const nlmsghdr *header) {
            if (header->nlmsg_seq != request->nlmsg_seq) // the late answer of a request that timed out
                return;
            answer.inconsistent |= (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            if (header->nlmsg_type != NLMSG_ERROR && !(header->nlmsg_type == NLMSG_DONE && dump))
                return;
            const int error = error_of(header);
            end = error == 0 ? Result<void>() : Error{error, what, extended_ack(header)};
        });
        answer.datagrams.push_back(*std::move(datagram));
        if (end)
            return *end ? Result<Answer>(std::move(answer)) : end->error();
    }
}

Result<void> exchange(nl_sock *socket, const NlMsg &message, const std::string &what,
                      const std::function<void(const nlmsghdr *)> &each) {
    for (unsigned attempt = 0; attempt < kDumpAttempts; attempt++) {
        auto answer = ask(socket, message, what);
        if (!answer)
            return answer.error();
        if (answer->inconsistent)
            continue;
        const unsigned sequence = nlmsg_hdr(message.get())->nlmsg_seq;
        for (const Datagram &datagram : answer->datagrams)
            for_each_message(datagram, [&](const nlmsghdr *header) {
                if (header->nlmsg_seq == sequence && header->nlmsg_type >= NLMSG_MIN_TYPE)
                    each(header);
            });
        return {};
    }
    return Error{EINTR, what,
                 "what the kernel was listing changed each of " + std::to_string(kDumpAttempts) + " times"};
}

/// As many of the messages, from the first on, as go into one system call.
size_t batch_size(std::span<const NlMsg> messages) {
    size_t bytes = 0;
    size_t count = 0;
    for (; count < std::min(messages.size(), kBatchMessages); count++) {
        bytes += nlmsg_hdr(messages[count].get())->nlmsg_len;
        if (bytes > kBatchBytes && count > 0)
            break;
    }
    return count;
}

struct Refusal {
    size_t index; ///< of the message in its batch
    Error error;
};

/// Sends one batch and waits for its end. Returns what was refused. The kernel carries out one message after the other
/// and answers in that order, so that the last one's ack is the end.
Result<std::vector<Refusal>> exchange_batch(nl_sock *socket, std::span<const NlMsg> batch, const std::string &what) {
    for (const NlMsg &message : batch)
        nlmsg_hdr(message.get())->nlmsg_flags &= static_cast<uint16_t>(~NLM_F_ACK);
    nlmsg_hdr(batch.back().get())->nlmsg_flags |= NLM_F_ACK;
    if (auto sent = send(socket, batch, what); !sent)
        return sent.error();
    const unsigned first = nlmsg_hdr(batch.front().get())->nlmsg_seq;
    std::vector<Refusal> refusals;
    for (bool ended = false; !ended;) {
        auto datagram = receive(nl_socket_get_fd(socket), what);
        if (!datagram)
            return datagram.error();
        for_each_message(*datagram, [&](const nlmsghdr *header) {
            const size_t index = header->nlmsg_seq - first;
            if (index >= batch.size() || header->nlmsg_type != NLMSG_ERROR)
                return;
            if (const int error = error_of(header); error != 0)
                refusals.push_back({index, {error, what, extended_ack(header)}});
            ended |= index == batch.size() - 1;
        });
    }
    return refusals;
}

Result<void> exchange_all(nl_sock *socket, std::span<const NlMsg> messages, const std::string &what) {
    std::optional<Error> first;
    for (size_t done = 0; done < messages.size();) {
        const size_t count = batch_size(messages.subspan(done));
        auto refusals = exchange_batch(socket, messages.subspan(done, count), what);
        if (!refusals)
            return first ? *first : refusals.error();
        if (!first && !refusals->empty()) {
            first = refusals->front().error;
            first->what += ", request " + std::to_string(done + refusals->front().index + 1) + " of " +
                           std::to_string(messages.size());
        }
        done += count;
    }
    return first ? Result<void>(*first) : Result<void>();
}

} // namespace

void NlMsgDeleter::operator()(nl_msg *message) const { nlmsg_free(message); }

NlMsg make_request(int type, int flags, size_t bytes) {
    NlMsg message(bytes == 0 ? nlmsg_alloc() : nlmsg_alloc_size(bytes));
    if (message) {
        nlmsg_hdr(message.get())->nlmsg_type = static_cast<uint16_t>(type);
        nlmsg_hdr(message.get())->nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST | NLM_F_ACK);
    }
    return message;
}

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
    // The first one needs CAP_NET_ADMIN in the initial user namespace, the second one stops at net.core.rmem_max.
    const int fd = nl_socket_get_fd(socket.get());
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof(kReceiveBuffer)) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof(kReceiveBuffer));
    const int on = 1;
    setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
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
    return with_socket([&](nl_sock *socket) { return exchange(socket, message, what, each); });
}

Result<void> Netlink::request_all(std::span<const NlMsg> messages, const std::string &what) {
    if (!std::ranges::all_of(messages, [](const NlMsg &message) { return message != nullptr; }))
        return Error{ENOMEM, what, {}};
    return with_socket([&](nl_sock *socket) { return exchange_all(socket, messages, what); });
}

Result<void> Netlink::with_socket(const std::function<Result<void>(nl_sock *)> &use) {
    std::lock_guard lock(mutex_);
    if (!elsewhere_)
        return use(socket_);
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
    return opened ? use(there.get()) : opened;
}

} // namespace tapflow::kernel
