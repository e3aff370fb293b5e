// W3C's Trace Context: which traceparent counts, and ids of our own.
#include "server/trace_context.h"

#include <gtest/gtest.h>

#include <set>

namespace textvec::server {
namespace {

const std::string kTrace = "0af7651916cd43dd8448eb211c80319c";
const std::string kParent = "b7ad6b7169203331";

// The parts with dashes between.
std::string dashed(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += '-';
    text += part;
  }
  return text;
}

std::optional<TraceContext> read(const std::string& traceparent, std::vector<Field> more = {}) {
  Head head;
  head.fields = std::move(more);
  head.fields.push_back({"traceparent", traceparent});
  return read_trace_context(head);
}

TEST(TraceContext, ContinuesTheCallersTrace) {
  const auto context = read(dashed({"00", kTrace, kParent, "01"}), {{"tracestate", "a=1,b=2"}});
  ASSERT_TRUE(context);
  EXPECT_EQ(context->trace_id, kTrace);
  EXPECT_EQ(context->parent_id, kParent);
  EXPECT_EQ(context->state, "a=1,b=2");
  EXPECT_TRUE(context->sampled);
}

TEST(TraceContext, TheLowestFlagSaysWhetherItIsSampled) {
  for (const std::string flags : {"01", "03", "ff", "0b"}) {
    EXPECT_TRUE(read(dashed({"00", kTrace, kParent, flags}))->sampled) << flags;
  }
  for (const std::string flags : {"00", "02", "fe", "0a"}) {
    EXPECT_FALSE(read(dashed({"00", kTrace, kParent, flags}))->sampled) << flags;
  }
}

TEST(TraceContext, ALaterVersionMaySayMore) {
  EXPECT_TRUE(read(dashed({"01", kTrace, kParent, "01"})));
  EXPECT_TRUE(read(dashed({"cc", kTrace, kParent, "01-what-comes"})));
  EXPECT_FALSE(read(dashed({"cc", kTrace, kParent, "01.what-comes"})));
  EXPECT_FALSE(read(dashed({"00", kTrace, kParent, "01-what-comes"})));
}

TEST(TraceContext, WhatBreaksARuleIsNoTrace) {
  const std::string zeros(32, '0');
  for (const std::string& wrong : std::vector<std::string>{
           "",
           dashed({"00", kTrace, kParent, "0"}),
           dashed({"00", kTrace, kParent, "0g"}),
           dashed({"00", kTrace, kParent, "01 "}),
           dashed({"ff", kTrace, kParent, "01"}),
           dashed({"0", kTrace, kParent, "001"}),
           dashed({"00", zeros, kParent, "01"}),
           dashed({"00", kTrace, zeros.substr(16), "01"}),
           dashed({"00", kTrace.substr(1), kParent + "a", "01"}),
           "00_" + dashed({kTrace, kParent, "01"}),
           dashed({"00", kTrace, kParent + "_01"}),
           dashed({"00", "0AF7651916CD43DD8448EB211C80319C", kParent, "01"}),
       }) {
    EXPECT_FALSE(read(wrong)) << wrong;
  }
  // Two of them: nobody knows which.
  EXPECT_FALSE(read(dashed({"00", kTrace, kParent, "01"}), {{"traceparent", "00"}}));
}

TEST(TraceContext, AStateThatIsTooLongOrNoTextIsLeftOut) {
  const std::string parent = dashed({"00", kTrace, kParent, "01"});
  EXPECT_EQ(read(parent, {{"tracestate", std::string(512, 'a')}})->state.size(), 512U);
  EXPECT_EQ(read(parent, {{"tracestate", std::string(513, 'a')}})->state, "");
  EXPECT_EQ(read(parent, {{"tracestate", "a=\xc3\xbc"}})->state, "");
}

TEST(TraceContext, NewIdsAreRightAndDiffer) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    const TraceContext context = new_trace_context();
    EXPECT_TRUE(context.sampled);
    EXPECT_EQ(context.parent_id, "");
    ids.insert(context.trace_id);
    ids.insert(new_span_id());
    const auto again = read(dashed({"00", context.trace_id, new_span_id(), "01"}));
    ASSERT_TRUE(again);
  }
  EXPECT_EQ(ids.size(), 2000U);
}

}  // namespace
}  // namespace textvec::server
