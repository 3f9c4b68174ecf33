// SPDX-License-Identifier: BSD-3-Clause
// Links, qdiscs, filters and attachments, and what the kernel says when it refuses.
#include "kernel/attachment.h"
#include "kernel/link.h"
#include "kernel/membership.h"
#include "kernel/port_fixture.h"
#include "kernel/programs.h"
#include "kernel/tc_state.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <stdexcept>
#include <thread>

namespace tapflow::test {
namespace {

using kernel::Attachment;
using kernel::Hook;

/// A veth pair, and our programs.
class Netlinks : public InNetNs {
  protected:
    Netlinks() { add_veth(ns, "v0", ns, "v1"); }

    kernel::LinkInfo link(const std::string &name = "v0") { return must(kernel::get_link(*netlink, name)); }
    std::string filters(const char *hook) { return ns.must_run({"tc", "filter", "show", "dev", "v0", hook}); }
    std::string qdiscs() { return ns.must_run({"tc", "qdisc", "show", "dev", "v0"}); }
    bool has_clsact() { return qdiscs().find("clsact") != std::string::npos; }

    std::unique_ptr<kernel::Netlink> netlink = must(kernel::Netlink::open());
};

TEST_F(Netlinks, AnInterfaceThatDoesNotExistIsEnodevAndNamed) {
    const auto by_name = kernel::get_link(*netlink, "nowhere");
    ASSERT_FALSE(by_name);
    EXPECT_EQ(by_name.error().code, ENODEV);
    EXPECT_EQ(by_name.error().what, "look up interface nowhere");
    const auto by_index = kernel::get_link(*netlink, 4711);
    ASSERT_FALSE(by_index);
    EXPECT_EQ(by_index.error().code, ENODEV);
}

TEST_F(Netlinks, ARefusalCarriesTheKernelsWords) {
    const auto programs = must(kernel::Programs::load(kernel::Delivery::Ring, 0));
    const kernel::BpfFilter filter{{link().index, Hook::Ingress, 7, 1}, "test"};
    const auto added = kernel::add_filter(*netlink, filter, programs->tap_egress());
    ASSERT_FALSE(added) << "there is no clsact to add it to";
    EXPECT_EQ(added.error().code, EINVAL);
    EXPECT_NE(added.error().detail.find("Qdisc"), std::string::npos) << added.error().message();
    EXPECT_NE(added.error().what.find("preference 7"), std::string::npos) << added.error().what;

    const auto mtu = kernel::set_link_mtu(*netlink, link(), 1'000'000);
    ASSERT_FALSE(mtu);
    EXPECT_EQ(mtu.error().code, EINVAL);
    EXPECT_EQ(mtu.error().what, "set MTU of v0 to 1000000");
    EXPECT_NE(mtu.error().detail, "") << mtu.error().message();
}

TEST_F(Netlinks, ARequestAfterARefusalIsAnsweredAsItsOwn) {
    for (int i = 0; i < 100; i++) {
        EXPECT_FALSE(kernel::get_link(*netlink, "nowhere"));
        EXPECT_EQ(link().name, "v0");
        EXPECT_EQ(link("v1").name, "v1");
    }
}

TEST_F(Netlinks, ThreadsThatShareASocketGetTheAnswersToTheirOwnRequests) {
    constexpr int kRequests = 300;
    std::atomic<int> wrong{0};
    std::vector<std::jthread> threads;
    for (const char *name : {"lo", "v0", "v1", "nowhere"})
        threads.emplace_back([&, name] {
            for (int i = 0; i < kRequests; i++) {
                const auto found = kernel::get_link(*netlink, name);
                const bool exists = std::string(name) != "nowhere";
                if (exists ? !found || found->name != name : found || found.error().code != ENODEV)
                    wrong++;
            }
        });
    threads.clear();
    EXPECT_EQ(wrong, 0);
}

/// The address of the netlink socket that this process has but for `other`.
sockaddr_nl address_of_netlink_but_for(int other) {
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        const int fd = std::stoi(entry.path().filename());
        sockaddr_nl address{};
        socklen_t length = sizeof(address);
        if (fd != other && getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length) == 0 &&
            address.nl_family == AF_NETLINK)
            return address;
    }
    throw std::runtime_error("there is no netlink socket");
}

/// What comes for a request that nobody waits for any more says nothing of the next one.
TEST_F(Netlinks, AnAnswerToAnotherRequestIsNotTakenForTheOwn) {
    const Fd forger = owned(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "open a netlink socket");
    const sockaddr_nl victim = address_of_netlink_but_for(forger.get());
    struct {
        nlmsghdr header;
        nlmsgerr error;
    } late{};
    late.header.nlmsg_len = sizeof(late);
    late.header.nlmsg_type = NLMSG_ERROR;
    late.header.nlmsg_seq = 1; // libnl begins with the time of day
    for (const int code : {0, -EPERM}) {
        late.error.error = code;
        ASSERT_EQ(
            sendto(forger.get(), &late, sizeof(late), 0, reinterpret_cast<const sockaddr *>(&victim), sizeof(victim)),
            static_cast<ssize_t>(sizeof(late)));
        EXPECT_EQ(link().name, "v0");
    }
}

TEST_F(Netlinks, WhatIsSetIsRead) {
    const kernel::LinkInfo before = link();
    EXPECT_EQ(before.kind, "veth");
    EXPECT_TRUE(before.up);
    EXPECT_TRUE(before.carrier);
    EXPECT_FALSE(before.loopback);
    EXPECT_TRUE(link("lo").loopback);
    EXPECT_EQ(before.mac, ns.link("v0").mac);

    must(kernel::set_link_mtu(*netlink, before, 1234));
    const MacAddress mac{{2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee}};
    must(kernel::set_link_mac(*netlink, before, mac));
    must(kernel::set_link_up(*netlink, before, false));
    kernel::LinkInfo expected = before;
    expected.mtu = 1234;
    expected.mac = mac;
    expected.up = false;
    expected.carrier = link().carrier; // goes with the state of both ends
    EXPECT_EQ(link(), expected);
    must(kernel::set_link_up(*netlink, before, true));
    EXPECT_TRUE(link().up);
    EXPECT_EQ(must(kernel::get_link(*netlink, before.index)), link());
}

TEST_F(Netlinks, AnInterfaceWithoutIpv6AutoconfigurationGetsNoAddress) {
    ns.set_sysctl("net/ipv6/conf/default/addr_gen_mode", "0");
    ns.must_run({"ip", "link", "add", "w0", "type", "veth", "peer", "name", "w1"});
    must(kernel::set_link_no_ipv6_autoconf(*netlink, link("w0")));
    for (const char *name : {"w0", "w1"})
        ns.must_run({"ip", "link", "set", name, "up"});
    ns.wait_operstate_up("w0");
    EXPECT_NE(ns.must_run({"ip", "-6", "address", "show", "dev", "w1"}).find("fe80"), std::string::npos);
    EXPECT_EQ(ns.must_run({"ip", "-6", "address", "show", "dev", "w0"}).find("fe80"), std::string::npos);
}

TEST_F(Netlinks, ClsactIsAddedOnce) {
    EXPECT_TRUE(must(kernel::ensure_clsact(*netlink, link())));
    EXPECT_FALSE(must(kernel::ensure_clsact(*netlink, link())));
    EXPECT_TRUE(has_clsact());
    must(kernel::remove_clsact(*netlink, link()));
    EXPECT_FALSE(has_clsact());
    EXPECT_FALSE(kernel::remove_clsact(*netlink, link()));
}

TEST_F(Netlinks, AFilterIsWhereItWasPut) {
    const auto programs = must(kernel::Programs::load(kernel::Delivery::Ring, 0));
    must(kernel::ensure_clsact(*netlink, link()));
    const kernel::BpfFilter filter{{link().index, Hook::Egress, 31, 5}, "here"};
    must(kernel::add_filter(*netlink, filter, programs->tap_egress()));
    EXPECT_NE(filters("egress").find("pref 31 bpf chain 0 handle 0x5 here direct-action"), std::string::npos)
        << filters("egress");
    EXPECT_EQ(filters("ingress"), "");
    const auto again = kernel::add_filter(*netlink, filter, programs->tap_egress());
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, EEXIST);
    must(kernel::replace_filter(*netlink, filter, programs->remote_ingress()));
    must(kernel::remove_filter(*netlink, filter));
    EXPECT_EQ(filters("egress"), "");
}

TEST_F(Netlinks, AnAttachmentTakesBackTheQdiscThatItHasAdded) {
    const auto programs = must(kernel::Programs::load(kernel::Delivery::Ring, 0));
    const std::string before = interface_state(ns, "v0");
    {
        const auto attachment =
            must(Attachment::filter(*netlink, link(), Hook::Ingress, programs->remote_ingress(), "ours"));
        EXPECT_FALSE(attachment.is_tcx());
        EXPECT_TRUE(has_clsact());
        EXPECT_NE(filters("ingress").find("ours direct-action"), std::string::npos);
    }
    EXPECT_EQ(interface_state(ns, "v0"), before);
}

TEST_F(Netlinks, AnAttachmentLeavesItsOwnersQdiscAndFilters) {
    const auto programs = must(kernel::Programs::load(kernel::Delivery::Ring, 0));
    ns.must_run({"tc", "qdisc", "add", "dev", "v0", "clsact"});
    ns.must_run({"tc", "filter", "add", "dev", "v0", "ingress", "protocol", "ip", "pref", "10", "u32", "match", "u32",
                 "0", "0", "classid", "1:1"});
    const std::string before = interface_state(ns, "v0");
    for (const Hook hook : {Hook::Ingress, Hook::Egress}) {
        {
            const auto attachment =
                must(Attachment::filter(*netlink, link(), hook, programs->remote_ingress(), "ours"));
            EXPECT_NE(interface_state(ns, "v0"), before);
            EXPECT_NE(filters("ingress").find("pref 10 u32"), std::string::npos);
        }
        EXPECT_EQ(interface_state(ns, "v0"), before);
    }
}

TEST_F(Netlinks, AnAttachmentTakesOverItsOwnFilterAndNobodyElses) {
    const auto programs = must(kernel::Programs::load(kernel::Delivery::Ring, 0));
    must(kernel::ensure_clsact(*netlink, link()));
    kernel::BpfFilter left_behind{{link().index, Hook::Egress, kernel::kFilterPreference, 1}, "ours"};
    must(kernel::add_filter(*netlink, left_behind, programs->tap_egress()));
    EXPECT_EQ(must(kernel::list_filters(*netlink, link(), Hook::Egress)), std::vector{left_behind});
    {
        const auto attachment =
            must(Attachment::filter(*netlink, link(), Hook::Egress, programs->tap_egress(), "ours"));
        EXPECT_EQ(must(kernel::list_filters(*netlink, link(), Hook::Egress)), std::vector{left_behind});
    }
    EXPECT_EQ(filters("egress"), "");

    ns.must_run({"tc", "filter", "add", "dev", "v0", "egress", "protocol", "ip", "pref", "200", "u32", "match", "u32",
                 "0", "0", "classid", "1:1"});
    const std::string before = interface_state(ns, "v0");
    const auto refused = Attachment::filter(*netlink, link(), Hook::Egress, programs->tap_egress(), "ours");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EEXIST);
    EXPECT_NE(refused.error().message().find("u32"), std::string::npos) << refused.error().message();
    EXPECT_EQ(interface_state(ns, "v0"), before);
}

TEST_F(Netlinks, AnAttachmentTakesBackTheQdiscOfTheKilledOneBefore) {
    const auto programs = must(kernel::Programs::load(kernel::Delivery::Ring, 0));
    const std::string before = interface_state(ns, "v0");
    const pid_t killed = fork();
    ASSERT_GE(killed, 0);
    if (killed == 0) {
        auto own_netlink = kernel::Netlink::open();
        auto attachment = Attachment::filter(**own_netlink, link(), Hook::Egress, programs->tap_egress(), "ours");
        _exit(attachment ? 0 : 1); // no destructor runs
    }
    int status = -1;
    ASSERT_EQ(waitpid(killed, &status, 0), killed);
    ASSERT_EQ(status, 0);
    ASSERT_TRUE(has_clsact());
    {
        const auto attachment =
            must(Attachment::filter(*netlink, link(), Hook::Egress, programs->tap_egress(), "ours"));
        EXPECT_EQ(must(kernel::list_filters(*netlink, link(), Hook::Egress)).size(), 1U);
    }
    EXPECT_EQ(interface_state(ns, "v0"), before);
}

TEST_F(Netlinks, AQdiscThatSomebodyElseUsesByNowStays) {
    const auto programs = must(kernel::Programs::load(kernel::Delivery::Ring, 0));
    {
        const auto attachment =
            must(Attachment::filter(*netlink, link(), Hook::Ingress, programs->remote_ingress(), "ours"));
        ns.must_run({"tc", "filter", "add", "dev", "v0", "egress", "protocol", "ip", "pref", "10", "u32", "match",
                     "u32", "0", "0", "classid", "1:1"});
    }
    EXPECT_EQ(filters("ingress"), "");
    EXPECT_NE(filters("egress").find("pref 10 u32"), std::string::npos) << filters("egress");
}

TEST_F(Netlinks, ATcxAttachmentNeedsNoQdiscAndGoesWithItsOwner) {
    const auto programs = must(kernel::Programs::load(kernel::Delivery::Ring, 0));
    const std::string before = interface_state(ns, "v0");
    {
        auto attachment =
            must(Attachment::tcx_or_filter(*netlink, link(), Hook::Ingress, programs->remote_ingress(), "ours"));
        if (!attachment.is_tcx())
            GTEST_SKIP() << "kernel lacks TCX";
        EXPECT_FALSE(has_clsact());
        EXPECT_EQ(tcx_programs(link().index, Hook::Ingress), 1U);
        const Attachment moved(std::move(attachment));
        EXPECT_EQ(tcx_programs(link().index, Hook::Ingress), 1U);
    }
    EXPECT_EQ(interface_state(ns, "v0"), before);
}

TEST_F(Netlinks, AnAttachmentThatFailsLeavesNothing) {
    const std::string before = interface_state(ns, "v0");
    const auto attachment = Attachment::filter(*netlink, link(), Hook::Ingress, 0, "no program");
    ASSERT_FALSE(attachment);
    EXPECT_NE(attachment.error().message().find("no program"), std::string::npos);
    EXPECT_EQ(interface_state(ns, "v0"), before);
}

TEST_F(Netlinks, AnAttachmentOutlivesItsInterface) {
    const auto programs = must(kernel::Programs::load(kernel::Delivery::Ring, 0));
    const auto attachment =
        must(Attachment::filter(*netlink, link(), Hook::Ingress, programs->remote_ingress(), "ours"));
    ns.must_run({"ip", "link", "delete", "v0"});
} // its destructor meets the interface gone

TEST_F(Netlinks, MembershipsOnTheInterfaceGoWithTheirSocket) {
    const std::string before = interface_state(ns, "v0");
    const MacAddress unicast{{2, 0, 0, 0, 0, 7}};
    const MacAddress multicast{{1, 0, 0x5e, 0, 0, 7}};
    {
        auto socket = must(kernel::MembershipSocket::open(link().index, "v0"));
        must(socket.add(kernel::Membership::Promiscuous));
        EXPECT_EQ(ns.link("v0").promiscuity, 1U);
        must(socket.drop(kernel::Membership::Promiscuous));
        EXPECT_EQ(ns.link("v0").promiscuity, 0U);
        must(socket.add(kernel::Membership::Promiscuous));
        must(socket.add(kernel::Membership::AllMulticast));
        must(socket.add(kernel::Membership::Unicast, unicast));
        must(socket.add(kernel::Membership::Multicast, multicast));
        const std::string addresses = ns.must_run({"bridge", "fdb", "show", "dev", "v0"});
        EXPECT_NE(addresses.find(unicast.text()), std::string::npos) << addresses;
        EXPECT_NE(addresses.find(multicast.text()), std::string::npos) << addresses;
    }
    EXPECT_EQ(interface_state(ns, "v0"), before);
}

TEST_F(Netlinks, AMembershipOfAnInterfaceThatIsGoneIsRefusedNamingIt) {
    auto socket = must(kernel::MembershipSocket::open(link().index, "v0"));
    ns.must_run({"ip", "link", "delete", "v0"});
    const auto refused = socket.add(kernel::Membership::Promiscuous);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message(), "add promiscuity at v0: No such device");
}

} // namespace
} // namespace tapflow::test
