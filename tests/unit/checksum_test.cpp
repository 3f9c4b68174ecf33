// SPDX-License-Identifier: BSD-3-Clause
#include "packet/checksum.h"

#include "packet/build.h"
#include "support/seed.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <numeric>

namespace tapflow::packet {
namespace {

/// RFC 1071 word for word: big-endian 16-bit words, an odd last byte padded with zero, carries folded at once.
uint16_t naive_sum(const Bytes &bytes) {
    uint32_t sum = 0;
    for (size_t i = 0; i < bytes.size(); i += 2) {
        sum += static_cast<uint32_t>(bytes[i] << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<uint16_t>(sum);
}

/// As a number in host order.
uint16_t sum_of(const Bytes &bytes) { return ntohs(checksum_fold(checksum_add(0, bytes.data(), bytes.size()))); }

TEST(Checksum, MatchesTheExampleOfRfc1071) {
    EXPECT_EQ(sum_of({0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}), 0xddf2);
}

TEST(Checksum, MatchesTheWellKnownIpv4Header) {
    Bytes header{0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                 0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
    EXPECT_EQ(static_cast<uint16_t>(~sum_of(header)), 0xb861);
    header[10] = 0xb8;
    header[11] = 0x61;
    EXPECT_EQ(sum_of(header), 0xffff) << "a right checksum sums to all ones";
}

TEST(Checksum, AnOddLastByteIsTheHighHalfOfItsWord) {
    EXPECT_EQ(sum_of({0x12}), 0x1200);
    EXPECT_EQ(sum_of({0x01, 0x02, 0x03}), 0x0402);
    EXPECT_EQ(sum_of({0x01, 0x02, 0x03, 0x04, 0x05}), 0x0906);
    EXPECT_EQ(sum_of({}), 0);
}

TEST(Checksum, EveryLengthAndAlignmentMatchesTheNaiveSum) {
    auto random = test::seeded_random();
    for (size_t length = 0; length < 600; length++) {
        Bytes buffer(length + 7);
        for (uint8_t &byte : buffer)
            byte = static_cast<uint8_t>(random());
        const size_t offset = random() % 7;
        const Bytes piece(buffer.begin() + static_cast<ptrdiff_t>(offset),
                          buffer.begin() + static_cast<ptrdiff_t>(offset + length));
        ASSERT_EQ(ntohs(checksum_fold(checksum_add(0, buffer.data() + offset, length))), naive_sum(piece)) << length;
    }
}

TEST(Checksum, CarriesOfA64KilobyteFrameOfOnesAreKept) {
    for (const size_t length : {65534U, 65535U, 65550U}) {
        const Bytes ones(length, 0xff);
        EXPECT_EQ(sum_of(ones), naive_sum(ones)) << length;
    }
}

TEST(Checksum, PiecesOfEvenLengthAddUp) {
    Bytes bytes(101);
    std::iota(bytes.begin(), bytes.end(), uint8_t{77});
    for (size_t split = 0; split <= bytes.size(); split += 2) {
        const uint64_t head = checksum_add(0, bytes.data(), split);
        EXPECT_EQ(ntohs(checksum_fold(checksum_add(head, bytes.data() + split, bytes.size() - split))),
                  naive_sum(bytes))
            << split;
    }
}

TEST(Checksum, FoldsTheLargestSum) {
    EXPECT_EQ(checksum_fold(~uint64_t{0}), 0xffff);
    EXPECT_EQ(checksum_fold(0x1'0000'0000), 1);
    EXPECT_EQ(checksum_fold(0xffff'ffff'0001), 1);
}

TEST(Checksum, PseudoHeaderOfIpv4) {
    const Bytes frame = Packet().ether().ipv4("10.1.2.3", "172.16.5.6").tcp(1, 2).payload(100).bytes();
    const Bytes pseudo{10, 1, 2, 3, 172, 16, 5, 6, 0, 6, 0, 120};
    EXPECT_EQ(ntohs(checksum_fold(checksum_pseudo_header(frame.data() + 14, false, 6, 120))), naive_sum(pseudo));
}

TEST(Checksum, PseudoHeaderOfIpv6HoldsA32BitLength) {
    const Bytes frame = Packet().ether().ipv6("2001:db8::1", "fe80::2").udp(1, 2).bytes();
    Bytes pseudo(frame.begin() + 14 + 8, frame.begin() + 14 + 40);
    const Bytes length_and_protocol{0x00, 0x01, 0x23, 0x45, 0, 0, 0, 17};
    pseudo.insert(pseudo.end(), length_and_protocol.begin(), length_and_protocol.end());
    EXPECT_EQ(ntohs(checksum_fold(checksum_pseudo_header(frame.data() + 14, true, 17, 0x12345))), naive_sum(pseudo));
}

} // namespace
} // namespace tapflow::packet
