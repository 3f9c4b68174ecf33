// SPDX-License-Identifier: BSD-3-Clause
#include "engine/leftovers.h"

#include "engine/flower_filters.h"
#include "kernel/attachment.h"
#include "kernel/bpf_objects.h"
#include "kernel/tun.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

namespace tapflow::engine {
namespace {

const char *hook_name(kernel::Hook hook) { return hook == kernel::Hook::Ingress ? "ingress" : "egress"; }

std::optional<kernel::LinkInfo> interface_of(const InspectedPort &port, bool at_remote) {
    return at_remote ? port.remote() : port.tap();
}

/// The port's programs at one of its interfaces that do not go by themselves, those that packets meet first in front.
std::vector<Attached> filters_at(const InspectedPort &port, bool at_remote) {
    std::vector<Attached> filters;
    for (Attached &attached : port.attached())
        if (!attached.tcx && attached.at_remote == at_remote)
            filters.push_back(std::move(attached));
    std::sort(filters.begin(), filters.end(), [](const Attached &a, const Attached &b) {
        return std::pair(a.chain, a.preference) < std::pair(b.chain, b.preference);
    });
    return filters;
}

void add_filters(const InspectedPort &port, bool at_remote, std::vector<Leftover> &leftovers) {
    const auto link = interface_of(port, at_remote);
    const auto filters = filters_at(port, at_remote);
    if (!link || filters.empty())
        return;
    std::string what = std::to_string(filters.size()) + (filters.size() == 1 ? " filter at " : " filters at ") +
                       link->name + " (" + hook_name(filters.front().hook);
    for (const Attached &filter : filters)
        what += ", " + filter.program;
    const bool flower = port.identity().search == kernel::RuleSearch::Flower;
    leftovers.push_back({Leftover::Kind::Filters, link->name, at_remote, what + (flower ? ", rules)" : ")")});
}

Result<void> remove_filters(const InspectedPort &port, bool at_remote) {
    const auto link = interface_of(port, at_remote);
    auto netlink = port.netlink(at_remote);
    if (!link)
        return {};
    if (!netlink)
        return netlink.error();
    const auto filters = filters_at(port, at_remote);
    // Rules before what reads their marks, but behind the gate, without which they mean nothing.
    const bool flower = port.identity().search == kernel::RuleSearch::Flower;
    bool rules = flower && !filters.empty();
    for (const Attached &filter : filters) {
        const kernel::FilterPlace place{link->index, filter.hook, filter.preference, filter.handle, filter.chain};
        if (auto removed = kernel::Attachment::take_off(**netlink, *link, {place, filter.program}); !removed)
            return removed;
        if (rules && filter.preference == kernel::kFilterPreference) {
            rules = false;
            if (auto removed = FlowerFilters::remove_left(**netlink, *link, filter.hook, kernel::RuleSearch::Flower);
                !removed)
                return removed;
        }
    }
    return rules ? FlowerFilters::remove_left(**netlink, *link, filters.front().hook, kernel::RuleSearch::Flower)
                 : Result<void>();
}

/// Nobody may have come to use the tap meanwhile.
Result<kernel::LinkInfo> unused_tap(const InspectedPort &port) {
    auto tap = port.tap();
    if (!tap)
        return Error{ENODEV, "look at the port's tap", "it has gone"};
    if (tap->tun_queues > 0)
        return Error{EBUSY, "clean up " + tap->name, "another process has opened it"};
    return *std::move(tap);
}

Result<void> reset_programs(const InspectedPort &port, const kernel::LinkInfo &tap) {
    const PortIdentity identity = port.identity();
    const auto reset = [&]() -> Result<void> {
        auto tun = kernel::Tun::open(tap.name, identity.layer);
        if (!tun)
            return tun.error();
        if (auto done = tun->set_steering(kernel::Tun::kNoProgram); !done)
            return done;
        return tun->set_filter(kernel::Tun::kNoProgram);
    };
    if (identity.tap_namespace == kernel::NamespaceId{})
        return reset();
    auto netns = kernel::find_namespace(identity.tap_namespace, identity.pid);
    if (!netns)
        return netns.error();
    return kernel::in_namespace(*netns, reset);
}

} // namespace

std::vector<Leftover> leftovers_of(const InspectedPort &port) {
    std::vector<Leftover> leftovers;
    if (port.owner() != Owner::Gone)
        return leftovers;
    const PortIdentity identity = port.identity();
    if (identity.is_remote)
        add_filters(port, true, leftovers);
    const auto tap = port.tap();
    if (!tap)
        return leftovers;
    if (!identity.tap_was_there) {
        leftovers.push_back({Leftover::Kind::Tap, tap->name, false, "persistent tap " + tap->name});
        return leftovers;
    }
    add_filters(port, false, leftovers);
    if (tap->tun_queues == 0)
        leftovers.push_back({Leftover::Kind::TapPrograms, tap->name, false,
                             "programs of the tap " + tap->name + " itself, which was there before"});
    return leftovers;
}

Result<void> remove_leftover(const InspectedPort &port, const Leftover &leftover) {
    if (port.owner() != Owner::Gone)
        return Error{EBUSY, "remove " + leftover.what, "its process runs"};
    if (leftover.kind == Leftover::Kind::Filters)
        return remove_filters(port, leftover.at_remote);
    const auto tap = unused_tap(port);
    if (!tap)
        return tap.error().code == ENODEV ? Result<void>() : tap.error();
    if (leftover.kind == Leftover::Kind::TapPrograms)
        return reset_programs(port, *tap);
    auto netlink = port.netlink(false);
    if (!netlink)
        return netlink.error();
    return kernel::delete_link(**netlink, *tap);
}

void wait_until_freed(InspectedPort port) {
    constexpr auto kInterval = std::chrono::milliseconds(5);
    constexpr int kAttempts = 200;
    const std::vector<uint32_t> programs = port.programs();
    { const InspectedPort closed = std::move(port); } // it holds them as well
    const auto is_there = [](uint32_t id) { return static_cast<bool>(kernel::open_program(id)); };
    for (int i = 0; i < kAttempts && std::any_of(programs.begin(), programs.end(), is_there); i++)
        std::this_thread::sleep_for(kInterval);
}

} // namespace tapflow::engine
