// SPDX-License-Identifier: BSD-3-Clause
// Many requests at once, and answers that are disturbed or lost.
#include "kernel/faults.h"
#include "kernel/pass_program.h"
#include "kernel/port_fixture.h"
#include "kernel/tc.h"

#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#include <filesystem>
#include <map>
#include <stdexcept>

namespace tapflow::test {
namespace {

using kernel::NlMsg;

/// The descriptor of the netlink socket that this process has.
int netlink_fd() {
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        const int fd = std::stoi(entry.path().filename());
        sockaddr_nl address{};
        socklen_t length = sizeof(address);
        if (getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length) == 0 && address.nl_family == AF_NETLINK)
            return fd;
    }
    throw std::runtime_error("there is no netlink socket");
}

/// A veth pair whose first end has a clsact qdisc, and a socket that others write to.
class NetlinkBatch : public InNetNs {
  protected:
    NetlinkBatch() {
        add_veth(ns, "v0", ns, "v1");
        link = must(kernel::get_link(*netlink, "v0"));
        must(kernel::ensure_clsact(*netlink, link));
    }

    kernel::BpfFilter filter(uint32_t handle) const {
        return {{link.index, kernel::Hook::Ingress, 10, handle, 3}, "b"};
    }

    NlMsg addition(uint32_t handle) {
        NlMsg message = kernel::filter_request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, filter(handle), "bpf");
        nlattr *options = nla_nest_start(message.get(), TCA_OPTIONS);
        nla_put_u32(message.get(), TCA_BPF_FD, static_cast<uint32_t>(program.get()));
        nla_put_string(message.get(), TCA_BPF_NAME, "b");
        nla_put_u32(message.get(), TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
        nla_nest_end(message.get(), options);
        return message;
    }

    std::vector<NlMsg> additions(uint32_t count) {
        std::vector<NlMsg> messages;
        for (uint32_t handle = 1; handle <= count; handle++)
            messages.push_back(addition(handle));
        return messages;
    }

    std::vector<kernel::BpfFilter> listed() {
        auto filters = must(kernel::list_filters(*netlink, link, kernel::Hook::Ingress));
        std::ranges::sort(filters, {}, [](const auto &each) { return std::pair(each.chain, each.handle); });
        return filters;
    }

    void expect_nothing_left() {
        char byte = 0;
        EXPECT_EQ(recv(netlink_fd(), &byte, 1, MSG_DONTWAIT | MSG_TRUNC), -1);
        EXPECT_EQ(errno, EAGAIN);
    }

    std::unique_ptr<kernel::Netlink> netlink = must(kernel::Netlink::open());
    kernel::LinkInfo link;
    Fd program = pass_program(BPF_PROG_TYPE_SCHED_CLS);
};

TEST_F(NetlinkBatch, AllAreCarriedOut) {
    constexpr uint32_t kFilters = 700;
    must(netlink->request_all(additions(kFilters), "add filters"));
    expect_nothing_left();
    std::vector<kernel::BpfFilter> expected;
    std::vector<NlMsg> removals;
    for (uint32_t handle = 1; handle <= kFilters; handle++) {
        expected.push_back(filter(handle));
        removals.push_back(kernel::removal_request(filter(handle), "bpf"));
    }
    EXPECT_EQ(listed(), expected);
    must(netlink->request_all(removals, "remove filters"));
    EXPECT_EQ(listed(), std::vector<kernel::BpfFilter>());
}

TEST_F(NetlinkBatch, NothingToSendIsDone) { must(netlink->request_all({}, "do nothing")); }

TEST_F(NetlinkBatch, AMissingMessageStopsAllOfThem) {
    auto messages = additions(3);
    messages[2].reset();
    const auto added = netlink->request_all(messages, "add filters");
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error(), (Error{ENOMEM, "add filters", {}}));
    EXPECT_EQ(listed(), std::vector<kernel::BpfFilter>());
}

TEST_F(NetlinkBatch, OneThatIsRefusedIsNamedAndTheOthersAreCarriedOut) {
    for (const uint32_t refused : {1U, 128U, 129U, 150U, 300U}) {
        auto messages = additions(300);
        must(kernel::add_filter(*netlink, filter(refused), program.get()));
        const auto added = netlink->request_all(messages, "add filters");
        ASSERT_FALSE(added);
        EXPECT_EQ(added.error().code, EEXIST);
        EXPECT_EQ(added.error().what, "add filters, request " + std::to_string(refused) + " of 300");
        EXPECT_NE(added.error().detail.find("exist"), std::string::npos) << added.error().message();
        expect_nothing_left();
        EXPECT_EQ(listed().size(), 300U);
        kernel::FilterPlace all = filter(0);
        must(kernel::remove_filter(*netlink, all, "bpf"));
        EXPECT_EQ(listed(), std::vector<kernel::BpfFilter>());
    }
}

TEST_F(NetlinkBatch, AsManyRefusalsAsThereAreRequestsAreHeard) {
    const auto messages = additions(700);
    must(netlink->request_all(messages, "add filters"));
    const auto again = netlink->request_all(messages, "add filters");
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, EEXIST);
    EXPECT_EQ(again.error().what, "add filters, request 1 of 700");
    expect_nothing_left();
    EXPECT_EQ(listed().size(), 700U);
}

TEST_F(NetlinkBatch, AMessageOfABatchCanBeSentByItself) {
    const auto messages = additions(2);
    must(netlink->request_all(messages, "add filters"));
    must(kernel::remove_filter(*netlink, filter(1)));
    must(netlink->request(messages[0], "add a filter"));
    EXPECT_EQ(listed().size(), 2U);
}

TEST_F(NetlinkBatch, APlaceIsOneInItsChain) {
    const auto message = addition(1);
    must(netlink->request(message, "add a filter to chain 3"));
    kernel::BpfFilter here = filter(1);
    here.chain = 0;
    const auto removed = kernel::remove_filter(*netlink, here);
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code, ENOENT);
    must(kernel::add_filter(*netlink, here, program.get()));
    EXPECT_EQ(listed(), (std::vector<kernel::BpfFilter>{here, filter(1)}));
    must(kernel::remove_filter(*netlink, here));
    EXPECT_EQ(listed(), std::vector{filter(1)});
}

/// Writes to the socket as if it were the kernel.
class Forger {
  public:
    Forger() {
        socklen_t length = sizeof(victim_);
        getsockname(netlink_fd(), reinterpret_cast<sockaddr *>(&victim_), &length);
        socket_ = owned(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "open a netlink socket");
    }

    [[nodiscard]] bool send(const nlmsghdr &message) {
        return sendto(socket_.get(), &message, message.nlmsg_len, MSG_DONTWAIT,
                      reinterpret_cast<const sockaddr *>(&victim_), sizeof(victim_)) >= 0;
    }

  private:
    sockaddr_nl victim_{};
    Fd socket_;
};

/// How often each interface comes in a dump.
class LinkDump {
  public:
    LinkDump() : message_(kernel::make_request(RTM_GETLINK, NLM_F_DUMP)) {
        ifinfomsg all{};
        nlmsg_append(message_.get(), &all, sizeof(all), NLMSG_ALIGNTO);
    }

    Result<void> ask(kernel::Netlink &netlink) {
        seen_.clear();
        return netlink.request(message_, "list links", [&](const nlmsghdr *header) {
            const auto *name = nlmsg_find_attr(const_cast<nlmsghdr *>(header), sizeof(ifinfomsg), IFLA_IFNAME);
            seen_[name ? nla_get_string(name) : "none"]++;
        });
    }
    [[nodiscard]] const std::map<std::string, int> &seen() const { return seen_; }
    [[nodiscard]] uint32_t last_sequence() const { return nlmsg_hdr(message_.get())->nlmsg_seq; }

  private:
    NlMsg message_;
    std::map<std::string, int> seen_;
};

nlmsghdr disturbed(uint32_t sequence) {
    return {sizeof(nlmsghdr), RTM_NEWLINK, NLM_F_MULTI | NLM_F_DUMP_INTR, sequence, 0};
}

/// That something has changed cannot be had at will: it is said to the socket, in the kernel's words, before the
/// request goes out.
TEST_F(NetlinkBatch, ADisturbedDumpIsAskedForAgainAndHandedOutOnce) {
    const std::map<std::string, int> expected{{"lo", 1}, {"v0", 1}, {"v1", 1}};
    LinkDump dump;
    must(dump.ask(*netlink));
    ASSERT_EQ(dump.seen(), expected);
    Forger forger;
    const uint32_t last = dump.last_sequence();
    ASSERT_TRUE(forger.send(disturbed(last + 1)));
    must(dump.ask(*netlink));
    EXPECT_EQ(dump.seen(), expected);
    EXPECT_EQ(dump.last_sequence(), last + 2) << "it has not been asked twice";
    expect_nothing_left();
}

TEST_F(NetlinkBatch, ADumpThatIsAlwaysDisturbedIsAnError) {
    LinkDump dump;
    must(dump.ask(*netlink));
    Forger forger;
    const Before each(Call::Sendmsg, [&] { (void)forger.send(disturbed(dump.last_sequence())); });
    const auto listed = dump.ask(*netlink);
    ASSERT_FALSE(listed);
    EXPECT_EQ(listed.error().code, EINTR);
    EXPECT_NE(listed.error().detail.find("changed"), std::string::npos) << listed.error().message();
    EXPECT_TRUE(dump.seen().empty());
    expect_nothing_left();
}

TEST_F(NetlinkBatch, AnAnswerThatTheSocketHadNoRoomForIsAnErrorAndTheNextOneComes) {
    struct {
        nlmsghdr header{sizeof(*this), NLMSG_MIN_TYPE, 0, 1, 0};
        std::array<char, 16 << 10> bytes{};
    } large;
    const nlmsghdr small{sizeof(nlmsghdr), NLMSG_MIN_TYPE, 0, 1, 0};
    Forger forger;
    const auto messages = additions(10);
    const std::vector<std::function<Result<void>()>> requests{
        [&] { return netlink->request_all(messages, "ask"); },
        [&] { return netlink->request(addition(11), "ask"); },
        [&] { return LinkDump().ask(*netlink); },
    };
    for (const auto &request : requests) {
        for (const nlmsghdr *filler : {static_cast<const nlmsghdr *>(&large.header), &small})
            while (forger.send(*filler)) {
            }
        ASSERT_EQ(errno, EAGAIN);
        const auto lost = request();
        ASSERT_FALSE(lost);
        EXPECT_EQ(lost.error().code, ENOBUFS);
        EXPECT_EQ(lost.error().detail, "the socket overflowed: the answer was lost");
        EXPECT_EQ(must(kernel::get_link(*netlink, "v0")), link);
        expect_nothing_left();
    }
    EXPECT_EQ(listed().size(), 11U) << "not the requests were lost but the answers";
}

} // namespace
} // namespace tapflow::test
