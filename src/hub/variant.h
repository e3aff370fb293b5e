// In: the files of a repository and what is wanted. Out: those that running the model needs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "hub/protocol.h"
#include "textvec/hub.h"
#include "textvec/result.h"

namespace textvec::hub {

struct Wanted {
  Variant variant = Variant::Auto;
  std::uint64_t memory_bytes = 0;  // of the machine; 0: unknown
};

struct Choice {
  Variant variant = Variant::Safetensors;  // never Auto
  std::string reason{};                    // empty when it was asked for
  std::string onnx_file{};                 // of an ONNX variant
  std::vector<RemoteFile> files{};         // sorted, small ones first
};

// `architecture` is config.json's model_type, or empty. Code and pickles are never chosen. Errors:
// Unsupported (no such variant, and which there are), BadModel (too many or too large files).
Result<Choice> choose_files(const std::vector<RemoteFile>& files, const std::string& architecture,
                            const Wanted& wanted);

}  // namespace textvec::hub
