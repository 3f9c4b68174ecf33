// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/namespace.h"

#include "kernel/thread.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <exception>
#include <thread>

namespace tapflow::kernel {
namespace {

/// Calls `act` in a thread that ends.
Result<void> in_thread(const std::function<Result<void>()> &act) {
    Result<void> result;
    try {
        std::thread([&] {
            become_control_thread("tapflow-netns");
            result = act();
        }).join();
    } catch (const std::exception &failure) { // std::system_error, std::bad_alloc
        return Error{EAGAIN, "start a thread for another network namespace", failure.what()};
    }
    return result;
}

} // namespace

Result<NamespaceId> namespace_id(const Fd &netns) {
    struct stat status {};
    if (fstat(netns.get(), &status) < 0)
        return last_error("look up a network namespace");
    return NamespaceId{status.st_dev, status.st_ino};
}

Result<void> in_namespace(const Fd &netns, const std::function<Result<void>()> &act) {
    auto there = namespace_id(netns);
    if (!there)
        return there.error();
    const Fd here_fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (const auto here = namespace_id(here_fd); here && *here == *there)
        return act();
    return in_thread([&]() -> Result<void> {
        if (setns(netns.get(), CLONE_NEWNET) < 0)
            return last_error("enter the network namespace of the interface");
        return act();
    });
}

Result<void> in_new_namespace(const std::function<Result<void>()> &act) {
    return in_thread([&]() -> Result<void> {
        if (unshare(CLONE_NEWNET) < 0)
            return last_error("make a network namespace");
        return act();
    });
}

} // namespace tapflow::kernel
