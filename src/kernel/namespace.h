// SPDX-License-Identifier: BSD-3-Clause
// Network namespaces: which one it is, and doing something in another one.
#pragma once

#include "kernel/fd.h"
#include "tapflow/result.h"

#include <cstdint>
#include <functional>

namespace tapflow::kernel {

/// What tells namespaces from each other, as long as they exist: device and inode (namespaces(7)).
struct NamespaceId {
    uint64_t device = 0;
    uint64_t inode = 0;

    bool operator==(const NamespaceId &) const = default;
};

Result<NamespaceId> namespace_id(const Fd &netns);
/// That of the calling thread.
Result<NamespaceId> this_namespace();

/// A descriptor of a namespace that some process is in, or that has a name (ip-netns(8)). `pid`: a process that may be
/// in it or have it open, to look there first. Errors: ENOENT.
Result<Fd> find_namespace(const NamespaceId &id, uint32_t pid = 0);

/// Calls `act` with the calling thread in that namespace, or, when it is in another one, in a thread that ends there:
/// nothing has to be put back, and so nothing can remain in a wrong one.
/// Errors: those of `act`, EPERM without CAP_SYS_ADMIN in both namespaces.
Result<void> in_namespace(const Fd &netns, const std::function<Result<void>()> &act);

/// Calls `act` in a thread in a new network namespace, in which there is nothing but a loopback interface, and which
/// goes, with all that `act` has made there, when the thread has ended and nobody else has got hold of it.
/// Errors: those of `act`, EPERM without CAP_SYS_ADMIN.
Result<void> in_new_namespace(const std::function<Result<void>()> &act);

} // namespace tapflow::kernel
