// The words of the public enumerations: the command line, the C API and model files rely on them.
#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "textvec/embeddings.h"
#include "textvec/result.h"

namespace textvec {
namespace {

// The words of the enumerators 0, 1, ... in their order, up to the first that has none.
template <class Enum>
std::string words() {
  std::string all;
  for (int value = 0; value < 100; ++value) {
    const std::string word(to_string(static_cast<Enum>(value)));
    if (word == "unknown") break;
    all += (all.empty() ? "" : " ") + word;
  }
  return all;
}

TEST(Names, AreThoseOfTheContract) {
  EXPECT_EQ(words<Provider>(), "auto cpu coreml webgpu cuda openvino tensorrt mlx");
  EXPECT_EQ(words<Precision>(), "auto f32 f16 int8");
  EXPECT_EQ(words<Pooling>(), "from-model cls mean last-token max mean-sqrt-len");
  EXPECT_EQ(words<GraphPath>(), "fused static as-is");
  EXPECT_EQ(words<Target>(), "auto fused static");
  EXPECT_EQ(words<ErrorCode>(),
            "invalid_argument input_too_long not_found bad_model unsupported overloaded timed_out "
            "cancelled non_finite provider internal");
}

TEST(Names, BelongToTheirEnumerators) {
  EXPECT_EQ(to_string(Provider::CoreMl), "coreml");
  EXPECT_EQ(to_string(Provider::OpenVino), "openvino");
  EXPECT_EQ(to_string(Precision::Int8), "int8");
  EXPECT_EQ(to_string(Pooling::LastToken), "last-token");
  EXPECT_EQ(to_string(Pooling::MeanSqrtLen), "mean-sqrt-len");
  EXPECT_EQ(to_string(GraphPath::AsIs), "as-is");
  EXPECT_EQ(to_string(ErrorCode::Internal), "internal");
}

TEST(Names, OfNoEnumeratorAreUnknown) {
  EXPECT_EQ(to_string(static_cast<Pooling>(250)), "unknown");
}

TEST(BadResult, CarriesTheErrorOfValue) {
  Result<int> result(Error{ErrorCode::TimedOut, "too late", 7});
  try {
    (void)std::move(result).value();
    FAIL() << "value() of an error returned";
  } catch (const BadResult& exception) {
    EXPECT_STREQ(exception.what(), "too late");
    EXPECT_EQ(exception.error().code, ErrorCode::TimedOut);
    EXPECT_EQ(exception.error().text, 7U);
  }
}

TEST(BadResult, IsNotThrownForAValue) {
  EXPECT_EQ(Result<int>(3).value(), 3);
  EXPECT_NO_THROW(Result<void>().value());
  EXPECT_THROW(Result<void>(Error{ErrorCode::Internal, "x"}).value(), BadResult);
}

}  // namespace
}  // namespace textvec
