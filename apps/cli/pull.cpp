// In: the options of `textvec pull`. Out: models in the cache, and what was or would be brought.
#include <string>
#include <utility>
#include <vector>

#include "commands.h"
#include "exit_code.h"
#include "interrupt.h"
#include "json_object.h"
#include "output_file.h"
#include "progress.h"
#include "table.h"

namespace textvec::cli {
namespace {

std::string version_of(const PullPlan& plan) {
  std::string commit = plan.commit.substr(0, 12);
  if (plan.revision.empty() || plan.revision == plan.commit) return commit;
  return plan.revision + (commit.empty() ? "" : ", which is " + commit);
}

void say_plan(const PullPlan& plan) {
  say(plan.name + (plan.commit.empty() ? "" : " at " + version_of(plan)) + ", from " + plan.source);
  if (plan.variant != Variant::Auto) {
    say("variant " + std::string(to_string(plan.variant)) +
        (plan.reason.empty() ? "" : ": " + plan.reason));
  }
  std::size_t width = 0;
  for (const PullFile& file : plan.files) width = std::max(width, file.path.size());
  for (const PullFile& file : plan.files) {
    say("  " + file.path + std::string(width - file.path.size() + 2, ' ') + size_text(file.bytes) +
        (file.is_here ? ", here already" : ""));
  }
  if (plan.files.empty()) return;
  say(size_text(plan.bytes_missing) + " of " + size_text(plan.bytes_total) + " to download, " +
      size_text(plan.bytes_free) + " free, to " + plan.folder);
}

std::string plan_json(const PullPlan& plan, bool dry_run) {
  std::vector<std::string> files;
  for (const PullFile& file : plan.files) {
    JsonObject json;
    json.string("path", file.path).integer("bytes", file.bytes).boolean("is_here", file.is_here);
    files.push_back(json.text());
  }
  JsonObject json;
  json.string("name", plan.name)
      .string("source", plan.source)
      .string("revision", plan.revision)
      .string("commit", plan.commit)
      .string("variant", to_string(plan.variant))
      .string("reason", plan.reason)
      .json("files", json_array(files))
      .integer("bytes_total", plan.bytes_total)
      .integer("bytes_missing", plan.bytes_missing)
      .integer("bytes_free", plan.bytes_free)
      .string("folder", plan.folder)
      .string("model", plan.model)
      .boolean("dry_run", dry_run);
  return json.text() + "\n";
}

}  // namespace

int run_pull(const PullCommand& command) {
  const Interrupt interrupt;
  PullOptions options = command.pull;
  options.stop = interrupt.token();
  options.log = [](std::string_view line) { say(line); };
  options.planned = say_plan;
  for (const std::string& name : command.names) {
    options.progress = bytes_bar("downloading " + name);
    const auto pulled = pull(name, options);
    if (!pulled) return fail(pulled.error());
    const int code =
        print(command.json ? plan_json(*pulled, options.dry_run) : pulled->model + "\n");
    if (code != kDone) return code;
  }
  return kDone;
}

}  // namespace textvec::cli
