// SPDX-License-Identifier: BSD-3-Clause
// Files for the program to read.
#pragma once

#include "packet/build.h"
#include "support/system.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace tapflow::test {

/// A directory that goes with the test, and that everybody can read.
class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string name = testing::TempDir() + "tapflow-ctl-XXXXXX";
        if (mkdtemp(name.data()) == nullptr)
            throw_errno("mkdtemp");
        path_ = name;
        if (chmod(path_.c_str(), 0755) != 0)
            throw_errno("chmod");
    }
    ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
    TemporaryDirectory(const TemporaryDirectory &) = delete;
    TemporaryDirectory &operator=(const TemporaryDirectory &) = delete;

    [[nodiscard]] std::string file(const std::string &name) const { return path_ / name; }
    /// The path of a file that holds this.
    [[nodiscard]] std::string holding(const std::string &name, const std::string &contents) const {
        std::ofstream(file(name), std::ios::binary) << contents;
        return file(name);
    }

  private:
    std::filesystem::path path_;
};

template <typename Number> void append_bytes(std::string &text, Number number) {
    text.append(reinterpret_cast<const char *>(&number), sizeof(number));
}

/// pcap's own format, in the machine's byte order. `link_type` 1 is Ethernet, 101 raw IP. `cut`: bytes that the capture
/// has left off each packet's end.
inline std::string pcap_of(const std::vector<packet::Bytes> &frames, uint32_t link_type = 1, size_t cut = 0) {
    std::string text;
    append_bytes(text, uint32_t{0xa1b2c3d4});
    append_bytes(text, uint16_t{2}); // version 2.4
    append_bytes(text, uint16_t{4});
    append_bytes(text, uint64_t{0}); // time zone and accuracy
    append_bytes(text, uint32_t{262144});
    append_bytes(text, link_type);
    for (const packet::Bytes &frame : frames) {
        const size_t captured = frame.size() - cut;
        append_bytes(text, uint64_t{0}); // time
        append_bytes(text, static_cast<uint32_t>(captured));
        append_bytes(text, static_cast<uint32_t>(frame.size()));
        text.append(reinterpret_cast<const char *>(frame.data()), captured);
    }
    return text;
}

} // namespace tapflow::test
