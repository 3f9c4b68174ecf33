// SPDX-License-Identifier: BSD-3-Clause
// A tracer of a port's decisions: programs of its own that the kernel runs behind the port's classifier, or, where it
// refuses that, in front of it; and the ring by which they tell. Everything goes with the object, and with its process.
#pragma once

#include "kernel/programs.h"
#include "kernel/tc.h"
#include "tapflow/abi/trace.h"
#include "tapflow/result.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tapflow::kernel {

/// How a tracer comes to know of decisions.
enum class TraceMethod : uint8_t {
    Exit,  ///< it sees what the classifier returns (BPF_TRACE_FEXIT, bpf/trace.bpf.c)
    Front, ///< it decides the same in front of it (TCX, bpf/trace_front.bpf.c)
};

/// A program of a port's classifier where it is attached.
struct TracedProgram {
    int program = -1;   ///< its descriptor, for as long as attach() runs
    std::string name{}; ///< as the kernel has it, cut to 15 characters
    bool at_remote = false;
    int ifindex = 0; ///< in the caller's network namespace; 0: elsewhere, where only TraceMethod::Exit reaches
};

struct TraceSetup {
    std::vector<TracedProgram> programs{};
    std::function<int(const std::string &)> map{}; ///< descriptors of the port's maps by name; -1: none
    Delivery delivery = Delivery::Ring;
    RuleSearch search = RuleSearch::Tables;
    Layer layer = Layer::Ethernet;
    tapflow_trace_options options{};
    size_t ring_bytes = size_t{1} << 20U; ///< for each CPU; a power of two and of pages
    std::optional<TraceMethod> method{};  ///< none: Exit, or Front if the kernel refuses that
};

class TracePrograms {
  public:
    using Handler = std::function<void(const tapflow_trace_event &event, std::span<const uint8_t> frame)>;

    /// Events come from here on. Errors: what the verifier or libbpf said, in the details; ENODEV if no program can be
    /// reached; ENOTSUP for Front on a port whose packets have no Ethernet header.
    static Result<std::unique_ptr<TracePrograms>> attach(const TraceSetup &setup);
    ~TracePrograms();
    TracePrograms(const TracePrograms &) = delete;
    TracePrograms &operator=(const TracePrograms &) = delete;

    [[nodiscard]] TraceMethod method() const;
    /// Why the method is Front although nobody has asked for it; else empty.
    [[nodiscard]] const std::string &why_front() const;
    /// Becomes readable for poll(2) when a CPU's ring is a quarter full: who wants events sooner reads in between.
    [[nodiscard]] int fd() const;
    /// Hands over what has come. Events of one CPU are in their order.
    Result<void> read(const Handler &handler);
    [[nodiscard]] tapflow_trace_counts counts() const;

  private:
    struct Objects;
    explicit TracePrograms(std::unique_ptr<Objects> objects);
    std::unique_ptr<Objects> objects_;
};

} // namespace tapflow::kernel
