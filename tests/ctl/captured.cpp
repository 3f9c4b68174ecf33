// SPDX-License-Identifier: BSD-3-Clause
#include "ctl/captured.h"

#include <gtest/gtest.h>
#include <pcap/pcap.h>

#include <array>
#include <memory>
#include <stdexcept>

namespace tapflow::test {

std::vector<Captured> read_by_libpcap(const std::string &path) {
    std::array<char, PCAP_ERRBUF_SIZE> error{};
    const std::unique_ptr<pcap_t, decltype(&pcap_close)> file(
        pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, error.data()), &pcap_close);
    if (!file)
        throw std::runtime_error(error.data());
    EXPECT_EQ(pcap_datalink(file.get()), DLT_EN10MB);
    std::vector<Captured> all;
    pcap_pkthdr *header = nullptr;
    const u_char *data = nullptr;
    int got = 0;
    while ((got = pcap_next_ex(file.get(), &header, &data)) == 1)
        all.push_back(
            {static_cast<uint64_t>(header->ts.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(header->ts.tv_usec),
             header->len,
             {data, data + header->caplen}});
    EXPECT_EQ(got, PCAP_ERROR_BREAK) << pcap_geterr(file.get());
    return all;
}

} // namespace tapflow::test
