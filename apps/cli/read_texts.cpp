// In: arguments, or a file or pipe of lines. Out: the texts, one at a time. See read_texts.h.
#include "read_texts.h"

#include <utility>

#include "line_reader.h"
#include "model/json.h"

namespace textvec::cli {
namespace {

constexpr std::size_t kWindowTexts = 1024;
constexpr std::size_t kWindowBytes = std::size_t{1} << 20;

Error callers_mistake(std::string message) {
  return {ErrorCode::InvalidArgument, std::move(message)};
}

class Arguments final : public TextSource {
 public:
  explicit Arguments(const InputOptions& options) : texts_(options.texts), next_(options.skip) {}

  Result<std::optional<InputText>> next() override {
    if (next_ >= texts_.size()) return std::optional<InputText>();
    InputText text;
    text.index = next_;
    text.content = texts_[next_++];
    return std::optional(std::move(text));
  }
  bool ready() override { return true; }
  std::uint64_t bytes_total() const noexcept override { return 0; }
  bool reads_from(const std::string&) const override { return false; }

 private:
  const std::vector<std::string> texts_;
  std::size_t next_;
};

Result<std::string> field_of(std::string_view line, const std::string& field) {
  const auto json = model::parse_json(line, "the line");
  if (!json) return callers_mistake(json.error().message);
  if (!json->is(model::Json::Kind::Object)) {
    return callers_mistake("the line is no JSON object with a field \"" + field + "\"");
  }
  const model::Json* value = json->find(field);
  if (value == nullptr) return callers_mistake("field \"" + field + "\" is missing");
  if (!value->is(model::Json::Kind::String)) {
    return callers_mistake("field \"" + field + "\" is not a string");
  }
  return value->string();
}

class Lines final : public TextSource {
 public:
  // `field`: the lines are JSON objects, and the text is this member.
  Lines(LineReader reader, std::optional<std::string> field, std::size_t skip)
      : reader_(std::move(reader)), field_(std::move(field)), skip_(skip) {}

  Result<std::optional<InputText>> next() override {
    for (;;) {
      auto line = reader_.next();
      if (!line) return line.error();
      if (!*line) return std::optional<InputText>();
      if (index_++ >= skip_) return std::optional(make_text(std::move(**line)));
    }
  }
  bool ready() override { return reader_.ready(); }
  std::uint64_t bytes_total() const noexcept override { return reader_.bytes_total(); }
  bool reads_from(const std::string& path) const override { return reader_.reads_from(path); }

 private:
  InputText make_text(Line line) {
    InputText text;
    text.line = index_;
    text.index = index_ - 1;
    text.bytes_end = reader_.bytes_read();
    if (line.bytes > line.content.size()) {
      text.error = callers_mistake((field_ ? "line of " : "text of ") + std::to_string(line.bytes) +
                                   " bytes; the limit is " +
                                   std::to_string(reader_.line_bytes_max()) + " bytes");
    } else if (field_) {
      auto content = field_of(line.content, *field_);
      if (content) text.content = std::move(*content);
      if (!content) text.error = std::move(content).error();
    } else {
      text.content = std::move(line.content);
    }
    return text;
  }

  LineReader reader_;
  const std::optional<std::string> field_;
  const std::size_t skip_;
  std::size_t index_ = 0;  // of the next line
};

// The field to take from each line; nothing: the line is the text.
Result<std::optional<std::string>> choose_field(const InputOptions& options) {
  const bool named_jsonl = options.file.ends_with(".jsonl") || options.file.ends_with(".ndjson");
  const bool jsonl = options.format ? *options.format == "jsonl" : options.field || named_jsonl;
  if (!jsonl && options.field) {
    return callers_mistake("--field is for jsonl input, and --input-format says txt");
  }
  if (!jsonl) return std::optional<std::string>();
  return std::optional(options.field.value_or("text"));
}

}  // namespace

Result<std::unique_ptr<TextSource>> open_texts(const InputOptions& options,
                                               const Interrupt& interrupt,
                                               std::chrono::steady_clock::time_point deadline) {
  if (!options.texts.empty()) {
    if (!options.file.empty()) return callers_mistake("give TEXT or --input, not both");
    if (options.format || options.field) {
      return callers_mistake("--input-format and --field are for --input, not for TEXT");
    }
    return std::unique_ptr<TextSource>(std::make_unique<Arguments>(options));
  }
  auto field = choose_field(options);
  if (!field) return field.error();
  const std::size_t line_bytes_max = *field ? kJsonLineBytesMax : kTextBytesMax;
  auto reader = LineReader::open(options.file, line_bytes_max, interrupt, deadline);
  if (!reader) return reader.error();
  return std::unique_ptr<TextSource>(
      std::make_unique<Lines>(std::move(*reader), std::move(*field), options.skip));
}

Result<void> check_not_the_input(const TextSource& source, const std::string& output) {
  if (!source.reads_from(output)) return {};
  return callers_mistake((output.empty() ? "standard output" : "--output " + output) +
                         " is the input");
}

Result<std::vector<InputText>> read_window(TextSource& source) {
  std::vector<InputText> window;
  std::size_t bytes = 0;
  while (window.size() < kWindowTexts && bytes < kWindowBytes) {
    // The first text is waited for; the rest only while it is there, so that whoever writes a
    // few lines and waits for their vectors gets them.
    if (!window.empty() && !source.ready()) break;
    auto text = source.next();
    if (!text) return text.error();
    if (!*text) break;
    bytes += (*text)->content.size();
    window.push_back(std::move(**text));
  }
  return window;
}

std::string place_of(const InputText& text) {
  std::string place = "text " + std::to_string(text.index);
  if (text.line != 0) place += " (line " + std::to_string(text.line) + ")";
  return place;
}

}  // namespace textvec::cli
