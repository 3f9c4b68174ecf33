// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"

namespace tapflow::ctl {

CLI::Option *add_json(CLI::App &verb, bool &json) { return verb.add_flag("--json", json, "Print JSON"); }

CLI::Option *add_port(CLI::App &verb, std::string &port) {
    return verb.add_option("IFACE", port, "The port: its tap, its device name or its remote")->type_name("IFACE");
}

} // namespace tapflow::ctl
