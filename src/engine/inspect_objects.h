// SPDX-License-Identifier: BSD-3-Clause
// What an InspectedPort consists of. Only for those who find ports and read them.
#pragma once

#include "engine/inspect.h"
#include "kernel/bpf_objects.h"
#include "kernel/namespace.h"
#include "kernel/netlink.h"

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace tapflow::engine {

template <size_t Size> std::string text_of(const char (&text)[Size]) { return {text, strnlen(text, Size)}; }

/// Memory of a map that one only reads.
inline Result<kernel::Mapping> map_view(int map, size_t bytes, const std::string &name) {
    return kernel::Mapping::create(map, 0, bytes, false, "BPF map " + name);
}

/// A socket for requests in a port's namespace; that of the kernel's only one has no number. `pid`: of the port's
/// process.
Result<std::unique_ptr<kernel::Netlink>> netlink_in(const tapflow_namespace &where, uint32_t pid);

struct InspectedPort::Objects {
    kernel::Mapping identity;
    kernel::Mapping state;
    std::map<std::string, kernel::Fd> maps;
    std::map<uint32_t, std::string> programs; ///< all that share the port's state, by id
    std::map<std::string, kernel::Fd> classifiers;

    [[nodiscard]] int map(const std::string &name) const {
        const auto found = maps.find(name);
        return found == maps.end() ? -1 : found->second.get();
    }
    [[nodiscard]] tapflow_port_identity read_identity() const;
    [[nodiscard]] Result<kernel::Fd> inner(const std::string &outer, uint32_t slot) const;
    [[nodiscard]] Result<RssState> read_rss(const std::string &outer, uint32_t slot) const;
    [[nodiscard]] std::optional<kernel::LinkInfo> link_in(const tapflow_namespace &where, int index,
                                                          uint32_t pid) const;
    void add_counts(RuleSet &rules) const;
    void add_filters(RuleSet &rules) const;
    Result<RuleSet> read_rules() const;
};

} // namespace tapflow::engine
