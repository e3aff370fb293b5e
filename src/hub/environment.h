// In: the process's environment. Out: where models lie and where they come from: what the variables
// that huggingface_hub reads say, by its own rules. An empty variable is as good as none.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "textvec/result.h"

namespace textvec::hub {

// $TEXTVEC_CACHE, else $XDG_CACHE_HOME/textvec, else $HOME/.cache/textvec. InvalidArgument when
// none of the three variables is set.
Result<std::filesystem::path> cache_folder();

// $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub,
// $HOME/.cache/huggingface/hub: the first that is set. InvalidArgument when none is.
Result<std::filesystem::path> hugging_face_cache();

// $HF_HUB_OFFLINE or $TRANSFORMERS_OFFLINE says 1, on, yes or true.
bool is_offline();

struct Endpoint {
  std::string url{};    // without a slash at its end
  bool is_own = false;  // $HF_ENDPOINT names it
};

// $HF_ENDPOINT, else Hugging Face's hub.
Endpoint endpoint();

// $HF_TOKEN, else the first line of $HF_TOKEN_PATH, $HF_HOME/token or its usual place; empty: none.
// InvalidArgument when it holds what no header may.
Result<std::string> token();

}  // namespace textvec::hub
