// In: nothing. Out: what this machine is. See machine.h.
#include "runtime/machine.h"

#include <sys/utsname.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "runtime/processor.h"

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

}  // namespace

Machine describe_machine() {
  Machine machine;
  machine.system = describe_system();
  Processor processor = describe_processor();
  machine.processor = std::move(processor.name);
  machine.memory_bytes = processor.memory_bytes;
  machine.instruction_sets = interesting_of(processor.features);
  machine.cores_physical = processor.cores_physical;
  machine.cores_logical = std::max(1U, processor.cores_allowed);
  if (machine.cores_physical == 0) machine.cores_physical = machine.cores_logical;
  machine.cores_physical = std::min(machine.cores_physical, machine.cores_logical);
  return machine;
}

}  // namespace textvec::runtime
