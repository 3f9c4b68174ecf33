// SPDX-License-Identifier: BSD-3-Clause
// BPF objects of one process, by the kernel's ids: other tests run beside this one and have their own.
#pragma once

#include "support/system.h"

#include <bpf/bpf.h>
#include <sys/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace tapflow::test {

/// Ids are found while their process lives, and asked after when it should have let go of them.
struct BpfIds {
    std::set<uint32_t> programs;
    std::set<uint32_t> maps;
    std::set<uint32_t> links;

    /// Those that the process has open now.
    void add_open_ones(pid_t pid) {
        const auto directory = std::filesystem::path("/proc") / std::to_string(pid) / "fdinfo";
        for (const auto &entry : std::filesystem::directory_iterator(directory)) {
            std::ifstream file(entry.path());
            std::string key;
            std::string value;
            // A link's info names its program as well: every id counts.
            while (file >> key && std::getline(file, value)) {
                if (key == "prog_id:")
                    programs.insert(static_cast<uint32_t>(std::stoul(value)));
                else if (key == "map_id:")
                    maps.insert(static_cast<uint32_t>(std::stoul(value)));
                else if (key == "link_id:")
                    links.insert(static_cast<uint32_t>(std::stoul(value)));
            }
        }
    }

    /// Those that still exist. The kernel frees them a grace period after their last user.
    [[nodiscard]] size_t alive() const {
        const auto count = [](const std::set<uint32_t> &ids, int (*open)(uint32_t)) {
            return static_cast<size_t>(
                std::count_if(ids.begin(), ids.end(), [&](uint32_t id) { return static_cast<bool>(Fd(open(id))); }));
        };
        return count(programs, bpf_prog_get_fd_by_id) + count(maps, bpf_map_get_fd_by_id) +
               count(links, bpf_link_get_fd_by_id);
    }
};

} // namespace tapflow::test
