// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/namespace.h"

#include "kernel/thread.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
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

namespace {

/// The file, if it is that namespace.
Fd open_if(const std::filesystem::path &path, const NamespaceId &wanted) {
    struct stat status {};
    if (stat(path.c_str(), &status) < 0 || NamespaceId{status.st_dev, status.st_ino} != wanted)
        return {};
    return Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

/// The first file of a directory that is that namespace; `below`: where in each entry to look.
Fd open_in(const std::filesystem::path &directory, const std::filesystem::path &below, const NamespaceId &wanted) {
    std::error_code error;
    for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error))
        if (Fd found = open_if(below.empty() ? entry->path() : entry->path() / below, wanted))
            return found;
    return {};
}

} // namespace

Result<Fd> find_namespace(const NamespaceId &id, uint32_t pid) {
    if (Fd own = open_if("/proc/thread-self/ns/net", id))
        return own;
    const std::filesystem::path process = "/proc/" + std::to_string(pid);
    if (Fd theirs = open_if(process / "ns/net", id))
        return theirs;
    if (Fd held = open_in(process / "fd", {}, id))
        return held;
    for (const auto *directory : {"/run/netns", "/proc"})
        if (Fd found = open_in(directory, directory == std::string_view("/proc") ? "ns/net" : "", id))
            return found;
    return Error{ENOENT, "find network namespace " + std::to_string(id.inode), "no process is in it"};
}

Result<NamespaceId> this_namespace() {
    const Fd here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    return namespace_id(here);
}

Result<void> in_namespace(const Fd &netns, const std::function<Result<void>()> &act) {
    auto there = namespace_id(netns);
    if (!there)
        return there.error();
    if (const auto here = this_namespace(); here && *here == *there)
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
