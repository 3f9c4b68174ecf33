// SPDX-License-Identifier: BSD-3-Clause
#include "engine/doctor.h"

#include "engine/flower_filters.h"
#include "engine/port_internal.h"
#include "kernel/attachment.h"
#include "kernel/bpf.h"
#include "kernel/ethtool.h"
#include "kernel/link.h"
#include "kernel/netlink.h"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

namespace tapflow::engine {
namespace {

using Status = Finding::Status;

constexpr unsigned kJumboMtu = 9216;

Finding ok(const char *name, std::string what) { return {name, Status::Ok, std::move(what), {}, {}}; }

Finding examine_state(const kernel::LinkInfo &link) {
    if (!link.up)
        return {"remote link", Status::Degraded, link.name + " is down", "no packets, and the port's link is down",
                "ip link set " + link.name + " up"};
    if (!link.carrier)
        return {"remote link", Status::Degraded, link.name + " has no carrier",
                "no packets, and the port's link is down", "plug it in, or set its peer up"};
    return ok("remote link", "up, with carrier");
}

Finding examine_mtu(const kernel::LinkInfo &link) {
    const std::string what = "MTU " + std::to_string(link.mtu);
    if (link.mtu <= kJumboMtu)
        return ok("remote MTU", what);
    return {"remote MTU", Status::Degraded, what,
            "frames may be longer than mbufs: without scattered Rx they are dropped, and rings hold few of them",
            "ip link set " + link.name + " mtu 9000, or larger rings and mbufs"};
}

Finding examine_master(kernel::Netlink &netlink, const kernel::LinkInfo &link) {
    if (link.master == 0)
        return ok("remote master", "belongs to no bridge or bond");
    const auto master = kernel::get_link(netlink, link.master);
    const std::string name = master ? master->name : std::to_string(link.master);
    return {"remote master", Status::Degraded,
            "belongs to " + name + (master && !master->kind.empty() ? " (" + master->kind + ")" : ""),
            name + " gets only what the port leaves to the kernel",
            "use " + name + " as remote, or ip link set " + link.name + " nomaster"};
}

Finding examine_xdp(const kernel::LinkInfo &link) {
    if (link.xdp_program == 0)
        return ok("remote XDP", "no program");
    return {"remote XDP", Status::Degraded, "program " + std::to_string(link.xdp_program) + " is there",
            "it sees packets first: the port gets what it passes", "ip link set " + link.name + " xdp off"};
}

Finding examine_merging(const kernel::LinkInfo &link) {
    std::string on;
    for (const char *feature : {"rx-lro", "rx-gro-hw"}) {
        const auto set = kernel::has_feature(link.name, feature);
        if (set && *set)
            on.append(on.empty() ? "" : ", ").append(feature);
    }
    if (on.empty())
        return ok("remote LRO", "the interface merges no packets");
    return {"remote LRO", Status::Degraded, on + " is on",
            "what the interface has merged comes as one packet, or is cut into others than came",
            "ethtool -K " + link.name + " lro off rx-gro-hw off"};
}

bool is_ours(std::string_view program) {
    // Programs have names of 15 characters.
    return program.starts_with("remote_ingress") || program.starts_with("tapflow_");
}

Finding examine_tcx(const kernel::LinkInfo &link, const Result<std::vector<kernel::HookedProgram>> &programs) {
    if (!programs && programs.error().code == EINVAL)
        return ok("remote TCX", "the kernel has none");
    if (!programs)
        return {"remote TCX", Status::Degraded, programs.error().message(), "what is there is not known",
                "run it as root"};
    if (programs->empty())
        return ok("remote TCX", "no program");
    std::string names;
    bool ours = false;
    for (const kernel::HookedProgram &program : *programs) {
        names.append(names.empty() ? "" : ", ").append(program.name.empty() ? "?" : program.name);
        names.append(" (").append(std::to_string(program.id)).append(")");
        ours = ours || is_ours(program.name);
    }
    if (ours)
        return {"remote TCX", Status::Degraded, "another port stands in for " + link.name + ": " + names,
                "the port that was opened last takes the packets", "close one of them"};
    return {"remote TCX", Status::Degraded, "programs at ingress: " + names,
            "a port goes in front of them: they see what it leaves to the kernel", "detach them if that is not wanted"};
}

// ---- filters

/// What a filter of somebody's at the remote's ingress is to a port there, the worst last.
enum class Conflict : uint8_t {
    None,
    Rules,  ///< classifier=flower: rules of its priority
    Flower, ///< classifier=flower
    Ours,
    Any, ///< a port of any kind
};

Conflict conflict_of(const kernel::BpfFilter &filter, bool has_tcx) {
    if (is_ours(filter.name))
        return Conflict::Ours;
    if (filter.chain != 0)
        return Conflict::None;
    if (filter.preference == kernel::kFilterPreference)
        return has_tcx ? Conflict::Flower : Conflict::Any;
    if (filter.preference == kProbePreference || filter.preference == kConclusionPreference)
        return Conflict::Flower;
    const bool of_rules = filter.preference >= kFirstRulePreference && filter.preference < kConclusionPreference;
    return of_rules && filter.name != "flower" ? Conflict::Rules : Conflict::None;
}

struct ConflictText {
    Status status;
    const char *cost;
    const char *mend;
};

ConflictText text_of(Conflict conflict) {
    switch (conflict) {
    case Conflict::Rules:
        return {Status::Degraded, "classifier=flower cannot have rules whose priority is that preference less 256",
                "give them preferences below 199 or above 4352"};
    case Conflict::Flower:
        return {Status::Degraded, "classifier=flower cannot be used", "give them preferences below 199 or above 4352"};
    case Conflict::Ours:
        return {Status::Degraded, "another port is there, or a killed one has left them",
                "close that port, or remove with tapflowctl gc what is left"};
    case Conflict::Any:
        return {Status::Missing, "no port can be opened with this remote",
                "give them preferences below 199 or above 4352"};
    case Conflict::None:
        break;
    }
    return {Status::Ok, "", ""};
}

Finding examine_filters(kernel::Netlink &netlink, const kernel::LinkInfo &link, bool has_tcx) {
    const char *name = "remote filters";
    const auto filters = kernel::list_filters(netlink, link, kernel::Hook::Ingress);
    if (!filters)
        return {name, Status::Degraded, filters.error().message(), "what is there is not known", ""};
    constexpr size_t kNamed = 4;
    Conflict worst = Conflict::None;
    size_t count = 0;
    std::string named;
    for (const kernel::BpfFilter &filter : *filters) {
        const Conflict conflict = conflict_of(filter, has_tcx);
        worst = std::max(worst, conflict);
        if (conflict == Conflict::None)
            continue;
        if (count++ < kNamed)
            named.append(named.empty() ? "" : ", ")
                .append(filter.name)
                .append(" at preference ")
                .append(std::to_string(filter.preference));
    }
    if (count == 0)
        return ok(name, filters->empty() ? "none" : std::to_string(filters->size()) + " that are in nobody's way");
    if (count > kNamed)
        named.append(" and ").append(std::to_string(count - kNamed)).append(" more");
    const ConflictText text = text_of(worst);
    return {name, text.status, named, text.cost, text.mend};
}

} // namespace

std::vector<Finding> examine_remote(const std::string &name) {
    const char *title = "remote";
    const char *cost = "no port can be opened with this remote";
    const auto netlink = kernel::Netlink::open();
    if (!netlink)
        return {{title, Status::Missing, netlink.error().message(), cost, ""}};
    const auto link = kernel::get_link(**netlink, name);
    if (!link)
        return {{title, Status::Missing, link.error().message(), cost, "ip link shows the interfaces that there are"}};
    if (const auto usable = check_usable_as_remote(*link); !usable)
        return {{title, Status::Missing, usable.error().message(), cost, "name another interface"}};
    const auto tcx = kernel::list_tcx(link->index, kernel::Hook::Ingress, "list TCX programs of " + name);
    const bool has_tcx = tcx || tcx.error().code != EINVAL;
    return {ok(title, name + " can be one"),
            examine_state(*link),
            examine_mtu(*link),
            examine_master(**netlink, *link),
            examine_xdp(*link),
            examine_merging(*link),
            examine_tcx(*link, tcx),
            examine_filters(**netlink, *link, has_tcx)};
}

} // namespace tapflow::engine
