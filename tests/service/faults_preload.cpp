// In: a file of four numbers, $TEXTVEC_FAULTS, which a test changes while the process runs. Out: a
// library for LD_PRELOAD, under which memory ends and the wall clock is set as the numbers say.
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <ctime>
#include <new>
#include <string_view>

namespace {

struct Faults {
  std::atomic<long> allocations;  // how many are left before one fails; below 0 nothing fails
  std::atomic<long> stays;        // 1: those after it fail too
  std::atomic<long> seconds;      // that the wall clock is ahead
  std::atomic<long> large;        // ONNX Runtime gets no piece of so many bytes; 0: it gets all
};

Faults* map_faults() {
  const char* path = std::getenv("TEXTVEC_FAULTS");
  const int file = path == nullptr ? -1 : open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return nullptr;
  void* place = mmap(nullptr, sizeof(Faults), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return place == MAP_FAILED ? nullptr : static_cast<Faults*>(place);
}

Faults* faults() {
  static Faults* const mapped = map_faults();
  return mapped;
}

// Whether the program's own code asked, and not ONNX Runtime, which ends the process at some of its
// small allocations. The standard library asks for whoever called it.
bool asked_by_program() {
  void* frames[16];
  const int count = backtrace(frames, 16);
  Dl_info self{};
  dladdr(reinterpret_cast<void*>(&asked_by_program), &self);
  for (int i = 0; i < count; ++i) {
    Dl_info from{};
    if (dladdr(frames[i], &from) == 0 || from.dli_fbase == self.dli_fbase) continue;
    const std::string_view name(from.dli_fname);
    if (name.find("libstdc++") != name.npos) continue;
    return name.ends_with("textvec");
  }
  return false;
}

bool fails() {
  Faults* now = faults();
  if (now == nullptr || now->allocations.load() < 0 || !asked_by_program()) return false;
  long left = now->allocations.load();
  while (left >= 0) {
    const long next = left > 0 ? left - 1 : now->stays.load() != 0 ? 0 : -1;
    if (now->allocations.compare_exchange_weak(left, next)) return left == 0;
  }
  return false;
}

}  // namespace

void* operator new(std::size_t size) {
  void* memory = fails() ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }

// So ONNX Runtime takes memory for what a batch needs, and nobody else what is large.
void* operator new(std::size_t size, std::align_val_t alignment) {
  const Faults* now = faults();
  const auto large = static_cast<std::size_t>(now == nullptr ? 0 : now->large.load());
  const auto step = static_cast<std::size_t>(alignment);
  void* memory = large > 0 && size >= large
                     ? nullptr
                     : std::aligned_alloc(step, (size + step - 1) / step * step);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept { std::free(memory); }

extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const long result = syscall(SYS_clock_gettime, clock, time);
  if (result == 0 && clock == CLOCK_REALTIME && faults() != nullptr) {
    time->tv_sec += faults()->seconds.load();
  }
  return static_cast<int>(result);
}

extern "C" std::time_t time(std::time_t* place) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (place != nullptr) *place = now.tv_sec;
  return now.tv_sec;
}
