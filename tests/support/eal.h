// SPDX-License-Identifier: BSD-3-Clause
// What every program on DPDK's EAL is started with.
#pragma once

#include <filesystem>
#include <string>

namespace tapflow::test {

/// A new directory for a program's sockets and files (RUNTIME_DIRECTORY), removed with what is in it.
class RuntimeDirectory {
  public:
    RuntimeDirectory();
    RuntimeDirectory(const RuntimeDirectory &) = delete;
    RuntimeDirectory &operator=(const RuntimeDirectory &) = delete;
    ~RuntimeDirectory();

    [[nodiscard]] const std::filesystem::path &path() const { return path_; }
    /// --file-prefix: like the directory's, no other program has the name.
    [[nodiscard]] std::string file_prefix() const { return path_.filename().string(); }
    /// "RUNTIME_DIRECTORY=…"
    [[nodiscard]] std::string environment() const { return "RUNTIME_DIRECTORY=" + path_.string(); }
    /// Where telemetry listens.
    [[nodiscard]] std::filesystem::path telemetry_socket() const {
        return path_ / "dpdk" / file_prefix() / "dpdk_telemetry.v2";
    }

  private:
    std::filesystem::path path_;
};

/// --lcores: so many, floating over all CPUs we may use, so that tests can run side by side.
std::string floating_lcores(unsigned count);

} // namespace tapflow::test
