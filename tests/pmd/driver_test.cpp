// SPDX-License-Identifier: BSD-3-Clause
// The driver as EAL and the bus see it: names, load order, devargs, and a port's way through its states.
#include "packet/build.h"
#include "pmd/flows.h"
#include "pmd/plugin.h"
#include "support/packet_socket.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

/// Ours has a RETA of 128 slots, the in-tree driver one of 16.
void expect_our_driver(Testpmd &testpmd, unsigned port = 0) {
    const std::string info = testpmd.command("show port info " + std::to_string(port));
    EXPECT_TRUE(contains(info, "Driver name: net_tap")) << info;
    EXPECT_TRUE(contains(info, "Redirection table size: 128")) << info;
}

bool link_is_up(Testpmd &testpmd) { return contains(testpmd.command("show port info 0"), "Link status: up"); }

// ---- which driver

class DriverName : public testing::TestWithParam<const char *> {};

TEST_P(DriverName, IsOurs) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {std::string(GetParam()) + ",remote=eth3"}));
    expect_our_driver(testpmd);
    EXPECT_TRUE(cabled.app.find_link("dtap0"));
    EXPECT_EQ(testpmd.quit(), 0);
    EXPECT_TRUE(cabled.app.wait_link_gone("dtap0"));
}

INSTANTIATE_TEST_SUITE_P(Names, DriverName, testing::Values("net_tap", "net_tap0", "net_tap_any", "eth_tap0"),
                         [](const auto &parameter) { return std::string(parameter.param); });

TEST(LoadOrder, OursWinsOverAnInTreeDriverLoadedBefore) {
    const NetNs ns;
    TestpmdOptions options = plugin_options(ns, {"net_tap0,iface=tap0"});
    options.eal_arguments = {"-d", in_tree_plugin_path(), "-d", plugin_path()};
    options.plugin.clear();
    Testpmd testpmd(options);
    expect_our_driver(testpmd);
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST(LoadOrder, OursWinsOverAnInTreeDriverLoadedAfter) {
    const NetNs ns;
    TestpmdOptions options = plugin_options(ns, {"net_tap0,iface=tap0"});
    options.eal_arguments = {"-d", in_tree_plugin_path()};
    Testpmd testpmd(options);
    expect_our_driver(testpmd);
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST(LoadOrder, NetTunIsOursAsWell) {
    const NetNs ns;
    TestpmdOptions options = plugin_options(ns, {"net_tun0,iface=tun0"});
    options.eal_arguments = {"-d", in_tree_plugin_path()};
    Testpmd testpmd(options);
    EXPECT_TRUE(contains(testpmd.command("show port info 0"), "Driver name: net_tun"));
    EXPECT_TRUE(testpmd.port_xstats(0).contains("rx_bypass")) << "a counter that the in-tree driver does not have";
    EXPECT_TRUE(contains(ns.must_run({"ip", "-d", "link", "show", "tun0"}), "tun type tun"));
}

TEST(Devargs, OfATunDeviceHaveNoEthernet) {
    const NetNs ns;
    for (const auto &[devargs, why] : {std::pair{"iface=tun0,mac=02:00:00:00:00:01", "a tun device has none"},
                                       std::pair{"iface=tun0,remote=lo", "a tun device has no Ethernet frames"}}) {
        SCOPED_TRACE(devargs);
        Testpmd testpmd(plugin_options(ns, {"net_tap0,iface=tap0"}));
        EXPECT_TRUE(contains(testpmd.command("port attach net_tun0," + std::string(devargs)), why));
        EXPECT_FALSE(ns.find_link("tun0"));
    }
}

// ---- devargs

TEST(Devargs, NameAndAddressAreThoseAskedFor) {
    const NetNs ns;
    Testpmd testpmd(plugin_options(
        ns, {"net_tap0,iface=one,mac=02:11:22:33:44:55", "net_tap1,iface=two,mac=fixed", "net_tap2,rx=ring"}));
    EXPECT_EQ(ns.link("one").mac.text(), "02:11:22:33:44:55");
    EXPECT_EQ(ns.link("two").mac.text(), "02:64:74:61:70:01");
    EXPECT_TRUE(ns.find_link("dtap0"));
    EXPECT_TRUE(contains(testpmd.command("show port info 0"), "MAC address: 02:11:22:33:44:55"));
    EXPECT_EQ(testpmd.quit(), 0);
    for (const char *name : {"one", "two", "dtap0"})
        EXPECT_FALSE(ns.find_link(name)) << name;
}

TEST(Devargs, RemotePortHasTheRemotesAddressAndMtu) {
    const Cabled cabled(1, 3000);
    const Link before = cabled.app.link("eth3");
    Testpmd testpmd(plugin_options(cabled.app, {"net_tap0,iface=tap0,remote=eth3,rx=auto"}));
    EXPECT_EQ(cabled.app.link("tap0").mac, before.mac);
    EXPECT_EQ(testpmd.quit(), 0);
    const Link after = cabled.app.link("eth3");
    EXPECT_EQ(after.mac, before.mac);
    EXPECT_EQ(after.mtu, before.mtu);
    EXPECT_EQ(after.flags, before.flags);
    EXPECT_EQ(after.promiscuity, before.promiscuity);
}

TEST(Devargs, WrongOnesAreRefusedWithOneLineAndLeaveNothing) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {"net_null0"})); // it ends at once without any port
    struct Wrong {
        const char *devargs;
        const char *said;
    };
    for (const Wrong &wrong : {
             Wrong{"nosuch=1", "nosuch"},
             Wrong{"iface=a,iface=b", "given twice"},
             Wrong{"mac=02:11:22:33:44", "mac=02:11:22:33:44"},
             Wrong{"mac=01:11:22:33:44:55", "unicast"},
             Wrong{"mac=00:00:00:00:00:00", "unicast"},
             Wrong{"iface=abcdefghijklmnop", "1 to 15 characters"},
             Wrong{"iface=a/b", "1 to 15 characters"},
             Wrong{"remote=nosuch0", "nosuch0"},
             Wrong{"remote=lo", "lo"},
             Wrong{"iface=eth3", "eth3"},
             Wrong{"iface=eth3,remote=eth3", "eth3"},
             Wrong{"persist=maybe", "persist"},
             Wrong{"rx=fast", "wanted is rx=auto"},
             Wrong{"reta_size=64", "wanted is reta_size=128, reta_size=256 or reta_size=512"},
             Wrong{"rss_key_size=48", "wanted is rss_key_size=40 or rss_key_size=52"},
             Wrong{"rss_function=crc", "rss_function=simple_xor"},
         }) {
        SCOPED_TRACE(wrong.devargs);
        const std::string output = testpmd.command(std::string("port attach net_tap0,") + wrong.devargs);
        EXPECT_TRUE(contains(output, "Failed to attach port")) << output;
        const auto lines = plugin_lines(output);
        ASSERT_EQ(lines.size(), 1U) << output;
        EXPECT_TRUE(contains(lines[0], wrong.said)) << lines[0];
        const std::string links = cabled.app.must_run({"ip", "-o", "link", "show"});
        EXPECT_EQ(std::count(links.begin(), links.end(), '\n'), 2) << links; // lo and eth3
        EXPECT_TRUE(contains(links, "eth3"));
        EXPECT_EQ(cabled.app.must_run({"tc", "qdisc", "show", "dev", "eth3"}).find("clsact"), std::string::npos);
    }
    EXPECT_TRUE(contains(testpmd.command("port attach net_tap0,iface=tap0,remote=eth3"), "Port 1 is attached"));
    EXPECT_TRUE(cabled.app.find_link("tap0"));
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST(Devargs, WrongOneFailsTheProbeAtStart) {
    const NetNs ns;
    try {
        Testpmd testpmd(plugin_options(ns, {"net_tap0,iface=tap0,bla=1"}));
        FAIL() << "testpmd has started";
    } catch (const std::runtime_error &error) {
        const std::string said = error.what();
        EXPECT_EQ(plugin_lines(said).size(), 1U) << said;
        EXPECT_TRUE(contains(said, "No probed ethernet devices")) << said;
    }
    EXPECT_FALSE(ns.find_link("tap0"));
}

TEST(Devargs, TapOfAnotherPortIsRefused) {
    const NetNs ns;
    Testpmd testpmd(plugin_options(ns, {"net_tap0,iface=tap0"}));
    const Link before = ns.link("tap0");
    const std::string output = testpmd.command("port attach net_tap1,iface=tap0");
    EXPECT_TRUE(contains(output, "Failed to attach port")) << output;
    EXPECT_EQ(plugin_lines(output).size(), 1U) << output;
    start_forwarding(testpmd, "rxonly");
    PacketSocket sender(ns, "tap0", {.receive = false});
    EXPECT_EQ(queues_used(testpmd, sender, before.mac), first_queues(1));
}

// ---- states

TEST(PortState, StopStartCloseDetachAttachInAnyOrder) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {remote_vdev()}, 2));
    const packet::Mac mac = cabled.app.link("eth3").mac;
    PacketSocket sender(cabled.outside, "peer3", {.receive = false});
    testpmd.command("port config all rss all");
    start_forwarding(testpmd, "rxonly");
    EXPECT_EQ(queues_used(testpmd, sender, mac), first_queues(2));
    testpmd.command("stop");

    const auto works = [&] {
        testpmd.command("port config all rss all");
        testpmd.command("start");
        EXPECT_EQ(queues_used(testpmd, sender, mac), first_queues(2));
        testpmd.command("stop");
    };
    testpmd.command("port stop 0");
    testpmd.command("port stop 0");
    testpmd.command("port start 0");
    works();
    testpmd.command("port stop 0");
    testpmd.command("port close 0"); // stopped
    EXPECT_TRUE(cabled.app.wait_link_gone("tap0"));
    testpmd.command("device detach net_tap0"); // a closed port's device is still the bus's
    EXPECT_TRUE(contains(testpmd.command("port attach " + remote_vdev()), "Port 0 is attached"));
    testpmd.command("port detach 0"); // never started
    EXPECT_TRUE(cabled.app.wait_link_gone("tap0"));
    EXPECT_TRUE(contains(testpmd.command("port attach " + remote_vdev()), "Port 0 is attached"));
    testpmd.command("port start 0");
    testpmd.command("port config all rss all");
    works();
    testpmd.command("port stop 0");
    testpmd.command("port detach 0"); // configured, stopped
    EXPECT_TRUE(cabled.app.wait_link_gone("tap0"));
    EXPECT_EQ(cabled.app.link("eth3").promiscuity, 0U);
    EXPECT_TRUE(contains(testpmd.command("port attach " + remote_vdev()), "Port 0 is attached"));
    EXPECT_EQ(testpmd.quit(), 0); // not configured
    EXPECT_FALSE(cabled.app.find_link("tap0"));
}

struct Counts {
    unsigned rx;
    unsigned tx;
};

class QueueCounts : public testing::TestWithParam<Counts> {};

TEST_P(QueueCounts, MayDiffer) {
    const auto [rx, tx] = GetParam();
    const Cabled cabled;
    TestpmdOptions options = plugin_options(cabled.app, {remote_vdev()});
    options.rxq = rx;
    options.txq = tx;
    Testpmd testpmd(options);
    testpmd.command("port config all rss all");
    PacketSocket peer(cabled.outside, "peer3");
    testpmd.command("set verbose 1");
    testpmd.command("set fwd rxonly");
    testpmd.command("start tx_first 1");
    EXPECT_EQ(queues_used(testpmd, peer, cabled.app.link("eth3").mac), first_queues(rx));
    const uint64_t sent = testpmd.port_stats(0).tx_packets;
    EXPECT_GT(sent, 0U);
    EXPECT_EQ(peer.receive_many(sent).size(), sent);
    EXPECT_EQ(testpmd.quit(), 0);
}

INSTANTIATE_TEST_SUITE_P(Counts, QueueCounts, testing::Values(Counts{1, 4}, Counts{3, 16}), [](const auto &parameter) {
    return std::to_string(parameter.param.rx) + "Rx" + std::to_string(parameter.param.tx) + "Tx";
});

TEST(PortState, NumberOfQueuesMayChange) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {remote_vdev()}, 4));
    testpmd.command("port config all rss all");
    PacketSocket peer(cabled.outside, "peer3");
    testpmd.command("set verbose 1");
    testpmd.command("set fwd rxonly");
    const auto uses = [&](unsigned queues) {
        testpmd.command("port config all rss all");
        testpmd.command("start tx_first 1");
        EXPECT_EQ(queues_used(testpmd, peer, cabled.app.link("eth3").mac), first_queues(queues));
        testpmd.command("stop");
        EXPECT_EQ(peer.receive_many(size_t{32} * queues).size(), size_t{32} * queues);
    };
    uses(4);
    for (const unsigned queues : {2U, 7U, 1U, 16U}) {
        SCOPED_TRACE(queues);
        testpmd.command("port stop 0");
        testpmd.command("port config all rxq " + std::to_string(queues));
        testpmd.command("port config all txq " + std::to_string(queues));
        testpmd.command("port start 0");
        uses(queues);
    }
    EXPECT_EQ(testpmd.quit(), 0);
}

// ---- link

TEST(PortLink, FollowsTheRemotesCarrier) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {remote_vdev()}));
    EXPECT_TRUE(link_is_up(testpmd));
    for (int i = 0; i < 2; ++i) {
        cabled.outside.must_run({"ip", "link", "set", "peer3", "down"});
        EXPECT_TRUE(wait_until([&] { return !link_is_up(testpmd); }));
        cabled.outside.must_run({"ip", "link", "set", "peer3", "up"});
        EXPECT_TRUE(wait_until([&] { return link_is_up(testpmd); }));
    }
}

TEST(PortLink, IsDownWhenSetAndReceivesAgainWhenUp) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {remote_vdev()}));
    start_forwarding(testpmd, "rxonly");
    PacketSocket sender(cabled.outside, "peer3", {.receive = false});
    const packet::Mac mac = cabled.app.link("eth3").mac;
    testpmd.command("set link-down port 0");
    EXPECT_FALSE(link_is_up(testpmd));
    EXPECT_FALSE(cabled.app.link("tap0").carrier);
    const Bytes early = Packet().ether(mac, "02:00:00:00:00:ee").payload(60).bytes();
    ASSERT_TRUE(sender.send(early));
    testpmd.command("set link-up port 0");
    EXPECT_TRUE(link_is_up(testpmd));
    ASSERT_TRUE(sender.send(Packet().ether(mac, "02:00:00:00:00:01").payload(60).bytes()));
    const auto packets = testpmd.packets(1);
    ASSERT_EQ(packets.size(), 1U);
    EXPECT_EQ(packets[0].src, "02:00:00:00:00:01");
}

} // namespace
} // namespace tapflow::test
