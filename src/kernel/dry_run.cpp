// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/dry_run.h"

#include "explain.skel.h"
#include "kernel/bpf_objects.h"
#include "kernel/skeleton.h"

namespace tapflow::kernel {

struct DryRun::Object {
    SkeletonPtr<explain_bpf, explain_bpf__destroy> explain;
};

DryRun::DryRun(std::unique_ptr<Object> object) : object_(std::move(object)) {}
DryRun::~DryRun() = default;
DryRun::DryRun(DryRun &&) noexcept = default;
DryRun &DryRun::operator=(DryRun &&) noexcept = default;

Result<DryRun> DryRun::load(Delivery delivery, const std::function<int(const std::string &)> &map) {
    (void)take_libbpf_warning();
    auto object = std::make_unique<Object>();
    object->explain.reset(explain_bpf__open());
    if (!object->explain)
        return load_error("explain");
    object->explain->rodata->by_ring = delivery == Delivery::Ring;
    bpf_map *own = nullptr;
    bpf_object__for_each_map(own, object->explain->obj) {
        // Searches of the port's packets are under way in theirs.
        const std::string name = bpf_map__name(own);
        const int fd = name == "flow_scratches" ? -1 : map(name);
        if (fd >= 0 && bpf_map__reuse_fd(own, fd) < 0)
            return load_error("explain");
    }
    if (explain_bpf__load(object->explain.get()) < 0)
        return load_error("explain");
    return DryRun(std::move(object));
}

Result<std::array<uint32_t, 5>> DryRun::run(std::span<const uint8_t> frame, bool at_remote) const {
    const auto &programs = object_->explain->progs;
    auto done = test_run(bpf_program__fd(at_remote ? programs.explain_at_remote : programs.explain_at_tap), frame);
    if (!done)
        return done.error();
    return done->cb;
}

} // namespace tapflow::kernel
