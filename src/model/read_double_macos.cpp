// In: a JSON number's text. Out: the double nearest to it. See read_double.h. The standard library
// of Xcode 16 has no std::from_chars for doubles, and its streams keep 39 characters of a number.
#include <stdlib.h>
#include <xlocale.h>

#include <cmath>

#include "model/read_double.h"

namespace textvec::model {

std::optional<double> read_double(const std::string& text, double /*estimate*/) {
  // Never freed: threads may read until the process ends.
  static const locale_t plain = ::newlocale(LC_ALL_MASK, "C", nullptr);
  char* end = nullptr;
  const double value = ::strtod_l(text.c_str(), &end, plain);
  if (text.empty() || end != text.c_str() + text.size() || std::isinf(value)) return std::nullopt;
  return value;
}

}  // namespace textvec::model
