// SPDX-License-Identifier: BSD-3-Clause
// Other tests' ports are listed as well: each looks for its own.
#include "ctl/ctl_fixture.h"
#include "kernel/loaded_classifier.h"

#include "engine/inspect.h"
#include "kernel/bpf_objects.h"
#include "kernel/clock.h"
#include "tapflow/abi/identity.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <set>

namespace tapflow::test {
namespace {

using CtlList = CtlTest;

nlohmann::ordered_json ours(const nlohmann::ordered_json &list) {
    for (const nlohmann::ordered_json &port : list["ports"])
        if (port["here"] == true)
            return port;
    return nullptr;
}

TEST_F(CtlList, TellsWhatAPortIs) {
    open();
    nlohmann::ordered_json listed = ours(valid_json(tapflowctl({"list", "--json"}), "list"));
    EXPECT_EQ(listed["pid"], getpid());
    listed.erase("pid");
    listed.erase("process");
    EXPECT_EQ(nlohmann::json(listed),
              nlohmann::json::parse(R"({"name": "tap0", "here": true, "device": "net_tap0", "owner": "running",
        "delivery": "ring", "classifier": "bpf", "rx_queues": 2, "tx_queues": 1, "started": true})"));
    port->stop();
    EXPECT_EQ(ours(valid_json(tapflowctl({"list", "--json"}), "list"))["started"], false);
}

TEST_F(CtlList, ShowsARowForEachPort) {
    open();
    const std::string row = "tap0 net_tap0 - 2 1 ring bpf " + std::to_string(getpid()) + " tapflow_ctl_tes started";
    const std::string table = replaced(tapflowctl({"list"}).out, {{" +", " "}});
    EXPECT_TRUE(table.starts_with("TAP DEVICE REMOTE RX TX DELIVERY RULES PID PROCESS STATE\n")) << table;
    EXPECT_NE(table.find('\n' + row + '\n'), std::string::npos) << table;
}

TEST_F(CtlList, NamesAreForCompletion) {
    NetNs wire;
    add_veth(ns, "eth3", wire, "far0");
    engine::PortOptions options = named("tap0");
    options.remote = "eth3";
    open(options);
    const std::string names = '\n' + tapflowctl({"list", "--names"}).out;
    for (const char *name : {"\ntap0\n", "\nnet_tap0\n", "\neth3\n"})
        EXPECT_NE(names.find(name), std::string::npos) << names;
}

/// The port's tables say that they are of a version that there is not.
void make_foreign(uint32_t abi) {
    const engine::InspectedPort port = must(engine::find_port("tapforeign"));
    const int map = port.map(TAPFLOW_IDENTITY_MAP);
    const uint32_t key = 0;
    tapflow_port_identity identity{};
    ASSERT_EQ(bpf_map_lookup_elem(map, &key, &identity), 0);
    identity.abi = abi;
    ASSERT_EQ(bpf_map_update_elem(map, &key, &identity, BPF_ANY), 0);
}

TEST_F(CtlList, APortOfAnotherVersionIsNamedAndNotRead) {
    // No other test's port is found instead.
    open(named("tapforeign"));
    make_foreign(4711);
    const nlohmann::ordered_json list = valid_json(tapflowctl({"list", "--json"}), "list");
    EXPECT_EQ(ours(list), nullptr);
    EXPECT_TRUE(std::any_of(list["foreign"].begin(), list["foreign"].end(), [](const nlohmann::ordered_json &each) {
        return each["abi"] == 4711;
    })) << list;
    EXPECT_NE(tapflowctl({"list"}).out.find("tables of version 4711"), std::string::npos);
    for (const std::vector<std::string> &arguments :
         std::vector<std::vector<std::string>>{{"show", "tapforeign"},
                                               {"rules", "tapforeign"},
                                               {"save", "tapforeign"},
                                               {"explain", "tapforeign", "arp 10.0.0.1 > 10.0.0.2"},
                                               {"verify", "tapforeign"},
                                               {"balance", "tapforeign", "--pcap", "/dev/null"},
                                               {"diff", "tapforeign", "tapforeign"},
                                               {"gc", "tapforeign", "--yes"}}) {
        SCOPED_TRACE(arguments.front());
        const Said said = tapflowctl(arguments);
        EXPECT_NE(said.status, 0);
        expect_refused(said, said.status); // 1 where other tests have ports that can be read
    }
}

TEST_F(CtlList, APortThatIsBeingOpenedIsNotOfAnotherVersion) {
    const uint64_t begun = kernel::boottime_ns();
    const LoadedClassifier has_not_said_what_it_is(Cpu::V3);
    std::set<uint32_t> loaded_since;
    must(kernel::for_each_tc_program([&](const kernel::ProgramInfo &program) {
        if (program.loaded_ns >= begun)
            loaded_since.insert(program.id);
    }));
    ASSERT_FALSE(loaded_since.empty());
    const nlohmann::ordered_json list = valid_json(tapflowctl({"list", "--json"}), "list");
    for (const nlohmann::ordered_json &each : list["foreign"])
        EXPECT_FALSE(each["abi"] == 0 && loaded_since.contains(each["program"])) << each;
}

} // namespace
} // namespace tapflow::test
