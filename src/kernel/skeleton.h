// SPDX-License-Identifier: BSD-3-Clause
// libbpf's skeletons, owned.
#pragma once

#include "kernel/bpf.h"
#include "tapflow/result.h"

#include <memory>
#include <string>

namespace tapflow::kernel {

/// A libbpf skeleton, destroyed with its owner.
template <typename Skeleton, void (*Destroy)(Skeleton *)> struct SkeletonDeleter {
    void operator()(Skeleton *skeleton) const { Destroy(skeleton); }
};
template <typename Skeleton, void (*Destroy)(Skeleton *)>
using SkeletonPtr = std::unique_ptr<Skeleton, SkeletonDeleter<Skeleton, Destroy>>;

/// Why an object could not be opened or loaded: errno, and what the verifier or libbpf said.
inline Error load_error(const char *object) {
    Error error = last_error(std::string("load BPF object ") + object);
    error.detail = take_libbpf_warning();
    return error;
}

} // namespace tapflow::kernel
