// In: what --model says. Out: the model's folder (or .onnx file) on this machine. Never the
// network.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "textvec/result.h"

namespace textvec::hub {

// Used when neither --model nor $TEXTVEC_MODEL is given.
inline constexpr std::string_view kDefaultModel = "sentence-transformers/all-MiniLM-L6-v2";

// $TEXTVEC_CACHE, else $XDG_CACHE_HOME/textvec, else $HOME/.cache/textvec. InvalidArgument when
// none of the three variables is set.
Result<std::filesystem::path> cache_folder();

struct Location {
  std::string name{};            // as given, or the folder's own name
  std::filesystem::path path{};  // a folder, or an .onnx file
};

// An existing path is taken as it is; else a name is looked up below cache_folder()/models, then in
// the Hugging Face cache (the first that is set of $HF_HUB_CACHE, $HF_HOME/hub,
// $XDG_CACHE_HOME/huggingface/hub, $HOME/.cache/huggingface/hub) at the commit that refs/main
// names. A name is one or two parts of [A-Za-z0-9._-], at most 96 bytes each, none beginning with a
// dot. Errors: InvalidArgument (a malformed name), NotFound (places searched).
Result<Location> locate(std::string_view model);

}  // namespace textvec::hub
