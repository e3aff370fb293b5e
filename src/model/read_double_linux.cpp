// In: a JSON number's text. Out: the double nearest to it. See read_double.h.
#include <charconv>
#include <cmath>
#include <system_error>

#include "model/read_double.h"

namespace textvec::model {

std::optional<double> read_double(const std::string& text, double estimate) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  if (text.empty() || read.ptr != end) return std::nullopt;
  if (read.ec != std::errc::result_out_of_range) return value;
  if (std::abs(estimate) > 1) return std::nullopt;
  return 0;
}

}  // namespace textvec::model
