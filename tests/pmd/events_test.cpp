// SPDX-License-Identifier: BSD-3-Clause
// A port says that its link has changed or that it is gone, as often as that happens, and lets itself be closed while
// it says so.
#include "pmd/events_rig.h"

namespace tapflow::test {
namespace {

constexpr const char *kTap = "tap0";

// ---- link status

TEST_F(LinkEvents, LocalPortTellsEachChangeOfItsLinkOnce) {
    open_local();
    start_for(kLsc | kRmv);
    EXPECT_TRUE(link_is_up());
    expect_events({});

    ns().must_run({"ip", "link", "set", kTap, "down"});
    expect_events({"down"});
    ns().must_run({"ip", "link", "set", kTap, "up"});
    expect_events({"up"});
    ASSERT_EQ(rte_eth_dev_set_link_down(port()), 0);
    expect_events({"down"});
    ns().must_run({"ip", "link", "set", kTap, "down"}); // already is
    expect_events({});
    ns().must_run({"ip", "link", "set", kTap, "up"});
    ASSERT_EQ(rte_eth_dev_set_link_up(port()), 0);
    expect_events({"up"});

    ns().must_run({"ip", "link", "set", kTap, "mtu", "1400"});
    ns().must_run({"ip", "link", "set", kTap, "alias", "something"});
    ns().must_run({"ip", "link", "add", "bridge0", "type", "bridge"});
    ns().must_run({"ip", "link", "set", kTap, "master", "bridge0"});
    ns().must_run({"ip", "link", "set", kTap, "nomaster"});
    expect_events({});
    EXPECT_FALSE(is_removed());

    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    EXPECT_FALSE(link_is_up());
    ns().must_run({"ip", "link", "set", kTap, "down"});
    ns().must_run({"ip", "link", "set", kTap, "up"});
    expect_events({});
    ASSERT_EQ(rte_eth_dev_start(port()), 0);
    EXPECT_TRUE(link_is_up());
    expect_events({});
    ns().must_run({"ip", "link", "set", kTap, "down"});
    expect_events({"down"});
}

TEST_F(LinkEvents, RemotePortTellsEachChangeAtEitherInterfaceOnce) {
    open_remote();
    start_for(kLsc | kRmv);
    EXPECT_TRUE(link_is_up());
    for (const auto &[netns, name] : {std::pair<const NetNs *, const char *>{&ns(), "tap0"},
                                      {&ns(), "eth3"},
                                      {&outside, "peer3"}}) { // the last: the remote's carrier
        SCOPED_TRACE(name);
        netns->must_run({"ip", "link", "set", name, "down"});
        expect_events({"down"});
        netns->must_run({"ip", "link", "set", name, "up"});
        ns().wait_operstate_up("eth3");
        expect_events({"up"});
    }
    ns().must_run({"ip", "link", "add", "bridge0", "type", "bridge"});
    for (const char *name : {kTap, "eth3"}) { // an RTM_DELLINK of the bridge's
        ns().must_run({"ip", "link", "set", name, "master", "bridge0"});
        ns().must_run({"ip", "link", "set", name, "nomaster"});
    }
    expect_events({});
    EXPECT_FALSE(is_removed());
    ns().must_run({"ip", "link", "set", "eth3", "down"});
    ns().must_run({"ip", "link", "set", kTap, "down"});
    expect_events({"down"});
    ns().must_run({"ip", "link", "set", "eth3", "up"});
    expect_events({});
    EXPECT_FALSE(is_removed());
}

TEST_F(LinkEvents, NothingIsRaisedUnasked) {
    open_local();
    start_for(kNone);
    ns().must_run({"ip", "link", "set", kTap, "down"});
    EXPECT_FALSE(link_is_up());
    ns().must_run({"ip", "link", "set", kTap, "up"});
    EXPECT_TRUE(link_is_up());
    ns().must_run({"ip", "link", "del", kTap});
    EXPECT_FALSE(link_is_up());
    EXPECT_TRUE(is_removed());
    expect_events({});
}

// ---- removal

class Removal : public LinkEvents, public testing::WithParamInterface<const char *> {};
INSTANTIATE_TEST_SUITE_P(Of, Removal,
                         testing::Values("LocalTap", "RemotesTap", "Remote", "MovedRemotesTap", "MovedRemote"),
                         [](const auto &instance) { return std::string(instance.param); });

TEST_P(Removal, IsToldOnceAndThePortStopsAndCloses) {
    const std::string which = GetParam();
    const NetNs elsewhere;
    if (which == "LocalTap")
        open_local();
    else
        open_remote();
    start_for(kRmv);
    EXPECT_FALSE(is_removed());
    const char *name = which.ends_with("Tap") ? kTap : "eth3";
    if (which.starts_with("Moved"))
        ns().must_run({"ip", "link", "set", name, "netns", elsewhere.path()});
    else
        ns().must_run({"ip", "link", "del", name});
    EXPECT_TRUE(is_removed());
    EXPECT_FALSE(link_is_up());
    expect_events({"removed"});
    if (which == "MovedRemote") { // nothing of the port goes with it
        EXPECT_TRUE(tcx_programs(elsewhere, "eth3").value_or(std::vector<uint32_t>()).empty());
        elsewhere.must_run({"ip", "link", "set", "eth3", "netns", ns().path()});
    } else if (which == "Remote") {
        add_veth(ns(), "eth3", outside, "peer3");
    } else if (which == "RemotesTap") { // its other interface goes as well
        ns().must_run({"ip", "link", "del", "eth3"});
    }
    expect_events({});
    EXPECT_TRUE(is_removed()) << "for good";
    rte_mbuf *mbuf = make_mbuf(probe(packet::Mac("02:00:00:00:0e:ff"), packet::Mac("02:00:00:00:0e:01")));
    EXPECT_EQ(rte_eth_tx_burst(port(), 0, &mbuf, 1), 1);
    if (ns().find_link("eth3") && which.ends_with("Remote")) {
        const std::string state = ns().must_run({"ip", "-d", "link", "show", "dev", "eth3"}) +
                                  ns().must_run({"tc", "qdisc", "show", "dev", "eth3"});
        EXPECT_NE(state.find("promiscuity 0"), std::string::npos) << state;
        EXPECT_EQ(state.find("clsact"), std::string::npos) << state;
        EXPECT_TRUE(tcx_programs(ns(), "eth3").value_or(std::vector<uint32_t>()).empty());
    }
}

TEST_F(LinkEvents, StoppedPortTellsOfItsRemoval) {
    open_local();
    start_for(kLsc | kRmv);
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    ns().must_run({"ip", "link", "del", kTap});
    expect_events({"removed"});
    EXPECT_LT(rte_eth_dev_start(port()), 0);
}

// ---- closing while an event is told

class CloseInCallback : public LinkEvents, public testing::WithParamInterface<rte_eth_event_type> {
  protected:
    /// A second port, so that what the first one's opening has left in the process is not counted.
    void attach() {
        ASSERT_NO_FATAL_FAILURE(start_second("iface=tap1,rx=" + tested_rx_mode(), second_));
        ASSERT_EQ(rte_eth_dev_callback_register(second_, GetParam(), close, this), 0);
    }

    std::atomic<unsigned> closed{0};

  private:
    static int close(uint16_t port, rte_eth_event_type, void *self, void *) {
        EXPECT_EQ(rte_eth_dev_stop(port), 0);
        EXPECT_EQ(rte_eth_dev_close(port), 0);
        ++static_cast<CloseInCallback *>(self)->closed;
        return 0;
    }

    uint16_t second_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Of, CloseInCallback, testing::Values(RTE_ETH_EVENT_INTR_LSC, RTE_ETH_EVENT_INTR_RMV),
                         [](const auto &instance) {
                             return std::string(instance.param == RTE_ETH_EVENT_INTR_LSC ? "LinkChange" : "Removal");
                         });

TEST_P(CloseInCallback, LeavesNothing) {
    open_local();
    configure_for(kNone);
    size_t fds = 0;
    for (unsigned round = 1; round <= 10; ++round) {
        attach();
        EXPECT_GT(open_fds(), fds);
        if (GetParam() == RTE_ETH_EVENT_INTR_RMV)
            ns().must_run({"ip", "link", "del", "tap1"});
        else
            ns().must_run({"ip", "link", "set", "tap1", "down"});
        ASSERT_TRUE(wait_until([&] { return closed == round; }));
        settle(); // the listener goes when EAL has returned from it
        EXPECT_EQ(rte_vdev_uninit("net_tap1"), 0);
        EXPECT_FALSE(ns().find_link("tap1"));
        if (round > 1) { // what is opened once has been
            EXPECT_EQ(open_fds(), fds);
        }
        fds = open_fds();
    }
    ns().must_run({"ip", "link", "set", kTap, "down"});
    EXPECT_FALSE(link_is_up()) << "the interrupt thread still works for the other port";
}

/// Nobody but the application's own callback waits for that: net_failsafe closes a port under a lock for which the
/// callback waits.
TEST_F(LinkEvents, PortClosesWhileAnotherThreadIsInItsCallback) {
    open_local();
    start_for(kRmv);
    std::promise<void> entered;
    std::promise<void> closed;
    then = [&](rte_eth_event_type) {
        entered.set_value();
        EXPECT_EQ(closed.get_future().wait_for(kDefaultTimeout), std::future_status::ready);
    };
    ns().must_run({"ip", "link", "del", kTap});
    ASSERT_EQ(entered.get_future().wait_for(kDefaultTimeout), std::future_status::ready);
    EXPECT_EQ(rte_eth_dev_stop(port()), 0);
    EXPECT_EQ(rte_eth_dev_close(port()), 0);
    leave_closed();
    closed.set_value();
    expect_events({"removed"});
}

// ---- many messages

/// More than the socket holds: what matters is found out all the same.
TEST_F(LinkEvents, StormOfOthersMessagesHidesNothing) {
    open_local();
    start_for(kLsc | kRmv);
    ns().must_run({"ip", "link", "add", "other0", "type", "ifb"});
    std::promise<void> release;
    auto released = release.get_future().share();
    auto hold = [](void *future) { static_cast<std::shared_future<void> *>(future)->wait(); };
    ASSERT_EQ(rte_eal_alarm_set(1, hold, &released), 0); // nobody reads meanwhile
    ns().must_run({"sh", "-c",
                   "for i in $(seq 5000); do echo link set other0 mtu 1400; echo link set other0 mtu 1500; done |"
                   " ip -batch -"});
    ns().must_run({"ip", "link", "set", kTap, "down"});
    const auto start = Clock::now();
    release.set_value();
    settle();
    EXPECT_TRUE(wait_until([&] { return heard_so_far() > 0; }));
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
    std::printf("[ MEASURED ] %lld ms until the change of link behind 10,000 messages was told\n",
                static_cast<long long>(took.count()));
    expect_events({"down"});
    ns().must_run({"ip", "link", "set", kTap, "up"});
    expect_events({"up"});
    ns().must_run({"ip", "link", "del", kTap});
    expect_events({"down", "removed"});
}

} // namespace
} // namespace tapflow::test
