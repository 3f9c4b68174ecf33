// SPDX-License-Identifier: BSD-3-Clause
#include "packet/random_packets.h"
#include "support/seed.h"
#include "unit/rewrite_rig.h"

#include <cstring>

namespace tapflow::flow {
namespace {

using namespace test;

TEST(Rewrite, EachChangeGivesThePacketThatIsBuiltWithIt) {
    for (const Stack &stack : all_stacks())
        for (const Case &each : header_changes()) {
            Headers headers;
            const Bytes before = stack.build(headers).payload(33).bytes();
            each.apply(headers);
            EXPECT_EQ(rewritten(received(before), {each.change}).frame, stack.build(headers).payload(33).bytes())
                << each.name << " of " << stack.name;
        }
}

TEST(Rewrite, ChangesAreMadeOneAfterAnother) {
    for (const Stack &stack : all_stacks()) {
        const auto out = rewritten(received(stack.build({}).payload(100).bytes()), all_header_changes());
        ASSERT_TRUE(out);
        EXPECT_EQ(out->frame, stack.build(changed_headers()).payload(100).bytes()) << stack.name;
    }
}

TEST(Rewrite, TheRecordStaysButForWhatHasBeenDone) {
    Received in = received(Headers().ether().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2).bytes());
    in.record.flags |= TAPFLOW_RECORD_MARK | TAPFLOW_RECORD_CSUM_VERIFIED;
    in.record.mark = 99;
    const tapflow_record out = rewritten(in, {change(Kind::SetTpSrc, 9), change(Kind::DecTtl)}).record;
    tapflow_record expected = in.record;
    expected.flags = TAPFLOW_RECORD_HASH | TAPFLOW_RECORD_MARK | TAPFLOW_RECORD_CSUM_VERIFIED;
    expected.rewrite = 0;
    EXPECT_EQ(std::memcmp(&out, &expected, sizeof(out)), 0);
}

TEST(Rewrite, ATtlOf0IsNotCountedDown) {
    Headers headers;
    headers.ttl = 1;
    const auto dec = change(Kind::DecTtl);
    for (const Stack &stack : stacks_with_ports()) {
        headers.ttl = 1;
        const Bytes before = stack.build(headers).bytes();
        headers.ttl = 0;
        EXPECT_EQ(rewritten(received(before), {dec, dec, dec}).frame, stack.build(headers).bytes()) << stack.name;
    }
}

TEST(Rewrite, OfATunnelTheOuterHeadersAreChanged) {
    const std::vector<Stack> tunnels{
        {"VXLAN over IPv6",
         [](const Headers &h) {
             return h.ether().ipv6(h.ipv6()).udp(h.src_port, h.dst_port).vxlan(7).ether().ipv4({}).tcp(1, 2);
         }},
        {"IPv6 in IPv4", [](const Headers &h) { return h.ether().ipv4(h.ipv4()).ipv6({}).udp(1, 2); }},
        {"IPv4 in GRE", [](const Headers &h) { return h.ether().ipv6(h.ipv6()).gre().ipv4({}).tcp(1, 2); }},
    };
    for (const Stack &tunnel : tunnels) {
        Headers headers;
        headers.dst_port = 4789;
        const Bytes before = tunnel.build(headers).payload(100).bytes();
        const auto after = rewritten(received(before), all_header_changes());
        ASSERT_TRUE(after);
        EXPECT_EQ(after->frame, tunnel.build(changed_headers()).payload(100).bytes()) << tunnel.name;
    }
}

// ---- tags

Packet untagged() { return Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(20); }
Packet tagged(const packet::Vlan &tag) {
    return Packet().ether().vlan(tag).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(20);
}

/// The offsets must be those that the parser finds in the new frame.
void expect_offsets(const Received &out) {
    const tapflow_record &record = out.record;
    const tapflow_packet parsed =
        test::parse(out.frame, record.flags & TAPFLOW_RECORD_VLAN ? record.vlan_proto : uint16_t{0});
    EXPECT_EQ(record.packet_class, parsed.packet_class);
    EXPECT_EQ(record.l3_offset, parsed.l3_offset);
    EXPECT_EQ(record.l4_offset, parsed.l4_offset);
}

TEST(RewriteTag, APushedTagGoesBesideTheFrame) {
    const Received out = rewritten(received(untagged().bytes()), {change(Kind::PushVlan, 0x88a8)});
    EXPECT_EQ(out.frame, untagged().bytes());
    EXPECT_TRUE(out.record.flags & TAPFLOW_RECORD_VLAN);
    EXPECT_EQ(out.record.vlan_proto, kSTag);
    EXPECT_EQ(out.record.vlan_tci, 0);
    expect_offsets(out);
}

TEST(RewriteTag, ATagBesideTheFrameGoesIntoItBeforeAnotherIsPushed) {
    const Received out = rewritten(received(untagged().bytes(), kCTag, 0x7005), {change(Kind::PushVlan, 0x88a8)});
    EXPECT_EQ(out.frame, tagged({.vid = 5, .pcp = 3, .dei = true}).bytes());
    EXPECT_TRUE(out.record.flags & TAPFLOW_RECORD_VLAN);
    EXPECT_EQ(out.record.vlan_proto, kSTag);
    EXPECT_EQ(out.record.vlan_tci, 0x6005); // VID and PCP of the one behind
    expect_offsets(out);
}

TEST(RewriteTag, APushedTagHasVidAndPcpOfTheOneInTheFrame) {
    const Bytes frame = tagged({.vid = 77, .pcp = 5}).bytes();
    const Received out = rewritten(received(frame), {change(Kind::PushVlan, 0x88a8)});
    EXPECT_EQ(out.frame, frame);
    EXPECT_EQ(out.record.vlan_tci, 5 << 13 | 77);
    expect_offsets(out);
}

TEST(RewriteTag, TwoTagsArePushedOntoATaggedFrame) {
    const Received out = rewritten(received(untagged().bytes(), kCTag, 9),
                                   {change(Kind::PushVlan, 0x8100), change(Kind::SetVlanVid, 10),
                                    change(Kind::PushVlan, 0x88a8), change(Kind::SetVlanVid, 11)});
    EXPECT_EQ(out.frame, Packet().ether().vlan(10).vlan(9).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(20).bytes());
    EXPECT_EQ(out.record.vlan_proto, kSTag);
    EXPECT_EQ(out.record.vlan_tci, 11);
    EXPECT_EQ(out.record.l3_offset, 14 + 8);
    EXPECT_EQ(out.record.l4_offset, 14 + 8 + 20);
}

TEST(RewriteTag, MoreTagsThanThatAreRefused) {
    const std::vector<Rewrite> three(3, change(Kind::PushVlan, 0x8100));
    EXPECT_FALSE(rewritten(received(untagged().bytes()), three));
    EXPECT_TRUE(rewritten(received(untagged().bytes()), std::span(three).first(2)));
}

TEST(RewriteTag, TheOutermostTagIsPopped) {
    const auto pop = change(Kind::PopVlan);
    const Received beside = rewritten(received(untagged().bytes(), kSTag, 9), {pop});
    EXPECT_EQ(beside.frame, untagged().bytes());
    EXPECT_FALSE(beside.record.flags & TAPFLOW_RECORD_VLAN);
    EXPECT_EQ(beside.record.vlan_proto, 0);
    EXPECT_EQ(beside.record.vlan_tci, 0);

    for (const uint16_t tpid : {uint16_t{0x8100}, uint16_t{0x88a8}}) {
        const Received inside = rewritten(received(tagged({.vid = 5, .tpid = tpid}).bytes()), {pop});
        EXPECT_EQ(inside.frame, untagged().bytes());
        expect_offsets(inside);
    }

    const Received both = received(tagged({.vid = 5}).bytes(), kSTag, 9);
    EXPECT_EQ(rewritten(both, {pop}).frame, both.frame);
    const Received none = rewritten(both, {pop, pop, pop});
    EXPECT_EQ(none.frame, untagged().bytes());
    expect_offsets(none);
}

TEST(RewriteTag, NothingIsPoppedFromAFrameWithoutTag) {
    const auto pop = change(Kind::PopVlan);
    EXPECT_EQ(rewritten(received(untagged().bytes()), {pop}).frame, untagged().bytes());
    const Bytes cut = tagged({.vid = 5}).truncate(17).bytes(); // half of the type behind the tag
    EXPECT_EQ(rewritten(received(cut), {pop}).frame, cut);
}

TEST(RewriteTag, VidAndPcpAreThoseOfTheOutermostTag) {
    const auto vid = change(Kind::SetVlanVid, 0xabc);
    const auto pcp = change(Kind::SetVlanPcp, 6);
    const Received beside = rewritten(received(tagged({.vid = 5}).bytes(), kSTag, 0x7fff), {vid, pcp});
    EXPECT_EQ(beside.frame, tagged({.vid = 5}).bytes());
    EXPECT_EQ(beside.record.vlan_tci, 0xdabc); // DEI stays

    EXPECT_EQ(rewritten(received(tagged({.vid = 5, .pcp = 1, .dei = true}).bytes()), {vid, pcp}).frame,
              tagged({.vid = 0xabc, .pcp = 6, .dei = true}).bytes());

    const Received none = rewritten(received(untagged().bytes()), {vid, pcp});
    EXPECT_EQ(none.frame, untagged().bytes());
    EXPECT_FALSE(none.record.flags & TAPFLOW_RECORD_VLAN);
}

TEST(RewriteTag, AllOffsetsMoveWithTheHeaders) {
    Received in = received(tagged({.vid = 5}).bytes(), kSTag, 1);
    in.record.csum_start = 100;
    in.record.inner_l3_offset = 80;
    const tapflow_record pushed = rewritten(in, {change(Kind::PushVlan, 0x8100)}).record;
    EXPECT_EQ(pushed.length, in.record.length + 4);
    EXPECT_EQ(pushed.l3_offset, in.record.l3_offset + 4);
    EXPECT_EQ(pushed.l4_offset, in.record.l4_offset + 4);
    EXPECT_EQ(pushed.csum_start, 104);
    EXPECT_EQ(pushed.inner_l3_offset, 84);

    in.record.csum_start = 65532;
    EXPECT_FALSE(rewritten(in, std::vector{change(Kind::PushVlan, 0x8100)}));
}

TEST(RewriteTag, ChangesBehindATagThatHasComeOrGoneFindTheirPlace) {
    const auto v4 = change(Kind::SetIpv4Dst, Ipv4Address("10.9.9.9").bytes);
    const auto port = change(Kind::SetTpDst, 99);
    const auto mac = change(Kind::SetMacDst, Mac("02:00:00:00:00:99").bytes);
    const auto expected = [] { return Packet().ether("02:00:00:00:00:99", "02:00:00:00:00:01"); };
    EXPECT_EQ(rewritten(received(tagged({.vid = 5}).bytes()), {change(Kind::PopVlan), v4, port, mac}).frame,
              expected().ipv4("10.0.0.1", "10.9.9.9").udp(1, 99).payload(20).bytes());
    EXPECT_EQ(rewritten(received(untagged().bytes(), kCTag, 5), {change(Kind::PushVlan, 0x88a8), v4, port, mac}).frame,
              expected().vlan(5).ipv4("10.0.0.1", "10.9.9.9").udp(1, 99).payload(20).bytes());
}

// ---- whatever comes

TEST(Rewrite, BuffersAndFramesThatAreTooSmallAreRefused) {
    const Received in = received(untagged().bytes());
    for (const size_t size : {size_t{0}, kRewriteGrowthMax, in.frame.size(), in.frame.size() + kRewriteGrowthMax - 1}) {
        Bytes buffer(size);
        EXPECT_FALSE(rewrite({}, in.record, in.frame.data(), buffer));
    }
    for (size_t size = 0; size < 14; size++)
        EXPECT_FALSE(rewritten(received(untagged().truncate(size).bytes()), std::span<const Rewrite>()));
    EXPECT_TRUE(rewritten(received(untagged().truncate(14).bytes()), std::span<const Rewrite>()));
}

std::vector<Rewrite> random_changes(packet::RandomPackets &packets) {
    std::vector<Rewrite> changes(packets.below(8));
    size_t pushes = 0;
    for (Rewrite &each : changes) {
        each.kind = static_cast<Kind>(packets.below(static_cast<size_t>(Kind::DecTtl) + 1));
        if (each.kind == Kind::PushVlan && ++pushes > kRewritePushesMax)
            each.kind = Kind::PopVlan;
        each.value = packets.chance(50) ? uint16_t{0x8100} : static_cast<uint16_t>(packets.random()());
        for (uint8_t &byte : each.bytes)
            byte = packets.chance(20) ? uint8_t{0} : static_cast<uint8_t>(packets.random()());
    }
    return changes;
}

/// The frame in memory of just its size, so that a sanitizer sees what is read behind it.
Received exactly(const Received &in) { return {in.record, Bytes(in.frame.begin(), in.frame.end())}; }

TEST(Rewrite, OfAnyFrameFindsTheHeadersThatTheParserFinds) {
    packet::RandomPackets packets(test::seeded_random());
    constexpr std::array kTagChanges{Kind::PopVlan, Kind::PushVlan};
    for (int i = 0; i < 20000; i++) {
        const bool beside = packets.chance(30);
        const Received in =
            exactly(received(packets.next(14, 300), beside ? (packets.chance(50) ? kCTag : kSTag) : uint16_t{0}, 5));
        auto changes = random_changes(packets);
        std::erase_if(changes, [&](const Rewrite &each) {
            return std::find(kTagChanges.begin(), kTagChanges.end(), each.kind) != kTagChanges.end();
        });
        const auto out = rewritten(in, changes);
        ASSERT_TRUE(out);
        expect_offsets(*out);
        ASSERT_EQ(out->frame.size(), in.frame.size());
        const bool ipv4 =
            in.record.packet_class >= TAPFLOW_CLASS_IPV4_OTHER && in.record.packet_class < TAPFLOW_CLASS_IPV6_OTHER;
        if (ipv4) {
            const auto sum = [](const Received &packet) {
                return packet::ones_complement_sum(std::span(packet.frame).subspan(packet.record.l3_offset, 20)) %
                       0xffff;
            };
            ASSERT_EQ(sum(*out), sum(in));
        }
        const bool transport =
            in.record.packet_class == TAPFLOW_CLASS_IPV4_TCP || in.record.packet_class == TAPFLOW_CLASS_IPV6_TCP;
        if (transport && in.frame.size() >= in.record.l4_offset + 18U) {
            ASSERT_EQ(transport_sum(*out) % 0xffff, transport_sum(in) % 0xffff);
        }
    }
}

TEST(Rewrite, OfAFrameAndARecordThatContradictEachOtherStaysInsideTheFrame) {
    packet::RandomPackets packets(test::seeded_random());
    const auto offset = [&](size_t size) {
        return static_cast<uint16_t>(packets.chance(10) ? packets.random()() : packets.below(size + 4));
    };
    for (int i = 0; i < 50000; i++) {
        Received in = exactly(received(packets.next(0, 200)));
        const size_t size = in.frame.size();
        for (uint16_t *field : {&in.record.l3_offset, &in.record.l4_offset, &in.record.csum_start,
                                &in.record.csum_offset, &in.record.inner_l3_offset})
            if (packets.chance(50))
                *field = offset(size);
        if (packets.chance(50))
            in.record.packet_class = static_cast<uint8_t>(packets.below(TAPFLOW_CLASS_COUNT + 2));
        if (packets.chance(50))
            in.record.flags = static_cast<uint16_t>(packets.random()());
        const auto changes = random_changes(packets);
        const auto out = rewritten(in, changes);
        if (out) {
            const auto pushes = std::count_if(changes.begin(), changes.end(),
                                              [](const Rewrite &each) { return each.kind == Kind::PushVlan; });
            ASSERT_LE(out->frame.size(), size + 4U * static_cast<size_t>(pushes));
        }
    }
}

} // namespace
} // namespace tapflow::flow
