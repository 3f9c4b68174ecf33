// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/faults.h"

#include <dlfcn.h>
#include <linux/bpf.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <new>
#include <utility>

namespace tapflow::test {
namespace {

struct Countdown {
    std::atomic<unsigned> fails{0}; ///< the number of the call that does; 0: none
    std::atomic<unsigned> calls{0};
};
constinit std::array<Countdown, 2> countdowns{};
thread_local std::array<const std::function<void()> *, 2> before{};

Countdown &countdown(Fault fault) { return countdowns[fault == Fault::Bpf ? 1 : 0]; }

bool fails(Fault fault) {
    Countdown &each = countdown(fault);
    return ++each.calls == each.fails;
}

const std::function<void()> *&before_call(Call call) { return before[call == Call::Bpf ? 0 : 1]; }

void happen_before(Call call) {
    if (const auto *happens = before_call(call))
        (*happens)();
}

bool only_asks(long command) {
    return command == BPF_MAP_LOOKUP_ELEM || command == BPF_OBJ_GET_INFO_BY_FD || command == BPF_PROG_TEST_RUN;
}

} // namespace

FailingCall::FailingCall(Fault fault, unsigned n) : fault_(fault) {
    countdown(fault).calls = 0;
    countdown(fault).fails = n;
}
FailingCall::~FailingCall() { countdown(fault_).fails = 0; }
bool FailingCall::hit() const { return countdown(fault_).calls >= countdown(fault_).fails; }
unsigned FailingCall::calls() const { return countdown(fault_).calls; }

Before::Before(Call call, std::function<void()> happens) : call_(call), happens_(std::move(happens)) {
    before_call(call_) = &happens_;
}
Before::~Before() { before_call(call_) = nullptr; }

} // namespace tapflow::test

using tapflow::test::Fault;

// All of a kind, as a sanitizer's runtime has its own of those that are left out.
void *operator new(size_t size, const std::nothrow_t &) noexcept {
    return tapflow::test::fails(Fault::Allocation) ? nullptr : std::malloc(size > 0 ? size : 1);
}
void *operator new(size_t size) {
    void *memory = operator new(size, std::nothrow);
    if (!memory)
        throw std::bad_alloc();
    return memory;
}
void *operator new[](size_t size, const std::nothrow_t &) noexcept { return operator new(size, std::nothrow); }
void *operator new[](size_t size) { return operator new(size); }
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }
void operator delete(void *memory, const std::nothrow_t &) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { std::free(memory); }
void operator delete[](void *memory, size_t) noexcept { std::free(memory); }
void operator delete[](void *memory, const std::nothrow_t &) noexcept { std::free(memory); }

extern "C" __attribute__((visibility("default"))) long syscall(long number, ...) noexcept {
    using Syscall = long (*)(long, ...);
    static const auto libc = reinterpret_cast<Syscall>(dlsym(RTLD_NEXT, "syscall"));
    std::va_list list;
    va_start(list, number);
    long arguments[6];
    for (long &argument : arguments)
        argument = va_arg(list, long);
    va_end(list);
    if (number == SYS_bpf)
        tapflow::test::happen_before(tapflow::test::Call::Bpf);
    if (number == SYS_bpf && !tapflow::test::only_asks(arguments[0]) && tapflow::test::fails(Fault::Bpf)) {
        errno = ENOMEM;
        return -1;
    }
    return libc(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

extern "C" __attribute__((visibility("default"))) ssize_t sendmsg(int fd, const msghdr *message, int flags) {
    using Sendmsg = ssize_t (*)(int, const msghdr *, int);
    static const auto libc = reinterpret_cast<Sendmsg>(dlsym(RTLD_NEXT, "sendmsg"));
    tapflow::test::happen_before(tapflow::test::Call::Sendmsg);
    return libc(fd, message, flags);
}
