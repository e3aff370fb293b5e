// In: an engine that was just loaded. Out: its vectors of a few fixed texts, checked; and whether
// they are those of an engine that was loaded from the same files before.
#pragma once

#include <string>
#include <vector>

#include "textvec/engine.h"

namespace textvec::server {

struct Golden {
  std::string files{};  // of the model, before it was read; empty: they cannot be told
  std::vector<float> vectors{};
};

// Names, sizes, times and numbers of the files in the folder of `model` (as Engine::load takes it).
// Two equal ones are of the same files.
std::string describe_files(const std::string& model);

// Errors: those of Engine::embed; BadModel (a vector that is not of the dimension that info()
// states, not finite or not of length 1).
Result<std::vector<float>> golden_vectors(const Engine& engine);

// Errors: BadModel (the files are the same, and a vector is not).
Result<void> compare(const Golden& before, const Golden& now);

}  // namespace textvec::server
