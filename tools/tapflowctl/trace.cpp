// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/pcapng.h"
#include "tapflowctl/signals.h"
#include "tapflowctl/trace_event.h"
#include "tapflowctl/trace_filter.h"
#include "tapflowctl/verbs.h"

#include "engine/trace.h"
#include "kernel/clock.h"
#include "packet/parse.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tapflow::ctl {
namespace {

struct TraceArguments {
    std::string port;
    std::vector<std::string> filter;
    uint64_t count = 0; ///< 0: no end
    uint32_t one_in = 1;
    uint32_t rate = 0;
    uint32_t snaplen = TAPFLOW_TRACE_SNAPLEN_MAX;
    std::string file;
    bool json = false;
};

// Events are shown as late as this at most: a reader that is woken for each of them would cost the port more than they.
constexpr int kReadInterval = 100;                    // ms
constexpr uint64_t kAttachedInterval = 1'000'000'000; // ns

uint64_t realtime_offset() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec) -
           kernel::monotonic_ns();
}

/// Where events go: lines, JSON, a capture file.
class Sink {
  public:
    static Result<Sink> create(const TraceArguments &arguments, const engine::InspectedPort &port) {
        Sink sink(arguments, port);
        if (arguments.file.empty())
            return sink;
        auto writer = PcapngWriter::create(arguments.file, "tapflowctl " TAPFLOW_VERSION);
        if (!writer)
            return writer.error();
        sink.writer_ = *std::move(writer);
        // In the order of enum tapflow_trace_place.
        std::vector<std::string> names{port.name()};
        if (port.identity().is_remote)
            names.push_back(port.identity().remote);
        for (const std::string &name : names)
            if (auto added = sink.writer_->add_interface(name, arguments.snaplen); !added)
                return added.error();
        return sink;
    }

    Result<void> add(const tapflow_trace_event &event, std::span<const uint8_t> frame) {
        const TracedPacket traced = traced_packet(event, frame, realtime_offset_, is_tun_);
        if (json_)
            print(event_json(traced).dump(-1, ' ', false, Json::error_handler_t::replace) + '\n');
        else if (!writer_)
            print(line_text(traced) + '\n');
        if (!writer_)
            return {};
        const size_t captured = std::min<size_t>(traced.frame.size(), snaplen_);
        return writer_->add({.interface = event.place,
                             .time_ns = traced.time_ns,
                             .length = traced.length,
                             .frame = {traced.frame.data(), captured},
                             .comment = verdict_text(event)});
    }

    Result<void> flush() {
        if (std::fflush(stdout) != 0)
            return last_error("write to standard output");
        return writer_ ? writer_->flush() : Result<void>();
    }

  private:
    Sink(const TraceArguments &arguments, const engine::InspectedPort &port)
        : json_(arguments.json), is_tun_(port.identity().layer == kernel::Layer::Ip), snaplen_(arguments.snaplen) {}

    bool json_;
    bool is_tun_;
    uint32_t snaplen_;
    uint64_t realtime_offset_ = realtime_offset();
    std::optional<PcapngWriter> writer_;
};

struct Event {
    tapflow_trace_event event{};
    std::vector<uint8_t> frame;
};

/// A trace from its first event to its last.
class Trace {
  public:
    Trace(const engine::InspectedPort &port, kernel::TracePrograms &programs, Sink &sink, uint64_t count)
        : port_(port), programs_(programs), sink_(sink), count_(count) {}

    /// Until there have been enough events, a signal comes, or the port is gone. Returns whether it is.
    Result<bool> run(int signals) {
        uint64_t looked = kernel::monotonic_ns();
        for (;;) {
            std::array<pollfd, 2> ready{{{.fd = programs_.fd(), .events = POLLIN, .revents = 0},
                                         {.fd = signals, .events = POLLIN, .revents = 0}}};
            if (poll(ready.data(), ready.size(), kReadInterval) < 0 && errno != EINTR)
                return last_error("wait for events");
            const bool stopped = ready[1].revents != 0;
            const uint64_t now = kernel::monotonic_ns();
            bool gone = false;
            if (now - looked >= kAttachedInterval) {
                looked = now;
                gone = !engine::is_attached(port_);
            }
            if (auto taken = take(); !taken)
                return taken.error();
            if (stopped || gone || (count_ != 0 && shown_ == count_))
                return gone;
        }
    }
    [[nodiscard]] uint64_t shown() const { return shown_; }

  private:
    /// Each CPU has a ring of its own: what has come meanwhile is put into order.
    Result<void> take() {
        std::vector<Event> events;
        auto read = programs_.read([&](const tapflow_trace_event &event, std::span<const uint8_t> frame) {
            events.push_back({event, {frame.begin(), frame.end()}});
        });
        if (!read)
            return read;
        std::stable_sort(events.begin(), events.end(),
                         [](const Event &a, const Event &b) { return a.event.time_ns < b.event.time_ns; });
        for (const Event &each : events) {
            if (count_ != 0 && shown_ == count_)
                break;
            if (auto added = sink_.add(each.event, each.frame); !added)
                return added;
            shown_++;
        }
        return events.empty() ? Result<void>() : sink_.flush();
    }

    const engine::InspectedPort &port_;
    kernel::TracePrograms &programs_;
    Sink &sink_;
    uint64_t count_;
    uint64_t shown_ = 0;
};

void say(const std::string &text) { std::fputs(("tapflowctl: " + text + '\n').c_str(), stderr); }

std::string summary(uint64_t shown, const tapflow_trace_counts &counts) {
    return plural(counts.matched, "packet") + " matched, " + std::to_string(shown) + " told of, " +
           std::to_string(counts.lost) + " lost";
}

int trace(const TraceArguments &arguments) {
    if (arguments.json && arguments.file == "-")
        return fail("trace", "--json and -w - both want standard output", "write the capture into a file");
    const auto filter = parse_trace_filter(arguments.filter);
    if (!filter)
        return fail(filter.error().what, filter.error().detail, "see \"tapflowctl trace --help\"");
    const auto port = engine::find_port(arguments.port);
    if (!port)
        return fail(port.error());
    const auto signals = signals_as_fd();
    if (!signals)
        return fail(signals.error());
    engine::TraceOptions options;
    options.options.filter = *filter;
    options.options.one_in = arguments.one_in;
    options.options.rate = arguments.rate;
    // Lines need no more of a frame than its headers.
    options.options.snaplen =
        arguments.file.empty() ? TAPFLOW_PARSE_BYTES : std::max<uint32_t>(arguments.snaplen, TAPFLOW_PARSE_BYTES);
    auto programs = engine::trace(*port, options);
    if (!programs)
        return fail(programs.error());
    auto sink = Sink::create(arguments, *port);
    if (!sink)
        return fail(sink.error());
    if (!arguments.json) {
        const bool in_front = (*programs)->method() == kernel::TraceMethod::Front;
        say("tracing " + port->name() +
            (in_front ? ", decisions made again in front of it: this kernel runs nothing behind it" : ""));
    }
    Trace traced(*port, **programs, *sink, arguments.count);
    const auto gone = traced.run(signals->get());
    if (!gone)
        return fail(gone.error());
    if (auto flushed = sink->flush(); !flushed)
        return fail(flushed.error());
    const tapflow_trace_counts counts = (*programs)->counts();
    if (!arguments.json)
        say((*gone ? port->name() + " is gone; " : "") + summary(traced.shown(), counts));
    return *gone ? kFound : kDone;
}

} // namespace

void add_trace(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("trace", "Show a port's decisions as they happen");
    const auto arguments = std::make_shared<TraceArguments>();
    add_port(*verb, arguments->port)->required();
    verb->add_option("FILTER", arguments->filter, "Only of packets that agree with all of these words");
    verb->add_option("-c,--count", arguments->count, "Stop after so many packets")
        ->type_name("N")
        ->check(CLI::PositiveNumber);
    verb->add_option("--sample", arguments->one_in, "Tell of one in N packets, picked at random")
        ->type_name("N")
        ->check(CLI::PositiveNumber);
    verb->add_option("--rate", arguments->rate, "Tell of N packets in a second at most")
        ->type_name("N")
        ->check(CLI::PositiveNumber);
    verb->add_option("-w,--write", arguments->file,
                     "Write the packets into a pcapng file, with the decision as comment (-: standard output)")
        ->type_name("FILE");
    verb->add_option("--snaplen", arguments->snaplen, "Bytes of each packet in the file")
        ->type_name("N")
        ->check(CLI::Range(uint32_t{1}, uint32_t{TAPFLOW_TRACE_SNAPLEN_MAX}))
        ->capture_default_str();
    add_json(*verb, arguments->json);
    verb->footer(std::string(kTraceFilterHelp) +
                 "\n"
                 "\n"
                 "The port is not changed and costs nothing more while nobody traces. What a\n"
                 "tracer that is too slow has lost is counted. It ends with Ctrl-C, with the\n"
                 "count, or with the port (then its status is 1).\n"
                 "\n"
                 "Examples:\n"
                 "  tapflowctl trace tap0 udp dport 53\n"
                 "  tapflowctl trace tap0 dropped -c 10\n"
                 "  tapflowctl trace tap0 rule 7 -w rule7.pcapng\n"
                 "  tapflowctl trace tap0 --sample 1000 --json\n"
                 "  tapflowctl trace tap0 -w - | wireshark -k -i -");
    verb->callback([arguments, &run] { run.status = trace(*arguments); });
}

} // namespace tapflow::ctl
