// SPDX-License-Identifier: BSD-3-Clause
#include "support/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <regex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <stdexcept>

namespace tapflow::test {
namespace {

struct Pipe {
    Fd read;
    Fd write;
};

Pipe make_pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        throw_errno("pipe2");
    return {Fd(ends[0]), Fd(ends[1])};
}

/// Room for what a talkative child says while nobody reads: a blocked child would change what is being tested.
constexpr int kOutputRoom = 16 << 20;

Pipe make_output(bool keep_write_boundaries) {
    if (!keep_write_boundaries) {
        Pipe pipe = make_pipe();
        (void)fcntl(pipe.write.get(), F_SETPIPE_SZ, 1 << 20);
        return pipe;
    }
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        throw_errno("socketpair");
    (void)setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &kOutputRoom, sizeof(kOutputRoom));
    return {Fd(ends[0]), Fd(ends[1])};
}

std::vector<char *> pointers(std::vector<std::string> &strings) {
    std::vector<char *> result;
    result.reserve(strings.size() + 1);
    for (std::string &text : strings)
        result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

std::vector<std::string> environment_with(const std::vector<std::string> &additions) {
    std::vector<std::string> result = additions;
    const auto replaced = [&additions](std::string_view entry) {
        const std::string_view name = entry.substr(0, entry.find('=') + 1);
        return std::any_of(additions.begin(), additions.end(),
                           [name](const std::string &addition) { return addition.starts_with(name); });
    };
    for (char **entry = environ; *entry != nullptr; ++entry)
        if (!replaced(*entry))
            result.emplace_back(*entry);
    return result;
}

struct ChildPlan {
    char **argv;
    char **environment;
    int netns;
    int stdin_fd;
    int output_fd;
    int error_fd;
    pid_t parent;
};

/// Runs between fork and exec, perhaps of a process with other threads: async-signal-safe calls only.
[[noreturn]] void become(const ChildPlan &plan) {
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, nullptr);
    (void)signal(SIGPIPE, SIG_DFL);
    const bool ready = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
                       (plan.netns < 0 || setns(plan.netns, CLONE_NEWNET) == 0) &&
                       dup2(plan.stdin_fd, STDIN_FILENO) >= 0 && dup2(plan.output_fd, STDOUT_FILENO) >= 0 &&
                       dup2(plan.output_fd, STDERR_FILENO) >= 0;
    if (getppid() != plan.parent) // died before the death signal was armed
        _exit(127);
    // Not every library under test opens with O_CLOEXEC, and a tap's fd in a child keeps the tap alive.
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    if (ready)
        execvpe(plan.argv[0], plan.argv, plan.environment);
    const int error = errno;
    (void)!::write(plan.error_fd, &error, sizeof(error));
    _exit(127);
}

} // namespace

Process::Process(std::vector<std::string> argv, const ProcessOptions &options)
    : name_(argv.at(0)), buffer_(256 << 10, '\0') {
    Pipe input = make_pipe();
    Pipe output = make_output(options.keep_write_boundaries);
    Pipe exec_error = make_pipe();
    std::vector<std::string> environment = environment_with(options.environment);
    const std::vector<char *> argv_pointers = pointers(argv);
    const std::vector<char *> environment_pointers = pointers(environment);
    const ChildPlan plan{.argv = const_cast<char **>(argv_pointers.data()),
                         .environment = const_cast<char **>(environment_pointers.data()),
                         .netns = options.netns,
                         .stdin_fd = input.read.get(),
                         .output_fd = output.write.get(),
                         .error_fd = exec_error.write.get(),
                         .parent = getpid()};
    pid_ = fork();
    if (pid_ < 0)
        throw_errno("fork");
    if (pid_ == 0)
        become(plan);

    exec_error.write.reset();
    int error = 0;
    if (::read(exec_error.read.get(), &error, sizeof(error)) == sizeof(error)) {
        (void)waitpid(pid_, nullptr, 0);
        throw std::system_error(error, std::generic_category(), "run " + name_);
    }
    stdin_ = std::move(input.write);
    output_fd_ = std::move(output.read);
    (void)fcntl(output_fd_.get(), F_SETFL, O_NONBLOCK);
    // glibc 2.36 declares pidfd_open() without extern "C".
    pidfd_ = owned(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)), "pidfd_open");
}

Process::~Process() {
    kill(SIGKILL);
    reap(0);
}

bool Process::running() {
    reap(WNOHANG);
    return !status_;
}

void Process::reap(int wait_options) {
    int status = 0;
    if (status_ || waitpid(pid_, &status, wait_options) != pid_)
        return;
    status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void Process::kill(int signal) {
    if (running()) // an unreaped child keeps its pid, so this cannot hit a stranger
        (void)::kill(pid_, signal);
}

void Process::write(std::string_view text) {
    sigset_t pipe_signal;
    sigset_t before;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ssize_t written = 0;
    while (!text.empty() && (written = ::write(stdin_.get(), text.data(), text.size())) >= 0)
        text.remove_prefix(static_cast<size_t>(written));
    const int error = errno;
    if (written < 0 && error == EPIPE) {
        const timespec no_time{};
        (void)sigtimedwait(&pipe_signal, nullptr, &no_time);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (written < 0)
        throw std::system_error(error, std::generic_category(), "write to " + name_ + "\n" + output_tail());
}

std::optional<std::string> Process::read_once(milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    for (;;) {
        const ssize_t size = ::read(output_fd_.get(), buffer_.data(), buffer_.size());
        if (size > 0) {
            std::string text(buffer_, 0, static_cast<size_t>(size));
            output_ += text;
            return text;
        }
        if (size == 0 || errno == ECONNRESET)
            return std::nullopt;
        if (errno != EAGAIN && errno != EINTR)
            throw_errno("read the output of " + name_);
        pollfd event{output_fd_.get(), POLLIN, 0};
        if (poll(&event, 1, poll_timeout(deadline)) == 0)
            return std::string();
    }
}

template <typename Find> std::string Process::read_until(Find find, const std::string &wanted, milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    for (;;) {
        if (const std::optional<size_t> end = find(std::string_view(output_).substr(consumed_))) {
            std::string text = output_.substr(consumed_, *end);
            consumed_ += *end;
            return text;
        }
        const auto got = read_once(milliseconds(poll_timeout(deadline)));
        if (!got)
            throw std::runtime_error(name_ + " ended without saying " + wanted + "\n" + output_tail());
        if (got->empty())
            throw std::runtime_error(name_ + " did not say " + wanted + " in time\n" + output_tail());
    }
}

std::string Process::wait_for(std::string_view text, milliseconds timeout) {
    const auto find = [text](std::string_view output) -> std::optional<size_t> {
        const size_t at = output.find(text);
        return at == std::string_view::npos ? std::nullopt : std::optional(at + text.size());
    };
    return read_until(find, std::string("\"").append(text).append("\""), timeout);
}

std::string Process::wait_for_match(const std::string &expression, milliseconds timeout) {
    regex_t compiled;
    if (regcomp(&compiled, expression.c_str(), REG_EXTENDED | REG_NEWLINE) != 0)
        throw std::invalid_argument("bad regular expression: " + expression);
    const std::unique_ptr<regex_t, decltype(&regfree)> owner(&compiled, regfree);
    const auto find = [&compiled](std::string_view output) -> std::optional<size_t> {
        regmatch_t match{0, static_cast<regoff_t>(output.size())};
        if (regexec(&compiled, output.data(), 1, &match, REG_STARTEND) != 0)
            return std::nullopt;
        return static_cast<size_t>(match.rm_eo);
    };
    return read_until(find, "a match of " + expression, timeout);
}

std::string Process::output_tail() const {
    constexpr size_t limit = 4000;
    return output_.size() <= limit ? output_ : "[…] " + output_.substr(output_.size() - limit);
}

int Process::wait(milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    bool open = true;
    while (running()) {
        // The output may end before the child does, and a grandchild may keep it open afterwards.
        pollfd events[2] = {{pidfd_.get(), POLLIN, 0}, {open ? output_fd_.get() : -1, POLLIN, 0}};
        if (poll(events, 2, poll_timeout(deadline)) == 0)
            throw std::runtime_error(name_ + " did not exit in time\n" + output_tail());
        if (events[1].revents != 0)
            open = read_once(milliseconds(0)).has_value();
    }
    for (auto rest = std::optional<std::string>(" "); open && rest && !rest->empty();)
        rest = read_once(milliseconds(0));
    return *status_;
}

CommandResult run_command(std::vector<std::string> argv, const ProcessOptions &options, milliseconds timeout) {
    Process process(std::move(argv), options);
    process.close_stdin();
    const int status = process.wait(timeout);
    return {status, process.output()};
}

} // namespace tapflow::test
