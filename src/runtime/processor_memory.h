// Out: what ONNX Runtime calls the memory that the processor works in.
#pragma once

namespace Ort {
struct MemoryInfo;
}

namespace textvec::runtime {

// Made once and never destroyed, as the environment.
const Ort::MemoryInfo& processor_memory();

}  // namespace textvec::runtime
