// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/port_fixture.h"

#include <atomic>
#include <thread>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

class RssUpdate : public PortTest {};

/// Sends the frames over and over until it goes.
class Sender {
  public:
    Sender(const NetNs &ns, std::vector<Bytes> frames)
        : socket_(ns, "tap0", {.receive = false}), frames_(std::move(frames)),
          thread_([this](const std::stop_token &stop) {
              while (!stop.stop_requested())
                  for (const Bytes &frame : frames_)
                      (void)socket_.send(frame); // a full ring loses it
          }) {}

  private:
    PacketSocket socket_;
    std::vector<Bytes> frames_;
    std::jthread thread_;
};

std::vector<Bytes> flows() {
    std::vector<Bytes> frames;
    for (uint16_t flow = 0; flow < 64; flow++) {
        frames.push_back(Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(flow, 4000).payload(20).bytes());
        frames.push_back(Packet().ether().ipv6("fe80::1", "fe80::2").tcp(flow, 80).bytes());
    }
    return frames;
}

TEST_F(RssUpdate, EveryPacketIsSeenByOneConfigurationAsAWhole) {
    open({.queues = 8});
    const rss::RssConfig a = rss_config(rss::kAllTypes, {0, 1, 2, 3});
    rss::RssConfig b = rss_config(rss::kAllTypes, {4, 5, 6, 7, 7, 6, 5, 4});
    for (uint8_t &byte : b.key)
        byte = static_cast<uint8_t>(byte * 5 + 1);
    const auto tables_a = tables_of(a);
    const auto tables_b = tables_of(b);
    must(port->set_rss(a));
    const Sender sender(ns, flows());

    size_t under_way = 0;
    for (unsigned swap = 0; swap < 60; swap++) {
        const bool to_b = swap % 2 == 0;
        must(port->set_rss(to_b ? b : a));
        std::array<uint64_t, 8> published{}; // what is behind this in a ring came after set_rss() had returned
        for (unsigned queue = 0; queue < 8; queue++)
            published[queue] = port->ring(queue).begin().producer;
        for (size_t after = 0; after < 50;) {
            for (unsigned queue = 0; queue < 8; queue++) {
                const kernel::RingView &ring = port->ring(queue);
                kernel::RingCursor cursor = ring.begin();
                uint64_t next = 0;
                while (const tapflow_record *record = ring.peek(cursor, next)) {
                    const std::span frame(reinterpret_cast<const uint8_t *>(record + 1), record->length);
                    const bool new_one = cursor.position >= published[queue];
                    const Classified in_a = classify(*tables_a, frame);
                    const Classified in_b = classify(*tables_b, frame);
                    const bool is_a = record->hash == in_a.hash && queue == in_a.queue;
                    const bool is_b = record->hash == in_b.hash && queue == in_b.queue;
                    ASSERT_TRUE(is_a || is_b) << "hash " << record->hash << " on queue " << queue;
                    if (new_one) {
                        ASSERT_TRUE(to_b ? is_b : is_a) << "the former configuration after set_rss() has returned";
                        after++;
                    }
                    under_way += !new_one && (to_b ? is_a : is_b) ? 1 : 0;
                    cursor.position = next;
                }
                ring.release(cursor);
            }
        }
    }
    EXPECT_GT(under_way, 0U) << "there was traffic while the configurations changed";
}

TEST_F(RssUpdate, AConfigurationThatIsRefusedChangesNothing) {
    open();
    PacketSocket socket(ns, "tap0", {.receive = false});
    const Bytes frame = flows()[0];
    rss::RssConfig bad = rss_config(rss::kAllTypes, {0, 1, 2, 4});
    const auto refused = port->set_rss(bad);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message(), "set RETA: Invalid argument (slot 3 names queue 4, there are 4)");
    ASSERT_TRUE(socket.send(frame));
    expect_described(only_record(), frame);
}

} // namespace
} // namespace tapflow::test
