// In: what the machine is. Out: rows of a table, or JSON. See machine_report.h.
#include "machine_report.h"

#include "json_object.h"

namespace textvec::cli {

void add_machine(Table& table, const runtime::Machine& machine) {
  table.row("processor", machine.processor.empty() ? "unknown" : machine.processor)
      .row("cores", std::to_string(machine.cores_physical) + " physical, " +
                        std::to_string(machine.cores_logical) + " logical")
      .row("memory", machine.memory_bytes == 0
                         ? "unknown"
                         : std::to_string(machine.memory_bytes >> 20) + " MiB")
      .row("instruction sets", joined(machine.instruction_sets));
}

std::string machine_json(const runtime::Machine& machine) {
  JsonObject json;
  json.string("system", machine.system)
      .string("processor", machine.processor)
      .integer("cores_physical", machine.cores_physical)
      .integer("cores_logical", machine.cores_logical)
      .integer("memory_bytes", machine.memory_bytes)
      .json("instruction_sets", json_strings(machine.instruction_sets));
  return json.text();
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text.empty() ? "none" : text;
}

}  // namespace textvec::cli
