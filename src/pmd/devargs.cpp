// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/devargs.h"

#include "packet/build.h"

#include <net/if.h>
#include <rte_kvargs.h>

#include <array>
#include <cstring>
#include <memory>
#include <set>

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

Result<void> apply(engine::PortOptions &options, const std::string &key, const std::string &value, unsigned index) {
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
    if (key == "persist") {
        if (!value.empty() && value != "1" && value != "0")
            return bad(key, value, "wanted is persist, persist=1 or persist=0");
        options.persist = value != "0";
        return {};
    }
    if (key == "rx") {
        if (value == "auto" || value == "ring")
            return {};
        return bad(key, value, "wanted is auto or ring");
    }
    return bad(key, {}, "unknown; known are iface, remote, mac, persist, rx");
}

} // namespace

Result<engine::PortOptions> parse_devargs(const char *arguments, unsigned index) {
    engine::PortOptions options;
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
