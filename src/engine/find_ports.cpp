// SPDX-License-Identifier: BSD-3-Clause
// Ports among all that the kernel has loaded.
#include "engine/inspect.h"
#include "engine/inspect_objects.h"
#include "kernel/clock.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <set>
#include <tuple>

namespace tapflow::engine {
namespace {

/// The programs that decide of a port's packets, as the kernel calls them (15 characters).
bool is_classifier(const std::string &name) {
    return name == "tap_egress" || name == "tap_egress_fd" || name == "remote_ingress" || name == "remote_ingress_";
}

/// What one program for TC tells of a port.
struct Candidate {
    kernel::ProgramInfo program;
    std::map<std::string, kernel::Fd> maps;
    uint32_t state_id = 0; ///< of its port_state
};

/// A program that shares a port's state; none: it has nothing to do with us.
std::optional<Candidate> look_at(const kernel::ProgramInfo &program) {
    Candidate candidate{program, {}, 0};
    for (const uint32_t id : program.maps) {
        auto map = kernel::open_map(id);
        if (!map)
            continue;
        const auto info = kernel::map_info(map->get());
        if (!info)
            continue;
        if (info->name == "port_state")
            candidate.state_id = id;
        candidate.maps.emplace(info->name, *std::move(map));
    }
    if (candidate.state_id == 0)
        return std::nullopt;
    return candidate;
}

/// Version, and whether we can read the port.
Result<ForeignPort> check_version(const Candidate &candidate, bool &readable) {
    ForeignPort port{candidate.program.id, 0, {}};
    readable = false;
    const auto found = candidate.maps.find(TAPFLOW_IDENTITY_MAP);
    if (found == candidate.maps.end())
        return port;
    const auto info = kernel::map_info(found->second.get());
    if (!info)
        return info.error();
    std::vector<std::byte> value(std::max<size_t>(info->value_bytes, sizeof(tapflow_port_identity)));
    const uint32_t zero = 0;
    if (info->key_bytes != sizeof(zero) || info->value_bytes > 1U << 16U)
        return port;
    if (auto read = kernel::map_lookup(found->second.get(), &zero, value.data(), "read port identity"); !read)
        return read.error();
    tapflow_port_identity identity{};
    std::memcpy(&identity, value.data(), sizeof(identity));
    port.abi = identity.abi;
    readable = identity.abi == TAPFLOW_ABI_VERSION && info->value_bytes == sizeof(identity);
    if (readable)
        port.version = text_of(identity.version);
    return port;
}

/// A port has its programs before it says what it is: they take the kernel some time.
bool is_being_opened(const kernel::ProgramInfo &program, const ForeignPort &port) {
    constexpr uint64_t kLongest = 30'000'000'000; // ns
    return port.abi == 0 && kernel::boottime_ns() - program.loaded_ns < kLongest;
}

/// The kernel frees a closed port's programs a moment later, when its tap, or the number of its tap's namespace, may
/// already be another port's. Of several at one place, those that sit there are meant.
void drop_closed(std::vector<InspectedPort> &ports) {
    using Place = std::tuple<uint64_t, uint64_t, int>;
    std::map<Place, std::vector<InspectedPort>> by_place;
    for (InspectedPort &port : ports) {
        const PortIdentity identity = port.identity();
        by_place[{identity.tap_namespace.device, identity.tap_namespace.inode, identity.tap_ifindex}].push_back(
            std::move(port));
    }
    ports.clear();
    for (auto &[place, at_one] : by_place) {
        const auto is_attached = [](const InspectedPort &port) { return !port.attached().empty(); };
        if (at_one.size() > 1 && std::any_of(at_one.begin(), at_one.end(), is_attached))
            std::erase_if(at_one, [&](const InspectedPort &port) { return !is_attached(port); });
        std::move(at_one.begin(), at_one.end(), std::back_inserter(ports));
    }
}

} // namespace

Result<FoundPorts> find_ports() {
    FoundPorts found;
    std::map<uint32_t, std::unique_ptr<InspectedPort::Objects>> by_state;
    std::map<uint32_t, std::map<uint32_t, std::string>> programs; ///< by port_state
    std::set<uint32_t> foreign;
    std::optional<Error> trouble;
    auto listed = kernel::for_each_tc_program([&](const kernel::ProgramInfo &program) {
        auto candidate = look_at(program);
        if (!candidate)
            return;
        programs[candidate->state_id][program.id] = program.name;
        if (!is_classifier(program.name))
            return;
        bool readable = false;
        auto version = check_version(*candidate, readable);
        if (!version) {
            trouble = version.error();
            return;
        }
        if (!readable) {
            if (!is_being_opened(program, *version) && foreign.insert(candidate->state_id).second)
                found.foreign.push_back(*std::move(version));
            return;
        }
        auto &objects = by_state[candidate->state_id];
        if (!objects)
            objects = std::make_unique<InspectedPort::Objects>();
        if (auto fd = kernel::open_program(program.id))
            objects->classifiers.emplace(program.name, *std::move(fd));
        for (auto &[name, map] : candidate->maps)
            objects->maps.emplace(name, std::move(map));
    });
    if (!listed) {
        Error error = listed.error();
        if (error.code == EPERM)
            error.detail = "CAP_SYS_ADMIN and CAP_BPF are needed: run it as root";
        return error;
    }
    for (auto &[id, objects] : by_state) {
        auto identity =
            map_view(objects->map(TAPFLOW_IDENTITY_MAP), sizeof(tapflow_port_identity), TAPFLOW_IDENTITY_MAP);
        auto state = map_view(objects->map("port_state"), sizeof(tapflow_port_state), "port_state");
        if (!identity || !state)
            return identity ? state.error() : identity.error();
        objects->identity = *std::move(identity);
        objects->state = *std::move(state);
        objects->programs = std::move(programs[id]);
        InspectedPort port(std::move(objects));
        if (port.identity().tap_ifindex == 0) // being opened
            continue;
        // Of a process that has ended nothing may be left but programs that the kernel is about to free.
        if (port.owner() == Owner::Gone && !port.tap() && port.attached().empty())
            continue;
        found.ports.push_back(std::move(port));
    }
    if (found.ports.empty() && trouble)
        return *trouble;
    drop_closed(found.ports);
    // Names are asked of the kernel: once for each.
    std::vector<std::pair<std::pair<bool, std::string>, InspectedPort>> named;
    for (InspectedPort &port : found.ports)
        named.emplace_back(std::pair{!port.is_here(), port.name()}, std::move(port));
    std::stable_sort(named.begin(), named.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
    found.ports.clear();
    for (auto &[name, port] : named)
        found.ports.push_back(std::move(port));
    return found;
}

Result<InspectedPort> find_port(const std::string &name) {
    auto found = find_ports();
    if (!found)
        return found.error();
    const std::string what = "find port " + name;
    std::string others;
    std::vector<size_t> here;
    std::vector<size_t> elsewhere;
    for (size_t i = 0; i < found->ports.size(); i++) {
        const InspectedPort &port = found->ports[i];
        const PortIdentity identity = port.identity();
        const std::string tap = port.name();
        const auto remote = port.remote();
        if (name == tap || name == identity.device || (identity.is_remote && name == identity.remote) ||
            (remote && name == remote->name))
            (port.is_here() ? here : elsewhere).push_back(i);
        others += (others.empty() ? "" : ", ") + tap;
    }
    auto &matching = here.empty() ? elsewhere : here;
    if (matching.size() == 1)
        return std::move(found->ports[matching.front()]);
    if (matching.size() > 1)
        return Error{EINVAL, what,
                     std::to_string(matching.size()) + " ports are called so; say the tap's name, in its " +
                         "network namespace (ip netns exec, nsenter)"};
    if (found->ports.empty() && !found->foreign.empty())
        return Error{EPROTO, what,
                     "no port here is of this version of tapflow; there is one of another (its maps are of version " +
                         std::to_string(found->foreign.front().abi) + ", this program reads " +
                         std::to_string(TAPFLOW_ABI_VERSION) + "): use the tapflowctl of that version for it"};
    return Error{ENODEV, what, found->ports.empty() ? "there is no tapflow port" : "there are: " + others};
}

} // namespace tapflow::engine
