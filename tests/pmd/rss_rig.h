// SPDX-License-Identifier: BSD-3-Clause
// RSS of a port in testpmd: its commands, and packets with the hash, flag and queue that they must come out with.
#pragma once

#include "pmd/plugin.h"
#include "support/packet_socket.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::test {

inline constexpr std::string_view kHashFlag = "RTE_MBUF_F_RX_RSS_HASH";

/// The key's bits differ everywhere, or a hash over the wrong bytes goes unseen.
inline constexpr const char *kOtherKey =
    "d181c62cf7f4db5b1983a2fc943e1adbd9389e6bd1039c2ca74499ad593d56d9f3253c062adc1ffc";

inline packet::Bytes key_bytes(std::string_view hex) {
    packet::Bytes key;
    for (size_t i = 0; i < hex.size(); i += 2)
        key.push_back(static_cast<uint8_t>(std::strtoul(std::string(hex.substr(i, 2)).c_str(), nullptr, 16)));
    return key;
}

inline std::string hex(const packet::Bytes &bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const uint8_t byte : bytes)
        text.append({kDigits[byte >> 4U], kDigits[byte & 15U]});
    return text;
}

/// "(0,3)", "(0,3),(1,2)" …
inline void append_slot(std::string &entries, size_t slot, uint16_t queue) {
    entries.append(entries.empty() ? "(" : ",(").append(std::to_string(slot));
    entries.append(",").append(std::to_string(queue)).append(")");
}

inline void set_reta(Testpmd &testpmd, const std::vector<uint16_t> &reta) {
    std::string entries;
    const auto flush = [&] {
        testpmd.command("port config 0 rss reta " + entries);
        entries.clear();
    };
    for (size_t slot = 0; slot < reta.size(); ++slot) {
        if (entries.size() > 110) // one argument holds 128 characters
            flush();
        append_slot(entries, slot, reta[slot]);
    }
    flush();
}

inline std::vector<uint16_t> shown_reta(Testpmd &testpmd, size_t size = rss::kDefaultRetaSize) {
    std::string masks;
    for (size_t group = 0; group < size / 64; ++group)
        masks.append(masks.empty() ? "(" : ",").append("-1"); // all bits, in an argument of at most 128 characters
    const std::string output = testpmd.command("show port 0 rss reta " + std::to_string(size) + " " + masks + ")");
    std::vector<uint16_t> reta;
    constexpr std::string_view kQueue = ", queue=";
    for (size_t at = output.find(kQueue); at != std::string::npos; at = output.find(kQueue, at + 1))
        reta.push_back(static_cast<uint16_t>(std::strtoul(output.c_str() + at + kQueue.size(), nullptr, 10)));
    return reta;
}

inline packet::Bytes shown_key(Testpmd &testpmd) {
    const std::string output = testpmd.command("show port 0 rss-hash key");
    const size_t at = output.find("RSS key:\n");
    return at == std::string::npos ? packet::Bytes()
                                   : key_bytes(output.substr(at + 9, output.find('\n', at + 9) - at - 9));
}

/// testpmd's own names of types: "all", "ip", "udp", "ipv6-ex", "level-inner" (with the ones before), "none".
inline void set_types(Testpmd &testpmd, const std::string &types) { testpmd.command("port config all rss " + types); }

/// The key command leaves only the types that it names: others are set after it.
inline void set_key(Testpmd &testpmd, const std::string &key, const std::string &types = "all") {
    testpmd.command("port config 0 rss-hash-key ipv4 " + key);
    set_types(testpmd, types);
}

/// The default key, all types and a round-robin RETA.
inline rss::RssConfig default_config(unsigned queues, size_t slots = rss::kDefaultRetaSize) {
    const auto key = rss::default_key();
    return {{key.begin(), key.end()}, rss::kAllTypes, rss::round_robin_reta(queues, slots)};
}

/// Where a packet with this hash belongs; none: it is not hashed.
inline Steering steering_of(const rss::RssConfig &config, std::optional<uint32_t> hash) {
    return {hash, config.reta[hash.value_or(0) % config.reta.size()]};
}

/// A port in rxonly mode with all types, and where its packets come from: the tap, or the remote's peer.
struct Receiver {
    /// `devargs` begins with a comma, as in ",reta_size=512".
    Receiver(Mode mode, unsigned queues, const std::string &devargs = "")
        : testpmd(options_of(mode, queues, devargs)), mac(cabled.app.link("tap0").mac),
          sender(mode == Mode::Remote ? cabled.outside : cabled.app, mode == Mode::Remote ? "peer3" : "tap0",
                 {.receive = false}) {
        set_types(testpmd, "all");
        start_forwarding(testpmd, "rxonly");
    }

    /// Sends a frame alone, and compares what comes out.
    void expect(const packet::Bytes &frame, const Steering &wanted) {
        ASSERT_TRUE(sender.send(frame));
        const auto packets = testpmd.packets(1);
        ASSERT_EQ(packets.size(), 1U);
        expect_steered(packets[0], wanted);
    }

    static void expect_steered(const TestpmdPacket &packet, const Steering &wanted) {
        EXPECT_EQ(packet.rss_hash, wanted.hash);
        EXPECT_EQ(packet.has_flag(kHashFlag), wanted.hash.has_value());
        EXPECT_EQ(packet.queue, wanted.queue);
    }

    Cabled cabled;
    Testpmd testpmd;
    packet::Mac mac;
    PacketSocket sender;

  private:
    [[nodiscard]] TestpmdOptions options_of(Mode mode, unsigned queues, const std::string &devargs) const {
        const std::string vdev = mode == Mode::Remote ? remote_vdev() : "net_tap0,iface=tap0";
        TestpmdOptions options = plugin_options(cabled.app, {vdev + devargs}, queues);
        if (queues <= 4)
            options.rxd = 4096; // room for what testpmd has no time to print: a queue of the tap counts frames
        return options;
    }
};

} // namespace tapflow::test
