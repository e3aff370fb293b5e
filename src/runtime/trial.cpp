// In: a provider that is about to be used. Out: whether it may be. See trial.h.
#include "runtime/trial.h"

#include <charconv>
#include <optional>
#include <system_error>

#include "hub/child_process.h"
#include "hub/file_lock.h"
#include "model/folder.h"
#include "model/hash.h"
#include "model/json.h"

namespace textvec::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = "textvec-verdict ";
constexpr std::size_t kLineBytesMax = 300;
constexpr std::size_t kHeadBytes = 60;  // of a line that is too long
constexpr std::size_t kRecordBytesMax = 1U << 16;
constexpr std::size_t kPlacementsMax = 64;
// Raised when the trial itself changes, so that it is made anew.
constexpr int kTrialFormat = 1;

void append_number(std::string& json, const char* key, double value) {
  json += ",\"" + std::string(key) + "\":";
  model::append_json_number(json, static_cast<float>(value));
}

std::string verdict_json(const Verdict& verdict) {
  std::string json = "{\"right\":";
  json += verdict.right ? "true" : "false";
  json += ",\"reason\":";
  model::append_json_string(json, verdict.reason);
  append_number(json, "provider_ms", verdict.provider_ms);
  append_number(json, "cpu_ms", verdict.cpu_ms);
  append_number(json, "cosine", verdict.cosine);
  json += ",\"memory_bytes\":" + std::to_string(verdict.memory_bytes) + ",\"placement\":[";
  for (std::size_t i = 0; i < verdict.placement.size(); ++i) {
    const ProviderPlacement& part = verdict.placement[i];
    json += i == 0 ? "{\"provider\":" : ",{\"provider\":";
    model::append_json_string(json, part.provider);
    json += ",\"nodes\":" + std::to_string(part.nodes) +
            ",\"partitions\":" + std::to_string(part.partitions) + "}";
  }
  return json + "]}";
}

std::optional<Verdict> read_verdict(const model::Json& json) {
  const model::JsonReader reader(json, "verdict");
  Verdict verdict;
  const auto right = reader.boolean_or("right", false);
  const auto reason = reader.string("reason");
  const auto provider_ms = reader.number("provider_ms");
  const auto cpu_ms = reader.number("cpu_ms");
  const auto cosine = reader.number("cosine");
  const auto memory = reader.size("memory_bytes", 0, std::size_t{1} << 50);
  const model::Json* placement = json.find("placement");
  if (!right || !reason || !provider_ms || !cpu_ms || !cosine || !memory || placement == nullptr ||
      !placement->is(model::Json::Kind::Array)) {
    return std::nullopt;
  }
  for (const model::Json& part : placement->array()) {
    const model::JsonReader entry(part, "verdict");
    const auto provider = entry.string("provider");
    const auto nodes = entry.size("nodes", 0, std::size_t{1} << 40);
    const auto partitions = entry.size("partitions", 0, std::size_t{1} << 40);
    if (!provider || !nodes || !partitions || verdict.placement.size() == kPlacementsMax) {
      return std::nullopt;
    }
    verdict.placement.push_back({*provider, *nodes, *partitions});
  }
  verdict.right = *right;
  verdict.reason = one_line(*reason);
  verdict.provider_ms = *provider_ms;
  verdict.cpu_ms = *cpu_ms;
  verdict.cosine = *cosine;
  verdict.memory_bytes = *memory;
  return verdict;
}

// The subject is in the file too, so that it can be read by people, and never stands for another.
std::optional<Verdict> read_record(const fs::path& file, const std::string& subject) {
  const auto json = model::read_json_file(file, kRecordBytesMax);
  if (!json) return std::nullopt;
  const model::Json* about = json->find("subject");
  const model::Json* verdict = json->find("verdict");
  if (about == nullptr || !about->is(model::Json::Kind::String) || about->string() != subject ||
      verdict == nullptr || !verdict->is(model::Json::Kind::Object)) {
    return std::nullopt;
  }
  auto read = read_verdict(*verdict);
  if (read) read->kept = true;
  return read;
}

bool write_record(const fs::path& file, const std::string& subject, const Verdict& verdict) {
  std::string text = "{\"subject\":";
  model::append_json_string(text, subject);
  text += ",\"verdict\":" + verdict_json(verdict) + "}\n";
  return !model::write_text(file, text);
}

Verdict failed(const std::string& reason) {
  Verdict verdict;
  verdict.reason = one_line(reason);
  return verdict;
}

// The line of the output that begins with `start`, the last one; without `start`.
std::optional<std::string_view> last_line(std::string_view output, std::string_view start) {
  for (std::size_t end = output.size(); end > 0;) {
    const std::size_t newline = output.rfind('\n', end - 1);
    const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    const std::string_view line = output.substr(begin, end - begin);
    if (line.starts_with(start)) return line.substr(start.size());
    if (newline == std::string_view::npos) break;
    end = newline;
  }
  return std::nullopt;
}

std::string last_words(std::string_view output) {
  if (const auto error = last_line(output, "textvec: ")) return ": " + std::string(*error);
  while (!output.empty() && output.back() == '\n') output.remove_suffix(1);
  const std::size_t newline = output.rfind('\n');
  const auto line = newline == std::string_view::npos ? output : output.substr(newline + 1);
  return line.empty() ? "" : ": " + std::string(line);
}

Verdict run_trial(const TrialSettings& settings) {
  if (settings.log) {
    settings.log("the provider is tried with this model in a process of its own, for at most " +
                 std::to_string(settings.limit.count()) + " s");
  }
  hub::ChildOptions options;
  options.limit = settings.limit;
  const auto end = hub::run_child(settings.command, options);
  if (!end) return failed("its process could not be started: " + end.error().message);
  using How = hub::ChildEnd::How;
  if (end->how == How::TimedOut || end->how == How::Stopped) {
    return failed("its process did not end within " + std::to_string(settings.limit.count()) +
                  " s");
  }
  if (end->how == How::Signalled) {
    return failed("its process was ended by " + hub::signal_name(end->number) +
                  last_words(end->output));
  }
  if (end->how == How::Exited && end->number != 0) {
    return failed("its process failed" + last_words(end->output));
  }
  // Whatever the provider's own libraries printed stands before it.
  const auto line = last_line(end->output, kMark);
  const auto json = model::parse_json(line ? *line : "", "the trial");
  auto verdict = json ? read_verdict(*json) : std::nullopt;
  if (verdict) return *verdict;
  return failed("its process gave no verdict" + last_words(end->output));
}

}  // namespace

std::string one_line(std::string_view words) {
  std::string line;
  for (const char letter : words) {
    const bool is_control = static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f;
    if (!is_control) {
      line += letter;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  line.erase(line.find_last_not_of(' ') + 1);
  if (line.size() <= kLineBytesMax) return line;
  // ONNX Runtime says first where in its sources it was, and at the end what was wrong.
  const std::string_view mark = " ... ";
  const std::size_t tail = kLineBytesMax - kHeadBytes - mark.size();
  return line.substr(0, kHeadBytes) + std::string(mark) + line.substr(line.size() - tail);
}

std::string verdict_line(const Verdict& verdict) {
  return "\n" + std::string(kMark) + verdict_json(verdict) + "\n";
}

Verdict try_provider(const TrialSettings& settings) {
  if (settings.cache_folder.empty()) return run_trial(settings);
  const std::string subject = settings.subject + "\ntrial format " + std::to_string(kTrialFormat);
  model::Sha256 hash;
  hash.update(subject);
  const fs::path folder = settings.cache_folder / "verdicts";
  const std::string name = hash.finish();
  const fs::path file = folder / (name + ".json");
  if (auto kept = read_record(file, subject)) return *kept;

  const auto log = [&](const std::string& line) {
    if (settings.log) settings.log(line);
  };
  const auto lock = hub::FileLock::take(folder / (name + ".lock"), {}, [&] {
    log("waiting for another process, which tries the provider");
  });
  if (!lock) {
    log(lock.error().message + "; the provider is tried at every start");
    return run_trial(settings);
  }
  // Whoever held the lock may have made it.
  if (auto kept = read_record(file, subject)) return *kept;
  const Verdict verdict = run_trial(settings);
  if (!write_record(file, subject, verdict)) {
    log("cannot write " + file.string() + "; the provider is tried at every start");
  }
  return verdict;
}

}  // namespace textvec::runtime
