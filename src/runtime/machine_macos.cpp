// In: nothing. Out: what macOS says of the machine and of this process. See processor.h.
#include <mach/mach.h>
#include <malloc/malloc.h>
#include <sys/resource.h>
#include <sys/sysctl.h>

#include <cstddef>
#include <thread>
#include <utility>

#include "runtime/machine.h"
#include "runtime/processor.h"

namespace textvec::runtime {
namespace {

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

}  // namespace

Processor describe_processor() {
  Processor processor;
  processor.name = sysctl_text("machdep.cpu.brand_string");
  // Performance cores where the machine tells them apart: work waits for the slowest core.
  const std::uint64_t fast = sysctl_number("hw.perflevel0.physicalcpu");
  const std::uint64_t physical = fast != 0 ? fast : sysctl_number("hw.physicalcpu");
  processor.cores_physical = static_cast<unsigned>(physical);
  processor.memory_bytes = sysctl_number("hw.memsize");
  processor.features = "asimd";
  for (const auto& [key, name] : {std::pair{"hw.optional.arm.FEAT_DotProd", " asimddp"},
                                  std::pair{"hw.optional.arm.FEAT_I8MM", " i8mm"},
                                  std::pair{"hw.optional.arm.FEAT_BF16", " bf16"},
                                  std::pair{"hw.optional.arm.FEAT_SME", " sme"}}) {
    if (sysctl_number(key) != 0) processor.features += name;
  }
  processor.cores_allowed = std::thread::hardware_concurrency();
  return processor;
}

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

void return_freed_memory() { ::malloc_zone_pressure_relief(nullptr, 0); }

}  // namespace textvec::runtime
