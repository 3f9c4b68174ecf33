// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "support/system.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <array>

namespace tapflow::test {

/// A program for a filter or an action, on any kernel: the packet goes on.
inline Fd pass_program(bpf_prog_type type) {
    const std::array<bpf_insn, 2> pass{
        {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, TC_ACT_PIPE}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}}};
    return owned(bpf_prog_load(type, "pass", "GPL", pass.data(), pass.size(), nullptr), "load a program");
}

} // namespace tapflow::test
