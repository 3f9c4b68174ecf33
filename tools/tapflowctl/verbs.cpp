// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/verbs.h"

namespace tapflow::ctl {

void add_verbs(CLI::App &app, Invocation &run) {
    add_doctor(app, run);
    add_completion(app, run);
    add_man(app, run);
}

} // namespace tapflow::ctl
