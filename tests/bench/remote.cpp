// SPDX-License-Identifier: BSD-3-Clause
// What taking packets off a netdevice adds to the kernel's cost of receiving and dropping them there.
//
//   bench_remote --consumer drop|port|mirred [--plugin FILE] [--queues N] [--batches N]
//
// A veth's receive path runs in its sender, so all of it is the sender's CPU time. The consumer reads on another CPU,
// once between batches and once ("at_once") all the while, which makes the two CPUs fight for the ring's cache lines.
// mirred is what DPDK's own net_tap sets up for `remote=`: u32 and a redirection to the tap.
#include "bench/interfaces.h"
#include "bench/measure.h"
#include "bench/reader.h"
#include "bench/sender.h"
#include "support/netns.h"

#include <stdexcept>

namespace tapflow::bench {
namespace {

constexpr const char *kTap = "tap0";
constexpr const char *kRemote = "eth3";
constexpr unsigned kFlows = 64;

/// Adds what batches of one size cost the sender, with the consumer reading at the same time or only in between.
void measure_batches(Sender &sender, Reader *reader, bool at_once, unsigned batches, const std::string &prefix,
                     Figures &figures) {
    double spent = 0;
    uint64_t sent = 0;
    uint64_t received = 0;
    for (unsigned i = 0; i < batches + kWarmUp; i++) {
        unsigned now = 0;
        sender.start(kBatch);
        while (!sender.finished())
            if (reader && at_once)
                now += reader->poll();
        const Sender::Batch batch = sender.batch();
        for (unsigned idle = 0; reader && now < batch.sent && idle < 200'000; idle++)
            now += reader->poll();
        if (i < kWarmUp)
            continue;
        spent += static_cast<double>(batch.cpu_ns);
        sent += batch.sent;
        received += now;
    }
    figures[prefix + "sender_ns"] = spent / static_cast<double>(sent);
    figures[prefix + "sent"] = static_cast<double>(sent);
    figures[prefix + "lost"] = reader ? static_cast<double>(sent) - static_cast<double>(received) : 0;
}

std::map<std::string, Figures> measure(Sender &sender, const MacAddress &destination, unsigned batches,
                                       Reader *reader) {
    std::map<std::string, Figures> cases;
    for (unsigned size : {60u, 1514u}) {
        sender.set_task(frame_task("peer", udp_frame(destination, size), kFlows));
        Figures &figures = cases[std::to_string(size)];
        measure_batches(sender, reader, false, batches, "", figures);
        measure_batches(sender, reader, true, batches, "at_once_", figures);
    }
    return cases;
}

void redirect(const test::NetNs &netns) {
    netns.must_run({"ip", "link", "set", kTap, "up"});
    netns.must_run({"tc", "qdisc", "add", "dev", kRemote, "clsact"});
    netns.must_run({"tc", "filter", "add", "dev", kRemote, "ingress", "protocol", "all", "u32", "match", "u32", "0",
                    "0", "action", "mirred", "egress", "redirect", "dev", kTap});
}

void run(const Arguments &arguments) {
    const unsigned batches = arguments.number("batches", 120);
    const std::string kind = arguments.text("consumer");
    const test::NetNs outside;
    const test::NetNs netns;
    test::add_veth(netns, kRemote, outside, "peer");
    const test::NetNsGuard there = outside.enter();
    Sender sender;
    const test::NetNsGuard inside = netns.enter();
    const MacAddress mac = netns.link(kRemote).mac;
    std::map<std::string, Figures> cases;
    if (kind == "drop") {
        const kernel::Fd drop = drop_ingress(kRemote);
        pin_to_cpu(kReaderCpu);
        cases = measure(sender, mac, batches, nullptr);
    } else if (kind == "mirred") {
        const kernel::Fd tap = open_plain_tap(kTap);
        redirect(netns);
        pin_to_cpu(kReaderCpu);
        ReadvReader reader(tap.get());
        cases = measure(sender, mac, batches, &reader);
    } else if (kind == "port") {
        PortOptions options;
        options.plugin = arguments.text("plugin");
        options.devargs = std::string("iface=") + kTap + ",remote=" + kRemote + ",rx=" + arguments.text("rx", "ring");
        options.rx_queues = static_cast<uint16_t>(arguments.number("queues", 4));
        options.rss = true;
        options.hash = arguments.number("hash", 1) != 0;
        DpdkPort port(options);
        PortReader reader(port.id(), options.rx_queues);
        port.run([&] { cases = measure(sender, mac, batches, &reader); });
    } else {
        throw std::invalid_argument("--consumer drop, port or mirred");
    }
    print_json(cases);
}

} // namespace
} // namespace tapflow::bench

int main(int argc, char **argv) {
    try {
        tapflow::bench::run({argc, argv, {"consumer", "plugin", "queues", "rx", "hash", "batches"}});
    } catch (...) {
        return tapflow::bench::report_exception(argv[0]);
    }
}
