// SPDX-License-Identifier: BSD-3-Clause
// Flows that reach every queue of a port.
#pragma once

#include "packet/build.h"
#include "support/packet_socket.h"
#include "support/testpmd.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::test {

inline bool contains(const std::string &text, std::string_view part) { return text.find(part) != std::string::npos; }

/// `count` UDP flows to a port.
inline std::vector<packet::Bytes> flows_to(const packet::Mac &mac, uint16_t count = 64) {
    std::vector<packet::Bytes> frames;
    for (uint16_t i = 0; i < count; ++i)
        frames.push_back(packet::Packet().ether(mac).ipv4("10.0.0.1", "10.0.0.2").udp(i, 9).payload(20).bytes());
    return frames;
}

/// Sends flows and returns the queues that they came in on. rxonly and verbose must be on.
inline std::set<unsigned> queues_used(Testpmd &testpmd, PacketSocket &sender, const packet::Mac &mac) {
    const auto frames = flows_to(mac);
    EXPECT_EQ(sender.send_burst(frames), frames.size());
    const auto packets = testpmd.packets(frames.size());
    EXPECT_EQ(packets.size(), frames.size());
    std::set<unsigned> queues;
    for (const TestpmdPacket &packet : packets)
        queues.insert(packet.queue);
    return queues;
}

inline std::set<unsigned> first_queues(unsigned count) {
    std::set<unsigned> queues;
    for (unsigned i = 0; i < count; ++i)
        queues.insert(i);
    return queues;
}

} // namespace tapflow::test
