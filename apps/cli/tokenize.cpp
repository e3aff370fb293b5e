// In: the options of `textvec tokenize`. Out: a line of token ids per text.
#include <span>
#include <utility>

#include "bad_texts.h"
#include "commands.h"
#include "json_object.h"
#include "output_file.h"
#include "textvec/engine.h"

namespace textvec::cli {
namespace {

std::string ids_line(std::size_t index, const std::vector<std::uint32_t>& ids) {
  std::string line = "{\"index\":" + std::to_string(index) + ",\"ids\":[";
  bool first = true;
  for (const std::uint32_t id : ids) {
    if (!std::exchange(first, false)) line += ',';
    line += std::to_string(id);
  }
  return line + "]}\n";
}

// One by one, so that a bad text fails alone.
std::string answer_to(const Engine& engine, const EmbedOptions& options, const InputText& text,
                      BadTexts& bad_texts) {
  if (text.error) {
    bad_texts.add(text, *text.error);
    return failure_line(text.index, *text.error);
  }
  const auto ids = engine.tokenize({&text.content, 1}, options);
  if (ids) return ids_line(text.index, ids->front());
  bad_texts.add(text, ids.error());
  return failure_line(text.index, ids.error());
}

Result<void> write_all(const Engine& engine, const EmbedOptions& options, TextSource& source,
                       OutputFile& file, BadTexts& bad_texts) {
  for (;;) {
    const auto texts = read_window(source);
    if (!texts) return texts.error();
    if (texts->empty()) return {};
    for (const InputText& text : *texts) {
      if (options.stop.stop_requested()) break;
      file.buffer() += answer_to(engine, options, text, bad_texts);
      if (auto ended = file.end_record(); !ended) return ended;
    }
    if (auto flushed = file.flush(); !flushed) return flushed;
    if (options.stop.stop_requested()) return Error{ErrorCode::Cancelled, "interrupted"};
  }
}

}  // namespace

int run_tokenize(const TokenizeCommand& command) {
  const Interrupt interrupt;  // before the engine starts threads
  EmbedOptions options = command.embed;
  options.stop = interrupt.token();
  const auto source = open_texts(command.input, interrupt, options.deadline);
  if (!source) return fail(source.error());
  const auto apart = check_not_the_input(**source, command.output);
  if (!apart) return fail(apart.error());
  const auto engine = Engine::load(model_name(command.model), command.model.load);
  if (!engine) return fail(engine.error());
  const auto options_checked = engine->tokenize({}, options);
  if (!options_checked) return fail(options_checked.error());
  auto file = OutputFile::open(command.output);
  if (!file) return fail(file.error());

  BadTexts bad_texts;
  const auto written = write_all(*engine, options, **source, *file, bad_texts);
  const int code = bad_texts.finish();
  if (written) return code;
  if (written.error().code != ErrorCode::Cancelled) return fail(written.error());
  const std::string next = std::to_string(command.input.skip + file->records_written());
  say("interrupted after " + std::to_string(file->records_written()) +
      " texts; continue from index " + next + " (--skip " + next + ")");
  return kInterrupted;
}

}  // namespace textvec::cli
