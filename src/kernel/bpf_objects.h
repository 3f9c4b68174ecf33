// SPDX-License-Identifier: BSD-3-Clause
// Programs, maps and links that are in the kernel, whoever's they are (bpf(2), BPF_*_GET_NEXT_ID).
#pragma once

#include "kernel/fd.h"
#include "kernel/tc.h"
#include "tapflow/result.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tapflow::kernel {

struct ProgramInfo {
    uint32_t id = 0;
    std::string name;           ///< as its function is called, cut to 15 characters
    std::vector<uint32_t> maps; ///< ids of those that it uses, or that are bound to it
    uint64_t loaded_ns = 0;     ///< since the machine's start (CLOCK_BOOTTIME)
};

struct MapInfo {
    uint32_t id = 0;
    uint32_t type = 0; ///< enum bpf_map_type
    std::string name;  ///< cut to 15 characters
    uint32_t key_bytes = 0;
    uint32_t value_bytes = 0;
    uint32_t entries = 0; ///< that there can be
};

/// A program that a link keeps at an interface's TCX hook.
struct TcxLink {
    uint32_t id = 0;
    uint32_t program = 0; ///< id
    int ifindex = 0;      ///< 0: the interface has gone
    Hook hook = Hook::Ingress;
};

/// Calls `each` for every loaded program for TC (BPF_PROG_TYPE_SCHED_CLS). A program that goes meanwhile is left out.
/// Errors: EPERM without CAP_SYS_ADMIN.
Result<void> for_each_tc_program(const std::function<void(const ProgramInfo &)> &each);
/// All TCX links, of all network namespaces; none on kernels before 6.6.
Result<std::vector<TcxLink>> list_tcx_links();

/// A program at a TCX hook, by a link or without.
struct TcxProgram {
    uint32_t id = 0;
    std::string name; ///< cut to 15 characters; empty without CAP_SYS_ADMIN
};
/// Those of an interface of the caller's namespace, in the order in which packets meet them. Errors: EINVAL on kernels
/// before 6.6; EPERM without CAP_NET_ADMIN.
Result<std::vector<TcxProgram>> list_tcx_programs(int ifindex, Hook hook);

/// Errors: ENOENT when it has gone; EPERM.
Result<Fd> open_program(uint32_t id);
/// For reading, also by mapping into memory.
Result<Fd> open_map(uint32_t id);
Result<MapInfo> map_info(int map);

/// The value of a key; as many bytes as the map's values have. Errors: ENOENT.
Result<void> map_lookup(int map, const void *key, void *value, const std::string &what);
/// The id of the map in the slot of an array of maps; none: it is empty.
std::optional<uint32_t> inner_map(int outer, uint32_t slot);
/// Calls `each` with every key of a hash map.
Result<void> for_each_key(int map, size_t key_bytes, const std::function<void(const std::byte *)> &each);

/// What BPF_PROG_TEST_RUN of a TC program comes to.
struct TestRun {
    int32_t returned = 0;
    std::array<uint32_t, 5> cb{}; ///< __sk_buff::cb behind the program
};
/// Runs a program on a frame that nobody else sees. Errors: EINVAL for a frame of a length that the kernel does not
/// take for that (net/bpf/test_run.c: bpf_test_init).
Result<TestRun> test_run(int program, std::span<const uint8_t> frame);

} // namespace tapflow::kernel
