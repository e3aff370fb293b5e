// In: what --model says and the LoadOptions. Out: everything that an engine is made of, checked
// against each other.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/spec.h"
#include "runtime/session.h"
#include "textvec/embeddings.h"
#include "textvec/options.h"
#include "textvec/result.h"
#include "tokens/tokenizer.h"
#include "vectors/dense.h"

namespace textvec {

inline constexpr unsigned kThreadsMax = 1024;
inline constexpr std::size_t kBatchTokensMax = std::size_t{1} << 20;

struct LoadedModel {
  model::ModelSpec spec{};
  tokens::Tokenizer tokenizer;
  std::vector<vectors::Dense> dense{};
  std::unique_ptr<runtime::Session> session{};
  std::unique_ptr<runtime::Session> few_cores{};  // when several batches run at a time
  std::size_t width = 0;                          // of the session's output
  ModelInfo info{};
};

// Whether a provider is tried by a child process before this one uses it. Blind: the child's way.
enum class Trust : unsigned char { AfterTrial, Blind };

Result<LoadedModel> load_model(std::string_view model, const LoadOptions& options,
                               Trust trust = Trust::AfterTrial);

// The model's info as it is true now: a session may lose its device while it serves, once. Must
// outlive the session's last run, and be made before its first one that serves.
class LiveInfo {
 public:
  explicit LiveInfo(LoadedModel& model);
  LiveInfo(const LiveInfo&) = delete;
  LiveInfo& operator=(const LiveInfo&) = delete;

  // From any thread; what it refers to stays as it is until the end of this object.
  const ModelInfo& now() const noexcept { return *now_.load(); }

 private:
  const ModelInfo first_;
  ModelInfo after_loss_{};
  std::atomic<const ModelInfo*> now_;
};

// The model's folder and name, and the .onnx file when one was named or is all there is.
struct ModelFiles {
  std::string name{};
  std::filesystem::path folder{};
  std::filesystem::path onnx_file{};  // empty: compile from the weights
  model::ModelSpec spec{};
};

// Which of the paths fused and as-is the model takes. Errors: NotFound, BadModel, Unsupported.
Result<ModelFiles> find_model(std::string_view model);

// What the model's files state, or a safe guess.
std::size_t tokens_max_of(const model::ModelSpec& spec);

}  // namespace textvec
