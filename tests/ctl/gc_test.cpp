// SPDX-License-Identifier: BSD-3-Clause
// "tapflowctl gc" behind processes that were killed. Each has a tap of a name of its own: what is without a port here
// may be another test's port elsewhere.
#include "ctl/ctl_fixture.h"
#include "ctl/opener.h"

#include "kernel/flower_rig.h"
#include "kernel/pass_program.h"
#include "kernel/tc_state.h"

#include <unistd.h>

namespace tapflow::test {
namespace {

class CtlGc : public CtlTest {
  protected:
    [[nodiscard]] engine::PortOptions options() const {
        engine::PortOptions result = named(tap);
        result.device = "net_" + tap;
        return result;
    }
    [[nodiscard]] engine::PortOptions persistent() const {
        engine::PortOptions result = options();
        result.persist = true;
        return result;
    }
    [[nodiscard]] Said cleaned(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), {"gc", tap});
        return tapflowctl(std::move(arguments));
    }
    [[nodiscard]] std::string filters(const std::string &interface, const std::string &hook) const {
        return ns.must_run({"tc", "filter", "show", "dev", interface, hook});
    }
    /// Somebody else's.
    static void add_filter(const std::string &interface, kernel::Hook hook) {
        const auto netlink = must(kernel::Netlink::open());
        const kernel::LinkInfo link = must(kernel::get_link(*netlink, interface));
        (void)must(kernel::ensure_clsact(*netlink, link));
        const Fd program = pass_program(BPF_PROG_TYPE_SCHED_CLS);
        must(kernel::add_filter(*netlink,
                                {{.ifindex = link.index, .hook = hook, .preference = 10, .handle = 1}, "somebodys"},
                                program.get()));
    }

    /// There is no such port any more: 1, or 2 where all that others have are ports of another version.
    void expect_gone() const {
        const Said said = cleaned({"--yes"});
        EXPECT_NE(said.status, 0);
        expect_refused(said, said.status);
    }

    const std::string tap = "gc" + std::to_string(getpid());
};

TEST_F(CtlGc, APortWhoseProcessRunsIsNotTouched) {
    Opener opener(persistent());
    ASSERT_TRUE(opener.opened());
    const std::string before = interface_state(ns, tap);
    for (const char *option : {"--yes", "--dry-run", "--json"}) {
        const Said said = cleaned({option});
        expect_refused(said);
        EXPECT_NE(said.err.find("pid " + std::to_string(opener.pid()) + ", running"), std::string::npos) << said.err;
    }
    EXPECT_EQ(interface_state(ns, tap), before);
}

TEST_F(CtlGc, ThePersistentTapOfAKilledProcess) {
    Opener opener(persistent());
    ASSERT_TRUE(opener.opened());
    const pid_t pid = opener.pid();
    opener.kill();
    // Nobody can be asked.
    expect_refused(cleaned({}));
    expect_refused(cleaned({"--json"}));
    const Said shown = cleaned({"--dry-run"});
    EXPECT_EQ(shown.status, 1);
    EXPECT_EQ(shown.out,
              tap + ": tapflow_ctl_tes (pid " + std::to_string(pid) + ", gone) left\n  persistent tap " + tap + '\n');
    nlohmann::ordered_json json = valid_json(cleaned({"--dry-run", "--json"}), "gc");
    EXPECT_EQ(json["ports"][0]["pid"], pid);
    EXPECT_EQ(nlohmann::json(json["ports"][0]["left"]),
              (nlohmann::json::array({{{"what", "persistent tap " + tap}, {"interface", tap}, {"removed", false}}})));
    EXPECT_TRUE(ns.find_link(tap));
    const Said removed = cleaned({"--yes", "--json"});
    EXPECT_EQ(removed.status, 0);
    EXPECT_EQ(valid_json(removed, "gc")["ports"][0]["left"][0]["removed"], true);
    EXPECT_FALSE(ns.find_link(tap));
    expect_gone();
}

TEST_F(CtlGc, AsksAtATerminal) {
    Opener opener(persistent());
    ASSERT_TRUE(opener.opened());
    opener.kill();
    const auto answer = [this](const char *text) {
        Process terminal({"script", "--quiet", "--return", "--command", TAPFLOWCTL " gc " + tap, "/dev/null"});
        terminal.wait_for("Remove all this? [y/N]");
        terminal.write(text);
        return terminal.wait();
    };
    EXPECT_EQ(answer("n\n"), 1);
    EXPECT_EQ(answer("\n"), 1);
    EXPECT_EQ(answer("\x04"), 1) << "end of input";
    EXPECT_TRUE(ns.find_link(tap));
    EXPECT_EQ(answer("y\n"), 0);
    EXPECT_FALSE(ns.find_link(tap));
}

TEST_F(CtlGc, ATapThatWasThereStaysAndIsItsOwners) {
    ns.must_run({"ip", "tuntap", "add", tap, "mode", "tap", "multi_queue"});
    add_filter(tap, kernel::Hook::Egress);
    const std::string before = filters(tap, "egress");
    Opener opener(options());
    ASSERT_TRUE(opener.opened());
    EXPECT_NE(filters(tap, "egress"), before);
    opener.kill();
    const Said shown = cleaned({"--dry-run"});
    EXPECT_EQ(shown.status, 1);
    EXPECT_NE(shown.out.find("1 filter at " + tap + " (egress, tap_egress)"), std::string::npos) << shown.out;
    EXPECT_EQ(shown.out.find("persistent"), std::string::npos) << shown.out;
    const Said removed = cleaned({"--yes"});
    EXPECT_EQ(removed.status, 0) << removed.err;
    EXPECT_TRUE(removed.out.ends_with("Removed.\n")) << removed.out;
    EXPECT_EQ(filters(tap, "egress"), before);
    expect_gone();
}

TEST_F(CtlGc, ATapThatSomebodyElseHasOpenedStays) {
    Opener opener(persistent());
    ASSERT_TRUE(opener.opened());
    opener.kill();
    const auto tun = must(kernel::Tun::open(tap, kernel::Layer::Ethernet));
    const Said said = cleaned({"--yes"});
    expect_refused({said.status, "", said.err});
    EXPECT_NE(said.err.find("another process has opened it"), std::string::npos) << said.err;
    EXPECT_TRUE(ns.find_link(tap));
    const nlohmann::ordered_json json = nlohmann::ordered_json::parse(cleaned({"--yes", "--json"}).out);
    EXPECT_EQ(json["ports"][0]["left"][0]["removed"], false);
    EXPECT_TRUE(json["ports"][0]["left"][0].contains("error"));
}

TEST_F(CtlGc, TheTapOfARemotePort) {
    NetNs wire;
    add_veth(ns, "eth3", wire, "far0");
    const std::string before = interface_state(ns, "eth3");
    engine::PortOptions with_remote = persistent();
    with_remote.remote = "eth3";
    Opener opener(with_remote);
    ASSERT_TRUE(opener.opened());
    opener.kill();
    const Said said = tapflowctl({"gc", "eth3", "--yes"});
    EXPECT_EQ(said.status, 0) << said.err;
    EXPECT_NE(said.out.find("persistent tap " + tap), std::string::npos) << said.out;
    EXPECT_FALSE(ns.find_link(tap));
    EXPECT_EQ(tcx_programs(ns.link("eth3").index, kernel::Hook::Ingress), 0U);
    EXPECT_EQ(filters("eth3", "ingress"), "");
}

/// Rules that are flower filters are the interface's, and do not go with the process.
TEST_F(CtlGc, TheFiltersAtARemote) {
    if (!has_flower())
        GTEST_SKIP() << "kernel lacks flower";
    NetNs wire;
    add_veth(ns, "eth3", wire, "far0");
    add_filter("eth3", kernel::Hook::Ingress);
    const std::string before = filters("eth3", "ingress");
    engine::PortOptions with_remote = options();
    with_remote.remote = "eth3";
    with_remote.classifier = engine::RuleClassifier::Flower;
    Opener opener(
        with_remote,
        {must(flow::parse_rule("pattern eth / ipv4 / udp dst is 53 / end actions mark id 7 / queue index 0 / end"))});
    ASSERT_TRUE(opener.opened());
    EXPECT_NE(filters("eth3", "ingress").find("dst_port 53"), std::string::npos);
    expect_refused(tapflowctl({"gc", "eth3", "--yes"}));
    opener.kill();
    ASSERT_NE(filters("eth3", "ingress").find("dst_port 53"), std::string::npos);
    const nlohmann::ordered_json json = valid_json(tapflowctl({"gc", "eth3", "--dry-run", "--json"}), "gc");
    ASSERT_EQ(json["ports"][0]["left"].size(), 1U) << json;
    EXPECT_EQ(json["ports"][0]["left"][0]["interface"], "eth3");
    const Said said = tapflowctl({"gc", "eth3", "--yes"});
    EXPECT_EQ(said.status, 0) << said.err;
    EXPECT_EQ(filters("eth3", "ingress"), before);
    expect_gone();
}

TEST_F(CtlGc, FromAnotherNamespace) {
    Opener opener(persistent());
    ASSERT_TRUE(opener.opened());
    opener.kill();
    // A namespace can be found as long as somebody is in it.
    Process somebody({"cat"});
    const NetNs other;
    const auto away = other.enter();
    const Said said = cleaned({"--yes"});
    EXPECT_EQ(said.status, 0) << said.err;
    EXPECT_FALSE(ns.find_link(tap));
}

TEST_F(CtlGc, WithoutANameOfAllPorts) {
    Opener opener(persistent());
    ASSERT_TRUE(opener.opened());
    const pid_t pid = opener.pid();
    const auto has_ours = [pid] {
        const nlohmann::ordered_json json = valid_json(tapflowctl({"gc", "--dry-run", "--json"}), "gc");
        return std::any_of(json["ports"].begin(), json["ports"].end(),
                           [pid](const auto &left) { return left["pid"] == pid; });
    };
    EXPECT_FALSE(has_ours());
    opener.kill();
    EXPECT_TRUE(has_ours());
}

} // namespace
} // namespace tapflow::test
