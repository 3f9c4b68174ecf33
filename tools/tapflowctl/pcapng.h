// SPDX-License-Identifier: BSD-3-Clause
// Capture files whose packets have comments: pcapng (draft-ietf-opsawg-pcapng), which libpcap reads and does not write.
#pragma once

#include "tapflow/result.h"

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace tapflow::ctl {

/// A file of one section, in this machine's byte order. Not thread safe.
class PcapngWriter {
  public:
    /// `path` "-": standard output. What is in the file already is lost. Errors: the file's.
    static Result<PcapngWriter> create(const std::string &path, std::string_view application);

    /// An interface of Ethernet frames. Returns its number, from 0 on.
    Result<uint32_t> add_interface(std::string_view name, uint32_t snaplen);

    struct Packet {
        uint32_t interface = 0;
        uint64_t time_ns = 0; ///< since 1970
        uint32_t length = 0;  ///< on the wire
        std::span<const uint8_t> frame;
        std::string_view comment;
    };
    Result<void> add(const Packet &packet);
    Result<void> flush();

  private:
    struct Close {
        void operator()(std::FILE *file) const { (void)std::fclose(file); }
    };
    PcapngWriter(std::FILE *file, std::string path) : path_(std::move(path)), file_(file) {}
    Result<void> write(uint32_t type, std::string body);

    std::string path_;
    std::unique_ptr<std::FILE, Close> file_;
    uint32_t interfaces_ = 0;
};

} // namespace tapflow::ctl
