// What one instruction set's kernels are given and the table they are reached through. Plain data: this header is
// compiled for every processor, the bodies behind the table for one instruction set each.
//
// Axis letters: T tokens of a step, I inputs and O outputs of a matrix, D head width, S tokens of a cache block.

#pragma once

#include <cstdint>

namespace dovetail {

constexpr int64_t kBlock = 32;  // S: tokens of a cache block
constexpr int64_t kLanes = 16;  // tokens that share a packed block, and rows of a tile

enum Form : int32_t { kBf16 = 0, kInt8 = 1, kInt4 = 2 };
enum Activation : int32_t { kSilu = 0, kGelu = 1, kGeluTanh = 2, kRelu = 3 };

// A weight [O, I] as it is stored, rows end to end; never copied.
//   bf16  data u16
//   int8  data i8, scale f32 [O]
//   int4  data u8 [O, I / 2] low bits first, scale f32 and zero u8 [O, I / group]
struct Matrix {
  const uint8_t* data;
  const float* scale;
  const uint8_t* zero;
  const float* bias;  // f32 [O], or null
  int64_t outputs, inputs;
  int32_t form, group;  // group: inputs that share a weight's scale (int4), or one of the tokens' (int8; 0: all share one)
  const int32_t* sums;  // [O / 16][groups][16] of each row's numbers (int8), times -128; the program has them where kernels need them
};

// Activations quantised (int8, int4) or rounded (bf16) and ordered for one form of matrix.
//   blocks of 16 tokens: [I / 4][16][4] i8 or [I / 2][16][2] bf16, tokens past the end are zero
//   rows (few tokens):   [T][I padded] i8, or f32 with even inputs before odd ones in runs of 32
//   scales f32 [T / 16][groups][16]; for rows [T][groups], with sums beside them, [T][groups] for int4 and one per line for int8
// Two terms: a number is 256 high + low, about 16 bits; each block, or row, is there twice, high and then low. For int8
// with scales of their own and one group; for int4 with a scale for both, as if they were one block. A product reads each
// weight once for both.
struct Packed {
  uint8_t* data;
  float* scale;
  float* sums;
  int64_t tokens, inputs, padded, groups;
  int32_t form, group, weight_group, rows;  // rows: the second layout
  int64_t terms;                            // 1 or 2
};

// A [T, width] f32 array, `stride` numbers from token to token; or, blocked, [T / 16][stride][16]: 16 tokens' numbers side
// by side, as a product makes them and the next one's packing takes them.
struct Rows {
  float* data;
  int64_t stride;
  bool blocked = false;
};

struct Norm {  // x / sqrt(mean(x^2) + eps) * weight; weight null: none
  const float* weight;
  float eps;
};

// out = or += x @ weight.T (+ bias); with `second`, out = activation(first product) * second product
struct Product {
  const Matrix* weight;
  const Matrix* second;
  const Packed* x;
  Rows out;
  int32_t add, activation;
  bool last;           // nothing of the step reads `out` again
  float* peak_values;  // [T] the largest of the rows so far, NaN if one is, and the first row that has it; or null
  int32_t* peak_ids;
};

// One layer's cache and the rows of a step. keys [B][K][S][D padded to 32] bf16,
// values [B][K][Dv padded to 16][S] bf16: every block's values are transposed. Blocks are key_step and value_step numbers apart.
struct Attention {
  uint16_t* keys;
  uint16_t* values;
  int64_t key_step, value_step;
  Rows query, key, value, out;
  const int32_t *starts, *past, *table, *table_starts;  // rows' tokens, cached tokens, blocks end to end
  int64_t heads, kv_heads, key_width, value_width, window;  // window 0: none
  float scale, soft_cap;                                    // soft_cap 0: none
};

// What of a step's attention a thread will probably be given next, if nobody else reads it; row -1: nothing.
struct Next {
  int64_t row, kv_head;
};

struct Kernels {
  const char* name;
  int64_t few[3];  // tokens up to which they are packed as rows, by the form of the weights
  void (*enter)();  // once per thread and step
  void (*leave)();
  int64_t (*scratch_bytes)(int64_t inputs);
  void (*pack)(const Rows& x, const Norm& norm, Packed& to, int64_t index, uint8_t* scratch);  // of a block, or a row
  void (*product)(const Product& product, int64_t first, int64_t last, int64_t token_block,
                  int64_t token_blocks, uint8_t* scratch);
  void (*write_cache)(const Attention& a, int64_t row, int64_t first_head, int64_t last_head, int64_t first, int64_t last);
  void (*attend)(const Attention& a, int64_t row, int64_t kv_head, int64_t column, const Next& next, uint8_t* scratch);
  void (*embed)(const Matrix& table, int32_t id, float* out);
  void (*norm)(const float* x, const Norm& norm, int64_t width, float* out);
  void (*rope)(const float* x, const float* table, int64_t half, int64_t width, int32_t interleaved, float* out);
  void (*activate)(const float* x, const float* times, int64_t width, int32_t activation, float* out);
  void (*peak)(const float* x, int64_t count, int32_t id, float* value, int32_t* place);
  int32_t (*row_sum)(const uint8_t* row, int64_t inputs);  // of i8; null where products do not need Matrix.sums
};

}  // namespace dovetail
