// SPDX-License-Identifier: BSD-3-Clause
// What rte_flow rules of one mask cost as they become more: to create, and each packet that comes into the port.
//
//   bench_flower [--plugin FILE] [--devargs LIST] [--rules N] [--batches N]
//
// The port has a remote, which is how DPDK's own net_tap takes rules: as filters of cls_flower. Counts are the powers
// of ten up to N. A veth's receive path runs in its sender, so the search for a packet's rule is the sender's CPU time.
#include "bench/dpdk_port.h"
#include "bench/interfaces.h"
#include "bench/measure.h"
#include "bench/reader.h"
#include "bench/sender.h"
#include "support/netns.h"

#include <rte_byteorder.h>
#include <rte_flow.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <utility>
#include <vector>

namespace tapflow::bench {
namespace {

constexpr const char *kTap = "tap0";
constexpr const char *kRemote = "eth3";
constexpr uint32_t kFirstSource = 0x0a090001; // 10.9.0.1, udp_frame()'s
constexpr unsigned kRulesMax = 50'000;        // the sources differ in their last 16 bits

/// eth / ipv4 src is 10.9.0.1 + i / udp / end actions queue index 0 / end
void create_rule(uint16_t port, uint32_t i) {
    rte_flow_item_ipv4 address{};
    address.hdr.src_addr = rte_cpu_to_be_32(kFirstSource + i);
    rte_flow_item_ipv4 mask{};
    mask.hdr.src_addr = UINT32_MAX;
    const rte_flow_action_queue queue{0};
    rte_flow_attr attributes{};
    attributes.ingress = 1;
    const std::array<rte_flow_item, 4> pattern{{{RTE_FLOW_ITEM_TYPE_ETH, nullptr, nullptr, nullptr},
                                                {RTE_FLOW_ITEM_TYPE_IPV4, &address, nullptr, &mask},
                                                {RTE_FLOW_ITEM_TYPE_UDP, nullptr, nullptr, nullptr},
                                                {RTE_FLOW_ITEM_TYPE_END, nullptr, nullptr, nullptr}}};
    const std::array<rte_flow_action, 2> actions{
        {{RTE_FLOW_ACTION_TYPE_QUEUE, &queue}, {RTE_FLOW_ACTION_TYPE_END, nullptr}}};
    rte_flow_error error{};
    if (!rte_flow_create(port, &attributes, pattern.data(), actions.data(), &error))
        throw std::runtime_error("rule " + std::to_string(i) + ": " + (error.message ? error.message : "no message"));
}

/// Seconds by the clock: waiting for the kernel costs no CPU time, but it takes as long.
double create_rules(uint16_t port, uint32_t from, uint32_t to) {
    const auto start = std::chrono::steady_clock::now();
    for (uint32_t i = from; i < to; i++)
        create_rule(port, i);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// Packets for all rules in turn, which the reader takes between batches. The median batch counts: an emulated CPU
/// knows nothing of the time that it was not running, and takes it for its own.
Figures send_packets(Sender &sender, Reader &reader, unsigned batches) {
    std::vector<double> costs;
    uint64_t sent = 0;
    uint64_t received = 0;
    for (unsigned i = 0; i < batches + kWarmUp; i++) {
        sender.start(kBatch);
        while (!sender.finished()) {
        }
        const Sender::Batch batch = sender.batch();
        unsigned now = 0;
        for (unsigned idle = 0; now < batch.sent && idle < 200'000; idle++)
            now += reader.poll();
        if (i < kWarmUp)
            continue;
        costs.push_back(static_cast<double>(batch.cpu_ns) / batch.sent);
        sent += batch.sent;
        received += now;
    }
    return {{"sender_ns", median(std::move(costs))},
            {"sent", static_cast<double>(sent)},
            {"lost", static_cast<double>(sent) - static_cast<double>(received)}};
}

std::map<std::string, Figures> measure(uint16_t port, Sender &sender, const MacAddress &destination, unsigned rules,
                                       unsigned batches) {
    std::map<std::string, Figures> cases;
    PortReader reader(port, 1);
    double seconds = 0;
    for (unsigned count = 1, before = 0; count <= rules; before = count, count *= 10) {
        seconds += create_rules(port, before, count);
        sender.set_task(source_task("peer", udp_frame(destination, 60), count));
        Figures &figures = cases[std::to_string(count)];
        figures = send_packets(sender, reader, batches);
        figures["created_per_s"] = count / seconds;
    }
    return cases;
}

void run(const Arguments &arguments) {
    const unsigned rules = arguments.number("rules", 10'000);
    if (rules > kRulesMax)
        throw std::invalid_argument("--rules: at most " + std::to_string(kRulesMax));
    const test::NetNs outside;
    const test::NetNs netns;
    test::add_veth(netns, kRemote, outside, "peer");
    const test::NetNsGuard there = outside.enter();
    Sender sender;
    const test::NetNsGuard inside = netns.enter();
    PortOptions options;
    options.plugin = arguments.text("plugin");
    options.devargs = std::string("iface=") + kTap + ",remote=" + kRemote;
    if (const std::string more = arguments.text("devargs"); !more.empty())
        options.devargs += "," + more;
    DpdkPort port(options);
    const MacAddress mac = netns.link(kRemote).mac;
    std::map<std::string, Figures> cases;
    port.run([&] { cases = measure(port.id(), sender, mac, rules, arguments.number("batches", 60)); });
    print_json(cases);
}

} // namespace
} // namespace tapflow::bench

int main(int argc, char **argv) {
    try {
        tapflow::bench::run({argc, argv, {"plugin", "devargs", "rules", "batches"}});
    } catch (...) {
        return tapflow::bench::report_exception(argv[0]);
    }
}
