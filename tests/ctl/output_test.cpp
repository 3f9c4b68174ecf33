// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/output.h"
#include "tapflowctl/port_text.h"

#include <gtest/gtest.h>

namespace tapflow::ctl {
namespace {

TEST(CtlOutput, NumbersHaveUnitsAndFewDigits) {
    EXPECT_EQ(bytes_text(0), "0 B");
    EXPECT_EQ(bytes_text(1023), "1023 B");
    EXPECT_EQ(bytes_text(1536), "1.5 KiB");
    EXPECT_EQ(bytes_text(1U << 20U), "1 MiB");
    EXPECT_EQ(bytes_text(UINT64_MAX), "16 EiB");
    EXPECT_EQ(rate_text(0, "pps"), "0 pps");
    EXPECT_EQ(rate_text(999.4, ""), "999");
    EXPECT_EQ(rate_text(999.6, ""), "1.00 k");
    EXPECT_EQ(rate_text(12'345, "pps"), "12.3 kpps");
    EXPECT_EQ(rate_text(99'960, ""), "100 k");
    EXPECT_EQ(rate_text(1e9, "bit/s"), "1.00 Gbit/s");
    EXPECT_EQ(duration_text(1'500'000'000), "1.5 s");
    EXPECT_EQ(duration_text(59'000'000'000), "59 s");
    EXPECT_EQ(duration_text(7'500'000'000'000), "2 h 5 min");
    EXPECT_EQ(duration_text(273'600'000'000'000), "3 d 4 h");
}

TEST(CtlOutput, ColumnsAreAligned) {
    Table table({{"NAME"}, {"N", Table::Align::Right}, {"TEXT"}});
    table.add({"a", "10", "x"});
    table.add({"d\u00e9f", "9", ""});
    EXPECT_EQ(table.text(), "NAME   N  TEXT\n"
                            "a     10  x\n"
                            "d\u00e9f    9\n");
}

TEST(CtlOutput, TextIsBrokenBetweenWords) {
    EXPECT_EQ(wrap("one two three", 2, 9), "one two\n  three");
    EXPECT_EQ(wrap("averylongword x", 2, 9), "averylongword\n  x");
    EXPECT_EQ(wrap("", 2, 9), "");
}

TEST(CtlOutput, NamesOfOthersDoNotReachTheTerminalAsControlCharacters) {
    EXPECT_EQ(printable("tap0"), "tap0");
    EXPECT_EQ(printable("a\x1b[2J\x07\x7fz"), "a?[2J??z");
    EXPECT_EQ(printable("two\nlines"), "two lines");
    EXPECT_EQ(printable("\u00e4\u20ac\U0001f600"), "\u00e4\u20ac\U0001f600");
    EXPECT_EQ(printable("\xc2\x9b"), "??") << "CSI in one character";
    EXPECT_EQ(printable("\xff\xc0\x80\xed\xa0\x80\xe2\x82"), "????????");
}

TEST(CtlOutput, DocumentsHaveOneLineForWhatIsShort) {
    const Json json{{"verb", "x"},
                    {"none", Json::array()},
                    {"nothing", nullptr},
                    {"reta", std::vector<int>(40, 1)},
                    {"rules", {{{"item", "ipv4"}, {"is", "10.0.0.1"}}, {{"text", std::string(70, 'x')}, {"n", 1}}}}};
    const std::string text = document_text(json);
    EXPECT_EQ(Json::parse(text), json);
    EXPECT_EQ(text, "{\n"
                    "  \"verb\": \"x\",\n"
                    "  \"none\": [],\n"
                    "  \"nothing\": null,\n"
                    "  \"reta\": [\n"
                    "    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,\n"
                    "    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1\n"
                    "  ],\n"
                    "  \"rules\": [\n"
                    "    {\"item\": \"ipv4\", \"is\": \"10.0.0.1\"},\n"
                    "    {\n"
                    "      \"text\": \"" +
                        std::string(70, 'x') +
                        "\",\n"
                        "      \"n\": 1\n"
                        "    }\n"
                        "  ]\n"
                        "}\n");
    EXPECT_EQ(document_text({{"name", "\xff"}}), "{\n  \"name\": \"\ufffd\"\n}\n") << "no UTF-8";
}

TEST(CtlOutput, RetaIsShownAsItsShorterForm) {
    EXPECT_EQ(reta_text(rss::round_robin_reta(4, 128)), "0 1 2 3, 32 times");
    EXPECT_EQ(reta_text({0, 0, 1, 1}), "0-1: 0, 2-3: 1");
    EXPECT_EQ(reta_text({3, 3, 3, 3}), "0-3: 3");
    EXPECT_EQ(reta_text({0, 1, 2, 0}), "0: 0, 1: 1, 2: 2, 3: 0");
    EXPECT_EQ(reta_text({5}), "0: 5");
    EXPECT_EQ(reta_text({}), "");
    EXPECT_EQ(runs_text({1, 2, 3, 7, 9, 10}), "1-3, 7, 9-10");
}

TEST(CtlOutput, ImbalanceIsTheLargestShareOverTheFairOne) {
    EXPECT_EQ(imbalance(rss::round_robin_reta(4, 128), 4).factor, 1);
    const Imbalance uneven = imbalance({0, 1, 1, 1}, 2);
    EXPECT_EQ(uneven.queue, 1);
    EXPECT_EQ(uneven.slots, 3U);
    EXPECT_EQ(uneven.factor, 1.5);
    EXPECT_EQ(imbalance({0, 0, 0, 0}, 4).factor, 4);
    EXPECT_EQ(imbalance({}, 0).factor, 1);
}

} // namespace
} // namespace tapflow::ctl
