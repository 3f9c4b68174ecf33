// SPDX-License-Identifier: BSD-3-Clause
// What a tracer costs the packets of a port: CPU time of their sender, through the tap into rings, without a tracer,
// with one that wants none of them, and with one that wants all.
//
//   bench_trace [--rounds N] [--batches N]
//
// A round is all cases, one after the other. Before and after each traced case nothing is traced for as long, so that
// "none" is measured among them, and "none_before", before anything has ever been traced.
#include "engine/trace.h"
#include "bench/interfaces.h"
#include "bench/measure.h"
#include "bench/sender.h"
#include "engine/port.h"
#include "support/must.h"
#include "support/netns.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>

namespace tapflow::bench {
namespace {

using test::must;

constexpr const char *kTap = "tap0";
constexpr unsigned kQueues = 4;
constexpr unsigned kFlows = 64;

struct Case {
    const char *name;
    std::function<void(tapflow_trace_options &)> set;
};
const std::vector<Case> kCases{
    {"no_such_vlan",
     [](tapflow_trace_options &options) {
         options.filter.fields = TAPFLOW_TRACE_VLAN;
         options.filter.vlan = 7;
     }},
    {"no_such_queue",
     [](tapflow_trace_options &options) {
         options.filter.fields = TAPFLOW_TRACE_QUEUE;
         options.filter.queue = 60;
     }},
    {"one_in_1000", [](tapflow_trace_options &options) { options.one_in = 1000; }},
    {"headers", [](tapflow_trace_options &options) { options.snaplen = 64; }},
    {"frames", [](tapflow_trace_options &) {}},
};

std::unique_ptr<engine::Port> open_port() {
    engine::PortOptions options;
    options.iface = kTap;
    auto port = must(engine::Port::open(options));
    must(port->set_queues(kQueues, 1));
    for (unsigned queue = 0; queue < kQueues; queue++)
        must(port->set_ring(queue, size_t{1} << 20U));
    must(port->set_promiscuous(true));
    must(port->start(
        {{rss::default_key().begin(), rss::default_key().end()}, rss::kAllTypes, rss::round_robin_reta(kQueues)},
        true));
    return port;
}

/// CPU time of the sender for each packet.
double measure(Sender &sender, engine::Port &port, kernel::TracePrograms *tracer, unsigned batches) {
    uint64_t spent = 0;
    uint64_t sent = 0;
    for (unsigned i = 0; i < batches + 8; i++) {
        sender.start(kBatch);
        while (!sender.finished()) {
        }
        for (unsigned queue = 0; queue < kQueues; queue++)
            port.ring(queue).discard(); // nothing is sent now
        if (tracer != nullptr)
            must(tracer->read([](const tapflow_trace_event &, std::span<const uint8_t>) {}));
        if (i < 8)
            continue;
        spent += sender.batch().cpu_ns;
        sent += sender.batch().sent;
    }
    return static_cast<double>(spent) / static_cast<double>(sent);
}

double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2), values.end());
    return values[values.size() / 2];
}

Figures measure_size(Sender &sender, engine::Port &port, unsigned rounds, unsigned batches) {
    std::map<std::string, std::vector<double>> all;
    for (unsigned round = 0; round < rounds; round++)
        all["none_before_ns"].push_back(measure(sender, port, nullptr, batches));
    const auto inspected = must(engine::find_port(kTap));
    uint64_t untold = 0;
    for (unsigned round = 0; round < rounds; round++)
        for (const Case &each : kCases) {
            all["none_ns"].push_back(measure(sender, port, nullptr, batches));
            engine::TraceOptions options;
            options.options.snaplen = TAPFLOW_TRACE_SNAPLEN_MAX;
            each.set(options.options);
            const auto tracer = must(engine::trace(inspected, options));
            all[std::string(each.name) + "_ns"].push_back(measure(sender, port, tracer.get(), batches));
            untold += tracer->counts().lost;
        }
    Figures figures;
    for (const auto &[name, values] : all)
        figures[name] = median(values);
    figures["untold"] = static_cast<double>(untold);
    return figures;
}

void run(const Arguments &arguments) {
    const unsigned rounds = arguments.number("rounds", 5);
    const unsigned batches = arguments.number("batches", 100);
    const test::NetNs netns;
    const test::NetNsGuard inside = netns.enter();
    Sender sender;
    const auto port = open_port();
    pin_to_cpu(kReaderCpu);
    std::map<std::string, Figures> cases;
    for (const unsigned size : {60U, 1514U}) {
        sender.set_task(frame_task(kTap, udp_frame(port->mac(), size), kFlows));
        cases[std::to_string(size)] = measure_size(sender, *port, rounds, batches);
    }
    print_json(cases);
}

} // namespace
} // namespace tapflow::bench

int main(int argc, char **argv) {
    try {
        tapflow::bench::run({argc, argv, {"rounds", "batches"}});
    } catch (...) {
        return tapflow::bench::report_exception(argv[0]);
    }
}
