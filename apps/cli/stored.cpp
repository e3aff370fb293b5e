// In: the options of `textvec models`, `verify-files` and `remove`. Out: what the caches hold,
// whether it is right, and less of it.
#include <algorithm>
#include <string>
#include <string_view>
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

std::string_view state_text(FileCheck::State state) {
  switch (state) {
    case FileCheck::State::Right:
      return "right";
    case FileCheck::State::Wrong:
      return "wrong";
    case FileCheck::State::Missing:
      return "missing";
    case FileCheck::State::Unknown:
      return "unknown";
  }
  return "unknown";
}

bool is_bad(const FileCheck& check) {
  return check.state == FileCheck::State::Wrong || check.state == FileCheck::State::Missing;
}

std::string model_json(const StoredModel& model) {
  JsonObject json;
  return json.string("name", model.name)
      .string("revision", model.revision)
      .string("commit", model.commit)
      .string("folder", model.folder)
      .string("weights", model.weights)
      .integer("bytes", model.bytes)
      .integer("bytes_unfinished", model.bytes_unfinished)
      .text();
}

std::string model_line(const StoredModel& model) {
  std::string line =
      size_text(model.bytes) + ", " + (model.weights.empty() ? "no weights" : model.weights);
  if (!model.commit.empty()) line += ", " + model.commit.substr(0, 12);
  if (model.bytes_unfinished > 0) line += ", " + size_text(model.bytes_unfinished) + " unfinished";
  return line;
}

std::string checks_json(const std::string& name, const std::vector<FileCheck>& checks) {
  std::vector<std::string> files;
  for (const FileCheck& check : checks) {
    JsonObject json;
    json.string("path", check.path)
        .integer("bytes", check.bytes)
        .string("state", state_text(check.state));
    files.push_back(json.text());
  }
  JsonObject json;
  json.string("name", name)
      .json("files", json_array(files))
      .boolean("passed", std::none_of(checks.begin(), checks.end(), is_bad));
  return json.text() + "\n";
}

std::string checks_table(const std::string& name, const std::vector<FileCheck>& checks) {
  Table table;
  for (const FileCheck& check : checks) {
    table.row(name + "/" + check.path, std::string(state_text(check.state)));
  }
  return table.text();
}

// Of every stored model: its name without a revision, once.
Result<std::vector<std::string>> all_names() {
  const auto models = stored_models();
  if (!models) return models.error();
  std::vector<std::string> names;
  for (const StoredModel& model : *models) {
    std::string name = model.name.substr(0, model.name.find('@'));
    if (names.empty() || names.back() != name) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace

int run_models(const ModelsCommand& command) {
  const auto models = stored_models();
  if (!models) return fail(models.error());
  if (command.json) {
    std::string lines;
    for (const StoredModel& model : *models) lines += model_json(model) + "\n";
    return print(lines);
  }
  if (models->empty()) say("no model is stored; `textvec pull NAME` brings one");
  Table table;
  for (const StoredModel& model : *models) table.row(model.name, model_line(model));
  return print(table.text());
}

int run_verify_files(const VerifyFilesCommand& command) {
  const Interrupt interrupt;
  auto names = command.names.empty() ? all_names() : command.names;
  if (!names) return fail(names.error());
  VerifyOptions options;
  options.remove_wrong = command.remove_wrong;
  options.stop = interrupt.token();
  int code = kDone;
  for (const std::string& name : *names) {
    options.progress = bytes_bar("reading " + name);
    const auto checks = verify_files(name, options);
    if (!checks) return fail(checks.error());
    const int printed =
        print(command.json ? checks_json(name, *checks) : checks_table(name, *checks));
    if (printed != kDone) return printed;
    if (std::none_of(checks->begin(), checks->end(), is_bad)) continue;
    code = kCheckFailed;
    say(name + " has wrong or missing files; " +
        (command.remove_wrong ? "wrong ones were removed, and `textvec pull` brings them anew"
                              : "--remove-wrong and then `textvec pull` bring them anew"));
  }
  return code;
}

int run_remove(const RemoveCommand& command) {
  for (const std::string& name : command.names) {
    const auto bytes = remove_model(name);
    if (!bytes) return fail(bytes.error());
    say("removed " + name + ", " + size_text(*bytes));
  }
  return kDone;
}

}  // namespace textvec::cli
