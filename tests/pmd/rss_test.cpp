// SPDX-License-Identifier: BSD-3-Clause
// RSS as an application sees it: hash, flag and queue of every packet, against a second Toeplitz.
#include "pmd/plugin.h"
#include "support/packet_socket.h"
#include "support/toeplitz_reference.h"

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

constexpr std::string_view kHashFlag = "RTE_MBUF_F_RX_RSS_HASH";
constexpr size_t kFlows = 304;
constexpr size_t kKinds = 19; // as many as make_flow() has cases

// The key's bits must differ everywhere, or a hash over the wrong bytes goes unseen.
constexpr const char *kOtherKey = "d181c62cf7f4db5b1983a2fc943e1adbd9389e6bd1039c2ca74499ad593d56d9f3253c062adc1ffc";

Bytes key_bytes(std::string_view hex) {
    Bytes key;
    for (size_t i = 0; i < hex.size(); i += 2)
        key.push_back(static_cast<uint8_t>(std::strtoul(std::string(hex.substr(i, 2)).c_str(), nullptr, 16)));
    return key;
}

/// A frame and what is hashed of it with all types on: nothing, addresses, or addresses and ports.
struct Flow {
    Bytes frame;
    Bytes input;
};

template <typename Address> Bytes hash_input(const Address &src, const Address &dst) {
    Bytes input(src.bytes.begin(), src.bytes.end());
    input.insert(input.end(), dst.bytes.begin(), dst.bytes.end());
    return input;
}

Bytes with_ports(Bytes input, uint16_t src, uint16_t dst) {
    for (const uint16_t port : {src, dst}) {
        input.push_back(static_cast<uint8_t>(port >> 8U));
        input.push_back(static_cast<uint8_t>(port));
    }
    return input;
}

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
    const Bytes in4 = hash_input(src4, dst4);
    const Bytes in6 = hash_input(src6, dst6);
    const Bytes ports4 = with_ports(in4, src_port, dst_port);
    const Bytes ports6 = with_ports(in6, src_port, dst_port);
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
        return {l2().arp({.sender_ip = src4, .target_ip = dst4}).bytes(), {}};
    case 16:
        return {l2().next_type(0x88cc).payload(50).bytes(), {}};
    case 17:
        return {l2().ipv4(src4, dst4).sctp(src_port, dst_port).payload(20).bytes(), in4};
    default:
        return {l2().vlan(1).vlan(2).vlan(3).ipv4(src4, dst4).udp(src_port, dst_port).bytes(), {}};
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

Steering reference_steering(const Flow &flow, const rss::RssConfig &config) {
    if (flow.input.empty())
        return {std::nullopt, config.reta[0]};
    const uint32_t hash = toeplitz_reference(config.key, flow.input);
    return {hash, config.reta[hash % config.reta.size()]};
}

/// "(0,3)", "(0,3),(1,2)" …
void append_slot(std::string &entries, size_t slot, uint16_t queue) {
    entries.append(entries.empty() ? "(" : ",(").append(std::to_string(slot));
    entries.append(",").append(std::to_string(queue)).append(")");
}

void set_reta(Testpmd &testpmd, const std::vector<uint16_t> &reta) {
    std::string entries;
    const auto flush = [&] {
        testpmd.command("port config 0 rss reta " + entries);
        entries.clear();
    };
    for (size_t slot = 0; slot < reta.size(); ++slot) {
        if (entries.size() > 110) // one argument holds 128 characters
            flush();
        append_slot(entries, slot, reta[slot]);
    }
    flush();
}

std::vector<uint16_t> shown_reta(Testpmd &testpmd) {
    const std::string all = "0xffffffffffffffff";
    const std::string output = testpmd.command("show port 0 rss reta 128 (" + all + "," + all + ")");
    std::vector<uint16_t> reta;
    constexpr std::string_view kQueue = ", queue=";
    for (size_t at = output.find(kQueue); at != std::string::npos; at = output.find(kQueue, at + 1))
        reta.push_back(static_cast<uint16_t>(std::strtoul(output.c_str() + at + kQueue.size(), nullptr, 10)));
    return reta;
}

Bytes shown_key(Testpmd &testpmd) {
    const std::string output = testpmd.command("show port 0 rss-hash key");
    const size_t at = output.find("RSS key:\n");
    return at == std::string::npos ? Bytes() : key_bytes(output.substr(at + 9, output.find('\n', at + 9) - at - 9));
}

/// The key command leaves only the types it names: all come back after it.
void set_key(Testpmd &testpmd, const std::string &hex) {
    testpmd.command("port config 0 rss-hash-key ipv4 " + hex);
    testpmd.command("port config all rss all");
}

rss::RssConfig default_config(unsigned queues) {
    const auto key = rss::default_key();
    return {{key.begin(), key.end()}, rss::kAllTypes, rss::round_robin_reta(queues)};
}

enum class Mode : uint8_t { Local, Remote };

struct Case {
    const char *name;
    Mode mode;
    unsigned queues;
};

/// A port in rxonly mode, and where its packets come from.
struct Receiver {
    Receiver(Mode mode, unsigned queues)
        : testpmd(plugin_options(cabled.app, {mode == Mode::Remote ? remote_vdev() : "net_tap0,iface=tap0"}, queues)),
          mac(cabled.app.link("tap0").mac), sender(mode == Mode::Remote ? cabled.outside : cabled.app,
                                                   mode == Mode::Remote ? "peer3" : "tap0", {.receive = false}) {
        testpmd.command("port config all rss all");
        start_forwarding(testpmd, "rxonly");
    }

    /// Sends every flow once, and compares each packet that comes out with what the configuration says.
    void expect_steering(const std::vector<Flow> &flows, const rss::RssConfig &config) {
        ASSERT_EQ(sender.send_burst(frames_of(flows)), flows.size());
        const auto packets = testpmd.packets(flows.size());
        ASSERT_EQ(packets.size(), flows.size());
        std::set<size_t> seen;
        for (const TestpmdPacket &packet : packets) {
            const size_t index = flow_of(packet);
            ASSERT_LT(index, flows.size()) << packet.src;
            SCOPED_TRACE("flow " + std::to_string(index) + ", kind " + std::to_string(index % kKinds));
            EXPECT_TRUE(seen.insert(index).second) << "twice";
            const Steering wanted = reference_steering(flows[index], config);
            EXPECT_EQ(packet.rss_hash, wanted.hash);
            EXPECT_EQ(packet.has_flag(kHashFlag), wanted.hash.has_value());
            EXPECT_EQ(packet.queue, wanted.queue);
            EXPECT_EQ(expected_steering(config, flows[index].frame), wanted) << "the host's build of the classifier";
        }
    }

    Cabled cabled;
    Testpmd testpmd;
    MacAddress mac;
    PacketSocket sender;
};

class Rss : public testing::TestWithParam<Case> {};

TEST_P(Rss, QueueIsTheHashsSlotOfTheRetaForEveryKindOfPacket) {
    Receiver receiver(GetParam().mode, GetParam().queues);
    const std::vector<Flow> flows = make_flows(receiver.mac);
    rss::RssConfig config = default_config(GetParam().queues);
    {
        SCOPED_TRACE("sequential");
        EXPECT_EQ(shown_reta(receiver.testpmd), config.reta);
        receiver.expect_steering(flows, config);
    }
    {
        SCOPED_TRACE("reversed, another key");
        std::reverse(config.reta.begin(), config.reta.end());
        config.key = key_bytes(kOtherKey);
        set_key(receiver.testpmd, kOtherKey);
        set_reta(receiver.testpmd, config.reta);
        EXPECT_EQ(shown_reta(receiver.testpmd), config.reta);
        EXPECT_EQ(shown_key(receiver.testpmd), config.key);
        receiver.expect_steering(flows, config);
    }
    {
        SCOPED_TRACE("constant");
        config.reta.assign(config.reta.size(), static_cast<uint16_t>(GetParam().queues - 1));
        set_reta(receiver.testpmd, config.reta);
        receiver.expect_steering(flows, config);
    }
    EXPECT_EQ(receiver.testpmd.quit(), 0);
}

INSTANTIATE_TEST_SUITE_P(Modes, Rss,
                         testing::Values(Case{"Remote2", Mode::Remote, 2}, Case{"Remote9", Mode::Remote, 9},
                                         Case{"Remote16", Mode::Remote, 16}, Case{"Local2", Mode::Local, 2},
                                         Case{"Local9", Mode::Local, 9}, Case{"Local16", Mode::Local, 16}),
                         [](const auto &parameter) { return parameter.param.name; });

TEST(RssTypes, SelectWhatIsHashed) {
    Receiver receiver(Mode::Remote, 4);
    const auto key = rss::default_key();
    const Ipv4Address src("10.0.0.1");
    const Ipv4Address dst("10.0.0.2");
    const Packet ip = Packet().ether(receiver.mac).ipv4(src, dst);
    const Bytes tcp = Packet(ip).tcp(1000, 2000).bytes();
    const Bytes udp = Packet(ip).udp(1000, 2000).bytes();
    const uint32_t l3 = toeplitz_reference(key, hash_input(src, dst));
    const uint32_t l4 = toeplitz_reference(key, with_ports(hash_input(src, dst), 1000, 2000));
    struct Expected {
        const char *types;
        std::optional<uint32_t> tcp;
        std::optional<uint32_t> udp;
    };
    for (const Expected &expected : {Expected{"ip", l3, l3}, Expected{"udp", {}, l4}, Expected{"tcp", l4, {}},
                                     Expected{"none", {}, {}}, Expected{"all", l4, l4}}) {
        SCOPED_TRACE(expected.types);
        receiver.testpmd.command(std::string("port config all rss ") + expected.types);
        for (const auto &[frame, hash] : {std::pair(tcp, expected.tcp), std::pair(udp, expected.udp)}) {
            ASSERT_TRUE(receiver.sender.send(frame));
            const auto packets = receiver.testpmd.packets(1);
            ASSERT_EQ(packets.size(), 1U);
            EXPECT_EQ(packets[0].rss_hash, hash);
            EXPECT_EQ(packets[0].queue, hash.value_or(0) % 128 % 4);
        }
    }
}

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
        receiver_.expect_steering(flows_, possible.back());
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
    receiver.expect_steering(make_flows(receiver.mac, 64), config);
}

} // namespace
} // namespace tapflow::test
