// SPDX-License-Identifier: BSD-3-Clause
#include "engine/inspect.h"

#include "engine/counters.h"
#include "engine/flower_filters.h"
#include "flow/stored_rule.h"
#include "kernel/bpf_objects.h"
#include "kernel/clock.h"
#include "kernel/process.h"
#include "kernel/ring.h"

#include <linux/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <set>
#include <thread>
#include <tuple>

namespace tapflow::engine {

using kernel::NamespaceId;

namespace {

// A writer is done with such a small structure in no time, unless it has died in the middle.
constexpr int kIdentityAttempts = 1000;
// Rules change for as long as an application makes some.
constexpr int kRuleAttempts = 200;

template <size_t Size> std::string text_of(const char (&text)[Size]) { return {text, strnlen(text, Size)}; }

/// The programs that decide of a port's packets, as the kernel calls them (15 characters).
bool is_classifier(const std::string &name) {
    return name == "tap_egress" || name == "tap_egress_fd" || name == "remote_ingress" || name == "remote_ingress_";
}

/// Memory of a map that one only reads.
Result<kernel::Mapping> view(int map, size_t bytes, const std::string &name) {
    return kernel::Mapping::create(map, 0, bytes, false, "BPF map " + name);
}

NamespaceId id_of(const tapflow_namespace &space) { return {space.device, space.inode}; }

/// Whether the calling thread is in that namespace, and not in a later one that has its number.
bool is_this_namespace(const tapflow_namespace &space) {
    const auto here = kernel::this_namespace();
    return here && *here == id_of(space) && (space.cookie == 0 || kernel::this_namespace_cookie() == space.cookie);
}

/// A socket for requests in that namespace; that of the kernel's only one has no number.
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

} // namespace

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
    return "#" + std::to_string(objects_->read_identity().tap_ifindex);
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
    const auto memory = view(map->get(), 2 * page, "rings"); // the reader's page and the producers'
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

// ---- rules

namespace {

/// The rules' tables of another process, mapped for reading.
struct MappedTables {
    kernel::Mapping directory;
    kernel::Mapping buckets;
    std::vector<kernel::Mapping> chunks;

    [[nodiscard]] const tapflow_flow_directory &of_directory() const {
        return *static_cast<const tapflow_flow_directory *>(directory.data());
    }
    [[nodiscard]] const tapflow_flow_rule *rule(uint32_t index) const {
        const size_t chunk = index / TAPFLOW_FLOW_RULE_CHUNK;
        if (index == 0 || chunk >= chunks.size())
            return nullptr;
        return static_cast<const tapflow_flow_rule *>(chunks[chunk].data()) + index % TAPFLOW_FLOW_RULE_CHUNK;
    }
};

uint64_t generation_of(const MappedTables &tables) { return read_counter(tables.of_directory().generation); }

/// The masks of all lists, in the order in which they are looked at, and which list a rule's mask is in.
struct Masks {
    std::vector<InspectedMask> all;
    std::map<uint32_t, size_t> by_id;
};

/// False if the lists make no sense: they are being changed.
bool read_masks(const tapflow_flow_directory &directory, Masks &masks) {
    for (uint32_t list = 0; list < TAPFLOW_FLOW_LISTS; list++) {
        int steps = 0;
        for (uint32_t index = directory.head[list]; index != 0; index = directory.masks[index].next) {
            if (index >= TAPFLOW_FLOW_MASK_SLOTS || ++steps > TAPFLOW_FLOW_MASK_SLOTS)
                return false;
            const tapflow_flow_mask &mask = directory.masks[index];
            // A mask that has moved forward is in its list twice for a while.
            if (masks.by_id.try_emplace(mask.id, masks.all.size()).second)
                masks.all.push_back({list, mask, 0});
        }
    }
    return true;
}

/// All rules that a packet can find; false if they are being changed.
bool read_live_rules(const MappedTables &tables, Masks &masks, std::vector<InspectedRule> &rules) {
    const auto *buckets = static_cast<const tapflow_flow_bucket *>(tables.buckets.data());
    for (size_t bucket = 0; buckets && bucket < TAPFLOW_FLOW_BUCKETS; bucket++)
        for (const __u64 &slot : buckets[bucket].slots) {
            const uint64_t value = read_counter(slot);
            if (value == 0 || value == TAPFLOW_FLOW_GONE)
                continue;
            for (auto index = static_cast<uint32_t>(value); index != 0;) {
                const tapflow_flow_rule *record = tables.rule(index);
                if (!record || rules.size() >= TAPFLOW_FLOW_RULES_MAX)
                    return false;
                const tapflow_flow_rule copy = *record;
                const auto mask = masks.by_id.find(copy.mask);
                if (mask == masks.by_id.end())
                    return false;
                InspectedMask &of = masks.all[mask->second];
                of.rules++;
                InspectedRule rule;
                rule.id = flow::number_of(copy);
                rule.index = index;
                rule.record = copy;
                rule.counter = copy.actions & TAPFLOW_FLOW_COUNT ? copy.counter : 0;
                rule.rule = {flow::stored_attributes(copy, of.list), flow::stored_match(copy, of.mask),
                             flow::stored_actions(copy)};
                rules.push_back(std::move(rule));
                index = copy.next;
            }
        }
    return true;
}

} // namespace

Result<RuleSet> InspectedPort::Objects::read_rules() const {
    MappedTables tables;
    auto directory = view(map("flow_directory"), sizeof(tapflow_flow_directory), "flow_directory");
    if (!directory)
        return directory.error();
    tables.directory = *std::move(directory);
    RuleSet result;
    for (int attempt = 0;; attempt++) {
        // Tables that come with the first rules, and those that they grow by.
        if (const auto buckets = inner("flow_buckets", 0); buckets && !tables.buckets.data()) {
            auto memory = view(buckets->get(), sizeof(tapflow_flow_bucket) * TAPFLOW_FLOW_BUCKETS, "flow_buckets");
            if (!memory)
                return memory.error();
            tables.buckets = *std::move(memory);
        }
        while (tables.chunks.size() < TAPFLOW_FLOW_RULE_CHUNKS) {
            const auto chunk = inner("flow_rules", static_cast<uint32_t>(tables.chunks.size()));
            if (!chunk)
                break;
            auto memory = view(chunk->get(), sizeof(tapflow_flow_rule) * TAPFLOW_FLOW_RULE_CHUNK, "flow_rules");
            if (!memory)
                return memory.error();
            tables.chunks.push_back(*std::move(memory));
        }
        result = {};
        result.generation = generation_of(tables);
        Masks masks;
        result.consistent = result.generation % 2 == 0 && read_masks(tables.of_directory(), masks) &&
                            read_live_rules(tables, masks, result.rules);
        result.masks = std::move(masks.all);
        std::atomic_thread_fence(std::memory_order_acquire);
        result.consistent = result.consistent && generation_of(tables) == result.generation;
        if (result.consistent || attempt == kRuleAttempts)
            break;
        std::this_thread::yield();
    }
    std::sort(result.rules.begin(), result.rules.end(),
              [](const InspectedRule &a, const InspectedRule &b) { return a.id < b.id; });
    return result;
}

void InspectedPort::Objects::add_counts(RuleSet &rules) const {
    std::map<uint32_t, kernel::Mapping> chunks;
    for (InspectedRule &rule : rules.rules) {
        if (rule.counter == 0)
            continue;
        const uint32_t chunk = rule.counter / TAPFLOW_FLOW_RULE_CHUNK;
        auto [found, is_new] = chunks.try_emplace(chunk);
        if (is_new)
            if (const auto map = inner("flow_counters", chunk))
                if (auto memory =
                        view(map->get(), sizeof(tapflow_flow_counter) * TAPFLOW_FLOW_RULE_CHUNK, "flow_counters"))
                    found->second = *std::move(memory);
        const auto *counters = static_cast<const tapflow_flow_counter *>(found->second.data());
        if (!counters)
            continue;
        const tapflow_flow_counter &counter = counters[rule.counter % TAPFLOW_FLOW_RULE_CHUNK];
        rule.count = {read_counter(counter.packets), read_counter(counter.bytes)};
    }
}

/// With the flower classifier ingress rules are filters, too, which count.
void InspectedPort::Objects::add_filters(RuleSet &rules) const {
    const tapflow_port_identity told = read_identity();
    const bool is_remote = (told.flags & TAPFLOW_IDENTITY_REMOTE) != 0;
    const auto *state_memory = static_cast<const tapflow_port_state *>(state.data());
    const tapflow_namespace &where = is_remote ? told.home : told.tap_namespace;
    const auto link =
        link_in(where, static_cast<int>(is_remote ? state_memory->config.remote_ifindex : told.tap_ifindex), told.pid);
    auto netlink = netlink_in(where, told.pid);
    if (!link || !netlink)
        return;
    const auto filters =
        FlowerFilters::list(**netlink, *link, is_remote ? kernel::Hook::Ingress : kernel::Hook::Egress);
    if (!filters)
        return;
    std::map<uint32_t, InspectedRule *> by_index;
    for (InspectedRule &rule : rules.rules)
        if (rule.rule.attributes.direction == flow::Direction::Ingress) {
            by_index[rule.index] = &rule;
            rule.count.reset();
        }
    for (const FlowerFilters::Listed &filter : *filters) {
        const auto found = by_index.find(filter.index);
        if (found == by_index.end())
            continue;
        InspectedRule &rule = *found->second;
        rule.filters.push_back(filter.place);
        if (!rule.rule.actions.count)
            continue;
        const FlowCount before = rule.count.value_or(FlowCount{});
        rule.count = {before.packets + filter.count.packets, before.bytes + filter.count.bytes};
    }
}

Result<RuleSet> InspectedPort::rules() const {
    auto rules = objects_->read_rules();
    if (!rules)
        return rules;
    std::map<uint16_t, std::shared_ptr<const flow::RssAction>> contexts;
    for (InspectedRule &rule : rules->rules) {
        flow::Actions &actions = rule.rule.actions;
        if (actions.fate == flow::Fate::Rss && !actions.shared_rss) {
            auto [context, is_new] = contexts.try_emplace(rule.record.context);
            if (is_new)
                if (const auto rss = rss_context(rule.record.context))
                    context->second = std::make_shared<flow::RssAction>(flow::stored_rss_action(*rss->tables));
            actions.rss = context->second ? context->second : std::make_shared<flow::RssAction>();
        }
        if (rule.record.actions & TAPFLOW_FLOW_REWRITE) {
            const uint32_t number = rule.record.rewrite;
            tapflow_flow_rewrites changes{};
            if (kernel::map_lookup(objects_->map(TAPFLOW_FLOW_REWRITES_MAP), &number, &changes, "read header changes"))
                actions.rewrites = flow::stored_rewrites(changes);
        }
    }
    add_present_counts(*rules);
    return rules;
}

Result<uint64_t> InspectedPort::rule_generation() const {
    MappedTables tables;
    auto directory = view(map("flow_directory"), sizeof(tapflow_flow_directory), "flow_directory");
    if (!directory)
        return directory.error();
    tables.directory = *std::move(directory);
    return generation_of(tables);
}

void InspectedPort::add_present_counts(RuleSet &rules) const {
    objects_->add_counts(rules);
    if (identity().search == kernel::RuleSearch::Flower)
        objects_->add_filters(rules);
}

std::map<uint32_t, FlowCount> InspectedPort::counts(const RuleSet &rules) const {
    RuleSet copy = rules;
    for (InspectedRule &rule : copy.rules)
        rule.filters.clear();
    add_present_counts(copy);
    std::map<uint32_t, FlowCount> counts;
    for (const InspectedRule &rule : copy.rules)
        if (rule.count)
            counts[rule.index] = *rule.count;
    return counts;
}

// ---- finding ports

namespace {

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
        auto identity = view(objects->map(TAPFLOW_IDENTITY_MAP), sizeof(tapflow_port_identity), TAPFLOW_IDENTITY_MAP);
        auto state = view(objects->map("port_state"), sizeof(tapflow_port_state), "port_state");
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
