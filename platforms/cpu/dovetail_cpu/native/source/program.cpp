#include "program.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace dovetail {

namespace {

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

constexpr int64_t kLargePage = 2 << 20;  // bytes; a tile's rows of a wide array each lie in a page of 4 KiB of their own

constexpr int64_t kStretch = 256 << 10;  // bytes

int64_t row_bytes(const Matrix& w) { return w.form == kBf16 ? 2 * w.inputs : w.form == kInt8 ? w.inputs : (w.inputs + 1) / 2; }

// Bytes of packed tokens that stay in a core's second-level cache.
int64_t resident() {
  const int64_t cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return (cache > 0 ? cache : 1 << 20) / 10 * 7;
}

}  // namespace

Program::Memory::~Memory() { std::free(data); }

bool Program::Memory::grow(int64_t wanted) {
  if (wanted <= bytes) return true;
  std::free(data);
  const int64_t page = wanted < kLargePage ? 4096 : kLargePage;
  wanted = round_up(wanted, page);
  data = static_cast<uint8_t*>(std::aligned_alloc(static_cast<size_t>(page), static_cast<size_t>(wanted)));
  if (data != nullptr && page == kLargePage) madvise(data, static_cast<size_t>(wanted), MADV_HUGEPAGE);
  bytes = data == nullptr ? 0 : wanted;
  if (data != nullptr) std::memset(data, 0, static_cast<size_t>(wanted));
  return data != nullptr;
}

Program::Program(const Kernels& kernels, int threads, bool by_rows, const Plan& plan)
    : kernels_(kernels),
      pool_(threads, kernels.enter, kernels.leave),
      by_rows_(by_rows),
      steps_(plan.steps, plan.steps + plan.num_steps),
      values_(plan.values, plan.values + plan.num_values),
      matrices_(plan.matrices, plan.matrices + plan.num_matrices),
      specs_(plan.packed, plan.packed + plan.num_packed),
      slot_widths_(plan.slot_widths, plan.slot_widths + plan.num_slots),
      slot_outputs_(plan.slot_outputs, plan.slot_outputs + plan.num_slots),
      layers_(static_cast<size_t>(plan.num_layers)),
      slots_(static_cast<size_t>(plan.num_slots)),
      packed_(static_cast<size_t>(plan.num_packed)),
      scratch_(static_cast<size_t>(threads)),
      resident_(resident()) {
  sum_rows();
  leader_ = std::thread([this] { lead(); });
}

Program::~Program() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  leader_.join();
}

void Program::sum_rows() {
  if (kernels_.row_sum == nullptr) return;
  row_sums_.resize(matrices_.size());
  for (size_t i = 0; i < matrices_.size(); ++i) {
    Matrix& matrix = matrices_[i];
    if (matrix.form != kInt8) continue;
    const int64_t inputs = matrix.inputs, group = matrix.group == 0 ? inputs : matrix.group, groups = (inputs + group - 1) / group;
    row_sums_[i].resize(static_cast<size_t>(round_up(matrix.outputs, kLanes) * groups));
    int32_t* sums = row_sums_[i].data();
    matrix.sums = sums;
    each_row(matrix.outputs, inputs, [&](int64_t row) {
      for (int64_t g = 0; g < groups; ++g) {
        const uint8_t* numbers = matrix.data + row * inputs + g * group;
        sums[(row / kLanes * groups + g) * kLanes + row % kLanes] = -128 * kernels_.row_sum(numbers, std::min(group, inputs - g * group));
      }
    });
  }
}

void Program::set_layer(int64_t layer, const Layer& memory) { layers_[static_cast<size_t>(layer)] = memory; }

bool Program::reserve(int64_t tokens, int64_t outputs) {
  bool enough = true;
  for (size_t i = 0; i < slots_.size(); ++i)
    enough = enough && slots_[i].grow(round_up(slot_outputs_[i] ? outputs : tokens, kLanes) * slot_widths_[i] * 4 + 64);
  int64_t widest = 512;
  for (size_t i = 0; i < packed_.size(); ++i) {
    const PackedSpec& spec = specs_[i];
    const int64_t blocks = round_up(spec.outputs ? outputs : tokens, kLanes);
    // numbers (f32 for few tokens), scales and sums of at most one per 32 inputs, and what a last tile reads beyond
    const int64_t bytes = std::max<int64_t>(blocks * 2, 4) * round_up(spec.inputs, 64);
    const int64_t groups = spec.group == 0 ? 1 : (spec.inputs + spec.group - 1) / spec.group;
    enough = enough && packed_[i].grow(bytes + 2 * blocks * groups * spec.terms * 4 + 4096);
    widest = std::max(widest, spec.inputs);
  }
  for (Memory& memory : scratch_) enough = enough && memory.grow(kernels_.scratch_bytes(widest) + (256 << 10));
  return enough;
}

bool Program::start(const Inputs& inputs) {
  wait();
  if (!reserve(inputs.num_tokens, inputs.num_outputs)) return false;
  std::lock_guard lock(mutex_);
  in_ = inputs;
  asked_ = busy_ = true;
  changed_.notify_all();
  return true;
}

void Program::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !busy_; });
}

bool Program::done() {
  std::lock_guard lock(mutex_);
  return !busy_;
}

void Program::lead() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return asked_ || stop_; });
    if (stop_) return;
    asked_ = false;
    lock.unlock();
    run();
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

void Program::run() {
  pool_.begin();
  peaked_ = in_.peaked < 0;
  auto before = std::chrono::steady_clock::now();
  for (const Step& s : steps_) {
    switch (s.op) {
      case kEmbed: embed(s); break;
      case kPack: pack(s); break;
      case kProduct: product(s); break;
      case kNorm: norm(s); break;
      case kRopeTable: rope_table(s); break;
      case kRope: rope(s); break;
      case kAttention: attention(s); break;
      case kActivate: activate(s); break;
      case kTakeRows: take_rows(s); break;
      default: elementwise(s);
    }
    const auto now = std::chrono::steady_clock::now();
    spent_[s.op] += std::chrono::nanoseconds(now - before).count();
    before = now;
  }
  if (!peaked_) find_peaks();
  pool_.end();
}

Rows Program::rows(int32_t value) const {
  const Value& v = values_[static_cast<size_t>(value)];
  if (v.slot < 0) return {in_.results[-1 - v.slot], v.width};
  const size_t slot = static_cast<size_t>(v.slot);
  return {reinterpret_cast<float*>(slots_[slot].data) + v.offset, slot_widths_[slot]};
}

Packed Program::packed(int32_t index) const {
  const PackedSpec& spec = specs_[static_cast<size_t>(index)];
  Packed p{};
  p.data = packed_[static_cast<size_t>(index)].data;
  p.tokens = spec.outputs ? in_.num_outputs : in_.num_tokens;
  p.inputs = spec.inputs;
  p.form = spec.form;
  p.weight_group = spec.weight_group;
  p.terms = spec.terms;
  p.rows = by_rows_ && p.tokens <= kernels_.few[spec.form] && !(spec.form == kInt4 && spec.weight_group == 32);
  p.padded = spec.form == kInt4 ? spec.inputs : round_up(spec.inputs, spec.form == kBf16 ? 32 : 64);
  p.group = static_cast<int32_t>(spec.group == 0 ? p.padded : spec.group);
  p.groups = spec.form == kBf16 ? 1 : (p.padded + p.group - 1) / p.group;
  const int64_t blocks = round_up(p.tokens, kLanes);
  const int64_t bytes = p.rows ? p.tokens * p.padded * 4 : blocks * p.padded * (spec.form == kBf16 ? 2 : p.terms);
  p.scale = reinterpret_cast<float*>(p.data + round_up(bytes + 1024, 64));
  p.sums = p.scale + blocks * p.groups * p.terms;
  return p;
}

// body(row) for every row, in pieces of some thousand numbers.
template <typename Body>
void Program::each_row(int64_t count, int64_t width, Body&& body) {
  const int64_t piece = std::max<int64_t>(1, (16 << 10) / std::max<int64_t>(1, width));
  auto some = [&](int64_t index, int) {
    for (int64_t t = index * piece; t < std::min(count, (index + 1) * piece); ++t) body(t);
  };
  pool_.each((count + piece - 1) / piece, some);
}

void Program::embed(const Step& s) {
  const Matrix& table = matrices_[static_cast<size_t>(s.matrix[0])];
  const Rows out = rows(s.out[0]);
  each_row(in_.num_tokens, table.inputs, [&](int64_t t) { kernels_.embed(table, in_.tokens[t], out.data + t * out.stride); });
}

// number[0]: the value is blocked if it is not packed as rows
void Program::pack(const Step& s) {
  Rows x = rows(s.in[0]);
  Packed to = packed(s.packed);
  x.blocked = s.number[0] != 0 && !to.rows;
  const Norm norm{s.weight, s.scalar[0]};
  auto block = [&](int64_t index, int thread) { kernels_.pack(x, norm, to, index, scratch(thread)); };
  if (to.tokens > 0) pool_.each(to.rows ? to.tokens : (to.tokens + kLanes - 1) / kLanes, block);
}

// number[0]: add to what is there; number[1]: the second matrix gates the first; number[2]: activation;
// number[3]: what comes out is blocked if x is not packed as rows
void Program::product(const Step& s) {
  const Packed x = packed(s.packed);
  if (x.tokens == 0) return;
  const bool gated = s.number[1] != 0;
  const int64_t unit = gated ? 16 : 32;
  Product products[4];
  int64_t starts[5] = {0}, outputs = 0;
  int parts = 0;
  for (int i = 0; i < 4 && s.matrix[i] >= 0; i += gated ? 2 : 1) outputs += matrices_[static_cast<size_t>(s.matrix[i])].outputs;
  // Tiles in small tasks, so that no thread waits for long; rows in stretches that memory is read fastest in.
  const int64_t most_rows = x.rows ? kStretch / row_bytes(matrices_[static_cast<size_t>(s.matrix[0])]) : 16 * unit;
  const int64_t rows_each = std::max(unit, round_up(std::min(most_rows, outputs / ((x.rows ? 2 : 32) * pool_.threads()) + 1), unit));
  for (int i = 0; i < 4 && s.matrix[i] >= 0; i += gated ? 2 : 1) {
    const Matrix* weight = &matrices_[static_cast<size_t>(s.matrix[i])];
    const Matrix* second = gated ? &matrices_[static_cast<size_t>(s.matrix[i + 1])] : nullptr;
    products[parts] = {weight, second, &x, rows(s.out[parts]), static_cast<int32_t>(s.number[0]), static_cast<int32_t>(s.number[2])};
    starts[parts + 1] = starts[parts] + (weight->outputs + rows_each - 1) / rows_each;
    products[parts].out.blocked = s.number[3] != 0 && !x.rows;
    products[parts].last = &s == &steps_.back();
    ++parts;
  }
  const int64_t blocks = (x.tokens + kLanes - 1) / kLanes;
  const int64_t block_bytes = x.padded * kLanes * (x.form == kBf16 ? 2 : x.terms);
  const int64_t most_at_once = x.rows ? blocks : std::clamp<int64_t>(resident_ / block_bytes / 2 * 2, 2, 128 / x.terms);
  const int64_t tasks = starts[parts], chunks = (blocks + most_at_once - 1) / most_at_once;
  const int64_t at_once = x.rows ? blocks : round_up((blocks + chunks - 1) / chunks, 2);
  const bool peaks = in_.peaked >= 0 && parts == 1 && x.tokens == in_.num_outputs && values_[static_cast<size_t>(s.out[0])].slot == -1 - in_.peaked;
  if (peaks) {
    peak_values_.assign(static_cast<size_t>(tasks * round_up(x.tokens, kLanes)), -INFINITY);
    peak_ids_.assign(peak_values_.size(), 0);
  }
  auto some = [&](int64_t index, int thread) {
    const int64_t chunk = index / tasks, task = index % tasks;
    int part = 0;
    while (task >= starts[part + 1]) ++part;
    const int64_t first = (task - starts[part]) * rows_each;
    const int64_t last = std::min(first + rows_each, products[part].weight->outputs);
    const int64_t token_block = chunk * at_once;
    Product mine = products[part];
    if (peaks) {
      const int64_t at = task * round_up(x.tokens, kLanes);
      mine.peak_values = &peak_values_[static_cast<size_t>(at)];
      mine.peak_ids = &peak_ids_[static_cast<size_t>(at)];
      std::fill_n(mine.peak_ids + token_block * kLanes, std::min(at_once, blocks - token_block) * kLanes, static_cast<int32_t>(first));
    }
    kernels_.product(mine, first, last, token_block, std::min(at_once, blocks - token_block), scratch(thread));
  };
  pool_.each(tasks * chunks, some);
  if (peaks) gather_peaks(tasks);
}

// The parts of a row are in the order of their columns: the first of several that are equal stays.
void Program::gather_peaks(int64_t tasks) {
  for (int64_t t = 0; t < in_.num_outputs; ++t) {
    size_t best = static_cast<size_t>(t);
    for (int64_t task = 1; task < tasks && !std::isnan(peak_values_[best]); ++task) {
      const size_t place = static_cast<size_t>(task * round_up(in_.num_outputs, kLanes) + t);
      if (!(peak_values_[place] <= peak_values_[best])) best = place;
    }
    in_.peak_values[t] = peak_values_[best];
    in_.peak_ids[t] = peak_ids_[best];
  }
  peaked_ = true;
}

// Where something came after the product.
void Program::find_peaks() {
  int64_t width = 0;
  for (const Value& v : values_)
    if (v.slot == -1 - in_.peaked) width = v.width;
  const float* rows = in_.results[in_.peaked];
  each_row(in_.num_outputs, width, [&](int64_t t) { kernels_.peak(rows + t * width, width, 0, &in_.peak_values[t], &in_.peak_ids[t]); });
}

// number[0] heads of number[1]
void Program::norm(const Step& s) {
  const Rows x = rows(s.in[0]), out = rows(s.out[0]);
  const int64_t heads = s.number[0], width = s.number[1];
  const Norm norm{s.weight, s.scalar[0]};
  each_row(count(s.out[0]), heads * width, [&](int64_t t) {
    for (int64_t h = 0; h < heads; ++h)
      kernels_.norm(x.data + t * x.stride + h * width, norm, width, out.data + t * out.stride + h * width);
  });
}

// number[0] frequencies, scalar[0] the factor; out [T, cos and sin]
void Program::rope_table(const Step& s) {
  const Rows out = rows(s.out[0]);
  const int64_t half = s.number[0];
  each_row(in_.num_tokens, 16 * half, [&](int64_t t) {
    float* row = out.data + t * out.stride;
    for (int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(in_.positions[t]) * s.weight[i];
      row[i] = std::cos(angle) * s.scalar[0];
      row[half + i] = std::sin(angle) * s.scalar[0];
    }
  });
}

// number: heads, width, half, interleaved
void Program::rope(const Step& s) {
  const Rows x = rows(s.in[0]), table = rows(s.in[1]), out = rows(s.out[0]);
  const int64_t heads = s.number[0], width = s.number[1], half = s.number[2];
  each_row(in_.num_tokens, heads * width, [&](int64_t t) {
    for (int64_t h = 0; h < heads; ++h)
      kernels_.rope(x.data + t * x.stride + h * width, table.data + t * table.stride, half, width,
                    static_cast<int32_t>(s.number[3]), out.data + t * out.stride + h * width);
  });
}

// number: heads, kv_heads, key_width, value_width, window; scalar: scale, soft cap
void Program::attention(const Step& s) {
  Attention a{};
  const Layer& layer = layers_[static_cast<size_t>(s.layer)];
  a.keys = static_cast<uint16_t*>(layer.keys);
  a.values = static_cast<uint16_t*>(layer.values);
  a.key_step = layer.key_step / 2;
  a.value_step = layer.value_step / 2;
  a.query = rows(s.in[0]);
  a.key = rows(s.in[1]);
  a.value = rows(s.in[2]);
  a.out = rows(s.out[0]);
  a.starts = in_.row_starts;
  a.past = in_.past;
  a.table = in_.tables[s.group];
  a.table_starts = in_.table_starts[s.group];
  a.heads = s.number[0];
  a.kv_heads = s.number[1];
  a.key_width = s.number[2];
  a.value_width = s.number[3];
  a.window = s.number[4];
  a.scale = s.scalar[0];
  a.soft_cap = s.scalar[1];
  const int64_t count = in_.num_rows, share = a.heads / a.kv_heads;
  // A piece is what goes into one block: two threads that write values of the same block take lines from each other.
  pieces_.assign(1, 0);
  tiles_.assign(1, 0);
  for (int64_t r = 0; r < count; ++r) {
    const int64_t tokens = a.starts[r + 1] - a.starts[r], tiles = (tokens * share + kLanes - 1) / kLanes;
    pieces_.push_back(pieces_.back() + (tiles > 1 ? (a.past[r] % kBlock + tokens + kBlock - 1) / kBlock : 0));
    tiles_.push_back(tiles_.back() + tiles);
  }
  auto row_of = [](const std::vector<int64_t>& sums, int64_t index) {
    return std::upper_bound(sums.begin(), sums.end(), index) - sums.begin() - 1;
  };
  auto write = [&](int64_t index, int) {
    const int64_t r = row_of(pieces_, index), tokens = a.starts[r + 1] - a.starts[r];
    const int64_t from = (index - pieces_[static_cast<size_t>(r)]) * kBlock - a.past[r] % kBlock;
    kernels_.write_cache(a, r, 0, a.kv_heads, std::max<int64_t>(from, 0), std::min(from + kBlock, tokens));
  };
  pool_.each(pieces_.back(), write);
  const int64_t tiles = tiles_.back();
  auto alone = [&](int64_t r) { return pieces_[static_cast<size_t>(r)] == pieces_[static_cast<size_t>(r + 1)]; };  // one tile
  auto attend = [&](int64_t index, int thread) {
    const int64_t back = tiles * a.kv_heads - 1 - index;  // the longest first
    const int64_t tile = back / a.kv_heads, r = row_of(tiles_, tile), head = back % a.kv_heads;
    const int64_t after = back - pool_.threads(), next = after < 0 ? -1 : row_of(tiles_, after / a.kv_heads);
    if (alone(r)) kernels_.write_cache(a, r, head, head + 1, 0, a.starts[r + 1] - a.starts[r]);  // where it is read
    const Next fetched{next >= 0 && alone(next) ? next : -1, next >= 0 ? after % a.kv_heads : 0};
    kernels_.attend(a, r, head, (tile - tiles_[static_cast<size_t>(r)]) * kLanes, fetched, scratch(thread));
  };
  pool_.each(tiles * a.kv_heads, attend);
}

void Program::elementwise(const Step& s) {
  const bool two = s.op != kScale;
  const Rows a = rows(s.in[0]), b = two ? rows(s.in[1]) : Rows{nullptr, 0}, out = rows(s.out[0]);
  const int64_t width = values_[static_cast<size_t>(s.out[0])].width;
  const float factor = s.scalar[0];
  each_row(count(s.out[0]), width, [&](int64_t t) {
    const float *x = a.data + t * a.stride, *y = two ? b.data + t * b.stride : x;
    float* to = out.data + t * out.stride;
    if (s.op == kAdd) {
      for (int64_t k = 0; k < width; ++k) to[k] = x[k] + y[k];
    } else if (s.op == kMultiply) {
      for (int64_t k = 0; k < width; ++k) to[k] = x[k] * y[k];
    } else {
      for (int64_t k = 0; k < width; ++k) to[k] = x[k] * factor;
    }
  });
}

// number[0]: activation; in[1]: what it is multiplied with, or none
void Program::activate(const Step& s) {
  const Rows x = rows(s.in[0]), times = s.in[1] >= 0 ? rows(s.in[1]) : Rows{nullptr, 0}, out = rows(s.out[0]);
  const int64_t width = values_[static_cast<size_t>(s.out[0])].width;
  each_row(count(s.out[0]), width, [&](int64_t t) {
    kernels_.activate(x.data + t * x.stride, times.data == nullptr ? nullptr : times.data + t * times.stride, width,
                      static_cast<int32_t>(s.number[0]), out.data + t * out.stride);
  });
}

void Program::take_rows(const Step& s) {
  const Rows x = rows(s.in[0]), out = rows(s.out[0]);
  const int64_t width = values_[static_cast<size_t>(s.out[0])].width;
  for (int64_t n = 0; n < in_.num_outputs; ++n)
    std::memcpy(out.data + n * out.stride, x.data + in_.outputs[n] * x.stride, static_cast<size_t>(width) * 4);
}

}  // namespace dovetail
