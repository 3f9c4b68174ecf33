// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/signals.h"
#include "tapflowctl/verbs.h"
#include "tapflowctl/watch_json.h"
#include "tapflowctl/watch_sample.h"
#include "tapflowctl/watch_screen.h"
#include "tapflowctl/watch_view.h"

#include "kernel/clock.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

namespace tapflow::ctl {
namespace {

struct WatchArguments {
    std::string port;
    double interval = 1;
    uint64_t count = 0; ///< 0: no end
    size_t rules = 10;
    bool json = false;
};

/// Samples come in even steps from the first one on; those that come too late are left out.
class Clock {
  public:
    explicit Clock(double seconds)
        : step_(static_cast<uint64_t>(seconds * 1e9)), next_(kernel::monotonic_ns() + step_) {}
    [[nodiscard]] int milliseconds_left() const {
        const uint64_t now = kernel::monotonic_ns();
        return now >= next_ ? 0 : static_cast<int>((next_ - now + 999'999) / 1'000'000);
    }
    /// Whether it is time, and if so for the next.
    bool strikes() {
        const uint64_t now = kernel::monotonic_ns();
        if (now < next_)
            return false;
        next_ += ((now - next_) / step_ + 1) * step_;
        return true;
    }

  private:
    uint64_t step_;
    uint64_t next_;
};

/// What is to be done about the signals that have come.
struct Signalled {
    bool stop = false;
    bool resize = false;
};
Signalled read_signals(int fd) {
    Signalled signalled;
    for (signalfd_siginfo signal{}; read(fd, &signal, sizeof(signal)) == sizeof(signal);)
        (signal.ssi_signo == SIGWINCH ? signalled.resize : signalled.stop) = true;
    return signalled;
}

/// Until somebody has had enough: a signal, the user, or -n.
class Watch {
  public:
    Watch(const WatchArguments &arguments, Sampler &sampler, int signals)
        : arguments_(arguments), sampler_(sampler), signals_(signals), clock_(arguments.interval),
          latest_(std::make_shared<const Sample>(sampler.take())), now_(latest_) {
        view_.interval = arguments.interval;
    }

    Result<void> print_lines() {
        while (!is_enough()) {
            pollfd ready{.fd = signals_, .events = POLLIN, .revents = 0};
            if (poll(&ready, 1, clock_.milliseconds_left()) < 0 && errno != EINTR)
                return last_error("wait for signals");
            if (read_signals(signals_).stop)
                return {};
            if (!clock_.strikes())
                continue;
            refresh();
            print_line(watch_json(*now_, activity(before_.get(), *now_), arguments_.rules));
            if (std::ferror(stdout) != 0)
                return last_error("write to standard output");
        }
        return {};
    }

    Result<void> draw_on(Screen &screen) {
        const int keys = isatty(STDIN_FILENO) == 1 ? STDIN_FILENO : -1;
        while (!is_enough()) {
            screen.draw(lines(*now_, activity(before_.get(), *now_), view_, screen.width(), screen.height()));
            std::array<pollfd, 2> ready{
                {{.fd = signals_, .events = POLLIN, .revents = 0}, {.fd = keys, .events = POLLIN, .revents = 0}}};
            if (poll(ready.data(), ready.size(), clock_.milliseconds_left()) < 0 && errno != EINTR)
                return last_error("wait for keys");
            const Signalled signalled = read_signals(signals_);
            if (signalled.resize)
                screen.resize();
            if (signalled.stop || (ready[1].revents != 0 && !obey(screen)))
                return {};
            if (clock_.strikes())
                refresh();
        }
        return {};
    }

  private:
    [[nodiscard]] bool is_enough() const { return arguments_.count != 0 && refreshed_ == arguments_.count; }

    /// Takes a sample, and shows it unless what is shown is to stay.
    void refresh() {
        auto sample = std::make_shared<const Sample>(sampler_.take());
        if (!view_.paused) {
            before_ = latest_;
            now_ = sample;
            refreshed_++;
        }
        latest_ = std::move(sample);
    }

    /// Whether to go on.
    bool obey(Screen &screen) {
        auto key = screen.key();
        if (!key)
            return false; // there was something to read, and it was the end: the terminal is gone
        for (; key; key = screen.key())
            if (!press(view_, *key))
                return false;
        return true;
    }

    const WatchArguments &arguments_;
    Sampler &sampler_;
    int signals_;
    Clock clock_;
    View view_;
    std::shared_ptr<const Sample> latest_;
    std::shared_ptr<const Sample> before_; ///< of what is shown
    std::shared_ptr<const Sample> now_;
    uint64_t refreshed_ = 0;
};

Result<void> watch_screen(Watch &watch) {
    auto screen = Screen::open();
    if (!screen)
        return screen.error();
    return watch.draw_on(*screen);
}

int watch(const WatchArguments &arguments) {
    if (!arguments.json && isatty(STDOUT_FILENO) != 1)
        return fail("watch", "standard output is no terminal", "use --json, or \"tapflowctl show\"");
    auto port = engine::find_port(arguments.port);
    if (!port)
        return fail(port.error());
    const auto signals = signals_as_fd({SIGWINCH, SIGQUIT});
    if (!signals)
        return fail(signals.error());
    Sampler sampler(*std::move(port), arguments.port);
    Watch watch(arguments, sampler, signals->get());
    const auto watched = arguments.json ? watch.print_lines() : watch_screen(watch);
    return watched ? kDone : fail(watched.error());
}

} // namespace

void add_watch(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("watch", "Watch a port at work: queues and rules, with rates");
    const auto arguments = std::make_shared<WatchArguments>();
    add_port(*verb, arguments->port)->required();
    verb->add_option("--interval", arguments->interval, "Count for so long each time")
        ->type_name("SECONDS")
        ->check(seconds_between(0.1, 3600))
        ->capture_default_str();
    verb->add_option("-n,--count", arguments->count, "Stop after so many times")
        ->type_name("N")
        ->check(CLI::PositiveNumber);
    CLI::Option *json = add_json(*verb, arguments->json);
    verb->add_option("--rules", arguments->rules, "Rules in each document, those with most packets in a second")
        ->type_name("N")
        ->capture_default_str()
        ->needs(json);
    verb->footer("Keys:\n"
                 "  q  quit            p  pause: what is shown stays\n"
                 "  s  sort queues     r  sort rules\n"
                 "  ?  show keys\n"
                 "\n"
                 "Rules are shown if they have a COUNT action. If the port goes, one is told so,\n"
                 "and the next one of its name is watched.\n"
                 "\n"
                 "Examples:\n"
                 "  tapflowctl watch tap0\n"
                 "  tapflowctl watch tap0 --interval 5\n"
                 "  tapflowctl watch tap0 --json -n 1 | jq '.rx_queues[].packets_per_second'");
    verb->callback([arguments, &run] { run.status = watch(*arguments); });
}

} // namespace tapflow::ctl
