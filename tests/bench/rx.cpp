// SPDX-License-Identifier: BSD-3-Clause
// What receiving costs the reader, and what sending into a tap costs a local sender.
//
//   bench_rx --reader readv|port [--plugin FILE [--rx ring|fd] [--hash 0|1]] [--batches N]
#include "bench/interfaces.h"
#include "bench/measure.h"
#include "bench/reader.h"
#include "bench/sender.h"
#include "support/netns.h"

#include <algorithm>
#include <stdexcept>

namespace tapflow::bench {
namespace {

constexpr const char *kTap = "tap0";
/// A burst that took longer was interrupted: 32 readv take 35 us.
constexpr double kInterruptedNs = 200'000;

/// Reads until `wanted` packets have come, or none for a long time; returns how many came.
unsigned drain(Reader &reader, unsigned wanted) {
    constexpr unsigned kGiveUp = 200'000;
    unsigned received = 0;
    for (unsigned idle = 0; received < wanted && idle < kGiveUp; idle++) {
        const unsigned now = reader.poll();
        received += now;
        if (now > 0)
            idle = 0;
    }
    return received;
}

/// Sums over batches.
struct Totals {
    uint64_t sent = 0;
    uint64_t received = 0;
    uint64_t refused = 0;
    double sender_ns = 0;
    double reader_ns = 0;
    uint64_t bursts = 0;
    uint64_t burst_packets = 0; ///< packets that reader_ns is for

    [[nodiscard]] Figures figures(const std::string &reader) const {
        return {{"sent", static_cast<double>(sent)},
                {"lost", static_cast<double>(sent + refused - received)},
                {"sender_ns", sender_ns / static_cast<double>(sent)},
                {"packets_per_burst", static_cast<double>(burst_packets) / static_cast<double>(bursts)},
                {reader, reader_ns / static_cast<double>(burst_packets)}};
    }
    void add(const Sender::Batch &batch) {
        sent += batch.sent;
        refused += batch.refused;
        sender_ns += static_cast<double>(batch.cpu_ns);
    }
};

/// The reader starts when all of a batch is there: its CPU time, without a poll in vain.
Totals in_turns(Sender &sender, Reader &reader, unsigned batches) {
    Totals totals;
    for (unsigned i = 0; i < batches + kWarmUp; i++) {
        sender.start(kBatch);
        while (!sender.finished()) {
        }
        const Sender::Batch batch = sender.batch();
        const uint64_t start = thread_cpu_ns();
        const unsigned received = drain(reader, batch.sent);
        const uint64_t end = thread_cpu_ns();
        if (i < kWarmUp)
            continue;
        totals.add(batch);
        totals.received += received;
        totals.burst_packets += received;
        totals.bursts += (received + 31) / 32;
        totals.reader_ns += static_cast<double>(end - start) - clock_cost().thread_cpu_ns;
    }
    return totals;
}

/// The reader polls all the while: the time of attempts that got something, by the time-stamp counter.
Totals at_once(Sender &sender, Reader &reader, unsigned batches) {
    Totals totals;
    const ClockCost &clock = clock_cost();
    for (unsigned i = 0; i < batches + kWarmUp; i++) {
        Totals now;
        auto timed_poll = [&] {
            const uint64_t start = ticks();
            const unsigned got = reader.poll();
            const uint64_t spent = ticks() - start;
            now.received += got;
            const double ns = static_cast<double>(spent - std::min(spent, clock.ticks)) * clock.tick_ns;
            if (got > 0 && ns < kInterruptedNs) {
                now.bursts++;
                now.burst_packets += got;
                now.reader_ns += ns;
            }
            return got;
        };
        sender.start(kBatch);
        while (!sender.finished())
            timed_poll();
        const Sender::Batch batch = sender.batch();
        for (unsigned idle = 0; now.received < batch.sent && idle < 200'000; idle++)
            timed_poll();
        if (i < kWarmUp)
            continue;
        totals.add(batch);
        totals.received += now.received;
        totals.bursts += now.bursts;
        totals.burst_packets += now.burst_packets;
        totals.reader_ns += now.reader_ns;
    }
    return totals;
}

/// All cases against one reader; runs in the reader's thread.
std::map<std::string, Figures> measure(Sender &sender, Reader &reader, unsigned batches) {
    std::map<std::string, Figures> cases;
    auto run = [&](const std::string &name, SendTask::Kind kind, unsigned size) {
        SendTask task;
        task.kind = kind;
        task.size = size;
        sender.set_task(task);
        const double others = static_cast<double>(process_cpu_ns() - thread_cpu_ns());
        Figures &figures = cases[name];
        figures = in_turns(sender, reader, batches).figures("reader_ns");
        for (const auto &[figure, value] : at_once(sender, reader, batches).figures("reader_ns"))
            figures["at_once_" + figure] = value;
        figures["other_threads_ns"] = (static_cast<double>(process_cpu_ns() - thread_cpu_ns()) - others) /
                                      (figures["sent"] + figures["at_once_sent"]);
    };
    for (unsigned size : {60u, 1514u}) {
        run(std::to_string(size), SendTask::Udp, size);
        run(std::to_string(size) + "_checksum", SendTask::UdpChecksum, size);
    }
    return cases;
}

void make_neighbour(const test::NetNs &netns, const std::string &mac) {
    netns.must_run({"ip", "address", "add", "10.9.0.1/24", "dev", kTap});
    netns.must_run({"ip", "link", "set", kTap, "up"});
    netns.must_run({"ip", "neighbour", "add", "10.9.0.2", "lladdr", mac, "nud", "permanent", "dev", kTap});
}

void run(const Arguments &arguments) {
    const unsigned batches = arguments.number("batches", 120);
    const std::string kind = arguments.text("reader");
    const test::NetNs netns;
    const test::NetNsGuard inside = netns.enter();
    Sender sender;
    std::map<std::string, Figures> cases;
    if (kind == "readv") {
        const kernel::Fd tap = open_plain_tap(kTap);
        make_neighbour(netns, "02:00:00:00:00:02");
        pin_to_cpu(kReaderCpu);
        ReadvReader reader(tap.get());
        cases = measure(sender, reader, batches);
    } else if (kind == "port") {
        PortOptions options;
        options.plugin = arguments.text("plugin");
        options.devargs = std::string("iface=") + kTap;
        if (!options.plugin.empty())
            options.devargs += ",rx=" + arguments.text("rx", "ring");
        options.rss = !options.plugin.empty(); // DPDK's own net_tap has no port-level RSS
        options.hash = arguments.number("hash", 1) != 0;
        DpdkPort port(options);
        make_neighbour(netns, port.mac().text());
        PortReader reader(port.id(), 1);
        port.run([&] { cases = measure(sender, reader, batches); });
    } else {
        throw std::invalid_argument("--reader readv or port");
    }
    print_json(cases);
}

} // namespace
} // namespace tapflow::bench

int main(int argc, char **argv) {
    try {
        tapflow::bench::run({argc, argv, {"reader", "plugin", "rx", "hash", "batches"}});
    } catch (...) {
        return tapflow::bench::report_exception(argv[0]);
    }
}
