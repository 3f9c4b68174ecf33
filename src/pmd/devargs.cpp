// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/devargs.h"

#include "packet/build.h"
#include "rss/names.h"

#include <net/if.h>
#include <rte_kvargs.h>

#include <array>
#include <cstring>
#include <memory>
#include <set>
#include <string>

namespace tapflow::pmd {
namespace {

struct KvargsDeleter {
    void operator()(rte_kvargs *arguments) const { rte_kvargs_free(arguments); }
};

Error bad(const std::string &key, const std::string &value, const std::string &wanted) {
    return {EINVAL, "devarg " + key + (value.empty() ? "" : "=" + value), wanted};
}

Result<void> check_interface_name(const std::string &key, const std::string &value) {
    if (value.empty() || value.size() >= IFNAMSIZ || value.find_first_of("/ \t:") != std::string::npos)
        return bad(key, value, "an interface name has 1 to 15 characters, without slash, colon or space");
    return {};
}

Result<MacAddress> parse_mac_devarg(const std::string &value, unsigned index) {
    // As DPDK's tap driver has it, for command lines written for that one: "dtap" behind a locally administered byte.
    if (value == "fixed")
        return MacAddress{{0x02, 'd', 't', 'a', 'p', static_cast<uint8_t>(index)}};
    auto mac = packet::parse_mac(value);
    if (!mac || mac->is_multicast() || mac->is_zero())
        return bad("mac", value, "wanted is a unicast address such as 02:00:00:00:00:01, or fixed");
    return *mac;
}

/// A devarg with a fixed set of values.
template <typename Value> struct Choice {
    const char *name;
    Value value;
};

constexpr auto kRxModes = std::to_array<Choice<engine::RxMode>>({
    {"auto", engine::RxMode::Auto},
    {"ring", engine::RxMode::Ring},
    {"fd", engine::RxMode::Fd},
});
constexpr auto kClassifiers = std::to_array<Choice<engine::RuleClassifier>>({
    {"auto", engine::RuleClassifier::Auto},
    {"bpf", engine::RuleClassifier::Bpf},
    {"flower", engine::RuleClassifier::Flower},
});
constexpr auto kOffloads = std::to_array<Choice<kernel::Offload>>({
    {"auto", kernel::Offload::Auto},
    {"skip_hw", kernel::Offload::SoftwareOnly},
    {"skip_sw", kernel::Offload::HardwareOnly},
});
constexpr auto kRetaSizes = std::to_array<Choice<uint16_t>>({
    {"128", 128},
    {"256", 256},
    {"512", 512},
});
constexpr auto kKeySizes = std::to_array<Choice<uint8_t>>({
    {"40", rss::kKeySize},
    {"52", rss::kLongKeySize},
});
constexpr auto kRssFunctions = [] {
    std::array<Choice<rss::Function>, rss::kFunctionNames.size()> choices{};
    for (size_t i = 0; i < choices.size(); i++)
        choices[i] = {rss::kFunctionNames[i].name, rss::kFunctionNames[i].function};
    return choices;
}();
constexpr auto kSwitch = std::to_array<Choice<bool>>({{"", true}, {"1", true}, {"0", false}});

template <typename Value, size_t N>
Result<void> choose(const std::array<Choice<Value>, N> &choices, const std::string &key, const std::string &value,
                    Value &chosen) {
    std::string wanted = "wanted is ";
    for (size_t i = 0; i < N; i++) {
        if (value == choices[i].name) {
            chosen = choices[i].value;
            return {};
        }
        const std::string name = choices[i].name;
        wanted += (i == 0 ? "" : i + 1 < N ? ", " : " or ") + key + (name.empty() ? "" : "=" + name);
    }
    return bad(key, value, wanted);
}

Result<void> apply(Devargs &devargs, const std::string &key, const std::string &value, unsigned index) {
    engine::PortOptions &options = devargs.port;
    if (key == "iface") {
        options.iface = value;
        return check_interface_name(key, value);
    }
    if (key == "remote") {
        options.remote = value;
        return check_interface_name(key, value);
    }
    if (key == "mac") {
        auto mac = parse_mac_devarg(value, index);
        if (!mac)
            return mac.error();
        options.mac = *mac;
        return {};
    }
    if (key == "persist")
        return choose(kSwitch, key, value, options.persist);
    if (key == "readopt")
        return choose(kSwitch, key, value, options.readopt);
    if (key == "rx")
        return choose(kRxModes, key, value, options.rx);
    if (key == "classifier")
        return choose(kClassifiers, key, value, options.classifier);
    if (key == "offload")
        return choose(kOffloads, key, value, options.offload);
    if (key == "reta_size")
        return choose(kRetaSizes, key, value, devargs.reta_size);
    if (key == "rss_key_size")
        return choose(kKeySizes, key, value, devargs.rss_key_size);
    if (key == "rss_function")
        return choose(kRssFunctions, key, value, devargs.rss_function);
    return bad(key, {},
               "unknown; known are iface, remote, mac, persist, readopt, rx, classifier, offload, reta_size, "
               "rss_key_size, rss_function");
}

} // namespace

Result<Devargs> parse_devargs(const char *arguments, unsigned index, kernel::Layer layer) {
    Devargs options;
    options.port.layer = layer;
    if (layer == kernel::Layer::Ip)
        options.port.iface = "dtun%d";
    if (!arguments || !*arguments)
        return options;
    const std::unique_ptr<rte_kvargs, KvargsDeleter> parsed(rte_kvargs_parse(arguments, nullptr));
    if (!parsed)
        return Error{EINVAL, std::string("devargs ") + arguments, "wanted is key=value,key=value"};
    std::set<std::string> seen;
    for (unsigned i = 0; i < parsed->count; i++) {
        const std::string key = parsed->pairs[i].key;
        if (!seen.insert(key).second)
            return bad(key, {}, "given twice");
        if (auto applied = apply(options, key, parsed->pairs[i].value ? parsed->pairs[i].value : "", index); !applied)
            return applied.error();
    }
    return options;
}

} // namespace tapflow::pmd
