// SPDX-License-Identifier: BSD-3-Clause
// Calls that fail on demand. Linked into an executable, this replaces its operator new and libc's
// syscall(), by which libbpf calls bpf(2), and sendmsg().
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

enum class Call { Bpf, Sendmsg };

/// Something happens before each such call of this thread's, as long as this lives.
class Before {
  public:
    Before(Call call, std::function<void()> happens);
    Before(const Before &) = delete;
    Before &operator=(const Before &) = delete;
    ~Before();

  private:
    Call call_;
    std::function<void()> happens_;
};

} // namespace tapflow::test
