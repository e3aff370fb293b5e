// In: an engine. Out: its vectors of a few fixed texts. See golden.h.
#include "server/golden.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <span>
#include <system_error>

#include "hub/locate.h"

namespace textvec::server {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFilesMax = 10'000;
constexpr double kLengthErrorMax = 1e-5;
constexpr float kDifferenceMax = 1e-6F;

const std::vector<std::string>& golden_texts() {
  static const std::vector<std::string> texts{"hello", "What does a cat sit on?",
                                              "A vector is a list of numbers; texts that mean the "
                                              "same have vectors that are near. 2 + 3 = 5 "
                                              "(\xc3\xa9t\xc3\xa9, \xe4\xbd\xa0\xe5\xa5\xbd)"};
  return texts;
}

Error bad_vector(std::size_t row, const std::string& what) {
  return {ErrorCode::BadModel, "golden text " + std::to_string(row) + ": its vector " + what};
}

Result<void> check_row(std::span<const float> row, std::size_t number, std::size_t dimension) {
  if (row.size() != dimension) {
    return bad_vector(number, "has " + std::to_string(row.size()) + " components; the model says " +
                                  std::to_string(dimension));
  }
  double squares = 0;
  for (const float value : row) squares += static_cast<double>(value) * static_cast<double>(value);
  const double length = std::sqrt(squares);
  if (!std::isfinite(length) || std::abs(length - 1) > kLengthErrorMax) {
    return bad_vector(number, "has the length " + std::to_string(length) + ", not 1");
  }
  return {};
}

}  // namespace

std::string describe_files(const std::string& model) {
  const auto located = hub::locate(model);
  if (!located) return {};
  std::error_code error;
  const fs::path folder =
      fs::is_directory(located->path, error) ? located->path : located->path.parent_path();
  std::vector<std::string> files;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    struct stat about{};
    if (stat(entry->path().c_str(), &about) != 0) return {};
    if (S_ISDIR(about.st_mode)) continue;
    // Of macOS's clock the count has no text of its own.
    const auto time = std::chrono::duration_cast<std::chrono::nanoseconds>(
        fs::last_write_time(entry->path(), error).time_since_epoch());
    if (error || files.size() == kFilesMax) return {};
    files.push_back(entry->path().string() + '\0' + std::to_string(about.st_dev) + ' ' +
                    std::to_string(about.st_ino) + ' ' + std::to_string(about.st_size) + ' ' +
                    std::to_string(time.count()) + '\n');
  }
  if (error) return {};
  std::sort(files.begin(), files.end());
  std::string all;
  for (const std::string& file : files) all += file;
  return all;
}

Result<std::vector<float>> golden_vectors(const Engine& engine) {
  auto embeddings = engine.embed(golden_texts());
  if (!embeddings) return std::move(embeddings).error();
  for (std::size_t row = 0; row < embeddings->rows(); ++row) {
    const auto checked = check_row(embeddings->row(row), row, engine.info().dimension);
    if (!checked) return checked.error();
  }
  return std::move(embeddings->values);
}

Result<void> compare(const Golden& before, const Golden& now) {
  if (before.files.empty() || before.files != now.files) return {};
  float worst = before.vectors.size() == now.vectors.size() ? 0 : 1;
  for (std::size_t i = 0; worst < 1 && i < now.vectors.size(); ++i) {
    worst = std::max(worst, std::abs(now.vectors[i] - before.vectors[i]));
  }
  if (worst <= kDifferenceMax) return {};
  return Error{ErrorCode::BadModel, "the files are the same and the vectors differ by up to " +
                                        std::to_string(worst) + "; the limit is 1e-6"};
}

}  // namespace textvec::server
