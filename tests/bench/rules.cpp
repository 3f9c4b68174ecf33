// SPDX-License-Identifier: BSD-3-Clause
// What looking for a packet's rules costs, by numbers of rules and masks: for packets that all differ, and for those of
// 1,000 flows. One lookup in a hash map of the kernel's with as many entries is measured beside it.
//
//   bench_rules [--rules N] [--masks N]
#include "bench/measure.h"
#include "engine/flow_rules.h"
#include "flow/pattern.h"
#include "flow/tables.h"
#include "packet/build.h"
#include "support/must.h"
#include "support/system.h"

#include "bench_rules.skel.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <random>
#include <stdexcept>
#include <vector>

namespace tapflow::bench {
namespace {

constexpr unsigned kKeys = 10'000;
constexpr unsigned kFlows = 1'000;
constexpr unsigned kRounds = 5;

packet::Ipv4Address address(uint32_t value) {
    packet::Ipv4Address result;
    for (size_t i = 0; i < 4; i++)
        result.bytes[i] = static_cast<uint8_t>(value >> (24 - 8 * i));
    return result;
}

/// Rule i: source address and port by themselves, of the destination address as much as its mask compares.
flow::Rule make_rule(uint32_t i, uint32_t masks) {
    flow::Pattern pattern;
    (void)test::must(pattern.next(flow::Item::Eth));
    const flow::Place ip = test::must(pattern.next(flow::Item::Ipv4));
    const flow::Place udp = test::must(pattern.next(flow::Item::Udp));
    const auto &source = *flow::field_by_name(flow::Item::Ipv4, "src");
    const auto &destination = *flow::field_by_name(flow::Item::Ipv4, "dst");
    constexpr std::array<uint8_t, 4> kAll{0xff, 0xff, 0xff, 0xff};
    const uint32_t mask = i % masks;
    const auto compared = address(~uint32_t{0} << (mask % 16));
    pattern.compare(source, ip, address(0x0a000000 + i).bytes, kAll);
    pattern.compare(destination, ip, address(0x0b000000).bytes, compared.bytes);
    pattern.compare(*flow::field_by_name(flow::Item::Udp, "src"), udp, 1000, 0xffffU);
    pattern.compare(*flow::field_by_name(flow::Item::Udp, "dst"), udp, 2000, 0xffffU << (mask / 16));
    flow::Rule rule;
    rule.match = pattern.match();
    rule.attributes.priority = mask; // so that looking ends at the mask of the rule
    rule.actions.fate = flow::Fate::Drop;
    return rule;
}

tapflow_flow_key key_for(uint32_t i) {
    const packet::Bytes frame =
        packet::Packet().ether().ipv4(address(0x0a000000 + i), address(0x0b000000)).udp(1000, 2000).payload(18).bytes();
    return flow::key_of(frame.data(), frame.data() + frame.size());
}

/// The classifier with rules, without an interface.
struct Port {
    std::unique_ptr<engine::BpfClassifier> classifier =
        test::must(engine::BpfClassifier::create(kernel::Delivery::Ring, 0));
    std::unique_ptr<engine::FlowRules> rules = test::must(engine::FlowRules::create(
        *classifier, [](bool) { return Result<void>(); },
        {[] { return std::vector<uint64_t>(); }, [](std::span<const uint64_t>) { return true; }}));
};

/// The benchmark's programs, over the port's tables.
class Programs {
  public:
    Programs(const kernel::Programs &port, unsigned keys) : objects_(bench_rules_bpf__open()) {
        if (!objects_)
            throw std::runtime_error("open bench_rules");
        objects_->rodata->key_count = keys;
        const auto &maps = objects_->maps;
        for (const auto &[map, fd] : {std::pair{maps.flow_directory, port.flow_directory()},
                                      {maps.flow_buckets, port.flow_buckets()},
                                      {maps.flow_rules, port.flow_rules()},
                                      {maps.flow_counters, port.flow_counters()},
                                      {maps.flow_cache, port.flow_cache()}})
            if (bpf_map__reuse_fd(map, fd) < 0)
                test::throw_errno("share the tables");
        if (bench_rules_bpf__load(objects_) < 0)
            throw std::runtime_error("load bench_rules");
    }
    Programs(const Programs &) = delete;
    Programs &operator=(const Programs &) = delete;
    ~Programs() { bench_rules_bpf__destroy(objects_); }

    bench_rules_bpf *operator->() const { return objects_; }

  private:
    bench_rules_bpf *objects_;
};

/// Nanoseconds for one key.
double run_program(const bpf_program *program, unsigned keys, bool all_found) {
    std::array<uint8_t, 64> frame{};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_size_in = frame.size(), .repeat = 1);
    if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) < 0)
        test::throw_errno(std::string("run ") + bpf_program__name(program));
    if (all_found && options.retval != keys)
        throw std::runtime_error(std::string(bpf_program__name(program)) + " found " + std::to_string(options.retval) +
                                 " of " + std::to_string(keys));
    return static_cast<double>(options.duration) / keys;
}

Figures measure(const Port &port, uint32_t rules, unsigned keys, uint32_t different) {
    const Programs programs(port.classifier->programs(), keys);
    std::mt19937 random(1);
    std::vector<uint32_t> picked(different);
    for (uint32_t &rule : picked)
        rule = static_cast<uint32_t>(random() % rules);
    for (uint32_t i = 0; i < keys; i++) {
        const tapflow_flow_key key = key_for(picked[random() % different]);
        if (bpf_map__update_elem(programs->maps.keys, &i, sizeof(i), &key, sizeof(key), BPF_ANY) < 0)
            test::throw_errno("put a key");
    }
    for (uint32_t i = 0; i < rules; i++) {
        const tapflow_flow_key key = key_for(i);
        const std::array<uint64_t, 5> five{flow::word_of(key, 0), flow::word_of(key, 3), flow::word_of(key, 5),
                                           flow::word_of(key, 7), flow::word_of(key, 18)};
        if (bpf_map__update_elem(programs->maps.rival, five.data(), sizeof(five), &i, sizeof(i), BPF_ANY) < 0)
            test::throw_errno("put an entry");
    }
    std::map<std::string, const bpf_program *> methods{
        {"search", programs->progs.search}, {"cache", programs->progs.cache}, {"hash_map", programs->progs.hash_map}};
    Figures best;
    double nothing = 1e9;
    for (unsigned round = 0; round < kRounds; round++) {
        nothing = std::min(nothing, run_program(programs->progs.nothing, keys, false));
        for (const auto &[name, program] : methods) {
            const double ns = run_program(program, keys, true);
            auto &figure = best.try_emplace(name + "_ns", 1e9).first->second;
            figure = std::min(figure, ns);
        }
    }
    for (auto &[name, ns] : best)
        ns -= nothing;
    return best;
}

void run(const Arguments &arguments) {
    const uint32_t rules = arguments.number("rules", 10'000);
    const uint32_t masks = arguments.number("masks", 4);
    pin_to_cpu(kSenderCpu);
    Port port;
    for (uint32_t i = 0; i < rules; i++)
        if (const auto created = port.rules->create(make_rule(i, masks)); !created.flow)
            throw std::runtime_error(created.refusal.error.message());
    print_json({{"cold", measure(port, rules, kKeys, kKeys)}, {"flows", measure(port, rules, kKeys, kFlows)}});
}

} // namespace
} // namespace tapflow::bench

int main(int argc, char **argv) {
    try {
        tapflow::bench::run({argc, argv, {"rules", "masks"}});
    } catch (...) {
        return tapflow::bench::report_exception(argv[0]);
    }
}
