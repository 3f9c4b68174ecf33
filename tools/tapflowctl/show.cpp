// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/port_text.h"
#include "tapflowctl/verbs.h"

#include "engine/counters.h"
#include "engine/inspect.h"
#include "kernel/clock.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tapflow::ctl {
namespace {

struct ShowOptions {
    std::string port;
    bool json = false;
};

struct Flag {
    const char *name;
    uint32_t bit;
};
constexpr auto kFlags = std::to_array<Flag>({
    {"started", TAPFLOW_PORT_STARTED},
    {"promiscuous", TAPFLOW_PORT_PROMISCUOUS},
    {"allmulticast", TAPFLOW_PORT_ALLMULTICAST},
    {"isolated", TAPFLOW_PORT_ISOLATED},
    {"hash_by_fd", TAPFLOW_PORT_TRAILER},
    {"rules", TAPFLOW_PORT_RULES},
    {"vlan_filter", TAPFLOW_PORT_VLAN_FILTER},
});

struct Counter {
    const char *name;
    __u64 tapflow_port_counters::*member;
    const char *meaning;
};
constexpr auto kCounters = std::to_array<Counter>({
    {"filtered", &tapflow_port_counters::filtered, "not wanted by the address filter"},
    {"bypass", &tapflow_port_counters::bypass, "sent past the classifier"},
    {"oversize", &tapflow_port_counters::oversize, "longer than any frame can be"},
    {"unsupported_gso", &tapflow_port_counters::unsupported_gso, "super-frames that cannot be cut"},
    {"no_lease", &tapflow_port_counters::no_lease, "left to the kernel: the process was silent"},
    {"forged", &tapflow_port_counters::forged, "looked as if they had a trailer"},
    {"rule_dropped", &tapflow_port_counters::rule_dropped, "dropped by rules"},
    {"no_queue", &tapflow_port_counters::no_queue, "for queues that there are not"},
    {"queue_stopped", &tapflow_port_counters::queue_stopped, "for stopped queues"},
});

/// What is shown of a port, read once.
struct Seen {
    engine::PortIdentity identity;
    engine::Owner owner;
    std::optional<kernel::LinkInfo> tap;
    std::optional<kernel::LinkInfo> remote;
    tapflow_port_config config;
    std::vector<engine::Attached> attached;
    std::vector<MacAddress> addresses;
    rss::RssConfig rss;
};

Result<Seen> look_at(const engine::InspectedPort &port) {
    auto addresses = port.addresses();
    if (!addresses)
        return addresses.error();
    auto rss = port.rss();
    if (!rss)
        return rss.error();
    return Seen{port.identity(),       port.owner(),          port.tap(),
                port.remote(),         port.state().config,   port.attached(),
                *std::move(addresses), std::move(rss->config)};
}

bool is_stopped(const Seen &seen, unsigned queue) { return (seen.config.stopped_queues >> queue & 1) != 0; }

uint64_t lease_age(const Seen &seen) {
    const uint64_t now = kernel::monotonic_ns();
    return now > seen.config.lease_ns ? now - seen.config.lease_ns : 0;
}

std::string mac_text(uint64_t word) {
    MacAddress mac;
    for (size_t i = 0; i < mac.bytes.size(); i++)
        mac.bytes[i] = static_cast<uint8_t>(word >> (8 * i));
    return mac.text();
}

std::vector<unsigned> vlans(const tapflow_port_state &state) {
    std::vector<unsigned> ids;
    for (unsigned id = 0; id < TAPFLOW_VLANS; id++)
        if ((state.vlans[id / 64] >> (id % 64) & 1) != 0)
            ids.push_back(id);
    return ids;
}

std::string time_text(uint64_t realtime_ns) {
    const auto seconds = static_cast<time_t>(realtime_ns / 1'000'000'000);
    tm parts{};
    std::array<char, 32> text{};
    if (gmtime_r(&seconds, &parts) == nullptr ||
        std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        return "";
    return text.data();
}

Json namespace_json(const kernel::NamespaceId &id) { return {{"device", id.device}, {"inode", id.inode}}; }

Json link_json(const kernel::LinkInfo &link, const kernel::NamespaceId &where) {
    return {{"name", link.name}, {"index", link.index},   {"namespace", namespace_json(where)},
            {"mtu", link.mtu},   {"up", link.up},         {"carrier", link.carrier},
            {"kind", link.kind}, {"mac", link.mac.text()}};
}

Json hook_json(const engine::Attached &attached) {
    Json json{{"program", attached.program},
              {"id", attached.id},
              {"at", attached.at_remote ? "remote" : "tap"},
              {"hook", hook_name(attached.hook)},
              {"by", attached.tcx ? "tcx" : "filter"}};
    if (!attached.tcx) {
        json["chain"] = attached.chain;
        json["preference"] = attached.preference;
        json["handle"] = attached.handle;
    }
    return json;
}

Json traffic_json(unsigned queue, const tapflow_queue_traffic &traffic) {
    return {{"queue", queue},
            {"packets", engine::read_counter(traffic.packets)},
            {"bytes", engine::read_counter(traffic.bytes)}};
}

Json queue_json(const engine::InspectedPort &port, const Seen &seen, unsigned queue) {
    const tapflow_queue_counters &counters = port.state().queues[queue];
    Json json = traffic_json(queue, port.state().received[queue]);
    json["stopped"] = is_stopped(seen, queue);
    if (const auto ring = port.ring(queue)) {
        json["ring_bytes"] = ring->bytes;
        json["ring_used"] = ring->used;
        json["produced_bytes"] = ring->produced;
        json["delivered_bytes"] = ring->delivered;
    }
    json["ring_full"] = engine::read_counter(counters.ring_full);
    json["ring_stuck"] = engine::read_counter(counters.ring_stuck);
    return json;
}

Json port_json(const engine::InspectedPort &port, const Seen &seen) {
    const engine::PortIdentity &identity = seen.identity;
    Json json{{"name", port.name()},
              {"here", port.is_here()},
              {"device", identity.device},
              {"version", identity.version},
              {"process", {{"name", identity.process}, {"pid", identity.pid}, {"owner", owner_name(seen.owner)}}},
              {"opened", time_text(identity.opened_ns)},
              {"mode", identity.is_remote ? "remote" : "local"},
              {"layer", identity.layer == kernel::Layer::Ip ? "ip" : "ethernet"},
              {"delivery", delivery_name(identity)}};
    if (!identity.why_not_ring.empty())
        json["why_not_ring"] = identity.why_not_ring;
    json["classifier"] = classifier_name(identity);
    json["persist"] = identity.persist;
    json["tap_was_there"] = identity.tap_was_there;
    json["tap"] = seen.tap ? link_json(*seen.tap, identity.tap_namespace) : Json();
    if (identity.is_remote) {
        json["readopt"] = identity.readopt;
        json["remote_name"] = identity.remote;
        json["remote"] = seen.remote ? link_json(*seen.remote, identity.home) : Json();
        json["lease"] = {{"valid", port.has_lease()}, {"age_ms", lease_age(seen) / 1'000'000}};
    }
    json["hooks"] = Json::array();
    for (const engine::Attached &attached : seen.attached)
        json["hooks"].push_back(hook_json(attached));
    for (const Flag &flag : kFlags)
        json["flags"][flag.name] = (seen.config.flags & flag.bit) != 0;
    json["mac"] = mac_text(seen.config.mac);
    json["addresses"] = Json::array();
    for (const MacAddress &address : seen.addresses)
        json["addresses"].push_back(address.text());
    json["vlans"] = vlans(port.state());
    for (const Counter &counter : kCounters)
        json["counters"][counter.name] = engine::read_counter(port.state().counters.*counter.member);
    json["rx_queues"] = Json::array();
    for (unsigned queue = 0; queue < identity.rx_queues; queue++)
        json["rx_queues"].push_back(queue_json(port, seen, queue));
    json["tx_queues"] = Json::array();
    for (unsigned queue = 0; queue < identity.tx_queues; queue++)
        json["tx_queues"].push_back(traffic_json(queue, port.state().sent[queue]));
    json["rss"] = rss_json(seen.rss);
    json["rss"]["imbalance"] = imbalance(seen.rss.reta, identity.rx_queues).factor;
    return json;
}

constexpr size_t kNames = 12;

std::string line(const std::string &name, const std::string &text) {
    return "  " + name + std::string(kNames - name.size(), ' ') + wrap(text, kNames + 2) + '\n';
}

std::string link_text(const std::optional<kernel::LinkInfo> &link, const kernel::NamespaceId &where,
                      const std::string &name) {
    if (!link)
        return (name.empty() ? "" : printable(name) + ", ") +
               std::string("gone, or where it cannot be looked at (namespace ") + std::to_string(where.inode) + ')';
    return printable(link->name) + ", index " + std::to_string(link->index) + ", namespace " +
           std::to_string(where.inode) + ", MTU " + std::to_string(link->mtu) + ", " +
           (!link->up       ? "down"
            : link->carrier ? "up"
                            : "up, no carrier");
}

std::string hook_text(const engine::Attached &attached) {
    std::string text = attached.program + " (" + std::to_string(attached.id) + ") at the " +
                       (attached.at_remote ? "remote's " : "tap's ") + hook_name(attached.hook);
    if (attached.tcx)
        return text + ", TCX";
    return text + ", preference " + std::to_string(attached.preference) + " handle " + std::to_string(attached.handle) +
           (attached.chain == 0 ? "" : " chain " + std::to_string(attached.chain));
}

std::string rx_table(const engine::InspectedPort &port, const Seen &seen) {
    using Align = Table::Align;
    Table table({{"  RX QUEUE", Align::Right},
                 {"PACKETS", Align::Right},
                 {"BYTES", Align::Right},
                 {"RING", Align::Right},
                 {"FILL", Align::Right},
                 {"DROPPED", Align::Right},
                 {"TO KERNEL", Align::Right},
                 {"STATE"}});
    for (unsigned queue = 0; queue < seen.identity.rx_queues; queue++) {
        const tapflow_queue_traffic &traffic = port.state().received[queue];
        const tapflow_queue_counters &counters = port.state().queues[queue];
        const auto ring = port.ring(queue);
        table.add({std::to_string(queue), std::to_string(engine::read_counter(traffic.packets)),
                   bytes_text(engine::read_counter(traffic.bytes)), ring ? bytes_text(ring->bytes) : "-",
                   ring && ring->bytes > 0 ? std::to_string(ring->used * 100 / ring->bytes) + " %" : "-",
                   std::to_string(engine::read_counter(counters.ring_full)),
                   std::to_string(engine::read_counter(counters.ring_stuck)),
                   is_stopped(seen, queue) ? "stopped" : "on"});
    }
    return table.empty() ? "" : table.text();
}

std::string tx_table(const engine::InspectedPort &port, const Seen &seen) {
    using Align = Table::Align;
    Table table({{"  TX QUEUE", Align::Right}, {"PACKETS", Align::Right}, {"BYTES", Align::Right}});
    for (unsigned queue = 0; queue < seen.identity.tx_queues; queue++) {
        const tapflow_queue_traffic &traffic = port.state().sent[queue];
        table.add({std::to_string(queue), std::to_string(engine::read_counter(traffic.packets)),
                   bytes_text(engine::read_counter(traffic.bytes))});
    }
    return table.empty() ? "" : table.text();
}

std::string port_text(const engine::InspectedPort &port, const Seen &seen) {
    const engine::PortIdentity &identity = seen.identity;
    std::string text = bold(printable(port.name())) + ": " +
                       (identity.device.empty() ? "" : printable(identity.device) + ", ") + "tapflow " +
                       printable(identity.version) + '\n';
    text += line("process", process_text(identity, seen.owner) + ", opened " + time_text(identity.opened_ns));
    std::string tap = link_text(seen.tap, identity.tap_namespace, "");
    tap += std::string(port.is_here() ? "" : ", elsewhere") + (identity.persist ? ", persistent" : "") +
           (identity.tap_was_there ? ", was there before" : "") + (identity.layer == kernel::Layer::Ip ? ", tun" : "");
    text += line("tap", tap);
    if (identity.is_remote) {
        text += line("remote", link_text(seen.remote, identity.home, identity.remote) +
                                   (identity.readopt ? ", readopted when it comes back" : ""));
        text += line("lease", std::string(port.has_lease() ? "held" : "run out") + ", renewed " +
                                  duration_text(lease_age(seen)) + " ago");
    }
    text += line("delivery", "by " + std::string(delivery_name(identity)) +
                                 (identity.why_not_ring.empty() ? "" : ": " + printable(identity.why_not_ring)));
    text += line("classifier", classifier_name(identity));
    for (size_t i = 0; i < seen.attached.size(); i++)
        text += line(i == 0 ? "hooks" : "", hook_text(seen.attached[i]));
    std::vector<std::string> flags;
    for (const Flag &flag : kFlags)
        if ((seen.config.flags & flag.bit) != 0)
            flags.emplace_back(flag.name);
    text += line("flags", flags.empty() ? "none: stopped" : join(flags, ", "));
    text += line("MAC", mac_text(seen.config.mac));
    std::vector<std::string> addresses;
    for (const MacAddress &address : seen.addresses)
        addresses.push_back(address.text());
    if (!addresses.empty())
        text += line("addresses", join(addresses, " "));
    const std::vector<unsigned> ids = vlans(port.state());
    if (!ids.empty() || (seen.config.flags & TAPFLOW_PORT_VLAN_FILTER) != 0)
        text += line("VLANs", ids.empty() ? "none let in" : runs_text(ids));
    text += line("RSS", join(type_names(seen.rss.types), " ") + (seen.rss.types == 0 ? "no types" : ""));
    text += line("function", function_name(seen.rss.function));
    text += line("key", hex(seen.rss.key));
    text += line("RETA", plural(seen.rss.reta.size(), "slot") + ": " + reta_text(seen.rss.reta));
    const Imbalance most = imbalance(seen.rss.reta, identity.rx_queues);
    std::array<char, 16> factor{};
    std::snprintf(factor.data(), factor.size(), "%.2f", most.factor);
    text += line("imbalance", std::string(factor.data()) + ": queue " + std::to_string(most.queue) + " has " +
                                  std::to_string(most.slots) + " of " + plural(seen.rss.reta.size(), "slot"));
    bool first = true;
    for (const Counter &counter : kCounters) {
        const uint64_t count = engine::read_counter(port.state().counters.*counter.member);
        if (count == 0)
            continue;
        text += line(first ? "not taken" : "", std::to_string(count) + ' ' + counter.meaning);
        first = false;
    }
    return text + rx_table(port, seen) + tx_table(port, seen);
}

bool is_broken(const Seen &seen) {
    return seen.owner == engine::Owner::Gone || !seen.tap || (seen.identity.is_remote && !seen.remote);
}

int show(const ShowOptions &options) {
    std::vector<engine::InspectedPort> ports;
    if (options.port.empty()) {
        auto found = engine::find_ports();
        if (!found)
            return fail(found.error());
        ports = std::move(found->ports);
    } else {
        auto port = engine::find_port(options.port);
        if (!port)
            return fail(port.error());
        ports.push_back(*std::move(port));
    }
    Json json = document("show");
    json["ports"] = Json::array();
    std::string text;
    bool broken = false;
    for (const engine::InspectedPort &port : ports) {
        const auto seen = look_at(port);
        if (!seen)
            return fail(seen.error());
        broken = broken || is_broken(*seen);
        if (options.json)
            json["ports"].push_back(port_json(port, *seen));
        else
            text += (text.empty() ? "" : "\n") + port_text(port, *seen);
    }
    if (options.json)
        print_document(json);
    else
        print(ports.empty() ? "No ports.\n" : text);
    return ports.empty() || broken ? kFound : kDone;
}

} // namespace

void add_show(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("show", "Show everything about a port, or about each");
    const auto options = std::make_shared<ShowOptions>();
    add_port(*verb, options->port);
    add_json(*verb, options->json);
    verb->footer("Exit code 1: there is no port, or one whose process, tap or remote is gone.\n"
                 "\n"
                 "Examples:\n"
                 "  tapflowctl show tap0\n"
                 "  tapflowctl show --json tap0 | jq '.ports[0].rx_queues'");
    verb->callback([options, &run] { run.status = show(*options); });
}

} // namespace tapflow::ctl
