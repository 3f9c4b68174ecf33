// SPDX-License-Identifier: BSD-3-Clause
// The life of a port: what it takes, what it leaves, and what it says when it cannot be had.
#include "kernel/port_fixture.h"
#include "kernel/tc_state.h"
#include "support/bpf_ids.h"

#include <unistd.h>

#include <filesystem>

namespace tapflow::test {
namespace {

namespace fs = std::filesystem;

size_t open_fds() { return static_cast<size_t>(std::distance(fs::directory_iterator("/proc/self/fd"), {})); }

class PortLife : public PortTest {
  protected:
    PortLife() { add_veth(ns, "eth3", peer, "peer"); }

    void expect_nothing_left(const std::string &remote_before, size_t fds_before) {
        EXPECT_FALSE(ns.find_link("tap0"));
        EXPECT_EQ(interface_state(ns, "eth3"), remote_before);
        EXPECT_EQ(open_fds(), fds_before);
    }

    /// open() is refused and leaves nothing; its error.
    Error refused(const engine::PortOptions &options) {
        const std::string before = interface_state(ns, "eth3");
        const size_t fds = open_fds();
        auto result = engine::Port::open(options);
        const Error error = result ? Error{0, "opened", {}} : result.error();
        if (result)
            (*result).reset();
        EXPECT_EQ(interface_state(ns, "eth3"), before);
        EXPECT_EQ(open_fds(), fds);
        return error;
    }

    static engine::PortOptions options(const std::string &iface, const std::string &remote = {}) {
        engine::PortOptions result;
        result.iface = iface;
        result.remote = remote;
        return result;
    }

    NetNs peer;
};

class PortLifeInMode : public PortLife, public testing::WithParamInterface<const char *> {};
INSTANTIATE_TEST_SUITE_P(Remote, PortLifeInMode, testing::Values("", "eth3"),
                         [](const auto &instance) { return std::string(instance.param).empty() ? "local" : "remote"; });

TEST_P(PortLifeInMode, FiftyLivesLeaveNothing) {
    ns.must_run({"tc", "qdisc", "add", "dev", "eth3", "clsact"});
    ns.must_run({"tc", "filter", "add", "dev", "eth3", "ingress", "protocol", "ip", "pref", "10", "u32", "match", "u32",
                 "0", "0", "classid", "1:1"});
    const std::string remote_before = interface_state(ns, "eth3");
    const PortSetup setup{.remote = GetParam(), .queues = 2, .ring_bytes = 1U << 16U};
    open(setup); // once before counting: libraries open things of their own on first use
    port.reset();
    const size_t fds = open_fds();
    BpfIds ids;
    for (int life = 0; life < 50; life++) {
        open(setup);
        ids.add_open_ones(getpid());
        EXPECT_GT(open_fds(), fds);
        if (life % 2 == 0)
            port->stop();
        port.reset();
        ASSERT_EQ(open_fds(), fds) << "after life " << life;
        ASSERT_FALSE(ns.find_link("tap0"));
    }
    expect_nothing_left(remote_before, fds);
    EXPECT_GE(ids.programs.size(), 50U * 5) << "each life loads five programs";
    EXPECT_TRUE(wait_until([&] { return ids.alive() == 0; })) << ids.alive() << " BPF objects are still there";
}

TEST_F(PortLife, RestartsDoNotLeak) {
    open({.remote = "eth3"});
    const auto restart = [&](unsigned rx) {
        port->stop();
        must(port->set_queues(rx, rx));
        for (unsigned queue = 0; queue < rx; queue++)
            must(port->set_ring(queue, 1U << 16U));
        must(port->start(rss_config(rss::kAllTypes, rss::round_robin_reta(rx)), true));
    };
    restart(2);
    const size_t fds = open_fds();
    for (const unsigned rx : {8U, 1U, 4U, 2U})
        restart(rx);
    EXPECT_EQ(open_fds(), fds);
}

TEST_F(PortLife, ARemoteIsLookedAtAndNotChanged) {
    const std::string qdiscs = ns.must_run({"tc", "qdisc", "show", "dev", "eth3"});
    const Link before = ns.link("eth3");
    open({.remote = "eth3"});
    const Link during = ns.link("eth3");
    EXPECT_EQ(during.mac, before.mac);
    EXPECT_EQ(during.mtu, before.mtu);
    EXPECT_EQ(during.flags, before.flags) << "IFF_PROMISC is the owner's";
    EXPECT_EQ(ns.must_run({"tc", "qdisc", "show", "dev", "eth3"}), qdiscs);
    EXPECT_EQ(tcx_programs(before.index, kernel::Hook::Ingress), 1U);
    EXPECT_EQ(port->mac(), before.mac);
    EXPECT_EQ(ns.link("tap0").mac, before.mac);
}

TEST_F(PortLife, MembershipsAtTheRemoteLastAsLongAsThePort) {
    const std::string before = interface_state(ns, "eth3");
    open({.remote = "eth3"});
    EXPECT_EQ(ns.link("eth3").promiscuity, 1U) << "open() of the fixture sets it";
    must(port->set_promiscuous(true));
    EXPECT_EQ(ns.link("eth3").promiscuity, 1U) << "twice is once";
    must(port->set_promiscuous(false));
    EXPECT_EQ(ns.link("eth3").promiscuity, 0U);

    const auto addresses = [&] { return ns.must_run({"bridge", "fdb", "show", "dev", "eth3"}); };
    const auto has = [&](const MacAddress &mac) { return addresses().find(mac.text()) != std::string::npos; };
    const MacAddress unicast{{2, 0, 0, 0, 0, 7}};
    const MacAddress own{{2, 0, 0, 0, 0, 8}};
    const MacAddress first{{1, 0, 0x5e, 0, 0, 0x71}};
    const MacAddress second{{1, 0, 0x5e, 0, 0, 0x72}};
    must(port->add_unicast(unicast));
    must(port->set_mac(own));
    must(port->set_multicast(std::vector{first, second}));
    for (const MacAddress &mac : {unicast, own, first, second})
        EXPECT_TRUE(has(mac)) << mac.text() << " is not in\n" << addresses();
    must(port->set_multicast(std::vector{second}));
    EXPECT_FALSE(has(first));
    EXPECT_TRUE(has(second));
    must(port->remove_unicast(unicast));
    EXPECT_FALSE(has(unicast));

    const auto allmulticast = [&] { return ns.ip_json({"link", "show", "dev", "eth3"}).find("\"allmulti\":1"); };
    EXPECT_EQ(allmulticast(), std::string::npos);
    must(port->set_all_multicast(true));
    EXPECT_NE(allmulticast(), std::string::npos);
    must(port->set_promiscuous(true));
    must(port->add_unicast(unicast));
    port.reset();
    EXPECT_EQ(allmulticast(), std::string::npos);
    EXPECT_EQ(interface_state(ns, "eth3"), before);
}

TEST_F(PortLife, ARemoteThatDoesNotExistIsNamed) {
    const Error error = refused(options("tap0", "nowhere"));
    EXPECT_EQ(error.code, ENODEV);
    EXPECT_EQ(error.what, "look up interface nowhere");
    EXPECT_FALSE(ns.find_link("tap0"));
}

TEST_F(PortLife, TheLoopbackInterfaceIsNoRemote) {
    const Error error = refused(options("tap0", "lo"));
    EXPECT_EQ(error.message(), "use lo as remote: Invalid argument (a loopback interface has no Ethernet peer)");
    EXPECT_FALSE(ns.find_link("tap0"));
}

TEST_F(PortLife, ATapIsNotItsOwnRemote) { EXPECT_EQ(refused(options("eth3", "eth3")).detail, "it is the tap itself"); }

TEST_F(PortLife, ANameThatIsTakenByAnotherInterfaceIsRefused) {
    const Error error = refused(options("eth3"));
    EXPECT_EQ(error.message(),
              "open tap eth3: Invalid argument (the name belongs to an interface that is no multi-queue tap)");
    EXPECT_TRUE(ns.find_link("eth3"));
}

TEST_F(PortLife, TwoPortsDoNotShareATap) {
    open();
    const Error error = refused(options("tap0"));
    EXPECT_EQ(error.code, EBUSY) << error.message();
    EXPECT_NE(error.message().find("tap0"), std::string::npos) << error.message();
    // The first one still works.
    PacketSocket sender(ns, "tap0", {.receive = false});
    const packet::Bytes frame = packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).bytes();
    ASSERT_TRUE(sender.send(frame));
    expect_described(only_record(), frame);
}

TEST_F(PortLife, APersistentTapKeepsItsAddressMtuAndWorksWithoutUs) {
    ns.must_run({"ip", "tuntap", "add", "tap0", "mode", "tap", "multi_queue", "vnet_hdr"});
    ns.must_run({"ip", "link", "set", "tap0", "address", "02:00:00:00:00:77", "mtu", "1400"});
    const std::string before = interface_state(ns, "tap0");
    {
        auto opened = must(engine::Port::open(options("tap0")));
        EXPECT_TRUE(opened->tap_was_there());
        EXPECT_EQ(opened->mtu(), 1400U);
        EXPECT_EQ(opened->mac().text(), "02:00:00:00:00:77");
    }
    EXPECT_EQ(interface_state(ns, "tap0"), before);
    ns.must_run({"ip", "link", "set", "tap0", "up"});
    kernel::Tun tun = must(kernel::Tun::open("tap0"));
    must(tun.set_carrier(true));
    ns.wait_operstate_up("tap0");
    PacketSocket sender(ns, "tap0", {.receive = false});
    ASSERT_TRUE(sender.send(packet::Packet().ether().next_type(0x88b5).payload(100).bytes()));
    std::array<char, 256> buffer{};
    EXPECT_GT(read(tun.queue(0), buffer.data(), buffer.size()), 0) << "no program of ours drops it";
}

/// On kernels before 6.6 these are filters, which do not go with their process.
TEST_F(PortLife, WhatAKilledProcessHasLeftInTheWayOfTxIsTakenOff) {
    ns.must_run({"ip", "tuntap", "add", "dev", "tap0", "mode", "tap", "multi_queue"});
    const auto netlink = must(kernel::Netlink::open());
    const auto tap = must(kernel::get_link(*netlink, "tap0"));
    const auto classifier = must(engine::BpfClassifier::create(kernel::Delivery::Ring, 0));
    (void)must(kernel::ensure_clsact(*netlink, tap));
    for (const auto &[preference, name] : {std::pair{kernel::kEarlyFilterPreference, "tapflow_tx_rules"},
                                           std::pair{kernel::kFilterPreference, "tapflow_tx"}})
        must(kernel::add_filter(*netlink, {{tap.index, kernel::Hook::Ingress, preference, 1}, name},
                                classifier->programs().transmit_rules()));
    ns.must_run({"tc", "filter", "add", "dev", "tap0", "ingress", "protocol", "ip", "pref", "10", "u32", "match", "u32",
                 "0", "0", "classid", "1:1"});
    port = must(engine::Port::open(options("tap0")));
    const auto filters = must(kernel::list_filters(*netlink, tap, kernel::Hook::Ingress));
    EXPECT_FALSE(filters.empty()) << "somebody else's stays";
    for (const auto &filter : filters)
        EXPECT_EQ(filter.preference, 10);
}

TEST_F(PortLife, APortWhoseInterfacesVanishCanBeClosed) {
    open({.remote = "eth3"});
    EXPECT_TRUE(must(port->link()).exists);
    ns.must_run({"ip", "link", "delete", "eth3"});
    EXPECT_FALSE(must(port->link()).exists);
    port->stop();
    port.reset();
    EXPECT_FALSE(ns.find_link("tap0"));

    open();
    ns.must_run({"ip", "link", "delete", "tap0"});
    EXPECT_FALSE(must(port->link()).exists);
    port.reset();
}

/// Its programs and filters do not go with an interface into another namespace: the port is no more, and says so.
TEST_F(PortLife, AnInterfaceThatIsMovedToAnotherNamespaceIsGone) {
    for (const char *moved : {"tap0", "eth3"}) {
        const NetNs elsewhere;
        open({.remote = "eth3"});
        EXPECT_TRUE(must(port->link()).exists) << moved;
        ns.must_run({"ip", "link", "set", moved, "netns", elsewhere.path()});
        EXPECT_FALSE(must(port->link()).exists) << moved;
        port->stop();
        port.reset();
        EXPECT_FALSE(ns.find_link("tap0"));
        EXPECT_FALSE(elsewhere.find_link("tap0"));
        if (elsewhere.find_link("eth3")) {
            const Link link = elsewhere.link("eth3");
            EXPECT_EQ(link.promiscuity, 0U);
            EXPECT_EQ(elsewhere.must_run({"tc", "qdisc", "show", "dev", "eth3"}).find("clsact"), std::string::npos);
        }
    }
}

TEST_F(PortLife, LimitsAreRefusedNamingThem) {
    open({.remote = "eth3"});
    EXPECT_EQ(port->max_mtu(), 1500U);
    const auto mtu = port->set_mtu(1501);
    ASSERT_FALSE(mtu);
    EXPECT_EQ(mtu.error().detail, "the remote eth3 carries 1500");
    const auto ring = port->set_ring(4, 1U << 16U);
    ASSERT_FALSE(ring);
    EXPECT_EQ(ring.error().message(), "set up Rx queue 4: Invalid argument (there is no such queue)");
    const auto queues_set = port->set_queues(65, 1);
    ASSERT_FALSE(queues_set);
    EXPECT_EQ(queues_set.error().detail, "at most 64");
}

TEST_F(PortLife, AQueueThatIsNotSetUpStopsTheStart) {
    auto opened = must(engine::Port::open(options("tap0")));
    must(opened->set_queues(2, 1));
    must(opened->set_ring(0, 1U << 16U));
    const auto started = opened->start(rss_config(rss::kAllTypes, {0, 1}), true);
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().message(), "start port: Invalid argument (queue 1 is not set up)");
}

} // namespace
} // namespace tapflow::test
