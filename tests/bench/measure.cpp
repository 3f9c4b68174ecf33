// SPDX-License-Identifier: BSD-3-Clause
#include "bench/measure.h"

#include "support/system.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <exception>
#include <stdexcept>

namespace tapflow::bench {
namespace {

uint64_t clock_ns(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

ClockCost measure_clocks() {
    constexpr unsigned kCalls = 20'000;
    ClockCost cost;
    cost.ticks = UINT64_MAX;
    const uint64_t cpu = thread_cpu_ns();
    for (unsigned i = 0; i < kCalls; i++)
        (void)thread_cpu_ns();
    cost.thread_cpu_ns = static_cast<double>(thread_cpu_ns() - cpu) / (kCalls + 1);
    const uint64_t start_ns = clock_ns(CLOCK_MONOTONIC_RAW);
    const uint64_t start = ticks();
    while (clock_ns(CLOCK_MONOTONIC_RAW) - start_ns < 20'000'000) {
        const uint64_t before = ticks();
        cost.ticks = std::min(cost.ticks, ticks() - before);
    }
    cost.tick_ns = static_cast<double>(clock_ns(CLOCK_MONOTONIC_RAW) - start_ns) / static_cast<double>(ticks() - start);
    return cost;
}

} // namespace

void pin_to_cpu(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        test::throw_errno("run on CPU " + std::to_string(cpu));
}

uint64_t thread_cpu_ns() { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }
uint64_t process_cpu_ns() { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

const ClockCost &clock_cost() {
    static const ClockCost cost = measure_clocks();
    return cost;
}

void print_json(const std::map<std::string, Figures> &cases) {
    const char *outer = "{";
    for (const auto &[name, figures] : cases) {
        std::printf("%s\"%s\": {", outer, name.c_str());
        outer = ", ";
        const char *inner = "";
        for (const auto &[figure, value] : figures) {
            std::printf("%s\"%s\": %.3f", inner, figure.c_str(), value);
            inner = ", ";
        }
        std::printf("}");
    }
    std::printf("}\n");
    std::fflush(stdout);
}

Arguments::Arguments(int argc, char **argv, const std::vector<std::string> &known) {
    for (int i = 1; i < argc; i += 2) {
        const std::string option = argv[i];
        const std::string name = option.starts_with("--") ? option.substr(2) : "";
        if (std::find(known.begin(), known.end(), name) == known.end())
            throw std::invalid_argument("unknown option " + option);
        if (i + 1 == argc)
            throw std::invalid_argument(option + " wants a value");
        values_[name] = argv[i + 1];
    }
}

std::string Arguments::text(const std::string &name, const std::string &otherwise) const {
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second;
}

unsigned Arguments::number(const std::string &name, unsigned otherwise) const {
    const std::string value = text(name);
    return value.empty() ? otherwise : static_cast<unsigned>(std::stoul(value));
}

int report_exception(const char *program) {
    try {
        throw;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s: %s\n", program, error.what());
    }
    return 1;
}

} // namespace tapflow::bench
