// Trials whose child is a script: verdicts, their cache, and every way in which a child can fail.
#include "runtime/trial.h"

#include <gtest/gtest.h>

#include <thread>

#include "model/folder.h"
#include "support/temporary_folder.h"

namespace textvec::runtime {
namespace {

using testing::read_file;
using testing::TemporaryFolder;
using testing::write_file;

Verdict good() {
  Verdict verdict;
  verdict.right = true;
  verdict.provider_ms = 2.5;
  verdict.cpu_ms = 10;
  verdict.cosine = 0.75;
  verdict.memory_bytes = 12345;
  verdict.placement = {{"A \"quoted\" provider", 7, 2}, {"CPUExecutionProvider", 3, 1}};
  return verdict;
}

struct Trials {
  TemporaryFolder folder{};
  TrialSettings settings{};
  std::vector<std::string> lines{};  // of the log

  Trials() {
    settings.subject = "this machine\nthat graph";
    settings.cache_folder = folder.path();
    settings.log = [this](std::string_view line) { lines.emplace_back(line); };
  }
  // A child that appends to the file "runs" and then does what the script says.
  Verdict run(const std::string& script) {
    settings.command = {"/bin/sh", "-c", "echo x >> " + (folder / "runs").string() + "; " + script};
    return try_provider(settings);
  }
  Verdict run(const Verdict& verdict) {
    write_file(folder / "line", verdict_line(verdict));
    return run("cat " + (folder / "line").string());
  }
  std::size_t runs() const { return read_file(folder / "runs").size() / 2; }
  std::filesystem::path record() const {
    for (const auto& entry : model::entries_of(folder / "verdicts")) {
      if (entry.extension() == ".json") return entry;
    }
    return {};
  }
};

TEST(Trial, AVerdictComesAsItWasGivenAndStays) {
  Trials trials;
  for (const bool kept : {false, true, true}) {
    const Verdict verdict = trials.run(good());
    EXPECT_EQ(verdict.kept, kept);
    EXPECT_TRUE(verdict.right);
    EXPECT_EQ(verdict.reason, "");
    EXPECT_EQ(verdict.provider_ms, 2.5);
    EXPECT_EQ(verdict.cpu_ms, 10);
    EXPECT_EQ(verdict.cosine, 0.75);
    EXPECT_EQ(verdict.memory_bytes, 12345U);
    ASSERT_EQ(verdict.placement.size(), 2U);
    EXPECT_EQ(verdict.placement[0].provider, "A \"quoted\" provider");
    EXPECT_EQ(verdict.placement[0].nodes, 7U);
    EXPECT_EQ(verdict.placement[0].partitions, 2U);
  }
  EXPECT_EQ(trials.runs(), 1U);
}

TEST(Trial, AnotherSubjectIsAnotherTrial) {
  Trials trials;
  trials.run(good());
  trials.settings.subject += " of another version";
  EXPECT_FALSE(trials.run("exit 1").right);
  EXPECT_EQ(trials.runs(), 2U);
}

TEST(Trial, SlowerIsMoreThanATenth) {
  Verdict verdict;
  verdict.cpu_ms = 100;
  verdict.provider_ms = 110;
  EXPECT_FALSE(verdict.slower());
  verdict.provider_ms = 111;
  EXPECT_TRUE(verdict.slower());
}

TEST(Trial, AChildThatFailsIsAVerdictThatStays) {
  const std::vector<std::pair<std::string, std::string>> ways{
      {"kill -ABRT $$", "SIGABRT"},
      {"kill -SEGV $$", "SIGSEGV"},
      {"echo 'textvec: no such device' >&2; echo more; exit 4", "no such device"},
      {"exit 9", "failed"},
      {"echo nothing of use", "nothing of use"},
      {"true", "no verdict"},
      {"echo 'textvec-verdict {\"right\":true'", "no verdict"},
      {"echo 'textvec-verdict {\"right\":true}'", "no verdict"}};
  for (const auto& [script, word] : ways) {
    Trials trials;
    for (const bool kept : {false, true}) {
      const Verdict verdict = trials.run(script);
      EXPECT_FALSE(verdict.right) << script;
      EXPECT_EQ(verdict.kept, kept) << script;
      EXPECT_NE(verdict.reason.find(word), std::string::npos) << script << ": " << verdict.reason;
    }
    EXPECT_EQ(trials.runs(), 1U) << script;
  }
}

TEST(Trial, AChildThatCrashesAfterItsVerdictHasFailed) {
  Trials trials;
  write_file(trials.folder / "line", verdict_line(good()));
  const Verdict verdict =
      trials.run("cat " + (trials.folder / "line").string() + "; kill -SEGV $$");
  EXPECT_FALSE(verdict.right);
  EXPECT_NE(verdict.reason.find("SIGSEGV"), std::string::npos);
}

TEST(Trial, OneThatHangsIsEnded) {
  Trials trials;
  trials.settings.limit = std::chrono::seconds(1);
  const Verdict verdict = trials.run("sleep 60");
  EXPECT_FALSE(verdict.right);
  EXPECT_NE(verdict.reason.find("within 1 s"), std::string::npos) << verdict.reason;
}

TEST(Trial, AMissingProgramIsAVerdict) {
  Trials trials;
  trials.settings.command = {"/nowhere/textvec"};
  const Verdict verdict = try_provider(trials.settings);
  EXPECT_FALSE(verdict.right);
  EXPECT_NE(verdict.reason.find("/nowhere/textvec"), std::string::npos);
}

TEST(Trial, ADamagedRecordIsMadeAnew) {
  for (const char* damage : {"", "{", "[]", R"({"subject":"another","verdict":{"right":true}})",
                             R"({"subject":"this machine\nthat graph"})"}) {
    Trials trials;
    trials.run(good());
    write_file(trials.record(), damage);
    EXPECT_FALSE(trials.run("kill -ABRT $$").right) << damage;
    EXPECT_EQ(trials.runs(), 2U) << damage;
  }
}

TEST(Trial, WithoutACacheThereIsOneAtEachStart) {
  Trials trials;
  trials.settings.cache_folder.clear();
  EXPECT_TRUE(trials.run(good()).right);
  EXPECT_FALSE(trials.run("exit 1").right);
  EXPECT_EQ(trials.runs(), 2U);
}

TEST(Trial, ACacheThatCannotBeWrittenIsSaid) {
  Trials trials;
  write_file(trials.folder / "verdicts", "in the way");
  EXPECT_TRUE(trials.run(good()).right);
  EXPECT_FALSE(trials.run("exit 1").right);
  EXPECT_EQ(trials.runs(), 2U);
  ASSERT_FALSE(trials.lines.empty());
  EXPECT_NE(trials.lines.front().find("at every start"), std::string::npos);
}

TEST(Trial, ThoseAtTheSameTimeMakeOne) {
  Trials trials;
  trials.settings.log = {};
  write_file(trials.folder / "line", verdict_line(good()));
  trials.settings.command = {"/bin/sh", "-c",
                             "echo x >> " + (trials.folder / "runs").string() +
                                 "; sleep 0.3; cat " + (trials.folder / "line").string()};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] { EXPECT_TRUE(try_provider(trials.settings).right); });
    }
  }
  EXPECT_EQ(trials.runs(), 1U);
}

TEST(OneLine, HasNoControlCharactersAndALimit) {
  EXPECT_EQ(one_line("a\nb\r\n\tc \n"), "a b c");
  EXPECT_EQ(one_line("\n\n"), "");
  EXPECT_EQ(one_line(std::string(299, 'x')).size(), 299U);
  EXPECT_EQ(one_line(std::string(300, 'x')).size(), 300U);
  const std::string cut = one_line("begin" + std::string(293, 'x') + "end");
  EXPECT_EQ(cut.size(), 300U);
  EXPECT_TRUE(cut.starts_with("begin") && cut.ends_with("end"));
  EXPECT_NE(cut.find(" ... "), std::string::npos);
}

}  // namespace
}  // namespace textvec::runtime
