// From what --model says to a folder: paths as they are, names in either cache, and the errors of
// what is neither. Each test has an environment and a working folder of its own.
#include "hub/locate.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/temporary_folder.h"

namespace textvec::hub {
namespace {

namespace fs = std::filesystem;

// Gives a variable another value, or none, and puts back what was there.
class ScopedVariable {
 public:
  explicit ScopedVariable(const char* name) : name_(name) {
    if (const char* value = ::getenv(name)) before_ = value;
    set(std::nullopt);
  }
  ~ScopedVariable() { set(before_); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

  void set(const std::optional<std::string>& value) const {
    if (value) {
      ::setenv(name_, value->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }

 private:
  const char* name_;
  std::optional<std::string> before_{};
};

class ScopedWorkingFolder {
 public:
  explicit ScopedWorkingFolder(const fs::path& folder) { fs::current_path(folder); }
  ~ScopedWorkingFolder() {
    std::error_code error;
    fs::current_path(before_, error);
  }
  ScopedWorkingFolder(const ScopedWorkingFolder&) = delete;
  ScopedWorkingFolder& operator=(const ScopedWorkingFolder&) = delete;

 private:
  fs::path before_ = fs::current_path();
};

// Unset, empty, set: a base-3 digit of `combination` for each variable.
enum class State { Unset, Empty, Set };

State state_of(std::size_t combination, std::size_t variable) {
  for (; variable > 0; --variable) combination /= 3;
  return static_cast<State>(combination % 3);
}

class Hub : public ::testing::Test {
 protected:
  Hub() { fs::create_directory(folder_ / "work"); }

  // A snapshot of the Hugging Face cache, and the name refs/main has for it.
  static fs::path write_snapshot(const fs::path& hub, const std::string& repository,
                                 const std::string& commit) {
    testing::write_file(hub / repository / "refs/main", commit);
    const fs::path snapshot = hub / repository / "snapshots" / commit;
    fs::create_directories(snapshot);
    return snapshot;
  }

  static void expect_error(std::string_view model, ErrorCode code, std::string_view part) {
    const auto location = locate(model);
    ASSERT_FALSE(location) << model << " is " << location->path;
    EXPECT_EQ(location.error().code, code) << location.error().message;
    EXPECT_NE(location.error().message.find(part), std::string::npos)
        << location.error().message << "\nlacks: " << part;
  }

  const ScopedVariable textvec_cache_{"TEXTVEC_CACHE"};
  const ScopedVariable xdg_cache_home_{"XDG_CACHE_HOME"};
  const ScopedVariable home_{"HOME"};
  const ScopedVariable hf_hub_cache_{"HF_HUB_CACHE"};
  const ScopedVariable hugging_face_hub_cache_{"HUGGINGFACE_HUB_CACHE"};
  const ScopedVariable hf_home_{"HF_HOME"};
  const testing::TemporaryFolder folder_;
};

TEST_F(Hub, TakesTheFirstVariableThatSaysSomething) {
  const std::pair<const ScopedVariable*, const char*> variables[] = {
      {&textvec_cache_, ""}, {&xdg_cache_home_, "/textvec"}, {&home_, "/.cache/textvec"}};
  for (std::size_t combination = 0; combination < 27; ++combination) {
    SCOPED_TRACE(combination);
    std::optional<std::string> wanted;
    for (std::size_t index = 0; index < 3; ++index) {
      const auto& [variable, below] = variables[index];
      const std::string value = "/folder" + std::to_string(index);
      const State state = state_of(combination, index);
      variable->set(state == State::Set     ? std::optional(value)
                    : state == State::Empty ? std::optional(std::string())
                                            : std::nullopt);
      if (state == State::Set && !wanted) wanted = value + below;
    }
    const auto cache = cache_folder();
    ASSERT_EQ(cache.has_value(), wanted.has_value());
    if (wanted) {
      EXPECT_EQ(*cache, *wanted);
    } else {
      EXPECT_EQ(cache.error().code, ErrorCode::InvalidArgument);
      EXPECT_EQ(cache.error().message,
                "no cache folder: none of TEXTVEC_CACHE, XDG_CACHE_HOME and HOME is set");
    }
  }
}

TEST_F(Hub, TakesAnExistingPathAsItIs) {
  const fs::path work = folder_ / "work";
  testing::write_file(work / "my-model/config.json", "{}");
  testing::write_file(work / "my-model/onnx/model.onnx", "");
  testing::write_file(work / "no name\\at/all: .x/config.json", "{}");
  testing::write_file(work / "owner/name/config.json", "{}");
  fs::create_symlink("my-model", work / "link");
  const ScopedWorkingFolder moved(work);
  const std::string absolute = (work / "my-model").string();
  const std::string parent = folder_.path().filename().string();
  const std::pair<std::string, std::string> cases[] = {
      {"my-model", "my-model"},
      {"my-model/", "my-model"},
      {"my-model//", "my-model"},
      {"my-model/.", "my-model"},
      {"./my-model", "my-model"},
      {"./my-model/", "my-model"},
      {"my-model/onnx/..", "my-model"},
      {"../work/my-model", "my-model"},
      {absolute, "my-model"},
      {absolute + "/", "my-model"},
      {".", "work"},
      {"./", "work"},
      {"my-model/..", "work"},
      {"..", parent},
      {"../", parent},
      {"/", "/"},
      {"link", "link"},
      {"owner/name", "name"},
      {"no name\\at/all: .x", "all: .x"},
      {"my-model/onnx/model.onnx", "model.onnx"},
      {absolute + "/onnx/model.onnx", "model.onnx"},
      {"my-model/config.json", "config.json"}};  // who loads it says that it is no model
  for (const auto& [model, name] : cases) {
    const auto location = locate(model);
    ASSERT_TRUE(location) << location.error().message;
    EXPECT_EQ(location->path.string(), model);
    EXPECT_EQ(location->name, name) << model;
  }
}

TEST_F(Hub, DoesNotMistakeAMissingPathForAName) {
  fs::create_symlink("nothing", folder_ / "work/link");
  const ScopedWorkingFolder moved(folder_ / "work");
  for (const std::string& model :
       {std::string("./none"), std::string("../none"), std::string("/none/such"),
        std::string("~/none"), std::string("./none.onnx"), std::string("./link"),
        std::string("./a b"), "./" + std::string(300, 'x'), (folder_ / "none").string()}) {
    expect_error(model, ErrorCode::NotFound, "no such file or folder: " + model);
  }
}

TEST_F(Hub, RefusesAMalformedName) {
  const ScopedWorkingFolder moved(folder_ / "work");
  const std::string long_part(97, 'n');
  for (const std::string& model : {std::string(".hidden"),
                                   std::string("..x"),
                                   std::string("..."),
                                   std::string("a/.b"),
                                   std::string(".a/b"),
                                   std::string("a/.."),
                                   std::string("a/."),
                                   std::string("a/"),
                                   std::string("a//b"),
                                   std::string("a/b/"),
                                   std::string("a/b/c"),
                                   std::string("a/../b"),
                                   std::string("a b"),
                                   std::string(" a"),
                                   std::string("a "),
                                   std::string("a\\b"),
                                   std::string("a:b"),
                                   std::string("a@"),
                                   std::string("a@../b"),
                                   std::string("a@.b"),
                                   std::string("con"),
                                   std::string("a/NUL.json"),
                                   std::string("a--b"),
                                   std::string("a./b"),
                                   std::string("pypi:"),
                                   std::string("pypi:-r"),
                                   std::string("pypi:a/b"),
                                   std::string("pypi:a==-v"),
                                   std::string("a\n"),
                                   std::string("a\x7F"),
                                   std::string("caf\xC3\xA9"),
                                   std::string("\xFF"),
                                   std::string("~"),
                                   std::string("~user/x"),
                                   std::string("$HOME"),
                                   std::string("a?b"),
                                   std::string("https://host/a"),
                                   long_part,
                                   "a/" + long_part,
                                   long_part + "/a"}) {
    expect_error(model, ErrorCode::InvalidArgument,
                 "\"" + model + "\" is neither a path that exists nor a model's name");
    expect_error(model, ErrorCode::InvalidArgument, "at most 96 bytes each");
  }
}

TEST_F(Hub, TakesNamesOfTwoPartsOfNinetySixBytes) {
  textvec_cache_.set(folder_.path().string());
  const std::string part95(95, 'n');
  const std::string part96(96, 'N');
  for (const std::string& name :
       {std::string("a"), std::string("A/b"), std::string("0.9_x-y"), std::string("-/_"),
        std::string("a..b"), part95, part96, part95 + "/" + part96, part96 + "/" + part96,
        std::string(kDefaultModel)}) {
    expect_error(name, ErrorCode::NotFound, "no model \"" + name + "\"");
    fs::create_directories(folder_ / "models" / name);
    const auto location = locate(name);
    ASSERT_TRUE(location) << location.error().message;
    EXPECT_EQ(location->path, folder_ / "models" / name);
    EXPECT_EQ(location->name, name);
    fs::remove_all(folder_ / "models");
  }
}

TEST_F(Hub, TakesOneTo4096BytesWithoutAZeroByte) {
  expect_error("", ErrorCode::InvalidArgument, "the model's name is empty");
  for (const std::size_t size : {std::size_t{4095}, std::size_t{4096}}) {
    expect_error(std::string(size, 'a'), ErrorCode::InvalidArgument, "is neither a path");
  }
  expect_error(std::string(4097, 'a'), ErrorCode::InvalidArgument,
               "has 4097 bytes; it takes 1 to 4096 without a zero byte");
  // What stands before the zero byte exists, and must not be taken for the whole.
  const std::string path = folder_.path().string();
  for (const std::string& model :
       {path + '\0', path + std::string("\0/x", 3), std::string("a\0b", 3), std::string(1, '\0')}) {
    expect_error(model, ErrorCode::InvalidArgument,
                 "has " + std::to_string(model.size()) + " bytes; it takes 1 to 4096 without");
  }
}

TEST_F(Hub, FindsANameInOurCache) {
  const std::string root = folder_.path().string();
  const std::pair<const ScopedVariable*, std::string> variables[] = {
      {&home_, "/.cache/textvec"}, {&xdg_cache_home_, "/textvec"}, {&textvec_cache_, ""}};
  for (const auto& [variable, below] : variables) {  // each outranks those before it
    variable->set(root + "/cache");
    const fs::path models = root + "/cache" + below + "/models";
    for (const char* name : {"one", "owner/name"}) {
      expect_error(name, ErrorCode::NotFound, (models / name).string());
      fs::create_directories(models / name);
      const auto location = locate(name);
      ASSERT_TRUE(location) << location.error().message;
      EXPECT_EQ(location->path, models / name);
      EXPECT_EQ(location->name, name);
    }
    fs::remove_all(root + "/cache");
  }
}

TEST_F(Hub, WantsAFolderInOurCache) {
  textvec_cache_.set(folder_.path().string());
  testing::write_file(folder_ / "models/file", "");
  expect_error("file", ErrorCode::NotFound, (folder_ / "models/file").string());
  fs::create_symlink("nothing", folder_ / "models/dangling");
  expect_error("dangling", ErrorCode::NotFound, (folder_ / "models/dangling").string());
  fs::create_directory(folder_ / "elsewhere");
  fs::create_symlink(folder_ / "elsewhere", folder_ / "models/link");
  EXPECT_EQ(locate("link")->path, folder_ / "models/link");
}

TEST_F(Hub, PrefersAPathToAName) {
  textvec_cache_.set((folder_ / "cache").string());
  fs::create_directories(folder_ / "cache/models/owner/name");
  fs::create_directories(folder_ / "work/owner/name");
  const ScopedWorkingFolder moved(folder_ / "work");
  EXPECT_EQ(locate("owner/name")->path, "owner/name");
  fs::remove_all(folder_ / "work/owner");
  EXPECT_EQ(locate("owner/name")->path, folder_ / "cache/models/owner/name");
}

TEST_F(Hub, LooksIntoTheFirstHuggingFaceCacheThatIsSet) {
  const std::pair<const ScopedVariable*, const char*> variables[] = {
      {&hf_hub_cache_, ""},
      {&hugging_face_hub_cache_, ""},
      {&hf_home_, "/hub"},
      {&xdg_cache_home_, "/huggingface/hub"},
      {&home_, "/.cache/huggingface/hub"}};
  std::array<fs::path, 5> snapshots;
  std::array<std::string, 5> values;
  for (std::size_t index = 0; index < 5; ++index) {
    values[index] = (folder_ / ("cache" + std::to_string(index))).string();
    snapshots[index] = write_snapshot(values[index] + variables[index].second,
                                      "models--owner--name", "c" + std::to_string(index));
  }
  for (std::size_t combination = 0; combination < 243; ++combination) {
    SCOPED_TRACE(combination);
    std::optional<std::size_t> first;
    for (std::size_t index = 0; index < 5; ++index) {
      const State state = state_of(combination, index);
      variables[index].first->set(state == State::Set     ? std::optional(values[index])
                                  : state == State::Empty ? std::optional(std::string())
                                                          : std::nullopt);
      if (state == State::Set && !first) first = index;
    }
    if (first) {
      const auto location = locate("owner/name");
      ASSERT_TRUE(location) << location.error().message;
      EXPECT_EQ(location->path, snapshots[*first]);
      EXPECT_EQ(location->name, "owner/name");
    } else {
      expect_error("owner/name", ErrorCode::NotFound,
                   "not in any cache, because neither TEXTVEC_CACHE nor HOME is set");
    }
  }
}

TEST_F(Hub, TakesARevisionOfAName) {
  textvec_cache_.set((folder_ / "ours").string());
  hf_hub_cache_.set((folder_ / "theirs").string());
  const std::string commit(40, 'c');
  const fs::path main = write_snapshot(folder_ / "theirs", "models--owner--name", "a");
  const fs::path other = folder_ / "theirs/models--owner--name/snapshots" / commit;
  fs::create_directories(other);
  testing::write_file(folder_ / "theirs/models--owner--name/refs/refs/pr/1", commit);
  EXPECT_EQ(locate("owner/name")->path, main);
  EXPECT_EQ(locate("owner/name@main")->path, main);
  EXPECT_EQ(locate("owner/name@refs/pr/1")->path, other);
  EXPECT_EQ(locate("owner/name@" + commit)->path, other);
  EXPECT_EQ(locate("owner/name@" + commit)->name, "owner/name@" + commit);
  expect_error("owner/name@v1", ErrorCode::NotFound, "models--owner--name");
  // Whatever else lies there: what is asked for by revision is not in our cache.
  fs::create_directories(folder_ / "ours/models/owner/name");
  EXPECT_EQ(locate("owner/name@main")->path, main);
}

TEST_F(Hub, FindsAPackageByEachOfItsNames) {
  textvec_cache_.set(folder_.path().string());
  expect_error("pypi:some-model", ErrorCode::NotFound, (folder_ / "models/some-model").string());
  fs::create_directories(folder_ / "models/some-model");
  for (const char* name : {"pypi:some-model", "pypi:Some_Model", "some-model"}) {
    const auto location = locate(name);
    ASSERT_TRUE(location) << location.error().message;
    EXPECT_EQ(location->path, folder_ / "models/some-model");
    EXPECT_EQ(location->name, name);
  }
}

TEST_F(Hub, TakesTheCommitThatMainNames) {
  hf_hub_cache_.set(folder_.path().string());
  const fs::path repository = folder_ / "models--name";
  const std::string commit40 = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf";
  for (const std::string& commit : {commit40, std::string("1"), std::string("a.b_c-D"),
                                    std::string(95, 'c'), std::string(96, 'c')}) {
    const fs::path snapshot = write_snapshot(folder_.path(), "models--name", commit);
    write_snapshot(folder_.path(), "models--name", "other");
    for (const char* end : {"", "\n", "\r\n", " \n", "\n\n\n"}) {
      testing::write_file(repository / "refs/main", commit + end);
      const auto location = locate("name");
      ASSERT_TRUE(location) << location.error().message;
      EXPECT_EQ(location->path, snapshot);
      EXPECT_EQ(location->name, "name");
    }
  }
}

TEST_F(Hub, FollowsNoOtherReference) {
  hf_hub_cache_.set((folder_ / "hub").string());
  const fs::path repository = folder_ / "hub/models--name";
  // Where a reference that is followed blindly would lead.
  fs::create_directories(folder_ / "evil");
  fs::create_directories(repository / "snapshots/a/b");
  fs::create_directories(repository / "snapshots/.a");
  fs::create_directories(repository / "snapshots/a b");
  fs::create_directories(repository / "snapshots" / std::string(96, 'c'));  // cut to fit
  fs::create_directories(repository / "snapshots" / std::string(97, 'c'));
  testing::write_file(repository / "snapshots/file", "");
  for (const std::string& reference : {std::string(),
                                       std::string("\n"),
                                       std::string("."),
                                       std::string(".."),
                                       std::string("../.."),
                                       std::string("../../../evil"),
                                       std::string("a/../../../../evil"),
                                       std::string("a/b"),
                                       std::string("a/"),
                                       (folder_ / "evil").string(),
                                       std::string(".a"),
                                       std::string("a b"),
                                       std::string("\na"),
                                       std::string(" a"),
                                       std::string("a\0b", 3),
                                       std::string("a\0", 2),
                                       std::string("a\nb"),
                                       std::string("a\t"),
                                       std::string(97, 'c'),
                                       std::string(100'000, 'c'),
                                       std::string("missing"),
                                       std::string("file"),
                                       std::string("\xFF\xFE")}) {
    testing::write_file(repository / "refs/main", reference);
    expect_error("name", ErrorCode::NotFound, repository.string());
  }
  testing::write_file(repository / "refs/main", "a");
  EXPECT_TRUE(locate("name"));
}

// A pipe would block whoever opens it.
TEST_F(Hub, ReadsMainFromAFile) {
  hf_hub_cache_.set(folder_.path().string());
  const fs::path snapshot = write_snapshot(folder_.path(), "models--name", "a");
  const fs::path main = folder_ / "models--name/refs/main";
  fs::remove(main);
  expect_error("name", ErrorCode::NotFound, "models--name");
  ASSERT_EQ(::mkfifo(main.c_str(), 0600), 0);
  expect_error("name", ErrorCode::NotFound, "models--name");
  fs::remove(main);
  fs::create_directory(main);
  expect_error("name", ErrorCode::NotFound, "models--name");
  fs::remove(main);
  fs::create_symlink("nothing", main);
  expect_error("name", ErrorCode::NotFound, "models--name");
  testing::write_file(main.parent_path() / "nothing", "a");
  EXPECT_EQ(locate("name")->path, snapshot);
}

TEST_F(Hub, PrefersOurCache) {
  textvec_cache_.set((folder_ / "ours").string());
  hf_hub_cache_.set((folder_ / "theirs").string());
  const fs::path snapshot = write_snapshot(folder_ / "theirs", "models--owner--name", "a");
  EXPECT_EQ(locate("owner/name")->path, snapshot);
  fs::create_directories(folder_ / "ours/models/owner/name");
  EXPECT_EQ(locate("owner/name")->path, folder_ / "ours/models/owner/name");
  // Half a name is not the name.
  expect_error("name", ErrorCode::NotFound, "no model \"name\"");
}

TEST_F(Hub, NamesThePlacesThatWereSearched) {
  home_.set("/nowhere");
  EXPECT_EQ(
      locate("owner/name").error().message,
      "no model \"owner/name\": it is no path, and not in "
      "/nowhere/.cache/textvec/models/owner/name or "
      "/nowhere/.cache/huggingface/hub/models--owner--name; `textvec pull owner/name` downloads "
      "what the hub has");
  home_.set(std::nullopt);
  textvec_cache_.set("/ours");
  EXPECT_EQ(locate("name").error().message,
            "no model \"name\": it is no path, and not in /ours/models/name; `textvec pull name` "
            "downloads what the hub has");
  textvec_cache_.set(std::nullopt);
  hf_home_.set("/theirs");
  EXPECT_EQ(locate("name").error().message,
            "no model \"name\": it is no path, and not in /theirs/hub/models--name; `textvec pull "
            "name` downloads what the hub has");
  EXPECT_EQ(locate("name").error().code, ErrorCode::NotFound);
}

}  // namespace
}  // namespace textvec::hub
