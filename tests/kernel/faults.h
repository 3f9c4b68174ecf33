// SPDX-License-Identifier: BSD-3-Clause
// Calls that fail on demand. Linked into an executable, this replaces its operator new and libc's
// syscall(), by which libbpf calls bpf(2).
#pragma once

#include <functional>

namespace tapflow::test {

enum class Fault {
    Allocation, ///< std::bad_alloc
    Bpf,        ///< bpf(2) fails with ENOMEM; but for what only asks
};

/// The process's n-th such call from now on fails, as long as this lives: of all threads, as what is tested starts
/// some. One at a time.
class FailingCall {
  public:
    FailingCall(Fault fault, unsigned n);
    FailingCall(const FailingCall &) = delete;
    FailingCall &operator=(const FailingCall &) = delete;
    ~FailingCall();

    /// Whether it has come to that.
    [[nodiscard]] bool hit() const;
    /// How many there have been.
    [[nodiscard]] unsigned calls() const;

  private:
    Fault fault_;
};

/// Something happens before each bpf(2) call of this thread's, as long as this lives.
class BeforeBpf {
  public:
    explicit BeforeBpf(std::function<void()> happens);
    BeforeBpf(const BeforeBpf &) = delete;
    BeforeBpf &operator=(const BeforeBpf &) = delete;
    ~BeforeBpf();

  private:
    std::function<void()> happens_;
};

} // namespace tapflow::test
