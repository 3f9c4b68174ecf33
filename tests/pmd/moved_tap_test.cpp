// SPDX-License-Identifier: BSD-3-Clause
// A local port's tap may be renamed and moved to other network namespaces, as containers want it.
#include "pmd/events_rig.h"

namespace tapflow::test {
namespace {

constexpr uint16_t kQueues = 4;

class MovedTap : public LinkEvents {
  protected:
    void set_up() {
        open_local();
        start_for(kLsc | kRmv, kQueues);
        own = ns().link("tap0").mac;
        (void)create(to_udp_port(53).action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{.id = 7}).queue(2));
        FlowRequest dropped = to_udp_port(99);
        dropped.attr.ingress = 0;
        dropped.attr.egress = 1;
        (void)create(dropped.action(RTE_FLOW_ACTION_TYPE_DROP));
        expect_works(ns(), "tap0");
    }

    /// Hash, queue and mark of each packet are as before, and so are the rules of both directions.
    void expect_works(const NetNs &where, const std::string &name) {
        EXPECT_TRUE(link_is_up());
        EXPECT_FALSE(is_removed());
        EXPECT_EQ(if_index(), static_cast<unsigned>(where.link(name).index));
        EXPECT_EQ(where.link(name).mac, own);
        PacketSocket kernel(where, name);
        const auto now = arrivals(kernel, own, kQueues);
        if (before.empty())
            before = now;
        EXPECT_EQ(now, before);
        EXPECT_EQ(now.at(8), (Arrival{2, now.at(8).hash, 7})) << "the rule";
        std::set<uint16_t> queues;
        for (const auto &[flow, arrival] : now)
            queues.insert(arrival.queue);
        EXPECT_EQ(queues.size(), kQueues);
        const uint64_t dropped = xstat("rule_dropped");
        const auto frame = packet::Packet().ether(own).ipv4("10.0.0.2", "10.0.0.1").udp(1, 99).payload(20).bytes();
        rte_mbuf *mbuf = make_mbuf(frame);
        EXPECT_EQ(rte_eth_tx_burst(port(), 0, &mbuf, 1), 1);
        EXPECT_TRUE(sends_to(kernel));
        EXPECT_EQ(xstat("rule_dropped"), dropped + 1);
        // By a filter that nobody but the kernel could have lost, once.
        const std::string filters = where.must_run({"tc", "filter", "show", "dev", name, "egress"});
        EXPECT_NE(filters.find("tapflow_egress"), std::string::npos) << filters;
        EXPECT_EQ(filters.find("tapflow_egress"), filters.rfind("tapflow_egress")) << filters;
    }

    void move(const NetNs &from, const NetNs &to, const std::string &name, const std::string &new_name) {
        from.must_run({"ip", "link", "set", name, "netns", to.path(), "name", new_name});
    }

    MacAddress own;
    std::map<unsigned, Arrival> before;
};

TEST_F(MovedTap, WorksThereAndBack) {
    set_up();
    const NetNs one;
    const NetNs two;
    one.must_run({"ip", "link", "add", "bystander", "index", std::to_string(ns().link("tap0").index), "type", "ifb"});
    struct Leg {
        const NetNs *from;
        const NetNs *to;
        const char *name;
        const char *new_name;
    };
    for (const Leg &leg : {Leg{&ns(), &one, "tap0", "tap0"}, Leg{&one, &two, "tap0", "port0"},
                           Leg{&two, &one, "port0", "eth0"}, Leg{&one, &ns(), "eth0", "tap0"}}) {
        SCOPED_TRACE(leg.new_name);
        move(*leg.from, *leg.to, leg.name, leg.new_name);
        expect_events({"down"});
        EXPECT_FALSE(link_is_up());
        EXPECT_FALSE(is_removed());
        leg.to->must_run({"ip", "link", "set", leg.new_name, "up"});
        expect_events({"up"});
        expect_works(*leg.to, leg.new_name);
        leg.to->must_run({"ip", "link", "set", leg.new_name, "down"});
        expect_events({"down"});
        leg.to->must_run({"ip", "link", "set", leg.new_name, "up"});
        expect_events({"up"});
    }
    EXPECT_EQ(one.link("bystander").promiscuity, 0U);
    EXPECT_EQ(one.must_run({"tc", "qdisc", "show", "dev", "bystander"}).find("clsact"), std::string::npos);
}

/// Nobody had time to look in between: the place is the same, but the filter is gone.
TEST_F(MovedTap, WorksAfterAnUnnoticedTrip) {
    set_up();
    const NetNs one;
    std::promise<void> release;
    auto released = release.get_future().share();
    auto hold = [](void *future) { static_cast<std::shared_future<void> *>(future)->wait(); };
    ASSERT_EQ(rte_eal_alarm_set(1, hold, &released), 0);
    move(ns(), one, "tap0", "tap0");
    move(one, ns(), "tap0", "tap0");
    ns().must_run({"ip", "link", "set", "tap0", "up"});
    release.set_value();
    expect_events({});
    expect_works(ns(), "tap0");
}

TEST_F(MovedTap, IsConfiguredAnewWhereItIs) {
    set_up();
    const NetNs one;
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    move(ns(), one, "tap0", "eth0");
    expect_events({});
    EXPECT_FALSE(is_removed());
    for (const uint16_t queues : {uint16_t{6}, kQueues}) {
        configure_for(kLsc | kRmv, queues);
        EXPECT_TRUE(link_is_up());
        const std::string details = one.must_run({"ip", "-d", "link", "show", "dev", "eth0"});
        EXPECT_NE(details.find("numqueues " + std::to_string(tested_rx_mode() == "fd" ? queues : 1)), std::string::npos)
            << details;
        EXPECT_FALSE(ns().find_link("tap0")) << "queues of another tap";
        ASSERT_EQ(rte_eth_dev_set_mtu(port(), 1400), 0);
        EXPECT_EQ(one.link("eth0").mtu, 1400U);
        if (queues == kQueues)
            break;
        ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    }
    expect_works(one, "eth0");
    expect_events({});
}

TEST_F(MovedTap, IsRemovedWithItsInterface) {
    set_up();
    const NetNs one;
    move(ns(), one, "tap0", "tap0");
    expect_events({"down"});
    one.must_run({"ip", "link", "del", "tap0"});
    expect_events({"removed"});
    EXPECT_TRUE(is_removed());
}

/// The port keeps no container's namespace alive, and notices when it goes.
TEST_F(MovedTap, IsRemovedWithItsNamespace) {
    set_up();
    {
        const NetNs one;
        move(ns(), one, "tap0", "tap0");
        expect_events({"down"});
        one.must_run({"ip", "link", "set", "tap0", "up"});
        expect_events({"up"});
        expect_works(one, "tap0");
    }
    expect_events({"down", "removed"});
    EXPECT_TRUE(is_removed());
}

TEST_F(MovedTap, MayBeRenamedAnyTime) {
    set_up();
    const bool live = ns().run({"ip", "link", "set", "tap0", "name", "port0"}).status == 0; // from 6.2 on
    if (live)
        expect_works(ns(), "port0");
    const char *name = live ? "port0" : "tap0";
    ns().must_run({"ip", "link", "set", name, "down"});
    ns().must_run({"ip", "link", "set", name, "name", "port1"});
    ns().must_run({"ip", "link", "set", "port1", "up"});
    expect_events({"down", "up"});
    expect_works(ns(), "port1");
}

} // namespace
} // namespace tapflow::test
