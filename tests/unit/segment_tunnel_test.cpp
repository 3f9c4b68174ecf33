// SPDX-License-Identifier: BSD-3-Clause
// Super-frames inside tunnels, and records that make no sense.
#include "packet/build.h"
#include "packet/random_packets.h"
#include "packet/segment.h"
#include "support/expected_record.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>

namespace tapflow::packet {
namespace {

struct Tunnel {
    const char *name;
    bool checksum;                               ///< of the outer UDP header
    size_t inner_l3;                             ///< offset of the inner IP header
    std::function<Packet(unsigned index)> outer; ///< headers around it in segment `index`
};

Packet outer4(unsigned index) {
    return Packet().ether().ipv4({.src = "192.0.2.1", .dst = "192.0.2.2", .id = static_cast<uint16_t>(900 + index)});
}

std::vector<Tunnel> tunnels() {
    const auto outer6 = [] { return Packet().ether().ipv6("2001:db8::1", "2001:db8::2"); };
    return {
        {"VXLAN over IPv4 without checksum", false, 14 + 20 + 8 + 8 + 14,
         [](unsigned i) { return outer4(i).udp(5000, 4789).checksum(0).vxlan(7).ether(); }},
        {"VXLAN over IPv4", true, 14 + 20 + 8 + 8 + 14,
         [](unsigned i) { return outer4(i).udp(5000, 4789).vxlan(7).ether(); }},
        {"VXLAN over IPv6", true, 14 + 40 + 8 + 8 + 14,
         [=](unsigned) { return outer6().udp(5000, 4789).vxlan(7).ether(); }},
        {"GRE over IPv4", false, 14 + 20 + 4, [](unsigned i) { return outer4(i).gre(); }},
        {"IP in IPv4", false, 14 + 20, [](unsigned i) { return outer4(i); }},
        {"IP in IPv6", false, 14 + 40, [=](unsigned) { return outer6(); }},
    };
}

TEST(TunnelSuperFrame, IsCutIntoWhatTheSenderWouldHaveSent) {
    constexpr uint16_t kSize = 1000;
    Bytes payload(3 * kSize + 333);
    for (size_t i = 0; i < payload.size(); i++)
        payload[i] = static_cast<uint8_t>(i * 3);
    for (const Tunnel &tunnel : tunnels())
        for (const bool tcp : {true, false}) {
            const auto headers = [&](unsigned i) {
                Packet packet = tunnel.outer(i);
                if (tcp)
                    packet.ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = static_cast<uint16_t>(70 + i)})
                        .tcp({.src_port = 1, .dst_port = 2, .seq = 5 + kSize * i});
                else
                    packet.ipv6("fe80::1", "fe80::2").udp(1, 2);
                return packet;
            };
            const Bytes frame = headers(0).partial_checksum().raw(payload).bytes();
            const tapflow_packet outer = test::parse(frame);
            tapflow_record record{};
            record.length = static_cast<uint32_t>(frame.size());
            record.flags = static_cast<uint16_t>(TAPFLOW_RECORD_GSO | TAPFLOW_RECORD_CSUM_PARTIAL |
                                                 (tunnel.checksum ? TAPFLOW_RECORD_TUNNEL_CSUM : 0));
            record.gso_size = kSize;
            record.gso_type = tcp ? TAPFLOW_GSO_TCP : TAPFLOW_GSO_UDP;
            record.csum_start = static_cast<uint16_t>(headers(0).transport_offset());
            record.packet_class = outer.packet_class;
            record.l3_offset = outer.l3_offset;
            record.l4_offset = outer.l4_offset;
            record.inner_l3_offset = static_cast<uint16_t>(tunnel.inner_l3);

            const auto super = SuperFrame::parse(record, frame.data());
            ASSERT_TRUE(super) << tunnel.name;
            ASSERT_EQ(super->segments(), 4U);
            for (unsigned i = 0; i < 4; i++) {
                const auto part = super->payload(i);
                Bytes segment(super->header_length());
                super->write_header(i, ChecksumField::Complete, segment.data());
                segment.insert(segment.end(), part.begin(), part.end());
                EXPECT_EQ(segment, headers(i).raw(Bytes(part.begin(), part.end())).bytes())
                    << tunnel.name << (tcp ? ", tcp" : ", udp") << ", segment " << i;
            }
        }
}

// Whatever a record says, reading stays inside the frame and writing inside header_length() bytes (under the address
// sanitizer: both are heap blocks of exactly their size).
TEST(SuperFrame, RecordsOfRandomOffsetsStayInsideTheirMemory) {
    auto random = test::seeded_random();
    packet::RandomPackets packets(random);
    size_t cut = 0;
    for (unsigned i = 0; i < 100'000; i++) {
        const Bytes frame = packets.next(15, 400);
        const std::unique_ptr<uint8_t[]> exact(new uint8_t[frame.size()]);
        std::copy(frame.begin(), frame.end(), exact.get());
        const tapflow_packet parsed = test::parse(frame);
        const auto any_offset = [&] { return static_cast<uint16_t>(random() % (frame.size() + 20)); };
        tapflow_record record{};
        record.length = static_cast<uint32_t>(frame.size());
        record.gso_size = static_cast<uint16_t>(random() % 50);
        record.packet_class = parsed.packet_class;
        record.l3_offset = random() % 4 != 0 ? parsed.l3_offset : any_offset();
        record.l4_offset = random() % 4 != 0 ? parsed.l4_offset : any_offset();
        record.gso_type = random() % 2 != 0 ? TAPFLOW_GSO_TCP : TAPFLOW_GSO_UDP;
        const auto super = SuperFrame::parse(record, exact.get());
        if (!super)
            continue;
        for (unsigned segment = 0; segment < super->segments(); segment++) {
            const std::unique_ptr<uint8_t[]> header(new uint8_t[super->header_length()]);
            super->write_header(segment, ChecksumField::Complete, header.get());
        }
        cut++;
    }
    EXPECT_GT(cut, 1000U);
}

} // namespace
} // namespace tapflow::packet
