// SPDX-License-Identifier: BSD-3-Clause
#include "flow/pattern.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace tapflow::test {
namespace {

using flow::Item;
using flow::Match;
using flow::Pattern;
using flow::Place;

constexpr uint32_t inner(uint32_t layers) { return layers << TAPFLOW_LAYER_INNER_SHIFT; }

/// A pattern of these items; it throws for one that is refused.
Pattern pattern_of(const std::vector<Item> &items) {
    Pattern pattern;
    for (const Item item : items)
        if (auto place = pattern.next(item); !place)
            throw std::logic_error(place.error().message());
    return pattern;
}

/// What is said of the last of these items.
Error refusal(const std::vector<Item> &items) {
    Pattern pattern = pattern_of({items.begin(), items.end() - 1});
    const auto place = pattern.next(items.back());
    return place ? Error{0, "", ""} : place.error();
}

uint32_t present(const Match &match) { return match.mask.layers & match.value.layers; }
uint32_t absent(const Match &match) { return match.mask.layers & ~match.value.layers; }

const flow::LayerFlag &flag(const char *name) {
    for (const flow::LayerFlag &each : flow::layer_flags())
        if (std::strcmp(each.name, name) == 0)
            return each;
    throw std::logic_error(name);
}

TEST(FlowPattern, AnEmptyPatternMatchesEverything) { EXPECT_EQ(Pattern().match(), Match{}); }

TEST(FlowPattern, EveryPacketHasAnOuterEthernetHeader) { EXPECT_EQ(pattern_of({Item::Eth}).match(), Match{}); }

TEST(FlowPattern, LowerHeadersMayBeLeftOut) {
    const Match udp = pattern_of({Item::Udp}).match();
    EXPECT_EQ(present(udp), uint32_t{TAPFLOW_LAYER_UDP});
    EXPECT_EQ(absent(udp), 0U);
    EXPECT_EQ(pattern_of({Item::Eth, Item::Udp}).match(), udp);
    EXPECT_EQ(present(pattern_of({Item::Vlan, Item::Tcp}).match()), uint32_t{TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_TCP});
}

TEST(FlowPattern, TheSecondTagHasAPlaceOfItsOwn) {
    Pattern pattern = pattern_of({Item::Eth, Item::Vlan});
    const auto second = pattern.next(Item::Vlan);
    ASSERT_TRUE(second);
    EXPECT_TRUE(second->second_tag);
    EXPECT_EQ(present(pattern.match()), uint32_t{TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_VLAN2});
}

TEST(FlowPattern, AThirdTagIsRefused) { EXPECT_EQ(refusal({Item::Vlan, Item::Vlan, Item::Vlan}).code, ENOTSUP); }

TEST(FlowPattern, HeadersThatCannotFollowEachOtherAreRefusedNamingBoth) {
    EXPECT_EQ(refusal({Item::Udp, Item::Ipv4}).message(), "pattern item ipv4: Invalid argument (it cannot follow udp)");
    EXPECT_EQ(refusal({Item::Ipv6Fragment}).message(),
              "pattern item ipv6_frag_ext: Invalid argument (it cannot come first)");
    for (const auto &items : std::vector<std::vector<Item>>{{Item::Eth, Item::Eth},
                                                            {Item::Ipv4, Item::Eth},
                                                            {Item::Ipv4, Item::Vlan},
                                                            {Item::Arp, Item::Ipv4},
                                                            {Item::Arp, Item::Udp},
                                                            {Item::Ipv4, Item::Arp},
                                                            {Item::Ipv4, Item::Icmp6},
                                                            {Item::Ipv6, Item::Icmp},
                                                            {Item::Ipv4, Item::Ipv6Fragment},
                                                            {Item::Ipv6, Item::Ipv6Fragment, Item::Udp},
                                                            {Item::Ipv6, Item::Ipv6Fragment, Item::Ipv4},
                                                            {Item::Tcp, Item::Udp},
                                                            {Item::Tcp, Item::Vxlan},
                                                            {Item::Udp, Item::Gre},
                                                            {Item::Arp, Item::Gre},
                                                            {Item::Vxlan, Item::GreKey},
                                                            {Item::Gre, Item::Udp},
                                                            {Item::Gre, Item::Vlan}})
        EXPECT_EQ(refusal(items).code, EINVAL) << flow::item_name(items.back());
}

TEST(FlowPattern, WhatIsRefusedLeavesThePatternAsItWas) {
    Pattern pattern = pattern_of({Item::Ipv4, Item::Udp});
    const Match before = pattern.match();
    EXPECT_FALSE(pattern.next(Item::Ipv4));
    EXPECT_FALSE(pattern.next(Item::GreKey));
    EXPECT_EQ(pattern.match(), before);
    EXPECT_TRUE(pattern.next(Item::Vxlan));
}

TEST(FlowPattern, HeadersBehindATunnelAreInner) {
    Pattern pattern = pattern_of({Item::Eth, Item::Ipv4, Item::Udp, Item::Vxlan, Item::Eth, Item::Vlan, Item::Ipv6});
    const auto tcp = pattern.next(Item::Tcp);
    ASSERT_TRUE(tcp);
    EXPECT_TRUE(tcp->inner);
    EXPECT_EQ(present(pattern.match()),
              (TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_UDP | TAPFLOW_LAYER_VXLAN |
               inner(TAPFLOW_LAYER_ETH | TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_IPV6 | TAPFLOW_LAYER_TCP)));
    EXPECT_EQ(absent(pattern.match()), 0U);
}

TEST(FlowPattern, IpDirectlyBehindGreMeansThatThereIsNoEthernetHeaderBetween) {
    for (const auto &items :
         std::vector<std::vector<Item>>{{Item::Gre, Item::Ipv4}, {Item::Gre, Item::GreKey, Item::Ipv4}}) {
        const Match match = pattern_of(items).match();
        EXPECT_EQ(present(match) & TAPFLOW_LAYER_INNER_MASK, inner(TAPFLOW_LAYER_IPV4));
        EXPECT_EQ(absent(match), inner(TAPFLOW_LAYER_ETH));
    }
}

TEST(FlowPattern, ASecondIpHeaderIsInnerAndNotThatOfAnotherTunnel) {
    const Match match = pattern_of({Item::Ipv4, Item::Ipv6, Item::Udp}).match();
    EXPECT_EQ(present(match), TAPFLOW_LAYER_IPV4 | inner(TAPFLOW_LAYER_IPV6 | TAPFLOW_LAYER_UDP));
    EXPECT_EQ(absent(match), uint32_t{TAPFLOW_LAYER_GRE | TAPFLOW_LAYER_VXLAN | TAPFLOW_LAYER_GENEVE});
}

TEST(FlowPattern, ATunnelInATunnelIsRefused) {
    EXPECT_EQ(refusal({Item::Ipv4, Item::Ipv4, Item::Ipv4}).code, ENOTSUP);
    EXPECT_EQ(refusal({Item::Vxlan, Item::Eth, Item::Ipv4, Item::Udp, Item::Vxlan}).code, ENOTSUP);
    EXPECT_EQ(refusal({Item::Gre, Item::Ipv4, Item::Gre}).code, ENOTSUP);
}

TEST(FlowPattern, AnyStandsForAHeaderThatIsNotAskedFor) {
    Pattern udp;
    ASSERT_TRUE(udp.any(2));
    ASSERT_TRUE(udp.next(Item::Udp));
    EXPECT_EQ(udp.match(), pattern_of({Item::Udp}).match());
    Pattern vxlan;
    ASSERT_TRUE(vxlan.any(3));
    ASSERT_TRUE(vxlan.next(Item::Vxlan));
    EXPECT_EQ(vxlan.match(), pattern_of({Item::Vxlan}).match());
    Pattern ip_in_ip;
    ASSERT_TRUE(ip_in_ip.any(2));
    const auto place = ip_in_ip.next(Item::Ipv4);
    ASSERT_TRUE(place);
    EXPECT_TRUE(place->inner);
}

TEST(FlowPattern, AnyIsRefusedWhereNothingIsLookedAt) {
    for (const auto &items : std::vector<std::vector<Item>>{{Item::Arp}, {Item::Ipv6, Item::Ipv6Fragment}}) {
        const auto any = pattern_of(items).any(1);
        ASSERT_FALSE(any);
        EXPECT_EQ(any.error().code, EINVAL);
    }
    Pattern pattern = pattern_of({Item::Udp});
    EXPECT_FALSE(pattern.any(1));
}

TEST(FlowPattern, OfTwoDemandsOnOneBitTheLaterCounts) {
    Pattern pattern = pattern_of({Item::Vlan});
    const auto &tci = *flow::field_by_name(Item::Vlan, "tci");
    const auto &vid = *flow::field_by_name(Item::Vlan, "vid");
    pattern.compare(tci, Place{}, 0xa123, 0xffff);
    pattern.compare(vid, Place{}, 0x456, 0x0ff);
    EXPECT_EQ(flow::get_integer(pattern.match().value, tci, {}), 0xa156U);
    EXPECT_EQ(flow::get_integer(pattern.match().mask, tci, {}), 0xffffU);
}

TEST(FlowPattern, BitsOutsideAMaskAreNotKept) {
    Pattern pattern = pattern_of({Item::Ipv4});
    const std::array<uint8_t, 4> address{10, 1, 2, 3};
    const std::array<uint8_t, 4> mask{255, 0, 0, 0};
    pattern.compare(*flow::field_by_name(Item::Ipv4, "src"), Place{}, address, mask);
    EXPECT_EQ(std::vector<uint8_t>(pattern.match().value.outer.ip_src, pattern.match().value.outer.ip_src + 4),
              (std::vector<uint8_t>{10, 0, 0, 0}));
}

TEST(FlowPattern, AFlagDemandsAHeaderOrItsAbsence) {
    Pattern untagged = pattern_of({Item::Eth});
    ASSERT_TRUE(untagged.has(flag("has_vlan"), Place{}, false));
    EXPECT_EQ(absent(untagged.match()), uint32_t{TAPFLOW_LAYER_VLAN});
    Pattern tagged = pattern_of({Item::Eth});
    ASSERT_TRUE(tagged.has(flag("has_vlan"), Place{}, true));
    EXPECT_EQ(tagged.match(), pattern_of({Item::Vlan}).match());
    Pattern inside = pattern_of({Item::Gre, Item::Eth});
    ASSERT_TRUE(inside.has(flag("has_vlan"), Place{.inner = true}, false));
    EXPECT_EQ(absent(inside.match()), inner(TAPFLOW_LAYER_VLAN));
    Pattern third = pattern_of({Item::Vlan, Item::Vlan});
    EXPECT_EQ(third.has(flag("has_more_vlan"), Place{.second_tag = true}, true).error().code, ENOTSUP);
}

TEST(FlowPattern, AnExtensionHeaderIsAskedForByItsFlag) {
    Pattern pattern = pattern_of({Item::Ipv6});
    ASSERT_TRUE(pattern.has(flag("has_route_ext"), Place{}, true));
    ASSERT_TRUE(pattern.has(flag("has_frag_ext"), Place{}, false));
    EXPECT_EQ(pattern.match().mask.outer.ip_extension, TAPFLOW_EXTENSION_ROUTE | TAPFLOW_EXTENSION_FRAGMENT);
    EXPECT_EQ(pattern.match().value.outer.ip_extension, TAPFLOW_EXTENSION_ROUTE);
}

} // namespace
} // namespace tapflow::test
