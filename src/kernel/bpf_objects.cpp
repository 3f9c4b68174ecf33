// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/bpf_objects.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tapflow::kernel {
namespace {

// Of Linux 6.6; Debian 12's linux-libc-dev is older. struct bpf_link_info: type, id, prog_id, then what the type says.
constexpr uint32_t kTcxLink = 11;    // enum bpf_link_type
constexpr uint32_t kTcxIngress = 46; // enum bpf_attach_type
constexpr uint32_t kTcxEgress = 47;
constexpr size_t kTcxInfoOffset = 16; // interface index, attach type

template <size_t Size> std::string text_of(const char (&name)[Size]) { return {name, strnlen(name, Size)}; }

template <typename Next, typename Open, typename Each>
Result<void> for_each_id(const char *what, Next next, Open open, Each each) {
    for (uint32_t id = 0;;) {
        if (next(id, &id) < 0)
            return errno == ENOENT ? Result<void>() : last_error(std::string("list ") + what);
        const Fd object(open(id));
        if (object)
            each(id, object.get());
        else if (errno != ENOENT)
            return last_error(std::string("look at ") + what);
    }
}

} // namespace

Result<void> for_each_tc_program(const std::function<void(const ProgramInfo &)> &each) {
    return for_each_id("BPF programs", bpf_prog_get_next_id, bpf_prog_get_fd_by_id, [&](uint32_t id, int fd) {
        std::array<uint32_t, 64> maps{};
        bpf_prog_info info{};
        uint32_t size = sizeof(info);
        info.nr_map_ids = maps.size();
        info.map_ids = reinterpret_cast<uintptr_t>(maps.data());
        if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || info.type != BPF_PROG_TYPE_SCHED_CLS)
            return;
        const size_t count = std::min<size_t>(info.nr_map_ids, maps.size());
        each({id, text_of(info.name), {maps.begin(), maps.begin() + static_cast<ptrdiff_t>(count)}, info.load_time});
    });
}

Result<std::vector<TcxLink>> list_tcx_links() {
    std::vector<TcxLink> links;
    auto listed = for_each_id("BPF links", bpf_link_get_next_id, bpf_link_get_fd_by_id, [&](uint32_t id, int fd) {
        alignas(8) std::array<char, 128> info{};
        static_assert(offsetof(bpf_link_info, raw_tracepoint) == kTcxInfoOffset);
        uint32_t size = info.size();
        bpf_link_info header{};
        if (bpf_obj_get_info_by_fd(fd, info.data(), &size) < 0)
            return;
        std::memcpy(&header, info.data(), std::min(sizeof(header), info.size()));
        if (header.type != kTcxLink)
            return;
        std::array<uint32_t, 2> place{};
        std::memcpy(place.data(), info.data() + kTcxInfoOffset, sizeof(place));
        links.push_back(
            {id, header.prog_id, static_cast<int>(place[0]), place[1] == kTcxIngress ? Hook::Ingress : Hook::Egress});
    });
    if (!listed)
        return listed.error();
    return links;
}

Result<std::vector<TcxProgram>> list_tcx_programs(int ifindex, Hook hook) {
    std::array<uint32_t, 64> ids{}; // kernel/bpf/mprog.c: BPF_MPROG_MAX
    bpf_attr attributes{};
    attributes.query.target_fd = static_cast<uint32_t>(ifindex); // target_ifindex since 6.6
    attributes.query.attach_type = hook == Hook::Ingress ? kTcxIngress : kTcxEgress;
    attributes.query.prog_ids = reinterpret_cast<uintptr_t>(ids.data());
    attributes.query.prog_cnt = ids.size();
    if (syscall(SYS_bpf, BPF_PROG_QUERY, &attributes, sizeof(attributes)) < 0)
        return last_error("list the TCX programs of interface " + std::to_string(ifindex));
    std::vector<TcxProgram> programs;
    for (size_t i = 0; i < std::min<size_t>(attributes.query.prog_cnt, ids.size()); i++) {
        TcxProgram &program = programs.emplace_back(TcxProgram{ids[i], {}});
        const Fd fd(bpf_prog_get_fd_by_id(ids[i]));
        bpf_prog_info info{};
        uint32_t size = sizeof(info);
        if (fd && bpf_obj_get_info_by_fd(fd.get(), &info, &size) == 0)
            program.name = text_of(info.name);
    }
    return programs;
}

Result<Fd> open_program(uint32_t id) {
    Fd program(bpf_prog_get_fd_by_id(id));
    if (!program)
        return last_error("open BPF program " + std::to_string(id));
    return program;
}

Result<Fd> open_map(uint32_t id) {
    Fd map(bpf_map_get_fd_by_id(id));
    if (!map)
        return last_error("open BPF map " + std::to_string(id));
    return map;
}

Result<MapInfo> map_info(int map) {
    bpf_map_info info{};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(map, &info, &size) < 0)
        return last_error("look at a BPF map");
    return MapInfo{info.id, info.type, text_of(info.name), info.key_size, info.value_size, info.max_entries};
}

Result<void> map_lookup(int map, const void *key, void *value, const std::string &what) {
    if (bpf_map_lookup_elem(map, key, value) < 0)
        return last_error(what);
    return {};
}

std::optional<uint32_t> inner_map(int outer, uint32_t slot) {
    uint32_t id = 0;
    if (bpf_map_lookup_elem(outer, &slot, &id) < 0)
        return std::nullopt;
    return id;
}

Result<void> for_each_key(int map, size_t key_bytes, const std::function<void(const std::byte *)> &each) {
    std::vector<std::byte> key(key_bytes);
    std::vector<std::byte> next(key_bytes);
    // A key that is taken out meanwhile makes the kernel begin again: there is an end to that.
    constexpr int kMost = 1 << 20;
    for (int i = 0; i < kMost; i++) {
        if (bpf_map_get_next_key(map, i == 0 ? nullptr : key.data(), next.data()) < 0)
            return errno == ENOENT ? Result<void>() : last_error("list a BPF map's keys");
        std::swap(key, next);
        each(key.data());
    }
    return {};
}

Result<TestRun> test_run(int program, std::span<const uint8_t> frame) {
    __sk_buff context{};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
                .data_size_in = static_cast<uint32_t>(frame.size()), .ctx_out = &context,
                .ctx_size_out = sizeof(context), .repeat = 1);
    if (bpf_prog_test_run_opts(program, &options) < 0)
        return Error{errno, "run a BPF program on a frame",
                     errno == EINVAL ? "the kernel's test run takes none that is so short or so long" : ""};
    TestRun result{static_cast<int32_t>(options.retval), {}};
    std::copy(std::begin(context.cb), std::end(context.cb), result.cb.begin());
    return result;
}

} // namespace tapflow::kernel
