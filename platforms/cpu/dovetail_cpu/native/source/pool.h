// A few threads that share out the tasks of one phase after another.
//
// Tasks are claimed one by one, so a thread that its neighbours keep from running leaves its share to the others: the
// leader waits only for tasks that were begun. Threads that wait spin for some tens of microseconds and then sleep: who
// sleeps while another one is kept from running is let run beside it later.

#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace dovetail {

class Pool {
 public:
  using Task = void (*)(void* context, int64_t index, int thread);

  Pool(int threads, void (*enter)(), void (*leave)());
  ~Pool();

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // For one step, on the leader: the workers wake and stay near.
  void begin();
  void end();

  // task(context, index, thread) for index 0 to count - 1; returns when all are done.
  void run(int64_t count, Task task, void* context);

  template <typename Body>
  void each(int64_t count, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run(count, [](void* context, int64_t index, int thread) { (*static_cast<Plain*>(context))(index, thread); }, &body);
  }

 private:
  void work(int thread);
  bool claim_one(int thread);
  void announce();

  void (*enter_)();
  void (*leave_)();
  std::vector<std::thread> workers_;
  std::atomic<uint64_t> next_{0};   // phase << 32 | next index
  std::atomic<int64_t> count_{0};
  std::atomic<Task> task_{nullptr};
  std::atomic<void*> context_{nullptr};
  alignas(64) std::atomic<int64_t> finished_{0};
  alignas(64) std::atomic<uint32_t> signal_{0};
  std::atomic<uint32_t> leader_asleep_{0};
  std::atomic<int> asleep_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace dovetail
