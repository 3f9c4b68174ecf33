// SPDX-License-Identifier: BSD-3-Clause
#include "programs/example.h"

#include "pmd/plugin.h"
#include "support/system.h"

#include <time.h>

#include <filesystem>

namespace tapflow::test {
namespace {

std::string program(const std::string &name) { return TAPFLOW_PROGRAMS "/dpdk-" + name; }

} // namespace

bool example_is_there(const std::string &name) { return std::filesystem::exists(program(name)); }

Example::Example(const NetNs &netns, const ExampleOptions &options) {
    std::vector<std::string> line{"stdbuf", "-oL", program(options.name), "--no-pci", "--no-huge", "--no-telemetry",
                                  "-m",     "512"};
    const auto add = [&line](const std::vector<std::string> &words) {
        line.insert(line.end(), words.begin(), words.end());
    };
    add({"--file-prefix", runtime_directory_.file_prefix(), "--lcores", floating_lcores(options.lcores)});
    add({"-d", plugin_path()});
    for (const std::string &vdev : options.vdevs)
        line.push_back("--vdev=" + with_tested_modes(vdev));
    line.emplace_back("--");
    add(options.arguments);
    ProcessOptions process{.environment = plugin_environment(), .netns = netns.fd()};
    process.environment.push_back(runtime_directory_.environment());
    process_.emplace(line, process);
}

double Example::cpu_seconds() const {
    clockid_t clock{};
    timespec time{};
    if (clock_getcpuclockid(process_->pid(), &clock) != 0 || clock_gettime(clock, &time) != 0)
        throw_errno("read a program's CPU time");
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

} // namespace tapflow::test
