// SPDX-License-Identifier: BSD-3-Clause
// As many queues as a port has, and what else a packet carries on its way.
#include "pmd/remote_rig.h"
#include "pmd/rss_rig.h"
#include "support/hash_reference.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr unsigned kMostQueues = 64;

class MostQueues : public testing::TestWithParam<Mode> {};

INSTANTIATE_TEST_SUITE_P(Modes, MostQueues, testing::Values(Mode::Local, Mode::Remote),
                         [](const auto &instance) { return instance.param == Mode::Local ? "local" : "remote"; });

/// Two flows for each queue, by their source port.
std::map<uint16_t, unsigned> ports_of_all_queues(const rss::RssConfig &config, const HashInput &addresses) {
    std::map<uint16_t, unsigned> ports;
    std::array<unsigned, kMostQueues> flows{};
    for (uint16_t port = 1; ports.size() < size_t{2} * kMostQueues; ++port) {
        const unsigned queue = steering_of(config, hash_reference(config, addresses.with_ports(port, 9))).queue;
        if (flows.at(queue)++ < 2)
            ports[port] = queue;
    }
    return ports;
}

TEST_P(MostQueues, AllReceiveAndAllTransmit) {
    Receiver receiver(GetParam(), kMostQueues);
    const packet::Ipv4Address source("10.0.0.1");
    const packet::Ipv4Address destination("10.0.0.2");
    const auto ports = ports_of_all_queues(default_config(kMostQueues), ip_input(source, destination));
    std::vector<Bytes> frames;
    std::map<std::string, unsigned> wanted; // by the source address that says which flow it is
    for (const auto &[port, queue] : ports) {
        packet::Mac mac;
        mac.bytes = {0x02, 0xaa, 0, 0, static_cast<uint8_t>(port >> 8U), static_cast<uint8_t>(port)};
        frames.push_back(Packet().ether(receiver.mac, mac).ipv4(source, destination).udp(port, 9).payload(20).bytes());
        wanted[mac.text()] = queue;
    }
    ASSERT_EQ(receiver.sender.send_burst(frames), frames.size());
    const auto packets = receiver.testpmd.packets(frames.size());
    ASSERT_EQ(packets.size(), frames.size());
    for (const TestpmdPacket &packet : packets)
        EXPECT_EQ(packet.queue, wanted.at(packet.src)) << packet.src;
    receiver.testpmd.command("stop");

    receiver.testpmd.command("start tx_first 1");
    receiver.testpmd.command("stop");
    const auto xstats = receiver.testpmd.port_xstats(0);
    for (unsigned queue = 0; queue < kMostQueues; ++queue) {
        EXPECT_EQ(xstats.at("rx_q" + std::to_string(queue) + "_packets"), 2U) << queue;
        EXPECT_EQ(xstats.at("tx_q" + std::to_string(queue) + "_packets"), 32U) << queue;
    }
    EXPECT_EQ(receiver.testpmd.quit(), 0);
}

/// Both ends of the cable are in one namespace: a packet loses its mark on the way to another.
TEST(RemoteMark, OfAPacketThatGoesOnToTheKernelIsAsItWas) {
    const NetNs ns;
    add_veth(ns, "eth3", ns, "peer3");
    Testpmd testpmd(plugin_options(ns, {remote_vdev()}, 4));
    set_types(testpmd, "all");
    start_forwarding(testpmd, "rxonly");
    const PacketSocket kernel = socket_behind_ingress(ns, "eth3");
    set_option(kernel, kReceiveMark, 1, "SO_RCVMARK");
    PacketSocket sender(ns, "peer3", {.receive = false});
    for (const uint32_t mark : {0x5eed1234U, 1U, 0xffffffffU, 0U}) {
        set_option(sender, SO_MARK, mark, "SO_MARK");
        for (uint8_t flow = 0; flow < 8; ++flow) { // on several queues
            const MacAddress source{{0x02, 0, 0, 0, 0, flow}};
            ASSERT_TRUE(sender.send(probe(packet::Mac("ff:ff:ff:ff:ff:ff"), source)));
            EXPECT_EQ(receive_mark(kernel), mark);
        }
        std::set<unsigned> queues;
        for (const TestpmdPacket &packet : testpmd.packets(8))
            queues.insert(packet.queue);
        EXPECT_GT(queues.size(), 1U);
    }
    EXPECT_EQ(testpmd.quit(), 0);
}

} // namespace
} // namespace tapflow::test
