// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/packet_argument.h"

#include "packet/words.h"
#include "tapflowctl/capture.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

namespace tapflow::ctl {
namespace {

/// "FILE" or "FILE:NUMBER", if there is such a file.
struct FileArgument {
    std::string path;
    std::optional<uint64_t> number;
};

std::optional<FileArgument> as_file(const std::string &text) {
    std::error_code error;
    if (text == "-" || std::filesystem::exists(text, error))
        return FileArgument{text, std::nullopt};
    const size_t colon = text.rfind(':');
    if (colon == std::string::npos)
        return std::nullopt;
    uint64_t number = 0;
    const char *end = text.data() + text.size();
    const auto [read, trouble] = std::from_chars(text.data() + colon + 1, end, number);
    const std::string path = text.substr(0, colon);
    if (trouble != std::errc() || read != end || !(path == "-" || std::filesystem::exists(path, error)))
        return std::nullopt;
    return FileArgument{path, number};
}

bool is_hex(const std::string &text) {
    constexpr std::string_view kHex = "0123456789abcdefABCDEF:- \t\n";
    return text.size() >= 28 && text.find_first_not_of(kHex) == std::string::npos;
}

constexpr std::ptrdiff_t kEthernetBytes = 14;

bool holds_ip(const packet::Bytes &frame) {
    const unsigned type = static_cast<unsigned>(frame[12]) << 8U | frame[13];
    return type == 0x0800 || type == 0x86dd;
}

bool looks_like_a_path(const std::string &text) {
    return text.find('/') != std::string::npos || text.find(".pcap") != std::string::npos;
}

packet::Mac own_address(const engine::InspectedPort &port) {
    MacAddress mac;
    for (size_t i = 0; i < mac.bytes.size(); i++)
        mac.bytes[i] = static_cast<uint8_t>(port.state().config.mac >> (8 * i));
    return mac;
}

} // namespace

std::string packet_help() {
    return std::string("PACKET is one of: words, ") + packet::kWordsHelp +
           " Or hexadecimal bytes, from the destination MAC address on. Or FILE:NUMBER, a packet of a pcap or pcapng "
           "file, counted from 1; FILE alone means all of its packets; - is stdin.";
}

Result<void> for_each_in_capture(const std::string &path, bool of_tun, const UsePacket &each) {
    auto capture = Capture::open(path, of_tun);
    if (!capture)
        return capture.error();
    for (;;) {
        auto packet = capture->next();
        if (!packet)
            return packet.error();
        if (!*packet && capture->number() == 0)
            return Error{EINVAL, "read capture " + path, "it has no packets"};
        if (!*packet || !each({(*packet)->bytes, (*packet)->length, capture->number(), true}))
            return {};
    }
}

Result<void> for_each_packet(const std::vector<std::string> &words, const engine::InspectedPort &port,
                             const UsePacket &each) {
    const bool of_tun = port.identity().layer == kernel::Layer::Ip;
    std::string text;
    for (const std::string &word : words)
        text += (text.empty() ? "" : " ") + word;
    if (const auto file = words.size() == 1 ? as_file(text) : std::nullopt) {
        if (!file->number)
            return for_each_in_capture(file->path, of_tun, each);
        bool found = false;
        auto read = for_each_in_capture(file->path, of_tun, [&](const GivenPacket &packet) {
            if (packet.number != *file->number)
                return true;
            found = true;
            each({packet.bytes, packet.length, packet.number, false});
            return false;
        });
        return read && !found ? Error{EINVAL, "read packet " + text, "the file has no packet of that number"} : read;
    }
    if (words.size() == 1 && looks_like_a_path(text))
        return Error{ENOENT, "read packet " + text, "there is no such file"};
    auto frame = is_hex(text) ? packet::parse_hex(text) : packet::parse_words(text, own_address(port));
    if (!frame)
        return frame.error();
    if (of_tun && !is_hex(text)) {
        if (!holds_ip(*frame))
            return Error{EINVAL, "read packet", "a tun device has IP packets alone, without VLAN tags"};
        frame->erase(frame->begin(), frame->begin() + kEthernetBytes);
    }
    each({*frame, frame->size(), 0, false});
    return {};
}

} // namespace tapflow::ctl
