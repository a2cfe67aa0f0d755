// Takes huge pages from the kernel for as long as it lives.
#pragma once

#include <fstream>
#include <string>

namespace pinfold::test {

class HugePages {
public:
    // `size_kb` as the kernel names it: "2048". Whether so many are free then, because the kernel
    // gave them (to root) or had them, is in `got`.
    HugePages(std::string const& size_kb, unsigned pages)
        : file_{"/sys/kernel/mm/hugepages/hugepages-" + size_kb + "kB/nr_hugepages"}
    {
        std::ifstream{file_} >> before_;
        std::ofstream{file_} << before_ + pages;
        unsigned free = 0;
        std::ifstream{"/sys/kernel/mm/hugepages/hugepages-" + size_kb + "kB/free_hugepages"} >>
            free;
        got = free >= pages;
    }
    HugePages(HugePages const&) = delete;
    HugePages& operator=(HugePages const&) = delete;
    ~HugePages() { std::ofstream{file_} << before_; }

    bool got = false;

private:
    std::string file_;
    unsigned before_ = 0;
};

}  // namespace pinfold::test
