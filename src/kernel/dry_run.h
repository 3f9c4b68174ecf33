// SPDX-License-Identifier: BSD-3-Clause
// The classifier's decision about a frame that nobody has sent (bpf/explain.bpf.c), over the maps of a port.
#pragma once

#include "kernel/programs.h"
#include "tapflow/result.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace tapflow::kernel {

/// Owns programs of its own, which are attached nowhere and go with it.
class DryRun {
  public:
    /// `map`: descriptors of the port's maps by name; -1 for none, and the dry run has an empty one.
    /// Errors: what the verifier or libbpf said, in the details.
    static Result<DryRun> load(Delivery delivery, const std::function<int(const std::string &)> &map);
    ~DryRun();
    DryRun(DryRun &&) noexcept;
    DryRun &operator=(DryRun &&) noexcept;
    DryRun(const DryRun &) = delete;
    DryRun &operator=(const DryRun &) = delete;

    /// What of a frame, from its destination address on, the words of enum tapflow_decision_word say. `at_remote`:
    /// as if it had come in there, else as if the kernel had sent it through the tap.
    /// Errors: EINVAL for a frame that the kernel does not take (too short, too long).
    Result<std::array<uint32_t, 5>> run(std::span<const uint8_t> frame, bool at_remote) const;

  private:
    struct Object;
    explicit DryRun(std::unique_ptr<Object> object);
    std::unique_ptr<Object> object_;
};

} // namespace tapflow::kernel
