// In: the options of `textvec embed`. Out: a vector per text, in the order of the texts.
#include <chrono>
#include <deque>
#include <future>
#include <utility>

#include "bad_texts.h"
#include "commands.h"
#include "progress.h"
#include "textvec/engine.h"

namespace textvec::cli {
namespace {

using Clock = std::chrono::steady_clock;

// The stages of a run: windows of texts are read and submitted, two at a time, so that one is
// tokenised while the other is inferred; each is written when it is the oldest.
class Run {
 public:
  Run(const Engine& engine, EmbedOptions options, TextSource& source, VectorWriter& writer)
      : engine_(engine),
        options_(std::move(options)),
        source_(source),
        writer_(writer),
        progress_(source.bytes_total()) {}

  Result<void> run() {
    for (;;) {
      // What is done is written before anybody waits for more input.
      while (running_.size() == 2 || (!running_.empty() && !source_.ready())) {
        if (auto written = write_oldest(); !written) return written;
      }
      auto texts = read_window(source_);
      if (!texts) {
        // What was submitted before the input broke off may be done.
        while (!running_.empty() && write_oldest()) continue;
        return std::move(texts).error();
      }
      if (texts->empty()) break;
      submit(std::move(*texts));
    }
    while (!running_.empty()) {
      if (auto written = write_oldest(); !written) return written;
    }
    return writer_.flush();
  }

  // After run(): the exit code, and the last words.
  int finish(const Result<void>& result, std::size_t first_index) {
    progress_.clear();
    const int code = bad_texts_.finish();
    if (result) return code;
    const std::size_t written = writer_.texts_written();
    const std::string where = "after " + std::to_string(written) + " texts; continue from index " +
                              std::to_string(first_index + written) + " (--skip " +
                              std::to_string(first_index + written) + ")";
    if (result.error().code == ErrorCode::Cancelled) {
      say("interrupted " + where);
      return kInterrupted;
    }
    say(result.error().message);
    if (written > 0) say("stopped " + where);
    return exit_code(result.error().code);
  }

 private:
  struct Window {
    std::vector<InputText> texts{};
    std::future<Result<Embeddings>> vectors{};  // of those texts that have no error
  };

  void submit(std::vector<InputText> texts) {
    if (!std::exchange(begun_, true)) progress_.begin(texts.front().bytes_end);
    std::vector<std::string> contents;
    contents.reserve(texts.size());
    for (InputText& text : texts) {
      if (!text.error) contents.push_back(std::move(text.content));
    }
    running_.push_back({std::move(texts), start(std::move(contents))});
  }

  std::future<Result<Embeddings>> start(std::vector<std::string> contents) {
    if (options_.too_long != TooLong::Chunk) return engine_.submit(std::move(contents), options_);
    // Nobody knows how many parts there will be; embed() waits until the queue has room for them.
    return std::async(std::launch::deferred, [this, contents = std::move(contents)] {
      return engine_.embed(contents, options_);
    });
  }

  Result<void> write_oldest() {
    Window window = std::move(running_.front());
    running_.pop_front();
    const auto vectors = window.vectors.get();
    if (!vectors) return vectors.error();
    auto written = write(window.texts, *vectors);
    auto flushed = writer_.flush();
    if (!written) return written;
    progress_.update(writer_.texts_written(), window.texts.back().bytes_end);
    return flushed;
  }

  Result<void> write(const std::vector<InputText>& texts, const Embeddings& vectors) {
    std::size_t row = 0;
    auto failure = vectors.failures.begin();
    for (const InputText& text : texts) {
      Result<void> written;
      if (text.error) {
        written = write_failure(text, *text.error);
      } else if (failure != vectors.failures.end() && failure->text == row) {
        written = write_failure(text, *failure++);
        ++row;
      } else {
        const auto chunks = vectors.chunks.empty() ? std::span<const Chunk>() : vectors.chunks[row];
        written = writer_.write({text.index, vectors.tokens[row], vectors.truncated[row] != 0,
                                 chunks, vectors.row(row)});
        ++row;
      }
      if (!written) return written;
    }
    return {};
  }

  Result<void> write_failure(const InputText& text, const Error& error) {
    if (!writer_.holds_failures()) {
      return Error{error.code, place_of(text) + ": " + error.message +
                                   "; only jsonl output can leave a text out"};
    }
    progress_.clear();
    bad_texts_.add(text, error);
    return writer_.write_failure(text.index, error);
  }

  const Engine& engine_;
  const EmbedOptions options_;
  TextSource& source_;
  VectorWriter& writer_;
  Progress progress_;
  BadTexts bad_texts_{};
  std::deque<Window> running_{};
  bool begun_ = false;
};

OutputFormat choose_format(const EmbedCommand& command) {
  if (command.format) return *command.format;
  if (command.output.ends_with(".npy")) return OutputFormat::Npy;
  if (command.output.ends_with(".csv")) return OutputFormat::Csv;
  return OutputFormat::Jsonl;
}

EmbedOptions embed_options(const EmbedCommand& command, const Interrupt& interrupt) {
  EmbedOptions options = command.embed;
  options.bad_text = BadText::Report;
  options.stop = interrupt.token();
  if (command.timeout_seconds) {
    options.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                          std::chrono::duration<double>(*command.timeout_seconds));
  }
  return options;
}

}  // namespace

int run_embed(const EmbedCommand& command) {
  const Interrupt interrupt;  // before the engine starts threads
  const EmbedOptions options = embed_options(command, interrupt);
  const auto source = open_texts(command.input, interrupt, options.deadline);
  if (!source) return fail(source.error());
  const auto apart = check_not_the_input(**source, command.output);
  if (!apart) return fail(apart.error());
  const auto engine = Engine::load(model_name(command.model), command.model.load);
  if (!engine) return fail(engine.error());
  // No text, but the options are looked at: they are wrong before the output is touched.
  const auto options_checked = engine->tokenize({}, options);
  if (!options_checked) return fail(options_checked.error());

  auto file = OutputFile::open(command.output);
  if (!file) return fail(file.error());
  const std::size_t dimension = options.dimensions.value_or(engine->info().dimension);
  const auto writer = make_writer(choose_format(command), std::move(*file), dimension);
  if (!writer) return fail(writer.error());
  Run run(*engine, options, **source, **writer);
  return run.finish(run.run(), command.input.skip);
}

}  // namespace textvec::cli
