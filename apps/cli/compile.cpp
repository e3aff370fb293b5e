// In: the options of `textvec compile`. Out: a folder with the model's graph, and what would run
// it.
#include "commands.h"
#include "compile_command.h"
#include "exit_code.h"
#include "output_file.h"
#include "progress.h"
#include "shape.h"
#include "table.h"

namespace textvec::cli {
namespace {

Result<void> check_buckets(const CompileCommand& command) {
  for (const std::string& bucket : command.buckets) {
    if (const auto shape = parse_shape("bucket", bucket); !shape) return shape.error();
  }
  if (!command.buckets.empty() && command.target != "static") {
    return Error{ErrorCode::InvalidArgument,
                 "--bucket is for --target static; a " + command.target + " graph takes any shape"};
  }
  return {};
}

}  // namespace

int run_compile(const CompileCommand& command) {
  if (const auto checked = check_buckets(command); !checked) return fail(checked.error());
  ModelOptions model;
  model.model = command.model;
  const auto placement = compile_to_folder(model_name(model), command.target, command.precision,
                                           command.output, compiling_bar());
  if (!placement) return fail(placement.error());
  Table table;
  table.row("folder", command.output);
  add_placement(table, *placement);
  return print(table.text());
}

}  // namespace textvec::cli
