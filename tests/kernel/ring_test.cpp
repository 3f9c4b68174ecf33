// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/clock.h"
#include "kernel/port_fixture.h"
#include "support/seed.h"

#include <linux/pkt_cls.h>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

class RingTest : public PortTest {
  protected:
    uint64_t full() const { return port->state().queues[0].ring_full; }

    static Bytes frame_of(size_t length, uint8_t fill) {
        Bytes frame = Packet().ether().next_type(0x88b5).raw(Bytes(length - 14, fill)).bytes();
        frame.back() = static_cast<uint8_t>(~fill);
        return frame;
    }
};

TEST(Ring, SizesThatAreNoPowerOfTwoAreRefused) {
    const auto ring = kernel::Ring::create(12345);
    ASSERT_FALSE(ring);
    EXPECT_EQ(ring.error().code, EINVAL);
    EXPECT_EQ(ring.error().what, "create BPF ring of 12345 bytes");
}

TEST_F(RingTest, FramesOfEverySizeSurviveManyTurnsAroundASmallRing) {
    open({.queues = 1, .ring_bytes = 16U << 10U, .mtu = 9000});
    PacketSocket sender(ns, "tap0", {.receive = false});
    auto random = seeded_random();
    size_t bytes = 0;
    for (unsigned i = 0; i < 3000; i++) {
        const Bytes frame = frame_of(15 + random() % (i % 4 == 0 ? 7000 : 300), static_cast<uint8_t>(i));
        ASSERT_TRUE(sender.send(frame)) << i;
        bytes += frame.size();
        const auto delivered = drain_all();
        ASSERT_EQ(delivered.size(), 1U) << i;
        ASSERT_TRUE(delivered[0].frame == frame) << i;
    }
    EXPECT_GT(bytes, 100U << 14U) << "turns";
    EXPECT_EQ(full(), 0U);
}

TEST_F(RingTest, WhatDoesNotFitIsCountedAndItsSenderIsTold) {
    open({.queues = 1, .ring_bytes = 16U << 10U});
    PacketSocket sender(ns, "tap0", {.receive = false});
    size_t refused = 0;
    std::vector<Bytes> accepted;
    std::vector<Delivered> delivered;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 300; i++) {
            Bytes frame = frame_of(60 + i, static_cast<uint8_t>(i));
            if (sender.send(frame))
                accepted.push_back(std::move(frame));
            else
                refused++;
        }
        for (Delivered &record : drain_all())
            delivered.push_back(std::move(record));
    }
    EXPECT_GT(refused, 0U);
    EXPECT_EQ(full(), refused);
    ASSERT_EQ(delivered.size(), accepted.size()) << "sent == delivered + ring_full";
    for (size_t i = 0; i < accepted.size(); i++)
        ASSERT_TRUE(delivered[i].frame == accepted[i]) << "in order, frame " << i;
}

TEST_F(RingTest, AFrameLargerThanItsRingIsCounted) {
    open({.queues = 1, .ring_bytes = 4096, .mtu = 9000});
    PacketSocket sender(ns, "tap0", {.receive = false});
    EXPECT_FALSE(sender.send(frame_of(4097, 1)));
    EXPECT_EQ(full(), 1U);
    EXPECT_TRUE(sender.send(frame_of(1000, 2)));
    EXPECT_EQ(drain_all().size(), 1U);
}

/// Fills the ring of queue 0 with a remote's packets for the application alone, up to the first that does not fit.
int verdict_of_first_that_does_not_fit(LoadedClassifier &classifier) {
    const Bytes frame = Packet().ether().next_type(0x88b5).payload(500).bytes();
    tapflow_queue_counters &queue = classifier.state().queues[0];
    const uint64_t before = queue.ring_full + queue.ring_stuck;
    for (;;) {
        const int verdict = classifier.run_remote_ingress(frame);
        if (queue.ring_full + queue.ring_stuck != before)
            return verdict;
    }
}

TEST(RingFullOfARemotesPackets, IsStuckOnceItsReaderHasRestedForALease) {
    LoadedClassifier classifier(Cpu::V3, 1, 4096);
    tapflow_port_state &state = classifier.state();
    state.config.lease_ns = kernel::monotonic_ns() + TAPFLOW_LEASE_NS * 100; // the application is alive
    state.config.mac = packet::Mac("02:00:00:00:00:02").word();
    state.config.flags = TAPFLOW_PORT_STARTED;
    tapflow_queue_counters &queue = state.queues[0];

    EXPECT_EQ(verdict_of_first_that_does_not_fit(classifier), TC_ACT_SHOT);
    EXPECT_EQ(queue.ring_full, 1U);
    EXPECT_EQ(queue.ring_stuck, 0U);

    queue.full_since_ns -= TAPFLOW_LEASE_NS;
    EXPECT_EQ(verdict_of_first_that_does_not_fit(classifier), TC_ACT_UNSPEC) << "the kernel's";
    EXPECT_EQ(queue.ring_full, 1U);
    EXPECT_EQ(queue.ring_stuck, 1U);

    EXPECT_FALSE(classifier.drain_all().empty());
    EXPECT_EQ(verdict_of_first_that_does_not_fit(classifier), TC_ACT_SHOT) << "one read makes it a moving reader again";
    EXPECT_EQ(queue.ring_full, 2U);
    EXPECT_EQ(queue.ring_stuck, 1U);
}

TEST_F(RingTest, EveryLengthAroundASizeClassIsByteExact) {
    open({.queues = 1, .mtu = 65521});
    PacketSocket sender(ns, "tap0", {.receive = false});
    std::vector<size_t> lengths{14, 15, 65533, 65534, 65535};
    for (const size_t boundary : {64U, 128U, 256U, 512U, 1024U, 1536U, 2048U, 4096U, 4096U + 32U, 4032U * 2, 4032U * 3,
                                  4032U * 16, 16384U, 32768U})
        for (size_t length = boundary - 1; length <= boundary + 1; length++)
            lengths.push_back(length);
    for (const size_t length : lengths) {
        Bytes frame = Packet().ether().next_type(0x88b5).bytes();
        for (size_t i = frame.size(); i < length; i++)
            frame.push_back(static_cast<uint8_t>(i * 31 + (i >> 8U)));
        ASSERT_TRUE(sender.send(frame)) << length;
        const Delivered delivered = only_record();
        EXPECT_EQ(delivered.record.length, length);
        EXPECT_TRUE(delivered.frame == frame) << length;
    }
}

} // namespace
} // namespace tapflow::test
