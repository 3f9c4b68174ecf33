// SPDX-License-Identifier: BSD-3-Clause
// Loaded in front of libc (LD_PRELOAD): lets a process make as many BPF objects as it is told, and no more after that.
// Limits by memory cgroup would do the same at some allocation or other, and kill the process at the next.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>

namespace {

/// The file that TAPFLOW_BPF_CREDIT names: how many more calls succeed; negative without a limit.
int64_t *credit() {
    static int64_t *const shared = [] {
        const char *path = std::getenv("TAPFLOW_BPF_CREDIT");
        const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
        void *page = fd < 0 ? MAP_FAILED : mmap(nullptr, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (fd >= 0)
            close(fd);
        return page == MAP_FAILED ? nullptr : static_cast<int64_t *>(page);
    }();
    return shared;
}

bool takes_memory(long command) {
    switch (command) {
    case BPF_MAP_CREATE:
    case BPF_MAP_UPDATE_ELEM:
    case BPF_MAP_UPDATE_BATCH:
    case BPF_PROG_LOAD:
    case BPF_BTF_LOAD:
    case BPF_LINK_CREATE:
        return true;
    default:
        return false;
    }
}

bool exhausted() {
    if (!credit())
        return false;
    const std::atomic_ref left(*credit());
    int64_t now = left.load();
    while (now > 0 && !left.compare_exchange_weak(now, now - 1)) {
    }
    return now == 0;
}

} // namespace

extern "C" __attribute__((visibility("default"))) long syscall(long number, ...) noexcept {
    using Syscall = long (*)(long, ...);
    static const auto libc = reinterpret_cast<Syscall>(dlsym(RTLD_NEXT, "syscall"));
    std::va_list list;
    va_start(list, number);
    long arguments[6];
    for (long &argument : arguments)
        argument = va_arg(list, long);
    va_end(list);
    if (number == SYS_bpf && takes_memory(static_cast<int>(arguments[0])) && exhausted()) {
        errno = ENOMEM;
        return -1;
    }
    return libc(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
