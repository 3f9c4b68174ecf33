// SPDX-License-Identifier: BSD-3-Clause
// A port of another process's.
#pragma once

#include "ctl/ctl_fixture.h"

#include "engine/port.h"
#include "support/system.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

namespace tapflow::test {

/// A process that opens and starts a port, gives it rules and then does nothing; it ends with the test.
class Opener {
  public:
    explicit Opener(const engine::PortOptions &options, const std::vector<flow::Rule> &rules = {}) {
        std::array<int, 2> done{};
        if (pipe(done.data()) != 0)
            throw_errno("pipe");
        const Fd read_end(done[0]);
        Fd write_end(done[1]);
        pid_ = fork();
        if (pid_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (const auto port = opened(options, rules); port && write(write_end.get(), "", 1) == 1)
                for (;;)
                    pause();
            _exit(1);
        }
        write_end.reset();
        char byte = 0;
        opened_ = read(read_end.get(), &byte, 1) == 1;
    }
    Opener(const Opener &) = delete;
    Opener &operator=(const Opener &) = delete;
    ~Opener() { kill(); }

    [[nodiscard]] bool opened() const { return opened_; }
    [[nodiscard]] pid_t pid() const { return pid_; }
    void kill() {
        if (pid_ <= 0)
            return;
        ::kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }

  private:
    /// Null: something has failed.
    static std::unique_ptr<engine::Port> opened(const engine::PortOptions &options,
                                                const std::vector<flow::Rule> &rules) {
        auto port = engine::Port::open(options);
        if (!port)
            return nullptr;
        start(**port, 1);
        for (const flow::Rule &rule : rules)
            if ((*port)->flows().create(rule).flow == nullptr)
                return nullptr;
        return *std::move(port);
    }

    pid_t pid_ = -1;
    bool opened_ = false;
};

} // namespace tapflow::test
