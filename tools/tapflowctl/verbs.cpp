// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/verbs.h"

namespace tapflow::ctl {

void add_verbs(CLI::App &app, Invocation &run) {
    add_list(app, run);
    add_show(app, run);
    add_rules(app, run);
    add_explain(app, run);
    add_verify(app, run);
    add_balance(app, run);
    add_trace(app, run);
    add_save(app, run);
    add_doctor(app, run);
    add_completion(app, run);
    add_man(app, run);
}

} // namespace tapflow::ctl
