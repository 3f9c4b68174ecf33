// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/trace_filter.h"

#include "packet/build.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

namespace tapflow::ctl {

const char *const kTraceFilterHelp = "FILTER is words that all have to agree with a packet:\n"
                                     "  ip, ip6, tcp, udp, sctp, icmp, icmp6, proto N\n"
                                     "  src ADDRESS[/BITS], dst ADDRESS[/BITS], host ADDRESS[/BITS] (either of them)\n"
                                     "  sport N, dport N, port N (either of them)\n"
                                     "  vlan N (0: none), queue N, rule N (0: none acted), mark N\n"
                                     "  application, kernel, both, dropped (neither of them gets it)";

namespace {

struct Protocol {
    std::string_view word;
    uint8_t number;
    uint8_t family; ///< 0: any
};
constexpr auto kProtocols = std::to_array<Protocol>({
    {"tcp", IPPROTO_TCP, 0},
    {"udp", IPPROTO_UDP, 0},
    {"sctp", IPPROTO_SCTP, 0},
    {"icmp", IPPROTO_ICMP, 4},
    {"icmp6", IPPROTO_ICMPV6, 6},
});

struct Outcome {
    std::string_view word;
    uint32_t flags;
    uint32_t mask;
};
constexpr uint32_t kWho = TAPFLOW_DECIDED_APPLICATION | TAPFLOW_DECIDED_KERNEL;
constexpr auto kOutcomes = std::to_array<Outcome>({
    {"application", TAPFLOW_DECIDED_APPLICATION, TAPFLOW_DECIDED_APPLICATION},
    {"kernel", TAPFLOW_DECIDED_KERNEL, TAPFLOW_DECIDED_KERNEL},
    {"both", kWho, kWho},
    {"dropped", 0, kWho},
});

Error wrong(const std::string &word, const std::string &why) { return {EINVAL, "filter word \"" + word + "\"", why}; }

std::optional<uint64_t> number(const std::string &text, uint64_t most) {
    uint64_t value = 0;
    const char *end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || value > most)
        return std::nullopt;
    return value;
}

/// A filter that is being put together, word by word.
class Parser {
  public:
    explicit Parser(const std::vector<std::string> &words) : words_(words) {}

    Result<tapflow_trace_filter> run() {
        while (next_ < words_.size())
            if (auto done = word(words_[next_++]); !done)
                return done.error();
        return filter_;
    }

  private:
    /// Notes that a field counts. Errors: it does already.
    Result<void> claim(uint32_t field, const std::string &word) {
        if ((filter_.fields & field) != 0)
            return wrong(word, "what it asks for has been asked for before");
        filter_.fields |= field;
        return {};
    }

    Result<void> family(uint8_t wanted, const std::string &word) {
        if ((filter_.fields & TAPFLOW_TRACE_FAMILY) != 0 && filter_.family != wanted)
            return wrong(word, "no packet is both IPv4 and IPv6");
        filter_.fields |= TAPFLOW_TRACE_FAMILY;
        filter_.family = wanted;
        return {};
    }

    Result<void> outcome(const Outcome &wanted) {
        const uint32_t common = filter_.flags_mask & wanted.mask;
        if (((filter_.flags ^ wanted.flags) & common) != 0)
            return wrong(std::string(wanted.word), "no packet agrees with it and the words before it");
        filter_.flags |= wanted.flags;
        filter_.flags_mask |= wanted.mask;
        return {};
    }

    Result<std::string> argument(const std::string &word) {
        if (next_ == words_.size())
            return wrong(word, "something has to follow it");
        return words_[next_++];
    }

    template <typename Member>
    Result<void> take(Member &member, uint32_t field, const std::string &word, uint64_t most) {
        const auto text = argument(word);
        if (!text)
            return text.error();
        const auto value = number(*text, most);
        if (!value)
            return wrong(word,
                         "a number from 0 to " + std::to_string(most) + " has to follow it, not \"" + *text + '"');
        member = static_cast<Member>(*value);
        return claim(field, word);
    }

    Result<void> port(__u16 &member, uint32_t field, const std::string &word) {
        auto taken = take(member, field, word, 65535);
        member = htons(member);
        return taken;
    }

    Result<void> address(tapflow_trace_address &member, uint32_t field, const std::string &word) {
        const auto text = argument(word);
        if (!text)
            return text.error();
        const size_t slash = text->find('/');
        const std::string bare = text->substr(0, slash);
        const auto ip4 = packet::parse_ipv4(bare);
        const auto ip6 = packet::parse_ipv6(bare);
        if (!ip4 && !ip6)
            return wrong(word, "an IPv4 or IPv6 address has to follow it, not \"" + *text + '"');
        const unsigned most = ip4 ? 32 : 128;
        const auto bits = slash == std::string::npos ? most : number(text->substr(slash + 1), most);
        if (!bits)
            return wrong(word, "in \"" + *text + "\", a number from 0 to " + std::to_string(most) +
                                   " has to follow the slash");
        if (ip4)
            std::memcpy(member.words, ip4->bytes.data(), ip4->bytes.size());
        else
            std::memcpy(member.words, ip6->bytes.data(), ip6->bytes.size());
        for (unsigned i = 0; i < 4; i++) {
            const unsigned of_word =
                *bits <= 32 * i ? 0 : static_cast<unsigned>(std::min<uint64_t>(*bits - 32 * i, 32));
            member.mask[i] = htonl(of_word == 0 ? 0 : ~uint32_t{0} << (32 - of_word));
            member.words[i] &= member.mask[i];
        }
        if (auto agreed = family(ip4 ? 4 : 6, word); !agreed)
            return agreed;
        return claim(field, word);
    }

    Result<void> protocol(const Protocol &wanted) {
        const std::string word(wanted.word);
        filter_.protocol = wanted.number;
        if (wanted.family != 0)
            if (auto agreed = family(wanted.family, word); !agreed)
                return agreed;
        return claim(TAPFLOW_TRACE_PROTOCOL, word);
    }

    Result<void> word(const std::string &word) {
        constexpr uint32_t k32 = std::numeric_limits<uint32_t>::max();
        for (const Protocol &protocol_word : kProtocols)
            if (word == protocol_word.word)
                return protocol(protocol_word);
        for (const Outcome &outcome_word : kOutcomes)
            if (word == outcome_word.word)
                return outcome(outcome_word);
        if (word == "ip" || word == "ip6")
            return family(word == "ip" ? 4 : 6, word);
        if (word == "proto")
            return take(filter_.protocol, TAPFLOW_TRACE_PROTOCOL, word, 255);
        if (word == "src")
            return address(filter_.source, TAPFLOW_TRACE_SOURCE, word);
        if (word == "dst")
            return address(filter_.destination, TAPFLOW_TRACE_DESTINATION, word);
        if (word == "host")
            return address(filter_.host, TAPFLOW_TRACE_HOST, word);
        if (word == "sport")
            return port(filter_.source_port, TAPFLOW_TRACE_SOURCE_PORT, word);
        if (word == "dport")
            return port(filter_.destination_port, TAPFLOW_TRACE_DESTINATION_PORT, word);
        if (word == "port")
            return port(filter_.port, TAPFLOW_TRACE_PORT, word);
        if (word == "vlan")
            return take(filter_.vlan, TAPFLOW_TRACE_VLAN, word, 4095);
        if (word == "queue")
            return take(filter_.queue, TAPFLOW_TRACE_QUEUE, word, 65535);
        if (word == "rule")
            return take(filter_.rule, TAPFLOW_TRACE_RULE, word, (uint64_t{1} << 48U) - 1);
        if (word == "mark")
            return take(filter_.mark, TAPFLOW_TRACE_MARK, word, k32);
        return wrong(word, "there is no such word");
    }

    const std::vector<std::string> &words_;
    size_t next_ = 0;
    tapflow_trace_filter filter_{};
};

} // namespace

Result<tapflow_trace_filter> parse_trace_filter(const std::vector<std::string> &words) { return Parser(words).run(); }

} // namespace tapflow::ctl
