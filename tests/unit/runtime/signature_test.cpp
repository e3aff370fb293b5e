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

const std::vector<Port> kHidden{{"last_hidden_state", ElementType::Float, {-1, -1, 64}}};

TEST(Signature, AnUnknownInputIsNamed) {
  for (const Port& unknown : {Port{"num_logits_to_keep", ElementType::Int64, {}},
                              Port{"use_cache_branch", ElementType::Other, {1}},
                              Port{"past_key_values.key", ElementType::Float, {-1, 8, -1, 128}},
                              Port{"past_key_values.0.1.key", ElementType::Float, {-1, 8, -1, 128}},
                              Port{"past_key_values.0.keys", ElementType::Float, {-1, 8, -1, 128}},
                              Port{"past_key_3", ElementType::Float, {}}}) {
    const auto signature = choose_signature({ids("input_ids"), unknown}, kHidden);
    ASSERT_FALSE(signature) << unknown.name;
    EXPECT_EQ(signature.error().code, ErrorCode::Unsupported);
    EXPECT_NE(signature.error().message.find(unknown.name), std::string::npos);
  }
}

TEST(Signature, CachesOfEarlierTokensAreFedEmptyInEverySpelling) {
  for (const char* name : {"past_key_values.0.key", "past_key_values.27.value", "past.0.key",
                           "past.11.value", "past_key_0", "past_value_35"}) {
    const auto signature = choose_signature(
        {ids("input_ids"), {name, ElementType::Float16, {-1, 8, -1, 128}}}, kHidden);
    ASSERT_TRUE(signature) << name << ": " << signature.error().message;
    const BoundInput& past = signature->inputs.back();
    EXPECT_EQ(past.name, name);
    EXPECT_EQ(past.feed, Feed::PastKeyValues);
    EXPECT_EQ(past.type, ElementType::Float16);
    EXPECT_EQ(past.heads, 8);
    EXPECT_EQ(past.head_size, 128);
  }
}

TEST(Signature, ACacheThatCannotBeEmptyIsNamed) {
  const std::string name = "past_key_values.3.value";
  for (const Port& past : {Port{name, ElementType::Float, {-1, -1, -1, 128}},
                           Port{name, ElementType::Float, {-1, 8, -1, -1}},
                           Port{name, ElementType::Float, {-1, 8, -1, 0}},
                           Port{name, ElementType::Float, {-1, 8, 4096, 128}},
                           Port{name, ElementType::Float, {-1, 8, 128}},
                           Port{name, ElementType::Float, {2, -1, 8, -1, 128}},
                           Port{name, ElementType::Other, {-1, 8, -1, 128}},
                           Port{name, ElementType::Int64, {-1, 8, -1, 128}}}) {
    const auto signature = choose_signature({ids("input_ids"), past}, kHidden);
    ASSERT_FALSE(signature);
    EXPECT_EQ(signature.error().code, ErrorCode::Unsupported);
    EXPECT_NE(signature.error().message.find(name), std::string::npos);
  }
}

TEST(Signature, TheOutputAloneIsChosenByTheSameRules) {
  const std::vector<Port> outputs{{"present.0.key", ElementType::Float, {-1, 8, -1, 128}},
                                  {"pooler_output", ElementType::Float, {-1, 64}},
                                  {"last_hidden_state", ElementType::Float, {-1, -1, 64}}};
  const auto output = choose_output(outputs);
  ASSERT_TRUE(output);
  EXPECT_EQ(output->name, "last_hidden_state");
  EXPECT_FALSE(choose_output({outputs.front()}));
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

TEST(Signature, AStaticGraphTakesRowsInThePlaceOfIds) {
  const Port rows{"token_embeddings", ElementType::Float, {64, 24}};
  const Port bias{"attention_bias", ElementType::Float, {2, 32}};
  const Port last{"last_token", ElementType::Float, {2, 32}};
  const Port output{"sentence_embedding", ElementType::Float, {2, 24}};
  const auto signature = choose_signature({rows, bias, last}, {output});
  ASSERT_TRUE(signature);
  EXPECT_TRUE(signature->is_static);
  EXPECT_EQ(signature->inputs[0].feed, Feed::Embeddings);
  EXPECT_EQ(signature->inputs[1].feed, Feed::Bias);
  EXPECT_EQ(signature->inputs[2].feed, Feed::LastToken);
  EXPECT_FALSE(choose_signature({bias, last}, {output})) << "no rows and no ids";
  for (Port wrong : {rows, bias, last}) {
    wrong.type = ElementType::Float16;
    EXPECT_EQ(choose_signature({rows, wrong}, {output}).error().code, ErrorCode::BadModel);
    wrong.type = ElementType::Float;
    wrong.shape.push_back(1);
    EXPECT_EQ(choose_signature({rows, wrong}, {output}).error().code, ErrorCode::BadModel);
  }
  EXPECT_FALSE(choose_signature(kUsualInputs, {output})->is_static);
}

}  // namespace
}  // namespace textvec::runtime
