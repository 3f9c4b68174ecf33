// SPDX-License-Identifier: BSD-3-Clause
#include "engine/inspect.h"

#include "engine/counters.h"
#include "engine/inspect_objects.h"
#include "kernel/clock.h"
#include "kernel/process.h"
#include "kernel/ring.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

namespace tapflow::engine {

using kernel::NamespaceId;

namespace {

// A writer is done with such a small structure in no time, unless it has died in the middle.
constexpr int kIdentityAttempts = 1000;

NamespaceId id_of(const tapflow_namespace &space) { return {space.device, space.inode}; }

/// Whether the calling thread is in that namespace, and not in a later one that has its number.
bool is_this_namespace(const tapflow_namespace &space) {
    const auto here = kernel::this_namespace();
    return here && *here == id_of(space) && (space.cookie == 0 || kernel::this_namespace_cookie() == space.cookie);
}

} // namespace

Result<std::unique_ptr<kernel::Netlink>> netlink_in(const tapflow_namespace &where, uint32_t pid) {
    if (id_of(where) == NamespaceId{})
        return kernel::Netlink::open();
    auto netns = kernel::find_namespace(id_of(where), pid);
    if (!netns)
        return netns.error();
    std::unique_ptr<kernel::Netlink> netlink;
    auto opened = kernel::in_namespace(*netns, [&]() -> Result<void> {
        if (!is_this_namespace(where))
            return Error{ENOENT, "find the port's network namespace", "it has gone"};
        auto socket = kernel::Netlink::open();
        if (!socket)
            return socket.error();
        netlink = *std::move(socket);
        return {};
    });
    if (!opened)
        return opened.error();
    return netlink;
}

InspectedPort::InspectedPort(std::unique_ptr<Objects> objects) : objects_(std::move(objects)) {}
InspectedPort::~InspectedPort() = default;
InspectedPort::InspectedPort(InspectedPort &&) noexcept = default;
InspectedPort &InspectedPort::operator=(InspectedPort &&) noexcept = default;

// ---- what the port says of itself

tapflow_port_identity InspectedPort::Objects::read_identity() const {
    const auto *shared = static_cast<const tapflow_port_identity *>(identity.data());
    const std::atomic_ref<__u64> sequence(const_cast<__u64 &>(shared->sequence));
    tapflow_port_identity copy{};
    for (int i = 0; i < kIdentityAttempts; i++) {
        const uint64_t before = sequence.load(std::memory_order_acquire);
        copy = *shared;
        std::atomic_thread_fence(std::memory_order_acquire);
        if (before % 2 == 0 && sequence.load(std::memory_order_relaxed) == before)
            break;
        std::this_thread::yield();
    }
    return copy;
}

PortIdentity InspectedPort::identity() const {
    const tapflow_port_identity told = objects_->read_identity();
    const auto is = [&told](tapflow_identity_flag flag) { return (told.flags & flag) != 0; };
    PortIdentity identity;
    identity.version = text_of(told.version);
    identity.device = text_of(told.device);
    identity.process = text_of(told.process);
    identity.pid = told.pid;
    identity.pid_namespace = told.pid_namespace;
    identity.process_start = told.process_start;
    identity.opened_ns = told.opened_ns;
    identity.delivery = is(TAPFLOW_IDENTITY_RING) ? kernel::Delivery::Ring : kernel::Delivery::Fd;
    identity.search = is(TAPFLOW_IDENTITY_FLOWER) ? kernel::RuleSearch::Flower : kernel::RuleSearch::Tables;
    identity.layer = is(TAPFLOW_IDENTITY_TUN) ? kernel::Layer::Ip : kernel::Layer::Ethernet;
    identity.is_remote = is(TAPFLOW_IDENTITY_REMOTE);
    identity.persist = is(TAPFLOW_IDENTITY_PERSIST);
    identity.readopt = is(TAPFLOW_IDENTITY_READOPT);
    identity.tap_was_there = is(TAPFLOW_IDENTITY_FOUND);
    identity.tap_namespace = {told.tap_namespace.device, told.tap_namespace.inode};
    identity.home = {told.home.device, told.home.inode};
    identity.tap_ifindex = static_cast<int>(told.tap_ifindex);
    identity.rx_queues = std::min<unsigned>(told.rx_queues, TAPFLOW_QUEUES_MAX);
    identity.tx_queues = std::min<unsigned>(told.tx_queues, TAPFLOW_QUEUES_MAX);
    identity.remote = text_of(told.remote);
    identity.why_not_ring = text_of(told.why_not_ring);
    return identity;
}

Owner InspectedPort::owner() const {
    const tapflow_port_identity told = objects_->read_identity();
    const auto running = kernel::is_running({told.pid, told.pid_namespace, told.process_start});
    if (!running)
        return Owner::Unknown;
    return *running ? Owner::Running : Owner::Gone;
}

// ---- interfaces

std::optional<kernel::LinkInfo> InspectedPort::Objects::link_in(const tapflow_namespace &where, int index,
                                                                uint32_t pid) const {
    if (index <= 0)
        return std::nullopt;
    auto netlink = netlink_in(where, pid);
    if (!netlink)
        return std::nullopt;
    auto link = kernel::get_link(**netlink, index);
    if (!link)
        return std::nullopt;
    return *std::move(link);
}

std::optional<kernel::LinkInfo> InspectedPort::tap() const {
    const tapflow_port_identity told = objects_->read_identity();
    auto link = objects_->link_in(told.tap_namespace, static_cast<int>(told.tap_ifindex), told.pid);
    return link && link->kind == "tun" ? link : std::nullopt;
}

std::optional<kernel::LinkInfo> InspectedPort::remote() const {
    const tapflow_port_identity told = objects_->read_identity();
    return objects_->link_in(told.home, static_cast<int>(state().config.remote_ifindex), told.pid);
}

std::string InspectedPort::name() const {
    if (const auto link = tap())
        return link->name;
    std::string number = "#";
    return number += std::to_string(objects_->read_identity().tap_ifindex);
}

bool InspectedPort::is_here() const {
    const tapflow_namespace where = objects_->read_identity().tap_namespace;
    return id_of(where) == NamespaceId{} || is_this_namespace(where);
}

std::vector<Attached> InspectedPort::attached() const {
    std::vector<Attached> result;
    const tapflow_port_identity told = objects_->read_identity();
    const auto remote_index = static_cast<int>(state().config.remote_ifindex);
    const auto add = [&](Attached attached) {
        const auto program = objects_->programs.find(attached.id);
        if (program == objects_->programs.end())
            return;
        attached.program = program->second;
        result.push_back(std::move(attached));
    };
    if (auto links = kernel::list_tcx_links())
        for (const kernel::TcxLink &link : *links)
            if (link.ifindex != 0)
                add({.id = link.program, .at_remote = link.ifindex == remote_index, .hook = link.hook, .tcx = true});
    const auto add_filters = [&](const std::optional<kernel::LinkInfo> &link, const tapflow_namespace &where,
                                 bool at_remote) {
        auto netlink = netlink_in(where, told.pid);
        if (!link || !netlink)
            return;
        for (const kernel::Hook hook : {kernel::Hook::Ingress, kernel::Hook::Egress}) {
            const auto filters = kernel::list_filter_programs(**netlink, *link, hook);
            if (!filters)
                continue;
            for (const auto &[filter, program] : *filters)
                add({.id = program,
                     .at_remote = at_remote,
                     .hook = hook,
                     .preference = filter.preference,
                     .chain = filter.chain,
                     .handle = filter.handle});
        }
    };
    add_filters(tap(), told.tap_namespace, false);
    if (remote_index != 0)
        add_filters(remote(), told.home, true);
    return result;
}

std::vector<uint32_t> InspectedPort::programs() const {
    std::vector<uint32_t> ids;
    for (const auto &[id, name] : objects_->programs)
        ids.push_back(id);
    return ids;
}

Result<std::unique_ptr<kernel::Netlink>> InspectedPort::netlink(bool at_remote) const {
    const tapflow_port_identity told = objects_->read_identity();
    const tapflow_namespace &where = at_remote ? told.home : told.tap_namespace;
    return netlink_in(where, told.pid);
}

// ---- maps

const tapflow_port_state &InspectedPort::state() const {
    return *static_cast<const tapflow_port_state *>(objects_->state.data());
}

bool InspectedPort::has_lease() const {
    const auto since = static_cast<int64_t>(kernel::monotonic_ns() - read_counter(state().config.lease_ns));
    return since < static_cast<int64_t>(TAPFLOW_LEASE_NS);
}

Result<std::vector<MacAddress>> InspectedPort::addresses() const {
    std::vector<MacAddress> addresses;
    auto listed = kernel::for_each_key(objects_->map("addresses"), sizeof(uint64_t), [&](const std::byte *key) {
        MacAddress address;
        std::memcpy(address.bytes.data(), key, address.bytes.size());
        addresses.push_back(address);
    });
    if (!listed)
        return listed.error();
    return addresses;
}

Result<kernel::Fd> InspectedPort::Objects::inner(const std::string &outer, uint32_t slot) const {
    const auto id = kernel::inner_map(map(outer), slot);
    if (!id)
        return Error{ENOENT, "look at " + outer + " " + std::to_string(slot), "there is none"};
    return kernel::open_map(*id);
}

std::optional<RingFill> InspectedPort::ring(unsigned queue) const {
    const auto map = objects_->inner("rings", queue);
    if (!map)
        return std::nullopt;
    const auto info = kernel::map_info(map->get());
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const auto memory = map_view(map->get(), 2 * page, "rings"); // the reader's page and the producers'
    if (!info || !memory)
        return std::nullopt;
    const auto *reader = static_cast<const kernel::RingConsumerPage *>(memory->data());
    const auto *producer =
        reinterpret_cast<const std::atomic<uint64_t> *>(static_cast<std::byte *>(memory->data()) + page);
    RingFill fill;
    fill.bytes = info->entries;
    fill.delivered = reader->position.load(std::memory_order_acquire);
    fill.produced = producer->load(std::memory_order_acquire);
    fill.used = std::min<size_t>(fill.produced - fill.delivered, fill.bytes);
    return fill;
}

Result<RssState> InspectedPort::Objects::read_rss(const std::string &outer, uint32_t slot) const {
    const auto map = inner(outer, slot);
    if (!map)
        return map.error();
    const auto info = kernel::map_info(map->get());
    if (!info)
        return info.error();
    if (info->value_bytes != sizeof(tapflow_rss))
        return Error{EPROTO, "read RSS configuration", "it has another size than this version's"};
    auto tables = std::make_unique<tapflow_rss>();
    const uint32_t zero = 0;
    if (auto read = kernel::map_lookup(map->get(), &zero, tables.get(), "read RSS configuration"); !read)
        return read.error();
    return RssState{rss::config_of(*tables), std::move(tables)};
}

Result<RssState> InspectedPort::rss() const { return objects_->read_rss("rss_slot", 0); }
Result<RssState> InspectedPort::rss_context(uint16_t context) const {
    return objects_->read_rss("flow_contexts", context);
}

int InspectedPort::classifier() const {
    const bool is_remote = (objects_->read_identity().flags & TAPFLOW_IDENTITY_REMOTE) != 0;
    for (const auto &[name, program] : objects_->classifiers)
        if (name.starts_with("remote") == is_remote)
            return program.get();
    return -1;
}

int InspectedPort::map(const std::string &name) const { return objects_->map(name); }

} // namespace tapflow::engine
