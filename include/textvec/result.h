// Errors as values: a closed list of codes, an Error that says what was wrong, and Result<T>.
// Nothing in textvec throws across its API except std::bad_alloc and the caller's own value().
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "textvec/export.h"

namespace textvec {

// Closed: each code maps once to an exit code and to a status of the server.
enum class ErrorCode : std::uint8_t {
  InvalidArgument,  // the caller's mistake: bad UTF-8, dimensions out of range, unknown prompt
  InputTooLong,     // more tokens than the model takes, and truncation was refused
  NotFound,         // no such file or model
  BadModel,         // the model's files are damaged or contradict one another
  Unsupported,      // well formed, but not by this model or this build
  Overloaded,       // the queue is full: retry later
  TimedOut,         // the deadline passed before the text ran
  Cancelled,        // the caller's stop token fired, or the engine is closing
  NonFinite,        // the model gave NaN, infinity or a zero vector for this text
  Provider,         // the wanted provider cannot be used, and fallback was refused
  Internal,         // our bug, the runtime's, or the machine's: disk, memory
};

// The code's name in snake_case, for logs and machine-readable output: "invalid_argument".
TEXTVEC_EXPORT std::string_view to_string(ErrorCode code) noexcept;

struct Error {
  ErrorCode code = ErrorCode::Internal;
  std::string message{};              // a sentence that names the wrong value and the limit
  std::optional<std::size_t> text{};  // index of the text in the call, when one text is at fault
};

// Thrown only by Result::value() on an error.
class TEXTVEC_EXPORT BadResult : public std::exception {
 public:
  explicit BadResult(Error error) noexcept;
  ~BadResult() override;
  const char* what() const noexcept override;
  const Error& error() const noexcept;

 private:
  Error error_;
};

// A T or an Error, with the names of std::expected (C++23).
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  // Only when has_value().
  T& operator*() & noexcept { return *std::get_if<0>(&state_); }
  const T& operator*() const& noexcept { return *std::get_if<0>(&state_); }
  T&& operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() noexcept { return std::get_if<0>(&state_); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }

  // Only when !has_value().
  const Error& error() const& noexcept { return *std::get_if<1>(&state_); }
  Error&& error() && noexcept { return std::move(*std::get_if<1>(&state_)); }

  // The value, or throws BadResult: for callers who prefer exceptions.
  T value() && {
    if (!has_value()) throw BadResult(std::move(*std::get_if<1>(&state_)));
    return std::move(*std::get_if<0>(&state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool has_value() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  const Error& error() const& noexcept { return *error_; }
  Error&& error() && noexcept { return std::move(*error_); }
  void value() && {
    if (error_) throw BadResult(std::move(*error_));
  }

 private:
  std::optional<Error> error_{};
};

}  // namespace textvec
