// SPDX-License-Identifier: BSD-3-Clause
// Flow rules of a port in testpmd: its commands, and packets for them.
#pragma once

#include "pmd/flows.h"
#include "pmd/remote_rig.h"
#include "pmd/rss_rig.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::test {

/// The number behind a word in testpmd's output: " hits: 7".
inline uint64_t number_behind(const std::string &text, std::string_view word) {
    const size_t at = text.find(word);
    if (at == std::string::npos)
        throw std::runtime_error("no \"" + std::string(word) + "\" in: " + text);
    return std::strtoull(text.c_str() + at + word.size(), nullptr, 10);
}

/// Creates a rule, "ingress pattern eth / end actions drop / end", and returns its number.
inline unsigned create_flow(Testpmd &testpmd, const std::string &rule, unsigned port = 0) {
    const std::string said = testpmd.command("flow create " + std::to_string(port) + " " + rule);
    if (!contains(said, " created"))
        throw std::runtime_error("refused: " + rule + "\n" + said);
    return static_cast<unsigned>(number_behind(said, "Flow rule #"));
}

/// What testpmd says of a rule that both validating and creating refuse; empty: one of them does not.
inline std::string refusal_of(Testpmd &testpmd, const std::string &rule, unsigned port = 0) {
    constexpr std::string_view kCaught = "Caught PMD error";
    const std::string to = std::to_string(port) + " " + rule;
    const std::string foretold = testpmd.command("flow validate " + to);
    const std::string said = testpmd.command("flow create " + to);
    return contains(foretold, kCaught) && contains(said, kCaught) ? said : std::string();
}

inline bool destroy_flow(Testpmd &testpmd, unsigned number) {
    const std::string said = testpmd.command("flow destroy 0 rule " + std::to_string(number));
    return contains(said, " destroyed") && !contains(said, "Caught");
}

struct ShownCount {
    uint64_t packets = 0;
    uint64_t bytes = 0;

    bool operator==(const ShownCount &) const = default;
};
inline std::ostream &operator<<(std::ostream &out, const ShownCount &count) {
    return out << count.packets << " packets, " << count.bytes << " bytes";
}

inline ShownCount shown_count(Testpmd &testpmd, unsigned number) {
    const std::string said = testpmd.command("flow query 0 " + std::to_string(number) + " count");
    return {number_behind(said, " hits: "), number_behind(said, " bytes: ")};
}

/// "eth / ipv4 / udp dst is 80 / end"
inline std::string udp_pattern(unsigned port) {
    return "ingress pattern eth / ipv4 / udp dst is " + std::to_string(port) + " / end ";
}

/// Hashing TCP and UDP flows. With `port config all rss all` testpmd asks for types that nobody offers.
inline const std::string kRssTypes = "rss types ipv4-tcp ipv4-udp ipv6-tcp ipv6-udp end ";

/// A UDP packet without its payload, from a flow by its number.
inline packet::Packet udp_to(const packet::Mac &mac, uint16_t port, uint16_t flow = 1) {
    return packet::Packet().ether(mac).ipv4("10.0.0.1", "10.0.0.2").udp(flow, port);
}

inline const packet::Mac kBehind = "02:00:00:00:02:04"; ///< the source of probes behind a frame

inline std::string name_of(Mode mode) { return mode == Mode::Local ? "local" : "remote"; }

/// As Receiver, with a socket that asks for offloads, and options of testpmd's.
struct FlowRig {
    explicit FlowRig(Mode mode, const std::vector<std::string> &app_arguments = {}, unsigned queues = 4)
        : testpmd([&] {
              TestpmdOptions options =
                  plugin_options(cabled.app, {mode == Mode::Remote ? remote_vdev() : "net_tap0,iface=tap0"}, queues);
              options.rxd = 4096;
              options.app_arguments.insert(options.app_arguments.end(), app_arguments.begin(), app_arguments.end());
              return options;
          }()),
          mac(cabled.app.link("tap0").mac), config(default_config(queues)),
          sender(mode == Mode::Remote ? cabled.outside : cabled.app, mode == Mode::Remote ? "peer3" : "tap0",
                 {.receive = false, .vnet_hdr = true}) {
        set_types(testpmd, "all");
        start_forwarding(testpmd, "rxonly");
    }

    /// Sends a frame alone and returns what comes out; an exception if nothing does.
    TestpmdPacket pass(const packet::Bytes &frame) {
        if (!sender.send(frame))
            throw std::runtime_error("the frame was dropped");
        const auto packets = testpmd.packets(1);
        if (packets.size() != 1)
            throw std::runtime_error(std::to_string(packets.size()) + " packets came out of one frame");
        return packets[0];
    }

    /// Whether nothing comes out of a frame. A probe behind it does, and then another: all queues were read in between.
    bool swallows(const packet::Bytes &frame) {
        (void)sender.send(frame); // the drop may be told to the sender
        for (int i = 0; i < 2; ++i)
            if (pass(probe(mac, kBehind)).ethertype != kProbeType)
                return false;
        return true;
    }

    Cabled cabled;
    Testpmd testpmd;
    packet::Mac mac;
    rss::RssConfig config; ///< the port's own
    PacketSocket sender;
};

} // namespace tapflow::test
