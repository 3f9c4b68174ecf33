// SPDX-License-Identifier: BSD-3-Clause
// What a port leaves where others can see it: at an interface, and in /proc.
#pragma once

#include "pmd/remote_rig.h"

#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <sstream>
#include <string>

namespace tapflow::test {

/// A text's lines in alphabetical order: the kernel lists addresses in that in which they were added.
inline std::string sorted_lines(const std::string &text) {
    std::istringstream stream(text);
    std::multiset<std::string> lines;
    for (std::string line; std::getline(stream, line);)
        lines.insert(line + "\n");
    return std::accumulate(lines.begin(), lines.end(), std::string());
}

/// An interface as its owner sees it: flags, promiscuity, MTU, addresses of all kinds, qdiscs, filters and programs.
inline std::string state_of(const NetNs &netns, const std::string &interface) {
    std::string state = netns.must_run({"ip", "-d", "address", "show", "dev", interface});
    state += sorted_lines(netns.must_run({"ip", "maddress", "show", "dev", interface}));
    state += sorted_lines(netns.must_run({"bridge", "fdb", "show", "dev", interface}));
    state += netns.must_run({"tc", "qdisc", "show", "dev", interface});
    for (const char *hook : {"ingress", "egress"})
        state += netns.run({"tc", "filter", "show", "dev", interface, hook}).output; // fails without clsact
    for (const bool ingress : {true, false})
        for (const uint32_t id : tcx_programs(netns, interface, ingress).value_or(std::vector<uint32_t>()))
            state += "tcx " + std::to_string(id) + "\n";
    return state;
}

inline std::filesystem::path proc(pid_t pid, const char *entry) {
    return std::filesystem::path("/proc") / std::to_string(pid) / entry;
}

inline std::string read_text(const std::filesystem::path &path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

/// The targets of a process's descriptors, by number. One that goes while we look is none.
inline std::map<int, std::string> descriptors(pid_t pid) {
    std::map<int, std::string> found;
    for (const auto &entry : std::filesystem::directory_iterator(proc(pid, "fd"))) {
        std::error_code gone;
        const auto target = std::filesystem::read_symlink(entry.path(), gone);
        if (!gone)
            found.emplace(std::stoi(entry.path().filename()), target);
    }
    return found;
}

/// A soft limit of another process, as it was again when this goes.
class SoftLimit {
  public:
    SoftLimit(pid_t pid, __rlimit_resource resource) : pid_(pid), resource_(resource) {
        if (prlimit(pid_, resource_, nullptr, &before_) != 0)
            throw_errno("read a limit");
    }
    SoftLimit(const SoftLimit &) = delete;
    SoftLimit &operator=(const SoftLimit &) = delete;
    ~SoftLimit() { (void)prlimit(pid_, resource_, &before_, nullptr); }

    void set(rlim_t value) {
        rlimit limited = before_;
        limited.rlim_cur = value;
        if (prlimit(pid_, resource_, &limited, nullptr) != 0)
            throw_errno("set a limit");
    }

  private:
    pid_t pid_;
    __rlimit_resource resource_;
    rlimit before_{};
};

} // namespace tapflow::test
