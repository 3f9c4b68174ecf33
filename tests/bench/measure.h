// SPDX-License-Identifier: BSD-3-Clause
// Clocks, and how a benchmark program reports: one line of JSON for tools/bench.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tapflow::bench {

/// Packets per batch: fewer than a tap's queue (1000) or a default ring (1 MiB) holds, so none is dropped.
constexpr unsigned kBatch = 256;
/// Batches before those that count.
constexpr unsigned kWarmUp = 32;
/// Sender and reader run on a CPU each.
constexpr unsigned kSenderCpu = 0;
constexpr unsigned kReaderCpu = 1;

void pin_to_cpu(unsigned cpu);

/// CPU time of the calling thread. The kernel bills softirqs to the thread they interrupt (unless built with
/// CONFIG_IRQ_TIME_ACCOUNTING), so a packet's way through veth is the sender's.
[[nodiscard]] uint64_t thread_cpu_ns();
/// CPU time of all threads of this process.
[[nodiscard]] uint64_t process_cpu_ns();

/// What measuring costs itself, to be taken off: found out once, by the first call in a process.
struct ClockCost {
    double thread_cpu_ns = 0; ///< one thread_cpu_ns()
    double tick_ns = 0;       ///< duration of one tick of ticks()
    uint64_t ticks = 0;       ///< one ticks()
};
const ClockCost &clock_cost();

/// The time-stamp counter: cheap enough for a single burst, but it goes on while others have the CPU.
[[nodiscard]] inline uint64_t ticks() { return __builtin_ia32_rdtsc(); }

/// The values of one measurement by name.
using Figures = std::map<std::string, double>;

/// Prints {"<case>": {"<figure>": value, ...}, ...} and a newline.
void print_json(const std::map<std::string, Figures> &cases);

/// `--name value` pairs. A name that is not among `known`, or has no value: std::invalid_argument.
class Arguments {
  public:
    Arguments(int argc, char **argv, const std::vector<std::string> &known);

    [[nodiscard]] std::string text(const std::string &name, const std::string &otherwise = {}) const;
    [[nodiscard]] unsigned number(const std::string &name, unsigned otherwise) const;

  private:
    std::map<std::string, std::string> values_;
};

/// Prints the message of the exception being handled and returns the exit status for it.
int report_exception(const char *program);

} // namespace tapflow::bench
