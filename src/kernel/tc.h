// SPDX-License-Identifier: BSD-3-Clause
// The clsact qdisc, and filters at it: cls_bpf in direct-action mode, and what all kinds have in common.
#pragma once

#include "kernel/link.h"
#include "kernel/netlink.h"
#include "tapflow/result.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tapflow::kernel {

enum class Hook : uint8_t { Ingress, Egress };

/// Where a filter sits.
struct FilterPlace {
    int ifindex = 0;
    Hook hook = Hook::Ingress;
    uint16_t preference = 0; ///< the lower comes first
    uint32_t handle = 1;
    uint32_t chain = 0; ///< 0: where every packet begins

    bool operator==(const FilterPlace &) const = default;
};

/// The start of an RTM_*TFILTER request about the filter of that place and kind (for packets of all protocols,
/// ETH_P_ALL); its options go behind. `bytes`: as for make_request(). Null when out of memory.
[[nodiscard]] NlMsg filter_request(int type, int flags, const FilterPlace &place, const char *kind, size_t bytes = 0);
/// The place that such a message names.
[[nodiscard]] FilterPlace parse_place(const nlmsghdr *header);
/// For an Error: "flower filter at interface 3 ingress, preference 300, handle 7".
[[nodiscard]] std::string describe(const FilterPlace &place, const std::string &kind);

/// The request that removes a filter, or with handle 0 all that have its preference in its chain. Null when out of
/// memory.
[[nodiscard]] NlMsg removal_request(const FilterPlace &place, const char *kind);
/// Errors: ENOENT; EINVAL when the place has a filter of another kind.
Result<void> remove_filter(Netlink &netlink, const FilterPlace &place, const char *kind);

/// A cls_bpf filter in direct-action mode, or in a list any filter.
struct BpfFilter : FilterPlace {
    std::string name; ///< what `tc filter show` calls the program; of other kinds the kind

    bool operator==(const BpfFilter &) const = default;
};

/// Adds a clsact qdisc. Returns false if the interface has one already, which is then not ours to remove.
Result<bool> ensure_clsact(Netlink &netlink, const LinkInfo &link);
Result<void> remove_clsact(Netlink &netlink, const LinkInfo &link);

/// Calls `each` with the kernel's message about each filter at a hook of an interface's clsact qdisc, of all chains.
Result<void> dump_filters(Netlink &netlink, const LinkInfo &link, Hook hook,
                          const std::function<void(const nlmsghdr *)> &each);
/// The filters there, of any kind; `name` is that of a bpf filter's program, else
/// the kind; of all chains. Empty where there is no such qdisc.
Result<std::vector<BpfFilter>> list_filters(Netlink &netlink, const LinkInfo &link, Hook hook);

/// A program that a bpf filter runs.
struct FilterProgram {
    BpfFilter filter;
    uint32_t program = 0; ///< id
};
/// Those at a hook of an interface.
Result<std::vector<FilterProgram>> list_filter_programs(Netlink &netlink, const LinkInfo &link, Hook hook);

/// Adds the filter for the program behind `program_fd` (SCHED_CLS). Errors: EEXIST when the place is taken.
Result<void> add_filter(Netlink &netlink, const BpfFilter &filter, int program_fd);
/// Puts the program into the filter of that place, whoever's it is, or adds the filter, in one step.
Result<void> replace_filter(Netlink &netlink, const BpfFilter &filter, int program_fd);
Result<void> remove_filter(Netlink &netlink, const BpfFilter &filter);

} // namespace tapflow::kernel
