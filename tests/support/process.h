// SPDX-License-Identifier: BSD-3-Clause
// Child processes that cannot outlive the test.
#pragma once

#include "support/system.h"
#include "support/wait.h"

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::test {

struct ProcessOptions {
    std::vector<std::string> environment{}; ///< "NAME=value", added to or replacing what we have ourselves
    int netns = -1;                         ///< a network namespace's fd; -1: the calling thread's
    /// Output goes through a SOCK_SEQPACKET socket instead of a pipe, so that one read returns one write(2) of the
    /// child. Such a child cannot open /dev/stdout.
    bool keep_write_boundaries = false;
};

/// A running child: stdin is a pipe, stdout and stderr are captured together, in order. It dies (SIGKILL) with this
/// object and with the thread that created it (PR_SET_PDEATHSIG), and inherits no descriptor but the standard three.
/// Not thread safe. Failures of system calls throw std::system_error, time-outs std::runtime_error holding the end
/// of the output.
class Process {
  public:
    /// Runs argv[0], searched in PATH. std::system_error if it cannot be executed.
    explicit Process(std::vector<std::string> argv, const ProcessOptions &options = {});
    Process(const Process &) = delete;
    Process &operator=(const Process &) = delete;
    ~Process();

    [[nodiscard]] pid_t pid() const { return pid_; }
    /// Whether the child has not exited yet.
    [[nodiscard]] bool running();
    /// Writes to the child's stdin; a child that closed it gives EPIPE, not a signal.
    void write(std::string_view text);
    void close_stdin() { stdin_.reset(); }

    /// Reads until the text appears behind what earlier calls returned, and returns everything up to and including it.
    std::string wait_for(std::string_view text, milliseconds timeout = kDefaultTimeout);
    /// The same for a match of a POSIX extended regular expression, in which ^ and $ mean lines. (Not std::regex, which
    /// recurses over what it matches, and which gcc 12 cannot compile without warnings under sanitizers.)
    std::string wait_for_match(const std::string &expression, milliseconds timeout = kDefaultTimeout);

    /// One read: what came (appended to output() as well), "" if nothing came in time, nothing at the end of output.
    std::optional<std::string> read_once(milliseconds timeout);
    /// Everything read so far.
    [[nodiscard]] const std::string &output() const { return output_; }
    /// The last lines of the output, for failure messages.
    [[nodiscard]] std::string output_tail() const;

    /// Reads until the child exits. Its exit status, or 128 + the signal that ended it.
    int wait(milliseconds timeout = kDefaultTimeout);
    /// Sends a signal if the child is still there.
    void kill(int signal);

  private:
    template <typename Find> std::string read_until(Find find, const std::string &wanted, milliseconds timeout);
    void reap(int wait_options);

    std::string name_;
    pid_t pid_ = -1;
    Fd pidfd_;
    Fd stdin_;
    Fd output_fd_;
    std::string output_;
    std::string buffer_;
    size_t consumed_ = 0;
    std::optional<int> status_;
};

struct CommandResult {
    int status = 0;
    std::string output; ///< stdout and stderr
};

/// Runs a command to its end with an empty stdin.
CommandResult run_command(std::vector<std::string> argv, const ProcessOptions &options = {},
                          milliseconds timeout = kDefaultTimeout);

} // namespace tapflow::test
