// SPDX-License-Identifier: BSD-3-Clause
// What an operator changes and asks in testpmd while packets come: queues, VLANs, addresses, MTU, information; and that
// stopping the port forgets nothing of it.
#include "pmd/flow_rig.h"
#include "support/cpus.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <thread>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

std::string mode_name(const testing::TestParamInfo<Mode> &instance) {
    return instance.param == Mode::Local ? "Local" : "Remote";
}
const auto kModes = testing::Values(Mode::Local, Mode::Remote);

class Ops : public testing::TestWithParam<Mode> {};
INSTANTIATE_TEST_SUITE_P(Modes, Ops, kModes, mode_name);

/// The line of an output that begins with `label`, without it: "Burst mode: ", "Number of RXDs: ".
std::string line_of(const std::string &output, const std::string &label) {
    const std::string at_line_start = "\n" + label;
    const std::string text = "\n" + output;
    const size_t at = text.find(at_line_start);
    if (at == std::string::npos)
        return "no line " + label;
    const size_t from = at + at_line_start.size();
    return text.substr(from, text.find('\n', from) - from);
}

/// Commands for a port that does not forward meanwhile.
void between_forwarding(Testpmd &testpmd, const std::vector<std::string> &commands) {
    testpmd.command("stop");
    for (const std::string &command : commands)
        testpmd.command(command);
    testpmd.command("start");
}

/// A UDP packet for the port, of the first flow from number `first` on that the port's RSS puts on `queue`.
Packet on_queue(const FlowRig &rig, unsigned queue, const Packet &ether, uint16_t first = 1) {
    for (uint16_t flow = first; flow < first + 1000; ++flow) {
        Packet packet = Packet(ether).ipv4("10.0.0.1", "10.0.0.2").udp(flow, 9);
        if (expected_steering(rig.config, packet.bytes()).queue == queue)
            return packet;
    }
    throw std::runtime_error("no flow for queue " + std::to_string(queue));
}

// ---- queues

/// A packet's flow and its number in it, told by the source address, which is not hashed.
struct Numbered {
    unsigned flow = 0;
    unsigned number = 0;
};
MacAddress source_of(const Numbered &packet) {
    return {{0x02, static_cast<uint8_t>(packet.flow), 0, static_cast<uint8_t>(packet.number >> 16U),
             static_cast<uint8_t>(packet.number >> 8U), static_cast<uint8_t>(packet.number)}};
}
Numbered numbered(const std::string &source) {
    const auto byte = [&source](size_t index) {
        return static_cast<unsigned>(std::strtoul(source.substr(index * 3, 2).c_str(), nullptr, 16));
    };
    return {byte(1), byte(3) << 16U | byte(4) << 8U | byte(5)};
}

/// testpmd lets queues be stopped only while it does not forward, so their packets wait meanwhile; the senders do not.
TEST_P(Ops, QueuesThatStopAndStartUnderTrafficDisturbNoOther) {
    constexpr unsigned kQueues = 4;
    constexpr unsigned kFlows = 12;
    FlowRig rig(GetParam(), {"--no-flush-rx"}, kQueues);
    std::vector<Packet> flows;
    std::array<unsigned, kFlows> queue_of{};
    for (unsigned flow = 0; flow < kFlows; ++flow) {
        queue_of[flow] = flow % kQueues;
        flows.push_back(on_queue(rig, queue_of[flow], Packet().ether(rig.mac), static_cast<uint16_t>(1000 * flow)));
    }
    unsigned rounds = 0;
    // Paced: what comes while nobody forwards must find room. From one CPU: packets from two overtake each other.
    std::jthread traffic([&](const std::stop_token &stop) {
        pin_to({sched_getcpu()});
        for (; !stop.stop_requested(); ++rounds) {
            for (unsigned flow = 0; flow < kFlows; ++flow) {
                Bytes frame = flows[flow].bytes();
                const MacAddress source = source_of(Numbered{flow, rounds});
                std::copy(source.bytes.begin(), source.bytes.end(), frame.begin() + 6);
                (void)rig.sender.send(frame); // false: its queue is stopped
            }
            std::this_thread::sleep_for(milliseconds(1));
        }
        for (unsigned queue = 0; queue < kQueues; ++queue)
            (void)rig.sender.send(on_queue(rig, queue, Packet().ether(rig.mac, kBehind)).bytes());
    });
    std::vector<TestpmdPacket> packets;
    const auto collect = [&](size_t count) {
        for (TestpmdPacket &packet : rig.testpmd.packets(count))
            packets.push_back(std::move(packet));
    };
    constexpr unsigned kToggled = 2;
    for (int i = 0; i < 5; ++i) {
        collect(200);
        between_forwarding(rig.testpmd, {"port 0 rxq " + std::to_string(kToggled) + " stop"});
        collect(200);
        between_forwarding(rig.testpmd, {"port 0 rxq " + std::to_string(kToggled) + " start"});
    }
    collect(200);
    traffic.request_stop();
    traffic.join();
    // When the last packet of each queue has come, so have those before it.
    for (unsigned seen = 0; seen < kQueues;) {
        const auto more = rig.testpmd.packets(1);
        ASSERT_FALSE(more.empty());
        for (const TestpmdPacket &packet : more)
            if (packet.src == kBehind.text())
                ++seen;
            else
                packets.push_back(packet);
    }
    std::array<unsigned, kFlows> next{};
    std::array<unsigned, kFlows> received{};
    for (const TestpmdPacket &packet : packets) {
        const Numbered is = numbered(packet.src);
        ASSERT_LT(is.flow, kFlows);
        EXPECT_EQ(packet.queue, queue_of[is.flow]);
        EXPECT_GE(is.number, next[is.flow]) << "out of order in flow " << is.flow;
        next[is.flow] = is.number + 1;
        ++received[is.flow];
    }
    for (unsigned flow = 0; flow < kFlows; ++flow) {
        if (queue_of[flow] != kToggled) {
            EXPECT_EQ(received[flow], rounds) << "flow " << flow;
            continue;
        }
        EXPECT_LT(received[flow], rounds) << "flow " << flow;
        EXPECT_GT(received[flow], 0U) << "flow " << flow;
    }
    EXPECT_GT(rig.testpmd.port_xstats(0).at("rx_queue_stopped"), 0U);
    EXPECT_EQ(rig.testpmd.port_stats(0).rx_missed, 0U);
    EXPECT_EQ(rig.testpmd.quit(), 0);
}

TEST_P(Ops, QueuesTellTheirStateAndHowTheyRead) {
    FlowRig rig(GetParam(), {"--enable-scatter"}, 2);
    Testpmd &testpmd = rig.testpmd;
    const std::string how = tested_rx_mode() == "ring" ? "BPF ring" : "Tap fd";
    std::string info = testpmd.command("show rxq info 0 1");
    EXPECT_EQ(line_of(info, "Mempool: "), "mb_pool_0");
    EXPECT_EQ(line_of(info, "RX deferred start: "), "off");
    EXPECT_EQ(line_of(info, "RX scattered packets: "), "on");
    EXPECT_EQ(line_of(info, "Rx queue state: "), "started");
    EXPECT_EQ(line_of(info, "RX buffer size: "), "2048");
    EXPECT_EQ(line_of(info, "Number of RXDs: "), "4096");
    EXPECT_EQ(line_of(info, "Burst mode: "), how + ", scattered");
    info = testpmd.command("show txq info 0 1");
    EXPECT_EQ(line_of(info, "TX deferred start: "), "off");
    EXPECT_EQ(line_of(info, "Tx queue state: "), "started");
    EXPECT_EQ(line_of(info, "Burst mode: "), "Tap write");
    testpmd.command("vlan set strip on 0");
    EXPECT_EQ(line_of(testpmd.command("show rxq info 0 1"), "Burst mode: "), how + ", scattered, VLAN strip");
    testpmd.command("stop");
    testpmd.command("port 0 rxq 1 stop");
    testpmd.command("port 0 txq 0 stop");
    EXPECT_EQ(line_of(testpmd.command("show rxq info 0 1"), "Rx queue state: "), "stopped");
    EXPECT_EQ(line_of(testpmd.command("show rxq info 0 0"), "Rx queue state: "), "started");
    EXPECT_EQ(line_of(testpmd.command("show txq info 0 0"), "Tx queue state: "), "stopped");
    EXPECT_EQ(line_of(testpmd.command("show txq info 0 1"), "Tx queue state: "), "started");
    testpmd.command("port stop 0");
    EXPECT_EQ(line_of(testpmd.command("show rxq info 0 0"), "Rx queue state: "), "stopped");
    testpmd.command("port start 0");
    EXPECT_EQ(line_of(testpmd.command("show rxq info 0 1"), "Rx queue state: "), "started");
    EXPECT_EQ(line_of(testpmd.command("show txq info 0 0"), "Tx queue state: "), "started");
}

TEST_P(Ops, DeferredQueuesStartWhenTheyAreTold) {
    FlowRig rig(GetParam(), {}, 2);
    Testpmd &testpmd = rig.testpmd;
    testpmd.command("stop");
    testpmd.command("port stop 0");
    testpmd.command("port 0 rxq 1 deferred_start on");
    testpmd.command("port 0 txq 1 deferred_start on");
    for (int life = 0; life < 2; ++life) {
        SCOPED_TRACE(life);
        testpmd.command("port start 0");
        testpmd.command("start");
        const std::string info = testpmd.command("show rxq info 0 1");
        EXPECT_EQ(line_of(info, "RX deferred start: "), "on");
        EXPECT_EQ(line_of(info, "Rx queue state: "), "stopped");
        EXPECT_EQ(line_of(testpmd.command("show txq info 0 1"), "Tx queue state: "), "stopped");
        const Bytes first = on_queue(rig, 0, Packet().ether(rig.mac)).bytes();
        const Bytes second = on_queue(rig, 1, Packet().ether(rig.mac)).bytes();
        testpmd.command("clear port xstats 0");
        (void)rig.sender.send(second); // the drop may be told to the sender
        EXPECT_TRUE(wait_until([&] { return testpmd.port_xstats(0).at("rx_queue_stopped") == 1; }));
        EXPECT_EQ(rig.pass(first).queue, 0U);
        between_forwarding(testpmd, {"port 0 rxq 1 start", "port 0 txq 1 start"});
        EXPECT_EQ(rig.pass(second).queue, 1U);
        testpmd.command("stop");
        testpmd.command("port stop 0");
    }
}

TEST_P(Ops, AQueueIsSetUpAnewWhileThePortRuns) {
    FlowRig rig(GetParam(), {}, 3);
    Testpmd &testpmd = rig.testpmd;
    testpmd.command("stop");
    EXPECT_TRUE(contains(testpmd.command("port 0 rxq 1 setup"), "Failed to setup RX queue")) << "it runs";
    testpmd.command("start");
    for (const char *size : {"256", "2048"}) {
        between_forwarding(testpmd, {"port 0 rxq 1 stop", std::string("port config 0 rxq 1 ring_size ") + size,
                                     "port 0 rxq 1 setup", "port 0 rxq 1 start", "port 0 txq 1 stop",
                                     "port 0 txq 1 setup", "port 0 txq 1 start"});
        EXPECT_EQ(line_of(testpmd.command("show rxq info 0 1"), "Number of RXDs: "), size);
        for (unsigned queue = 0; queue < 3; ++queue)
            EXPECT_EQ(rig.pass(on_queue(rig, queue, Packet().ether(rig.mac)).bytes()).queue, queue);
    }
    EXPECT_EQ(rig.testpmd.quit(), 0);
}

TEST_P(Ops, AStoppedTxQueueSendsNothingUntilItStarts) {
    FlowRig rig(GetParam(), {}, 1);
    Testpmd &testpmd = rig.testpmd;
    PacketSocket far(GetParam() == Mode::Remote ? rig.cabled.outside : rig.cabled.app,
                     GetParam() == Mode::Remote ? "peer3" : "tap0");
    testpmd.command("stop");
    testpmd.command("port 0 txq 0 stop");
    testpmd.command("start tx_first");
    testpmd.command("stop");
    EXPECT_EQ(testpmd.port_stats(0).tx_packets, 0U);
    testpmd.command("port 0 txq 0 start");
    testpmd.command("start tx_first");
    EXPECT_EQ(far.receive_many(32).size(), 32U);
    testpmd.command("stop");
    EXPECT_EQ(testpmd.port_stats(0).tx_packets, 32U);
    EXPECT_FALSE(far.receive(milliseconds(0)));
}

TEST_P(Ops, WhatWaitsIsCounted) {
    FlowRig rig(GetParam(), {"--no-flush-rx"}, 2);
    Testpmd &testpmd = rig.testpmd;
    testpmd.command("stop");
    const auto status = [&](const std::string &queue, unsigned descriptor) {
        return testpmd.command("show port 0 " + queue + " desc " + std::to_string(descriptor) + " status");
    };
    EXPECT_TRUE(contains(status("txq 0", 0), "DONE"));
    if (tested_rx_mode() == "fd") { // the kernel does not tell
        EXPECT_TRUE(contains(status("rxq 0", 0), "Invalid input"));
        EXPECT_TRUE(contains(testpmd.command("show port 0 rxq 0 desc used count"), "Invalid queueid"));
        return;
    }
    const auto used = [&](unsigned queue) {
        return testpmd.command("show port 0 rxq " + std::to_string(queue) + " desc used count");
    };
    EXPECT_TRUE(contains(used(1), "Used desc count = 0\n"));
    EXPECT_TRUE(contains(status("rxq 1", 0), "AVAILABLE"));
    const Bytes frame = on_queue(rig, 1, Packet().ether(rig.mac)).bytes();
    for (int i = 0; i < 40; ++i)
        ASSERT_TRUE(rig.sender.send(frame));
    EXPECT_TRUE(contains(used(1), "Used desc count = 40\n"));
    EXPECT_TRUE(contains(used(0), "Used desc count = 0\n"));
    EXPECT_TRUE(contains(status("rxq 1", 39), "DONE"));
    EXPECT_TRUE(contains(status("rxq 1", 40), "AVAILABLE"));
    EXPECT_TRUE(contains(status("rxq 1", 4096), "Invalid input"));
    testpmd.command("start");
    EXPECT_EQ(testpmd.packets(40).size(), 40U);
    EXPECT_TRUE(contains(used(1), "Used desc count = 0\n"));
}

// ---- VLANs

Bytes tagged(const FlowRig &rig, uint16_t id, unsigned queue = 0) {
    return on_queue(rig, queue, Packet().ether(rig.mac).vlan(id)).payload(30).bytes();
}

TEST_P(Ops, VlanFilterLetsInWhatIsAdded) {
    FlowRig rig(GetParam());
    Testpmd &testpmd = rig.testpmd;
    EXPECT_EQ(rig.pass(tagged(rig, 7)).length, tagged(rig, 7).size());
    EXPECT_TRUE(contains(testpmd.command("rx_vlan add 7 0"), "failed")) << "the filter is off";
    testpmd.command("vlan set filter on 0");
    EXPECT_TRUE(rig.swallows(tagged(rig, 7)));
    testpmd.command("rx_vlan add 7 0");
    EXPECT_EQ(rig.pass(tagged(rig, 7)).ethertype, 0x8100);
    EXPECT_TRUE(rig.swallows(tagged(rig, 8)));
    testpmd.command("rx_vlan rm 7 0");
    EXPECT_TRUE(rig.swallows(tagged(rig, 7)));
    testpmd.command("rx_vlan add all 0");
    for (const uint16_t id : std::array<uint16_t, 4>{1, 7, 2048, 4095})
        EXPECT_EQ(rig.pass(tagged(rig, id)).ethertype, 0x8100) << id;
    testpmd.command("rx_vlan rm all 0");
    EXPECT_TRUE(rig.swallows(tagged(rig, 1)));
    testpmd.command("vlan set filter off 0");
    EXPECT_EQ(rig.pass(tagged(rig, 8)).ethertype, 0x8100);
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST_P(Ops, VlanStripIsSwitchedForThePortOrForAQueue) {
    FlowRig rig(GetParam(), {}, 2);
    Testpmd &testpmd = rig.testpmd;
    const auto stripped = [&](unsigned queue) {
        const TestpmdPacket packet = rig.pass(tagged(rig, 9, queue));
        EXPECT_EQ(packet.queue, queue);
        EXPECT_EQ(packet.ethertype, packet.vlan_tci ? 0x0800 : 0x8100);
        EXPECT_EQ(packet.vlan_tci.value_or(9), 9);
        return packet.vlan_tci.has_value();
    };
    const auto states = [&] { return std::array{stripped(0), stripped(1)}; };
    EXPECT_EQ(states(), (std::array{false, false}));
    testpmd.command("vlan set strip on 0");
    EXPECT_EQ(states(), (std::array{true, true}));
    testpmd.command("vlan set stripq off 0,1");
    EXPECT_EQ(states(), (std::array{true, false}));
    testpmd.command("vlan set strip off 0");
    EXPECT_EQ(states(), (std::array{false, false}));
    testpmd.command("vlan set stripq on 0,1");
    EXPECT_EQ(states(), (std::array{false, true}));
    testpmd.command("vlan set stripq on 0,0");
    EXPECT_EQ(states(), (std::array{true, true}));
    EXPECT_EQ(testpmd.quit(), 0);
}

/// A double-tagged packet loses its outer tag, and what is inserted is around what is there.
TEST(OpsForwarding, TagsAreStrippedAndInsertedOnTheWayThrough) {
    Forwarder forwarder({"--rx-offloads=0x1"}); // VLAN_STRIP
    forwarder.configure_out({"tx_vlan set 1 1000"});
    start_forwarding(forwarder.testpmd, "mac", false);
    const auto through = [&](const Packet &packet) {
        EXPECT_TRUE(forwarder.in.send(packet.bytes()));
        const auto frames = forwarder.receive(1);
        return frames.empty() ? Bytes() : Bytes(frames[0].begin() + 12, frames[0].end());
    };
    const auto behind_addresses = [](const Packet &packet) {
        const Bytes bytes = packet.bytes();
        return Bytes(bytes.begin() + 12, bytes.end());
    };
    const auto to_port = [&] { return Packet().ether(forwarder.in_mac); };
    const auto with_body = [](Packet packet) { return packet.ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(40); };
    EXPECT_EQ(through(with_body(to_port().vlan(5))), behind_addresses(with_body(to_port().vlan(1000))));
    EXPECT_EQ(through(with_body(to_port())), behind_addresses(with_body(to_port().vlan(1000))));
    EXPECT_EQ(through(with_body(to_port().vlan(5).vlan(6))), behind_addresses(with_body(to_port().vlan(1000).vlan(6))));
    forwarder.configure_out({"tx_vlan reset 1"});
    EXPECT_EQ(forwarder.testpmd.quit(), 0);
}

// ---- addresses

TEST_P(Ops, AddressesAreAddedAndRemovedUntilTheTableIsFull) {
    FlowRig rig(GetParam(), {}, 1);
    Testpmd &testpmd = rig.testpmd;
    testpmd.command("set promisc 0 off");
    const auto address = [](unsigned i) {
        return packet::Mac(MacAddress{{0x02, 0, 0, 0, 0x77, static_cast<uint8_t>(i)}});
    };
    const auto frame_to = [](const packet::Mac &mac) { return Packet().ether(mac).payload(60).bytes(); };
    EXPECT_TRUE(rig.swallows(frame_to(address(1))));
    unsigned added = 0;
    while (added < 200 && !contains(testpmd.command("mac_addr add 0 " + address(added).text()), "error"))
        ++added;
    const std::string info = testpmd.command("show port info 0");
    EXPECT_EQ(line_of(info, "Maximum number of MAC addresses: "), std::to_string(added + 1)) << "and its own";
    EXPECT_FALSE(contains(testpmd.command("mac_addr add 0 " + address(3).text()), "error")) << "it is there";
    for (const unsigned i : {0U, added / 2, added - 1})
        EXPECT_EQ(rig.pass(frame_to(address(i))).dst, address(i).text());
    EXPECT_TRUE(rig.swallows(frame_to(address(added))));
    testpmd.command("mac_addr remove 0 " + address(3).text());
    EXPECT_TRUE(rig.swallows(frame_to(address(3))));
    EXPECT_FALSE(contains(testpmd.command("mac_addr add 0 " + address(added).text()), "error"))
        << "there is room again";
    EXPECT_EQ(rig.pass(frame_to(address(added))).dst, address(added).text());
    EXPECT_TRUE(contains(testpmd.command("mac_addr add 0 00:00:00:00:00:00"), "error"));
    EXPECT_TRUE(contains(testpmd.command("mac_addr remove 0 " + rig.mac.text()), "error")) << "the port's own";
    testpmd.command("set promisc 0 on");
    EXPECT_EQ(rig.pass(frame_to(address(3))).dst, address(3).text());
    EXPECT_EQ(testpmd.quit(), 0);
}

// ---- MTU

/// Both ways through two ports of one MTU, which changes while they forward. A tag or two are no part of it.
TEST(OpsForwarding, FramesAroundTheMtuPassOrAreCounted) {
    Forwarder forwarder({"--enable-scatter", "--max-pkt-len=9022"}, 9000);
    Testpmd &testpmd = forwarder.testpmd;
    start_forwarding(testpmd, "io", false);
    const auto frame = [&](size_t size) {
        return Packet().ether(forwarder.in_mac).next_type(kProbeType).pad_to(size).bytes();
    };
    uint64_t oversize = 0;
    for (const size_t mtu : {68U, 1500U, 2034U, 4000U, 8991U}) {
        SCOPED_TRACE(mtu);
        for (const char *port : {"0", "1"})
            testpmd.command("port config mtu " + std::string(port) + " " + std::to_string(mtu));
        EXPECT_EQ(line_of(testpmd.command("show port info 1"), "MTU: "), std::to_string(mtu));
        for (const size_t size : {mtu + 13, mtu + 14}) {
            ASSERT_TRUE(forwarder.in.send(frame(size)));
            const auto received = forwarder.receive(1);
            ASSERT_EQ(received.size(), 1U);
            EXPECT_EQ(received[0], frame(size));
        }
        ASSERT_TRUE(forwarder.in.send(frame(mtu + 14 + 9)));
        ASSERT_TRUE(forwarder.in.send(frame(60)));
        auto received = forwarder.receive(1);
        ASSERT_EQ(received.size(), 1U);
        EXPECT_EQ(received[0].size(), 60U);
        EXPECT_EQ(testpmd.port_xstats(1).at("tx_q0_oversize"), ++oversize);
    }
    EXPECT_EQ(testpmd.quit(), 0);
}

// ---- what stays

const packet::Mac kExtra = "02:00:00:00:0a:dd";

TEST_P(Ops, StoppingThePortForgetsNothing) {
    constexpr unsigned kQueues = 3;
    FlowRig rig(GetParam(), {}, 2);
    Testpmd &testpmd = rig.testpmd;
    testpmd.command("stop");
    testpmd.command("port stop 0");
    testpmd.command("port config all rxq 3");
    testpmd.command("port config all txq 3");
    testpmd.command("port start 0");
    rig.config = default_config(kQueues);
    rig.config.key = key_bytes(kOtherKey);
    for (size_t slot = 0; slot < rig.config.reta.size(); ++slot)
        rig.config.reta[slot] = static_cast<uint16_t>((slot / 3 + 1) % kQueues);
    set_key(testpmd, kOtherKey, "udp");
    set_reta(testpmd, rig.config.reta);
    testpmd.command("port config mtu 0 1400");
    testpmd.command("set promisc 0 off");
    testpmd.command("mac_addr add 0 " + kExtra.text());
    testpmd.command("vlan set filter on 0");
    testpmd.command("rx_vlan add 7 0");
    testpmd.command("vlan set strip on 0");
    testpmd.command("start");
    for (int life = 0; life < 3; ++life) {
        SCOPED_TRACE(life);
        EXPECT_EQ(rig.cabled.app.link("tap0").mtu, 1400U);
        EXPECT_EQ(shown_reta(testpmd), rig.config.reta);
        EXPECT_EQ(shown_key(testpmd), rig.config.key);
        for (unsigned queue = 0; queue < kQueues; ++queue)
            EXPECT_EQ(rig.pass(on_queue(rig, queue, Packet().ether(rig.mac)).bytes()).queue, queue);
        EXPECT_FALSE(rig.pass(Packet().ether(rig.mac).ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2).bytes()).rss_hash)
            << "UDP alone is hashed";
        EXPECT_EQ(rig.pass(Packet().ether(kExtra).payload(60).bytes()).dst, kExtra.text());
        EXPECT_TRUE(rig.swallows(Packet().ether("02:00:00:00:0e:ee").payload(60).bytes()));
        EXPECT_EQ(rig.pass(tagged(rig, 7)).vlan_tci, std::optional<uint16_t>(7));
        EXPECT_TRUE(rig.swallows(tagged(rig, 8)));
        testpmd.command("stop");
        testpmd.command("port stop 0");
        testpmd.command("port start 0");
        testpmd.command("start");
    }
    EXPECT_EQ(testpmd.quit(), 0);
}

// ---- what a port says of itself

TEST_P(Ops, InformationIsWhatTheSystemSays) {
    FlowRig rig(GetParam(), {}, 2);
    Testpmd &testpmd = rig.testpmd;
    std::string info = testpmd.command("show port info 0");
    const auto expect = [&](const std::string &label, const std::string &value) {
        EXPECT_EQ(line_of(info, label), value) << label;
    };
    const Link tap = rig.cabled.app.link("tap0");
    std::string mac = line_of(info, "MAC address: ");
    std::transform(mac.begin(), mac.end(), mac.begin(), [](unsigned char c) { return std::tolower(c); });
    EXPECT_EQ(mac, tap.mac.text());
    expect("Device name: ", "net_tap0");
    expect("Driver name: ", "net_tap");
    EXPECT_TRUE(contains(line_of(info, "Firmware-version: "), tested_rx_mode() + ", Linux ")) << info;
    EXPECT_TRUE(contains(line_of(info, "Devargs: "), "iface=tap0"));
    expect("Link status: ", "up");
    expect("Link duplex: ", "full-duplex");
    expect("MTU: ", "1500");
    expect("Promiscuous mode: ", "enabled"); // testpmd's own doing
    expect("Allmulticast mode: ", "disabled");
    expect("Current number of RX queues: ", "2");
    expect("Current number of TX queues: ", "2");
    expect("Max possible RX queues: ", "64");
    expect("Hash key size in bytes: ", "40");
    expect("Redirection table size: ", "128");
    EXPECT_TRUE(contains(info, "RUNTIME_RX_QUEUE_SETUP RUNTIME_TX_QUEUE_SETUP")) << info;
    EXPECT_TRUE(contains(info, "strip off, filter off, extend off, qinq strip off"));
    testpmd.command("vlan set filter on 0");
    testpmd.command("set allmulti 0 on");
    info = testpmd.command("show port info 0");
    EXPECT_TRUE(contains(info, "strip off, filter on, extend off"));
    expect("Allmulticast mode: ", "enabled");

    info = testpmd.command("show port 0 flow_ctrl");
    EXPECT_TRUE(contains(info, "Rx pause: off")) << info;
    EXPECT_TRUE(contains(info, "Tx pause: off")) << info;
    EXPECT_TRUE(contains(testpmd.command("set flow_ctrl rx on 0"), "bad flow control parameter"));
    EXPECT_FALSE(contains(testpmd.command("set flow_ctrl rx off 0"), "bad flow control parameter"));
}

} // namespace
} // namespace tapflow::test
