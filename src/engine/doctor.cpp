// SPDX-License-Identifier: BSD-3-Clause
#include "engine/doctor.h"

#include "kernel/namespace.h"
#include "kernel/probe.h"
#include "kernel/programs.h"
#include "kernel/release.h"
#include "kernel/tun.h"

#include <linux/capability.h>

#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace tapflow::engine {
namespace {

using Status = Finding::Status;

constexpr const char *kRights =
    "run it as root, or with CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN in the initial user namespace";

/// What is said of something that failed.
struct Verdict {
    Status status = Status::Missing;
    const char *cost = "";
    const char *mend = "";
};

bool has(unsigned capability) {
    const auto there = kernel::has_capability(capability);
    return there && *there;
}

bool is_privileged() { return has(CAP_NET_ADMIN) && has(CAP_SYS_ADMIN); }

/// How something is mended that failed for a reason which has nothing to do with what was tried.
std::string mend_for(const Error &error, const char *usual) {
    switch (error.code) {
    case EPERM:
        return is_privileged() ? "allow it: a policy (lockdown, a security module) or a user namespace forbids it"
                               : kRights;
    case EACCES: // the verifier's word, too
        return is_privileged() ? usual : kRights;
    case EMFILE:
        return "raise the limit of open files (ulimit -n)";
    case ENOMEM:
        return "free memory, or raise the control group's limit";
    default:
        return usual;
    }
}

Finding judged(const char *name, const std::string &tried, const Result<void> &result, const Verdict &verdict) {
    if (result)
        return {name, Status::Ok, tried, {}, {}};
    return {name, verdict.status, result.error().message(), verdict.cost, mend_for(result.error(), verdict.mend)};
}

// ---- the process

struct Capability {
    unsigned number;
    const char *name;
    bool in_admin; ///< CAP_SYS_ADMIN has it, too
    Verdict verdict;
};
constexpr const char *kNoPort = "no port can be opened";
constexpr auto kCapabilities = std::to_array<Capability>({
    {CAP_NET_ADMIN, "CAP_NET_ADMIN", false, {Status::Missing, kNoPort, kRights}},
    {CAP_BPF, "CAP_BPF", true, {Status::Missing, kNoPort, kRights}},
    {CAP_PERFMON, "CAP_PERFMON", true, {Status::Missing, kNoPort, kRights}},
    {CAP_SYS_ADMIN,
     "CAP_SYS_ADMIN",
     false,
     {Status::Degraded, "a tap that is moved to another network namespace is not followed; tapflowctl finds no ports",
      kRights}},
    {CAP_NET_BROADCAST,
     "CAP_NET_BROADCAST",
     false,
     {Status::Degraded, "a tap that is moved to another network namespace is not followed", kRights}},
});

Finding examine(const Capability &capability) {
    const std::string name = capability.name;
    if (has(capability.number))
        return {name, Status::Ok, "in effect", {}, {}};
    if (capability.in_admin && has(CAP_SYS_ADMIN))
        return {name, Status::Ok, "CAP_SYS_ADMIN has it", {}, {}};
    return {name, capability.verdict.status, "not in effect", capability.verdict.cost, capability.verdict.mend};
}

// What a port has open with one queue, and what each further one of both directions adds (rings, tap, interrupt).
constexpr size_t kPortDescriptors = 64;
constexpr size_t kQueueDescriptors = 4;
constexpr size_t kAllDescriptors = kPortDescriptors + kQueueDescriptors * TAPFLOW_QUEUES_MAX;

Finding examine_descriptors() {
    const size_t free = kernel::free_descriptors(kAllDescriptors);
    const std::string what = free == kAllDescriptors ? "at least " + std::to_string(free) + " more can be opened"
                                                     : "only " + std::to_string(free) + " more can be opened";
    const char *mend = "raise the limit of open files (ulimit -n)";
    if (free < kPortDescriptors)
        return {"descriptors", Status::Missing, what, kNoPort, mend};
    if (free == kAllDescriptors)
        return {"descriptors", Status::Ok, what, {}, {}};
    return {"descriptors", Status::Degraded, what,
            "enough for a port of about " + std::to_string((free - kPortDescriptors) / kQueueDescriptors + 1) +
                " queues",
            mend};
}

// ---- programs and maps

struct Probe {
    const char *name;
    const char *tried; ///< as said when it works
    Result<void> (*attempt)();
    Verdict verdict;
};

constexpr size_t kLargestRing = 16U << 20U;
constexpr const char *kNewer = "boot a newer kernel";
constexpr const char *kFdInstead = "rx=ring cannot be used; rx=fd can, which costs a system call for each packet";

Result<void> probe_compiled() {
    const auto compiled = kernel::probe_jit();
    if (!compiled)
        return compiled.error();
    if (*compiled)
        return {};
    return Error{ENOTSUP, "load a BPF program", "the kernel interprets it"};
}

template <kernel::Delivery Delivery> Result<void> load_programs() {
    // The number is that of an interface to redirect to; no packet gets there.
    const auto programs = kernel::Programs::load(Delivery, 1);
    return programs ? Result<void>() : programs.error();
}

constexpr auto kProbes = std::to_array<Probe>({
    {"BTF",
     "the kernel's type information can be read",
     kernel::probe_btf,
     {Status::Degraded, kFdInstead, "a kernel with CONFIG_DEBUG_INFO_BTF"}},
    {"JIT",
     "BPF programs are compiled",
     probe_compiled,
     {Status::Degraded, "every packet costs several times as much", "sysctl net.core.bpf_jit_enable=1"}},
    {"BPF rings",
     "a ring of 16 MiB in an array of maps can be made, whatever RLIMIT_MEMLOCK",
     [] { return kernel::probe_ring(kLargestRing); },
     {Status::Degraded, kFdInstead, "a kernel of 5.11 or later, or raise the limit of locked memory (ulimit -l)"}},
    {"kernel context",
     "a program with bpf_cast_to_kern_ctx() and bpf_rdonly_cast() loads",
     kernel::probe_kernel_context,
     {Status::Degraded, kFdInstead, "boot Linux 6.2 or later"}},
    {"bpf_loop",
     "a program with bpf_loop() loads",
     kernel::probe_loop,
     {Status::Missing, kNoPort, "boot Linux 5.17 or later"}},
    {"rx=ring", "its programs load", load_programs<kernel::Delivery::Ring>, {Status::Degraded, kFdInstead, kNewer}},
    {"rx=fd", "its programs load", load_programs<kernel::Delivery::Fd>, {Status::Missing, kNoPort, kNewer}},
    {"BPF_PROG_TEST_RUN",
     "a program can be run for a made-up packet",
     kernel::probe_test_run,
     {Status::Degraded, "tapflowctl explain and verify cannot ask the kernel", kNewer}},
    {"fexit",
     "a tracing program can be attached to another program",
     kernel::probe_fexit,
     {Status::Degraded,
      "tapflowctl trace has to decide each packet once more, in front (TCX, Linux 6.6), and cannot be used on a tun "
      "device",
      "a kernel with CONFIG_DEBUG_INFO_BTF and CONFIG_BPF_EVENTS"}},
});

// ---- interfaces

/// A namespace of its own, with what there is to try things at.
struct Place {
    std::unique_ptr<kernel::Netlink> netlink;
    kernel::LinkInfo loopback;
    std::optional<kernel::Tun> tap;
};

struct LinkProbe {
    const char *name;
    const char *tried;
    Result<void> (*attempt)(Place &place);
    Verdict verdict;
};

constexpr const char *kTapName = "tapflow0";
constexpr size_t kTriedQueues = 4;
constexpr const char *kNoFlower = "classifier=flower cannot be used";
constexpr const char *kOnlyOwners = "rules and ports do without; tc(8) cannot make such filters beside them";

Result<void> open_tap(Place &place) {
    auto tap = kernel::Tun::open(kTapName);
    if (!tap)
        return tap.error();
    if (auto grown = tap->set_queues(kTriedQueues); !grown)
        return grown.error();
    place.tap = *std::move(tap);
    return {};
}

Result<void> set_steering(Place &place) {
    if (!place.tap)
        return Error{ENODEV, "set steering program", "there is no tap"};
    const auto programs = kernel::Programs::load(kernel::Delivery::Fd, 1);
    if (!programs)
        return programs.error();
    if (auto set = place.tap->set_steering((*programs)->steer()); !set)
        return set.error();
    return place.tap->set_filter((*programs)->tap_filter());
}

template <typename Action> Result<void> make_action(Place &place) {
    kernel::TcAction action{Action{}, {kernel::Control::Code::Pipe}, 0, {}};
    const char *kind = "gact";
    kernel::Fd program;
    if constexpr (std::is_same_v<Action, kernel::BpfAction>) {
        kind = "bpf";
        auto loaded = kernel::load_pass_program(kernel::PassKind::Action);
        if (!loaded)
            return loaded.error();
        program = *std::move(loaded);
        action.what = kernel::BpfAction{program.get(), 0, "tapflow_probe"};
    } else if constexpr (std::is_same_v<Action, kernel::Mirred>) {
        kind = "mirred";
        action.what = kernel::Mirred{.ifindex = place.loopback.index};
        action.then.code = kernel::Control::Code::Stolen;
    } else if constexpr (std::is_same_v<Action, kernel::Skbedit>) {
        kind = "skbedit";
        kernel::Skbedit edit;
        edit.mark = 1;
        action.what = edit;
    } else if constexpr (std::is_same_v<Action, kernel::Pedit>) {
        kind = "pedit";
        action.what = kernel::Pedit{{{.header = kernel::Pedit::Header::Eth, .mask = ~0U}}};
    }
    return kernel::probe_action(*place.netlink, action, kind);
}

constexpr auto kLinkProbes = std::to_array<LinkProbe>({
    {"tap",
     "one with 4 queues, vnet headers and offloads can be made",
     open_tap,
     {Status::Missing, kNoPort, "modprobe tun, or a kernel with CONFIG_TUN; a container needs /dev/net/tun"}},
    {"tap programs", "a tap takes steering and filter programs", set_steering, {Status::Missing, kNoPort, kNewer}},
    {"clsact",
     "the qdisc can be added",
     [](Place &place) {
         const auto added = kernel::ensure_clsact(*place.netlink, place.loopback);
         return added ? Result<void>() : added.error();
     },
     {Status::Missing, kNoPort, "modprobe sch_ingress, or a kernel with CONFIG_NET_SCH_INGRESS"}},
    {"cls_bpf",
     "a filter can be added",
     [](Place &place) { return kernel::probe_bpf_filter(*place.netlink, place.loopback); },
     {Status::Missing, kNoPort, "modprobe cls_bpf, or a kernel with CONFIG_NET_CLS_BPF"}},
    {"TCX",
     "a program can be attached",
     [](Place &place) { return kernel::probe_tcx(place.loopback); },
     {Status::Degraded, "a remote's program is a filter, which a killed process leaves behind",
      "boot Linux 6.6 or later"}},
    {"cls_flower",
     "a filter can be added",
     [](Place &place) { return kernel::probe_flower(*place.netlink, place.loopback); },
     {Status::Degraded, kNoFlower, "modprobe cls_flower or a kernel with CONFIG_NET_CLS_FLOWER"}},
    {"act_skbedit",
     "an action can be made",
     make_action<kernel::Skbedit>,
     {Status::Degraded, kNoFlower, "modprobe act_skbedit or a kernel with CONFIG_NET_ACT_SKBEDIT"}},
    {"act_gact",
     "an action can be made",
     make_action<kernel::Gact>,
     {Status::Degraded, kOnlyOwners, "modprobe act_gact or a kernel with CONFIG_NET_ACT_GACT"}},
    {"act_mirred",
     "an action can be made",
     make_action<kernel::Mirred>,
     {Status::Degraded, kOnlyOwners, "modprobe act_mirred or a kernel with CONFIG_NET_ACT_MIRRED"}},
    {"act_pedit",
     "an action can be made",
     make_action<kernel::Pedit>,
     {Status::Degraded, kOnlyOwners, "modprobe act_pedit or a kernel with CONFIG_NET_ACT_PEDIT"}},
    {"act_bpf",
     "an action can be made",
     make_action<kernel::BpfAction>,
     {Status::Degraded, kOnlyOwners, "modprobe act_bpf or a kernel with CONFIG_NET_ACT_BPF"}},
});

void examine_interfaces(std::vector<Finding> &findings) {
    const auto tried = kernel::in_new_namespace([&]() -> Result<void> {
        auto netlink = kernel::Netlink::open();
        if (!netlink)
            return netlink.error();
        auto loopback = kernel::get_link(**netlink, "lo");
        if (!loopback)
            return loopback.error();
        Place place{*std::move(netlink), *std::move(loopback), {}};
        for (const LinkProbe &probe : kLinkProbes)
            findings.push_back(judged(probe.name, probe.tried, probe.attempt(place), probe.verdict));
        return {};
    });
    if (!tried)
        findings.push_back({"interfaces", Status::Degraded, tried.error().message(),
                            "taps, traffic control and TCX have not been tried: that is done in a network namespace "
                            "that goes again",
                            mend_for(tried.error(), "")});
}

Finding examine_plugin(const std::vector<std::string> &candidates) {
    for (const std::string &candidate : candidates) {
        const auto loaded = kernel::probe_plugin(candidate);
        if (loaded)
            return {"DPDK plugin", Status::Ok, candidate + " can be loaded", {}, {}};
        if (loaded.error().code != ENOENT)
            return {"DPDK plugin", Status::Degraded, loaded.error().message(),
                    "DPDK applications cannot load it, either",
                    "install the release of DPDK that it was built for, or build it for the one that there is"};
    }
    return {"DPDK plugin", Status::Degraded, "it is not where the loader looks",
            "DPDK applications find it by its path alone (-d)", "install it, and run ldconfig"};
}

} // namespace

std::vector<Finding> examine_machine(const std::vector<std::string> &plugin) {
    std::vector<Finding> findings;
    findings.push_back({"kernel", Status::Ok, "Linux " + kernel::release(), {}, {}});
    findings.push_back({"libraries", Status::Ok, kernel::library_versions(), {}, {}});
    for (const Capability &capability : kCapabilities)
        findings.push_back(examine(capability));
    findings.push_back(examine_descriptors());
    for (const Probe &probe : kProbes)
        findings.push_back(judged(probe.name, probe.tried, probe.attempt(), probe.verdict));
    examine_interfaces(findings);
    findings.push_back(examine_plugin(plugin));
    return findings;
}

} // namespace tapflow::engine
