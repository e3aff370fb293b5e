// In: the body of a request. Out: its members, checked one by one; the first thing that is wrong
// with it, in words that name the member and what it takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/json.h"
#include "server/status.h"

namespace textvec::server {

// A text, several, or token ids: what "input" and "inputs" may hold.
struct Inputs {
  std::vector<std::string> texts{};
  std::vector<std::vector<std::uint32_t>> ids{};  // instead of texts
  bool single = false;                            // not a list

  std::size_t size() const noexcept { return texts.size() + ids.size(); }
  std::size_t bytes() const noexcept;
};

// Parses a whole body, an object, and reads it member by member. After the first problem everything
// reads as absent, so that a dialect can read straight on and ask once, at the end. A member that
// is null counts as absent, and one that nobody asks for is ignored.
class Body {
 public:
  explicit Body(std::string_view text);

  std::optional<std::string> string(std::string_view name);
  std::optional<bool> boolean(std::string_view name);
  // Of min to max.
  std::optional<std::uint64_t> integer(std::string_view name, std::uint64_t min, std::uint64_t max);
  // One of `choices`, given by its place among them.
  std::optional<std::size_t> choice(std::string_view name,
                                    const std::vector<std::string_view>& choices);
  // What may be a string or a list of them, or (with `ids`) a list of token ids or a list of such
  // lists; at most `texts_max`. A problem when it is absent or a list is empty.
  Inputs inputs(std::string_view name, std::size_t texts_max, bool ids);
  // The members of an object inside: {"inputs": {"source_sentence": ...}}.
  Body object(std::string_view name);
  bool has(std::string_view name) const noexcept;

  // The first problem of all, of objects inside too; none: the body is what was asked for.
  const std::optional<Problem>& problem() const noexcept { return problem_; }
  void fail(std::string_view name, std::string what, Fault fault = Fault::Plain);
  void fail(Problem problem);

 private:
  Body() = default;
  const model::Json* find(std::string_view name) const noexcept;
  void read_ids(const std::string& name, const model::Json::Array& items,
                std::vector<std::uint32_t>& ids);
  void read_list(std::string_view name, const model::Json& list, bool ids, Inputs& inputs);

  model::Json json_{};
  std::string prefix_{};  // of names in problems: "inputs."
  std::optional<Problem> problem_{};
};

}  // namespace textvec::server
