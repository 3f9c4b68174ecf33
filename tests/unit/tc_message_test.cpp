// SPDX-License-Identifier: BSD-3-Clause
// Flower filters and TC actions as netlink messages: against bytes that were put together from the kernel's headers by
// hand, for little-endian machines, and against themselves.
#include "kernel/flower.h"
#include "support/print_flower.h"
#include "support/seed.h"

#include <gtest/gtest.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_csum.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <algorithm>
#include <string_view>

namespace tapflow::test {
namespace {

using namespace kernel;

using Bytes = std::vector<uint8_t>;

/// Hex digits in pairs; blanks do not matter.
Bytes hex(std::string_view text) {
    std::string digits;
    std::ranges::copy_if(text, std::back_inserter(digits), [](char c) { return c != ' '; });
    Bytes bytes;
    for (size_t i = 0; i < digits.size(); i += 2)
        bytes.push_back(static_cast<uint8_t>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    return bytes;
}

Bytes bytes_of(const nlmsghdr *header) {
    const auto *first = reinterpret_cast<const uint8_t *>(header);
    return {first, first + header->nlmsg_len};
}

Bytes bytes_of(const std::vector<TcAction> &actions) {
    const NlMsg message = make_request(0, 0);
    EXPECT_TRUE(put_actions(message.get(), TCA_FLOWER_ACT, actions));
    Bytes bytes = bytes_of(nlmsg_hdr(message.get()));
    bytes.erase(bytes.begin(), bytes.begin() + NLMSG_HDRLEN);
    return bytes;
}

/// A key whose value and mask begin with these bytes; no mask: all of the field.
FlowerKey key(FlowerField field, const Bytes &value, const Bytes &mask = {}) {
    FlowerKey key{field, {}, {}};
    std::ranges::copy(value, key.value.begin());
    std::fill_n(key.mask.begin(), flower_field_bytes(field), uint8_t{0xff});
    std::ranges::copy(mask, key.mask.begin());
    return key;
}

FlowerFilter parsed(const FlowerFilter &filter) {
    const NlMsg message = flower_request(filter);
    if (!message)
        throw std::bad_alloc();
    return parse_flower(nlmsg_hdr(message.get())).filter;
}

TEST(TcMessage, AFlowerFilterIsTheBytesThatTheKernelReads) {
    FlowerFilter filter;
    filter.place = {5, Hook::Ingress, 0x0102, 7, 3};
    filter.offload = Offload::SoftwareOnly;
    filter.keys = {key(FlowerField::EthDst, {2, 0, 0, 0, 0, 1}, {0xff, 0xff, 0xff, 0, 0, 0}),
                   key(FlowerField::EthType, {0x81, 0x00}),
                   key(FlowerField::VlanId, {0x01, 0x23}),
                   key(FlowerField::VlanPriority, {5}),
                   key(FlowerField::VlanEthType, {0x08, 0x00}),
                   key(FlowerField::IpProto, {17}),
                   key(FlowerField::Ipv4Src, {10, 1, 2, 0}, {255, 255, 255, 0}),
                   key(FlowerField::Fragment, {0, 0, 0, 0}, {0, 0, 0, 1}),
                   key(FlowerField::UdpDst, {0, 53})};
    const NlMsg message = flower_request(filter);
    ASSERT_TRUE(message);
    const Bytes expected = hex("b4000000 2c00 0506 00000000 00000000"                  // nlmsghdr: RTM_NEWTFILTER
                               "00 00 0000 05000000 07000000 f2ffffff 00030201"        // tcmsg
                               "0b000100 666c6f77657200 00"                            // TCA_KIND "flower"
                               "08000b00 03000000"                                     // TCA_CHAIN
                               "7c000280"                                              // TCA_OPTIONS
                               "0a000400 020000000001 0000 0a000500 ffffff000000 0000" // KEY_ETH_DST
                               "06000800 8100 0000"                                    // KEY_ETH_TYPE
                               "06001700 2301 0000"                                    // KEY_VLAN_ID, host order
                               "05001800 05 000000"                                    // KEY_VLAN_PRIO
                               "06001900 0800 0000"                                    // KEY_VLAN_ETH_TYPE
                               "05000900 11 000000"                                    // KEY_IP_PROTO
                               "08000a00 0a010200 08000b00 ffffff00"                   // KEY_IPV4_SRC
                               "08002f00 00000000 08003000 00000001"                   // KEY_FLAGS
                               "06001500 0035 0000 06002600 ffff 0000"                 // KEY_UDP_DST
                               "08001600 01000000");                                   // FLAGS: skip_hw
    EXPECT_EQ(bytes_of(nlmsg_hdr(message.get())), expected);
}

/// One of each kind, with the bytes of TCA_FLOWER_ACT that they are.
std::vector<TcAction> one_of_each_kind() {
    using enum Control::Code;
    return {
        {Gact{}, {Shot}, 9, {}},
        {Mirred{6, false, false}, {Stolen}, 0, {}},
        {Skbedit{{}, 7, 0xff, 3}, {Pipe}, 0, "abc"},
        {BpfAction{11, 0, "count"}, {Continue}, 0, {}},
        {VlanEdit{VlanEdit::Verb::Push, 0x123, 0x88a8, 5}, {Pipe}, 0, {}},
        {Pedit{{{Pedit::Header::Eth, false, 0, 0, 0x04030201}, {Pedit::Header::Udp, true, 0, 0xffff0000, 0x00000001}}},
         {Pipe},
         0,
         {}},
        {Csum{TCA_CSUM_UPDATE_FLAG_IPV4HDR | TCA_CSUM_UPDATE_FLAG_UDP}, {GotoChain, 5}, 0, {}},
    };
}

TEST(TcMessage, ActionsAreTheBytesThatTheKernelReads) {
    const std::string none = "00000000 00000000 ";         // of tc_gen: index, capab
    const std::string pipe = "03000000 00000000 00000000"; // action, refcnt, bindcnt
    const Bytes expected = hex("f0010380"                  // TCA_FLOWER_ACT
                               "2c000180 09000100 6761637400 000000"
                               "1c000280 18000200 09000000 00000000 02000000 00000000 00000000"
                               "34000280 0b000100 6d697272656400 00"
                               "24000280 20000200" +
                               none +
                               "04000000 00000000 00000000 01000000 06000000"
                               "4c000380 0c000100 736b626564697400"
                               "34000280 18000200" +
                               none + pipe +
                               "06000400 0300 0000 08000500 07000000 08000800 ff000000"
                               "07000600 616263 00" // TCA_ACT_COOKIE
                               "3c000480 08000100 62706600"
                               "30000280 18000200" +
                               none +
                               "ffffffff 00000000 00000000"
                               "08000500 0b000000 0a000600 636f756e7400 0000"
                               "48000580 09000100 766c616e00 000000"
                               "38000280 1c000200" +
                               none + pipe +
                               "02000000"
                               "06000300 2301 0000 06000400 88a8 0000 05000600 05 000000"
                               "8c000680 0a000100 706564697400 0000"
                               "7c000280 4c000400" +
                               none + pipe +
                               "02 00 0000"
                               "00000000 01020304 00000000 00000000 00000000 00000000"
                               "0000ffff 01000000 00000000 00000000 00000000 00000000"
                               "2c000580"
                               "14000680 06000100 0100 0000 06000200 0000 0000"
                               "14000680 06000100 0500 0000 06000200 0100 0000"
                               "30000780 09000100 6373756d00 000000"
                               "20000280 1c000100" +
                               none + "05000020 00000000 00000000 11000000");
    EXPECT_EQ(bytes_of(one_of_each_kind()), expected);
}

TEST(TcMessage, WhatTheKernelCountsIsRead) {
    const Bytes wire = hex("54000300 50000100 09000100 6761637400 000000" // TCA_FLOWER_ACT
                           "1c000200 18000200 09000000 00000000 00000000 01000000 01000000"
                           "24000400 14000100 00e40b5402000000 02000000 00000000" // TCA_STATS_BASIC
                           "0c000800 0200000001000000");                          // TCA_STATS_PKT64
    const auto told = parse_actions(reinterpret_cast<const nlattr *>(wire.data()));
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].kind, "gact");
    EXPECT_EQ(told[0].action, (TcAction{Gact{}, {Control::Code::Ok}, 9, {}}));
    EXPECT_EQ(told[0].count, (ActionCount{0x1'0000'0002, 10'000'000'000}));
}

TEST(TcMessage, AnActionOfAnUnknownKindIsToldByItsName) {
    const Bytes wire = hex("20000300 1c000200 0b000100 706f6c69636500 00 07000600 616263 00 04000200");
    const auto told = parse_actions(reinterpret_cast<const nlattr *>(wire.data()));
    ASSERT_EQ(told.size(), 1U);
    EXPECT_FALSE(told[0].action);
    EXPECT_EQ(told[0].kind, "police");
    EXPECT_EQ(told[0].cookie, "abc");
}

TEST(TcMessage, EveryFieldComesBackByItself) {
    for (size_t i = 0; i < kFlowerFields; i++) {
        const auto field = static_cast<FlowerField>(i);
        FlowerFilter filter;
        filter.place = {1, Hook::Egress, 1, 1, 0};
        Bytes value;
        Bytes mask;
        for (size_t byte = 0; byte < flower_field_bytes(field); byte++) {
            value.push_back(static_cast<uint8_t>(byte + 1));
            mask.push_back(static_cast<uint8_t>(flower_field_has_mask(field) ? 0x1f : 0xff));
        }
        filter.keys = {key(field, value, mask)};
        EXPECT_EQ(parsed(filter), filter) << flower_field_name(field);
    }
}

TEST(TcMessage, NoTwoFieldsShareAnAttribute) {
    FlowerFilter filter;
    for (size_t i = 0; i < kFlowerFields; i++)
        filter.keys.push_back(key(static_cast<FlowerField>(i), {static_cast<uint8_t>(i)}));
    EXPECT_EQ(parsed(filter), filter);
}

/// Random filters whose parts are all such as come back as they are.
class RandomFilter {
  public:
    explicit RandomFilter(std::mt19937_64 &random) : random_(random) {}

    FlowerFilter filter() {
        FlowerFilter filter;
        filter.place = {static_cast<int>(below(1000)), below(2) ? Hook::Ingress : Hook::Egress, number<uint16_t>(),
                        number<uint32_t>(), maybe(number<uint32_t>()).value_or(0)};
        filter.offload = static_cast<Offload>(below(3));
        for (size_t i = 0; i < kFlowerFields; i++)
            if (below(4) == 0)
                filter.keys.push_back(random_key(static_cast<FlowerField>(i)));
        for (size_t count = below(6); count > 0; count--)
            filter.actions.push_back(action());
        return filter;
    }

    size_t below(size_t limit) { return random_() % limit; }

  private:
    template <typename T> T number() { return static_cast<T>(random_()); }
    template <typename T> std::optional<T> maybe(T value) { return below(2) ? std::optional<T>(value) : std::nullopt; }
    std::string text(size_t longest) {
        std::string text(below(longest + 1), ' ');
        std::ranges::generate(text, [&] { return static_cast<char>('a' + below(26)); });
        return text;
    }

    FlowerKey random_key(FlowerField field) {
        Bytes value(flower_field_bytes(field));
        std::ranges::generate(value, [&] { return number<uint8_t>(); });
        Bytes mask(flower_field_has_mask(field) ? value.size() : 0);
        std::ranges::generate(mask, [&] { return number<uint8_t>(); });
        return key(field, value, mask);
    }

    Control control() {
        using enum Control::Code;
        constexpr std::array kCodes{Continue, Ok, Reclassify, Shot, Pipe, Stolen, GotoChain};
        const Control::Code code = kCodes[below(kCodes.size())];
        return {code, code == GotoChain ? number<uint32_t>() >> 4U : 0};
    }

    Pedit pedit() {
        Pedit pedit;
        for (size_t count = below(60); count > 0; count--)
            pedit.keys.push_back({static_cast<Pedit::Header>(below(6)), below(2) == 1, number<uint32_t>(),
                                  number<uint32_t>(), number<uint32_t>()});
        return pedit;
    }

    TcAction action() {
        TcAction action{Gact{}, control(), number<uint32_t>(), text(16)};
        switch (below(7)) {
        case 1:
            action.what = Mirred{static_cast<int>(below(1000)), below(2) == 1, below(2) == 1};
            break;
        case 2:
            action.what = Skbedit{maybe(number<uint32_t>()), maybe(number<uint32_t>()), maybe(number<uint32_t>()),
                                  maybe(number<uint16_t>())};
            break;
        case 3:
            action.what = BpfAction{static_cast<int>(below(1000)), 0, text(255)};
            break;
        case 4:
            action.what = VlanEdit{static_cast<VlanEdit::Verb>(1 + below(3)), maybe(number<uint16_t>()),
                                   maybe(number<uint16_t>()), maybe(number<uint8_t>())};
            break;
        case 5:
            action.what = pedit();
            break;
        case 6:
            action.what = Csum{number<uint32_t>()};
            break;
        default:
            break;
        }
        return action;
    }

    std::mt19937_64 &random_;
};

TEST(TcMessage, AnyFilterComesBack) {
    auto random = seeded_random();
    RandomFilter filters(random);
    for (int i = 0; i < 5000; i++) {
        const FlowerFilter filter = filters.filter();
        ASSERT_EQ(parsed(filter), filter);
    }
}

/// With every field, and as many actions as the kernel takes of so many words each.
FlowerFilter large_filter(size_t words) {
    FlowerFilter filter;
    for (size_t i = 0; i < kFlowerFields; i++)
        filter.keys.push_back(key(static_cast<FlowerField>(i), {1}));
    Pedit pedit;
    pedit.keys.resize(words);
    for (int i = 0; i < TCA_ACT_MAX_PRIO; i++)
        filter.actions.push_back({pedit, {}, 0, std::string(16, 'x')});
    return filter;
}

TEST(TcMessage, AFilterThatAsksForMuchHasRoom) {
    const FlowerFilter filter = large_filter(40);
    EXPECT_EQ(parsed(filter), filter);
}

TEST(TcMessage, ActionsThatNoAttributeHoldsAreNotLeftOut) { EXPECT_FALSE(flower_request(large_filter(60))); }

/// parse_flower() of a copy of just that many bytes, so that a sanitizer sees a step beyond them.
ToldFlower parse_copy(const Bytes &message, size_t length) {
    std::vector<uint32_t> copy((length + 3) / 4);
    std::memcpy(copy.data(), message.data(), length);
    auto *header = reinterpret_cast<nlmsghdr *>(copy.data());
    header->nlmsg_len = static_cast<uint32_t>(length);
    return parse_flower(header);
}

TEST(TcMessage, AMessageThatEndsTooEarlyIsReadAsFarAsItGoes) {
    FlowerFilter filter;
    filter.place = {5, Hook::Ingress, 1, 7, 3};
    filter.keys = {key(FlowerField::EthDst, {1}), key(FlowerField::Spi, {1})};
    filter.actions = one_of_each_kind();
    const NlMsg request = flower_request(filter);
    ASSERT_TRUE(request);
    const Bytes message = bytes_of(nlmsg_hdr(request.get()));
    for (size_t length = NLMSG_HDRLEN; length < message.size(); length++)
        EXPECT_NE(parse_copy(message, length).filter, filter) << length;
    EXPECT_EQ(parse_copy(message, message.size()).filter, filter);
}

TEST(TcMessage, AWrongMessageIsReadWithoutHarm) {
    auto random = seeded_random();
    RandomFilter filters(random);
    for (int i = 0; i < 5000; i++) {
        const NlMsg request = flower_request(filters.filter());
        ASSERT_TRUE(request);
        Bytes message = bytes_of(nlmsg_hdr(request.get()));
        for (size_t wrong = 1 + filters.below(8); wrong > 0; wrong--)
            message[NLMSG_HDRLEN + filters.below(message.size() - NLMSG_HDRLEN)] = static_cast<uint8_t>(random());
        const ToldFlower told = parse_copy(message, message.size());
        EXPECT_LE(told.filter.keys.size(), kFlowerFields);
        EXPECT_LE(told.filter.actions.size(), told.actions.size());
    }
}

} // namespace
} // namespace tapflow::test
