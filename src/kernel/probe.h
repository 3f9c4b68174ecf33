// SPDX-License-Identifier: BSD-3-Clause
// What this kernel, this process and this machine can do, found by doing it. What is made goes again before the call
// returns, but for probe_action(); what needs an interface is tried at one of the caller's. Errors: what was tried, and
// the kernel's words.
#pragma once

#include "kernel/fd.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/tc_action.h"
#include "tapflow/result.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace tapflow::kernel {

// ---- programs and maps

/// A program that leaves packets as they are, for a filter or for an action.
enum class PassKind : uint8_t { Filter, Action };
Result<Fd> load_pass_program(PassKind kind = PassKind::Filter);
/// Whether programs are compiled to the processor's instructions; else the kernel interprets them.
Result<bool> probe_jit();
/// A BPF ring of `bytes` in an array of maps.
Result<void> probe_ring(size_t bytes);
/// The kernel functions by which the classifier sees a packet's checksum and segments (Linux 6.2).
Result<void> probe_kernel_context();
/// bpf_loop() (Linux 5.17).
Result<void> probe_loop();
/// BPF_PROG_TEST_RUN of a classifier.
Result<void> probe_test_run();
/// A tracing program behind another program, while that runs.
Result<void> probe_fexit();
/// The kernel's own type information.
Result<void> probe_btf();

// ---- traffic control, at an interface of the caller's

/// A TCX link at ingress (Linux 6.6).
Result<void> probe_tcx(const LinkInfo &link);
/// A cls_bpf filter at the clsact qdisc's ingress.
Result<void> probe_bpf_filter(Netlink &netlink, const LinkInfo &link);
/// A flower filter there, that compares an EtherType.
Result<void> probe_flower(Netlink &netlink, const LinkInfo &link);
/// An action by itself, without filter; `kind` is what it is called. It stays as long as the network namespace.
Result<void> probe_action(Netlink &netlink, const TcAction &action, const std::string &kind);

// ---- the process

/// Whether the calling thread has a capability (linux/capability.h) in effect.
Result<bool> has_capability(unsigned capability);
/// How many descriptors can be opened beside those that are, of at most `limit` that are tried.
size_t free_descriptors(size_t limit);
/// Loads a plugin, as EAL would, in a child process. Returns the file's path. Errors: ENOENT; ELIBACC with the loader's
/// words.
Result<std::string> probe_plugin(const std::string &path);

/// "libbpf 1.1, libnl 3.7.0"
std::string library_versions();

} // namespace tapflow::kernel
