// In: config.json of a decoder. Out: its rotary position embedding. See rotary.h.
#include "model/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "model/utf8.h"

namespace textvec::model {
namespace {

constexpr double kThetaDefault = 10000.0;  // transformers' default_theta
constexpr double kThetaMax = 1e12;
constexpr double kFactorMax = 1e6;

Error bad(const JsonReader& reader, const std::string& what) {
  return {ErrorCode::BadModel, reader.source() + ": " + what};
}

Result<double> number_within(const JsonReader& reader, const char* key, double fallback, double min,
                             double max) {
  auto number = reader.number_or(key, fallback);
  if (!number || (*number >= min && *number <= max)) return number;
  return bad(reader, std::string(key) + " is " + std::to_string(*number) + "; it takes " +
                         std::to_string(min) + " to " + std::to_string(max));
}

// theta^(2i / head size), in float as transformers computes it: at position 30,000 another rounding
// would show in the vectors.
std::vector<float> wave_lengths(double theta, std::size_t head_size) {
  std::vector<float> lengths(head_size / 2);
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_size);
    lengths[i] = static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
  }
  return lengths;
}

std::vector<float> inverted(const std::vector<float>& lengths, float factor) {
  std::vector<float> inverse(lengths.size());
  std::transform(lengths.begin(), lengths.end(), inverse.begin(),
                 [factor](float length) { return 1.0F / (factor * length); });
  return inverse;
}

double magnitude(double factor, double weight) {
  return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

// What yarn multiplies the turned components by.
Result<float> yarn_scale(const JsonReader& scaling, double factor) {
  const auto given = number_within(scaling, "attention_factor", 0, 0, kFactorMax);
  if (!given) return given.error();
  const auto weight = number_within(scaling, "mscale", 0, 0, kFactorMax);
  if (!weight) return weight.error();
  const auto weight_all = number_within(scaling, "mscale_all_dim", 0, 0, kFactorMax);
  if (!weight_all) return weight_all.error();
  if (scaling.has("attention_factor")) return static_cast<float>(*given);
  if (*weight != 0 && *weight_all != 0) {
    return static_cast<float>(magnitude(factor, *weight) / magnitude(factor, *weight_all));
  }
  return static_cast<float>(magnitude(factor, 1));
}

// The component, counted from the fastest, that turns `rotations` times over `positions`.
double component_of(double rotations, double theta, std::size_t head_size, double positions) {
  return static_cast<double>(head_size) * std::log(positions / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(theta));
}

struct YarnRange {
  double positions = 0;  // that the model was trained on
  double beta_fast = 32;
  double beta_slow = 1;
  bool whole = true;  // the range's ends are whole components
};

Result<YarnRange> read_yarn_range(const JsonReader& config, const JsonReader& scaling,
                                  std::size_t positions_max) {
  // A value beside rope_parameters comes before the one in it, as in transformers.
  constexpr const char* kKey = "original_max_position_embeddings";
  const JsonReader& source = config.has(kKey) ? config : scaling;
  const auto positions =
      number_within(source, kKey, static_cast<double>(positions_max), 1, kThetaMax);
  if (!positions) return positions.error();
  const auto fast = number_within(scaling, "beta_fast", 32, 1e-6, kFactorMax);
  if (!fast) return fast.error();
  const auto slow = number_within(scaling, "beta_slow", 1, 1e-6, kFactorMax);
  if (!slow) return slow.error();
  const auto whole = scaling.boolean_or("truncate", true);
  if (!whole) return whole.error();
  return YarnRange{*positions, *fast, *slow, *whole};
}

// Fast components stay as they are, slow ones are divided by the factor, those between are mixed.
Result<Rotary> yarn(const JsonReader& config, const JsonReader& scaling, double theta,
                    std::size_t head_size, std::size_t positions_max) {
  const auto range = read_yarn_range(config, scaling, positions_max);
  if (!range) return range.error();
  const double factor_default = static_cast<double>(positions_max) / range->positions;
  const auto factor = number_within(scaling, "factor", factor_default, 1, kFactorMax);
  if (!factor) return factor.error();
  const auto scale = yarn_scale(scaling, *factor);
  if (!scale) return scale.error();
  double low = component_of(range->beta_fast, theta, head_size, range->positions);
  double high = component_of(range->beta_slow, theta, head_size, range->positions);
  if (range->whole) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_size) - 1);
  if (low == high) high += 0.001;

  const std::vector<float> lengths = wave_lengths(theta, head_size);
  const std::vector<float> kept = inverted(lengths, 1);
  const std::vector<float> divided = inverted(lengths, static_cast<float>(*factor));
  Rotary rotary{kept, *scale};
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const auto ramp = static_cast<float>((static_cast<double>(i) - low) / (high - low));
    const float share_kept = 1.0F - std::clamp(ramp, 0.0F, 1.0F);
    rotary.inverse_frequencies[i] = divided[i] * (1.0F - share_kept) + kept[i] * share_kept;
  }
  return rotary;
}

Result<Rotary> linear(const JsonReader& scaling, double theta, std::size_t head_size) {
  const auto factor = scaling.number("factor");
  if (!factor) return factor.error();
  if (*factor < 1 || *factor > kFactorMax) {
    return bad(scaling, "factor is " + std::to_string(*factor) + "; it takes 1 to " +
                            std::to_string(kFactorMax));
  }
  Rotary rotary{inverted(wave_lengths(theta, head_size), 1), 1};
  for (float& frequency : rotary.inverse_frequencies) frequency /= static_cast<float>(*factor);
  return rotary;
}

}  // namespace

Result<Rotary> read_rotary(const JsonReader& config, std::size_t head_size,
                           std::size_t positions_max) {
  const Json nothing{Json::Object{}};
  const char* key = "rope_scaling";
  const Json* given = config.json().find(key);
  // An empty rope_scaling says nothing, in transformers too.
  if (given == nullptr || (given->is(Json::Kind::Object) && given->object().empty())) {
    key = "rope_parameters";
    given = config.json().find(key);
  }
  if (given != nullptr && !given->is(Json::Kind::Object)) {
    return bad(config, std::string(key) + " is no object");
  }
  if (given != nullptr) {
    for (const auto& [name, value] : given->object()) {
      if (!value.is(Json::Kind::Object)) continue;
      return Error{ErrorCode::Unsupported, config.source() + ": " + key +
                                               " differ from layer to layer; textvec computes one "
                                               "for all"};
    }
  }
  const JsonReader scaling(given != nullptr ? *given : nothing,
                           given != nullptr ? config.source() + ": " + key : config.source());
  const JsonReader& theta_source = scaling.has("rope_theta") ? scaling : config;
  const auto theta = number_within(theta_source, "rope_theta", kThetaDefault, 1.001, kThetaMax);
  if (!theta) return theta.error();
  const auto type = scaling.string_or(scaling.has("rope_type") ? "rope_type" : "type", "default");
  if (!type) return type.error();
  for (const JsonReader* reader : {&config, &scaling}) {
    const auto part = reader->number_or("partial_rotary_factor", 1);
    if (!part) return part.error();
    if (*part != 1) {
      return Error{ErrorCode::Unsupported, reader->source() + ": partial_rotary_factor is " +
                                               std::to_string(*part) + "; textvec computes 1"};
    }
  }
  if (*type == "default") return Rotary{inverted(wave_lengths(*theta, head_size), 1), 1};
  if (*type == "linear") return linear(scaling, *theta, head_size);
  if (*type == "yarn") return yarn(config, scaling, *theta, head_size, positions_max);
  std::string quoted;
  append_json_string(quoted, shortened(*type));
  return Error{ErrorCode::Unsupported, scaling.source() + ": rope_type is " + quoted +
                                           "; textvec computes default, linear, yarn"};
}

}  // namespace textvec::model
