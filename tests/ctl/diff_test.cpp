// SPDX-License-Identifier: BSD-3-Clause
// "tapflowctl diff" of ports and of files.
#include "ctl/ctl_fixture.h"
#include "ctl/files.h"

#include "support/effort.h"
#include "support/seed.h"

#include <functional>

namespace tapflow::test {
namespace {

using Json = nlohmann::json;

class CtlDiff : public CtlTest {
  protected:
    /// "tap0" and "tap1", which are the same.
    void open_two() {
        open(named("tap1"));
        other = std::move(port);
        open();
        for (engine::Port *each : {other.get(), port.get()})
            for (const char *rule : {"pattern eth / ipv4 / udp dst is 53 / end actions mark id 7 / queue index 1 / end",
                                     "pattern eth / ipv6 / end actions rss types ipv6 end queues 1 0 end / end",
                                     "priority 2 pattern eth / ipv4 / tcp dst is 22 / end actions drop / end"})
                ASSERT_NE(each->flows().create(must(flow::parse_rule(rule))).flow, nullptr);
    }
    static nlohmann::ordered_json difference(const std::string &a, const std::string &b, int status = 1) {
        const Said said = tapflowctl({"diff", a, b, "--json"});
        EXPECT_EQ(said.status, status) << said.err << said.out;
        return valid_json(said, "diff");
    }
    /// What `save` says of tap0.
    static Json saved() { return Json::parse(tapflowctl({"save", "tap0"}).out); }

    std::unique_ptr<engine::Port> other;
    const TemporaryDirectory directory;
};

TEST_F(CtlDiff, EqualPortsDoNotDiffer) {
    ASSERT_NO_FATAL_FAILURE(open_two());
    const nlohmann::ordered_json json = difference("tap0", "tap1", 0);
    EXPECT_EQ(json["flows"]["sampled"], 1000);
    EXPECT_EQ(json["flows"]["moved"], 0);
    EXPECT_EQ(tapflowctl({"diff", "tap0", "tap1"}).out, "0 of 1000 sampled flows: no other queue\nNo difference.\n");
    EXPECT_EQ(difference("tap0", "tap0", 0)["settings"].size(), 0U);
}

TEST_F(CtlDiff, AnotherRetaMovesFlows) {
    ASSERT_NO_FATAL_FAILURE(open_two());
    rss::RssConfig config = rss_config(rss::kIpv4 | rss::kIpv4Udp, rss::round_robin_reta(2));
    config.reta[5] = 0;
    config.reta[7] = 0;
    must(other->set_rss(config));
    const nlohmann::ordered_json json = difference("tap0", "tap1");
    ASSERT_EQ(json["settings"].size(), 1U);
    EXPECT_EQ(json["settings"][0]["name"], "RETA");
    EXPECT_EQ(json["reta_slots"], 2);
    EXPECT_GT(json["flows"]["moved"], 0);
    EXPECT_LT(json["flows"]["moved"], 200);
    // The examples are what the ports themselves would do.
    ASSERT_GE(json["flows"]["examples"].size(), 3U);
    for (size_t i = 0; i < 3; i++)
        for (const auto &[side, name] : {std::pair("a", "tap0"), std::pair("b", "tap1")})
            EXPECT_EQ(valid_json(tapflowctl({"explain", name, json["flows"]["examples"][i]["frame"].get<std::string>(),
                                             "--json"}),
                                 "explain")["dry_run"]["queue"],
                      json["flows"]["examples"][i][side]);
}

TEST_F(CtlDiff, OtherSettings) {
    ASSERT_NO_FATAL_FAILURE(open_two());
    rss::RssConfig config = rss_config(rss::kIpv4, rss::round_robin_reta(2, 256));
    config.key[3] ^= 1U;
    config.function = rss::Function::SimpleXor;
    must(other->set_rss(config));
    const nlohmann::ordered_json json = difference("tap0", "tap1");
    std::vector<std::string> names;
    for (const nlohmann::ordered_json &setting : json["settings"])
        names.push_back(setting["name"]);
    EXPECT_EQ(names, (std::vector<std::string>{"key", "types", "function", "RETA"}));
    EXPECT_EQ(json["reta_slots"], 0) << "a larger table that says the same";
}

TEST_F(CtlDiff, OtherRules) {
    ASSERT_NO_FATAL_FAILURE(open_two());
    create("priority 1 pattern eth / ipv4 src is 10.9.9.9 / end actions queue index 0 / end");
    const nlohmann::ordered_json json = difference("tap0", "tap1");
    EXPECT_EQ(json["settings"].size(), 0U);
    ASSERT_EQ(json["rules_only_a"].size(), 1U);
    EXPECT_EQ(json["rules_only_b"].size(), 0U);
    EXPECT_NE(json["rules_only_a"][0].get<std::string>().find("10.9.9.9"), std::string::npos);
    const Said reverse = tapflowctl({"diff", "tap1", "tap0", "--flows", "0"});
    EXPECT_EQ(reverse.status, 1);
    EXPECT_EQ(reverse.out, "+ " + json["rules_only_a"][0].get<std::string>() + '\n');
}

TEST_F(CtlDiff, APortAgainstWhatItWas) {
    ASSERT_NO_FATAL_FAILURE(open_two());
    flow::RssAction action;
    action.types = rss::kIpv4;
    action.queues = {1};
    const uint32_t shared = must(port->flows().create_shared_rss(action));
    create("priority 4 pattern eth / arp_eth_ipv4 / end actions indirect " + std::to_string(shared) + " rss / end");
    const std::string before = directory.holding("before.json", saved().dump());
    EXPECT_EQ(difference(before, "tap0", 0)["settings"].size(), 0U);
    action.queues = {0};
    must(port->flows().update_shared_rss(shared, action));
    nlohmann::ordered_json json = difference(before, "tap0");
    EXPECT_EQ(json["settings"][0]["name"], "indirect RSS " + std::to_string(shared));
    EXPECT_EQ(json["rules_only_a"].size() + json["rules_only_b"].size(), 0U);
    const std::string after = directory.holding("after.json", saved().dump());
    EXPECT_EQ(difference(before, after)["settings"], json["settings"]);
    const Said piped = run_apart({"/bin/sh", "-c", TAPFLOWCTL " save tap0 | " TAPFLOWCTL " diff /dev/stdin tap0"});
    EXPECT_EQ(piped.status, 0) << piped.err;
}

TEST_F(CtlDiff, FilesNeedNoPrivileges) {
    open();
    const std::string file = directory.holding("a.json", saved().dump());
    const Said said = tapflowctl_unprivileged({"diff", file, file, "--json"});
    EXPECT_EQ(said.status, 0) << said.err;
    valid_json(said, "diff");
}

TEST_F(CtlDiff, BrokenFiles) {
    ASSERT_NO_FATAL_FAILURE(open_two());
    const std::string good = directory.holding("good.json", saved().dump());
    const std::vector<std::function<void(Json &)>> edits{
        [](Json &json) { json = Json::array(); },
        [](Json &json) { json = nullptr; },
        [](Json &json) { json = "save"; },
        [](Json &json) { json["verb"] = "show"; },
        [](Json &json) { json.erase("verb"); },
        [](Json &json) { json.erase("port"); },
        [](Json &json) { json["device"] = 4; },
        [](Json &json) { json["rx_queues"] = 65; },
        [](Json &json) { json["rx_queues"] = -1; },
        [](Json &json) { json["rx_queues"] = 1.5; },
        [](Json &json) { json["rx_queues"] = "two"; },
        [](Json &json) { json.erase("rss"); },
        [](Json &json) { json["rss"] = Json::array(); },
        [](Json &json) { json["rss"]["key"] = ""; },
        [](Json &json) { json["rss"]["key"] = "0g"; },
        [](Json &json) { json["rss"]["key"] = std::string(200, '0'); },
        [](Json &json) { json["rss"]["key"] = 7; },
        [](Json &json) {
            json["rss"]["types"] = {"ipv4", 7};
        },
        [](Json &json) { json["rss"]["types"] = "ipv4"; },
        [](Json &json) { json["rss"]["function"] = "md5"; },
        [](Json &json) { json["rss"]["reta"] = Json::array(); },
        [](Json &json) {
            json["rss"]["reta"] = {0, 1, 0};
        },
        [](Json &json) {
            json["rss"]["reta"] = {0, 64};
        },
        [](Json &json) {
            json["rss"]["reta"] = {0, -1};
        },
        [](Json &json) { json["rss"]["reta"] = std::vector<int>(1024); },
        [](Json &json) { json["rules"] = Json::object(); },
        [](Json &json) { json.erase("rules"); },
        [](Json &json) { json["rules"][0] = 1; },
        [](Json &json) { json["rules"][0].erase("actions"); },
        [](Json &json) { json["rules"][0]["pattern"][0]["item"] = "carrier pigeon"; },
        [](Json &json) { json["rules"][0]["priority"] = 1e30; },
        [](Json &json) { json["rules"][1]["actions"][0]["queues"] = std::vector<int>(1000); },
        [](Json &json) {
            json["rules"][1]["actions"][0]["queues"] = {0, 65535};
        },
        [](Json &json) { json["rules"][1]["actions"][0]["key"] = "00"; },
        [](Json &json) { json["rules"][1]["actions"][0]["key"] = std::string(1000, '0'); },
        [](Json &json) { json["indirect_rss"] = 3; },
        [](Json &json) { json["indirect_rss"] = {1}; },
        [](Json &json) {
            json["indirect_rss"] = {{{"id", 1}}};
        },
    };
    for (size_t i = 0; i < edits.size(); i++) {
        SCOPED_TRACE("edit " + std::to_string(i));
        Json json = saved();
        edits[i](json);
        const std::string bad = directory.holding("bad.json", json.dump());
        expect_refused(tapflowctl({"diff", bad, good}));
    }
    for (const std::string &text :
         {std::string(), std::string("{"), saved().dump().substr(0, 300), saved().dump() + "}",
          std::string("\0\1\2", 3), std::string("{\"verb\": \"save\", \"port\": \"\xff\"}"),
          std::string(3'000'000, '['), "{\"verb\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}"}) {
        SCOPED_TRACE(text.substr(0, 40));
        const std::string bad = directory.holding("bad.json", text);
        expect_refused(tapflowctl({"diff", bad, good}));
        expect_refused(tapflowctl({"diff", "tap0", bad, "--json"}));
    }
    for (const std::string &bad : {directory.file(""), std::string("/dev/null"), std::string("/dev/zero")})
        expect_refused(tapflowctl({"diff", bad, good}));
    expect_refused(tapflowctl({"diff", good, "no-such-port"}), 1);
}

TEST_F(CtlDiff, MutatedFiles) {
    ASSERT_NO_FATAL_FAILURE(open_two());
    auto random = seeded_random();
    const std::string text = saved().dump();
    const std::string good = directory.holding("good.json", text);
    const std::string_view alphabet = "0123456789-.e\"{}[],:nullx ";
    unsigned refused = 0;
    const unsigned rounds = effort(150);
    for (unsigned round = 0; round < rounds; round++) {
        std::string mutated = text;
        for (auto changes = 1 + random() % 3; changes > 0; changes--) {
            const size_t at = random() % mutated.size();
            const size_t length = random() % std::min<size_t>(6, mutated.size() - at);
            std::string piece;
            for (auto count = random() % 4; count > 0; count--)
                piece += alphabet[random() % alphabet.size()];
            mutated.replace(at, length, piece);
        }
        const Said said = tapflowctl({"diff", directory.holding("mutated.json", mutated), good});
        if (said.status == 2)
            expect_refused(said);
        else
            EXPECT_TRUE((said.status == 0 || said.status == 1) && said.err.empty()) << said.status << said.err;
        refused += said.status == 2 ? 1U : 0U;
        if (HasFailure())
            FAIL() << mutated;
    }
    EXPECT_GT(refused, rounds / 5);
}

} // namespace
} // namespace tapflow::test
