// What is seen from outside: a C interface, for ctypes.

#include <cstring>
#include <new>

#include "program.h"

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dovetail {
extern const Kernels amx, avx512_bf16, avx512;
}

namespace {

using dovetail::Inputs;
using dovetail::Kernels;
using dovetail::Plan;
using dovetail::Program;

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

bool has_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

// The kernel gives the tile registers only to a process that asks.
bool has_amx() {
#ifdef DOVETAIL_EMULATED_TILES
  return has_bf16();
#elif defined(__linux__)
  if (!has_bf16()) return false;
  unsigned a = 7, b = 0, c = 0, d = 0;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  const unsigned wanted = 1u << 22 | 1u << 24 | 1u << 25;  // amx-bf16, amx-tile, amx-int8
  constexpr long kRequest = 0x1023, kTileData = 18;        // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return (d & wanted) == wanted && syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
  return false;
#endif
}

struct Choice {
  const Kernels& kernels;
  bool (*usable)();
};

const Choice kChoices[] = {{dovetail::amx, has_amx}, {dovetail::avx512_bf16, has_bf16}, {dovetail::avx512, has_avx512}};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT const char* dovetail_sources() { return DOVETAIL_SOURCES; }

// Name of the index-th set of kernels, best first, "" where this processor cannot run it, null past the end.
EXPORT const char* dovetail_kernels(int index) {
  if (index < 0 || index >= 3) return nullptr;
  return kChoices[index].usable() ? kChoices[index].kernels.name : "";
}

EXPORT Program* dovetail_new(const char* name, int threads, int by_rows, const Plan* plan) {
  for (const Choice& choice : kChoices)
    if (std::strcmp(choice.kernels.name, name) == 0 && choice.usable())
      return new (std::nothrow) Program(choice.kernels, threads, by_rows != 0, *plan);
  return nullptr;
}

EXPORT void dovetail_delete(Program* program) { delete program; }
EXPORT void dovetail_set_layer(Program* program, int64_t layer, void* keys, void* values, int64_t key_step, int64_t value_step) {
  program->set_layer(layer, {keys, values, key_step, value_step});
}
EXPORT int dovetail_reserve(Program* program, int64_t tokens, int64_t outputs) { return program->reserve(tokens, outputs); }
EXPORT int dovetail_start(Program* program, const Inputs* inputs) { return program->start(*inputs); }
EXPORT void dovetail_wait(Program* program) { program->wait(); }
EXPORT int dovetail_done(Program* program) { return program->done(); }

// Nanoseconds spent in each op since the program was made.
EXPORT void dovetail_spent(Program* program, int64_t* out, int count) {
  for (int op = 0; op < count; ++op) out[op] = program->spent()[op];
}
