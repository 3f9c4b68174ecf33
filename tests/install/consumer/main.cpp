// SPDX-License-Identifier: BSD-3-Clause
// Somebody's program that uses the library: a rule there and back, a packet's hash, a port (which links libnl and
// libbpf). Prints one line for each.
#include "engine/port.h"
#include "flow/text.h"
#include "packet/build.h"
#include "packet/parse.h"
#include "rss/rss_config.h"
#include "rss/toeplitz.h"
#include "tapflow/abi/record.h"

#include <cstdio>
#include <memory>

using namespace tapflow;

int main() {
    const auto rule = flow::parse_rule("ingress pattern eth / ipv4 / udp dst is 53 / end actions queue index 3 / end");
    if (!rule) {
        std::puts(rule.error().message().c_str());
        return 1;
    }
    std::printf("rule %s\n", flow::to_text(*rule).c_str());

    // The first packet of Microsoft's RSS verification suite.
    const packet::Bytes frame = packet::Packet().ether().ipv4("66.9.149.187", "161.142.100.80").tcp(2794, 1766).bytes();
    tapflow_packet fields{};
    tapflow_parse(frame.data(), frame.data() + frame.size(), 0, &fields);
    auto tables = std::make_unique<tapflow_rss>();
    const auto key = rss::default_key();
    rss::build_tables({{key.begin(), key.end()}, rss::kIpv4Tcp, rss::round_robin_reta(4)}, *tables);
    uint32_t hash = 0;
    if (!tapflow_rss_hash(tables.get(), &fields, &hash))
        return 1;
    std::printf("hash 0x%08x\n", hash);

    engine::PortOptions options;
    options.remote = "no-such-remote";
    const auto port = engine::Port::open(options);
    std::printf("port %s\n", port ? "opened" : port.error().message().c_str());
    return port ? 1 : 0;
}
