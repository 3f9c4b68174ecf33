// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/pcapng.h"

#include <algorithm>
#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace tapflow::ctl {
namespace {

// Sections 4.1 to 4.3 of the draft.
enum BlockType : uint32_t { kSectionHeader = 0x0a0d0d0a, kInterface = 1, kEnhancedPacket = 6 };
enum OptionCode : uint16_t {
    kEnd = 0,
    kComment = 1,
    kInterfaceName = 2,
    kSectionApplication = 4,
    kInterfaceResolution = 9,
};
constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr uint16_t kEthernet = 1; // LINKTYPE_ETHERNET
constexpr size_t kOptionMax = 65535;

template <typename Value> void put(std::string &body, Value value) {
    body.append(reinterpret_cast<const char *>(&value), sizeof(value));
}

void put_padded(std::string &body, std::string_view data) {
    body.append(data);
    body.append((4 - data.size() % 4) % 4, '\0');
}

void put_option(std::string &body, OptionCode code, std::string_view value) {
    value = value.substr(0, kOptionMax);
    put(body, static_cast<uint16_t>(code));
    put(body, static_cast<uint16_t>(value.size()));
    put_padded(body, value);
}

} // namespace

Result<PcapngWriter> PcapngWriter::create(const std::string &path, std::string_view application) {
    // Standard output stays open for who comes after us.
    const int fd = path == "-" ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                               : open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return last_error("write capture file " + path);
    std::FILE *file = fdopen(fd, "wb");
    if (file == nullptr) {
        close(fd);
        return last_error("write capture file " + path);
    }
    PcapngWriter writer(file, path);
    std::string body;
    put(body, kByteOrderMagic);
    put(body, uint16_t{1}); // version 1.0
    put(body, uint16_t{0});
    put(body, ~uint64_t{0}); // length of the section: not known
    put_option(body, kSectionApplication, application);
    put_option(body, kEnd, {});
    if (auto written = writer.write(kSectionHeader, std::move(body)); !written)
        return written.error();
    return writer;
}

Result<void> PcapngWriter::write(uint32_t type, std::string body) {
    const auto length = static_cast<uint32_t>(body.size() + 3 * sizeof(uint32_t));
    std::string block;
    block.reserve(length);
    put(block, type);
    put(block, length);
    block += body;
    put(block, length);
    if (std::fwrite(block.data(), 1, block.size(), file_.get()) != block.size())
        return last_error("write capture file " + path_);
    return {};
}

Result<uint32_t> PcapngWriter::add_interface(std::string_view name, uint32_t snaplen) {
    std::string body;
    put(body, kEthernet);
    put(body, uint16_t{0});
    put(body, snaplen);
    put_option(body, kInterfaceName, name);
    put_option(body, kInterfaceResolution, "\x09"); // 10^-9 s
    put_option(body, kEnd, {});
    if (auto written = write(kInterface, std::move(body)); !written)
        return written.error();
    return interfaces_++;
}

Result<void> PcapngWriter::add(const Packet &packet) {
    std::string body;
    put(body, packet.interface);
    put(body, static_cast<uint32_t>(packet.time_ns >> 32U));
    put(body, static_cast<uint32_t>(packet.time_ns));
    put(body, static_cast<uint32_t>(packet.frame.size()));
    put(body, std::max(packet.length, static_cast<uint32_t>(packet.frame.size())));
    put_padded(body, {reinterpret_cast<const char *>(packet.frame.data()), packet.frame.size()});
    put_option(body, kComment, packet.comment);
    put_option(body, kEnd, {});
    return write(kEnhancedPacket, std::move(body));
}

Result<void> PcapngWriter::flush() {
    if (std::fflush(file_.get()) != 0)
        return last_error("write capture file " + path_);
    return {};
}

} // namespace tapflow::ctl
