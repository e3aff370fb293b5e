// In: nothing. Out: what this machine is. See machine.h.
#include "runtime/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>

#ifdef __APPLE__
#include <mach/mach.h>
#include <sys/resource.h>
#include <sys/sysctl.h>
#else
#include <sched.h>
#endif

namespace textvec::runtime {
namespace {

std::string describe_system() {
  struct utsname name{};
  if (::uname(&name) != 0) return {};
  return std::string(name.sysname) + " " + name.release + " " + name.machine;
}

// Names of processor features that the kernels of ONNX Runtime and textvec choose by.
constexpr std::string_view kInteresting[] = {
    "avx",         "avx2",     "fma",         "f16c",     "avx512f",  "avx512bw",
    "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd",
    "asimddp",     "i8mm",     "bf16",        "sve",      "sme"};

std::vector<std::string> interesting_of(const std::string& flags) {
  std::istringstream words(flags);
  std::set<std::string> all;
  for (std::string word; words >> word;) all.insert(word);
  std::vector<std::string> found;
  for (const std::string_view name : kInteresting) {
    if (all.contains(std::string(name))) found.emplace_back(name);
  }
  return found;
}

#ifdef __APPLE__

std::string sysctl_text(const char* name) {
  char text[256] = {};
  std::size_t size = sizeof(text) - 1;
  return ::sysctlbyname(name, text, &size, nullptr, 0) == 0 ? text : "";
}

std::uint64_t sysctl_number(const char* name) {
  std::uint64_t value = 0;
  std::size_t size = sizeof(value);
  return ::sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

void read_processor(Machine& machine) {
  machine.processor = sysctl_text("machdep.cpu.brand_string");
  // Performance cores where the machine tells them apart: work waits for the slowest core.
  const std::uint64_t fast = sysctl_number("hw.perflevel0.physicalcpu");
  const std::uint64_t physical = fast != 0 ? fast : sysctl_number("hw.physicalcpu");
  machine.cores_physical = static_cast<unsigned>(physical);
  machine.memory_bytes = sysctl_number("hw.memsize");
  std::string flags = "asimd";
  for (const auto& [key, name] : {std::pair{"hw.optional.arm.FEAT_DotProd", " asimddp"},
                                  std::pair{"hw.optional.arm.FEAT_I8MM", " i8mm"},
                                  std::pair{"hw.optional.arm.FEAT_BF16", " bf16"},
                                  std::pair{"hw.optional.arm.FEAT_SME", " sme"}}) {
    if (sysctl_number(key) != 0) flags += name;
  }
  machine.instruction_sets = interesting_of(flags);
}

unsigned logical_cores_allowed() { return std::thread::hardware_concurrency(); }

#else

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

void read_processor(Machine& machine) {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::pair<std::string, std::string> > cores;
  std::string package;
  std::string flags;
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    const std::string value = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
    if (key == "model name") machine.processor = value;
    if (key == "physical id") package = value;
    if (key == "core id") cores.emplace(package, value);
    if ((key == "flags" || key == "Features") && flags.empty()) flags = value;
  }
  machine.cores_physical = static_cast<unsigned>(cores.size());
  machine.instruction_sets = interesting_of(flags);
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_bytes = ::sysconf(_SC_PAGE_SIZE);
  if (pages > 0 && page_bytes > 0) {
    machine.memory_bytes =
        static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
  }
}

#endif

}  // namespace

Machine describe_machine() {
  Machine machine;
  machine.system = describe_system();
  read_processor(machine);
  machine.cores_logical = std::max(1U, logical_cores_allowed());
  if (machine.cores_physical == 0) machine.cores_physical = machine.cores_logical;
  machine.cores_physical = std::min(machine.cores_physical, machine.cores_logical);
  return machine;
}

#ifdef __APPLE__

std::uint64_t peak_memory_bytes() {
  struct rusage usage{};
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<std::uint64_t>(usage.ru_maxrss) : 0;
}

std::uint64_t resident_memory_bytes() {
  mach_task_basic_info_data_t info{};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  const kern_return_t done = ::task_info(mach_task_self(), MACH_TASK_BASIC_INFO,
                                         reinterpret_cast<task_info_t>(&info), &count);
  return done == KERN_SUCCESS ? info.resident_size : 0;
}

#else

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

#endif

}  // namespace textvec::runtime
