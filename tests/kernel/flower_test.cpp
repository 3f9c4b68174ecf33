// SPDX-License-Identifier: BSD-3-Clause
// Flower filters on the running kernel, if that has flower: guests do.
#include "kernel/flower.h"
#include "kernel/pass_program.h"
#include "kernel/port_fixture.h"
#include "support/kernel_version.h"
#include "support/packet_socket.h"
#include "support/print_flower.h"

#include <linux/if_ether.h>
#include <linux/tc_act/tc_csum.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <iostream>

namespace tapflow::test {
namespace {

using namespace kernel;

/// A key whose value begins with these bytes, and is compared whole or under a mask of `mask` in each byte.
FlowerKey key(FlowerField field, const std::vector<uint8_t> &value, uint8_t mask = 0xff) {
    FlowerKey key{field, {}, {}};
    std::ranges::copy(value, key.value.begin());
    std::fill_n(key.mask.begin(), flower_field_bytes(field), mask);
    return key;
}

FlowerKey ethertype(uint16_t type) {
    return key(FlowerField::EthType, {static_cast<uint8_t>(type >> 8U), static_cast<uint8_t>(type)});
}
FlowerKey protocol(uint8_t number) { return key(FlowerField::IpProto, {number}); }

using Keys = std::vector<FlowerKey>;

/// Of each field something to compare, with what the kernel wants beside it.
std::vector<Keys> keys_of_each_field() {
    using enum FlowerField;
    const FlowerKey ip = ethertype(ETH_P_IP);
    const FlowerKey ipv6 = ethertype(ETH_P_IPV6);
    const FlowerKey arp = ethertype(ETH_P_ARP);
    const FlowerKey tag = ethertype(ETH_P_8021Q);
    const FlowerKey outer_tag = ethertype(ETH_P_8021AD);
    const FlowerKey inner_tag = key(VlanEthType, {0x81, 0x00});
    const FlowerKey tcp = protocol(IPPROTO_TCP);
    const FlowerKey udp = protocol(IPPROTO_UDP);
    const FlowerKey sctp = protocol(IPPROTO_SCTP);
    return {
        {key(EthDst, {2, 0, 0, 0, 0, 1}, 0xf0)},
        {key(EthSrc, {2, 0, 0, 0, 0, 2})},
        {ip},
        {tag, key(VlanId, {0x01, 0x23})},
        {tag, key(VlanPriority, {5})},
        {tag, key(VlanEthType, {0x08, 0x00})},
        {outer_tag, inner_tag, key(CvlanId, {0x04, 0x56})},
        {outer_tag, inner_tag, key(CvlanPriority, {3})},
        {outer_tag, inner_tag, key(CvlanEthType, {0x86, 0xdd})},
        {key(VlanCount, {0})},
        {key(VlanCount, {2})},
        {ip, udp},
        {ip, key(IpTos, {0x28}, 0xfc)},
        {ipv6, key(IpTtl, {64})},
        {ip, key(Ipv4Src, {10, 1, 2, 3}, 0xfe)},
        {ip, key(Ipv4Dst, {10, 1, 2, 3})},
        {ipv6, key(Ipv6Src, {0x20, 1, 0x0d, 0xb8}, 0xf0)},
        {ipv6, key(Ipv6Dst, {0x20, 1, 0x0d, 0xb8})},
        {ip, {Fragment, {0, 0, 0, 1}, {0, 0, 0, 1}}},
        {ip, tcp, key(TcpSrc, {1, 2}, 0x0f)},
        {ip, tcp, key(TcpDst, {1, 2})},
        {ip, udp, key(UdpSrc, {1, 2}, 0x0f)},
        {ipv6, udp, key(UdpDst, {1, 2})},
        {ip, sctp, key(SctpSrc, {1, 2}, 0x0f)},
        {ip, sctp, key(SctpDst, {1, 2})},
        {ip, tcp, key(PortSrcMin, {1, 2}), key(PortSrcMax, {3, 4})},
        {ip, udp, key(PortDstMin, {1, 2}), key(PortDstMax, {3, 4})},
        {ip, tcp, {TcpFlags, {0, 0x02}, {0, 0x12}}},
        {ip, protocol(IPPROTO_ICMP), key(Icmp4Type, {8}, 0x0f)},
        {ip, protocol(IPPROTO_ICMP), key(Icmp4Code, {1})},
        {ipv6, protocol(IPPROTO_ICMPV6), key(Icmp6Type, {128}, 0xf0)},
        {ipv6, protocol(IPPROTO_ICMPV6), key(Icmp6Code, {1})},
        {arp, key(ArpSenderIp, {10, 1, 2, 3}, 0xfe)},
        {arp, key(ArpTargetIp, {10, 1, 2, 3})},
        {arp, key(ArpOperation, {1})},
        {arp, key(ArpSenderMac, {2, 0, 0, 0, 0, 1}, 0xf0)},
        {arp, key(ArpTargetMac, {2, 0, 0, 0, 0, 1})},
        {ip, protocol(IPPROTO_ESP), key(Spi, {1, 2, 3, 4}, 0x0f)},
    };
}

/// The fields that a flower of that age does not know, and so leaves out without a word.
bool is_known(FlowerField field) {
    if (field == FlowerField::Spi)
        return kernel_is_at_least(6, 6);
    return field != FlowerField::VlanCount || kernel_is_at_least(5, 19);
}

bool is_tpid(const FlowerKey &ethertype) {
    return ethertype.value[0] == 0x81 || ethertype.value[0] == 0x88; // of those in this test
}

/// What the kernel tells of them: in place of a TPID the ethertype behind all tags, and nothing that it does not know.
Keys told_of(Keys keys) {
    std::erase_if(keys, [](const FlowerKey &each) { return !is_known(each.field); });
    if (keys.empty() || keys[0].field != FlowerField::EthType || !is_tpid(keys[0]))
        return keys;
    FlowerKey innermost = keys[0];
    for (const FlowerKey &each : keys)
        if (each.field == FlowerField::VlanEthType || each.field == FlowerField::CvlanEthType)
            innermost.value = each.value;
    if (is_tpid(innermost))
        keys.erase(keys.begin());
    else
        keys[0] = innermost;
    return keys;
}

/// A veth pair whose first end has a clsact qdisc.
class FlowerKernel : public InNetNs {
  protected:
    FlowerKernel() {
        add_veth(ns, "v0", ns, "v1");
        link = must(get_link(*netlink, "v0"));
        must(ensure_clsact(*netlink, link));
    }

    /// By tc's word, not by ours.
    bool has_flower() {
        const std::vector<std::string> what{"dev", "v0", "ingress", "pref", "9", "flower"};
        auto add = what;
        add.insert(add.begin(), {"tc", "filter", "add"});
        if (ns.run(add).status != 0)
            return false;
        ns.must_run({"tc", "filter", "del", "dev", "v0", "ingress"});
        return true;
    }

    FlowerFilter filter(uint16_t preference, uint32_t handle = 1, uint32_t chain = 0) const {
        FlowerFilter filter;
        filter.place = {link.index, Hook::Ingress, preference, handle, chain};
        filter.offload = Offload::SoftwareOnly;
        return filter;
    }

    /// What the kernel tells of the filter, without what it has made up: the actions' indices.
    FlowerFilter told(const FilterPlace &place) {
        FlowerFilter filter = must(get_flower(*netlink, place)).filter;
        for (TcAction &action : filter.actions)
            action.index = 0;
        return filter;
    }

    FlowerFilter given_and_told(const FlowerFilter &filter) {
        must(add_flower(*netlink, filter));
        return told(filter.place);
    }

    std::string shown(const char *hook = "ingress") { return ns.must_run({"tc", "filter", "show", "dev", "v0", hook}); }

    std::unique_ptr<Netlink> netlink = must(Netlink::open());
    LinkInfo link;
};

TEST_F(FlowerKernel, IsThereOrItsAbsenceIsSaidInTheKernelsWords) {
    const bool there = has_flower();
    const auto added = add_flower(*netlink, filter(7));
    EXPECT_EQ(static_cast<bool>(added), there);
    if (added) {
        must(remove_filter(*netlink, filter(7).place, "flower"));
        EXPECT_EQ(shown(), "");
        return;
    }
    EXPECT_EQ(added.error().code, ENOENT);
    EXPECT_NE(added.error().detail.find("classifier"), std::string::npos) << added.error().message();
    EXPECT_EQ(added.error().what, "add " + describe(filter(7).place, "flower"));
    const auto looked_up = get_flower(*netlink, filter(7).place);
    ASSERT_FALSE(looked_up);
    EXPECT_EQ(looked_up.error().code, EINVAL) << looked_up.error().message();
}

TEST_F(FlowerKernel, TellsWhatItWasGiven) {
    if (!has_flower())
        GTEST_SKIP() << "kernel lacks flower";
    uint32_t handle = 0;
    for (const Keys &keys : keys_of_each_field()) {
        handle++;
        FlowerFilter given = filter(100, handle, handle % 3);
        given.keys = keys;
        FlowerFilter expected = given;
        expected.keys = told_of(keys);
        EXPECT_EQ(given_and_told(given), expected) << shown();
        if (!is_known(keys.back().field))
            std::cout << "this kernel leaves out " << flower_field_name(keys.back().field) << std::endl;
    }
    for (const uint32_t chain : {0U, 1U, 2U})
        must(remove_filter(*netlink, filter(100, 0, chain).place, "flower"));
    EXPECT_EQ(shown(), "");
}

uint32_t id_of(const Fd &program) {
    bpf_prog_info info{};
    uint32_t length = sizeof(info);
    bpf_obj_get_info_by_fd(program.get(), &info, &length);
    return info.id;
}

TEST_F(FlowerKernel, TellsTheActionsThatItWasGiven) {
    if (!has_flower())
        GTEST_SKIP() << "kernel lacks flower";
    using enum Control::Code;
    const Fd program = pass_program(BPF_PROG_TYPE_SCHED_ACT);
    const int other = must(get_link(*netlink, "v1")).index;
    const std::vector<TcAction> actions{
        {Gact{}, {Shot}, 0, {}},
        {Gact{}, {Continue}, 0, "cookie of 16 b.."},
        {Gact{}, {GotoChain, 5}, 0, {}},
        {Mirred{other, false, false}, {Stolen}, 0, {}},
        {Mirred{other, true, false}, {Pipe}, 0, {}},
        {Mirred{other, false, true}, {Stolen}, 0, {}},
        {Mirred{other, true, true}, {Pipe}, 0, {}},
        {Skbedit{1, 2, 0xff, 3}, {Pipe}, 0, "abc"},
        {Skbedit{{}, 7, {}, {}}, {Ok}, 0, {}},
        {BpfAction{program.get(), 0, "pass"}, {Pipe}, 0, {}},
        {VlanEdit{VlanEdit::Verb::Pop, {}, {}, {}}, {Pipe}, 0, {}},
        {VlanEdit{VlanEdit::Verb::Push, 0x123, 0x88a8, 5}, {Pipe}, 0, {}},
        {VlanEdit{VlanEdit::Verb::Modify, 0x123, 0x8100, 5}, {Pipe}, 0, {}},
        {Pedit{{{Pedit::Header::Eth, false, 4, 0xffff0000, 0x0201},
                {Pedit::Header::Ipv4, true, 8, 0x00ffffff, 0xff},
                {Pedit::Header::Udp, false, 0, 0xffff0000, 0x3500}}},
         {Pipe},
         0,
         {}},
        {Csum{TCA_CSUM_UPDATE_FLAG_IPV4HDR | TCA_CSUM_UPDATE_FLAG_UDP}, {Pipe}, 0, {}},
    };
    uint32_t handle = 0;
    const auto expect_told = [&](const std::vector<TcAction> &given_actions) {
        FlowerFilter given = filter(100, ++handle);
        given.place.hook = Hook::Egress; // from Linux 6.2 on, flower takes no queue mapping at ingress
        given.keys = {key(FlowerField::EthDst, {static_cast<uint8_t>(handle)})}; // no two may compare the same
        given.actions = given_actions;
        FlowerFilter expected = given;
        for (TcAction &action : expected.actions)
            if (auto *bpf = std::get_if<BpfAction>(&action.what))
                *bpf = {-1, id_of(program), bpf->name};
        EXPECT_EQ(given_and_told(given), expected) << shown("egress");
    };
    for (const TcAction &action : actions)
        expect_told({action});
    expect_told({actions[7], actions[4], actions[9], actions[0]});
    FilterPlace all = filter(100, 0).place;
    all.hook = Hook::Egress;
    must(remove_filter(*netlink, all, "flower"));
    EXPECT_EQ(shown("egress"), "");
}

TEST_F(FlowerKernel, FiltersShareTheActionOfAnIndexAndItsCount) {
    if (!has_flower())
        GTEST_SKIP() << "kernel lacks flower";
    const TcAction shared{Gact{}, {Control::Code::Continue}, 4711, {}};
    for (const uint32_t handle : {1U, 2U}) {
        FlowerFilter given = filter(static_cast<uint16_t>(100 + handle), handle);
        given.actions = {shared};
        must(add_flower(*netlink, given));
        EXPECT_EQ(must(get_flower(*netlink, given.place)).filter, given);
    }
    PacketSocket sender(ns, "v1", {.receive = false});
    const packet::Bytes frame(100, 0);
    ASSERT_TRUE(sender.send(frame));
    const auto counted = must(get_flower(*netlink, filter(101, 1).place));
    ASSERT_EQ(counted.actions.size(), 1U);
    EXPECT_EQ(counted.actions[0].count, (ActionCount{2, 2 * (100 - ETH_HLEN)}));
}

/// A UDP packet over IPv4 from 10.0.0.1 to 10.0.0.2.
packet::Bytes udp_frame() {
    packet::Bytes frame{2, 0,  0,  0, 0, 1,  2, 0, 0, 0,  0, 2, 8, 0, 0x45, 0, 0, 46, 0,  0, 0,
                        0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1,    0, 2, 0,  26, 0, 0};
    frame.resize(60);
    return frame;
}

/// What a rule that becomes a filter has to know of flower: which packets it is for.
TEST_F(FlowerKernel, MatchesWhatItSays) {
    if (!has_flower())
        GTEST_SKIP() << "kernel lacks flower";
    using enum FlowerField;
    const packet::Bytes udp = udp_frame();
    packet::Bytes short_header = udp; // an IHL of 2
    short_header[14] = 0x42;
    const packet::Bytes truncated(udp.begin(), udp.begin() + 24);
    packet::Bytes tagged = udp;
    constexpr std::array<uint8_t, 4> kTag{0x81, 0, 0, 5};
    tagged.insert(tagged.begin() + 12, kTag.begin(), kTag.end());
    const std::array frames{udp, short_header, truncated, tagged};
    const FlowerKey ip = ethertype(ETH_P_IP);
    const FlowerKey source = key(Ipv4Src, {10, 0, 0, 1});
    const FlowerKey any_source = key(Ipv4Src, {}, 0);
    const std::vector<std::pair<Keys, std::array<bool, 4>>> cases{
        {{}, {true, true, true, true}},
        {{ip}, {true, true, true, true}}, // behind tags, and whatever follows
        {{ip, key(IpTtl, {}, 0)}, {true, true, true, true}},
        {{ip, source}, {true, false, false, true}},
        {{ip, protocol(IPPROTO_UDP)}, {true, false, false, true}},
        {{ip, any_source}, {false, false, false, false}}, // no address is looked at, and so none is found
        {{ip, any_source, key(Ipv4Dst, {10, 0, 0, 2})}, {true, false, false, true}},
        {{ip, key(Ipv4Src, {}, 1), key(Ipv4Dst, {}, 1)}, {false, false, false, false}},
        {{key(VlanCount, {0})}, {true, true, true, false}},
        {{key(VlanCount, {1})}, {false, false, false, true}},
        {{ethertype(ETH_P_8021Q)}, {false, false, false, true}},
    };
    uint16_t preference = 100;
    for (const auto &each : cases) {
        FlowerFilter given = filter(preference++);
        given.keys = each.first;
        given.actions = {{Gact{}, {Control::Code::Continue}, 0, {}}};
        must(add_flower(*netlink, given));
    }
    PacketSocket sender(ns, "v1", {.receive = false});
    std::vector<uint64_t> expected(cases.size());
    for (size_t frame = 0; frame < frames.size(); frame++) {
        ASSERT_TRUE(sender.send(frames[frame]));
        for (size_t i = 0; i < cases.size(); i++) {
            const auto told_filter = must(get_flower(*netlink, filter(static_cast<uint16_t>(100 + i)).place));
            expected[i] += cases[i].second[frame] ? 1 : 0;
            EXPECT_EQ(told_filter.actions[0].count.packets, expected[i]) << "filter " << i << ", frame " << frame;
        }
    }
}

TEST_F(FlowerKernel, TwoOfAPreferenceThatCompareTheSameAreRefused) {
    if (!has_flower())
        GTEST_SKIP() << "kernel lacks flower";
    must(add_flower(*netlink, filter(100, 1)));
    const auto again = add_flower(*netlink, filter(100, 2));
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, EEXIST);
    must(add_flower(*netlink, filter(100, 2, 1)));
    must(add_flower(*netlink, filter(101, 2)));
}

TEST_F(FlowerKernel, WhatNoHardwareTakesIsRefused) {
    if (!has_flower())
        GTEST_SKIP() << "kernel lacks flower";
    FlowerFilter given = filter(100);
    given.offload = Offload::HardwareOnly;
    const auto added = add_flower(*netlink, given);
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().code, EOPNOTSUPP) << added.error().message(); // without words of the kernel's
    given.offload = Offload::Auto;
    must(add_flower(*netlink, given));
    const auto told = must(get_flower(*netlink, given.place));
    EXPECT_EQ(told.filter.offload, Offload::Auto);
    EXPECT_FALSE(told.in_hardware);
}

} // namespace
} // namespace tapflow::test
