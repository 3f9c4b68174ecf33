// SPDX-License-Identifier: BSD-3-Clause
#include "support/eal.h"

#include "support/cpus.h"
#include "support/system.h"

#include <cstdlib>
#include <system_error>

namespace tapflow::test {

RuntimeDirectory::RuntimeDirectory() {
    std::string path = (std::filesystem::temp_directory_path() / "tapflow-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr)
        throw_errno("make a directory like " + path);
    path_ = path;
}

RuntimeDirectory::~RuntimeDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string floating_lcores(unsigned count) {
    std::string cpus;
    for (const int cpu : own_cpus())
        cpus.append(cpus.empty() ? "" : ",").append(std::to_string(cpu));
    std::string lcores;
    for (unsigned lcore = 0; lcore < count; ++lcore)
        lcores.append(lcore == 0 ? "" : ",").append(std::to_string(lcore)).append("@(").append(cpus).append(")");
    return lcores;
}

} // namespace tapflow::test
