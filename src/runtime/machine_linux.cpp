// In: nothing. Out: what Linux says of the machine and of this process. See processor.h.
#include <malloc.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <limits>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

#include "runtime/machine.h"
#include "runtime/processor.h"

namespace textvec::runtime {
namespace {

// The cgroup's share of processor time, in whole cores; 0: no limit.
unsigned cgroup_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0;
  double period = 0;
  if (!(file >> quota >> period) || period <= 0) return 0;  // "max 100000" is no number
  return std::max(1U, static_cast<unsigned>(quota / period));
}

unsigned logical_cores_allowed() {
  cpu_set_t set;
  CPU_ZERO(&set);
  unsigned cores = std::thread::hardware_concurrency();
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) {
    cores = static_cast<unsigned>(CPU_COUNT(&set));
  }
  const unsigned limit = cgroup_cores();
  return limit == 0 ? cores : std::min(cores, limit);
}

}  // namespace

Processor describe_processor() {
  Processor processor;
  processor.cores_allowed = logical_cores_allowed();
  std::ifstream file("/proc/cpuinfo");
  std::set<std::pair<std::string, std::string> > cores;
  std::string package;
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    const std::string value = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
    if (key == "model name") processor.name = value;
    if (key == "physical id") package = value;
    if (key == "core id") cores.emplace(package, value);
    if ((key == "flags" || key == "Features") && processor.features.empty()) {
      processor.features = value;
    }
  }
  processor.cores_physical = static_cast<unsigned>(cores.size());
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_bytes = ::sysconf(_SC_PAGE_SIZE);
  if (pages > 0 && page_bytes > 0) {
    processor.memory_bytes =
        static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
  }
  return processor;
}

namespace {

std::uint64_t bytes_of_status(std::string_view wanted) {
  std::ifstream file("/proc/self/status");
  for (std::string key; file >> key;) {
    std::uint64_t kibibytes = 0;
    if (key == wanted && file >> kibibytes) return kibibytes << 10;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

}  // namespace

// Not getrusage(), which on Linux also counts what the process was before exec().
std::uint64_t peak_memory_bytes() { return bytes_of_status("VmHWM:"); }

std::uint64_t resident_memory_bytes() { return bytes_of_status("VmRSS:"); }

void return_freed_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace textvec::runtime
