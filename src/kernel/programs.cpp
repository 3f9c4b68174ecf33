// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/programs.h"

#include "bypass.skel.h"
#include "classify.skel.h"
#include "steer.skel.h"
#include "tx_redirect.skel.h"

namespace tapflow::kernel {
namespace {

/// A libbpf skeleton, destroyed with its owner.
template <typename Skeleton, void (*Destroy)(Skeleton *)> struct SkeletonDeleter {
    void operator()(Skeleton *skeleton) const { Destroy(skeleton); }
};
template <typename Skeleton, void (*Destroy)(Skeleton *)>
using SkeletonPtr = std::unique_ptr<Skeleton, SkeletonDeleter<Skeleton, Destroy>>;

Error load_error(const char *object) {
    Error error = last_error(std::string("load BPF object ") + object);
    error.detail = take_libbpf_warning();
    return error;
}

} // namespace

struct Programs::Objects {
    SkeletonPtr<classify_bpf, classify_bpf__destroy> classify;
    SkeletonPtr<bypass_bpf, bypass_bpf__destroy> bypass;
    SkeletonPtr<steer_bpf, steer_bpf__destroy> steer;
    SkeletonPtr<tx_redirect_bpf, tx_redirect_bpf__destroy> tx_redirect;
    Mapping state;
};

Programs::Programs(std::unique_ptr<Objects> objects) : objects_(std::move(objects)) {}
Programs::~Programs() = default;

Result<std::unique_ptr<Programs>> Programs::load(int remote_ifindex) {
    (void)take_libbpf_warning();
    auto objects = std::make_unique<Objects>();

    objects->classify.reset(classify_bpf__open_and_load());
    if (!objects->classify)
        return load_error("classify");
    const int state = bpf_map__fd(objects->classify->maps.port_state);

    objects->bypass.reset(bypass_bpf__open());
    if (!objects->bypass || bpf_map__reuse_fd(objects->bypass->maps.port_state, state) < 0 ||
        bypass_bpf__load(objects->bypass.get()) < 0)
        return load_error("bypass");

    objects->steer.reset(steer_bpf__open_and_load());
    if (!objects->steer)
        return load_error("steer");

    objects->tx_redirect.reset(tx_redirect_bpf__open());
    if (!objects->tx_redirect)
        return load_error("tx_redirect");
    objects->tx_redirect->rodata->remote_ifindex = static_cast<uint32_t>(remote_ifindex);
    if (tx_redirect_bpf__load(objects->tx_redirect.get()) < 0)
        return load_error("tx_redirect");

    auto mapping = Mapping::create(state, 0, sizeof(tapflow_port_state), true, "BPF map port_state");
    if (!mapping)
        return mapping.error();
    objects->state = *std::move(mapping);
    return std::unique_ptr<Programs>(new Programs(std::move(objects)));
}

int Programs::tap_egress() const { return bpf_program__fd(objects_->classify->progs.tap_egress); }
int Programs::remote_ingress() const { return bpf_program__fd(objects_->classify->progs.remote_ingress); }
int Programs::tx_redirect() const { return bpf_program__fd(objects_->tx_redirect->progs.tx_redirect); }
int Programs::steer() const { return bpf_program__fd(objects_->steer->progs.steer); }
int Programs::bypass() const { return bpf_program__fd(objects_->bypass->progs.bypass); }
int Programs::rings() const { return bpf_map__fd(objects_->classify->maps.rings); }
int Programs::rss_slot() const { return bpf_map__fd(objects_->classify->maps.rss_slot); }
int Programs::addresses() const { return bpf_map__fd(objects_->classify->maps.addresses); }
tapflow_port_state &Programs::state() const { return *static_cast<tapflow_port_state *>(objects_->state.data()); }

} // namespace tapflow::kernel
