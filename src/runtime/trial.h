// In: a provider that is about to be used with a model for the first time. Out: whether it may be:
// a child process tried it, now or earlier on this machine.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/embeddings.h"
#include "textvec/result.h"

namespace textvec::runtime {

// What a trial found. Times are of the same texts.
struct Verdict {
  bool right = false;    // it ran, and its vectors are the processor's
  std::string reason{};  // why not; one line
  double provider_ms = 0;
  double cpu_ms = 0;
  double cosine = 0;               // the smallest to the processor's vectors
  std::uint64_t memory_bytes = 0;  // by which the child grew while it opened and ran the session
  std::vector<ProviderPlacement> placement{};
  bool kept = false;  // an earlier trial's, out of the cache

  // By more than what two measurements differ by.
  bool slower() const noexcept { return provider_ms > 1.1 * cpu_ms; }
};

struct TrialSettings {
  // Everything that the verdict depends on: machine, system, versions, graph, provider, options.
  std::string subject{};
  std::filesystem::path cache_folder{};  // verdicts are kept below it; empty: this one is not kept
  std::vector<std::string> command{};    // of the child, whose last line is verdict_line()
  std::chrono::seconds limit{120};
  std::function<void(std::string_view)> log{};  // may be empty
};

// The verdict of an earlier trial, or a new one. Processes that ask at the same time make one
// trial: the others wait for it. Never fails: a trial that cannot be made is a verdict with its
// reason.
Verdict try_provider(const TrialSettings& settings);

// What the child prints at its end.
std::string verdict_line(const Verdict& verdict);
// One line without control characters, of at most 300 bytes.
std::string one_line(std::string_view words);

}  // namespace textvec::runtime
