// SPDX-License-Identifier: BSD-3-Clause
// RSS as an application sees it: hash, flag and queue of every packet, against a second Toeplitz.
#include "pmd/rss_rig.h"
#include "support/hash_reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <thread>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Ipv4Address;
using packet::Ipv6Address;
using packet::Packet;

constexpr size_t kFlows = 304;
constexpr size_t kKinds = 19; // as many as make_flow() has cases

/// A frame and what is hashed of it with all types on.
struct Flow {
    Bytes frame;
    HashInput input;
};

/// The flow's number is in its source MAC address.
packet::Mac source_mac(size_t index) {
    packet::Mac mac;
    mac.bytes = {0x02, 0xaa, 0, 0, static_cast<uint8_t>(index >> 8U), static_cast<uint8_t>(index)};
    return mac;
}

Flow make_flow(size_t index, const MacAddress &port_mac) {
    const auto n = static_cast<uint16_t>(index);
    const auto low = static_cast<uint8_t>(index);
    const auto high = static_cast<uint8_t>(index >> 8U);
    Ipv4Address src4("10.1.0.0");
    Ipv4Address dst4("192.168.7.0");
    Ipv6Address src6("2001:db8:1234::1");
    Ipv6Address dst6("fe80::aaaa:bbbb:0:2");
    src4.bytes[2] = high;
    src4.bytes[3] = low;
    dst4.bytes[3] = static_cast<uint8_t>(251 - low);
    src6.bytes[12] = high;
    src6.bytes[13] = low;
    dst6.bytes[5] = low;
    const auto src_port = static_cast<uint16_t>(1024 + 7 * n);
    const auto dst_port = static_cast<uint16_t>(60000 - 13 * n);
    const HashInput in4 = ip_input(src4, dst4);
    const HashInput in6 = ip_input(src6, dst6);
    const HashInput ports4 = in4.with_ports(src_port, dst_port);
    const HashInput ports6 = in6.with_ports(src_port, dst_port);
    const auto l2_of = [&](uint16_t type) { return l2_input(port_mac, source_mac(index), type); };
    const Packet ether = Packet().ether(port_mac, source_mac(index));
    const auto l2 = [&ether] { return ether; };
    switch (index % kKinds) {
    case 0:
        return {l2().ipv4(src4, dst4).tcp(src_port, dst_port).payload(n % 90).bytes(), ports4};
    case 1:
        return {l2().ipv4(src4, dst4).udp(src_port, dst_port).payload(n).bytes(), ports4};
    case 2:
        return {l2().ipv4(src4, dst4).icmp().payload(56).bytes(), in4};
    case 3: // a first fragment has ports, but the other fragments do not
        return {
            l2().ipv4({.src = src4, .dst = dst4, .more_fragments = true}).udp(src_port, dst_port).payload(64).bytes(),
            in4};
    case 4:
        return {l2().ipv4({.src = src4, .dst = dst4, .fragment_offset = 9}).next_type(17).payload(64).bytes(), in4};
    case 5:
        return {l2().ipv4({.src = src4, .dst = dst4, .options = Bytes(40, 1)}).udp(src_port, dst_port).bytes(), ports4};
    case 6:
        return {l2().ipv6(src6, dst6).tcp(src_port, dst_port).payload(n).bytes(), ports6};
    case 7:
        return {l2().ipv6(src6, dst6).udp(src_port, dst_port).bytes(), ports6};
    case 8:
        return {l2().ipv6(src6, dst6).icmpv6().payload(8).bytes(), in6};
    case 9:
        return {l2().ipv6(src6, dst6).fragment({.more = true, .id = 7}).udp(src_port, dst_port).payload(64).bytes(),
                in6};
    case 10:
        return {l2().ipv6(src6, dst6).hop_by_hop().routing().destination_options().tcp(src_port, dst_port).bytes(),
                ports6};
    case 11:
        return {l2().vlan(100).ipv4(src4, dst4).tcp(src_port, dst_port).payload(20).bytes(), ports4};
    case 12:
        return {l2().vlan({.vid = 7, .pcp = 5}).ipv6(src6, dst6).udp(src_port, dst_port).payload(20).bytes(), ports6};
    case 13:
        return {
            l2().vlan({.vid = 7, .tpid = 0x88a8}).vlan(9).ipv4(src4, dst4).udp(src_port, dst_port).payload(9).bytes(),
            ports4};
    case 14:
        return {l2().vlan({.vid = 7, .tpid = 0x88a8}).vlan(9).ipv6(src6, dst6).tcp(src_port, dst_port).bytes(), ports6};
    case 15:
        return {l2().arp({.sender_ip = src4, .target_ip = dst4}).bytes(), l2_of(0x0806)};
    case 16:
        return {l2().next_type(0x88cc).payload(50).bytes(), l2_of(0x88cc)};
    case 17:
        return {l2().ipv4(src4, dst4).sctp(src_port, dst_port).payload(20).bytes(), ports4};
    default: // the first tag is looked through, and what is behind it is not IP
        return {l2().vlan(1).vlan(2).vlan(3).ipv4(src4, dst4).udp(src_port, dst_port).bytes(), l2_of(0x8100)};
    }
}

std::vector<Flow> make_flows(const MacAddress &port_mac, size_t count = kFlows) {
    std::vector<Flow> flows;
    for (size_t i = 0; i < count; ++i)
        flows.push_back(make_flow(i, port_mac));
    return flows;
}

std::vector<Bytes> frames_of(const std::vector<Flow> &flows) {
    std::vector<Bytes> frames;
    for (const Flow &flow : flows)
        frames.push_back(flow.frame);
    return frames;
}

size_t flow_of(const TestpmdPacket &packet) {
    return std::strtoul(packet.src.substr(12, 2).c_str(), nullptr, 16) << 8U |
           std::strtoul(packet.src.substr(15, 2).c_str(), nullptr, 16);
}

struct Case {
    const char *name;
    Mode mode;
    unsigned queues;
};

/// Sends every flow once, and compares each packet that comes out with what the configuration says.
void expect_steering(Receiver &receiver, const std::vector<Flow> &flows, const rss::RssConfig &config) {
    ASSERT_EQ(receiver.sender.send_burst(frames_of(flows)), flows.size());
    const auto packets = receiver.testpmd.packets(flows.size());
    ASSERT_EQ(packets.size(), flows.size());
    std::set<size_t> seen;
    for (const TestpmdPacket &packet : packets) {
        const size_t index = flow_of(packet);
        ASSERT_LT(index, flows.size()) << packet.src;
        SCOPED_TRACE("flow " + std::to_string(index) + ", kind " + std::to_string(index % kKinds));
        EXPECT_TRUE(seen.insert(index).second) << "twice";
        const Steering wanted = steering_of(config, hash_reference(config, flows[index].input));
        Receiver::expect_steered(packet, wanted);
        EXPECT_EQ(expected_steering(config, flows[index].frame), wanted) << "the host's build of the classifier";
    }
}

class Rss : public testing::TestWithParam<Case> {};

TEST_P(Rss, QueueIsTheHashsSlotOfTheRetaForEveryKindOfPacket) {
    Receiver receiver(GetParam().mode, GetParam().queues);
    const std::vector<Flow> flows = make_flows(receiver.mac);
    rss::RssConfig config = default_config(GetParam().queues);
    {
        SCOPED_TRACE("sequential");
        EXPECT_EQ(shown_reta(receiver.testpmd), config.reta);
        expect_steering(receiver, flows, config);
    }
    {
        SCOPED_TRACE("reversed, another key");
        std::reverse(config.reta.begin(), config.reta.end());
        config.key = key_bytes(kOtherKey);
        set_key(receiver.testpmd, kOtherKey);
        set_reta(receiver.testpmd, config.reta);
        EXPECT_EQ(shown_reta(receiver.testpmd), config.reta);
        EXPECT_EQ(shown_key(receiver.testpmd), config.key);
        expect_steering(receiver, flows, config);
    }
    {
        SCOPED_TRACE("constant");
        config.reta.assign(config.reta.size(), static_cast<uint16_t>(GetParam().queues - 1));
        set_reta(receiver.testpmd, config.reta);
        expect_steering(receiver, flows, config);
    }
    EXPECT_EQ(receiver.testpmd.quit(), 0);
}

INSTANTIATE_TEST_SUITE_P(Modes, Rss,
                         testing::Values(Case{"Remote2", Mode::Remote, 2}, Case{"Remote9", Mode::Remote, 9},
                                         Case{"Remote16", Mode::Remote, 16}, Case{"Local2", Mode::Local, 2},
                                         Case{"Local9", Mode::Local, 9}, Case{"Local16", Mode::Local, 16}),
                         [](const auto &parameter) { return parameter.param.name; });

/// A port under traffic of 64 flows while commands change it.
class RssUpdate : public testing::Test {
  protected:
    /// Runs the commands while packets come in. Each packet must be where one of `possible` puts it, and none be lost.
    void change(const std::vector<std::string> &commands, const std::vector<rss::RssConfig> &possible) {
        std::jthread traffic([this](const std::stop_token &stop) {
            for (int burst = 0; burst < 100 && !stop.stop_requested(); ++burst) {
                sent_ += receiver_.sender.send_burst(frames_);
                std::this_thread::sleep_for(milliseconds(1)); // the commands take some, too
            }
        });
        for (const std::string &command : commands)
            receiver_.testpmd.command(command);
        traffic.request_stop();
        traffic.join();
        std::vector<std::vector<Steering>> wanted;
        for (const Flow &flow : flows_) {
            wanted.emplace_back();
            for (const rss::RssConfig &config : possible)
                wanted.back().push_back(expected_steering(config, flow.frame));
        }
        while (received_ < sent_) {
            const auto packets = receiver_.testpmd.packets(sent_ - received_);
            ASSERT_FALSE(packets.empty()) << received_ << " of " << sent_;
            received_ += packets.size();
            for (const TestpmdPacket &packet : packets) {
                const auto &places = wanted.at(flow_of(packet));
                EXPECT_NE(std::find(places.begin(), places.end(), Steering{packet.rss_hash, packet.queue}),
                          places.end())
                    << "flow " << flow_of(packet) << " on queue " << packet.queue;
            }
        }
        const auto stats = receiver_.testpmd.port_stats(0);
        EXPECT_EQ(stats.rx_packets, sent_);
        EXPECT_EQ(stats.rx_missed + stats.rx_errors + stats.rx_nombuf, 0U);
        // The change is in force once its command has returned.
        receiver_.testpmd.command("clear port stats 0");
        sent_ = received_ = 0;
        expect_steering(receiver_, flows_, possible.back());
        receiver_.testpmd.command("clear port stats 0");
    }

    Receiver receiver_{Mode::Remote, 4};
    std::vector<Flow> flows_ = make_flows(receiver_.mac, 64);
    std::vector<Bytes> frames_ = frames_of(flows_);
    size_t sent_ = 0;
    size_t received_ = 0;
};

TEST_F(RssUpdate, OfTheRetaLosesAndMisplacesNothing) {
    const rss::RssConfig first = default_config(4);
    rss::RssConfig second = first;
    std::string there; // as many slots as fit into one command, which is one change
    std::string back;
    for (size_t slot = 0; slot < 16; ++slot) {
        second.reta[slot] = static_cast<uint16_t>(3 - first.reta[slot]);
        append_slot(there, slot, second.reta[slot]);
        append_slot(back, slot, first.reta[slot]);
    }
    std::vector<std::string> commands;
    for (int round = 0; round < 5; ++round) {
        commands.push_back("port config 0 rss reta " + back);
        commands.push_back("port config 0 rss reta " + there);
    }
    change(commands, {first, second});
}

TEST_F(RssUpdate, OfTheKeyLosesAndMisplacesNothing) {
    const rss::RssConfig first = default_config(4);
    rss::RssConfig last = first;
    last.key = key_bytes(kOtherKey);
    rss::RssConfig between = last; // testpmd's command sets the key and the types that it names
    between.types = rss::kIpv4;
    change({std::string("port config 0 rss-hash-key ipv4 ") + kOtherKey, "port config all rss all"},
           {first, between, last});
}

TEST(RssRefusal, QueueOutOfRangeChangesNothing) {
    const NetNs ns;
    Testpmd testpmd(plugin_options(ns, {"net_tap0,iface=tap0"}, 4));
    const auto before = shown_reta(testpmd);
    EXPECT_EQ(before, rss::round_robin_reta(4));
    // Slot 0 is fine by itself: it must not change either.
    const std::string output = testpmd.command("port config 0 rss reta (0,3),(1,4)");
    EXPECT_NE(output.find("exceeds the maximum rxq"), std::string::npos) << output;
    EXPECT_EQ(shown_reta(testpmd), before);
    testpmd.command(std::string("port config 0 rss-hash-key ipv4 ") + std::string(kOtherKey).substr(2));
    testpmd.command(std::string("port config 0 rss-hash-key ipv4 ") + kOtherKey + "00");
    const auto key = rss::default_key();
    EXPECT_EQ(shown_key(testpmd), Bytes(key.begin(), key.end()));
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST(RssConfiguration, SurvivesStopAndStart) {
    Receiver receiver(Mode::Remote, 4);
    rss::RssConfig config = default_config(4);
    config.key = key_bytes(kOtherKey);
    std::reverse(config.reta.begin(), config.reta.end());
    set_key(receiver.testpmd, kOtherKey);
    set_reta(receiver.testpmd, config.reta);
    receiver.testpmd.command("stop");
    receiver.testpmd.command("port stop 0");
    receiver.testpmd.command("port start 0");
    receiver.testpmd.command("start");
    EXPECT_EQ(shown_key(receiver.testpmd), config.key);
    EXPECT_EQ(shown_reta(receiver.testpmd), config.reta);
    expect_steering(receiver, make_flows(receiver.mac, 64), config);
}

} // namespace
} // namespace tapflow::test
