// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "support/system.h"

#include <filesystem>

namespace tapflow::test {

/// Hugepages of 2 MiB and a file system to have them from, for EAL with more than one process. Given back at the end;
/// one holder at a time on a machine.
class Hugepages {
  public:
    /// std::runtime_error if the machine has not so many.
    explicit Hugepages(unsigned pages);
    ~Hugepages();
    Hugepages(const Hugepages &) = delete;
    Hugepages &operator=(const Hugepages &) = delete;

    [[nodiscard]] const std::filesystem::path &directory() const { return directory_; }

  private:
    Fd lock_;
    unsigned before_ = 0;
    std::filesystem::path directory_;
};

} // namespace tapflow::test
