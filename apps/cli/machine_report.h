// In: what the machine is. Out: rows of a table, or JSON.
#pragma once

#include <string>
#include <vector>

#include "runtime/machine.h"
#include "table.h"

namespace textvec::cli {

void add_machine(Table& table, const runtime::Machine& machine);
std::string machine_json(const runtime::Machine& machine);

// With spaces between them; "none" when there are none.
std::string joined(const std::vector<std::string>& words);

}  // namespace textvec::cli
