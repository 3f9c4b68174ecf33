// SPDX-License-Identifier: BSD-3-Clause
// What a port hashes, for testpmd's types, the device arguments for functions and sizes, and levels of tunnels.
#include "pmd/rss_rig.h"
#include "support/hash_reference.h"
#include "support/rss_samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <set>
#include <sstream>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

/// Samples whose number is in their source address, so that they are known when they come out in any order.
std::vector<RssSample> numbered(const packet::Mac &port_mac,
                                const std::function<std::vector<RssSample>(const Flow &)> &make) {
    std::vector<RssSample> samples;
    for (size_t i = 0, count = make({}).size(); i < count; ++i) {
        Flow flow;
        flow.destination_mac = port_mac;
        flow.source_mac.bytes = {0x02, 0xaa, 0, 0, static_cast<uint8_t>(i >> 8U), static_cast<uint8_t>(i)};
        flow.source_port = static_cast<uint16_t>(flow.source_port + 7 * i);
        flow.source4.bytes[3] = static_cast<uint8_t>(flow.source4.bytes[3] + 3 * i);
        flow.source6.bytes[9] = static_cast<uint8_t>(i);
        samples.push_back(make(flow)[i]);
    }
    return samples;
}

size_t number_of(const TestpmdPacket &packet) {
    return std::strtoul(packet.src.substr(12, 2).c_str(), nullptr, 16) << 8U |
           std::strtoul(packet.src.substr(15, 2).c_str(), nullptr, 16);
}

/// Sends each sample once and compares what comes out. Returns the queues that they were on.
std::set<unsigned> expect_hashed(Receiver &receiver, const std::vector<RssSample> &samples,
                                 const rss::RssConfig &config) {
    std::vector<Bytes> frames;
    std::set<unsigned> queues;
    for (const RssSample &sample : samples)
        frames.push_back(Packet(sample.packet).pad_to(60).bytes());
    EXPECT_EQ(receiver.sender.send_burst(frames), frames.size());
    const auto packets = receiver.testpmd.packets(frames.size());
    EXPECT_EQ(packets.size(), frames.size());
    for (const TestpmdPacket &packet : packets) {
        const RssSample &sample = samples.at(number_of(packet));
        SCOPED_TRACE(sample.name);
        const auto input = sample.input(config.types);
        Receiver::expect_steered(
            packet, steering_of(config, input ? std::optional(hash_reference(config, *input)) : std::nullopt));
        queues.insert(packet.queue);
    }
    return queues;
}

std::vector<RssSample> every_third_sample(const Flow &flow) {
    std::vector<RssSample> samples;
    size_t i = 0;
    for (const RssSample &sample : all_samples(flow))
        if (i++ % 3 == 0 || sample.version == 0)
            samples.push_back(sample);
    return samples;
}

struct Types {
    const char *name;
    uint64_t types;
};

const std::vector<Types> kTestpmdTypes{
    {"ipv4", rss::kIpv4},
    {"ipv4-frag", rss::kFragmentIpv4},
    {"ipv4-tcp", rss::kIpv4Tcp},
    {"ipv4-udp", rss::kIpv4Udp},
    {"ipv4-sctp", rss::kIpv4Sctp},
    {"ipv4-other", rss::kIpv4Other},
    {"ipv6", rss::kIpv6},
    {"ipv6-frag", rss::kFragmentIpv6},
    {"ipv6-tcp", rss::kIpv6Tcp},
    {"ipv6-udp", rss::kIpv6Udp},
    {"ipv6-sctp", rss::kIpv6Sctp},
    {"ipv6-other", rss::kIpv6Other},
    {"l2-payload", rss::kL2Payload},
    {"ipv6-ex", rss::kIpv6Ex},
    {"ipv6-tcp-ex", rss::kIpv6TcpEx},
    {"ipv6-udp-ex", rss::kIpv6UdpEx},
    {"esp", rss::kEsp},
    {"ah", rss::kAh},
    {"ip", rss::kIpv4 | rss::kFragmentIpv4 | rss::kIpv4Other | rss::kIpv6 | rss::kFragmentIpv6 | rss::kIpv6Other |
               rss::kIpv6Ex},
    {"tcp", rss::kIpv4Tcp | rss::kIpv6Tcp | rss::kIpv6TcpEx},
    {"udp", rss::kIpv4Udp | rss::kIpv6Udp | rss::kIpv6UdpEx},
    {"sctp", rss::kIpv4Sctp | rss::kIpv6Sctp},
    {"all", rss::kAllTypes},
    {"none", 0},
};

/// The types that testpmd shows, without the names of groups.
std::set<std::string> shown_types(Testpmd &testpmd) {
    std::istringstream output(testpmd.command("show port 0 rss-hash"));
    std::set<std::string> names;
    for (std::string word; output >> word;)
        if (word != "ip" && word != "tcp" && word != "udp" && word != "sctp" && word != "all")
            names.insert(word);
    for (const char *title : {"RSS", "functions:"})
        names.erase(title);
    return names;
}

TEST(RssTypes, SelectWhatIsHashed) {
    Receiver receiver(Mode::Remote, 4);
    rss::RssConfig config = default_config(4);
    const auto samples = numbered(receiver.mac, every_third_sample);
    for (const Types &types : kTestpmdTypes) {
        SCOPED_TRACE(types.name);
        set_types(receiver.testpmd, types.name);
        config.types = types.types;
        expect_hashed(receiver, samples, config);
        if (types.types == 0)
            continue;
        std::set<std::string> wanted;
        for (const Types &one : kTestpmdTypes)
            if (std::has_single_bit(one.types) && (types.types & one.types) != 0)
                wanted.insert(one.name);
        EXPECT_EQ(shown_types(receiver.testpmd), wanted);
    }
    EXPECT_EQ(receiver.testpmd.quit(), 0);
}

TEST(RssReta, PacketsOfEveryKindStayAmongItsQueues) {
    Receiver receiver(Mode::Remote, 4);
    rss::RssConfig config = default_config(4);
    for (size_t slot = 0; slot < config.reta.size(); ++slot)
        config.reta[slot] = slot % 2 == 0 ? 2 : 3;
    set_reta(receiver.testpmd, config.reta);
    const auto samples = numbered(receiver.mac, every_third_sample);
    // Those that are not hashed, too: ICMP, fragments and ARP where only TCP or UDP is.
    for (const Types &types : kTestpmdTypes) {
        SCOPED_TRACE(types.name);
        set_types(receiver.testpmd, types.name);
        config.types = types.types;
        const auto queues = expect_hashed(receiver, samples, config);
        EXPECT_TRUE(queues == std::set<unsigned>({2}) || queues == std::set<unsigned>({2, 3}))
            << testing::PrintToString(queues);
    }
}

class RssFunction : public testing::TestWithParam<rss::Function> {};

INSTANTIATE_TEST_SUITE_P(Function, RssFunction, testing::ValuesIn(kFunctions),
                         [](const auto &instance) { return function_name(instance.param); });

TEST_P(RssFunction, IsTheDeviceArguments) {
    Receiver receiver(Mode::Remote, 4, ",rss_function=" + function_name(GetParam()));
    rss::RssConfig config = default_config(4);
    config.function = GetParam();
    expect_hashed(receiver, numbered(receiver.mac, all_samples), config);
    config.key = key_bytes(kOtherKey);
    set_key(receiver.testpmd, kOtherKey);
    expect_hashed(receiver, numbered(receiver.mac, all_samples), config);
    EXPECT_EQ(receiver.testpmd.quit(), 0);
}

class RssRetaSize : public testing::TestWithParam<size_t> {};

INSTANTIATE_TEST_SUITE_P(Slots, RssRetaSize, testing::Values(128, 256, 512), testing::PrintToStringParamName());

TEST_P(RssRetaSize, IsTheDeviceArguments) {
    const std::string size = std::to_string(GetParam());
    Receiver receiver(Mode::Remote, 16, ",reta_size=" + size);
    rss::RssConfig config = default_config(16, GetParam());
    const std::string info = receiver.testpmd.command("show port info 0");
    EXPECT_NE(info.find("Redirection table size: " + size), std::string::npos) << info;
    EXPECT_EQ(shown_reta(receiver.testpmd, GetParam()), config.reta);
    const auto samples = numbered(receiver.mac, all_samples);
    expect_hashed(receiver, samples, config);
    // No two slots whose numbers differ in the highest bit alone have the same queue.
    for (size_t slot = 0; slot < config.reta.size(); ++slot)
        config.reta[slot] = static_cast<uint16_t>((slot * 7 + slot / 64) % 16);
    set_reta(receiver.testpmd, config.reta);
    EXPECT_EQ(shown_reta(receiver.testpmd, GetParam()), config.reta);
    expect_hashed(receiver, samples, config);
    EXPECT_EQ(receiver.testpmd.quit(), 0);
}

TEST(RssKeySize, OfFiftyTwoBytesIsTheDeviceArguments) {
    Receiver receiver(Mode::Remote, 4, ",rss_key_size=52");
    const std::string info = receiver.testpmd.command("show port info 0");
    EXPECT_NE(info.find("Hash key size in bytes: 52"), std::string::npos) << info;
    rss::RssConfig config = default_config(4);
    const auto samples = numbered(receiver.mac, every_third_sample);
    Bytes key = config.key; // Microsoft's, and from its beginning again
    key.insert(key.end(), config.key.begin(), config.key.begin() + 12);
    EXPECT_EQ(shown_key(receiver.testpmd), key);
    expect_hashed(receiver, samples, config);
    config.key = key_bytes(kOtherKey);
    config.key.resize(rss::kLongKeySize, 0x5a);
    set_key(receiver.testpmd, hex(config.key));
    EXPECT_EQ(shown_key(receiver.testpmd), config.key);
    expect_hashed(receiver, samples, config);
    config.key.resize(rss::kKeySize); // is all that counts
    expect_hashed(receiver, samples, config);
}

/// VXLAN packets, the samples inside or, with `outer`, what is hashed of the packets' own headers.
std::vector<RssSample> in_vxlan(const std::vector<RssSample> &samples, const packet::Mac &port_mac, bool outer) {
    std::vector<RssSample> packets;
    for (size_t i = 0; i < samples.size(); ++i) {
        Flow flow;
        flow.destination_mac = port_mac;
        flow.source_mac.bytes = {0x02, 0xaa, 0, 0, static_cast<uint8_t>(i >> 8U), static_cast<uint8_t>(i)};
        flow.source4 = "172.16.0.1";
        flow.destination4 = "172.16.0.2";
        flow.destination_port = 4789;
        RssSample own = sample::of_protocol(sample::ether(flow), "vxlan", sample::kProtocols[1], flow, 4);
        RssSample packet = outer || samples[i].version == 0 ? own : samples[i]; // not IP inside: the outer headers
        packet.packet = sample::ether(flow)
                            .ipv4(flow.source4, flow.destination4)
                            .udp(flow.source_port, flow.destination_port)
                            .vxlan(7)
                            .raw(samples[i].packet.bytes());
        packets.push_back(packet);
    }
    return packets;
}

TEST(RssLevel, ChoosesATunnelsHeaders) {
    Receiver receiver(Mode::Remote, 4);
    const rss::RssConfig config = default_config(4);
    const auto samples = numbered("02:00:00:00:00:99", all_samples);
    for (const char *level : {"all", "level-inner", "level-outer", "level-inner", "level-default"}) {
        SCOPED_TRACE(level);
        set_types(receiver.testpmd, level);
        const bool outer = std::string_view(level) != "level-inner";
        expect_hashed(receiver, in_vxlan(samples, receiver.mac, outer), config);
    }
}

} // namespace
} // namespace tapflow::test
