// Children that end well, badly, by a signal, never, and that print too much.
#include "hub/child_process.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "support/temporary_folder.h"

namespace textvec::hub {
namespace {

using How = ChildEnd::How;
using testing::TemporaryFolder;

ChildEnd run_script(const std::string& script, ChildOptions options = {}) {
  auto end = run_child({"sh", "-c", script}, options);
  EXPECT_TRUE(end) << end.error().message;
  return end ? std::move(*end) : ChildEnd{};
}

TEST(ChildProcess, SaysHowItEnded) {
  const ChildEnd good = run_script("echo out; echo err >&2");
  EXPECT_EQ(good.how, How::Exited);
  EXPECT_EQ(good.number, 0);
  EXPECT_EQ(good.output, "out\nerr\n");
  const ChildEnd bad = run_script("exit 7");
  EXPECT_EQ(bad.how, How::Exited);
  EXPECT_EQ(bad.number, 7);
  const ChildEnd aborted = run_script("echo last words; kill -ABRT $$");
  EXPECT_EQ(aborted.how, How::Signalled);
  EXPECT_EQ(signal_name(aborted.number), "SIGABRT");
  EXPECT_EQ(aborted.output, "last words\n");
}

TEST(ChildProcess, AMissingProgramIsAnError) {
  const auto end = run_child({"/nowhere/at-all"}, {});
  ASSERT_FALSE(end);
  EXPECT_NE(end.error().message.find("/nowhere/at-all"), std::string::npos);
}

TEST(ChildProcess, KeepsTheEndOfWhatItPrinted) {
  ChildOptions options;
  for (const std::size_t max : {99U, 100U, 101U}) {
    options.output_bytes_max = max;
    const ChildEnd end = run_script("printf '%0100d' 7", options);
    EXPECT_EQ(end.output.size(), std::min<std::size_t>(max, 100));
    EXPECT_EQ(end.output.back(), '7');
  }
  options.output_bytes_max = 10;
  const ChildEnd much = run_script(
      "i=0; while [ $i -lt 20000 ]; do echo line; i=$((i+1)); done; "
      "echo the end",
      options);
  EXPECT_EQ(much.output, "e\nthe end\n");
}

// Whether a process is there, or its remains.
bool is_there(const std::string& number) {
  return ::kill(static_cast<pid_t>(std::stol(number)), 0) == 0;
}

TEST(ChildProcess, OneThatHangsIsEndedWithItsChildren) {
  const TemporaryFolder folder;
  ChildOptions options;
  options.limit = std::chrono::seconds(1);
  options.folder = folder.path();
  const ChildEnd end = run_script("sleep 60 & echo $! > child; sleep 60", options);
  EXPECT_EQ(end.how, How::TimedOut);
  const std::string child = testing::read_file(folder / "child");
  ASSERT_FALSE(child.empty());
  for (int i = 0; i < 200 && is_there(child); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_FALSE(is_there(child));
}

TEST(ChildProcess, OneThatEndsWhileItsChildWritesIsNotWaitedFor) {
  ChildOptions options;
  options.limit = std::chrono::seconds(30);
  const ChildEnd end = run_script("sleep 5 & echo done", options);
  EXPECT_EQ(end.how, How::Exited);
  EXPECT_EQ(end.output, "done\n");
}

TEST(ChildProcess, HeedsAStop) {
  std::stop_source source;
  ChildOptions options;
  options.stop = source.get_token();
  const std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    source.request_stop();
  });
  EXPECT_EQ(run_script("sleep 60", options).how, How::Stopped);
}

TEST(ChildProcess, ReadsNothingAndLeavesSignalsAlone) {
  // Would wait for ever on a terminal; a blocked SIGTERM would be inherited.
  EXPECT_EQ(run_script("cat; echo end").output, "end\n");
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
  const ChildEnd end = run_script("kill -TERM $$; sleep 5");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(end.how, How::Signalled);
  EXPECT_EQ(signal_name(end.number), "SIGTERM");
}

}  // namespace
}  // namespace textvec::hub
