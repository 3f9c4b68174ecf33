// SPDX-License-Identifier: BSD-3-Clause
// readopt=1: a remote may go and come back.
#include "pmd/events_rig.h"

namespace tapflow::test {
namespace {

const packet::Mac kExtra = "02:00:00:00:0a:dd";
const packet::Mac kGroup = "01:00:5e:01:02:03";
const packet::Mac kOther = "02:00:00:00:0a:ee"; ///< comes in by promiscuity

class Readopt : public LinkEvents {
  protected:
    /// A frame from the outside comes in at the port.
    testing::AssertionResult receives(const MacAddress &destination) {
        const MacAddress source{{0x02, 0, 0, 0, 0x0f, ++sources_}};
        const packet::Bytes frame = probe(destination, source);
        bool came = false;
        PacketSocket far(outside, "peer3");
        const bool in_time = wait_until([&] {
            (void)far.send(frame);
            poll_queues(1, [&](const rte_mbuf &mbuf, uint16_t) {
                const auto *bytes = rte_pktmbuf_mtod(&mbuf, const uint8_t *);
                came = came || std::equal(frame.begin(), frame.end(), bytes, bytes + mbuf.pkt_len);
            });
            return came;
        });
        return in_time ? testing::AssertionSuccess() : testing::AssertionFailure() << MacAddress(destination).text();
    }

    void set_up(const std::string &more = ",readopt=1") {
        open_remote(more);
        start_for(kLsc | kRmv);
        own = ns().link("eth3").mac;
        ASSERT_EQ(rte_eth_promiscuous_enable(port()), 0);
        ASSERT_EQ(rte_eth_allmulticast_enable(port()), 0);
        rte_ether_addr extra{};
        std::copy(kExtra.bytes.begin(), kExtra.bytes.end(), extra.addr_bytes);
        ASSERT_EQ(rte_eth_dev_mac_addr_add(port(), &extra, 0), 0);
        rte_ether_addr group{};
        std::copy(kGroup.bytes.begin(), kGroup.bytes.end(), group.addr_bytes);
        ASSERT_EQ(rte_eth_dev_set_mc_addr_list(port(), &group, 1), 0);
        expect_works();
    }

    void expect_works() {
        EXPECT_TRUE(link_is_up());
        EXPECT_FALSE(is_removed());
        for (const MacAddress &address : std::initializer_list<MacAddress>{own, kExtra, kGroup, kOther})
            EXPECT_TRUE(receives(address));
        PacketSocket far(outside, "peer3");
        EXPECT_TRUE(sends_to(far));
        EXPECT_GE(ns().link("eth3").promiscuity, 1U);
        rte_ether_addr mac{};
        EXPECT_EQ(rte_eth_macaddr_get(port(), &mac), 0);
        EXPECT_TRUE(std::equal(own.bytes.begin(), own.bytes.end(), std::begin(mac.addr_bytes)));
    }

    /// The memberships, without promiscuity's help.
    void expect_memberships() {
        const std::string groups = ns().must_run({"ip", "maddress", "show", "dev", "eth3"});
        EXPECT_NE(groups.find(kGroup.text()), std::string::npos) << groups;
        const std::string addresses = ns().must_run({"bridge", "fdb", "show", "dev", "eth3"});
        EXPECT_NE(addresses.find(kExtra.text()), std::string::npos) << addresses;
        if (ns().link("eth3").mac != own) {
            EXPECT_NE(addresses.find(own.text()), std::string::npos) << addresses;
        }
        EXPECT_NE(ns().must_run({"ip", "-d", "link", "show", "dev", "eth3"}).find("allmulti 1"), std::string::npos);
    }

    MacAddress own;

  private:
    uint8_t sources_ = 0;
};

TEST_F(Readopt, RemoteComesBackAsAnotherInterface) {
    set_up();
    for (unsigned round = 0; round < 5; ++round) {
        SCOPED_TRACE(round);
        const int before = ns().link("eth3").index;
        ns().must_run({"ip", "link", "del", "eth3"});
        expect_events({"down"});
        EXPECT_FALSE(link_is_up());
        EXPECT_FALSE(is_removed());
        for (unsigned i = 0; i < 1000; ++i) { // nowhere to go, and nothing gets stuck
            rte_mbuf *mbuf = make_mbuf(probe(packet::Mac("02:00:00:00:0e:ff"), own));
            ASSERT_EQ(rte_eth_tx_burst(port(), 0, &mbuf, 1), 1);
        }
        if (round == 1) { // what is set while it is away counts when it is back
            ASSERT_EQ(rte_eth_promiscuous_disable(port()), 0);
            ASSERT_EQ(rte_eth_promiscuous_enable(port()), 0);
        }
        if (round == 2) { // by a rename
            add_veth(ns(), "eth4", outside, "peer3");
            expect_events({});
            ns().must_run({"ip", "link", "set", "eth4", "down"});
            ns().must_run({"ip", "link", "set", "eth4", "name", "eth3"});
            ns().must_run({"ip", "link", "set", "eth3", "up"});
            ns().wait_operstate_up("eth3");
        } else if (round == 3) { // while the port is stopped
            ASSERT_EQ(rte_eth_dev_stop(port()), 0);
            add_veth(ns(), "eth3", outside, "peer3");
            expect_events({});
            ASSERT_EQ(rte_eth_dev_start(port()), 0);
        } else {
            add_veth(ns(), "eth3", outside, "peer3");
        }
        expect_events(round == 3 ? Events{} : Events{"up"});
        const Link now = ns().link("eth3");
        EXPECT_NE(now.index, before);
        EXPECT_NE(now.mac, own);
        expect_memberships();
        expect_works();
    }
    EXPECT_EQ(ns().must_run({"ip", "-d", "link", "show", "dev", "eth3"}).find("promiscuity 0"), std::string::npos);
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    ASSERT_EQ(rte_eth_dev_close(port()), 0);
    leave_closed();
    EXPECT_EQ(ns().link("eth3").promiscuity, 0U);
    EXPECT_TRUE(tcx_programs(ns(), "eth3").value_or(std::vector<uint32_t>()).empty());
}

TEST_F(Readopt, RemoteMayGoToAnotherNamespaceAndComeBack) {
    set_up();
    const NetNs elsewhere;
    ns().must_run({"ip", "link", "set", "eth3", "netns", elsewhere.path()});
    expect_events({"down"});
    elsewhere.must_run({"ip", "link", "set", "eth3", "up"}); // until then the kernel's own count is not right
    EXPECT_EQ(elsewhere.link("eth3").promiscuity, 0U);
    EXPECT_TRUE(tcx_programs(elsewhere, "eth3").value_or(std::vector<uint32_t>()).empty());
    elsewhere.must_run({"ip", "link", "set", "eth3", "netns", ns().path()});
    ns().must_run({"ip", "link", "set", "eth3", "up"});
    ns().wait_operstate_up("eth3");
    expect_events({"up"});
    expect_works();
}

/// A rename of the remote is none of that, and its former name no offer.
TEST_F(Readopt, LivingRemoteIsKeptWhateverItIsCalled) {
    set_up();
    ns().must_run({"ip", "link", "set", "eth3", "down"});
    ns().must_run({"ip", "link", "set", "eth3", "name", "lan0"});
    ns().must_run({"ip", "link", "set", "lan0", "up"});
    ns().wait_operstate_up("lan0");
    expect_events({"down", "up"});
    const NetNs elsewhere;
    add_veth(ns(), "eth3", elsewhere, "peer3");
    expect_events({});
    EXPECT_EQ(ns().link("eth3").promiscuity, 0U);
    EXPECT_TRUE(receives(own));
    ns().must_run({"ip", "link", "del", "lan0"}); // and now it is
    EXPECT_TRUE(ns().wait_link("eth3", [](const Link &link) { return link.promiscuity > 0; }));
    expect_events({});
    EXPECT_TRUE(link_is_up());
    EXPECT_FALSE(is_removed());
}

TEST_F(Readopt, FailingAdoptionIsUndoneAndTriedAgain) {
    set_up();
    ns().must_run({"ip", "link", "del", "eth3"});
    expect_events({"down"});
    testing::internal::CaptureStderr();
    // No Ethernet: the kernel takes no membership of the port's address.
    ns().must_run({"ip", "tuntap", "add", "eth3", "mode", "tun"});
    expect_events({});
    const auto lines = plugin_lines(testing::internal::GetCapturedStderr());
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_EQ(lines[0], "tapflow: net_tap0: add address " + own.text() + " at eth3: Invalid argument");
    EXPECT_FALSE(link_is_up());
    EXPECT_FALSE(is_removed());
    EXPECT_EQ(ns().link("eth3").promiscuity, 0U);
    EXPECT_TRUE(tcx_programs(ns(), "eth3").value_or(std::vector<uint32_t>()).empty());
    ns().must_run({"ip", "link", "del", "eth3"});
    add_veth(ns(), "eth3", outside, "peer3");
    expect_events({"up"});
    expect_works();
}

TEST_F(Readopt, SmallerRemoteLimitsTheMtu) {
    set_up();
    ns().must_run({"ip", "link", "del", "eth3"});
    ns().must_run(
        {"ip", "link", "add", "eth3", "mtu", "1300", "type", "veth", "peer", "name", "peer3", "netns", outside.path()});
    ns().must_run({"ip", "link", "set", "eth3", "up"});
    outside.must_run({"ip", "link", "set", "peer3", "up"});
    expect_events({"down", "up"});
    rte_eth_dev_info info{};
    ASSERT_EQ(rte_eth_dev_info_get(port(), &info), 0);
    EXPECT_EQ(info.max_mtu, 1300);
    uint16_t mtu = 0;
    ASSERT_EQ(rte_eth_dev_get_mtu(port(), &mtu), 0);
    EXPECT_EQ(mtu, 1300);
    EXPECT_EQ(ns().link("tap0").mtu, 1300U);
    EXPECT_EQ(rte_eth_dev_set_mtu(port(), 1400), -EINVAL);
}

} // namespace
} // namespace tapflow::test
