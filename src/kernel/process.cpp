// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/process.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>
#include <sstream>

namespace tapflow::kernel {
namespace {

/// Field 22 of /proc/PID/stat, of a process that is not a zombie. The second one, the name in parentheses, may hold
/// anything.
std::optional<uint64_t> start_of(const std::string &process) {
    std::ifstream file("/proc/" + process + "/stat");
    std::string text;
    std::getline(file, text, '\0');
    const size_t behind_name = text.rfind(')');
    if (behind_name == std::string::npos)
        return std::nullopt;
    std::istringstream fields(text.substr(behind_name + 1));
    std::string state;
    fields >> state;
    std::string skipped;
    for (int field = 4; field < 22; field++)
        fields >> skipped;
    uint64_t start = 0;
    if (!(fields >> start) || state == "Z" || state == "X")
        return std::nullopt;
    return start;
}

Result<uint64_t> pid_namespace() {
    struct stat status {};
    if (stat("/proc/self/ns/pid", &status) < 0)
        return last_error("look up the pid namespace");
    return uint64_t{status.st_ino};
}

} // namespace

Result<ProcessId> this_process() {
    auto space = pid_namespace();
    if (!space)
        return space.error();
    const auto start = start_of("self");
    if (!start)
        return Error{EIO, "read /proc/self/stat", {}};
    return ProcessId{static_cast<uint32_t>(getpid()), *space, *start};
}

std::string this_process_name() {
    std::array<char, 17> name{};
    // Of the main thread: prctl() would say the calling one's.
    std::ifstream file("/proc/self/comm");
    file.getline(name.data(), name.size());
    return name.data();
}

Result<bool> is_running(const ProcessId &process) {
    const auto space = pid_namespace();
    if (!space)
        return space.error();
    if (*space != process.pid_namespace)
        return Error{EXDEV, "look for process " + std::to_string(process.pid), "it is in another pid namespace"};
    return start_of(std::to_string(process.pid)) == process.start;
}

} // namespace tapflow::kernel
