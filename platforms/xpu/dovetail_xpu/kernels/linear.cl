// y = x @ weight.T + bias, summed in f32, for weights in WEIGHT (f32, f16, bf16, i8 per channel, i4 in groups).
//
// x       lines of I numbers, `inner` to a row of the array, rows x_step apart
// weight  blocks of 16 outputs [O / 16, I, 16]; LANE: [O / 16, I / 16, 16 outputs, 16 inputs]; i4: two inputs in a byte,
//         the first in the low four bits: [O / 16, I / 2, 16], LANE: [O / 16, I / 16, 16, 8]. What is beyond O and I is 0.
// scale   i8: [O]; i4: [O / 16, I / group, 16]
// zero    i4: [O / 16, I / group, 16]
// bias    [O] where `biased`
// y       [lines, O]  VALUE
//
// A group takes ROWS lines, and BLOCKS blocks of 16 outputs in one item, or (LANE) GROUP outputs with an item each. Few
// lines: the weights are read once, as a stream. Many: groups that share weights follow each other.

#define CHUNK 512

#if ROWS == 1
#define CHAINS 4 /* one sum alone would wait for itself */
#else
#define CHAINS 1
#endif

#define WIDE(p, k) LOAD16(WEIGHT, p, 16 * (k))

inline void stage(__global const TYPE(VALUE) * x, int x_at, int x_step, int inner, int lines, int I,
                  int first, int k0, __local float *xs) {
  for (int i = get_local_id(0); i < ROWS * (CHUNK / 16); i += GROUP) {
    int r = i / (CHUNK / 16), k = i % (CHUNK / 16) * 16, n = first + r, left = I - k0 - k;
    __local float *to = xs + r * CHUNK + k;
    if (left <= 0) {
      if (k < CHUNK && left > -16) vstore16((float16)0.0f, 0, to);
      continue;
    }
    size_t from = x_at + (size_t)(n / inner) * x_step + (size_t)(n % inner) * I + k0 + k;
    if (n < lines && left >= 16)
      vstore16(LOAD16(VALUE, x, from), 0, to);
    else
      for (int j = 0; j < 16; j++) to[j] = n < lines && j < left ? LOAD(VALUE, x, from + j) : 0.0f;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void linear(
    __global const TYPE(VALUE) * x, int x_at, int x_step, int inner, int lines, int I,
    __global const TYPE(WEIGHT) * weight, __global const float *scale, __global const float *zero,
    int group, __global const float *bias, int biased, __global TYPE(VALUE) * y, int O) {
  __local float xs[ROWS * CHUNK];
  int first = get_group_id(0) * ROWS, l = get_local_id(0);

#ifndef LANE
  int block = get_group_id(1) * BLOCKS, blocks = min(BLOCKS, (O + 15) / 16 - block);
  float16 sums[BLOCKS * ROWS];
  for (int i = 0; i < BLOCKS * ROWS; i++) sums[i] = 0.0f;
  for (int k0 = 0; k0 < I; k0 += CHUNK) {
    stage(x, x_at, x_step, inner, lines, I, first, k0, xs);
    int n = min(CHUNK, I - k0);
    for (int b = 0; b < blocks; b++) {
      float16 mine[ROWS * CHAINS];  // in registers, while what crosses the chunks is not
      _Pragma("unroll") for (int i = 0; i < ROWS * CHAINS; i++) mine[i] = 0.0f;
#ifdef GROUPED
      __global const uchar *w = weight + ((size_t)(block + b) * I + k0) * 8;
      for (int g = 0; g < n; g += group) {
        size_t at = ((size_t)(block + b) * (I / group) + (k0 + g) / group) * 16;
        float16 z = vload16(0, zero + at), s = vload16(0, scale + at);
        float16 part[ROWS];
        _Pragma("unroll") for (int r = 0; r < ROWS; r++) part[r] = 0.0f;
        for (int k = g; k < g + group; k += 2) {
          uchar16 both = vload16(0, w + 8 * k);
          float16 even = convert_float16(both & (uchar)15) - z;
          float16 odd = convert_float16(both >> (uchar)4) - z;
          _Pragma("unroll") for (int r = 0; r < ROWS; r++)
            part[r] += xs[r * CHUNK + k] * even + xs[r * CHUNK + k + 1] * odd;
        }
        _Pragma("unroll") for (int r = 0; r < ROWS; r++) mine[r * CHAINS] += part[r] * s;
      }
#else
      __global const TYPE(WEIGHT) *w = weight + ((size_t)(block + b) * I + k0) * 16;
      int k = 0;
      for (; k + CHAINS <= n; k += CHAINS)
        _Pragma("unroll") for (int c = 0; c < CHAINS; c++) {
          float16 some = WIDE(w, k + c);
          _Pragma("unroll") for (int r = 0; r < ROWS; r++)
            mine[r * CHAINS + c] += xs[r * CHUNK + k + c] * some;
        }
      for (; k < n; k++) {
        float16 some = WIDE(w, k);
        _Pragma("unroll") for (int r = 0; r < ROWS; r++) mine[r * CHAINS] += xs[r * CHUNK + k] * some;
      }
#endif
      _Pragma("unroll") for (int r = 0; r < ROWS; r++)
        _Pragma("unroll") for (int c = 0; c < CHAINS; c++) sums[b * ROWS + r] += mine[r * CHAINS + c];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  for (int i = 0; i < blocks * ROWS; i++) {
    int r = i % ROWS, output = 16 * (block + i / ROWS), left = O - output;
    if (first + r >= lines) continue;
    float16 sum = sums[i];
    size_t to = (size_t)(first + r) * O + output;
    if (left >= 16) {
#ifdef SCALED
      sum *= vload16(0, scale + output);
#endif
      if (biased) sum += vload16(0, bias + output);
      STORE16(VALUE, y, to, sum);
      continue;
    }
    float some[16];
    vstore16(sum, 0, some);
    for (int j = 0; j < left; j++) {
      float value = some[j];
#ifdef SCALED
      value *= scale[output + j];
#endif
      STORE(VALUE, y, to + j, biased ? value + bias[output + j] : value);
    }
  }

#else
  int output = get_group_id(1) * GROUP + l, block = output / 16, lane = output % 16;
  int Ip = (I + 15) / 16 * 16;
  bool idle = output >= O;
  float sums[ROWS];
  for (int r = 0; r < ROWS; r++) sums[r] = 0.0f;
  for (int k0 = 0; k0 < I; k0 += CHUNK) {
    stage(x, x_at, x_step, inner, lines, I, first, k0, xs);
    int n = idle ? 0 : min(CHUNK, Ip - k0);
    for (int k = 0; k < n; k += 16) {
      size_t at = ((size_t)block * Ip + k0 + k) * 16 + lane * 16;
#ifdef GROUPED
      uchar8 both = vload8(0, weight + at / 2);
      size_t pair = ((size_t)block * (I / group) + (k0 + k) / group) * 16 + lane;
      float z = zero[pair], s = scale[pair];
      float16 some;
      some.even = convert_float8(both & (uchar)15);
      some.odd = convert_float8(both >> (uchar)4);
      some = (some - z) * s;
#else
      float16 some = WIDE(weight + at, 0);
#endif
      for (int r = 0; r < ROWS; r++) {
        float16 product = some * vload16(0, xs + r * CHUNK + k);
        sums[r] += sum16(product);
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (idle) return;
  for (int r = 0; r < ROWS && first + r < lines; r++) {
    float value = sums[r];
#ifdef SCALED
    value *= scale[output];
#endif
    STORE(VALUE, y, (size_t)(first + r) * O + output, biased ? value + bias[output] : value);
  }
#endif
}
