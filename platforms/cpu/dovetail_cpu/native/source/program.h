// A graph as a list of steps over values in memory that is reused, run by one leader thread and a pool.
// The structs are mirrored in bindings.py, field by field.

#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels.h"
#include "pool.h"

namespace dovetail {

enum Op : int32_t {
  kEmbed, kPack, kProduct, kNorm, kRopeTable, kRope, kAttention, kAdd, kMultiply, kScale, kActivate, kTakeRows
};

struct Value {  // columns `offset` to `offset + width` of a slot [rows, stride] of f32
  int32_t slot, outputs;  // slot -1 - i: the caller's i-th output; outputs: rows are N, not T
  int64_t offset, width;
};

struct PackedSpec {
  int64_t inputs, group;  // group: inputs that share a scale, 0 for all
  int32_t form, weight_group, outputs, terms;  // terms: as in Packed
};

struct Step {
  int32_t op, packed, layer, group;    // group: of the cache
  int32_t in[4], out[4], matrix[4];    // -1: none
  int64_t number[6];
  float scalar[4];
  const float* weight;
};

struct Plan {
  const Step* steps;
  const Value* values;
  const Matrix* matrices;
  const PackedSpec* packed;
  const int64_t* slot_widths;
  const int32_t* slot_outputs;
  int64_t num_steps, num_values, num_matrices, num_packed, num_slots, num_layers;
};

struct Inputs {
  const int32_t *tokens, *positions, *row_starts, *past, *outputs;
  const int32_t* const* tables;        // per cache group, rows' blocks end to end
  const int32_t* const* table_starts;  // [R + 1]
  float* const* results;
  float* peak_values;                  // of the rows of results[peaked], [N] each: the largest number, NaN if one is,
  int32_t* peak_ids;                   // and the lowest of its places
  int64_t peaked;                      // -1: none
  int64_t num_tokens, num_rows, num_outputs;
};

struct Layer {  // a layer's cache: keys and values of the first block, and bytes from block to block
  void *keys, *values;
  int64_t key_step, value_step;
};

class Program {
 public:
  Program(const Kernels& kernels, int threads, bool by_rows, const Plan& plan);
  ~Program();

  void set_layer(int64_t layer, const Layer& memory);
  bool reserve(int64_t tokens, int64_t outputs);  // false: no memory
  bool start(const Inputs& inputs);
  void wait();
  bool done();
  const int64_t* spent() const { return spent_; }  // nanoseconds per op since it was made

 private:
  struct Memory {
    Memory() = default;
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory();
    bool grow(int64_t bytes);
    uint8_t* data = nullptr;
    int64_t bytes = 0;
  };

  void sum_rows();
  void lead();
  void run();
  void embed(const Step& s);
  void pack(const Step& s);
  void product(const Step& s);
  void norm(const Step& s);
  void rope_table(const Step& s);
  void rope(const Step& s);
  void attention(const Step& s);
  void elementwise(const Step& s);
  void activate(const Step& s);
  void take_rows(const Step& s);
  void gather_peaks(int64_t tasks);
  void find_peaks();

  Rows rows(int32_t value) const;
  int64_t count(int32_t value) const { return values_[static_cast<size_t>(value)].outputs ? in_.num_outputs : in_.num_tokens; }
  Packed packed(int32_t index) const;
  uint8_t* scratch(int thread) { return scratch_[static_cast<size_t>(thread)].data; }
  template <typename Body>
  void each_row(int64_t count, int64_t width, Body&& body);

  const Kernels& kernels_;
  Pool pool_;
  bool by_rows_;  // whether few tokens are packed as rows
  std::vector<Step> steps_;
  std::vector<Value> values_;
  std::vector<Matrix> matrices_;
  std::vector<PackedSpec> specs_;
  std::vector<int64_t> slot_widths_;
  std::vector<int32_t> slot_outputs_;
  std::vector<Layer> layers_;
  std::vector<std::vector<int32_t>> row_sums_;  // per matrix
  std::vector<Memory> slots_, packed_, scratch_;
  int64_t resident_;
  std::vector<int64_t> pieces_, tiles_;  // of rows, summed up
  std::vector<float> peak_values_;  // [parts of a row][N rounded up to 16]
  std::vector<int32_t> peak_ids_;
  bool peaked_ = false;

  int64_t spent_[16] = {};
  Inputs in_{};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool asked_ = false, busy_ = false, stop_ = false;
  std::thread leader_;
};

}  // namespace dovetail
