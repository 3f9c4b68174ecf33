// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/probe.h"

#include "kernel/bpf.h"
#include "kernel/flower.h"
#include "kernel/tc.h"
#include "probe.skel.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/version.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <utility>
#include <vector>

namespace tapflow::kernel {
namespace {

struct ProbeDeleter {
    void operator()(probe_bpf *probe) const { probe_bpf__destroy(probe); }
};
using Probe = std::unique_ptr<probe_bpf, ProbeDeleter>;

Error libbpf_error(const std::string &what) {
    Error error = last_error(what);
    error.detail = take_libbpf_warning();
    return error;
}

/// Loads one of the object's programs. `prepare` is called before.
template <typename Choose, typename Prepare>
Result<Probe> load(const std::string &what, Choose choose, Prepare prepare) {
    (void)take_libbpf_warning();
    Probe probe(probe_bpf__open());
    if (!probe)
        return libbpf_error(what);
    bpf_program *const chosen = choose(*probe);
    bpf_program *program = nullptr;
    bpf_object__for_each_program(program, probe->obj) bpf_program__set_autoload(program, program == chosen);
    if (prepare(chosen) != 0 || probe_bpf__load(probe.get()) != 0)
        return libbpf_error(what);
    return probe;
}

template <typename Choose> Result<Probe> load(const std::string &what, Choose choose) {
    return load(what, choose, [](bpf_program *) { return 0; });
}

using Types = std::unique_ptr<btf, void (*)(btf *)>;

Result<Types> kernel_types() {
    (void)take_libbpf_warning();
    Types types(btf__load_vmlinux_btf(), btf__free);
    if (!types)
        return libbpf_error("read the kernel's type information (/sys/kernel/btf/vmlinux)");
    return types;
}

Result<void> only_error(const Result<Probe> &loaded) { return loaded ? Result<void>() : loaded.error(); }

} // namespace

Result<Fd> load_pass_program(PassKind kind) {
    const auto program_of = [kind](const probe_bpf &probe) {
        return kind == PassKind::Filter ? probe.progs.probe_pass : probe.progs.probe_pass_action;
    };
    const auto probe = load("load a BPF program", program_of);
    if (!probe)
        return probe.error();
    Fd copy(fcntl(bpf_program__fd(program_of(**probe)), F_DUPFD_CLOEXEC, 0));
    if (!copy)
        return last_error("duplicate a BPF program's descriptor");
    return copy;
}

Result<bool> probe_jit() {
    const auto program = load_pass_program();
    if (!program)
        return program.error();
    bpf_prog_info info{};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(program->get(), &info, &size) < 0)
        return last_error("ask for a BPF program's compiled length");
    return info.jited_prog_len > 0;
}

Result<void> probe_ring(size_t bytes) {
    auto ring = create_ring_map("tapflow_probe", bytes);
    if (!ring)
        return ring.error();
    LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = static_cast<uint32_t>(ring->get()));
    const Fd outer(
        bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "tapflow_probe", sizeof(uint32_t), sizeof(uint32_t), 1, &options));
    if (!outer)
        return last_error("create an array of BPF rings");
    const int fd = ring->get();
    return put_inner_maps(outer.get(), {&fd, 1}, "put a BPF ring into an array");
}

Result<void> probe_kernel_context() {
    const std::string what = "load a program with bpf_cast_to_kern_ctx() and bpf_rdonly_cast()";
    const auto types = kernel_types();
    if (!types)
        return types.error();
    for (const char *function : {"bpf_cast_to_kern_ctx", "bpf_rdonly_cast"})
        if (btf__find_by_name_kind(types->get(), function, BTF_KIND_FUNC) < 0)
            return Error{ENOENT, what, std::string("the kernel has no ") + function + "()"};
    return only_error(load(what, [](const probe_bpf &probe) { return probe.progs.probe_context; }));
}

Result<void> probe_loop() {
    return only_error(
        load("load a program with bpf_loop()", [](const probe_bpf &probe) { return probe.progs.probe_loop; }));
}

Result<void> probe_test_run() {
    const auto program = load_pass_program();
    if (!program)
        return program.error();
    const std::array<uint8_t, 64> frame{};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_size_in = frame.size());
    if (bpf_prog_test_run_opts(program->get(), &options) != 0)
        return last_error("run a program for a made-up packet (BPF_PROG_TEST_RUN)");
    return {};
}

Result<void> probe_fexit() {
    const std::string what = "attach a tracing program (fexit) to a program";
    const auto traced = load(what, [](const probe_bpf &probe) { return probe.progs.probe_pass; });
    if (!traced)
        return traced.error();
    const auto tracer = load(
        what, [](const probe_bpf &probe) { return probe.progs.probe_exit; },
        [&](bpf_program *program) {
            return bpf_program__set_attach_target(program, bpf_program__fd((*traced)->progs.probe_pass), "probe_pass");
        });
    if (!tracer)
        return tracer.error();
    const std::unique_ptr<bpf_link, int (*)(bpf_link *)> link(bpf_program__attach_trace((*tracer)->progs.probe_exit),
                                                              bpf_link__destroy);
    if (!link)
        return libbpf_error(what);
    return {};
}

Result<void> probe_btf() {
    const auto types = kernel_types();
    return types ? Result<void>() : types.error();
}

// ---- traffic control

namespace {

constexpr uint16_t kAnyPreference = 100; // the interface is the caller's alone

/// What `attempt` needs of a clsact qdisc is there meanwhile.
template <typename Attempt> Result<void> with_clsact(Netlink &netlink, const LinkInfo &link, Attempt attempt) {
    auto added = ensure_clsact(netlink, link);
    if (!added)
        return added.error();
    auto tried = attempt();
    if (*added)
        (void)remove_clsact(netlink, link);
    return tried;
}

} // namespace

Result<void> probe_tcx(const LinkInfo &link) {
    const auto program = load_pass_program();
    if (!program)
        return program.error();
    const auto attached =
        attach_tcx(link.index, Hook::Ingress, program->get(), "attach a program to " + link.name + " by a TCX link");
    return attached ? Result<void>() : attached.error();
}

Result<void> probe_bpf_filter(Netlink &netlink, const LinkInfo &link) {
    const auto program = load_pass_program();
    if (!program)
        return program.error();
    const BpfFilter filter{{.ifindex = link.index, .preference = kAnyPreference}, "tapflow_probe"};
    return with_clsact(netlink, link, [&]() -> Result<void> {
        auto added = add_filter(netlink, filter, program->get());
        return added ? remove_filter(netlink, filter) : added;
    });
}

Result<void> probe_flower(Netlink &netlink, const LinkInfo &link) {
    FlowerFilter filter;
    filter.place = {.ifindex = link.index, .preference = kAnyPreference};
    filter.keys = {{FlowerField::EthType, {0x88, 0xb5}, {0xff, 0xff}}};
    return with_clsact(netlink, link, [&]() -> Result<void> {
        auto added = add_flower(netlink, filter);
        return added ? remove_filter(netlink, filter.place, "flower") : added;
    });
}

// It goes with the network namespace: an action without filter has no other owner.
Result<void> probe_action(Netlink &netlink, const TcAction &action, const std::string &kind) {
    NlMsg message = make_request(RTM_NEWACTION, NLM_F_CREATE | NLM_F_EXCL);
    tcamsg header{};
    header.tca_family = AF_UNSPEC;
    if (message && (nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0 ||
                    !put_actions(message.get(), TCA_ACT_TAB, {action})))
        message.reset();
    return netlink.request(message, "make a TC action of kind " + kind);
}

// ---- the process

Result<bool> has_capability(unsigned capability) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
    if (syscall(SYS_capget, &header, data.data()) < 0)
        return last_error("look up capabilities");
    return (data.at(capability / 32).effective >> capability % 32 & 1) != 0;
}

size_t free_descriptors(size_t limit) {
    std::vector<Fd> opened;
    while (opened.size() < limit) {
        Fd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        if (!next)
            break;
        opened.push_back(std::move(next));
    }
    return opened.size();
}

namespace {

/// In the child, which says what the loader says and ends.
[[noreturn]] void load_and_tell(const char *path, int answer) {
    const int nowhere = ::open("/dev/null", O_WRONLY);
    (void)dup2(nowhere, STDOUT_FILENO); // a plugin's constructor may speak
    (void)dup2(nowhere, STDERR_FILENO);
    if (!dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
        const std::string said = dlerror();
        (void)!write(answer, said.data(), said.size());
        _exit(1);
    }
    _exit(0);
}

} // namespace

Result<std::string> probe_plugin(const std::string &path) {
    const std::string what = "load " + path;
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) < 0)
        return last_error(what);
    const Fd reader(ends[0]);
    Fd writer(ends[1]);
    const pid_t child = fork();
    if (child < 0)
        return last_error(what);
    if (child == 0)
        load_and_tell(path.c_str(), writer.get());
    writer.reset();
    std::string said;
    std::array<char, 512> part{};
    for (ssize_t length = 0; (length = read(reader.get(), part.data(), part.size())) > 0;)
        said.append(part.data(), static_cast<size_t>(length));
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return path;
    const bool not_there = said.find(path + ": cannot open shared object file") != std::string::npos;
    return Error{not_there ? ENOENT : ELIBACC, what, said};
}

std::string library_versions() {
    return "libbpf " + std::to_string(libbpf_major_version()) + "." + std::to_string(libbpf_minor_version()) +
           ", libnl " + std::to_string(nl_ver_maj) + "." + std::to_string(nl_ver_min) + "." +
           std::to_string(nl_ver_mic);
}

} // namespace tapflow::kernel
