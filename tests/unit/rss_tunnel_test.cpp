// SPDX-License-Identifier: BSD-3-Clause
// Which headers of a tunnel packet are hashed.
#include "support/expected_record.h"
#include "support/rss_samples.h"

#include <gtest/gtest.h>

#include <bit>
#include <functional>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr uint64_t kBothLevels = rss::kOutermost | rss::kInnermost;

/// What a tunnel carries.
enum class Cargo : uint8_t { Ethernet, Ipv4, Ipv6 };

struct Tunnel {
    std::string name;
    Cargo cargo;
    sample::Protocol protocol;         ///< of the outer packet
    std::function<void(Packet &)> add; ///< behind the outer IP header, up to what is carried
};

constexpr uint16_t kOuterSource = 50505;

std::vector<Tunnel> tunnels() {
    const sample::Protocol &udp = sample::kProtocols[1];
    const sample::Protocol &other = sample::kProtocols.back();
    std::vector<Tunnel> all{
        {"vxlan", Cargo::Ethernet, udp, [](Packet &packet) { packet.udp(kOuterSource, 4789).vxlan(77); }},
        {"ipip", Cargo::Ipv4, other, [](Packet &packet) { packet.next_type(4); }},
        {"6in", Cargo::Ipv6, other, [](Packet &packet) { packet.next_type(41); }},
    };
    const std::vector<std::pair<Cargo, uint16_t>> cargos{
        {Cargo::Ethernet, 0x6558}, {Cargo::Ipv4, 0x0800}, {Cargo::Ipv6, 0x86dd}};
    for (const auto &[cargo, type] : cargos) {
        const auto high = static_cast<uint8_t>(type >> 8U);
        const auto low = static_cast<uint8_t>(type);
        const std::string carries = " with " + std::to_string(type);
        for (const uint8_t words : std::array<uint8_t, 4>{0, 1, 3, 63})
            all.push_back(
                {"geneve" + carries + ", option words " + std::to_string(words), cargo, udp, [=](Packet &packet) {
                     packet.udp(kOuterSource, 6081)
                         .raw({words, 0, high, low, 1, 2, 3, 0})
                         .raw(Bytes(words * size_t{4}, 0xee));
                 }});
        for (const unsigned options : {0x00U, 0x80U, 0x20U, 0x10U, 0xa0U, 0x90U, 0x30U, 0xb0U}) {
            const auto words = static_cast<size_t>(std::popcount(options));
            all.push_back({"gre" + carries + ", flags " + std::to_string(options), cargo, other, [=](Packet &packet) {
                               packet.next_type(47)
                                   .raw({static_cast<uint8_t>(options), 0, high, low})
                                   .raw(Bytes(words * 4, 0xee));
                           }});
        }
    }
    return all;
}

/// The outer headers' ends.
Flow outer_flow() {
    Flow flow;
    flow.source4 = "172.16.0.1";
    flow.destination4 = "172.16.9.2";
    flow.source6 = "fd99::1";
    flow.destination6 = "fd98::2";
    flow.source_mac = "02:00:00:00:00:51";
    flow.destination_mac = "02:00:00:00:00:52";
    return flow;
}

/// Ethernet and IP of the outer packet.
Packet outer_headers(unsigned version, const Flow &flow) {
    Packet packet = sample::ether(flow);
    return version == 4 ? packet.ipv4(flow.source4, flow.destination4) : packet.ipv6(flow.source6, flow.destination6);
}

/// What is hashed of the outer headers.
RssSample outer_sample(const Tunnel &tunnel, unsigned version, const Flow &flow) {
    RssSample outer = sample::of_protocol(sample::ether(flow), tunnel.name, tunnel.protocol, flow, version);
    outer.l4 = outer.mobile_l4 =
        outer.l3.with_ports(kOuterSource, tunnel.name.starts_with("vxlan") ? uint16_t{4789} : uint16_t{6081});
    return outer;
}

Bytes carried(const Tunnel &tunnel, const RssSample &inner) {
    const Bytes frame = inner.packet.bytes();
    return {frame.begin() + (tunnel.cargo == Cargo::Ethernet ? 0 : 14), frame.end()};
}

bool carries(const Tunnel &tunnel, const RssSample &inner) {
    if (tunnel.cargo == Cargo::Ethernet)
        return true;
    const bool tagged = inner.name.ends_with("vlan") || inner.name.ends_with("qinq");
    return !tagged && inner.version == (tunnel.cargo == Cargo::Ipv4 ? 4U : 6U);
}

rss::RssConfig config_of(rss::Function function, uint64_t types) {
    rss::RssConfig config = rss_config(types, {3, 1, 2, 5, 1, 7, 2, 4});
    config.function = function;
    return config;
}

void expect_hash_of(const rss::RssConfig &config, const tapflow_rss &tables, const RssSample &wanted,
                    const Bytes &frame) {
    const Classified got = classify(tables, frame);
    const auto input = wanted.input(config.types);
    const uint32_t hash = input ? hash_reference(config, *input) : 0;
    ASSERT_EQ(got.hashed, input.has_value());
    ASSERT_EQ(got.hash, hash);
    ASSERT_EQ(got.queue, config.reta[hash % config.reta.size()]);
}

TEST(RssTunnel, TheLevelSaysWhichHeadersAreHashed) {
    const Flow flow = outer_flow();
    const auto inners = all_samples();
    for (const rss::Function function : kFunctions)
        for (const uint64_t types : {rss::kAllTypes, rss::kIpv4Udp | rss::kIpv6Tcp | rss::kIpv6Ex | rss::kL4SourceOnly,
                                     uint64_t{rss::kIpv6Udp}, uint64_t{rss::kIpv4} | rss::kL3DestinationOnly}) {
            for (const uint64_t level :
                 {uint64_t{0}, uint64_t{rss::kOutermost}, uint64_t{rss::kInnermost}, kBothLevels}) {
                const rss::RssConfig config = config_of(function, types | level);
                const auto tables = tables_of(config);
                for (const Tunnel &tunnel : tunnels())
                    for (const unsigned version : {4U, 6U}) {
                        Packet headers = outer_headers(version, flow);
                        tunnel.add(headers);
                        const RssSample outer = outer_sample(tunnel, version, flow);
                        // All of them in one tunnel of each kind of cargo, some in the others.
                        for (size_t i = 0; i < inners.size(); i++) {
                            const RssSample &inner = inners[i];
                            if (!carries(tunnel, inner))
                                continue;
                            const bool every = tunnel.name == "vxlan" || tunnel.name == "ipip" || tunnel.name == "6in";
                            if (!every && i % 11 != 0)
                                continue;
                            SCOPED_TRACE(inner.name + " in " + tunnel.name + " in ipv" + std::to_string(version) +
                                         ", types " + std::to_string(config.types));
                            const bool by_inner = level == rss::kInnermost && inner.version != 0;
                            expect_hash_of(config, *tables, by_inner ? inner : outer,
                                           Packet(headers).raw(carried(tunnel, inner)).bytes());
                        }
                        ASSERT_FALSE(HasFatalFailure());
                    }
            }
        }
}

/// Each is a VXLAN, GENEVE or GRE packet but for one thing.
TEST(RssTunnel, WhatIsNoTunnelIsHashedByItsOuterHeaders) {
    const Bytes inside = Packet().ether().ipv4("10.1.1.1", "10.2.2.2").tcp(1, 2).payload(30).bytes();
    const Bytes inside_ip(inside.begin() + 14, inside.end());
    const auto v4 = [] { return Packet().ether().ipv4("172.16.0.1", "172.16.9.2"); };
    const HashInput l3 = ip_input(packet::Ipv4Address("172.16.0.1"), packet::Ipv4Address("172.16.9.2"));
    struct Row {
        const char *name;
        Packet packet;
        HashInput input;
    };
    const auto gre = [&](uint8_t flags, uint8_t version, uint16_t type) {
        return v4().next_type(47).raw({flags, version, static_cast<uint8_t>(type >> 8U), static_cast<uint8_t>(type)});
    };
    const std::vector<Row> rows{
        {"VXLAN without a valid VNI", v4().udp(9, 4789).raw({0, 0, 0, 0, 0, 0, 5, 0}).raw(inside),
         l3.with_ports(9, 4789)},
        {"VXLAN's port as the source", v4().udp(4789, 9).vxlan(5).raw(inside), l3.with_ports(4789, 9)},
        {"another port", v4().udp(9, 4790).vxlan(5).raw(inside), l3.with_ports(9, 4790)},
        {"VXLAN's port in TCP", v4().tcp(9, 4789).vxlan(5).raw(inside), l3.with_ports(9, 4789)},
        {"GENEVE of version 1", v4().udp(9, 6081).raw({0x40, 0, 0x65, 0x58, 0, 0, 5, 0}).raw(inside),
         l3.with_ports(9, 6081)},
        {"GENEVE with another protocol", v4().udp(9, 6081).raw({0, 0, 0x88, 0x47, 0, 0, 5, 0}).raw(inside),
         l3.with_ports(9, 6081)},
        {"GRE with source routing", gre(0x40, 0, 0x0800).raw(inside_ip), l3},
        {"GRE of version 1", gre(0x20, 1, 0x0800).raw(Bytes(4, 0)).raw(inside_ip), l3},
        {"GRE with another protocol", gre(0, 0, 0x8847).raw(inside), l3},
        {"IP in IP of the wrong version", v4().next_type(41).raw(inside_ip), l3},
        {"a fragment",
         Packet()
             .ether()
             .ipv4({.src = "172.16.0.1", .dst = "172.16.9.2", .more_fragments = true})
             .udp(9, 4789)
             .vxlan(5)
             .raw(inside),
         l3},
        {"nothing inside", v4().udp(9, 4789).vxlan(5), l3.with_ports(9, 4789)},
        {"less than a header inside", v4().udp(9, 4789).raw({8, 0, 0, 0}), l3.with_ports(9, 4789)},
    };
    const rss::RssConfig config = config_of(rss::Function::Toeplitz, rss::kAllTypes | rss::kInnermost);
    const auto tables = tables_of(config);
    for (const Row &row : rows) {
        const Classified got = classify(*tables, row.packet.bytes());
        EXPECT_TRUE(got.hashed) << row.name;
        EXPECT_EQ(got.hash, hash_reference(config, row.input)) << row.name;
    }
}

TEST(RssTunnel, AnInnerPacketThatIsCutOffIsNotHashed) {
    const rss::RssConfig config = config_of(rss::Function::Toeplitz, rss::kAllTypes | rss::kInnermost);
    const auto tables = tables_of(config);
    const Flow flow = outer_flow();
    const Flow inside;
    for (const Tunnel &tunnel : tunnels())
        for (const unsigned version : {4U, 6U}) {
            if (version != (tunnel.cargo == Cargo::Ipv6 ? 6U : 4U))
                continue;
            const RssSample inner =
                sample::of_protocol(sample::ether(inside), "", sample::kProtocols[0], inside, version);
            Packet headers = outer_headers(4, flow);
            tunnel.add(headers);
            const size_t start = headers.bytes().size();
            const size_t complete = start + (tunnel.cargo == Cargo::Ethernet ? 14 : 0) + (version == 4 ? 20 : 40) + 4;
            const Bytes whole = Packet(headers).raw(carried(tunnel, inner)).bytes();
            for (size_t size = start; size <= whole.size(); size++) {
                SCOPED_TRACE(tunnel.name + ", " + std::to_string(size) + " of " + std::to_string(whole.size()));
                expect_hash_of(config, *tables, size < complete ? outer_sample(tunnel, 4, flow) : inner,
                               Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)));
            }
        }
}

TEST(RssTunnel, OneLevelIsLookedThrough) {
    const rss::RssConfig config = config_of(rss::Function::Toeplitz, rss::kAllTypes | rss::kInnermost);
    const auto tables = tables_of(config);
    const Packet innermost = Packet().ether().ipv4("10.1.1.1", "10.2.2.2").tcp(1, 2).payload(30);
    const Packet middle = Packet().ether().ipv4("10.3.3.3", "10.4.4.4").udp(7, 4789).vxlan(5).raw(innermost.bytes());
    const Packet outer = Packet().ether().ipv6("fd00::1", "fd00::2").udp(8, 4789).vxlan(6).raw(middle.bytes());
    const HashInput input =
        ip_input(packet::Ipv4Address("10.3.3.3"), packet::Ipv4Address("10.4.4.4")).with_ports(7, 4789);
    EXPECT_EQ(classify(*tables, outer.bytes()).hash, hash_reference(config, input));
}

TEST(RssTunnel, AnInnerPacketOfNoTypeIsNotHashed) {
    const auto tables = tables_of(config_of(rss::Function::Toeplitz, uint64_t{rss::kIpv4Udp} | rss::kInnermost));
    const Bytes inside = Packet().ether().ipv4("10.1.1.1", "10.2.2.2").tcp(1, 2).bytes();
    const Classified got =
        classify(*tables, Packet().ether().ipv4("10.3.3.3", "10.4.4.4").udp(7, 4789).vxlan(5).raw(inside).bytes());
    EXPECT_FALSE(got.hashed);
    EXPECT_EQ(got.queue, 3U);
}

TEST(RssTunnel, SymmetricFunctionsGiveBothDirectionsOfAnInnerFlowTheSameHash) {
    const Flow flow = outer_flow();
    const auto there = protocol_samples({});
    const auto back = protocol_samples(Flow().reversed());
    for (const rss::Function function : {rss::Function::SymmetricToeplitz, rss::Function::SymmetricToeplitzSort}) {
        const auto tables = tables_of(config_of(function, rss::kAllTypes | rss::kInnermost));
        for (const Tunnel &tunnel : tunnels())
            for (size_t i = 0; i < there.size(); i++) {
                if (!carries(tunnel, there[i]))
                    continue;
                Packet forward = outer_headers(4, flow);
                Packet backward = outer_headers(4, flow.reversed());
                tunnel.add(forward);
                tunnel.add(backward);
                const Classified one = classify(*tables, forward.raw(carried(tunnel, there[i])).bytes());
                const Classified two = classify(*tables, backward.raw(carried(tunnel, back[i])).bytes());
                ASSERT_TRUE(one.hashed);
                ASSERT_EQ(one.hash, two.hash) << there[i].name << " in " << tunnel.name;
                ASSERT_EQ(one.queue, two.queue);
            }
    }
}

} // namespace
} // namespace tapflow::test
