// SPDX-License-Identifier: BSD-3-Clause
// What a port does to its tap, and what it leaves to the tap's owner: MTU, MAC address, addresses and routes.
#include "pmd/flows.h"
#include "pmd/plugin.h"

#include <gtest/gtest.h>

#include <csignal>

namespace tapflow::test {
namespace {

using packet::Packet;

/// How a process ends, and in which mode its port was.
struct End {
    const char *name;
    bool remote;
    bool killed;
};
void PrintTo(const End &end, std::ostream *out) { *out << end.name; } // NOLINT(readability-identifier-naming)

class PersistentTap : public testing::TestWithParam<End> {};
INSTANTIATE_TEST_SUITE_P(Ends, PersistentTap,
                         testing::Values(End{"LocalQuit", false, false}, End{"LocalKilled", false, true},
                                         End{"RemoteQuit", true, false}, End{"RemoteKilled", true, true}),
                         testing::PrintToStringParamName());

TEST_P(PersistentTap, StaysAndIsTakenUpAsItsOwnerHasSetIt) {
    const Cabled cabled;
    const NetNs &ns = cabled.app;
    const std::string vdev = std::string("net_tap0,iface=keep0,persist") + (GetParam().remote ? ",remote=eth3" : "");
    const auto options = plugin_options(ns, {vdev}, 2);
    // Everything that an owner can set; the carrier, and what follows from it, is the port's.
    const auto state = [&] {
        const Link link = ns.link("keep0");
        return link.mac.text() + " " + std::to_string(link.mtu) + " " + std::to_string(link.index) + " " +
               std::to_string(link.tx_queue_length) + (link.up() ? " up\n" : " down\n") +
               ns.must_run({"ip", "-o", "address", "show", "dev", "keep0"});
    };
    std::string set;
    {
        Testpmd testpmd(options);
        ns.must_run({"ip", "link", "set", "keep0", "mtu", "1400", "address", "02:00:00:00:00:77", "txqueuelen", "77"});
        ns.must_run({"ip", "address", "add", "fd00::7/64", "dev", "keep0", "nodad"});
        ns.must_run({"ip", "address", "add", "10.9.7.1/24", "dev", "keep0"});
        set = state();
        for (const char *part : {"02:00:00:00:00:77 1400", "fd00::7/64", "10.9.7.1/24"})
            ASSERT_TRUE(contains(set, part)) << set;
        if (GetParam().killed) {
            testpmd.process().kill(SIGKILL);
            EXPECT_EQ(testpmd.process().wait(), 128 + SIGKILL);
        } else {
            EXPECT_EQ(testpmd.quit(), 0);
        }
    }
    EXPECT_EQ(state(), set);
    Testpmd again(options);
    EXPECT_EQ(state(), set);
    start_forwarding(again, "rxonly");
    again.command("port config all rss all");
    PacketSocket sender(GetParam().remote ? cabled.outside : ns, GetParam().remote ? "peer3" : "keep0",
                        {.receive = false});
    EXPECT_EQ(queues_used(again, sender, ns.link(GetParam().remote ? "eth3" : "keep0").mac), first_queues(2));
    EXPECT_EQ(again.quit(), 0);
    EXPECT_EQ(state(), set);
}

TEST(TapOfAPort, KeepsItsSettingsAddressesAndRoutesWhenThePortStopsAndStarts) {
    const NetNs ns;
    Testpmd testpmd(plugin_options(ns, {"net_tap0,iface=tap0"}, 2));
    ns.must_run({"ip", "address", "add", "fd00::1/64", "dev", "tap0", "nodad"});
    ns.must_run({"ip", "address", "add", "10.0.0.1/24", "dev", "tap0"});
    ns.must_run({"ip", "-6", "route", "add", "fd01::/64", "via", "fd00::2", "dev", "tap0"});
    ns.must_run({"ip", "route", "add", "10.7.0.0/16", "via", "10.0.0.2", "dev", "tap0"});
    ns.must_run({"ip", "link", "set", "tap0", "mtu", "1400", "txqueuelen", "77"});
    const auto state = [&] {
        const Link link = ns.link("tap0");
        return link.mac.text() + " " + std::to_string(link.mtu) + " " + std::to_string(link.tx_queue_length) + "\n" +
               ns.must_run({"ip", "-o", "address", "show", "dev", "tap0", "scope", "global"}) +
               ns.must_run({"ip", "-6", "route", "show", "fd01::/64"}) +
               ns.must_run({"ip", "route", "show", "10.7.0.0/16"});
    };
    // A route is marked while its interface has no carrier.
    ASSERT_TRUE(ns.wait_link("tap0", [](const Link &link) { return link.running(); }));
    const std::string before = state();
    EXPECT_TRUE(contains(before, "fd01::/64") && contains(before, "10.7.0.0/16")) << before;
    for (int i = 0; i < 3; ++i) {
        testpmd.command("port stop 0");
        ASSERT_TRUE(ns.wait_link("tap0", [](const Link &link) { return !link.carrier; }));
        EXPECT_TRUE(ns.link("tap0").up());
        if (i == 2) { // configured anew
            testpmd.command("port config all rxq 4");
            testpmd.command("port config all txq 4");
        }
        testpmd.command("port start 0");
        ASSERT_TRUE(ns.wait_link("tap0", [](const Link &link) { return link.running(); }));
        EXPECT_EQ(state(), before);
    }
}

TEST(PortMtu, LocalPortsIsTheTaps) {
    const NetNs ns;
    Testpmd testpmd(plugin_options(ns, {"net_tap0,iface=tap0"}));
    EXPECT_EQ(ns.link("tap0").mtu, 1500U);
    for (const unsigned mtu : {1400U, 9000U, 68U, 65521U}) {
        const std::string output = testpmd.command("port config mtu 0 " + std::to_string(mtu));
        EXPECT_EQ(ns.link("tap0").mtu, mtu) << output;
    }
    const std::string output = testpmd.command("port config mtu 0 65522");
    EXPECT_TRUE(contains(output, "65521")) << output;
    EXPECT_EQ(ns.link("tap0").mtu, 65521U);
}

TEST(PortMtu, BeyondTheRemotesIsRefused) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {remote_vdev()}));
    const std::string output = testpmd.command("port config mtu 0 2000");
    EXPECT_TRUE(contains(output, "MTU (2000) > device max MTU (1500)")) << output;
    EXPECT_EQ(cabled.app.link("tap0").mtu, 1500U);
    testpmd.command("port config mtu 0 1300");
    EXPECT_EQ(cabled.app.link("tap0").mtu, 1300U);
    EXPECT_EQ(cabled.app.link("eth3").mtu, 1500U);
}

class RaisedMtu : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Modes, RaisedMtu, testing::Bool(),
                         [](const auto &parameter) { return parameter.param ? "Remote" : "Local"; });

/// A receive queue that was made for the MTU of its setup would drop these.
TEST_P(RaisedMtu, CarriesJumboFramesBothWaysWhileThePortRuns) {
    const Cabled cabled(1, 9000);
    TestpmdOptions options = plugin_options(cabled.app, {GetParam() ? remote_vdev() : "net_tap0,iface=tap0"});
    options.app_arguments = {"--enable-scatter"};
    Testpmd testpmd(options);
    start_forwarding(testpmd, "macswap", false);
    const Link tap = cabled.app.link("tap0");
    ASSERT_EQ(tap.mtu, 1500U);
    testpmd.command("port config mtu 0 9000");
    ASSERT_EQ(cabled.app.link("tap0").mtu, 9000U);
    PacketSocket far(GetParam() ? cabled.outside : cabled.app, GetParam() ? "peer3" : "tap0");
    const packet::Mac source = "02:00:00:00:07:01";
    for (const size_t payload : {9000U, 1501U, 46U}) {
        const auto frame = [&](const packet::Mac &to, const packet::Mac &from) {
            return Packet().ether(to, from).next_type(0x88b5).payload(payload).bytes();
        };
        ASSERT_TRUE(far.send(frame(tap.mac, source)));
        const auto answer = far.receive();
        ASSERT_TRUE(answer) << payload;
        EXPECT_EQ(answer->bytes, frame(source, tap.mac)) << payload;
    }
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST(PortMac, IsTheTapsAndTheFiltersAtOnce) {
    const Cabled cabled;
    Testpmd testpmd(plugin_options(cabled.app, {remote_vdev()}));
    testpmd.command("set promisc 0 off");
    start_forwarding(testpmd, "rxonly");
    PacketSocket sender(cabled.outside, "peer3", {.receive = false});
    const Link remote = cabled.app.link("eth3");
    const packet::Mac other("02:00:00:00:0a:0b");
    testpmd.command("mac_addr set 0 02:00:00:00:0a:0b");
    EXPECT_EQ(cabled.app.link("tap0").mac, other);
    EXPECT_EQ(cabled.app.link("eth3").mac, remote.mac);
    ASSERT_TRUE(sender.send(Packet().ether(remote.mac).payload(60).bytes())); // the kernel's now
    EXPECT_EQ(queues_used(testpmd, sender, other), first_queues(1));
    const std::string back = remote.mac.text();
    testpmd.command("mac_addr set 0 " + back);
    ASSERT_TRUE(sender.send(Packet().ether(other).payload(60).bytes()));
    EXPECT_EQ(queues_used(testpmd, sender, remote.mac), first_queues(1));
    EXPECT_EQ(testpmd.port_stats(0).rx_packets, 128U);
    testpmd.command("mac_addr set 0 01:00:00:00:00:01"); // a group address is none
    EXPECT_EQ(cabled.app.link("tap0").mac, remote.mac);
}

} // namespace
} // namespace tapflow::test
