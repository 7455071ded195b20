#include "pool.h"

#include <immintrin.h>

namespace dovetail {

namespace {
constexpr int kSpins = 1000;  // about 40 us
}

Pool::Pool(int threads, void (*enter)(), void (*leave)()) : enter_(enter), leave_(leave) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
  stop_ = true;
  announce();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::begin() { enter_(); }

void Pool::end() { leave_(); }

void Pool::announce() {
  signal_.fetch_add(1);
  if (asleep_.load() > 0) signal_.notify_all();
}

// A task of the phase at hand, if one is left. The fields of a phase change only when none of its tasks is left, so
// what was read before a claim that succeeded belongs to the phase that was claimed from.
bool Pool::claim_one(int thread) {
  uint64_t next = next_.load(std::memory_order_acquire);
  while (true) {
    const int64_t index = static_cast<int64_t>(next & 0xffffffffu);
    if (index >= count_.load(std::memory_order_acquire)) return false;
    const Task task = task_.load(std::memory_order_relaxed);
    void* context = context_.load(std::memory_order_relaxed);
    if (!next_.compare_exchange_weak(next, next + 1, std::memory_order_acq_rel)) continue;
    task(context, index, thread);
    finished_.fetch_add(1, std::memory_order_acq_rel);
    return true;
  }
}

void Pool::run(int64_t count, Task task, void* context) {
  if (count <= 0) return;
  if (count == 1 || workers_.empty()) {
    for (int64_t i = 0; i < count; ++i) task(context, i, 0);
    return;
  }
  const uint64_t phase = (next_.load(std::memory_order_relaxed) >> 32) + 1;
  // No index is below a count of 0: nothing is claimed while the fields change.
  count_.store(0);
  next_.store(phase << 32);
  finished_.store(0);
  task_.store(task);
  context_.store(context);
  count_.store(count);
  announce();
  while (claim_one(0)) {
  }
  for (int spins = 0; finished_.load(std::memory_order_acquire) < count; ++spins) {
    if (spins < kSpins) {
      _mm_pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void Pool::work(int thread) {
  bool entered = false;
  while (!stop_) {
    const uint32_t seen = signal_.load();
    if (!entered) {
      enter_();
      entered = true;
    }
    while (claim_one(thread)) {
    }
    int spins = 0;
    while (signal_.load() == seen && spins < kSpins) {
      _mm_pause();
      ++spins;
    }
    if (spins < kSpins) continue;
    leave_();  // a thread without tiles costs less to switch to
    entered = false;
    asleep_.fetch_add(1);
    signal_.wait(seen);
    asleep_.fetch_sub(1);
  }
}

}  // namespace dovetail
