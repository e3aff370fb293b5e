// The names of the public enumerations, and BadResult.
#include <string>

#include "textvec/embeddings.h"
#include "textvec/hub.h"
#include "textvec/result.h"

namespace textvec {

std::string to_string(Bucket bucket) {
  return std::to_string(bucket.texts) + "x" + std::to_string(bucket.tokens);
}

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::InvalidArgument:
      return "invalid_argument";
    case ErrorCode::InputTooLong:
      return "input_too_long";
    case ErrorCode::NotFound:
      return "not_found";
    case ErrorCode::BadModel:
      return "bad_model";
    case ErrorCode::Unsupported:
      return "unsupported";
    case ErrorCode::Overloaded:
      return "overloaded";
    case ErrorCode::TimedOut:
      return "timed_out";
    case ErrorCode::Cancelled:
      return "cancelled";
    case ErrorCode::NonFinite:
      return "non_finite";
    case ErrorCode::Provider:
      return "provider";
    case ErrorCode::Internal:
      return "internal";
  }
  return "unknown";
}

std::string_view to_string(Provider provider) noexcept {
  switch (provider) {
    case Provider::Auto:
      return "auto";
    case Provider::Cpu:
      return "cpu";
    case Provider::CoreMl:
      return "coreml";
    case Provider::WebGpu:
      return "webgpu";
    case Provider::Cuda:
      return "cuda";
    case Provider::OpenVino:
      return "openvino";
    case Provider::TensorRt:
      return "tensorrt";
    case Provider::Mlx:
      return "mlx";
  }
  return "unknown";
}

std::string_view to_string(Precision precision) noexcept {
  switch (precision) {
    case Precision::Auto:
      return "auto";
    case Precision::F32:
      return "f32";
    case Precision::F16:
      return "f16";
    case Precision::Int8:
      return "int8";
  }
  return "unknown";
}

std::string_view to_string(Variant variant) noexcept {
  switch (variant) {
    case Variant::Auto:
      return "auto";
    case Variant::Safetensors:
      return "safetensors";
    case Variant::Fp32:
      return "fp32";
    case Variant::Fp16:
      return "fp16";
    case Variant::Q8:
      return "q8";
    case Variant::Q4:
      return "q4";
  }
  return "unknown";
}

std::string_view to_string(Pooling pooling) noexcept {
  switch (pooling) {
    case Pooling::FromModel:
      return "from-model";
    case Pooling::Cls:
      return "cls";
    case Pooling::Mean:
      return "mean";
    case Pooling::LastToken:
      return "last-token";
    case Pooling::Max:
      return "max";
    case Pooling::MeanSqrtLen:
      return "mean-sqrt-len";
  }
  return "unknown";
}

std::string_view to_string(Target target) noexcept {
  switch (target) {
    case Target::Auto:
      return "auto";
    case Target::Fused:
      return "fused";
    case Target::Static:
      return "static";
  }
  return "unknown";
}

std::string_view to_string(GraphPath path) noexcept {
  switch (path) {
    case GraphPath::Fused:
      return "fused";
    case GraphPath::Static:
      return "static";
    case GraphPath::AsIs:
      return "as-is";
  }
  return "unknown";
}

BadResult::BadResult(Error error) noexcept : error_(std::move(error)) {}
BadResult::~BadResult() = default;
const char* BadResult::what() const noexcept { return error_.message.c_str(); }
const Error& BadResult::error() const noexcept { return error_; }

}  // namespace textvec
