// SPDX-License-Identifier: BSD-3-Clause
#include "support/hugepages.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace tapflow::test {
namespace {

constexpr const char *kPages = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

unsigned pages() {
    unsigned number = 0;
    std::ifstream(kPages) >> number;
    return number;
}

void set_pages(unsigned number) { std::ofstream(kPages) << number; }

} // namespace

Hugepages::Hugepages(unsigned wanted)
    : lock_(owned(::open("/run/tapflow-test-hugepages", O_CREAT | O_RDWR | O_CLOEXEC, 0600), "open a lock")) {
    if (flock(lock_.get(), LOCK_EX) != 0)
        throw_errno("lock the machine's hugepages");
    before_ = pages();
    set_pages(before_ + wanted);
    if (pages() < before_ + wanted) {
        const unsigned got = pages();
        set_pages(before_);
        throw std::runtime_error("no " + std::to_string(wanted) + " hugepages, only " + std::to_string(got - before_));
    }
    std::string path = (std::filesystem::temp_directory_path() / "tapflow-huge-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr || mount("none", path.c_str(), "hugetlbfs", 0, "pagesize=2M") != 0) {
        set_pages(before_);
        throw_errno("mount a hugetlbfs at " + path);
    }
    directory_ = path;
}

Hugepages::~Hugepages() {
    (void)umount(directory_.c_str());
    std::error_code ignored;
    std::filesystem::remove(directory_, ignored);
    set_pages(before_);
}

} // namespace tapflow::test
