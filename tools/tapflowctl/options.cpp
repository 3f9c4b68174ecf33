// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"

#include <array>
#include <cstdio>

namespace tapflow::ctl {

CLI::Option *add_json(CLI::App &verb, bool &json) { return verb.add_flag("--json", json, "Print JSON"); }

CLI::Option *add_port(CLI::App &verb, std::string &port) {
    return verb.add_option("IFACE", port, "The port: its tap, its device name or its remote")->type_name("IFACE");
}

CLI::Validator seconds_between(double least, double most) {
    return {[=](const std::string &text) -> std::string {
                double seconds = 0;
                if (CLI::detail::lexical_cast(text, seconds) && seconds >= least && seconds <= most)
                    return {};
                std::array<char, 80> range{};
                std::snprintf(range.data(), range.size(), "not a time from %g to %g seconds", least, most);
                return range.data();
            },
            ""};
}

} // namespace tapflow::ctl
