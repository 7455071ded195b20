#include "pool.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dovetail {

namespace {

constexpr uint64_t kSpin = 100'000;  // ticks: about 40 us

// std::atomic's own wait gives its turn away some times before it sleeps, and a turn given away is not given back.
void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void wake(std::atomic<uint32_t>& word) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0); }

// Whether something came true within the time that one spins for it.
template <typename True>
bool spin_until(True&& true_now) {
  for (const uint64_t start = __rdtsc(); !true_now(); _mm_pause())
    if (__rdtsc() - start > kSpin) return false;
  return true;
}

}  // namespace

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
  if (asleep_.load() > 0) wake(signal_);
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
    if (finished_.fetch_add(1) + 1 == count_.load() && leader_asleep_.exchange(0) != 0) wake(leader_asleep_);
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
  auto finished = [&] { return finished_.load() >= count; };
  while (!spin_until(finished)) {
    leader_asleep_.store(1);
    if (!finished()) sleep_while(leader_asleep_, 1);
    leader_asleep_.store(0);
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
    if (spin_until([&] { return signal_.load() != seen; })) continue;
    leave_();  // a thread without tiles costs less to switch to
    entered = false;
    asleep_.fetch_add(1);
    sleep_while(signal_, seen);
    asleep_.fetch_sub(1);
  }
}

}  // namespace dovetail
