// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/port_text.h"
#include "tapflowctl/verbs.h"

#include "engine/counters.h"
#include "engine/inspect.h"

#include <httplib.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tapflow::ctl {
namespace {

using engine::read_counter;

constexpr const char *kContentType = "application/openmetrics-text; version=1.0.0; charset=utf-8";
constexpr const char *kDefaultAddress = "127.0.0.1";

struct MetricsOptions {
    std::optional<std::string> listen;
    bool rules = false;
    bool json = false;
};

using Labels = std::vector<std::pair<const char *, std::string>>;

struct Sample {
    Labels labels;
    double value = 0;
};

/// Of one name, as https://openmetrics.io has it.
struct Family {
    std::string name; ///< without "_total"
    const char *type = "gauge";
    const char *unit = ""; ///< which is also the name's end
    const char *help = "";
    std::vector<Sample> samples;

    [[nodiscard]] std::string sample_name() const {
        const std::string_view kind = type;
        return name + (kind == "counter" ? "_total" : kind == "info" ? "_info" : "");
    }
};

/// All families, in the order of their output.
struct Families {
    Family port{"tapflow_port", "info", "", "A port", {}};
    Family started{"tapflow_port_started", "gauge", "", "Whether the port is started", {}};
    Family running{"tapflow_process_running", "gauge", "", "Whether the process that opened the port still runs", {}};
    Family lease{
        "tapflow_lease_valid", "gauge", "", "Remote mode: whether the process has shown in time that it is alive", {}};
    Family rx_packets{"tapflow_rx_packets", "counter", "", "Packets that the application has received", {}};
    Family rx_bytes{"tapflow_rx_bytes", "counter", "bytes", "Bytes that the application has received", {}};
    Family tx_packets{"tapflow_tx_packets", "counter", "", "Packets that the application has sent", {}};
    Family tx_bytes{"tapflow_tx_bytes", "counter", "bytes", "Bytes that the application has sent", {}};
    Family ring_size{"tapflow_ring_size_bytes", "gauge", "bytes", "Size of a queue's ring", {}};
    Family ring_used{"tapflow_ring_used_bytes", "gauge", "bytes", "What waits in a queue's ring", {}};
    Family ring_full{"tapflow_ring_full", "counter", "", "Packets dropped because a queue's ring was full", {}};
    Family ring_stuck{"tapflow_ring_stuck",
                      "counter",
                      "",
                      "Packets left to the remote's kernel because nobody read a queue's full ring",
                      {}};
    Family lost{"tapflow_lost_packets", "counter", "", "Packets that the application did not get, by reason", {}};
    Family fd_drops{"tapflow_tap_drops", "counter", "", "Packets that the tap's own queues have dropped", {}};
    Family rules{"tapflow_rules", "gauge", "", "Flow rules", {}};
    Family hits{"tapflow_rule_packets", "counter", "", "Packets that a rule with COUNT has matched", {}};
    Family hit_bytes{"tapflow_rule_bytes", "counter", "bytes", "Bytes that a rule with COUNT has matched", {}};
    Family foreign{"tapflow_foreign_ports", "gauge", "", "Ports of another version, which cannot be read", {}};

    [[nodiscard]] std::vector<const Family *> all() const {
        return {&port,       &started,  &running,   &lease,     &rx_packets, &rx_bytes,
                &tx_packets, &tx_bytes, &ring_size, &ring_used, &ring_full,  &ring_stuck,
                &lost,       &fd_drops, &rules,     &hits,      &hit_bytes,  &foreign};
    }
};

double number(uint64_t value) { return static_cast<double>(value); }

/// What tells ports from each other: names are unique in a namespace alone.
Labels labels_of(const engine::InspectedPort &port, const engine::PortIdentity &identity) {
    Labels labels{{"port", printable(port.name())}};
    if (!port.is_here())
        labels.emplace_back("netns", std::to_string(identity.tap_namespace.inode));
    return labels;
}

Labels with(Labels labels, const char *name, std::string value) {
    labels.emplace_back(name, std::move(value));
    return labels;
}

void add_queues(const engine::InspectedPort &port, const engine::PortIdentity &identity, const Labels &labels,
                Families &families) {
    const tapflow_port_state &state = port.state();
    for (unsigned queue = 0; queue < identity.rx_queues; queue++) {
        const Labels of_queue = with(labels, "queue", std::to_string(queue));
        families.rx_packets.samples.push_back({of_queue, number(read_counter(state.received[queue].packets))});
        families.rx_bytes.samples.push_back({of_queue, number(read_counter(state.received[queue].bytes))});
        if (identity.delivery != kernel::Delivery::Ring)
            continue;
        if (const auto ring = port.ring(queue)) {
            families.ring_size.samples.push_back({of_queue, number(ring->bytes)});
            families.ring_used.samples.push_back({of_queue, number(ring->used)});
        }
        families.ring_full.samples.push_back({of_queue, number(read_counter(state.queues[queue].ring_full))});
        families.ring_stuck.samples.push_back({of_queue, number(read_counter(state.queues[queue].ring_stuck))});
    }
    for (unsigned queue = 0; queue < identity.tx_queues; queue++) {
        const Labels of_queue = with(labels, "queue", std::to_string(queue));
        families.tx_packets.samples.push_back({of_queue, number(read_counter(state.sent[queue].packets))});
        families.tx_bytes.samples.push_back({of_queue, number(read_counter(state.sent[queue].bytes))});
    }
}

void add_rules(const engine::InspectedPort &port, const Labels &labels, bool each, Families &families) {
    const auto rules = port.rules();
    if (!rules)
        return;
    families.rules.samples.push_back({labels, number(rules->rules.size())});
    for (const engine::InspectedRule &rule : rules->rules) {
        if (!each || !rule.count)
            continue;
        const Labels of_rule = with(labels, "rule", std::to_string(rule.id));
        families.hits.samples.push_back({of_rule, number(rule.count->packets)});
        families.hit_bytes.samples.push_back({of_rule, number(rule.count->bytes)});
    }
}

void add_port(const engine::InspectedPort &port, bool each_rule, Families &families) {
    const engine::PortIdentity identity = port.identity();
    const tapflow_port_state &state = port.state();
    const Labels labels = labels_of(port, identity);
    Labels info = labels;
    info.emplace_back("device", printable(identity.device));
    info.emplace_back("process", printable(identity.process));
    info.emplace_back("pid", std::to_string(identity.pid));
    if (identity.is_remote)
        info.emplace_back("remote", printable(identity.remote));
    info.emplace_back("delivery", delivery_name(identity));
    info.emplace_back("classifier", classifier_name(identity));
    info.emplace_back("version", printable(identity.version));
    families.port.samples.push_back({std::move(info), 1});
    families.started.samples.push_back({labels, state.config.flags & TAPFLOW_PORT_STARTED ? 1.0 : 0.0});
    if (const engine::Owner owner = port.owner(); owner != engine::Owner::Unknown)
        families.running.samples.push_back({labels, owner == engine::Owner::Running ? 1.0 : 0.0});
    if (identity.is_remote)
        families.lease.samples.push_back({labels, port.has_lease() ? 1.0 : 0.0});
    add_queues(port, identity, labels, families);
    for (const PortCounter &counter : kCounters)
        families.lost.samples.push_back(
            {with(labels, "reason", counter.name), number(read_counter(state.counters.*counter.member))});
    if (identity.delivery == kernel::Delivery::Fd)
        if (const auto tap = port.tap())
            families.fd_drops.samples.push_back({labels, number(tap->tx_dropped)});
    add_rules(port, labels, each_rule, families);
}

Result<Families> collect(bool each_rule) {
    const auto found = engine::find_ports();
    if (!found)
        return found.error();
    Families families;
    for (const engine::InspectedPort &port : found->ports)
        add_port(port, each_rule, families);
    families.foreign.samples.push_back({{}, number(found->foreign.size())});
    return families;
}

std::string escaped(const std::string &text) {
    std::string result;
    for (const char c : text) {
        if (c == '\\' || c == '"')
            result += '\\';
        result += c == '\n' ? ' ' : c;
    }
    return result;
}

/// Counters beyond 2^53 lose their last digits, as Prometheus's own numbers do.
std::string number_text(double value) {
    std::array<char, 32> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, 0);
    return {text.data(), end.ptr};
}

std::string openmetrics(const Families &families) {
    std::string text;
    for (const Family *family : families.all()) {
        if (family->samples.empty())
            continue;
        const auto about = [&](const char *word, const char *what) {
            text.append("# ").append(word).append(" ").append(family->name).append(" ").append(what).append("\n");
        };
        about("TYPE", family->type);
        if (*family->unit != 0)
            about("UNIT", family->unit);
        about("HELP", family->help);
        for (const Sample &sample : family->samples) {
            std::string labels;
            for (const auto &[name, value] : sample.labels) {
                if (!labels.empty())
                    labels.append(",");
                labels.append(name).append("=\"").append(escaped(value)).append("\"");
            }
            text.append(family->sample_name());
            if (!labels.empty())
                text.append("{").append(labels).append("}");
            text.append(" ").append(number_text(sample.value)).append("\n");
        }
    }
    return text + "# EOF\n";
}

Json metrics_json(const Families &families) {
    Json json = document("metrics");
    json["families"] = Json::array();
    for (const Family *family : families.all()) {
        if (family->samples.empty())
            continue;
        Json samples = Json::array();
        for (const Sample &sample : family->samples) {
            Json labels = Json::object();
            for (const auto &[name, value] : sample.labels)
                labels[name] = value;
            samples.push_back({{"labels", std::move(labels)}, {"value", static_cast<uint64_t>(sample.value)}});
        }
        json["families"].push_back(
            {{"name", family->name}, {"type", family->type}, {"help", family->help}, {"samples", std::move(samples)}});
    }
    return json;
}

/// "9815", "127.0.0.1:9815", "[::1]:9815", ":9815".
struct Endpoint {
    std::string address;
    int port = 0;
};
std::optional<Endpoint> parse_endpoint(const std::string &text) {
    const size_t colon = text.rfind(':');
    std::string address = colon == std::string::npos ? "" : text.substr(0, colon);
    const std::string port = colon == std::string::npos ? text : text.substr(colon + 1);
    if (address.size() >= 2 && address.front() == '[' && address.back() == ']')
        address = address.substr(1, address.size() - 2);
    uint16_t number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc() || end != port.data() + port.size())
        return std::nullopt;
    return Endpoint{address.empty() ? kDefaultAddress : address, number};
}

int serve(const MetricsOptions &options) {
    const std::string &where = *options.listen;
    const auto endpoint = parse_endpoint(where);
    if (!endpoint)
        return fail("listen at " + where, "that is no address", "say PORT, ADDRESS:PORT or [ADDRESS]:PORT");
    httplib::Server server;
    // Clients that say nothing do not keep others waiting until they give up.
    server.set_read_timeout(2);
    server.set_write_timeout(2);
    server.set_keep_alive_timeout(2);
    server.set_payload_max_length(0);
    server.new_task_queue = [] { return new httplib::ThreadPool(8); };
    // The library's own choice, SO_REUSEPORT, would share a port with whoever serves there already.
    server.set_socket_options([](socket_t socket) {
        const int on = 1;
        (void)setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    });
    server.Get("/metrics", [&options](const httplib::Request &, httplib::Response &response) {
        const auto families = collect(options.rules);
        if (families) {
            response.set_content(openmetrics(*families), kContentType);
        } else {
            response.status = 500;
            response.set_content(families.error().message() + '\n', "text/plain");
        }
    });
    server.Get("/", [](const httplib::Request &, httplib::Response &response) {
        response.set_content("tapflow's metrics are at /metrics\n", "text/plain");
    });
    const int port = endpoint->port == 0 ? server.bind_to_any_port(endpoint->address.c_str())
                     : server.bind_to_port(endpoint->address.c_str(), endpoint->port) ? endpoint->port
                                                                                      : -1;
    if (port < 0)
        return fail("listen at " + where, std::strerror(errno), "is the address this machine's, the port free?");
    const bool is_ipv6 = endpoint->address.find(':') != std::string::npos;
    print("Listening at http://" + (is_ipv6 ? '[' + endpoint->address + ']' : endpoint->address) + ':' +
          std::to_string(port) + "/metrics\n");
    std::fflush(stdout);
    return server.listen_after_bind() ? kDone : kNotDone;
}

int metrics(const MetricsOptions &options) {
    const auto families = collect(options.rules); // what cannot be read is said before one listens
    if (!families)
        return fail(families.error());
    if (options.listen)
        return serve(options);
    if (options.json)
        print_document(metrics_json(*families));
    else
        print(openmetrics(*families));
    return kDone;
}

} // namespace

void add_metrics(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("metrics", "Print OpenMetrics text of all ports, or serve it for Prometheus");
    const auto options = std::make_shared<MetricsOptions>();
    auto *listen = verb->add_option("--listen", options->listen,
                                    "Serve /metrics at this port (of 127.0.0.1, unless ADDRESS:PORT is said) until "
                                    "ended; port 0 is any that is free")
                       ->type_name("ADDR");
    verb->add_flag("--rules", options->rules, "With a sample for each rule that counts");
    add_json(*verb, options->json)->excludes(listen);
    verb->footer("Examples:\n"
                 "  tapflowctl metrics | grep lost\n"
                 "  tapflowctl metrics --listen 9815");
    verb->callback([options, &run] { run.status = metrics(*options); });
}

} // namespace tapflow::ctl
