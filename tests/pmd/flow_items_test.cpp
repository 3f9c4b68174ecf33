// SPDX-License-Identifier: BSD-3-Clause
// rte_flow's patterns as matches.
#include "flow/fields.h"
#include "flow/pattern.h"
#include "pmd/flow_items.h"
#include "pmd/flow_members.h"
#include "pmd/flow_request.h"

#include <gtest/gtest.h>
#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

#include <array>
#include <cstring>
#include <optional>
#include <random>
#include <string>

namespace tapflow::test {
namespace {

using flow::Match;
using flow::Pattern;
using flow::Place;
using pmd::convert_pattern;

/// A pattern's match, which must be accepted.
Match match_of(const FlowRequest &request) {
    Match match;
    rte_flow_error error{};
    rte_errno = 0;
    EXPECT_EQ(convert_pattern(request.pattern(), match, &error), 0) << (error.message ? error.message : "");
    EXPECT_EQ(rte_errno, 0);
    return match;
}

/// A pattern must be refused for the sake of its item at `index`.
void expect_refusal(const FlowRequest &request, int code, rte_flow_error_type type, size_t index,
                    const std::string &message) {
    Match match;
    rte_flow_error error{};
    EXPECT_EQ(convert_pattern(request.pattern(), match, &error), -code);
    EXPECT_EQ(rte_errno, code);
    EXPECT_EQ(error.type, type);
    EXPECT_EQ(error.cause, request.pattern() + index);
    EXPECT_EQ(std::string(error.message ? error.message : ""), message);
    EXPECT_EQ(convert_pattern(request.pattern(), match, nullptr), -code);
}

const flow::Field &field(Item item, const char *name) {
    const flow::Field *found = flow::field_by_name(item, name);
    EXPECT_NE(found, nullptr) << name;
    return *found;
}

/// Room for any structure.
using Structure = std::array<uint8_t, 64>;

/// The item that one of this kind cannot do without before it.
std::optional<std::pair<rte_flow_item_type, Item>> before(Item item) {
    if (item == Item::Ipv6Fragment)
        return std::pair{RTE_FLOW_ITEM_TYPE_IPV6, Item::Ipv6};
    if (item == Item::GreKey)
        return std::pair{RTE_FLOW_ITEM_TYPE_GRE, Item::Gre};
    return std::nullopt;
}

/// A request and a pattern that have come as far as the member's item.
struct Begun {
    FlowRequest request;
    Pattern pattern;
    size_t index = 0;

    explicit Begun(Item item) {
        const auto first = before(item);
        if (!first)
            return;
        request.item(first->first);
        EXPECT_TRUE(pattern.next(first->second));
        index = 1;
    }
};

uint32_t load(const Structure &bytes, const MemberCase &member) {
    uint32_t value = 0;
    for (size_t i = 0; i < member.bytes; ++i)
        value = value << 8 | bytes[member.offset + i];
    return value;
}

void store(Structure &bytes, const MemberCase &member, uint32_t value) {
    for (size_t i = member.bytes; i-- > 0; value >>= 8)
        bytes[member.offset + i] = static_cast<uint8_t>(value);
}

TEST(FlowItems, HonoursTheMaskOfEachFieldBitByBit) {
    std::mt19937 random(1);
    for (const MemberCase &member : kWholeMembers) {
        SCOPED_TRACE(std::string(flow::item_name(member.item)) + " " + member.name);
        for (int round = 0; round < 20; ++round) {
            Structure spec{};
            Structure mask{};
            for (uint8_t &byte : spec)
                byte = static_cast<uint8_t>(random());
            for (size_t i = 0; i < member.bytes; ++i)
                mask[member.offset + i] = round == 0 ? 0xff : static_cast<uint8_t>(random());
            Begun begun(member.item);
            begun.request.item(member.type, spec, mask);
            const auto place = begun.pattern.next(member.item);
            ASSERT_TRUE(place);
            begun.pattern.compare(field(member.item, member.name), *place,
                                  std::span(spec.data() + member.offset, member.bytes),
                                  std::span(mask.data() + member.offset, member.bytes));
            ASSERT_EQ(match_of(begun.request), begun.pattern.match());
        }
    }
}

TEST(FlowItems, TakesARangeOfEachInteger) {
    for (const MemberCase &member : kWholeMembers) {
        const flow::Field &of = field(member.item, member.name);
        if (of.type == flow::FieldType::Mac || of.type == flow::FieldType::Ipv6 || of.type == flow::FieldType::Bits)
            continue;
        SCOPED_TRACE(std::string(flow::item_name(member.item)) + " " + member.name);
        Structure spec{};
        Structure last{};
        Structure mask{};
        store(spec, member, 0x83);
        store(last, member, 0x97);
        store(mask, member, 0x9f);
        Begun begun(member.item);
        begun.request.item(member.type, spec, mask, last);
        const auto place = begun.pattern.next(member.item);
        ASSERT_TRUE(place);
        ASSERT_TRUE(begun.pattern.between(of, *place, 0x9f, load(spec, member), load(last, member)));
        const Match match = match_of(begun.request);
        EXPECT_EQ(match, begun.pattern.match());
        EXPECT_EQ(match.range_count, 1);

        Begun reversed(member.item);
        reversed.request.item(member.type, last, mask, spec);
        expect_refusal(reversed.request, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_LAST, reversed.index,
                       "range of " + std::string(flow::item_name(member.item)) + " " + member.name +
                           ": 151 is above 131");
    }
}

TEST(FlowItems, ALastOfZeroOrAsSpecIsNoRange) {
    for (const MemberCase &member : kWholeMembers) {
        SCOPED_TRACE(std::string(flow::item_name(member.item)) + " " + member.name);
        Structure spec{};
        Structure mask{};
        std::fill_n(spec.begin() + static_cast<ptrdiff_t>(member.offset), member.bytes, uint8_t{0x53});
        std::fill_n(mask.begin() + static_cast<ptrdiff_t>(member.offset), member.bytes, uint8_t{0xf7});
        Structure outside = spec;
        outside[member.offset] = 0x5b;
        Begun plain(member.item);
        const Match expected = match_of(plain.request.item(member.type, spec, mask));
        for (const Structure &last : {Structure{}, spec, outside}) {
            Begun begun(member.item);
            EXPECT_EQ(match_of(begun.request.item(member.type, spec, mask, last)), expected);
        }
    }
}

TEST(FlowItems, RefusesRangesOfLongAddresses) {
    for (const MemberCase &member : kWholeMembers) {
        if (member.bytes <= 4)
            continue;
        Structure spec{};
        Structure mask{};
        Structure last{};
        std::fill_n(mask.begin() + static_cast<ptrdiff_t>(member.offset), member.bytes, uint8_t{0xff});
        last[member.offset + member.bytes - 1] = 1;
        expect_refusal(FlowRequest().item(member.type, spec, mask, last), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST, 0,
                       std::string(flow::item_name(member.item)) + " " + member.name +
                           ": ranges of such addresses cannot be matched");
    }
}

TEST(FlowItems, RefusesWhatCannotBeMatchedByName) {
    for (const MemberCase &member : kUnmatched) {
        for (size_t byte = 0; byte < member.bytes; ++byte) {
            Structure mask{};
            mask[member.offset + byte] = 0x10;
            Begun begun(member.item);
            begun.request.item(member.type, Structure{}, mask);
            expect_refusal(begun.request, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK, begun.index,
                           std::string(flow::item_name(member.item)) + " " + member.name + ": it cannot be matched");
        }
        // ... and only where a mask asks for it.
        Structure spec;
        spec.fill(0xff);
        Begun begun(member.item);
        match_of(begun.request.item(member.type, spec, Structure{}));
    }
}

TEST(FlowItems, DefaultMasksAreRteFlows) {
    struct Case {
        rte_flow_item_type type;
        Item item;
        std::vector<std::pair<const char *, std::vector<uint8_t>>> fields; ///< with their masks
    };
    const std::vector<uint8_t> two(2, 0xff);
    const std::vector<uint8_t> four(4, 0xff);
    const std::vector<uint8_t> six(6, 0xff);
    const std::vector<uint8_t> sixteen(16, 0xff);
    const std::vector<uint8_t> one(1, 0xff);
    const std::vector<Case> cases{
        {RTE_FLOW_ITEM_TYPE_ETH, Item::Eth, {{"dst", six}, {"src", six}}},
        {RTE_FLOW_ITEM_TYPE_VLAN, Item::Vlan, {{"tci", {0x0f, 0xff}}}},
        {RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, Item::Arp, {{"sha", six}, {"spa", four}, {"tha", six}, {"tpa", four}}},
        {RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, {{"src", four}, {"dst", four}}},
        {RTE_FLOW_ITEM_TYPE_IPV6, Item::Ipv6, {{"src", sixteen}, {"dst", sixteen}}},
        {RTE_FLOW_ITEM_TYPE_TCP, Item::Tcp, {{"src", two}, {"dst", two}}},
        {RTE_FLOW_ITEM_TYPE_UDP, Item::Udp, {{"src", two}, {"dst", two}}},
        {RTE_FLOW_ITEM_TYPE_SCTP, Item::Sctp, {{"src", two}, {"dst", two}}},
        {RTE_FLOW_ITEM_TYPE_ICMP, Item::Icmp, {{"type", one}, {"code", one}}},
        {RTE_FLOW_ITEM_TYPE_ICMP6, Item::Icmp6, {{"type", one}, {"code", one}}},
        {RTE_FLOW_ITEM_TYPE_ESP, Item::Esp, {{"spi", four}}},
        {RTE_FLOW_ITEM_TYPE_AH, Item::Ah, {{"spi", four}}},
        {RTE_FLOW_ITEM_TYPE_GRE, Item::Gre, {{"protocol", two}}},
        {RTE_FLOW_ITEM_TYPE_GRE_KEY, Item::GreKey, {{"value", four}}},
        {RTE_FLOW_ITEM_TYPE_VXLAN, Item::Vxlan, {{"vni", {0xff, 0xff, 0xff, 0}}}},
        {RTE_FLOW_ITEM_TYPE_GENEVE, Item::Geneve, {{"vni", {0xff, 0xff, 0xff, 0}}}},
    };
    for (const Case &each : cases) {
        SCOPED_TRACE(flow::item_name(each.item));
        Structure spec;
        spec.fill(0xa5);
        Begun begun(each.item);
        const auto place = begun.pattern.next(each.item);
        ASSERT_TRUE(place);
        for (const auto &[name, mask] : each.fields)
            begun.pattern.compare(field(each.item, name), *place, std::span(spec.data(), mask.size()), mask);
        EXPECT_EQ(match_of(begun.request.item(each.type, spec)), begun.pattern.match());
    }
    // DPDK has none for these.
    expect_refusal(FlowRequest()
                       .item(RTE_FLOW_ITEM_TYPE_IPV6)
                       .item(RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT, rte_flow_item_ipv6_frag_ext{}),
                   EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_MASK, 1, "ipv6_frag_ext mask: this item has no default one");
}

TEST(FlowItems, WithoutSpecAnyValueWillDo) {
    for (const MemberCase &member : kWholeMembers) {
        Begun begun(member.item);
        ASSERT_TRUE(begun.pattern.next(member.item));
        EXPECT_EQ(match_of(begun.request.item(member.type)), begun.pattern.match());
        const Structure some{};
        Begun masked(member.item);
        const std::string name(flow::item_name(member.item));
        masked.request.item_at(member.type, nullptr, &some, nullptr);
        expect_refusal(masked.request, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_MASK, masked.index,
                       name + " mask: there is no spec with it");
        Begun ranged(member.item);
        ranged.request.item_at(member.type, nullptr, nullptr, &some);
        expect_refusal(ranged.request, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_LAST, ranged.index,
                       name + " last: there is no spec with it");
    }
}

/// Byte by byte: the key is what is on the wire.
TEST(FlowItems, WritesWireBytesIntoTheKey) {
    rte_flow_item_eth eth{};
    rte_flow_item_eth eth_mask{};
    eth.hdr.dst_addr = {{2, 0, 0, 0, 0, 9}};
    std::memset(&eth_mask.hdr.dst_addr, 0xff, 6);
    rte_flow_item_vlan vlan{};
    rte_flow_item_vlan vlan_mask{};
    vlan.hdr.vlan_tci = RTE_BE16(0x6123); // PCP 3, VID 0x123
    vlan_mask.hdr.vlan_tci = RTE_BE16(0xefff);
    rte_flow_item_ipv4 ipv4{};
    rte_flow_item_ipv4 ipv4_mask{};
    ipv4.hdr.dst_addr = RTE_BE32(0x0a0102ff);
    ipv4_mask.hdr.dst_addr = RTE_BE32(0xffffff00);
    rte_flow_item_udp udp{};
    rte_flow_item_udp udp_mask{};
    udp.hdr.dst_port = RTE_BE16(4789);
    udp_mask.hdr.dst_port = RTE_BE16(0xffff);
    const Match match = match_of(FlowRequest()
                                     .item(RTE_FLOW_ITEM_TYPE_ETH, eth, eth_mask)
                                     .item(RTE_FLOW_ITEM_TYPE_VLAN, vlan, vlan_mask)
                                     .item(RTE_FLOW_ITEM_TYPE_IPV4, ipv4, ipv4_mask)
                                     .item(RTE_FLOW_ITEM_TYPE_UDP, udp, udp_mask));
    Match expected;
    auto &value = expected.value;
    auto &mask = expected.mask;
    std::memcpy(value.outer.eth_dst, "\x02\0\0\0\0\x09", 6);
    std::memcpy(mask.outer.eth_dst, "\xff\xff\xff\xff\xff\xff", 6);
    std::memcpy(&value.outer.vlan_tci, "\x61\x23", 2);
    std::memcpy(&mask.outer.vlan_tci, "\xef\xff", 2);
    std::memcpy(value.outer.ip_dst, "\x0a\x01\x02", 3);
    std::memcpy(mask.outer.ip_dst, "\xff\xff\xff", 3);
    std::memcpy(value.outer.l4 + 2, "\x12\xb5", 2);
    std::memcpy(mask.outer.l4 + 2, "\xff\xff", 2);
    value.layers = mask.layers = TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_UDP;
    EXPECT_EQ(match, expected);
}

/// PCP and VID are ranged each by itself, as testpmd's "vlan pcp is 3 vid spec 1 vid last 10 vid mask 0xfff" means it.
TEST(FlowItems, ATagsPartsHaveRangesOfTheirOwn) {
    rte_flow_item_vlan spec{};
    rte_flow_item_vlan last{};
    rte_flow_item_vlan mask{};
    spec.hdr.vlan_tci = RTE_BE16(3 << 13 | 1);
    last.hdr.vlan_tci = RTE_BE16(10);
    mask.hdr.vlan_tci = RTE_BE16(0xefff);
    Pattern pattern;
    const auto place = pattern.next(Item::Vlan);
    pattern.compare(field(Item::Vlan, "pcp"), *place, 3, 7);
    ASSERT_TRUE(pattern.between(field(Item::Vlan, "vid"), *place, 0xfff, 1, 10));
    EXPECT_EQ(match_of(FlowRequest().item(RTE_FLOW_ITEM_TYPE_VLAN, spec, mask, last)), pattern.match());

    last.hdr.vlan_tci = RTE_BE16(5 << 13 | 1);
    Pattern other;
    ASSERT_TRUE(other.next(Item::Vlan));
    ASSERT_TRUE(other.between(field(Item::Vlan, "pcp"), *place, 7, 3, 5));
    other.compare(field(Item::Vlan, "vid"), *place, 1, 0xfff);
    EXPECT_EQ(match_of(FlowRequest().item(RTE_FLOW_ITEM_TYPE_VLAN, spec, mask, last)), other.match());
}

TEST(FlowItems, TakesVersionClassAndLabelOfIpv6Apart) {
    rte_flow_item_ipv6 spec{};
    rte_flow_item_ipv6 mask{};
    rte_flow_item_ipv6 last{};
    spec.hdr.vtc_flow = RTE_BE32(0x6b812345);
    mask.hdr.vtc_flow = RTE_BE32(0xffcfffff);
    Pattern pattern;
    const auto place = pattern.next(Item::Ipv6);
    pattern.compare(field(Item::Ipv6, "tc"), *place, 0xb8, 0xfc);
    pattern.compare(field(Item::Ipv6, "flow"), *place, 0x12345, 0xfffff);
    EXPECT_EQ(match_of(FlowRequest().item(RTE_FLOW_ITEM_TYPE_IPV6, spec, mask)), pattern.match());
    spec.hdr.vtc_flow = RTE_BE32(0x4b812345);
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_IPV6, spec, mask), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, 0,
                   "ipv6 version: it is always 6");
    spec.hdr.vtc_flow = RTE_BE32(0x60000000);
    last.hdr.vtc_flow = RTE_BE32(0x70000000);
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_IPV6, spec, mask, last), ENOTSUP,
                   RTE_FLOW_ERROR_TYPE_ITEM_LAST, 0, "ipv6 version: it is always 6");
}

TEST(FlowItems, OfAnArpHeaderOnlyEthernetAndIpv4) {
    rte_flow_item_arp_eth_ipv4 spec{};
    rte_flow_item_arp_eth_ipv4 mask{};
    spec.hrd = RTE_BE16(1);
    spec.pro = RTE_BE16(0x0800);
    spec.hln = 6;
    spec.pln = 4;
    mask.hrd = mask.pro = 0xffff;
    mask.hln = mask.pln = 0xff;
    Pattern pattern;
    ASSERT_TRUE(pattern.next(Item::Arp));
    EXPECT_EQ(match_of(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, spec, mask)), pattern.match());
    const auto refused = [&](const char *message, auto change) {
        auto changed = spec;
        change(changed);
        expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, changed, mask), ENOTSUP,
                       RTE_FLOW_ERROR_TYPE_ITEM_SPEC, 0, message);
    };
    refused("arp_eth_ipv4 hrd: it is always 1", [](auto &arp) { arp.hrd = RTE_BE16(6); });
    refused("arp_eth_ipv4 pro: it is always 2048", [](auto &arp) { arp.pro = RTE_BE16(0x86dd); });
    refused("arp_eth_ipv4 hln: it is always 6", [](auto &arp) { arp.hln = 0; });
    refused("arp_eth_ipv4 pln: it is always 4", [](auto &arp) { arp.pln = 16; });
}

TEST(FlowItems, OfVxlansFlagsOnlyTheOneThatIsAlwaysThere) {
    rte_flow_item_vxlan spec{};
    rte_flow_item_vxlan mask{};
    spec.hdr.vx_flags = RTE_BE32(0x08000000);
    spec.hdr.vx_vni = RTE_BE32(0x12345600);
    mask.hdr.vx_flags = RTE_BE32(0x08000000);
    mask.hdr.vx_vni = RTE_BE32(0xffffff00);
    Pattern pattern;
    const auto place = pattern.next(Item::Vxlan);
    pattern.compare(field(Item::Vxlan, "vni"), *place, 0x123456, 0xffffff);
    EXPECT_EQ(match_of(FlowRequest().item(RTE_FLOW_ITEM_TYPE_VXLAN, spec, mask)), pattern.match());
    spec.hdr.vx_flags = 0;
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_VXLAN, spec, mask), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, 0,
                   "vxlan flags, bit 0x08: it is always 1");
    spec.hdr.vx_flags = RTE_BE32(0x08000000);
    mask.hdr.vx_flags = RTE_BE32(0xff000000);
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_VXLAN, spec, mask), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK, 0,
                   "vxlan flags: it cannot be matched");
}

TEST(FlowItems, RangesOfVnis) {
    rte_flow_item_vxlan spec{};
    rte_flow_item_vxlan mask{};
    rte_flow_item_vxlan last{};
    spec.hdr.vx_vni = RTE_BE32(100 << 8 | 0xff);
    last.hdr.vx_vni = RTE_BE32(200 << 8);
    mask.hdr.vx_vni = RTE_BE32(0xffffff00);
    Pattern pattern;
    const auto place = pattern.next(Item::Vxlan);
    ASSERT_TRUE(pattern.between(field(Item::Vxlan, "vni"), *place, 0xffffff, 100, 200));
    EXPECT_EQ(match_of(FlowRequest().item(RTE_FLOW_ITEM_TYPE_VXLAN, spec, mask, last)), pattern.match());
}

TEST(FlowItems, FlagsDemandPresenceOrAbsence) {
    for (const flow::LayerFlag &flag : flow::layer_flags()) {
        SCOPED_TRACE(flag.name);
        for (const bool present : {false, true}) {
            const auto with = [&](FlowRequest &request, bool spec_bit, bool mask_bit) {
                rte_flow_item_eth eth[2] = {};
                eth[0].has_vlan = spec_bit;
                eth[1].has_vlan = mask_bit;
                rte_flow_item_vlan vlan[2] = {};
                vlan[0].has_more_vlan = spec_bit;
                vlan[1].has_more_vlan = mask_bit;
                rte_flow_item_ipv6 ipv6[2] = {};
                const std::string name = flag.name;
                for (int i = 0; i < 2; ++i) {
                    const uint32_t bit = i == 0 ? spec_bit : mask_bit;
                    ipv6[i].has_hop_ext = name == "has_hop_ext" && bit;
                    ipv6[i].has_route_ext = name == "has_route_ext" && bit;
                    ipv6[i].has_frag_ext = name == "has_frag_ext" && bit;
                    ipv6[i].has_auth_ext = name == "has_auth_ext" && bit;
                    ipv6[i].has_esp_ext = name == "has_esp_ext" && bit;
                    ipv6[i].has_dest_ext = name == "has_dest_ext" && bit;
                    ipv6[i].has_mobil_ext = name == "has_mobil_ext" && bit;
                    ipv6[i].has_hip_ext = name == "has_hip_ext" && bit;
                    ipv6[i].has_shim6_ext = name == "has_shim6_ext" && bit;
                }
                if (flag.item == Item::Eth)
                    request.item(RTE_FLOW_ITEM_TYPE_ETH, eth[0], eth[1]);
                else if (flag.item == Item::Vlan)
                    request.item(RTE_FLOW_ITEM_TYPE_VLAN, vlan[0], vlan[1]);
                else
                    request.item(RTE_FLOW_ITEM_TYPE_IPV6, ipv6[0], ipv6[1]);
            };
            FlowRequest request;
            with(request, present, true);
            Pattern pattern;
            const auto place = pattern.next(flag.item);
            ASSERT_TRUE(place);
            ASSERT_TRUE(pattern.has(flag, *place, present));
            EXPECT_EQ(match_of(request), pattern.match());
            FlowRequest ignored;
            with(ignored, present, false);
            Pattern plain;
            ASSERT_TRUE(plain.next(flag.item));
            EXPECT_EQ(match_of(ignored), plain.match());
        }
    }
}

TEST(FlowItems, RefusesReservedBitsAndRangesOfFlags) {
    rte_flow_item_eth zero{};
    rte_flow_item_eth one{};
    one.has_vlan = 1;
    rte_flow_item_eth mask{};
    mask.reserved = 1;
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ETH, zero, mask), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK, 0,
                   "eth reserved: it cannot be matched");
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ETH, zero, one, one), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST,
                   0, "eth has_vlan: it has no range");
    Pattern pattern;
    const auto place = pattern.next(Item::Eth);
    ASSERT_TRUE(pattern.has(flow::layer_flags()[0], *place, true));
    EXPECT_EQ(match_of(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ETH, one, one, zero)), pattern.match());
    rte_flow_item_vlan clear{};
    rte_flow_item_vlan dei{};
    dei.hdr.vlan_tci = RTE_BE16(1 << 12);
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_VLAN, clear, dei, dei), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST,
                   0, "vlan dei: it has no range");
}

/// Of a megaflow for UDP: what is not masked is full of the packet's own bits.
TEST(FlowItems, TakesOpenVSwitchsPatterns) {
    rte_flow_item_eth eth{};
    rte_flow_item_eth eth_mask{};
    std::memset(&eth, 0x5a, sizeof(eth));
    eth.has_vlan = 0;
    eth.hdr.ether_type = RTE_BE16(0x0800);
    eth_mask.hdr.ether_type = RTE_BE16(0xffff);
    eth_mask.has_vlan = 1;
    rte_flow_item_ipv4 ipv4{};
    rte_flow_item_ipv4 ipv4_mask{};
    std::memset(&ipv4, 0x5a, sizeof(ipv4));
    ipv4.hdr.next_proto_id = 17;
    ipv4.hdr.fragment_offset = 0;
    ipv4.hdr.dst_addr = RTE_BE32(0x0a0000ff);
    ipv4_mask.hdr.next_proto_id = 0xff;
    ipv4_mask.hdr.fragment_offset = RTE_BE16(0x3fff);
    ipv4_mask.hdr.dst_addr = RTE_BE32(0xfffffff0);
    rte_flow_item_udp udp{};
    rte_flow_item_udp udp_mask{};
    std::memset(&udp, 0x5a, sizeof(udp));
    udp.hdr.dst_port = RTE_BE16(0x1234);
    udp_mask.hdr.dst_port = RTE_BE16(0xff00);
    const Match match = match_of(FlowRequest()
                                     .item(RTE_FLOW_ITEM_TYPE_ETH, eth, eth_mask)
                                     .item(RTE_FLOW_ITEM_TYPE_IPV4, ipv4, ipv4_mask)
                                     .item(RTE_FLOW_ITEM_TYPE_UDP, udp, udp_mask));
    Match expected;
    std::memcpy(&expected.value.outer.eth_type, "\x08\x00", 2);
    std::memcpy(&expected.mask.outer.eth_type, "\xff\xff", 2);
    expected.value.outer.ip_proto = 17;
    expected.mask.outer.ip_proto = 0xff;
    std::memcpy(&expected.mask.outer.ip_fragment, "\x3f\xff", 2);
    std::memcpy(expected.value.outer.ip_dst, "\x0a\x00\x00\xf0", 4);
    std::memcpy(expected.mask.outer.ip_dst, "\xff\xff\xff\xf0", 4);
    expected.value.outer.l4[2] = 0x12;
    expected.mask.outer.l4[2] = 0xff;
    expected.value.layers = TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_UDP;
    expected.mask.layers = TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_UDP;
    EXPECT_EQ(match, expected);
}

TEST(FlowItems, WhatFollowsATunnelIsInner) {
    rte_flow_item_tcp spec{};
    spec.hdr.dst_port = RTE_BE16(80);
    rte_flow_item_tcp mask{};
    mask.hdr.dst_port = RTE_BE16(0xffff);
    Pattern pattern;
    for (const Item item : {Item::Eth, Item::Ipv4, Item::Udp, Item::Vxlan, Item::Eth, Item::Ipv6})
        ASSERT_TRUE(pattern.next(item));
    const auto place = pattern.next(Item::Tcp);
    ASSERT_TRUE(place && place->inner);
    pattern.compare(field(Item::Tcp, "dst"), *place, 80, 0xffff);
    EXPECT_EQ(match_of(FlowRequest()
                           .item(RTE_FLOW_ITEM_TYPE_ETH)
                           .item(RTE_FLOW_ITEM_TYPE_VOID)
                           .item(RTE_FLOW_ITEM_TYPE_IPV4)
                           .item(RTE_FLOW_ITEM_TYPE_UDP)
                           .item(RTE_FLOW_ITEM_TYPE_VXLAN)
                           .item(RTE_FLOW_ITEM_TYPE_ETH)
                           .item(RTE_FLOW_ITEM_TYPE_IPV6)
                           .item(RTE_FLOW_ITEM_TYPE_TCP, spec, mask)),
              pattern.match());
}

TEST(FlowItems, AnyStandsForLayers) {
    const rte_flow_item_any two{.num = 2};
    const rte_flow_item_any full{.num = ~uint32_t{0}};
    Pattern pattern;
    ASSERT_TRUE(pattern.next(Item::Eth));
    ASSERT_TRUE(pattern.any(2));
    ASSERT_TRUE(pattern.next(Item::Vxlan));
    EXPECT_EQ(match_of(FlowRequest()
                           .item(RTE_FLOW_ITEM_TYPE_ETH)
                           .item(RTE_FLOW_ITEM_TYPE_ANY, two, full)
                           .item(RTE_FLOW_ITEM_TYPE_VXLAN)),
              pattern.match());
    Pattern udp;
    ASSERT_TRUE(udp.next(Item::Udp));
    EXPECT_EQ(match_of(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ANY).item(RTE_FLOW_ITEM_TYPE_UDP)), udp.match());
    EXPECT_EQ(match_of(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ANY, two).item(RTE_FLOW_ITEM_TYPE_UDP)), udp.match());
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ANY, full, full), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, 0,
                   "pattern item any: behind L4 only tunnels that are named can be looked into");
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ANY, two, two), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK, 0,
                   "any num: it has no mask but a full one");
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ANY, two, full, full), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST,
                   0, "any num: it has no range");
}

TEST(FlowItems, RefusesItemsThatCannotStandThere) {
    expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4).item(RTE_FLOW_ITEM_TYPE_UDP), EINVAL,
                   RTE_FLOW_ERROR_TYPE_ITEM, 1, "pattern item udp: it cannot follow arp_eth_ipv4");
    FlowRequest tags;
    tags.item(RTE_FLOW_ITEM_TYPE_VLAN).item(RTE_FLOW_ITEM_TYPE_VLAN).item(RTE_FLOW_ITEM_TYPE_VLAN);
    expect_refusal(tags, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, 2, "pattern item vlan: a third tag is not looked at");
}

TEST(FlowItems, RefusesOtherItemsAndSaysWhy) {
    const std::string no_switch = ": a rule sees its own port's packets only, there is no switch behind it";
    const std::string beside = ": only headers are matched, not what belongs to a packet beside them";
    const std::string unknown = ": this header is not looked at";
    const std::vector<std::pair<rte_flow_item_type, std::string>> cases{
        {RTE_FLOW_ITEM_TYPE_INVERT,
         "INVERT: a pattern cannot be inverted; give what it excludes a rule of better priority"},
        {RTE_FLOW_ITEM_TYPE_RAW, "RAW: only named fields of headers are matched, no bytes at an offset"},
        {RTE_FLOW_ITEM_TYPE_MARK, "MARK" + beside},
        {RTE_FLOW_ITEM_TYPE_META, "META" + beside},
        {RTE_FLOW_ITEM_TYPE_TAG, "TAG" + beside},
        {RTE_FLOW_ITEM_TYPE_PORT_ID, "PORT_ID" + no_switch},
        {RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR, "PORT_REPRESENTOR" + no_switch},
        {RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, "REPRESENTED_PORT" + no_switch},
        {RTE_FLOW_ITEM_TYPE_MPLS, "MPLS" + unknown},
        {RTE_FLOW_ITEM_TYPE_VXLAN_GPE, "VXLAN_GPE" + unknown},
        {RTE_FLOW_ITEM_TYPE_IPV6_EXT, "IPV6_EXT" + unknown},
        {static_cast<rte_flow_item_type>(63), "?" + unknown},
    };
    for (const auto &[type, message] : cases)
        expect_refusal(FlowRequest().item(RTE_FLOW_ITEM_TYPE_ETH).item(type), ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, 1,
                       "pattern item " + message);
}

} // namespace
} // namespace tapflow::test
