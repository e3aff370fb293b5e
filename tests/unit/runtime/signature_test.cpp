// Which of an unknown graph's inputs and outputs are used.
#include "runtime/signature.h"

#include <gtest/gtest.h>

namespace textvec::runtime {
namespace {

Port ids(const char* name, ElementType type = ElementType::Int64) { return {name, type, {-1, -1}}; }

const std::vector<Port> kUsualInputs{ids("input_ids"), ids("attention_mask"),
                                     ids("token_type_ids")};

TEST(Signature, HiddenStatesWinOverAPoolerOutputWhateverTheyAreCalled) {
  const auto signature = choose_signature(
      kUsualInputs,
      {{"882", ElementType::Float, {-1, 384}}, {"output_0", ElementType::Float, {-1, -1, 384}}});
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->output, "output_0");
  EXPECT_FALSE(signature->pooled);
  EXPECT_EQ(signature->width, 384U);
}

TEST(Signature, ASentenceEmbeddingWinsOverHiddenStates) {
  const auto signature =
      choose_signature(kUsualInputs, {{"token_embeddings", ElementType::Float, {-1, -1, 384}},
                                      {"sentence_embedding", ElementType::Float, {-1, 384}}});
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->output, "sentence_embedding");
  EXPECT_TRUE(signature->pooled);
}

TEST(Signature, ANamedHiddenStateWinsOverAnEarlierRankThreeOutput) {
  const auto signature =
      choose_signature(kUsualInputs, {{"attentions", ElementType::Float, {-1, -1, -1}},
                                      {"last_hidden_state", ElementType::Float16, {-1, -1, 64}}});
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->output, "last_hidden_state");
  EXPECT_EQ(signature->output_type, ElementType::Float16);
}

TEST(Signature, ALoneRankTwoOutputIsThePooledVector) {
  const auto signature = choose_signature({ids("input_ids", ElementType::Int32)},
                                          {{"x", ElementType::Float, {-1, -1}}});
  ASSERT_TRUE(signature);
  EXPECT_TRUE(signature->pooled);
  EXPECT_EQ(signature->width, 0U) << "the graph does not state it";
  EXPECT_EQ(signature->inputs.front().type, ElementType::Int32);
}

TEST(Signature, AnUnknownInputIsNamed) {
  const auto signature = choose_signature(
      {ids("input_ids"), {"past_key_values.0.key", ElementType::Float, {-1, 8, -1, 128}}},
      {{"last_hidden_state", ElementType::Float, {-1, -1, 64}}});
  ASSERT_FALSE(signature);
  EXPECT_EQ(signature.error().code, ErrorCode::Unsupported);
  EXPECT_NE(signature.error().message.find("past_key_values.0.key"), std::string::npos);
}

TEST(Signature, InputsOfAnotherRankOrTypeAreRefused) {
  const std::vector<Port> outputs{{"last_hidden_state", ElementType::Float, {-1, -1, 64}}};
  const auto rank = choose_signature({{"input_ids", ElementType::Int64, {-1}}}, outputs);
  ASSERT_FALSE(rank);
  EXPECT_EQ(rank.error().code, ErrorCode::BadModel);
  const auto type = choose_signature({{"input_ids", ElementType::Float, {-1, -1}}}, outputs);
  ASSERT_FALSE(type);
  EXPECT_EQ(type.error().code, ErrorCode::BadModel);
}

TEST(Signature, WithoutIdsOrAFloatOutputItIsNoEmbeddingGraph) {
  EXPECT_FALSE(choose_signature({ids("attention_mask")},
                                {{"last_hidden_state", ElementType::Float, {-1, -1, 64}}}));
  EXPECT_FALSE(choose_signature(kUsualInputs, {{"logits", ElementType::Int64, {-1, 2}}}));
  EXPECT_FALSE(choose_signature(kUsualInputs, {}));
}

}  // namespace
}  // namespace textvec::runtime
