// In: the options of `textvec compile`. Out: a folder with the model's graph, and what would run
// it.
#include <charconv>
#include <string_view>

#include "commands.h"
#include "compile_command.h"
#include "exit_code.h"
#include "output_file.h"
#include "table.h"

namespace textvec::cli {
namespace {

constexpr std::size_t kBucketTextsMax = 4096;
constexpr std::size_t kBucketTokensMax = std::size_t{1} << 20;

bool is_number_within(std::string_view text, std::size_t max) {
  std::size_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() && value >= 1 &&
         value <= max;
}

Result<void> check_buckets(const CompileCommand& command) {
  for (const std::string& bucket : command.buckets) {
    const std::string_view text = bucket;
    const std::size_t x = text.find('x');
    if (x == std::string_view::npos || !is_number_within(text.substr(0, x), kBucketTextsMax) ||
        !is_number_within(text.substr(x + 1), kBucketTokensMax)) {
      return Error{ErrorCode::InvalidArgument,
                   "bucket \"" + bucket + "\"; it takes TEXTSxTOKENS, such as 8x128, of at most " +
                       std::to_string(kBucketTextsMax) + " texts and " +
                       std::to_string(kBucketTokensMax) + " tokens"};
    }
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
  const auto placement =
      compile_to_folder(model_name(model), command.target, command.precision, command.output);
  if (!placement) return fail(placement.error());
  Table table;
  table.row("folder", command.output);
  add_placement(table, *placement);
  return print(table.text());
}

}  // namespace textvec::cli
