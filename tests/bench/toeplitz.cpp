// SPDX-License-Identifier: BSD-3-Clause
// The RSS hash by byte tables against a loop over bits, both in BPF, less the cost of the same program without a hash.
//
//   bench_toeplitz [--repeat N]
#include "bench/measure.h"
#include "packet/parse.h"
#include "rss/rss_config.h"
#include "support/system.h"

#include "bench_hash.skel.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>

namespace tapflow::bench {
namespace {

/// As in hash.bpf.c.
struct State {
    tapflow_packet packet;
    std::array<uint32_t, 10> key;
    uint32_t step;
};

struct Skeleton {
    bench_hash_bpf *objects = bench_hash_bpf__open_and_load();
    Skeleton() {
        if (!objects)
            throw std::runtime_error("load bench_hash");
    }
    Skeleton(const Skeleton &) = delete;
    Skeleton &operator=(const Skeleton &) = delete;
    ~Skeleton() { bench_hash_bpf__destroy(objects); }
};

template <typename T> void put(const bpf_map *map, const T &value) {
    const uint32_t zero = 0;
    if (bpf_map__update_elem(map, &zero, sizeof(zero), &value, sizeof(value), BPF_ANY) < 0)
        test::throw_errno(std::string("fill map ") + bpf_map__name(map));
}

struct Run {
    double ns;
    uint32_t hash; ///< of the last repetition
};

Run run_program(const bpf_program *program, unsigned repeat) {
    std::array<uint8_t, 64> frame{};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_size_in = frame.size(),
                .repeat = static_cast<int>(repeat));
    if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) < 0)
        test::throw_errno(std::string("run ") + bpf_program__name(program));
    return {static_cast<double>(options.duration), options.retval};
}

State initial_state(uint32_t step) {
    State state{};
    std::mt19937 random(1);
    for (uint32_t &word : state.packet.words)
        word = static_cast<uint32_t>(random());
    state.packet.ports = static_cast<uint32_t>(random());
    for (size_t i = 0; i < state.key.size(); i++) {
        std::memcpy(&state.key[i], rss::default_key().data() + 4 * i, 4);
        state.key[i] = __builtin_bswap32(state.key[i]);
    }
    state.step = step;
    return state;
}

void run(const Arguments &arguments) {
    const unsigned repeat = arguments.number("repeat", 500'000);
    constexpr unsigned kRounds = 5;
    pin_to_cpu(kSenderCpu);
    const Skeleton skeleton;
    const auto &programs = skeleton.objects->progs;
    auto tables = std::make_unique<tapflow_rss>();
    const rss::RssConfig config{
        {rss::default_key().begin(), rss::default_key().end()}, rss::kAllTypes, rss::round_robin_reta(1)};
    rss::build_tables(config, *tables);
    put(skeleton.objects->maps.tables, *tables);

    std::map<std::string, Figures> cases;
    auto measure = [&](const std::string &name, uint32_t step, std::array<const bpf_program *, 3> methods) {
        std::array<double, 3> best{};
        best.fill(1e9);
        std::array<uint32_t, 3> hashes{};
        for (unsigned round = 0; round < kRounds; round++)
            for (size_t i = 0; i < methods.size(); i++) {
                put(skeleton.objects->maps.states, initial_state(step));
                const Run result = run_program(methods[i], repeat / kRounds);
                best[i] = std::min(best[i], result.ns);
                hashes[i] = result.hash;
            }
        if (hashes[1] != hashes[2])
            throw std::runtime_error(name + ": the two methods give different hashes");
        cases[name] = {{"nothing_ns", best[0]}, {"tables_ns", best[1] - best[0]}, {"bits_ns", best[2] - best[0]}};
    };
    constexpr uint32_t kStep = 0x9e3779b9; // changes every byte from run to run
    const std::array<const bpf_program *, 3> ipv4{programs.nothing_ipv4, programs.tables_ipv4, programs.bits_ipv4};
    const std::array<const bpf_program *, 3> ipv6{programs.nothing_ipv6, programs.tables_ipv6, programs.bits_ipv6};
    measure("ipv4", kStep, ipv4);
    measure("ipv6", kStep, ipv6);
    measure("ipv4_same", 0, ipv4);
    measure("ipv6_same", 0, ipv6);
    print_json(cases);
}

} // namespace
} // namespace tapflow::bench

int main(int argc, char **argv) {
    try {
        tapflow::bench::run({argc, argv, {"repeat"}});
    } catch (...) {
        return tapflow::bench::report_exception(argv[0]);
    }
}
