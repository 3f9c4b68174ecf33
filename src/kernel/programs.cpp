// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/programs.h"

#include "admit.skel.h"
#include "bypass.skel.h"
#include "classify.skel.h"
#include "classify_fd.skel.h"
#include "flower_gate.skel.h"
#include "kernel/skeleton.h"
#include "steer.skel.h"
#include "transmit_rules.skel.h"
#include "tx_redirect.skel.h"

#include <array>
#include <utility>

namespace tapflow::kernel {
/// Programs and maps that both deliveries have; owned by the skeletons.
struct Programs::Objects {
    SkeletonPtr<classify_bpf, classify_bpf__destroy> classify;
    SkeletonPtr<bypass_bpf, bypass_bpf__destroy> bypass;
    SkeletonPtr<classify_fd_bpf, classify_fd_bpf__destroy> classify_fd;
    SkeletonPtr<admit_bpf, admit_bpf__destroy> admit;
    SkeletonPtr<flower_gate_bpf, flower_gate_bpf__destroy> flower_gate;
    SkeletonPtr<steer_bpf, steer_bpf__destroy> steer;
    SkeletonPtr<transmit_rules_bpf, transmit_rules_bpf__destroy> transmit_rules;
    SkeletonPtr<tx_redirect_bpf, tx_redirect_bpf__destroy> tx_redirect;
    Mapping state;

    Delivery delivery = Delivery::Ring;
    Layer layer = Layer::Ethernet;
    RuleSearch search = RuleSearch::Tables;
    bool has_remote = true;
    int tap_egress = -1;
    int remote_ingress = -1;
    int tap_filter = -1;
    int rings = -1;
    int rss_slot = -1;
    int addresses = -1;
    int port_state = -1;
    int flow_directory = -1;
    int flow_buckets = -1;
    int flow_rules = -1;
    int flow_cache = -1;
    int flow_counters = -1;
    int flow_contexts = -1;

    Result<void> load_ring();
    Result<void> load_fd(int tap_ifindex);
    Result<void> load_common();
    Result<void> load_transmit_rules();
    Result<void> load_flower_gate();
    template <typename Maps> void take_flow_maps(const Maps &maps) {
        flow_directory = bpf_map__fd(maps.flow_directory);
        flow_buckets = bpf_map__fd(maps.flow_buckets);
        flow_rules = bpf_map__fd(maps.flow_rules);
        flow_cache = bpf_map__fd(maps.flow_cache);
        flow_counters = bpf_map__fd(maps.flow_counters);
        flow_contexts = bpf_map__fd(maps.flow_contexts);
    }
};

Result<void> Programs::Objects::load_ring() {
    classify.reset(classify_bpf__open());
    if (!classify)
        return load_error("classify");
    classify->rodata->is_tun = layer == Layer::Ip;
    classify->rodata->by_flower = search == RuleSearch::Flower;
    bpf_program__set_autoload(classify->progs.remote_ingress, has_remote);
    if (classify_bpf__load(classify.get()) < 0)
        return load_error("classify");
    port_state = bpf_map__fd(classify->maps.port_state);
    bypass.reset(bypass_bpf__open());
    if (!bypass || bpf_map__reuse_fd(bypass->maps.port_state, port_state) < 0 || bypass_bpf__load(bypass.get()) < 0)
        return load_error("bypass");
    tap_egress = bpf_program__fd(classify->progs.tap_egress);
    if (has_remote)
        remote_ingress = bpf_program__fd(classify->progs.remote_ingress);
    tap_filter = bpf_program__fd(bypass->progs.bypass);
    rings = bpf_map__fd(classify->maps.rings);
    rss_slot = bpf_map__fd(classify->maps.rss_slot);
    addresses = bpf_map__fd(classify->maps.addresses);
    take_flow_maps(classify->maps);
    return {};
}

Result<void> Programs::Objects::load_fd(int tap_ifindex) {
    delivery = Delivery::Fd;
    classify_fd.reset(classify_fd_bpf__open());
    if (!classify_fd)
        return load_error("classify_fd");
    classify_fd->rodata->is_tun = layer == Layer::Ip;
    classify_fd->rodata->by_flower = search == RuleSearch::Flower;
    bpf_program__set_autoload(classify_fd->progs.remote_ingress_fd, has_remote);
    classify_fd->rodata->tap_ifindex = static_cast<uint32_t>(tap_ifindex);
    if (classify_fd_bpf__load(classify_fd.get()) < 0)
        return load_error("classify_fd");
    port_state = bpf_map__fd(classify_fd->maps.port_state);
    admit.reset(admit_bpf__open());
    if (!admit || bpf_map__reuse_fd(admit->maps.port_state, port_state) < 0 || admit_bpf__load(admit.get()) < 0)
        return load_error("admit");
    tap_egress = bpf_program__fd(classify_fd->progs.tap_egress_fd);
    if (has_remote)
        remote_ingress = bpf_program__fd(classify_fd->progs.remote_ingress_fd);
    tap_filter = bpf_program__fd(admit->progs.admit);
    rss_slot = bpf_map__fd(classify_fd->maps.rss_slot);
    addresses = bpf_map__fd(classify_fd->maps.addresses);
    take_flow_maps(classify_fd->maps);
    return {};
}

Result<void> Programs::Objects::load_transmit_rules() {
    transmit_rules.reset(transmit_rules_bpf__open());
    if (!transmit_rules)
        return load_error("transmit_rules");
    auto &maps = transmit_rules->maps;
    const std::array<std::pair<bpf_map *, int>, 6> shared{{{maps.port_state, port_state},
                                                           {maps.flow_directory, flow_directory},
                                                           {maps.flow_buckets, flow_buckets},
                                                           {maps.flow_rules, flow_rules},
                                                           {maps.flow_cache, flow_cache},
                                                           {maps.flow_counters, flow_counters}}};
    for (const auto &[map, fd] : shared)
        if (bpf_map__reuse_fd(map, fd) < 0)
            return load_error("transmit_rules");
    if (transmit_rules_bpf__load(transmit_rules.get()) < 0)
        return load_error("transmit_rules");
    return {};
}

Result<void> Programs::Objects::load_flower_gate() {
    flower_gate.reset(flower_gate_bpf__open());
    if (!flower_gate || bpf_map__reuse_fd(flower_gate->maps.port_state, port_state) < 0 ||
        flower_gate_bpf__load(flower_gate.get()) < 0)
        return load_error("flower_gate");
    return {};
}

Result<void> Programs::Objects::load_common() {
    steer.reset(steer_bpf__open_and_load());
    if (!steer)
        return load_error("steer");
    tx_redirect.reset(tx_redirect_bpf__open());
    if (!tx_redirect || bpf_map__reuse_fd(tx_redirect->maps.port_state, port_state) < 0 ||
        tx_redirect_bpf__load(tx_redirect.get()) < 0)
        return load_error("tx_redirect");
    if (auto loaded = load_transmit_rules(); !loaded)
        return loaded.error();
    if (search == RuleSearch::Flower)
        if (auto loaded = load_flower_gate(); !loaded)
            return loaded.error();
    auto mapping = Mapping::create(port_state, 0, sizeof(tapflow_port_state), true, "BPF map port_state");
    if (!mapping)
        return mapping.error();
    state = *std::move(mapping);
    return {};
}

Programs::Programs(std::unique_ptr<Objects> objects) : objects_(std::move(objects)) {}
Programs::~Programs() = default;

Result<std::unique_ptr<Programs>> Programs::load(Delivery delivery, int tap_ifindex, Layer layer, RuleSearch search,
                                                 bool has_remote) {
    (void)take_libbpf_warning();
    auto objects = std::make_unique<Objects>();
    objects->layer = layer;
    objects->search = search;
    objects->has_remote = has_remote;
    auto loaded = delivery == Delivery::Ring ? objects->load_ring() : objects->load_fd(tap_ifindex);
    if (loaded)
        loaded = objects->load_common();
    if (!loaded)
        return loaded.error();
    return std::unique_ptr<Programs>(new Programs(std::move(objects)));
}

Delivery Programs::delivery() const { return objects_->delivery; }
Layer Programs::layer() const { return objects_->layer; }
RuleSearch Programs::search() const { return objects_->search; }
int Programs::flower_gate(Hook hook) const {
    if (!objects_->flower_gate)
        return -1;
    const auto &programs = objects_->flower_gate->progs;
    return bpf_program__fd(hook == Hook::Ingress ? programs.flower_gate_ingress : programs.flower_gate_egress);
}
int Programs::tap_egress() const { return objects_->tap_egress; }
int Programs::remote_ingress() const { return objects_->remote_ingress; }
int Programs::tx_redirect() const { return bpf_program__fd(objects_->tx_redirect->progs.tx_redirect); }
int Programs::steer() const { return bpf_program__fd(objects_->steer->progs.steer); }
int Programs::tap_filter() const { return objects_->tap_filter; }
int Programs::rings() const { return objects_->rings; }
int Programs::rss_slot() const { return objects_->rss_slot; }
int Programs::transmit_rules() const { return bpf_program__fd(objects_->transmit_rules->progs.transmit_rules); }
int Programs::flow_directory() const { return objects_->flow_directory; }
int Programs::flow_buckets() const { return objects_->flow_buckets; }
int Programs::flow_rules() const { return objects_->flow_rules; }
int Programs::flow_cache() const { return objects_->flow_cache; }
int Programs::flow_counters() const { return objects_->flow_counters; }
int Programs::flow_contexts() const { return objects_->flow_contexts; }
int Programs::addresses() const { return objects_->addresses; }
tapflow_port_state &Programs::state() const { return *static_cast<tapflow_port_state *>(objects_->state.data()); }

} // namespace tapflow::kernel
