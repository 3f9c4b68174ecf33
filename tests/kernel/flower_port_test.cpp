// SPDX-License-Identifier: BSD-3-Clause
// A port with flower filters among others' filters, from its start to its end, however that comes.
#include "kernel/flower_rig.h"
#include "kernel/tc_state.h"
#include "support/wait.h"

#include <atomic>
#include <csignal>
#include <linux/if_ether.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr const char *kRule =
    "ingress group 0 priority 3 pattern eth / ipv4 / udp dst is 53 / end actions queue index 2 "
    "/ mark id 7 / count / end";

class FlowerPort : public FlowerRules {
  protected:
    void SetUp() override {
        FlowerRules::SetUp();
        if (IsSkipped())
            return;
        add_veth(ns, "eth3", peer_, "peer");
        sender_.emplace(peer_, "peer", PacketSocketOptions{.receive = false});
    }

    std::unique_ptr<TestedPort> start() {
        return std::make_unique<TestedPort>(ns, "tap0", RuleClassifier::Flower, "eth3");
    }
    /// What the port gets of a frame that arrives at its remote; the receive path runs in the sender.
    std::optional<Delivered> receive(TestedPort &tested, const Bytes &frame) {
        EXPECT_TRUE(sender_->send(frame));
        auto all = tested.drain_all();
        return all.empty() ? std::nullopt : std::optional(std::move(all[0]));
    }
    [[nodiscard]] Bytes udp_to(uint16_t port, const MacAddress &destination) const {
        return Packet()
            .ether(destination, packet::Mac{})
            .ipv4("10.0.0.1", "10.0.0.2")
            .udp(1000, port)
            .payload(50)
            .bytes();
    }
    [[nodiscard]] MacAddress own() const { return ns.link("eth3").mac; }

    /// Packets that a filter of the remote's owner has seen.
    unsigned seen_by(const std::string &preference) {
        const std::string shown =
            ns.must_run({"tc", "-s", "filter", "show", "dev", "eth3", "ingress", "pref", preference});
        const size_t sent = shown.find(" pkt");
        const size_t from = shown.rfind(' ', sent - 1);
        return static_cast<unsigned>(std::stoul(shown.substr(from, sent - from)));
    }
    void add_owners_filter(const std::string &preference, std::vector<std::string> action = {"action", "continue"}) {
        std::vector<std::string> command{"tc",       "filter", "add",  "dev",      "eth3",  "ingress",
                                         "protocol", "all",    "pref", preference, "flower"};
        command.insert(command.end(), action.begin(), action.end());
        ns.must_run(command);
    }
    [[nodiscard]] std::string filters() const {
        return ns.must_run({"tc", "filter", "show", "dev", "eth3", "ingress"});
    }

    NetNs peer_;
    std::optional<PacketSocket> sender_;
};

const MacAddress kStrange{{0x02, 0, 0, 0, 0, 0x77}};

TEST_F(FlowerPort, LeavesToTheOwnersFiltersWhatGoesToTheKernel) {
    ns.must_run({"tc", "qdisc", "add", "dev", "eth3", "clsact"});
    add_owners_filter("10");
    add_owners_filter("49152");
    const std::string before = interface_state(ns, "eth3");
    {
        auto tested = start();
        must(tested->port->set_promiscuous(false));
        ASSERT_NE(tested->rules().create(rule_of(kRule)).flow, nullptr);
        EXPECT_EQ(decided(receive(*tested, udp_to(53, kStrange))).mark, 7U); // the application's alone
        EXPECT_EQ(seen_by("10"), 1U);
        EXPECT_EQ(seen_by("49152"), 0U);
        EXPECT_FALSE(receive(*tested, udp_to(54, kStrange))); // the kernel's
        EXPECT_EQ(seen_by("10"), 2U);
        EXPECT_EQ(seen_by("49152"), 1U);
        tested->port->stop();
        EXPECT_FALSE(receive(*tested, udp_to(53, own())));
        EXPECT_EQ(seen_by("10"), 3U);
        EXPECT_EQ(seen_by("49152"), 2U);
        EXPECT_EQ(filters().find("dst_port 53"), std::string::npos);
        must(tested->port->start(tested->config, true));
        EXPECT_EQ(decided(receive(*tested, udp_to(53, own()))).mark, 7U);
        EXPECT_EQ(seen_by("49152"), 2U);
    }
    EXPECT_EQ(interface_state(ns, "eth3").substr(0, before.find("pkt")), before.substr(0, before.find("pkt")));
    EXPECT_EQ(filters().find("tapflow"), std::string::npos);
}

TEST_F(FlowerPort, LeavesMarkAndPriorityOfWhatGoesToTheKernel) {
    ns.must_run({"tc", "qdisc", "add", "dev", "eth3", "clsact"});
    add_owners_filter("10", {"action", "skbedit", "mark", "77", "priority", "1:5", "continue"});
    ns.must_run({"tc", "filter", "add", "dev", "eth3", "ingress", "protocol", "all", "pref", "49152", "handle", "77",
                 "fw", "action", "continue"});
    auto tested = start();
    must(tested->port->set_promiscuous(false));
    ASSERT_NE(
        tested->rules().create(rule_of("ingress pattern eth / ipv4 / end actions mark id 9 / passthru / end")).flow,
        nullptr);
    ASSERT_NE(tested->rules().create(rule_of("ingress priority 1 pattern eth / end actions count / end")).flow,
              nullptr);
    EXPECT_EQ(decided(receive(*tested, udp_to(53, own()))).mark, 9U);
    EXPECT_EQ(seen_by("49152"), 0U);
    EXPECT_FALSE(receive(*tested, Packet().ether(kStrange, packet::Mac{}).next_type(0x88b5).payload(60).bytes()));
    EXPECT_EQ(seen_by("49152"), 1U);
}

TEST_F(FlowerPort, CountsGoOnAfterAStop) {
    auto tested = start();
    const auto created = tested->rules().create(rule_of(kRule));
    ASSERT_NE(created.flow, nullptr);
    const Bytes frame = udp_to(53, own());
    (void)receive(*tested, frame);
    (void)receive(*tested, frame);
    tested->port->stop();
    EXPECT_EQ(must(tested->rules().query(created.flow, false)).packets, 2U);
    must(tested->port->start(tested->config, true));
    (void)receive(*tested, frame);
    const auto count = must(tested->rules().query(created.flow, true));
    EXPECT_EQ(count.packets, 3U);
    EXPECT_EQ(count.bytes, 3 * frame.size());
    EXPECT_EQ(must(tested->rules().query(created.flow, false)).packets, 0U);
}

/// Opens and starts a port in a process that is killed then.
void kill_one(const NetNs &ns, RuleClassifier classifier) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        TestedPort tested(ns, "tap0", classifier, "eth3");
        const char done = tested.rules().create(rule_of(kRule)).flow ? 'y' : 'n';
        (void)!write(ready[1], &done, 1);
        for (;;)
            pause();
    }
    char done = 0;
    ASSERT_EQ(read(ready[0], &done, 1), 1);
    EXPECT_EQ(done, 'y');
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    close(ready[0]);
    close(ready[1]);
}

TEST_F(FlowerPort, AKilledOnesTrafficIsTheKernelsAndItsFiltersGoWithTheNext) {
    ns.must_run({"tc", "qdisc", "add", "dev", "eth3", "clsact"});
    add_owners_filter("10");
    const std::string before = filters();
    for (const RuleClassifier next : {RuleClassifier::Flower, RuleClassifier::Bpf}) {
        ASSERT_NO_FATAL_FAILURE(kill_one(ns, RuleClassifier::Flower));
        EXPECT_NE(filters().find("dst_port 53"), std::string::npos);
        PacketSocket kernel(ns, "eth3");
        EXPECT_TRUE(wait_until([&] {
            EXPECT_TRUE(sender_->send(udp_to(53, own())));
            return ns.link("eth3").rx_dropped == 0 || kernel.receive(milliseconds(10)).has_value();
        }));
        TestedPort tested(ns, "tap0", next, "eth3");
        EXPECT_EQ(filters().find("dst_port 53"), std::string::npos);
        const auto found = receive(tested, udp_to(53, own()));
        ASSERT_TRUE(found);
        EXPECT_EQ(decided(found).mark, std::nullopt);
    }
    EXPECT_EQ(filters(), before);
}

TEST_F(FlowerPort, ASecondOneAtARemoteIsRefused) {
    auto tested = start();
    ASSERT_NE(tested->rules().create(rule_of(kRule)).flow, nullptr);
    engine::PortOptions options;
    options.iface = "tap1";
    options.remote = "eth3";
    options.classifier = RuleClassifier::Flower;
    const auto second = engine::Port::open(options);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, EBUSY) << second.error().message();
    EXPECT_EQ(decided(receive(*tested, udp_to(53, own()))).mark, 7U);
}

TEST_F(FlowerPort, RefusesAPlaceThatSomebodyElseHas) {
    ns.must_run({"tc", "qdisc", "add", "dev", "eth3", "clsact"});
    engine::PortOptions options;
    options.iface = "tap0";
    options.remote = "eth3";
    options.classifier = RuleClassifier::Flower;
    for (const char *preference : {"200", "4352"}) {
        add_owners_filter(preference);
        const std::string before = filters();
        const auto port = engine::Port::open(options);
        ASSERT_FALSE(port);
        EXPECT_EQ(port.error().code, EEXIST) << port.error().message();
        EXPECT_EQ(filters(), before);
        EXPECT_FALSE(ns.find_link("tap0"));
        ns.must_run({"tc", "filter", "del", "dev", "eth3", "ingress", "pref", preference});
    }
    // Of another kind at a rule's preference: the rule is refused in the kernel's words, and the others are not.
    ns.must_run({"tc", "filter", "add", "dev", "eth3", "ingress", "protocol", "all", "pref", "259", "matchall",
                 "action", "continue"});
    auto tested = start();
    const auto refused = tested->rules().create(rule_of(kRule));
    ASSERT_EQ(refused.flow, nullptr);
    EXPECT_NE(refused.refusal.error.message().find("kind"), std::string::npos) << refused.refusal.error.message();
    EXPECT_EQ(tested->rules().size(), 0U);
    EXPECT_NE(
        tested->rules()
            .create(rule_of("ingress priority 4 pattern eth / ipv4 / udp dst is 53 / end actions mark id 1 / end"))
            .flow,
        nullptr);
    EXPECT_EQ(decided(receive(*tested, udp_to(53, own()))).mark, 1U);
}

TEST_F(FlowerPort, FollowsJumpsThroughAllGroups) {
    TestedPort tested(ns, "tap0", RuleClassifier::Flower);
    for (unsigned group = 0; group + 1 < TAPFLOW_FLOW_GROUPS; group++)
        ASSERT_NE(tested.rules()
                      .create(rule_of("ingress group " + std::to_string(group) +
                                      " pattern eth / end actions jump group " + std::to_string(group + 1) + " / end"))
                      .flow,
                  nullptr);
    ASSERT_NE(tested.rules()
                  .create(rule_of("ingress group 15 pattern eth / ipv4 / end actions queue index 3 / mark id 15 / end"))
                  .flow,
              nullptr);
    const Decided end = decided(tested.pass(udp_to(1, own())));
    EXPECT_EQ(end.mark, 15U);
    EXPECT_EQ(end.queue, 3U);
    EXPECT_FALSE(decided(tested.pass(Packet().ether().ipv6("::1", "::2").udp(1, 2).bytes())).dropped);
}

TEST_F(FlowerPort, RulesOfOnePriorityShareItsPreference) {
    TestedPort tested(ns, "tap0", RuleClassifier::Flower);
    for (unsigned i = 0; i < 50; i++)
        ASSERT_NE(tested.rules()
                      .create(rule_of("ingress pattern eth / ipv4 / udp dst is " + std::to_string(100 + i) +
                                      " / end actions mark id " + std::to_string(i) + " / end"))
                      .flow,
                  nullptr);
    ASSERT_NE(tested.rules().create(rule_of("ingress pattern eth / ipv4 / tcp / end actions drop / end")).flow,
              nullptr);
    const auto netlink = must(kernel::Netlink::open());
    const auto flowers =
        must(kernel::list_flowers(*netlink, must(kernel::get_link(*netlink, "tap0")), kernel::Hook::Egress));
    EXPECT_EQ(flowers.size(), 51U);
    for (const auto &flower : flowers)
        EXPECT_EQ(flower.filter.place.preference, 256);
    for (unsigned i = 0; i < 50; i++)
        EXPECT_EQ(decided(tested.pass(udp_to(static_cast<uint16_t>(100 + i), own()))).mark, i);
    EXPECT_TRUE(decided(tested.pass(Packet().ether().ipv4("10.0.0.1", "10.0.0.2").tcp({}).bytes())).dropped);
    EXPECT_EQ(tested.port->state().counters.rule_dropped, 1U);
}

TEST_F(FlowerPort, WhatOnlyHardwareMayDoIsRefusedInTheKernelsWords) {
    engine::PortOptions options;
    options.iface = "tap0";
    options.classifier = RuleClassifier::Flower;
    options.offload = kernel::Offload::HardwareOnly;
    const auto port = engine::Port::open(options);
    ASSERT_FALSE(port);
    EXPECT_EQ(port.error().code, EOPNOTSUPP) << port.error().message();
    options.offload = kernel::Offload::SoftwareOnly;
    const auto software = must(engine::Port::open(options));
    ASSERT_NE(software->flows().create(rule_of(kRule)).flow, nullptr);
    EXPECT_NE(ns.must_run({"tc", "filter", "show", "dev", "tap0", "egress"}).find("skip_hw"), std::string::npos);
}

TEST_F(FlowerPort, SharedCountsAreThoseOfAllTheirRules) {
    TestedPort tested(ns, "tap0", RuleClassifier::Flower);
    const uint32_t shared = must(tested.rules().create_shared_count());
    std::vector<engine::Flow *> flows;
    for (unsigned port = 1; port <= 3; port++) {
        flow::Rule rule = rule_of("ingress pattern eth / ipv4 / udp dst is " + std::to_string(port) +
                                  " / end actions queue index 1 / count / end");
        rule.actions.shared_count = shared;
        flows.push_back(tested.rules().create(rule).flow);
        ASSERT_NE(flows.back(), nullptr);
        (void)tested.pass(udp_to(static_cast<uint16_t>(port), own()));
    }
    EXPECT_EQ(must(tested.rules().query_shared_count(shared, false)).packets, 3U);
    must(tested.rules().destroy(flows[0]));
    EXPECT_EQ(must(tested.rules().query_shared_count(shared, false)).packets, 3U);
    EXPECT_EQ(must(tested.rules().query(flows[1], true)).packets, 3U);
    (void)tested.pass(udp_to(2, own()));
    EXPECT_EQ(must(tested.rules().query_shared_count(shared, false)).packets, 1U);
}

TEST_F(FlowerPort, RulesFollowATapToAnotherNamespace) {
    TestedPort tested(ns, "tap0", RuleClassifier::Flower);
    ASSERT_NE(tested.rules().create(rule_of(kRule)).flow, nullptr);
    ns.must_run({"ip", "link", "set", "tap0", "netns", peer_.path()});
    ASSERT_TRUE(wait_until([&] { return tested.port->link_event().did.has_value(); }));
    peer_.must_run({"ip", "link", "set", "tap0", "up"});
    tested.sender.emplace(peer_, "tap0", PacketSocketOptions{.receive = false});
    EXPECT_EQ(decided(tested.pass(udp_to(53, own()))).mark, 7U);
}

TEST_F(FlowerPort, FollowsATapWhileAnotherThreadMakesEgressRules) {
    TestedPort tested(ns, "tap0", RuleClassifier::Flower);
    ASSERT_NE(tested.rules().create(rule_of(kRule)).flow, nullptr);
    std::atomic<bool> done = false;
    std::thread other([&] {
        while (!done) {
            const auto created = tested.rules().create(rule_of("egress pattern eth / ipv4 / end actions drop / end"));
            if (created.flow)
                must(tested.rules().destroy(created.flow));
        }
    });
    for (unsigned move = 0; move < 6; move++) {
        const NetNs &from = move % 2 ? peer_ : ns;
        const NetNs &to = move % 2 ? ns : peer_;
        from.must_run({"ip", "link", "set", "tap0", "netns", to.path()});
        EXPECT_TRUE(wait_until([&] { return tested.port->link_event().did.has_value(); }));
    }
    done = true;
    other.join();
    ns.must_run({"ip", "link", "set", "tap0", "up"});
    tested.sender.emplace(ns, "tap0", PacketSocketOptions{.receive = false});
    EXPECT_EQ(decided(tested.pass(udp_to(53, own()))).mark, 7U);
}

TEST_F(FlowerPort, ARemoteThatVanishesTakesNoRuleAndLosesNone) {
    auto tested = start();
    const auto before = tested->rules().create(rule_of(kRule));
    ASSERT_NE(before.flow, nullptr);
    ns.must_run({"ip", "link", "del", "eth3"});
    const auto refused =
        tested->rules().create(rule_of("ingress priority 9 pattern eth / ipv4 / end actions drop / end"));
    EXPECT_EQ(refused.flow, nullptr);
    EXPECT_EQ(refused.refusal.error.code, ENODEV) << refused.refusal.error.message();
    EXPECT_EQ(tested->rules().size(), 1U);
    must(tested->rules().destroy(before.flow));
    EXPECT_TRUE(wait_until([&] { return !tested->port->link_event().link.exists; }));
}

TEST_F(FlowerPort, RulesWhoseFiltersSomebodyHasRemovedCanBeDestroyed) {
    TestedPort tested(ns, "tap0", RuleClassifier::Flower);
    const auto created = tested.rules().create(rule_of(kRule));
    const auto other = tested.rules().create(rule_of("ingress group 2 pattern eth / end actions drop / end"));
    ASSERT_NE(created.flow, nullptr);
    ASSERT_NE(other.flow, nullptr);
    ns.must_run({"tc", "qdisc", "del", "dev", "tap0", "clsact"});
    EXPECT_FALSE(tested.rules().query(created.flow, false));
    must(tested.rules().destroy(created.flow));
    must(tested.rules().flush());
    EXPECT_EQ(tested.rules().size(), 0U);
}

TEST_F(FlowerPort, AnotherIngressQdiscServesAsWellOrIsNamed) {
    ns.must_run({"tc", "qdisc", "add", "dev", "eth3", "ingress"});
    const std::string before = interface_state(ns, "eth3");
    engine::PortOptions options;
    options.iface = "tap0";
    options.remote = "eth3";
    options.classifier = RuleClassifier::Flower;
    {
        const auto port = engine::Port::open(options);
        if (!port) {
            EXPECT_NE(port.error().message().find("eth3"), std::string::npos) << port.error().message();
        }
    }
    EXPECT_EQ(interface_state(ns, "eth3"), before);
}

class WithoutFlower : public InNetNs {};

/// On a kernel that has it there is nothing to refuse.
TEST_F(WithoutFlower, APortThatAsksForItIsRefusedInTheKernelsWords) {
    add_veth(ns, "eth3", ns, "peer");
    const std::string before = interface_state(ns, "eth3");
    for (const char *remote : {"", "eth3"}) {
        engine::PortOptions options;
        options.iface = "tap0";
        options.remote = remote;
        options.classifier = RuleClassifier::Flower;
        const auto port = engine::Port::open(options);
        if (port)
            continue;
        EXPECT_EQ(port.error().code, ENOENT);
        EXPECT_NE(port.error().message().find("TC classifier not found"), std::string::npos) << port.error().message();
        EXPECT_FALSE(ns.find_link("tap0"));
        EXPECT_EQ(interface_state(ns, "eth3"), before);
    }
}

} // namespace
} // namespace tapflow::test
