// SPDX-License-Identifier: BSD-3-Clause
// What becomes of checksums, and of super-frames, when headers are rewritten.
#include "unit/rewrite_rig.h"

#include "packet/segment.h"

namespace tapflow::flow {
namespace {

using namespace test;

TEST(RewriteChecksum, AWrongOneStaysAsWrong) {
    for (const Stack &stack : stacks_with_ports()) {
        const Received before = received(stack.build({}).wrong_checksum().payload(50).bytes());
        ASSERT_NE(transport_sum(before), 0xffff);
        const auto after = rewritten(before, all_header_changes());
        ASSERT_TRUE(after);
        EXPECT_NE(after->frame, before.frame);
        EXPECT_EQ(transport_sum(*after), transport_sum(before)) << stack.name;
    }
    const auto header_sum = [](const Received &packet) {
        return packet::ones_complement_sum(std::span(packet.frame).subspan(14, 20));
    };
    const Received before = received(Packet().ether().ipv4("10.0.0.1", "10.0.0.2").wrong_checksum().tcp(1, 2).bytes());
    ASSERT_NE(header_sum(before), 0xffff);
    const auto after = rewritten(before, all_header_changes());
    ASSERT_TRUE(after);
    EXPECT_EQ(header_sum(*after), header_sum(before));
}

TEST(RewriteChecksum, OfUdpThatIsNotUsedStaysUnused) {
    for (const bool ipv6 : {false, true}) {
        const auto build = [=](const Headers &h) {
            return (ipv6 ? h.ether().ipv6(h.ipv6()) : h.ether().ipv4(h.ipv4()))
                .udp(h.src_port, h.dst_port)
                .checksum(0)
                .payload(20)
                .bytes();
        };
        const auto after = rewritten(received(build({})), all_header_changes());
        ASSERT_TRUE(after);
        EXPECT_EQ(after->frame, build(changed_headers()));
    }
}

TEST(RewriteChecksum, OfUdpThatComesOutAsZeroIsAllOnes) {
    const auto build = [](uint16_t port) { return Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, port); };
    const Bytes before = build(1000).bytes();
    const unsigned checksum = before[40] * 256U + before[41];
    const unsigned sum = 1000 + checksum; // a port that adds what is missing from the sum
    const auto port = static_cast<uint16_t>((sum & 0xffff) + (sum >> 16));
    const Bytes after = rewritten(received(before), {change(Kind::SetTpDst, port)}).frame;
    EXPECT_EQ(after[40] * 256U + after[41], 0xffffU);
    EXPECT_EQ(after, build(port).bytes());
    EXPECT_EQ(rewritten(received(after), {change(Kind::SetTpDst, 1000)}).frame, before);
}

TEST(RewriteChecksum, APartialOneIsThePseudoHeadersSumAfterwards) {
    const Bytes payload = payload_of(333);
    for (const Stack &stack : stacks_with_ports()) {
        auto after = rewritten(partial(stack.build({}), payload), all_header_changes());
        ASSERT_TRUE(after);
        EXPECT_EQ(after->frame, stack.build(changed_headers()).partial_checksum().raw(payload).bytes()) << stack.name;

        // Completed, as whoever receives it would.
        const auto rest = std::span(after->frame).subspan(after->record.csum_start);
        const uint16_t value = packet::internet_checksum(rest);
        rest[after->record.csum_offset] = static_cast<uint8_t>(value >> 8);
        rest[after->record.csum_offset + 1U] = static_cast<uint8_t>(value);
        EXPECT_EQ(after->frame, stack.build(changed_headers()).raw(payload).bytes()) << stack.name;
    }
}

TEST(RewriteChecksum, APartialOneOfAnInnerHeaderLeavesTheOuterOneWhole) {
    const auto build = [](const Headers &h) {
        return h.ether().ipv4(h.ipv4()).udp(h.src_port, 4789).vxlan(7).ether().ipv4("10.8.0.1", "10.8.0.2").tcp(1, 2);
    };
    Headers headers;
    const Received before = partial(build(headers), payload_of(100));
    headers.src4 = "10.1.1.1";
    headers.src_port = 999;
    EXPECT_EQ(rewritten(before, {change(Kind::SetIpv4Src, headers.src4.bytes), change(Kind::SetTpSrc, 999)}).frame,
              build(headers).partial_checksum().raw(payload_of(100)).bytes());
}

// ---- super-frames

std::vector<Bytes> cut(const Received &packet, packet::ChecksumField field) {
    const auto super = packet::SuperFrame::parse(packet.record, packet.frame.data());
    std::vector<Bytes> segments;
    for (unsigned i = 0; super && i < super->segments(); i++) {
        Bytes segment(super->header_length());
        super->write_header(i, field, segment.data());
        const auto payload = super->payload(i);
        segment.insert(segment.end(), payload.begin(), payload.end());
        segments.push_back(std::move(segment));
    }
    return segments;
}

TEST(RewriteSuperFrame, IsCutIntoSegmentsWithTheNewHeaders) {
    constexpr uint16_t kSize = 1000;
    const auto as_super_frame = [](Received packet) {
        packet.record.flags |= TAPFLOW_RECORD_GSO;
        packet.record.gso_size = kSize;
        const uint8_t packet_class = packet.record.packet_class;
        packet.record.gso_type = packet_class == TAPFLOW_CLASS_IPV4_TCP || packet_class == TAPFLOW_CLASS_IPV6_TCP
                                     ? TAPFLOW_GSO_TCP
                                     : TAPFLOW_GSO_UDP;
        return packet;
    };
    const Bytes payload = payload_of(3 * kSize + 77);
    for (const Stack &stack : stacks_with_ports()) {
        const auto after = rewritten(as_super_frame(partial(stack.build({}), payload)), all_header_changes());
        ASSERT_TRUE(after);
        const Received expected = as_super_frame(partial(stack.build(changed_headers()), payload));
        for (const auto field : {packet::ChecksumField::Complete, packet::ChecksumField::PseudoHeader}) {
            const auto segments = cut(*after, field);
            ASSERT_EQ(segments.size(), 4U) << stack.name;
            EXPECT_EQ(segments, cut(expected, field)) << stack.name;
        }
    }
}

TEST(RewriteSuperFrame, LosesOrGetsATag) {
    const auto tcp = [](Packet packet) { return packet.ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2); };
    const Bytes payload = payload_of(2500);
    const auto super_frame = [&](const Packet &packet) {
        Received result = partial(tcp(packet), payload);
        result.record.flags |= TAPFLOW_RECORD_GSO;
        result.record.gso_size = 1000;
        result.record.gso_type = TAPFLOW_GSO_TCP;
        return result;
    };
    const Received plain = super_frame(Packet().ether());
    const Received with_tag = super_frame(Packet().ether().vlan(5));
    const auto field = packet::ChecksumField::Complete;
    ASSERT_EQ(cut(plain, field).size(), 3U);
    EXPECT_EQ(cut(rewritten(with_tag, {change(Kind::PopVlan)}), field), cut(plain, field));
    EXPECT_EQ(cut(rewritten(plain, {change(Kind::PushVlan, 0x8100), change(Kind::SetVlanVid, 5),
                                    change(Kind::PushVlan, 0x88a8)}),
                  field),
              cut(with_tag, field));
}

} // namespace
} // namespace tapflow::flow
