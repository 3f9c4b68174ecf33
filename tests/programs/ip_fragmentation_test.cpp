// SPDX-License-Identifier: BSD-3-Clause
// ip_fragmentation cuts what is longer than 1,500 bytes: packets of several segments in, and others out, of which the
// first segment is a header alone.
#include "pmd/plugin.h"
#include "programs/example.h"
#include "support/packet_socket.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <stdexcept>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr size_t kEther = 14;
constexpr size_t kMtu = 1500; // of the program

size_t word(const Bytes &frame, size_t at) { return static_cast<size_t>(frame.at(at)) << 8U | frame.at(at + 1); }

/// A frame's Ethernet header, and the part of an IP packet's payload that it carries.
struct Fragment {
    Bytes ether;
    size_t offset = 0;
    bool last = true;
    Bytes payload;
};

Fragment parse(const Bytes &frame) {
    Fragment fragment;
    fragment.ether.assign(frame.begin(), frame.begin() + kEther);
    size_t header = kEther + 20;
    size_t end = kEther + word(frame, kEther + 2);
    size_t place = word(frame, kEther + 6) << 3U;
    fragment.last = (place & 0x10000) == 0; // MF
    fragment.offset = place & 0xffff;
    if (frame.at(kEther) >> 4U == 6) {
        header = kEther + 40;
        end = header + word(frame, kEther + 4);
        fragment.offset = 0;
        fragment.last = true;
        if (frame.at(kEther + 6) == 44) { // the fragment header
            place = word(frame, header + 2);
            fragment.last = (place & 1) == 0;
            fragment.offset = place & 0xfff8;
            header += 8;
        }
    }
    if (end != frame.size())
        throw std::runtime_error("a frame of " + std::to_string(frame.size()) + " bytes holds " + std::to_string(end));
    fragment.payload.assign(frame.begin() + static_cast<ptrdiff_t>(header), frame.end());
    return fragment;
}

/// The one's complement sum of an IPv4 header, 0xffff if its checksum is right.
size_t header_sum(const Bytes &frame) {
    size_t sum = 0;
    for (size_t at = kEther; at < kEther + 20; at += 2)
        sum += word(frame, at);
    return (sum & 0xffff) + (sum >> 16U);
}

TEST(IpFragmentation, FragmentsPutTogetherAreThePacket) {
    if (!example_is_there("ip_fragmentation"))
        GTEST_SKIP() << "machine lacks the sources of DPDK's examples";
    const Cabled cabled(2, 9000);
    // Routes of its own: 100.20.0.0/16 and 201:101:101::/48 are behind port 1.
    Example program(
        cabled.app,
        {.name = "ip_fragmentation", .vdevs = {remote_vdev(0), remote_vdev(1)}, .arguments = {"-p", "3", "-q", "2"}});
    (void)program.process().wait_for("portid=1");
    PacketSocket in(cabled.outside, "peer3", {.receive = false});
    PacketSocket out(cabled.outside, "peer4");
    const Packet ether = Packet().ether(cabled.app.link("eth3").mac);
    const Bytes ether_out = Packet().ether("02:00:00:00:00:01", cabled.app.link("eth4").mac).bytes();
    for (const bool v6 : {false, true})
        for (const size_t size : {100U, 1499U, 1500U, 1501U, 2034U, 2035U, 4000U, 5921U, 9000U}) {
            SCOPED_TRACE((v6 ? "IPv6, " : "IPv4, ") + std::to_string(size) + " bytes");
            Packet packet = ether;
            if (v6)
                packet.ipv6("fd00::1", "201:101:101::1");
            else
                packet.ipv4({.src = "10.0.0.1", .dst = "100.20.0.1", .id = 0x1234});
            const size_t header = v6 ? 40 : 20;
            packet.udp(1, 2).payload(size - header - 8);
            const Bytes frame = packet.bytes();
            ASSERT_EQ(frame.size(), kEther + size);
            ASSERT_TRUE(in.send(frame));
            Bytes together;
            for (bool last = false; !last;) {
                const auto received = out.receive();
                ASSERT_TRUE(received);
                const Bytes &bytes = received->bytes;
                EXPECT_LE(bytes.size(), kEther + kMtu);
                if (!v6) {
                    EXPECT_EQ(header_sum(bytes), 0xffffU);
                    EXPECT_EQ(word(bytes, kEther + 4), 0x1234U);
                }
                const Fragment fragment = parse(bytes);
                EXPECT_TRUE(std::equal(fragment.ether.begin(), fragment.ether.begin() + 12, ether_out.begin()));
                ASSERT_EQ(fragment.offset, together.size());
                together.insert(together.end(), fragment.payload.begin(), fragment.payload.end());
                last = fragment.last;
            }
            EXPECT_EQ(together, Bytes(frame.begin() + static_cast<ptrdiff_t>(kEther + header), frame.end()));
        }
    EXPECT_FALSE(out.receive(milliseconds(0))) << "nothing comes twice";
    program.process().kill(SIGTERM);
    EXPECT_EQ(program.process().wait(), 128 + SIGTERM) << "it knows no other end";
}

} // namespace
} // namespace tapflow::test
