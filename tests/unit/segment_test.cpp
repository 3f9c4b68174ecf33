// SPDX-License-Identifier: BSD-3-Clause
#include "packet/segment.h"

#include "packet/build.h"
#include "support/expected_record.h"

#include <gtest/gtest.h>

#include <functional>

namespace tapflow::packet {
namespace {

unsigned be16(const Bytes &frame, size_t at) { return static_cast<unsigned>(frame.at(at)) << 8U | frame.at(at + 1); }
uint32_t be32(const Bytes &frame, size_t at) { return be16(frame, at) << 16U | be16(frame, at + 2); }

/// The record that the classifier makes of a super-frame.
tapflow_record record_of(const Bytes &frame, uint16_t segment_size) {
    const tapflow_packet parsed = test::parse(frame);
    tapflow_record record{};
    record.length = static_cast<uint32_t>(frame.size());
    record.flags = TAPFLOW_RECORD_GSO | TAPFLOW_RECORD_CSUM_PARTIAL;
    record.gso_size = segment_size;
    record.l3_offset = parsed.l3_offset;
    record.l4_offset = parsed.l4_offset;
    record.packet_class = parsed.packet_class;
    record.gso_type = parsed.packet_class == TAPFLOW_CLASS_IPV4_TCP || parsed.packet_class == TAPFLOW_CLASS_IPV6_TCP
                          ? TAPFLOW_GSO_TCP
                          : TAPFLOW_GSO_UDP;
    return record;
}

std::vector<Bytes> cut(const Bytes &frame, uint16_t segment_size, ChecksumField field = ChecksumField::Complete) {
    const auto super = SuperFrame::parse(record_of(frame, segment_size), frame.data());
    if (!super)
        return {};
    std::vector<Bytes> segments;
    for (unsigned i = 0; i < super->segments(); i++) {
        Bytes segment(super->header_length());
        super->write_header(i, field, segment.data());
        const auto payload = super->payload(i);
        segment.insert(segment.end(), payload.begin(), payload.end());
        segments.push_back(std::move(segment));
    }
    return segments;
}

Packet tcp4(const Tcp &header = {.src_port = 1000, .dst_port = 80, .seq = 5000}) {
    return Packet().ether().ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = 0x4000}).tcp(header);
}

/// What each segment must be: built on its own by the packet builder, which has checksums of its own.
using BuildSegment = std::function<Packet(unsigned index, unsigned last)>;

void expect_segments(const std::vector<Bytes> &segments, const Bytes &payload, size_t size, const BuildSegment &build) {
    const auto count = static_cast<unsigned>((payload.size() + size - 1) / size);
    ASSERT_EQ(segments.size(), count);
    for (unsigned i = 0; i < count; i++) {
        const auto begin = payload.begin() + static_cast<ptrdiff_t>(i * size);
        const auto end = payload.begin() + static_cast<ptrdiff_t>(std::min(payload.size(), (i + 1) * size));
        EXPECT_EQ(segments[i], build(i, count - 1).raw(Bytes(begin, end)).bytes()) << "segment " << i;
    }
}

Bytes payload_of(size_t size) {
    Bytes data(size);
    for (size_t i = 0; i < size; i++)
        data[i] = static_cast<uint8_t>(i * 7 + (i >> 8));
    return data;
}

TEST(SuperFrame, TcpOverIpv4IsCutIntoWhatTheSenderWouldHaveSent) {
    const Bytes payload = payload_of(3 * 1448 + 100);
    const auto build = [](unsigned i, unsigned last) {
        using namespace tcp_flag;
        const uint8_t flags = static_cast<uint8_t>(kAck | (i == last ? kFin | kPsh : 0) | (i == 0 ? kCwr : 0));
        return Packet()
            .ether()
            .ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = static_cast<uint16_t>(0x4000 + i)})
            .tcp({.src_port = 1000, .dst_port = 80, .seq = 5000 + 1448 * i, .ack = 9, .flags = flags});
    };
    using namespace tcp_flag;
    const Bytes frame =
        tcp4({.src_port = 1000, .dst_port = 80, .seq = 5000, .ack = 9, .flags = kAck | kFin | kPsh | kCwr})
            .partial_checksum()
            .raw(payload)
            .bytes();
    expect_segments(cut(frame, 1448), payload, 1448, build);
}

TEST(SuperFrame, OtherFlagsAreOnEverySegment) {
    using namespace tcp_flag;
    const uint8_t kept = kAck | kUrg | kEce;
    const auto segments = cut(tcp4({.flags = kept}).payload(30).bytes(), 10);
    ASSERT_EQ(segments.size(), 3U);
    for (const Bytes &segment : segments)
        EXPECT_EQ(segment.at(34 + 13), kept);
}

TEST(SuperFrame, TcpOptionsAndIpOptionsAreCopiedToEachSegment) {
    const Bytes payload = payload_of(2500);
    const Bytes timestamps{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
    const auto header = [&](unsigned i) {
        return Packet()
            .ether()
            .ipv4({.src = "10.0.0.1",
                   .dst = "10.0.0.2",
                   .id = static_cast<uint16_t>(7 + i),
                   .dont_fragment = true,
                   .options = {7, 7, 4, 1, 2, 3, 4}})
            .tcp({.src_port = 1, .dst_port = 2, .seq = 1000 * i, .options = timestamps});
    };
    expect_segments(cut(header(0).raw(payload).bytes(), 1000), payload, 1000,
                    [&](unsigned i, unsigned) { return header(i); });
}

TEST(SuperFrame, TcpOverIpv6WithAnExtensionHeader) {
    const Bytes payload = payload_of(5000);
    const auto header = [](unsigned i) {
        return Packet().ether().ipv6("2001:db8::1", "2001:db8::2").hop_by_hop().tcp({.seq = 1400 * i});
    };
    expect_segments(cut(header(0).raw(payload).bytes(), 1400), payload, 1400,
                    [&](unsigned i, unsigned) { return header(i); });
}

TEST(SuperFrame, UdpOverIpv4AndIpv6GetsALengthPerDatagram) {
    const Bytes payload = payload_of(1000 * 4 + 1);
    const auto v4 = [](unsigned i) {
        return Packet()
            .ether()
            .ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = static_cast<uint16_t>(i)})
            .udp(53, 4000);
    };
    expect_segments(cut(v4(0).raw(payload).bytes(), 1000), payload, 1000, [&](unsigned i, unsigned) { return v4(i); });
    const auto v6 = Packet().ether().ipv6("fe80::1", "fe80::2").udp(53, 4000);
    expect_segments(cut(Packet(v6).raw(payload).bytes(), 1000), payload, 1000, [&](unsigned, unsigned) { return v6; });
}

TEST(SuperFrame, VlanTagsInTheFrameStay) {
    const Bytes payload = payload_of(300);
    const auto header = [](unsigned i) {
        return Packet()
            .ether()
            .vlan({.vid = 7, .pcp = 3, .tpid = 0x88a8})
            .vlan(5)
            .ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = static_cast<uint16_t>(i)})
            .tcp({.seq = 100 * i});
    };
    expect_segments(cut(header(0).raw(payload).bytes(), 100), payload, 100,
                    [&](unsigned i, unsigned) { return header(i); });
}

TEST(SuperFrame, SequenceNumberAndIpIdWrap) {
    const Bytes frame = Packet()
                            .ether()
                            .ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = 0xffff})
                            .tcp({.seq = 0xffffff00})
                            .payload(0x300)
                            .bytes();
    const auto segments = cut(frame, 0x100);
    ASSERT_EQ(segments.size(), 3U);
    EXPECT_EQ(be16(segments[1], 18), 0U);
    EXPECT_EQ(be16(segments[2], 18), 1U);
    EXPECT_EQ(be32(segments[0], 38), 0xffffff00U);
    EXPECT_EQ(be32(segments[1], 38), 0U);
    EXPECT_EQ(be32(segments[2], 38), 0x100U);
}

TEST(SuperFrame, AFullSizedSuperFrameIsCutWithoutLoss) {
    const Bytes payload = payload_of(65535 - 40);
    const auto segments = cut(tcp4().raw(payload).bytes(), 1460);
    ASSERT_EQ(segments.size(), 45U);
    Bytes joined;
    for (const Bytes &segment : segments)
        joined.insert(joined.end(), segment.begin() + 54, segment.end());
    EXPECT_EQ(joined, payload);
}

TEST(SuperFrame, APayloadOfOneSegmentIsOneSegment) {
    EXPECT_EQ(cut(tcp4().payload(100).bytes(), 100), std::vector<Bytes>(1, tcp4().payload(100).bytes()));
    EXPECT_EQ(cut(tcp4().payload(99).bytes(), 100), std::vector<Bytes>(1, tcp4().payload(99).bytes()));
}

TEST(SuperFrame, PseudoHeaderModeLeavesThePartialSum) {
    const Bytes payload = payload_of(250);
    const auto segments = cut(tcp4().partial_checksum().raw(payload).bytes(), 100, ChecksumField::PseudoHeader);
    expect_segments(segments, payload, 100, [](unsigned i, unsigned) {
        return Packet()
            .ether()
            .ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = static_cast<uint16_t>(0x4000 + i)})
            .tcp({.src_port = 1000, .dst_port = 80, .seq = 5000 + 100 * i})
            .partial_checksum();
    });
}

TEST(SuperFrame, AUdpChecksumOfZeroIsSentAsAllOnes) {
    // Chosen so that the second datagram's checksum comes out as zero: what is missing from it without the filler.
    const auto header = Packet().ether().ipv6("fe80::1", "fe80::2").udp(1, 2);
    const unsigned missing = be16(Packet(header).raw({0, 0}).bytes(), 14 + 40 + 6);
    const Bytes payload{1, 2, static_cast<uint8_t>(missing >> 8U), static_cast<uint8_t>(missing)};
    const auto segments = cut(Packet(header).raw(payload).bytes(), 2);
    ASSERT_EQ(segments.size(), 2U);
    EXPECT_EQ(be16(segments[1], 14 + 40 + 6), 0xffffU);
}

TEST(SuperFrame, RecordsThatContradictTheFrameAreRefused) {
    const Bytes frame = tcp4().payload(3000).bytes();
    const tapflow_record good = record_of(frame, 1000);
    ASSERT_TRUE(SuperFrame::parse(good, frame.data()));
    const auto refused = [&](const std::function<void(tapflow_record &)> &spoil) {
        tapflow_record record = good;
        spoil(record);
        return !SuperFrame::parse(record, frame.data());
    };
    EXPECT_TRUE(refused([](tapflow_record &r) { r.gso_size = 0; }));
    EXPECT_TRUE(refused([](tapflow_record &r) { r.l3_offset = 0; }));      // not IP
    EXPECT_TRUE(refused([](tapflow_record &r) { r.l4_offset = 0; }));      // a fragment
    EXPECT_TRUE(refused([](tapflow_record &r) { r.l4_offset = 14 + 8; })); // inside the IP header
    EXPECT_TRUE(refused([](tapflow_record &r) { r.length = 34 + 19; }));   // TCP's fixed header is cut off
    EXPECT_TRUE(refused([](tapflow_record &r) { r.length = 34 + 20; }));   // no payload
    EXPECT_TRUE(refused([](tapflow_record &r) { r.l4_offset = 65535; }));  // behind the frame

    Bytes short_header = frame;
    short_header[34 + 12] = 0x40; // data offset of 16 bytes
    EXPECT_FALSE(SuperFrame::parse(good, short_header.data()));
    Bytes long_header = tcp4().payload(10).bytes();
    long_header[34 + 12] = 0xf0; // options that go on behind the frame's end
    EXPECT_FALSE(SuperFrame::parse(record_of(long_header, 5), long_header.data()));
}

} // namespace
} // namespace tapflow::packet
