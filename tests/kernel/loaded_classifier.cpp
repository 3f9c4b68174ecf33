// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/loaded_classifier.h"

#include "classify.skel.h"
#include "classify_v2.skel.h"
#include "support/must.h"

#include <bpf/bpf.h>

#include <array>
#include <stdexcept>

namespace tapflow::test {
namespace {

int test_run(int program, std::span<const uint8_t> frame) {
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<uint32_t>(frame.size());
    options.repeat = 1;
    if (bpf_prog_test_run_opts(program, &options) < 0)
        throw_errno("run a program on " + std::to_string(frame.size()) + " bytes");
    return static_cast<int>(options.retval);
}

} // namespace

struct LoadedClassifier::Object {
    virtual ~Object() = default;
    int tap_egress = -1;
    int remote_ingress = -1;
    int rings = -1;
    int rss_slot = -1;
    int addresses = -1;
    kernel::Mapping state;
};

namespace {

template <typename Skeleton, void (*Destroy)(Skeleton *)> struct Loaded : LoadedClassifier::Object {
    explicit Loaded(Skeleton *from) : skeleton(from) {
        if (skeleton == nullptr)
            throw std::runtime_error("load classify: " + kernel::take_libbpf_warning());
        tap_egress = bpf_program__fd(skeleton->progs.tap_egress);
        remote_ingress = bpf_program__fd(skeleton->progs.remote_ingress);
        rings = bpf_map__fd(skeleton->maps.rings);
        rss_slot = bpf_map__fd(skeleton->maps.rss_slot);
        addresses = bpf_map__fd(skeleton->maps.addresses);
        state = must(kernel::Mapping::create(bpf_map__fd(skeleton->maps.port_state), 0, sizeof(tapflow_port_state),
                                             true, "port state"));
    }
    ~Loaded() override { Destroy(skeleton); }
    Skeleton *skeleton;
};

std::unique_ptr<LoadedClassifier::Object> load(Cpu cpu) {
    (void)kernel::take_libbpf_warning();
    if (cpu == Cpu::V2)
        return std::make_unique<Loaded<classify_v2_bpf, classify_v2_bpf__destroy>>(classify_v2_bpf__open_and_load());
    return std::make_unique<Loaded<classify_bpf, classify_bpf__destroy>>(classify_bpf__open_and_load());
}

} // namespace

std::vector<Delivered> drain(const kernel::RingView &ring, unsigned queue) {
    std::vector<Delivered> result;
    kernel::RingCursor cursor = ring.begin();
    uint64_t next = 0;
    while (const tapflow_record *record = ring.peek(cursor, next)) {
        const auto *frame = reinterpret_cast<const uint8_t *>(record + 1);
        result.push_back({queue, *record, packet::Bytes(frame, frame + record->length)});
        cursor.position = next;
    }
    ring.release(cursor);
    return result;
}

LoadedClassifier::LoadedClassifier(Cpu cpu, unsigned queues, size_t ring_bytes) : object_(load(cpu)) {
    std::vector<int> fds;
    for (unsigned i = 0; i < queues; i++) {
        rings_.push_back(must(kernel::Ring::create(ring_bytes)));
        fds.push_back(rings_.back().fd());
    }
    must(kernel::put_inner_maps(object_->rings, fds, "install rings"));
    set_rss({{rss::default_key().begin(), rss::default_key().end()}, 0, rss::round_robin_reta(1)});
    state().config.flags = TAPFLOW_PORT_STARTED | TAPFLOW_PORT_PROMISCUOUS;
}

LoadedClassifier::~LoadedClassifier() = default;

void LoadedClassifier::set_rss(const rss::RssConfig &config) {
    auto tables = std::make_unique<tapflow_rss>();
    rss::build_tables(config, *tables);
    rss_ = must(kernel::create_constant_map("tapflow_rss", std::as_bytes(std::span(tables.get(), 1))));
    must(kernel::put_inner_maps(object_->rss_slot, std::array{rss_.get()}, "publish RSS configuration"));
}

void LoadedClassifier::add_address(const MacAddress &address) {
    const uint64_t key = address.word();
    const uint8_t present = 1;
    must(kernel::map_insert(object_->addresses, &key, &present, "add address"));
}

tapflow_port_state &LoadedClassifier::state() const {
    return *static_cast<tapflow_port_state *>(object_->state.data());
}

int LoadedClassifier::run_tap_egress(std::span<const uint8_t> frame) { return test_run(object_->tap_egress, frame); }

int LoadedClassifier::run_remote_ingress(std::span<const uint8_t> frame) {
    return test_run(object_->remote_ingress, frame);
}

std::vector<Delivered> LoadedClassifier::drain_all() {
    std::vector<Delivered> all;
    for (unsigned queue = 0; queue < rings_.size(); queue++)
        for (Delivered &delivered : drain(ring(queue), queue))
            all.push_back(std::move(delivered));
    return all;
}

} // namespace tapflow::test
