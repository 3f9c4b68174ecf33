// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/capture.h"

#include "tapflow/abi/record.h"

#include <pcap/pcap.h>

#include <array>
#include <cerrno>
#include <cstdio>

namespace tapflow::ctl {

void Capture::Close::operator()(pcap *capture) const { pcap_close(capture); }
Capture::Capture(Capture &&) noexcept = default;
Capture &Capture::operator=(Capture &&) noexcept = default;
Capture::~Capture() = default;

Result<Capture> Capture::open(const std::string &path, bool of_tun) {
    Capture capture(path);
    std::array<char, PCAP_ERRBUF_SIZE> trouble{};
    FILE *file = path == "-" ? fdopen(dup(STDIN_FILENO), "rb") : std::fopen(path.c_str(), "rbe");
    if (!file)
        return last_error("read capture " + path);
    capture.pcap_.reset(pcap_fopen_offline(file, trouble.data()));
    if (!capture.pcap_) {
        (void)std::fclose(file);
        return Error{EINVAL, "read capture " + path, trouble.data()};
    }
    const int link = pcap_datalink(capture.pcap_.get());
    const bool raw = link == DLT_RAW || link == DLT_IPV4 || link == DLT_IPV6;
    if (of_tun ? !raw : link != DLT_EN10MB) {
        const char *name = pcap_datalink_val_to_name(link);
        return Error{EINVAL, "read capture " + path,
                     std::string("its packets are of link type ") + (name ? name : std::to_string(link).c_str()) +
                         (of_tun ? ", those of a tun device would be raw IP" : ", not Ethernet")};
    }
    return capture;
}

Result<std::optional<Capture::Packet>> Capture::next() {
    pcap_pkthdr *header = nullptr;
    const u_char *data = nullptr;
    const int result = pcap_next_ex(pcap_.get(), &header, &data);
    if (result == PCAP_ERROR_BREAK)
        return std::optional<Packet>();
    if (result != 1)
        return Error{EINVAL, "read capture " + path_ + ", packet " + std::to_string(number_ + 1),
                     pcap_geterr(pcap_.get())};
    number_++;
    if (header->caplen > TAPFLOW_FRAME_MAX)
        return Error{EINVAL, "read capture " + path_ + ", packet " + std::to_string(number_),
                     "it is longer than any frame: " + std::to_string(header->caplen) + " bytes"};
    return std::optional<Packet>(Packet{{data, header->caplen}, header->len});
}

} // namespace tapflow::ctl
