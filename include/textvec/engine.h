// Start here. An Engine is a loaded embedding model:
//
//   auto engine = textvec::Engine::load("sentence-transformers/all-MiniLM-L6-v2");
//   if (!engine) return fail(engine.error().message);
//   auto vectors = engine->embed("hello");
//   if (!vectors) return fail(vectors.error().message);
//   use(vectors->row(0));  // 384 floats of length 1
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/embeddings.h"
#include "textvec/export.h"
#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec {

// Immutable after load(); every const member may be called from any thread at the same time.
// The destructor finishes the batch in flight and fails what still waits with Cancelled.
class TEXTVEC_EXPORT Engine {
 public:
  // `model` is a folder (sentence-transformers layout, or an ONNX file beside a tokenizer.json),
  // an .onnx file, or a name such as "sentence-transformers/all-MiniLM-L6-v2" that textvec's cache
  // or the Hugging Face cache holds. Reads, compiles if need be, and starts the runtime.
  // Errors: NotFound, BadModel, Unsupported, InvalidArgument, Provider, Internal.
  static Result<Engine> load(std::string_view model, LoadOptions options = {});

  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  // Blocks until the vectors are ready. Concurrent calls share batches. Borrows its texts (UTF-8)
  // for the call only. Waits for room in the queue, so any number of texts may be given.
  // Errors: InvalidArgument, InputTooLong, NonFinite (with Error::text), TimedOut, Cancelled,
  // Unsupported, Internal.
  Result<Embeddings> embed(std::string_view text, const EmbedOptions& options = {}) const;
  Result<Embeddings> embed(std::span<const std::string> texts,
                           const EmbedOptions& options = {}) const;
  Result<Embeddings> embed(std::span<const std::string_view> texts,
                           const EmbedOptions& options = {}) const;

  // The same without waiting for the vectors: tokenises on the calling thread, queues, returns.
  // Owns its texts. Never waits for room: Overloaded when the queue is full; InvalidArgument when
  // the texts alone are more than LoadOptions::queue_texts_max. With TooLong::Chunk each window is
  // a text to the queue; when nothing waits, 4,096 are taken whatever queue_texts_max says, and as
  // many more as the last text makes.
  std::future<Result<Embeddings>> submit(std::vector<std::string> texts,
                                         EmbedOptions options = {}) const;

  // The same with a callback, which gets the result once: on the engine's own thread, or, where
  // nothing had to run, on the calling one before submit() returns. It must not throw, and must not
  // keep the engine's thread from its work.
  using Done = std::function<void(Result<Embeddings>)>;
  void submit(std::vector<std::string> texts, EmbedOptions options, Done done) const;

  // Token ids instead of texts. They run as they stand: no special token and no prompt is added to
  // them, and none is cut off, so that role, prompt, instruction and chunks do not go with them.
  // Errors besides those of submit(): InvalidArgument (an id outside the vocabulary, named; no
  // ids), InputTooLong.
  void submit_tokens(std::vector<std::vector<std::uint32_t>> texts, EmbedOptions options,
                     Done done) const;

  // The vector of every token, special tokens and prompt among them: what the model gives before it
  // pools. They go the way of embed(), in batches with others' texts. EmbedOptions::normalize does
  // not count, dimensions and chunks do not go with them. Memory: 4 bytes times the tokens times
  // the hidden size. Errors besides those of embed(): Unsupported (the model's graph pools by
  // itself: ModelInfo::pooled_by_graph).
  Result<TokenVectors> token_vectors(std::span<const std::string> texts,
                                     const EmbedOptions& options = {}) const;

  // The same without waiting, as submit() and submit_tokens() are to embed(). `admit` is asked
  // once, on the calling thread, when the texts are tokenised and before memory is taken, of how
  // many tokens there will be vectors; its error is the call's. Empty: any number is right.
  using Admit = std::function<Result<void>(std::size_t tokens)>;
  using TokensDone = std::function<void(Result<TokenVectors>)>;
  void submit_token_vectors(std::vector<std::string> texts, EmbedOptions options,
                            const Admit& admit, TokensDone done) const;
  void submit_token_vectors(std::vector<std::vector<std::uint32_t>> texts, EmbedOptions options,
                            const Admit& admit, TokensDone done) const;

  // The token ids the model would see, prompt, special tokens and truncation included; with
  // TooLong::Chunk those of the whole text, before it is split. Errors: as of embed(), but for
  // NonFinite.
  Result<std::vector<std::vector<std::uint32_t>>> tokenize(std::span<const std::string> texts,
                                                           const EmbedOptions& options = {}) const;

  // The same for one text, each token with what it stands for; never truncated. Errors: as of
  // embed(), but for NonFinite and InputTooLong.
  Result<std::vector<Token>> tokens(std::string_view text, const EmbedOptions& options = {}) const;

  // The text that ids stand for. Errors: InvalidArgument (an id that is not in the vocabulary).
  Result<std::string> decode(std::span<const std::uint32_t> ids, bool skip_special_tokens) const;

  // What is true now: when a device is lost while serving, a later call shows Provider::Cpu and
  // why. What an earlier call referred to stays as it was, until the engine's end.
  const ModelInfo& info() const noexcept;

  // Embeds one short text for real and checks the vector. Fails with TimedOut after `limit`, and
  // with Overloaded when the queue is full.
  Result<Health> health(std::chrono::milliseconds limit = std::chrono::seconds(10)) const;

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace textvec
