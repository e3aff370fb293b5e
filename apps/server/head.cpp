// In: the first bytes of a request. Out: its head. See head.h.
#include "server/head.h"

#include <algorithm>
#include <charconv>

namespace textvec::server {
namespace {

bool is_token(char character) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'z') ||
         (character >= 'A' && character <= 'Z') || kMarks.find(character) != kMarks.npos;
}

char lower(char character) {
  return character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a')
                                              : character;
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char character) { return character == ' ' || character == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// "http://host/path" is what a proxy is asked; the path is what counts here.
std::string_view without_authority(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!lowered(target.substr(0, scheme.size())).starts_with(scheme)) continue;
    const std::size_t path = target.find_first_of("/?", scheme.size());
    if (path == std::string_view::npos || target[path] == '?') return "/";
    return target.substr(path);
  }
  return target;
}

bool is_host(std::string_view host) {
  return host.size() <= 255 && std::all_of(host.begin(), host.end(), [](char character) {
           constexpr std::string_view kMarks = ".-_:[]%~";
           return (character >= '0' && character <= '9') ||
                  (lower(character) >= 'a' && lower(character) <= 'z') ||
                  kMarks.find(character) != kMarks.npos;
         });
}

bool lists(std::string_view value, std::string_view wanted) {
  while (!value.empty()) {
    const std::size_t comma = std::min(value.find(','), value.size());
    if (lowered(trimmed(value.substr(0, comma))) == wanted) return true;
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
  return false;
}

std::optional<Refusal> read_length(const Head& head, const Limits& limits, Framing& framing) {
  const std::size_t lengths = head.count("content-length");
  const std::size_t encodings = head.count("transfer-encoding");
  if (lengths > 1 || encodings > 1 || lengths + encodings > 1) {
    return Refusal{400, "the length of the body is stated more than once"};
  }
  if (const std::string* encoding = head.find("transfer-encoding")) {
    if (head.minor == 0) return Refusal{400, "HTTP/1.0 has no Transfer-Encoding"};
    if (lowered(*encoding) != "chunked") {
      return Refusal{501, "the only Transfer-Encoding is chunked"};
    }
    framing.chunked = true;
  }
  if (const std::string* text = head.find("content-length")) {
    std::uint64_t length = 0;
    const char* end = text->data() + text->size();
    const auto read = std::from_chars(text->data(), end, length);
    // from_chars takes no sign of an unsigned number, no blank and no 0x.
    if (read.ec != std::errc() || read.ptr != end) {
      return Refusal{400, "Content-Length is no number of bytes"};
    }
    if (length > limits.body_bytes_max) {
      return Refusal{413, "a body of " + std::to_string(length) + " bytes; the limit is " +
                              std::to_string(limits.body_bytes_max)};
    }
    framing.content_length = length;
  }
  return std::nullopt;
}

}  // namespace

std::size_t Head::count(std::string_view name) const noexcept {
  return static_cast<std::size_t>(std::count_if(
      fields.begin(), fields.end(), [name](const Field& field) { return field.name == name; }));
}

const std::string* Head::find(std::string_view name) const noexcept {
  const std::string* value = nullptr;
  for (const Field& field : fields) {
    if (field.name != name) continue;
    if (value != nullptr) return nullptr;
    value = &field.value;
  }
  return value;
}

std::string_view Head::path() const noexcept {
  return std::string_view(target).substr(0, target.find('?'));
}

HeadReader::State HeadReader::refuse(unsigned status, std::string message) {
  refusal_ = {status, std::move(message)};
  return State::Bad;
}

HeadReader::State HeadReader::read(std::string_view bytes) {
  for (; next_ < bytes.size(); ++next_) {
    const auto byte = static_cast<unsigned char>(bytes[next_]);
    if (next_ >= limits_->head_bytes_max) {
      return refuse(431, "the request's head has more than " +
                             std::to_string(limits_->head_bytes_max) + " bytes");
    }
    if (next_ - line_begin_ >= limits_->line_bytes_max) {
      return refuse(has_request_line_ ? 431 : 414, "a line of the request's head has more than " +
                                                       std::to_string(limits_->line_bytes_max) +
                                                       " bytes");
    }
    const bool after_return = next_ > line_begin_ && bytes[next_ - 1] == '\r';
    if (after_return != (byte == '\n')) {
      return refuse(400, "a line of the request's head does not end with CR LF");
    }
    if ((byte < 0x20 && byte != '\t' && byte != '\r' && byte != '\n') || byte == 0x7f) {
      return refuse(400, "the request's head holds a control character");
    }
    if (byte != '\n') continue;
    const auto line = bytes.substr(line_begin_, next_ - 1 - line_begin_);
    line_begin_ = ++next_;
    if (const State state = read_line(line); state != State::More) return state;
    --next_;  // the loop's own step
  }
  return State::More;
}

HeadReader::State HeadReader::read_line(std::string_view line) {
  if (!has_request_line_) {
    has_request_line_ = true;
    return read_request_line(line);
  }
  return line.empty() ? State::Done : read_field(line);
}

HeadReader::State HeadReader::read_request_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t second = first == line.npos ? line.npos : line.find(' ', first + 1);
  if (second == line.npos) return refuse(400, "the request line is no \"METHOD TARGET HTTP/1.1\"");
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (method.empty() || method.size() > 32 ||
      !std::all_of(method.begin(), method.end(), is_token)) {
    return refuse(400, "the request's method is no word");
  }
  if (!version.starts_with("HTTP/") || version.size() != 8 || version[6] != '.') {
    return refuse(400, "the request line does not end with HTTP/1.1");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  }
  if (target.size() > limits_->target_bytes_max) {
    return refuse(414, "the request's target has " + std::to_string(target.size()) +
                           " bytes; the limit is " + std::to_string(limits_->target_bytes_max));
  }
  const std::string_view path = without_authority(target);
  const bool printable = std::all_of(target.begin(), target.end(), [](char character) {
    return character > 0x20 && character < 0x7f;
  });
  if (!printable || !(path.starts_with('/') || path == "*")) {
    return refuse(400, "the request's target is no path");
  }
  head_.method = method;
  head_.target = path;
  head_.minor = version == "HTTP/1.1" ? 1 : 0;
  return State::More;
}

HeadReader::State HeadReader::read_field(std::string_view line) {
  const std::size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  // A line that begins with a blank went on with the one before, in HTTP long ago.
  if (colon == line.npos || name.empty() || !std::all_of(name.begin(), name.end(), is_token)) {
    return refuse(400, "a line of the request's head is no \"Name: value\"");
  }
  if (head_.fields.size() >= limits_->fields_max) {
    return refuse(
        431, "the request's head has more than " + std::to_string(limits_->fields_max) + " fields");
  }
  head_.fields.push_back({lowered(name), std::string(trimmed(line.substr(colon + 1)))});
  return State::More;
}

std::optional<Refusal> read_framing(const Head& head, const Limits& limits, Framing& framing) {
  const std::size_t hosts = head.count("host");
  if (hosts > 1 || (hosts == 0 && head.minor == 1)) {
    return Refusal{400, "a request has one Host field; this has " + std::to_string(hosts)};
  }
  if (const std::string* host = head.find("host"); host != nullptr && !is_host(*host)) {
    return Refusal{400, "the Host field is no host"};
  }
  if (auto refusal = read_length(head, limits, framing)) return refusal;
  if (head.count("expect") > 0) {
    const std::string* expect = head.find("expect");
    if (expect == nullptr || lowered(*expect) != "100-continue") {
      return Refusal{417, "the only expectation that is met is 100-continue"};
    }
    framing.expect_continue = head.minor == 1;
  }
  framing.keep_alive = head.minor == 1;
  for (const Field& field : head.fields) {
    if (field.name != "connection") continue;
    if (lists(field.value, "close")) {
      framing.keep_alive = false;
      break;
    }
    if (head.minor == 0 && lists(field.value, "keep-alive")) framing.keep_alive = true;
  }
  return std::nullopt;
}

}  // namespace textvec::server
