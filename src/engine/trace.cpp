// SPDX-License-Identifier: BSD-3-Clause
#include "engine/trace.h"

#include "kernel/bpf_objects.h"
#include "kernel/namespace.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace tapflow::engine {
namespace {

bool is_classifier(const Attached &attached) {
    return attached.program.starts_with("tap_egress") || attached.program.starts_with("remote_ingress");
}

/// The index of an interface of that namespace; 0 if the caller is in another one.
int index_here(const std::optional<kernel::LinkInfo> &link, const kernel::NamespaceId &where) {
    const auto here = kernel::this_namespace();
    const bool is_here = where == kernel::NamespaceId{} || (here && *here == where);
    return link && is_here ? link->index : 0;
}

} // namespace

Result<std::unique_ptr<kernel::TracePrograms>> trace(const InspectedPort &port, const TraceOptions &options) {
    const PortIdentity identity = port.identity();
    kernel::TraceSetup setup;
    std::vector<kernel::Fd> programs; // of those in the setup
    std::vector<uint32_t> ids;
    for (const Attached &attached : port.attached()) {
        if (!is_classifier(attached) || std::find(ids.begin(), ids.end(), attached.id) != ids.end())
            continue;
        auto program = kernel::open_program(attached.id);
        if (!program)
            return program.error();
        const bool at_remote = attached.program.starts_with("remote");
        const int ifindex =
            at_remote ? index_here(port.remote(), identity.home) : index_here(port.tap(), identity.tap_namespace);
        setup.programs.push_back({program->get(), attached.program, at_remote, ifindex});
        programs.push_back(*std::move(program));
        ids.push_back(attached.id);
    }
    setup.map = [&](const std::string &name) { return port.map(name); };
    setup.delivery = identity.delivery;
    setup.search = identity.search;
    setup.layer = identity.layer;
    setup.options = options.options;
    setup.ring_bytes = options.ring_bytes;
    setup.method = options.method;
    return kernel::TracePrograms::attach(setup);
}

bool is_attached(const InspectedPort &port) {
    const std::vector<Attached> attached = port.attached();
    return std::any_of(attached.begin(), attached.end(), is_classifier);
}

} // namespace tapflow::engine
