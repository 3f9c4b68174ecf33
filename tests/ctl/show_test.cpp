// SPDX-License-Identifier: BSD-3-Clause
#include "ctl/ctl_fixture.h"
#include "ctl/opener.h"
#include "tapflowctl/output.h"

#include <algorithm>

namespace tapflow::test {
namespace {

using CtlShow = CtlTest;

/// What differs from run to run, and with it where lines break.
const Replacements kUnstable{{"\n {14}", " "},
                             {"pid [0-9]+", "pid PID"},
                             {"opened [0-9TZ:-]+", "opened TIME"},
                             {"index [0-9]+", "index N"},
                             {"namespace [0-9]+", "namespace N"},
                             {"renewed [0-9.]+ s ago", "renewed T ago"},
                             {"\\([0-9]+\\) at the", "(ID) at the"}};
const std::vector<std::string> kUnstableMembers{"pid", "opened", "index", "id", "inode", "age_ms"};

void expect_golden_json(const std::string &name, nlohmann::ordered_json json) {
    blank(json, kUnstableMembers);
    for (nlohmann::ordered_json &port : json["ports"])
        for (const char *link : {"tap", "remote"})
            if (port.contains(link))
                port[link]["namespace"] = nullptr;
    expect_golden(name, ctl::document_text(json));
}

TEST_F(CtlShow, LocalPort) {
    open();
    must(port->add_unicast(MacAddress{{2, 0, 0, 0, 0, 9}}));
    port->set_vlan_filter(true);
    for (const uint16_t vlan : std::initializer_list<uint16_t>{5, 6, 7, 100})
        port->set_vlan(vlan, true);
    must(port->set_queue_stopped(1, true));
    create("pattern eth / ipv4 / udp dst is 9 / end actions drop / end");
    send_udp(9, 3);
    port->received(0).packets = 1200;
    port->received(0).bytes = 72'000;
    const Said said = tapflowctl({"show", "tap0"});
    EXPECT_EQ(said.status, 0) << said.err;
    expect_golden("show-local.txt", replaced(said.out, kUnstable));
    expect_golden_json("show-local.json", valid_json(tapflowctl({"show", "--json", "net_tap0"}), "show"));
}

TEST_F(CtlShow, RemotePortByFd) {
    NetNs wire;
    add_veth(ns, "eth3", wire, "far0");
    engine::PortOptions options = named("tap0");
    options.remote = "eth3";
    options.readopt = true;
    options.rx = engine::RxMode::Fd;
    port = must(engine::Port::open(options));
    must(port->set_queues(3, 2));
    for (unsigned queue = 0; queue < 3; queue++)
        must(port->set_reader(queue, 64));
    must(port->start(rss_config(0, {0, 1, 1, 2}), true));
    const Said said = tapflowctl({"show", "eth3"});
    EXPECT_EQ(said.status, 0) << said.err;
    expect_golden("show-remote-fd.txt", replaced(said.out, kUnstable));
    nlohmann::ordered_json json = valid_json(tapflowctl({"show", "--json", "eth3"}), "show");
    for (const char *link : {"tap", "remote"})
        json["ports"][0][link]["mac"] = nullptr;
    expect_golden_json("show-remote-fd.json", std::move(json));
}

TEST_F(CtlShow, WithoutANameAllPorts) {
    open();
    const nlohmann::ordered_json all = valid_json(tapflowctl({"show", "--json"}), "show");
    EXPECT_TRUE(std::any_of(all["ports"].begin(), all["ports"].end(), [](const nlohmann::ordered_json &each) {
        return each["here"] == true && each["name"] == "tap0";
    }));
}

TEST_F(CtlShow, APortThatThereIsNotIsFound1) {
    open();
    const Said said = tapflowctl({"show", "no-such-port"});
    expect_refused(said, 1);
    EXPECT_NE(said.err.find("tap0"), std::string::npos) << "the ports that there are are named: " << said.err;
}

TEST_F(CtlShow, WhatAKilledProcessHasLeft) {
    engine::PortOptions options = named("tap0");
    options.persist = true;
    Opener opener(options);
    ASSERT_TRUE(opener.opened());
    EXPECT_EQ(valid_json(tapflowctl({"show", "--json", "tap0"}), "show")["ports"][0]["process"]["owner"], "running");
    opener.kill();
    const Said said = tapflowctl({"show", "--json", "tap0"});
    EXPECT_EQ(said.status, 1);
    EXPECT_EQ(valid_json(said, "show")["ports"][0]["process"]["owner"], "gone");
    EXPECT_EQ(tapflowctl({"list"}).status, 1);
}

} // namespace
} // namespace tapflow::test
