// SPDX-License-Identifier: BSD-3-Clause
// What sending costs: the CPU time of the sending thread, the kernel's way to a program that drops included.
//
//   bench_tx --writer writev|port [--plugin FILE] [--path drop|remote] [--batches N]
//
// Path drop: the frames end at the tap's own ingress. Path remote: they leave through a veth and end behind it.
#include "bench/dpdk_port.h"
#include "bench/interfaces.h"
#include "bench/measure.h"
#include "packet/build.h"
#include "support/netns.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <stdexcept>

namespace tapflow::bench {
namespace {

constexpr const char *kTap = "tap0";
constexpr const char *kRemote = "eth3";
constexpr uint16_t kBurst = 32;
/// The largest that DPDK's own net_tap takes.
constexpr unsigned kMss = 1446;
constexpr unsigned kSegments = 44; ///< of a super-frame: as many as 64 KiB hold
/// Super-frames of a batch: with more, their data would not stay in the CPU's cache until it is sent.
constexpr unsigned kSuperFrames = 4;

struct Shape {
    std::string name;
    std::vector<uint8_t> frame;
    unsigned batch = kBatch;
    unsigned segments = 1; ///< on the wire; more than one: cut by the port
};

constexpr MacAddress kPeer{{0x02, 0, 0, 0, 0, 0x02}};

packet::Bytes super_frame(const MacAddress &destination) {
    return packet::Packet()
        .ether(destination)
        .ipv4("10.9.0.1", "10.9.0.2")
        .tcp(4000, 4001)
        .payload(kSegments * kMss)
        .bytes();
}

std::vector<Shape> shapes(bool segmentation) {
    std::vector<Shape> list{{"60", udp_frame(kPeer, 60)}, {"1514", udp_frame(kPeer, 1514)}};
    if (segmentation)
        list.push_back({"tso", super_frame(kPeer), kSuperFrames, kSegments});
    return list;
}

class Writer {
  public:
    Writer() = default;
    Writer(const Writer &) = delete;
    Writer &operator=(const Writer &) = delete;
    virtual ~Writer() = default;

    /// Makes the packets of the next batch; its cost does not count.
    virtual void prepare(const Shape &shape) = 0;
    /// Sends them.
    virtual void send() = 0;
};

/// One writev() for each packet.
class WritevWriter : public Writer {
  public:
    explicit WritevWriter(int fd) : fd_(fd) {}
    void prepare(const Shape &shape) override { shape_ = &shape; }
    void send() override {
        for (unsigned i = 0; i < shape_->batch; i++) {
            const iovec piece{const_cast<uint8_t *>(shape_->frame.data()), shape_->frame.size()};
            if (writev(fd_, &piece, 1) < 0)
                test::throw_errno("writev");
        }
    }

  private:
    int fd_;
    const Shape *shape_ = nullptr;
};

/// rte_eth_tx_burst() of 32.
class PortWriter : public Writer {
  public:
    explicit PortWriter(const DpdkPort &port) : port_(port) {}
    void prepare(const Shape &shape) override {
        packets_.clear();
        for (unsigned i = 0; i < shape.batch; i++)
            packets_.push_back(make(shape));
    }
    void send() override {
        for (size_t at = 0; at < packets_.size();) {
            const auto burst = static_cast<uint16_t>(std::min<size_t>(kBurst, packets_.size() - at));
            at += rte_eth_tx_burst(port_.id(), 0, packets_.data() + at, burst);
        }
    }

  private:
    rte_mbuf *make(const Shape &shape) {
        rte_mbuf *packet = rte_pktmbuf_alloc(port_.pool());
        if (!packet)
            throw std::runtime_error("out of mbufs");
        rte_mbuf *segment = packet;
        for (size_t at = 0; at < shape.frame.size();) {
            if (at > 0) {
                segment->next = rte_pktmbuf_alloc(port_.pool());
                if (!segment->next)
                    throw std::runtime_error("out of mbufs");
                segment = segment->next;
                packet->nb_segs++;
            }
            const size_t piece = std::min<size_t>(rte_pktmbuf_tailroom(segment), shape.frame.size() - at);
            std::memcpy(rte_pktmbuf_mtod(segment, void *), shape.frame.data() + at, piece);
            segment->data_len = static_cast<uint16_t>(piece);
            at += piece;
        }
        packet->pkt_len = static_cast<uint32_t>(shape.frame.size());
        if (shape.segments > 1) {
            packet->ol_flags =
                RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
            packet->l2_len = 14;
            packet->l3_len = 20;
            packet->l4_len = 20;
            packet->tso_segsz = kMss;
        }
        return packet;
    }

    const DpdkPort &port_;
    std::vector<rte_mbuf *> packets_;
};

using Delivered = std::function<uint64_t()>;

std::map<std::string, Figures> measure(Writer &writer, bool segmentation, unsigned batches,
                                       const Delivered &delivered) {
    std::map<std::string, Figures> cases;
    for (const Shape &shape : shapes(segmentation)) {
        const unsigned rounds = shape.segments > 1 ? 2 * batches : batches;
        double spent = 0;
        uint64_t before = 0;
        for (unsigned i = 0; i < rounds + kWarmUp; i++) {
            if (i == kWarmUp)
                before = delivered();
            writer.prepare(shape);
            const uint64_t start = thread_cpu_ns();
            writer.send();
            if (i >= kWarmUp)
                spent += static_cast<double>(thread_cpu_ns() - start) - clock_cost().thread_cpu_ns;
        }
        const double packets = static_cast<double>(rounds) * shape.batch;
        // A super-frame arrives as one where the kernel cuts it, as segments where the driver does.
        const auto arrived = static_cast<double>(delivered() - before);
        const double expected = arrived > packets ? packets * shape.segments : packets;
        cases[shape.name] = {{"ns", spent / packets / shape.segments}, {"sent", packets}, {"lost", expected - arrived}};
    }
    return cases;
}

/// What no way of sending a super-frame can do without: the kernel's copy of its bytes, here into a pipe.
Figures measure_copy(unsigned batches) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) < 0)
        test::throw_errno("pipe");
    const kernel::Fd out(ends[0]);
    const kernel::Fd in(ends[1]);
    const packet::Bytes frame = super_frame(kPeer);
    if (fcntl(in.get(), F_SETPIPE_SZ, 1 << 17) < 0)
        test::throw_errno("size of a pipe");
    packet::Bytes back(frame.size());
    double spent = 0;
    for (unsigned i = 0; i < batches + kWarmUp; i++) {
        const uint64_t start = thread_cpu_ns();
        const ssize_t written = write(in.get(), frame.data(), frame.size());
        const uint64_t end = thread_cpu_ns();
        if (written != static_cast<ssize_t>(frame.size()) || read(out.get(), back.data(), back.size()) != written)
            test::throw_errno("copy through a pipe");
        if (i >= kWarmUp)
            spent += static_cast<double>(end - start) - clock_cost().thread_cpu_ns;
    }
    return {{"ns", spent / batches / kSegments}};
}

void run(const Arguments &arguments) {
    const unsigned batches = arguments.number("batches", 120);
    const std::string kind = arguments.text("writer");
    const bool remote = arguments.text("path", "drop") == "remote";
    const test::NetNs netns;
    const test::NetNs peer;
    const test::NetNsGuard inside = netns.enter();
    kernel::Fd drop;
    if (remote) {
        test::add_veth(netns, kRemote, peer, "peer");
        const test::NetNsGuard there = peer.enter();
        drop = drop_ingress("peer");
    }
    const Delivered delivered = [&] { return remote ? peer.link("peer").rx_packets : netns.link(kTap).rx_packets; };
    std::map<std::string, Figures> cases;
    if (kind == "writev") {
        const kernel::Fd tap = open_plain_tap(kTap);
        netns.must_run({"ip", "link", "set", kTap, "up"});
        drop = drop_ingress(kTap);
        pin_to_cpu(kReaderCpu);
        WritevWriter writer(tap.get());
        cases = measure(writer, false, batches, delivered);
        cases["copy"] = measure_copy(batches * kBatch / kSegments);
    } else if (kind == "port") {
        PortOptions options;
        options.plugin = arguments.text("plugin");
        options.devargs = std::string("iface=") + kTap + (remote ? std::string(",remote=") + kRemote : "");
        options.tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_TSO |
                              RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
        DpdkPort port(options);
        if (!remote)
            drop = drop_ingress(kTap);
        PortWriter writer(port);
        port.run([&] { cases = measure(writer, true, batches, delivered); });
    } else {
        throw std::invalid_argument("--writer writev or port");
    }
    print_json(cases);
}

} // namespace
} // namespace tapflow::bench

int main(int argc, char **argv) {
    try {
        tapflow::bench::run({argc, argv, {"writer", "plugin", "path", "batches"}});
    } catch (...) {
        return tapflow::bench::report_exception(argv[0]);
    }
}
