// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/trace_programs.h"

#include "kernel/bpf_objects.h"
#include "kernel/skeleton.h"
#include "trace.skel.h"
#include "trace_front.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/membarrier.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <utility>

namespace tapflow::kernel {
namespace {

using Exit = SkeletonPtr<trace_bpf, trace_bpf__destroy>;
using Front = SkeletonPtr<trace_front_bpf, trace_front_bpf__destroy>;

/// The tracer's own maps, which all of its objects use, by name.
using Maps = std::map<std::string, Fd>;

Error trace_error(const std::string &what) {
    Error error = last_error(what);
    error.detail = take_libbpf_warning();
    return error;
}

/// The program's name in BTF, which is not cut short.
std::string function_name(const std::string &name) { return name == "remote_ingress_" ? "remote_ingress_fd" : name; }

Result<Fd> link_of(const bpf_program *program) {
    const int fd = bpf_raw_tracepoint_open(nullptr, bpf_program__fd(program));
    if (fd < 0)
        return trace_error(std::string("attach ") + bpf_program__name(program) + " to the classifier");
    return Fd(fd);
}

struct PerfBufferDeleter {
    void operator()(perf_buffer *buffer) const { perf_buffer__free(buffer); }
};

} // namespace

struct TracePrograms::Objects {
    TraceMethod method = TraceMethod::Exit;
    std::string why_front;
    std::vector<Exit> exits;
    std::vector<Front> fronts;
    Maps own;
    std::unique_ptr<perf_buffer, PerfBufferDeleter> buffer;
    const Handler *handler = nullptr; ///< while read() runs
    std::vector<Fd> links;            ///< destroyed in front of all else

    ~Objects() {
        // Those that tell go in front of those that they hear from: see attach_exits().
        while (!links.empty())
            links.pop_back();
    }
    Objects() = default;
    Objects(const Objects &) = delete;
    Objects &operator=(const Objects &) = delete;

    Result<void> attach(const TraceSetup &setup, TraceMethod wanted);
    Result<void> load_exit(const TracedProgram &traced, const TraceSetup &setup);
    Result<void> load_front(const TracedProgram &traced, const TraceSetup &setup);
    Result<void> attach_exits();
    Result<void> attach_front(const Front &object, const TracedProgram &traced);
    Result<void> share_maps(bpf_object *object, const TraceSetup &setup) const;
    Result<void> take_own_maps(bpf_object *object);
    Result<void> open_buffer(size_t ring_bytes);
    [[nodiscard]] Result<void> clear_slots() const;
    bpf_perf_event_ret take(const perf_event_header *header) const;
};

/// Has an object use the port's maps, and the tracer's own that there are, instead of those that it would make.
Result<void> TracePrograms::Objects::share_maps(bpf_object *object, const TraceSetup &setup) const {
    bpf_map *map = nullptr;
    bpf_object__for_each_map(map, object) {
        const std::string name = bpf_map__name(map);
        const auto found = own.find(name);
        // In front of the classifier, searches of the tracer's own are made: the port's may be under way.
        const bool ports = !bpf_map__is_internal(map) && (name != "flow_scratches" || method == TraceMethod::Exit);
        const int fd = found != own.end() ? found->second.get() : ports ? setup.map(name) : -1;
        if (fd >= 0 && bpf_map__reuse_fd(map, fd) < 0)
            return trace_error("share map " + name);
    }
    return {};
}

/// The first object's maps are those of all.
Result<void> TracePrograms::Objects::take_own_maps(bpf_object *object) {
    if (!own.empty())
        return {};
    for (const char *name : {"trace_events", "trace_counts", "trace_seconds", "trace_slots"}) {
        const bpf_map *map = bpf_object__find_map_by_name(object, name);
        if (map == nullptr)
            continue;
        Fd copy(fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 0));
        if (!copy)
            return last_error(std::string("keep map ") + name);
        own.emplace(name, std::move(copy));
    }
    return {};
}

Result<void> TracePrograms::Objects::load_exit(const TracedProgram &traced, const TraceSetup &setup) {
    const std::string what = "load the tracing programs";
    const bool by_ring = setup.delivery == Delivery::Ring;
    const std::string main = function_name(traced.name);
    Exit &object = exits.emplace_back(trace_bpf__open());
    if (!object)
        return trace_error(what);
    object->rodata->options = setup.options;
    object->rodata->by_ring = by_ring;
    object->rodata->by_flower = setup.search == RuleSearch::Flower;
    const bool hashes = !traced.at_remote || by_ring;
    const auto &programs = object->progs;
    const struct {
        bpf_program *program;
        bool wanted;
        std::string function;
    } hooks[] = {
        {programs.trace_hash_packet, hashes, "hash_packet"},
        {programs.trace_flow_search, setup.search == RuleSearch::Tables, "flow_search"},
        {programs.trace_full_or_stuck, by_ring, "full_or_stuck"},
        {programs.trace_remote_fd_entry, traced.at_remote && !by_ring, main},
        {programs.trace_tap, !traced.at_remote, main},
        {programs.trace_remote, traced.at_remote, main},
    };
    for (const auto &[program, wanted, function] : hooks) {
        if (bpf_program__set_autoload(program, wanted) < 0)
            return trace_error(what);
        if (wanted && bpf_program__set_attach_target(program, traced.program, function.c_str()) < 0)
            return trace_error("find " + function + "() in the classifier");
    }
    if (auto shared = share_maps(object->obj, setup); !shared)
        return shared;
    if (trace_bpf__load(object.get()) < 0)
        return trace_error(what);
    return take_own_maps(object->obj);
}

/// What was left in the slots while not all programs were in place.
Result<void> TracePrograms::Objects::clear_slots() const {
    const int slots = own.at("trace_slots").get();
    const auto info = map_info(slots);
    if (!info)
        return info.error();
    const int cpus = libbpf_num_possible_cpus();
    const std::vector<std::byte> zeros((info->value_bytes + 7U) / 8U * 8U * static_cast<size_t>(std::max(cpus, 1)));
    const uint32_t first = 0;
    return map_insert(slots, &first, zeros.data(), "clear the tracer's slots");
}

/// Those that tell of a packet come last: a packet that meets one of them has met all others. What earlier packets have
/// left is cleared, and a grace period later no packet is under way that this could have been taken from.
Result<void> TracePrograms::Objects::attach_exits() {
    for (const bool telling : {false, true}) {
        for (const Exit &object : exits) {
            bpf_program *program = nullptr;
            bpf_object__for_each_program(program, object->obj) {
                const bool tells = program == object->progs.trace_tap || program == object->progs.trace_remote;
                if (!bpf_program__autoload(program) || tells != telling)
                    continue;
                auto link = link_of(program);
                if (!link)
                    return link.error();
                links.push_back(*std::move(link));
            }
        }
    }
    if (auto cleared = clear_slots(); !cleared)
        return cleared;
    (void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0); // refused with nohz_full=
    for (const Exit &object : exits)
        object->bss->is_running = 1;
    return {};
}

Result<void> TracePrograms::Objects::load_front(const TracedProgram &traced, const TraceSetup &setup) {
    Front &object = fronts.emplace_back(trace_front_bpf__open());
    if (!object)
        return trace_error("load the tracing programs");
    object->rodata->options = setup.options;
    object->rodata->by_ring = setup.delivery == Delivery::Ring;
    bpf_program__set_autoload(object->progs.trace_in_front_of_tap, !traced.at_remote);
    bpf_program__set_autoload(object->progs.trace_in_front_of_remote, traced.at_remote);
    if (auto shared = share_maps(object->obj, setup); !shared)
        return shared;
    if (trace_front_bpf__load(object.get()) < 0)
        return trace_error("load the tracing programs");
    return take_own_maps(object->obj);
}

Result<void> TracePrograms::Objects::attach_front(const Front &object, const TracedProgram &traced) {
    const auto &programs = object->progs;
    const bpf_program *program = traced.at_remote ? programs.trace_in_front_of_remote : programs.trace_in_front_of_tap;
    auto link = attach_tcx(traced.ifindex, traced.at_remote ? Hook::Ingress : Hook::Egress, bpf_program__fd(program),
                           std::string("attach ") + bpf_program__name(program) + " in front of the classifier");
    if (!link)
        return link.error();
    links.push_back(*std::move(link));
    return {};
}

Result<void> TracePrograms::Objects::open_buffer(size_t ring_bytes) {
    perf_event_attr attributes{};
    attributes.size = sizeof(attributes);
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = PERF_COUNT_SW_BPF_OUTPUT;
    attributes.sample_type = PERF_SAMPLE_RAW;
    attributes.sample_period = 1;
    attributes.watermark = 1;
    attributes.wakeup_watermark = static_cast<uint32_t>(ring_bytes / 4);
    const auto take_event = [](void *context, int /*cpu*/, perf_event_header *header) {
        return static_cast<const Objects *>(context)->take(header);
    };
    buffer.reset(perf_buffer__new_raw(own.at("trace_events").get(),
                                      ring_bytes / static_cast<size_t>(sysconf(_SC_PAGESIZE)), &attributes, take_event,
                                      this, nullptr));
    if (!buffer)
        return trace_error("make the tracer's rings of " + std::to_string(ring_bytes) + " bytes");
    return {};
}

// PERF_RECORD_LOST is not asked for more: the programs count what found no room.
bpf_perf_event_ret TracePrograms::Objects::take(const perf_event_header *header) const {
    struct Sample {
        perf_event_header header;
        uint32_t size;
    };
    constexpr size_t data = sizeof(Sample);
    tapflow_trace_event event{};
    if (header->type != PERF_RECORD_SAMPLE || header->size < data + sizeof(event) || handler == nullptr)
        return LIBBPF_PERF_EVENT_CONT;
    const auto *bytes = reinterpret_cast<const uint8_t *>(header);
    std::memcpy(&event, bytes + data, sizeof(event));
    const size_t room = header->size - data - sizeof(event);
    (*handler)(event, {bytes + data + sizeof(event), std::min<size_t>(event.captured, room)});
    return LIBBPF_PERF_EVENT_CONT;
}

Result<void> TracePrograms::Objects::attach(const TraceSetup &setup, TraceMethod wanted) {
    method = wanted;
    if (wanted == TraceMethod::Exit) {
        for (const TracedProgram &traced : setup.programs)
            if (auto loaded = load_exit(traced, setup); !loaded)
                return loaded;
        if (exits.empty())
            return Error{ENODEV, "trace a port", "none of its programs is attached"};
        if (auto opened = open_buffer(setup.ring_bytes); !opened)
            return opened;
        return attach_exits();
    }
    if (setup.layer == Layer::Ip)
        return Error{ENOTSUP, "trace a tun device in front of its port", "its packets have no Ethernet header there"};
    std::vector<TracedProgram> reached;
    std::copy_if(setup.programs.begin(), setup.programs.end(), std::back_inserter(reached),
                 [](const TracedProgram &traced) { return traced.ifindex != 0; });
    if (reached.empty())
        return Error{ENODEV, "trace in front of a port", "it is attached to no interface of this network namespace"};
    for (const TracedProgram &traced : reached)
        if (auto loaded = load_front(traced, setup); !loaded)
            return loaded;
    if (auto opened = open_buffer(setup.ring_bytes); !opened)
        return opened;
    for (size_t i = 0; i < reached.size(); i++)
        if (auto attached = attach_front(fronts[i], reached[i]); !attached)
            return attached;
    return {};
}

TracePrograms::TracePrograms(std::unique_ptr<Objects> objects) : objects_(std::move(objects)) {}
TracePrograms::~TracePrograms() = default;

Result<std::unique_ptr<TracePrograms>> TracePrograms::attach(const TraceSetup &setup) {
    (void)take_libbpf_warning();
    auto objects = std::make_unique<Objects>();
    auto attached = objects->attach(setup, setup.method.value_or(TraceMethod::Exit));
    if (!attached && !setup.method) {
        const Error refusal = attached.error();
        objects = std::make_unique<Objects>();
        objects->why_front = refusal.message();
        attached = objects->attach(setup, TraceMethod::Front);
        if (!attached) {
            Error error = attached.error();
            error.detail += (error.detail.empty() ? "" : "; ") + ("and behind it: " + refusal.message());
            return error;
        }
    }
    if (!attached)
        return attached.error();
    return std::unique_ptr<TracePrograms>(new TracePrograms(std::move(objects)));
}

TraceMethod TracePrograms::method() const { return objects_->method; }
const std::string &TracePrograms::why_front() const { return objects_->why_front; }
int TracePrograms::fd() const { return perf_buffer__epoll_fd(objects_->buffer.get()); }

Result<void> TracePrograms::read(const Handler &handler) {
    objects_->handler = &handler;
    const int read = perf_buffer__consume(objects_->buffer.get());
    objects_->handler = nullptr;
    if (read < 0)
        return Error{-read, "read the tracer's ring", {}};
    return {};
}

tapflow_trace_counts TracePrograms::counts() const {
    tapflow_trace_counts sum{};
    const int cpus = libbpf_num_possible_cpus();
    std::vector<tapflow_trace_counts> counts(static_cast<size_t>(std::max(cpus, 0)));
    const uint32_t first = 0;
    if (bpf_map_lookup_elem(objects_->own.at("trace_counts").get(), &first, counts.data()) < 0)
        return sum;
    for (const tapflow_trace_counts &cpu : counts) {
        sum.matched += cpu.matched;
        sum.sampled += cpu.sampled;
        sum.lost += cpu.lost;
    }
    return sum;
}

} // namespace tapflow::kernel
