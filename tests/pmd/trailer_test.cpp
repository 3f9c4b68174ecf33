// SPDX-License-Identifier: BSD-3-Clause
// Delivery by fd: the hash that travels behind the frame, who sees it, and who is believed.
#include "pmd/ethdev_fixture.h"
#include "support/expected_record.h"
#include "support/seed.h"
#include "tapflow/abi/trailer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr uint16_t kQueues = 4;

struct Received {
    Steering steering;
    Bytes frame;
};

/// A local port with rx=fd whose hash is asked for.
class FdDelivery : public Ethdev {
  protected:
    void SetUp() override { open("net_tap0,iface=tap0,rx=fd"); }

    void start(uint64_t offloads = RTE_ETH_RX_OFFLOAD_RSS_HASH, uint16_t mtu = RTE_ETHER_MTU) {
        rte_eth_conf conf{};
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rxmode.offloads = offloads;
        conf.rxmode.mtu = mtu;
        conf.rx_adv_conf.rss_conf.rss_hf = rss::kAllTypes;
        configure_exactly_and_start(kQueues, kQueues, conf);
        ASSERT_EQ(rte_eth_promiscuous_enable(port()), 0);
    }

    /// What comes in until `count` packets have, or nothing comes for a while.
    std::vector<Received> receive(size_t count, milliseconds timeout = kDefaultTimeout) {
        std::vector<Received> all;
        (void)wait_until(
            [&] {
                poll([&](uint16_t queue, const rte_mbuf &packet) {
                    Received &received = all.emplace_back();
                    received.steering.queue = queue;
                    if ((packet.ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0)
                        received.steering.hash = packet.hash.rss;
                    for (const rte_mbuf *segment = &packet; segment != nullptr; segment = segment->next) {
                        const auto *data = rte_pktmbuf_mtod(segment, const uint8_t *);
                        received.frame.insert(received.frame.end(), data, data + segment->data_len);
                    }
                });
                return all.size() >= count;
            },
            timeout, milliseconds(0));
        return all;
    }

    /// One burst from each queue; `each` sees the packets before they are freed. How many there were.
    template <typename Each> size_t poll(Each each) {
        size_t received = 0;
        for (uint16_t queue = 0; queue < kQueues; ++queue) {
            std::array<rte_mbuf *, 32> packets{};
            const uint16_t count = rte_eth_rx_burst(port(), queue, packets.data(), packets.size());
            for (uint16_t i = 0; i < count; ++i) {
                each(queue, *packets[i]);
                rte_pktmbuf_free(packets[i]);
            }
            received += count;
        }
        return received;
    }

    /// The end of a frame as somebody who may look at the tap sees it: the trailer that the classifier has put there.
    Bytes real_trailer() {
        PacketSocket observer(ns(), "tap0", {.ignore_outgoing = false});
        PacketSocket sender(ns(), "tap0", {.receive = false});
        EXPECT_TRUE(sender.send(frame(1)));
        const auto seen = observer.receive();
        EXPECT_TRUE(seen);
        EXPECT_EQ(seen->bytes.size(), frame(1).size() + sizeof(tapflow_trailer));
        EXPECT_EQ(receive(1).size(), 1U);
        return {seen->bytes.end() - sizeof(tapflow_trailer), seen->bytes.end()};
    }

    static Bytes frame(uint32_t flow, const Bytes &payload = Bytes(40, 7)) {
        return Packet()
            .ether()
            .ipv4("10.0.0.1", "10.0.0.2")
            .udp(static_cast<uint16_t>(flow), static_cast<uint16_t>(flow >> 16U))
            .raw(payload)
            .bytes();
    }

    /// Hash and queue that a frame must have.
    [[nodiscard]] Steering expected(std::span<const uint8_t> frame) const {
        const Classified found = classify(*tables_, frame);
        return {found.hashed ? std::optional(found.hash) : std::nullopt, found.queue};
    }

  private:
    std::unique_ptr<tapflow_rss> tables_ = tables_of(rss_config(rss::kAllTypes, rss::round_robin_reta(kQueues)));
};

TEST_F(FdDelivery, HashTravelsBehindTheFrameWithoutChangingItsChecksum) {
    start();
    PacketSocket observer(ns(), "tap0", {.ignore_outgoing = false});
    PacketSocket sender(ns(), "tap0", {.receive = false});
    for (uint32_t flow = 0; flow < 64; ++flow) { // frames of even and odd length
        const Bytes sent = frame(flow, Bytes(flow, 3));
        ASSERT_TRUE(sender.send(sent));
        const auto seen = observer.receive();
        ASSERT_TRUE(seen);
        ASSERT_EQ(seen->bytes.size(), sent.size() + sizeof(tapflow_trailer));
        EXPECT_TRUE(std::equal(sent.begin(), sent.end(), seen->bytes.begin()));
        EXPECT_EQ(packet::ones_complement_sum(std::span(seen->bytes).subspan(14)),
                  packet::ones_complement_sum(std::span(sent).subspan(14)));
        const auto received = receive(1);
        ASSERT_EQ(received.size(), 1U);
        EXPECT_EQ(received[0].frame, sent);
        EXPECT_EQ(received[0].steering, expected(sent));
    }
}

TEST_F(FdDelivery, NothingIsAddedWhenTheHashIsNotAskedFor) {
    start(0);
    PacketSocket observer(ns(), "tap0", {.ignore_outgoing = false});
    PacketSocket sender(ns(), "tap0", {.receive = false});
    for (uint32_t flow = 0; flow < 16; ++flow) {
        ASSERT_TRUE(sender.send(frame(flow)));
        const auto seen = observer.receive();
        ASSERT_TRUE(seen);
        EXPECT_EQ(seen->bytes, frame(flow));
        const auto received = receive(1);
        ASSERT_EQ(received.size(), 1U);
        EXPECT_EQ(received[0].frame, frame(flow));
        EXPECT_FALSE(received[0].steering.hash);
        EXPECT_EQ(received[0].steering.queue, expected(frame(flow)).queue);
    }
}

TEST_F(FdDelivery, TcpdumpAndTheTapsCountersSeeEveryPacket) {
    start();
    constexpr size_t kFrames = 200;
    Process tcpdump({"tcpdump", "-i", "tap0", "-n", "-s", "128", "-c", std::to_string(kFrames), "--immediate-mode"},
                    {.netns = ns().fd()});
    tcpdump.wait_for("listening on");
    const uint64_t before = ns().link("tap0").tx_packets;
    PacketSocket sender(ns(), "tap0", {.receive = false});
    for (uint32_t flow = 0; flow < kFrames; ++flow)
        ASSERT_TRUE(sender.send(frame(flow)));
    EXPECT_EQ(receive(kFrames).size(), kFrames);
    EXPECT_EQ(tcpdump.wait(), 0);
    EXPECT_NE(tcpdump.output().find(std::to_string(kFrames) + " packets captured"), std::string::npos);
    EXPECT_EQ(ns().link("tap0").tx_packets - before, kFrames);
}

/// What the kernel lets no program append to is hashed by the driver itself.
TEST_F(FdDelivery, WhatGetsNoTrailerHasItsHashAllTheSame) {
    start(RTE_ETH_RX_OFFLOAD_RSS_HASH | RTE_ETH_RX_OFFLOAD_SCATTER, 32000);
    PacketSocket sender(ns(), "tap0", {.receive = false, .vnet_hdr = true});
    const Packet super = Packet().ether().ipv4("10.0.0.1", "10.0.0.2").tcp(1000, 80).partial_checksum().payload(3000);
    ASSERT_TRUE(sender.send(super.bytes(), gso_request(super, VnetHeader::kGsoTcpV4, 1000)));
    const auto segments = receive(3);
    ASSERT_EQ(segments.size(), 3U);
    for (const Received &segment : segments)
        EXPECT_EQ(segment.steering, expected(super.bytes()));

    const Bytes large = frame(77, Bytes(20000, 1));
    ASSERT_TRUE(sender.send(large, VnetHeader{}));
    const auto whole = receive(1);
    ASSERT_EQ(whole.size(), 1U);
    EXPECT_EQ(whole[0].frame, large);
    EXPECT_EQ(whole[0].steering, expected(large));
}

TEST_F(FdDelivery, WhatGoesPastTheClassifierIsDroppedAndCounted) {
    start();
    PacketSocket past(ns(), "tap0", {.receive = false, .qdisc_bypass = true});
    PacketSocket sender(ns(), "tap0", {.receive = false});
    for (uint32_t flow = 0; flow < 100; ++flow)
        (void)past.send(frame(flow));
    ASSERT_TRUE(sender.send(frame(1000)));
    const auto received = receive(1);
    ASSERT_EQ(received.size(), 1U);
    EXPECT_EQ(received[0].frame, frame(1000));
    EXPECT_EQ(xstat("rx_bypass"), 100U);
    rte_eth_stats stats{};
    ASSERT_EQ(rte_eth_stats_get(port(), &stats), 0);
    EXPECT_EQ(stats.imissed, 0U) << "no queue was full";
}

/// Payload that ends like a trailer: with a cookie that is guessed, and with the port's own, replayed.
TEST_F(FdDelivery, AMillionForgedAndReplayedTrailersAreNotBelieved) {
    constexpr size_t kBatch = 128; // fits a queue, should all be of one
    constexpr size_t kBatches = (1'000'000 + kBatch - 1) / kBatch;
    start();
    auto random = seeded_random();
    const Bytes replayed = real_trailer();
    PacketSocket sender(ns(), "tap0", {.receive = false});
    size_t wrong = 0;
    for (size_t batch = 0; batch < kBatches; ++batch) {
        std::vector<Bytes> frames;
        std::map<uint32_t, Steering> steerings; // by the flow, which is in the ports
        for (size_t i = 0; i < kBatch; ++i) {
            Bytes trailer = replayed;
            for (size_t byte = i % 2 == 0 ? 0 : sizeof(tapflow_trailer::cookie); byte < trailer.size(); ++byte)
                trailer[byte] = static_cast<uint8_t>(random());
            const auto flow = static_cast<uint32_t>(batch * kBatch + i);
            frames.push_back(frame(flow, trailer));
            steerings[flow] = expected(frames.back());
        }
        ASSERT_EQ(sender.send_burst(frames), frames.size());
        size_t received = 0;
        ASSERT_TRUE(wait_until(
            [&] {
                received += poll([&](uint16_t queue, const rte_mbuf &packet) {
                    const auto *data = rte_pktmbuf_mtod(&packet, const uint8_t *);
                    const uint32_t flow = static_cast<uint32_t>(data[34]) << 8U | data[35] |
                                          static_cast<uint32_t>(data[36]) << 24U |
                                          static_cast<uint32_t>(data[37]) << 16U;
                    const Steering &steering = steerings.at(flow);
                    wrong += packet.pkt_len != frames[0].size() || (packet.ol_flags & RTE_MBUF_F_RX_RSS_HASH) == 0 ||
                             packet.hash.rss != steering.hash || queue != steering.queue;
                });
                return received >= kBatch;
            },
            kDefaultTimeout, milliseconds(0)));
    }
    EXPECT_EQ(wrong, 0U);
    EXPECT_EQ(xstat("rx_forged"), 0U);
}

/// Where no trailer can be appended, one at the packet's end would be believed: such a packet does not get through,
/// neither when it was sent like that nor when the kernel has cut it out of a super-frame.
TEST_F(FdDelivery, AReplayedTrailerIsRefusedWhereThereIsNoOther) {
    start(RTE_ETH_RX_OFFLOAD_RSS_HASH | RTE_ETH_RX_OFFLOAD_SCATTER, 32000);
    const Bytes replayed = real_trailer();
    const auto ending_in_it = [&](size_t size) {
        Bytes payload(size, 9);
        std::copy(replayed.begin(), replayed.end(), payload.end() - static_cast<ptrdiff_t>(replayed.size()));
        return payload;
    };
    PacketSocket sender(ns(), "tap0", {.receive = false, .vnet_hdr = true});
    ASSERT_TRUE(sender.send(frame(1, Bytes(20000, 1)), VnetHeader{}));
    (void)sender.send(frame(2, ending_in_it(20000)), VnetHeader{});
    ASSERT_TRUE(sender.send(frame(3, Bytes(20000, 3)), VnetHeader{}));
    const auto received = receive(2);
    ASSERT_EQ(received.size(), 2U);
    EXPECT_EQ(xstat("rx_forged"), 1U);

    // In a super-frame nobody looks for it, so that it may be there.
    const Bytes piece = ending_in_it(1000);
    Bytes pieces;
    for (unsigned i = 0; i < 3; ++i)
        pieces.insert(pieces.end(), piece.begin(), piece.end());
    const Packet super = Packet().ether().ipv4("10.0.0.1", "10.0.0.2").tcp(1000, 80).partial_checksum().raw(pieces);
    ASSERT_TRUE(sender.send(super.bytes(), gso_request(super, VnetHeader::kGsoTcpV4, 1000)));
    const auto segments = receive(3);
    ASSERT_EQ(segments.size(), 3U);
    for (const Received &segment : segments) {
        EXPECT_EQ(segment.frame.size(), 54 + piece.size());
        EXPECT_EQ(segment.steering, expected(super.bytes()));
    }
    EXPECT_EQ(xstat("rx_forged"), 1U);

    // Through a tunnel device packets come encapsulated, and its super-frames are cut by the kernel.
    ns().must_run({"ip", "address", "add", "10.9.0.1/24", "dev", "tap0"});
    ns().must_run({"ip", "neigh", "replace", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "tap0"});
    ns().must_run({"ip", "link", "add", "vx0", "mtu", "1400", "up", "type", "vxlan", "id", "5", "remote", "10.9.0.2",
                   "dstport", "4789", "dev", "tap0"});
    // The kernel calls a packet encapsulated only as long as a checksum in it is still to be filled in.
    PacketSocket inside(ns(), "vx0", {.receive = false, .vnet_hdr = true});
    const auto send_partial = [&](const Bytes &payload) {
        const Packet packet = Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).partial_checksum().raw(payload);
        return inside.send(packet.bytes(), checksum_request(packet));
    };
    ASSERT_TRUE(send_partial(Bytes(100, 4)));
    ASSERT_TRUE(send_partial(ending_in_it(100)));
    ASSERT_TRUE(inside.send(super.bytes(), gso_request(super, VnetHeader::kGsoTcpV4, 1000)));
    ASSERT_TRUE(send_partial(Bytes(100, 6)));
    const auto through = receive(2);
    ASSERT_EQ(through.size(), 2U);
    for (const Received &packet : through) {
        EXPECT_EQ(packet.frame.size(), 14 + 20 + 8 + 8 + 42 + 100U);
        EXPECT_EQ(packet.steering, expected(packet.frame));
    }
    EXPECT_EQ(xstat("rx_forged"), 1U + 1U + 3U);
}

} // namespace
} // namespace tapflow::test
