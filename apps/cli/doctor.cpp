// In: the options of `textvec doctor`. Out: whether textvec can work here, and what would help.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "commands.h"
#include "exit_code.h"
#include "hub/locate.h"
#include "json_object.h"
#include "machine_report.h"
#include "output_file.h"
#include "provider_command.h"
#include "runtime/machine.h"
#include "runtime/providers.h"
#include "runtime/session.h"
#include "table.h"
#include "textvec/engine.h"
#include "textvec/version.h"

namespace textvec::cli {
namespace {

struct Check {
  std::string name{};
  bool passed = false;
  std::string note{};  // what was found
};

struct Report {
  runtime::Machine machine{};
  std::vector<std::string> providers_compiled_in{};
  std::vector<ProviderReport> providers{};
  std::string cache_folder{};
  std::string cache_problem{};  // empty: it can be written
  std::vector<Check> checks{};
  std::string tuned{};  // when the model was; empty: never
  std::vector<std::string> advice{};

  bool passed() const {
    return std::all_of(checks.begin(), checks.end(),
                       [](const Check& check) { return check.passed; });
  }
};

// Writes for real: permission bits do not tell of full disks and read-only mounts.
std::string why_not_writable(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return error.message();
  std::string path = folder + "/doctor.XXXXXX";
  const int descriptor = mkstemp(path.data());
  if (descriptor < 0) return std::generic_category().message(errno);
  const bool written = write(descriptor, "x", 1) == 1;
  const std::string reason = written ? "" : std::generic_category().message(errno);
  close(descriptor);
  unlink(path.c_str());
  return reason;
}

void look_at_cache(Report& report) {
  const auto folder = hub::cache_folder();
  if (folder) {
    report.cache_folder = folder->string();
    report.cache_problem = why_not_writable(report.cache_folder);
  } else {
    report.cache_problem = folder.error().message;
  }
  // Not a failed check: without a cache the graph is built in memory, and everything works.
  if (!report.cache_problem.empty()) {
    report.advice.push_back(
        "the cache cannot be written, so that every start compiles the model again; set "
        "TEXTVEC_CACHE to a folder that can be");
  }
}

// With the model, so that each is tried; without one it is only said which are here.
void look_at_providers(const ModelOptions& options, Report& report) {
  report.providers_compiled_in = runtime::runtime_providers();
  auto tried = report_providers(model_name(options), options.load);
  if (tried) {
    report.providers = std::move(*tried);
    return;
  }
  for (const Provider provider : runtime::device_providers()) {
    const bool named = provider == options.load.provider;
    const auto use =
        runtime::find_provider(provider, {}, named ? options.load.provider_library : std::string());
    ProviderReport& entry = report.providers.emplace_back();
    entry.provider = provider;
    entry.present = use.has_value();
    entry.why = use ? "not tried: there is no model" : use.error().message;
    if (use) entry.where = use->library.empty() ? "built in" : use->library;
  }
}

void look_at_machine(Report& report) {
  report.machine = runtime::describe_machine();
  const auto& sets = report.machine.instruction_sets;
  const auto has = [&](std::string_view name) {
    return std::find(sets.begin(), sets.end(), name) != sets.end();
  };
  if (!has("avx2") && !has("asimd")) {
    report.advice.push_back("this processor has neither AVX2 nor ASIMD; inference will be slow");
  }
}

// A vector of the right length whose own length is 1.
Check check_vector(const Engine& engine) {
  Check check{"vector", false, ""};
  const auto vectors = engine.embed("The quick brown fox jumps over the lazy dog.");
  if (!vectors) {
    check.note = vectors.error().message;
    return check;
  }
  double sum = 0;
  for (const float value : vectors->row(0)) sum += double{value} * double{value};
  const double off = std::abs(std::sqrt(sum) - 1);
  check.passed = vectors->dimension == engine.info().dimension && off <= 1e-5;  // false for NaN
  char norm[32];
  std::snprintf(norm, sizeof norm, "%.7f", std::sqrt(sum));
  check.note = std::to_string(vectors->dimension) + " components, length " + norm;
  return check;
}

// Devices and static graphs have nothing to tune.
bool takes_tuning(const ModelInfo& info) {
  return info.provider == Provider::Cpu && info.path != GraphPath::Static;
}

void check_model(const ModelOptions& options, Report& report) {
  const std::string name = model_name(options);
  const auto location = hub::locate(name);
  report.checks.push_back({"model found", location.has_value(),
                           location ? location->path.string() : location.error().message});
  if (!location) {
    report.advice.push_back(
        "give a model that is on this machine: --model FOLDER, or set "
        "TEXTVEC_MODEL");
    return;
  }
  const auto engine = Engine::load(name, options.load);
  if (engine && !engine->info().provider_note.empty()) {
    report.advice.push_back(engine->info().provider_note);
  }
  report.checks.push_back({"model loads", engine.has_value(),
                           engine ? engine->info().name + ", " +
                                        std::string(to_string(engine->info().path)) + ", " +
                                        std::string(to_string(engine->info().precision)) + ", " +
                                        std::string(to_string(engine->info().provider))
                                  : engine.error().message});
  if (!engine) return;
  report.checks.push_back(check_vector(*engine));
  report.tuned = engine->info().tuned;
  if (report.tuned.empty() && takes_tuning(engine->info())) {
    report.advice.push_back("textvec tune would find this model's fastest settings here");
  }
  for (const std::string& note : engine->info().notes) report.advice.push_back(note);
}

// "usable; built in, tried: 12.3 ms, cpu 45.6 ms, 307 of 310 nodes in 1 partition"
std::string provider_text(const ProviderReport& provider) {
  std::string text = provider.usable ? "usable" : "no: " + provider.why;
  if (!provider.present) return text;
  text += "; " + provider.where + (provider.tried ? ", tried" : ", not tried");
  if (!provider.tried) return text;
  if (provider.provider_ms > 0) {
    text +=
        ": " + decimal(provider.provider_ms, 1) + " ms, cpu " + decimal(provider.cpu_ms, 1) + " ms";
  }
  std::size_t nodes = 0;
  const ProviderPlacement* own = nullptr;
  for (const ProviderPlacement& part : provider.placement) {
    nodes += part.nodes;
    if (part.provider == runtime::runtime_name(provider.provider)) own = &part;
  }
  if (own == nullptr) return text;
  return text + "; " + std::to_string(own->nodes) + " of " + std::to_string(nodes) + " nodes in " +
         std::to_string(own->partitions) + (own->partitions == 1 ? " partition" : " partitions") +
         ", " + size_text(provider.memory_bytes);
}

std::string provider_json(const ProviderReport& provider) {
  JsonObject json;
  json.string("provider", to_string(provider.provider))
      .boolean("present", provider.present)
      .string("where", provider.where)
      .boolean("tried", provider.tried)
      .boolean("usable", provider.usable)
      .string("why", provider.why)
      .number("provider_ms", provider.provider_ms)
      .number("cpu_ms", provider.cpu_ms)
      .json("placement", placement_json(provider.placement))
      .integer("memory_bytes", provider.memory_bytes);
  return json.text();
}

std::string report_table(const Report& report) {
  const runtime::Machine& machine = report.machine;
  Table table;
  table.row("textvec", TEXTVEC_VERSION)
      .row("runtime", runtime::runtime_version())
      .row("system", machine.system);
  add_machine(table, machine);
  table.row("compiled in", joined(report.providers_compiled_in));
  table.row("provider cpu", "usable");
  for (const ProviderReport& provider : report.providers) {
    table.row("provider " + std::string(to_string(provider.provider)), provider_text(provider));
  }
  table.row("cache", report.cache_folder.empty() ? "none" : report.cache_folder)
      .row("cache writable", report.cache_problem.empty() ? "yes" : "no: " + report.cache_problem);
  for (const Check& check : report.checks) {
    table.row(check.name, (check.passed ? "ok: " : "FAILED: ") + check.note);
  }
  table.row("tuned", report.tuned.empty() ? "no" : report.tuned);
  for (const std::string& advice : report.advice) table.row("advice", advice);
  return table.text();
}

std::string report_json(const Report& report) {
  ProviderReport processor;
  processor.present = processor.usable = true;
  processor.where = "built in";
  std::vector<std::string> providers{provider_json(processor)};
  for (const ProviderReport& provider : report.providers) {
    providers.push_back(provider_json(provider));
  }
  std::vector<std::string> checks;
  for (const Check& check : report.checks) {
    JsonObject json;
    json.string("check", check.name).boolean("passed", check.passed);
    checks.push_back(json.string("note", check.note).text());
  }
  JsonObject cache;
  cache.string("folder", report.cache_folder)
      .boolean("writable", report.cache_problem.empty())
      .string("why", report.cache_problem);
  JsonObject json;
  json.string("version", TEXTVEC_VERSION)
      .string("runtime", runtime::runtime_version())
      .json("machine", machine_json(report.machine))
      .json("providers_compiled_in", json_strings(report.providers_compiled_in))
      .json("providers", json_array(providers))
      .json("cache", cache.text())
      .json("checks", json_array(checks))
      .string("tuned", report.tuned)
      .json("advice", json_strings(report.advice))
      .boolean("passed", report.passed());
  return json.text() + "\n";
}

}  // namespace

int run_doctor(const DoctorCommand& command) {
  Report report;
  look_at_machine(report);
  look_at_cache(report);
  look_at_providers(command.model, report);
  check_model(command.model, report);
  const int code = print(command.json ? report_json(report) : report_table(report));
  if (code != kDone) return code;
  return report.passed() ? kDone : kCheckFailed;
}

}  // namespace textvec::cli
