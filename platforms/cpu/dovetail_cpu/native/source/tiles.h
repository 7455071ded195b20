// Products of 16 rows of weights with 16 tokens, in tile registers (AMX) or in sixteen vector registers (AVX-512).
// A tile of weights is 16 rows of 64 bytes just as they are stored; results have rows of weights and columns of tokens.

#pragma once

#include "simd.h"

namespace {

constexpr int64_t kStep = 64;     // bytes of each row that one tile takes
constexpr int64_t kTile = 16 * kStep;  // bytes of a tile

#ifdef DOVETAIL_AMX

constexpr int64_t kFew = 1, kFewDense = 1;

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

const TileConfig kTiles;  // in memory: g++ 12 takes the intrinsic to read 8 bytes of a local one

void enter() { _tile_loadconfig(&kTiles); }
void leave() { _tile_release(); }

#else

constexpr int64_t kFew = 8, kFewDense = 4;  // of 8 tokens bf16 takes 1.5 times as long as in tiles

void enter() {}
void leave() {}

#endif

#ifndef DOVETAIL_AMX

// Four bytes of a row of weights beside those of 16 tokens; which of the two has a sign depends on the form.
struct DotInt8 {  // tokens + 128
  static constexpr bool kSigned = true;  // rows
  static Z add(Z sum, Z tokens, Z row) { return dot_bytes(sum, tokens, row); }
};

struct DotInt4 {  // rows are 0 to 15
  static constexpr bool kSigned = false;
  static Z add(Z sum, Z tokens, Z row) { return dot_bytes(sum, row, tokens); }
};

struct DotBf16 {
  static Z add(Z sum, Z tokens, Z row) { return _mm512_castps_si512(dot_bf16(_mm512_castsi512_ps(sum), row, tokens)); }
};

// What registers read: rows of weights, `stride` bytes apart, and blocks of 16 tokens, `block` bytes apart, in `steps` of 64
// bytes of a row and `vectors` of a block, `step` bytes apart.
//   ahead: bytes from a row to one that will be read soon, or 0. Rows that come from memory are read in an order in which no
//   processor expects them.
struct Streams {
  const uint8_t *rows, *tokens;
  int64_t stride, block, step, steps, ahead;
  int vectors;
};

// Of R rows and M blocks of 16 tokens, in sixteen registers: as many as hide a product's latency, few enough to stay there.
// Addresses are R / 4 pointers and multiples of the stride, so that little but the numbers is read.
template <typename Dot, int R, int M>
__attribute__((always_inline)) inline void accumulate(Z (&sum)[R][M], const Streams& from) {
  const int64_t stride = from.stride, block = from.block, ahead = from.ahead;
  for (int64_t s = 0; s < from.steps; ++s) {
    const uint8_t *at[R / 4], *tokens = from.tokens + s * from.step;
#pragma GCC unroll 4
    for (int i = 0; i < R / 4; ++i) at[i] = from.rows + s * kStep + 4 * i * stride;
    if (ahead != 0) {
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) _mm_prefetch(reinterpret_cast<const char*>(at[r / 4] + (r & 3) * stride + ahead), _MM_HINT_T1);
    }
    for (int k = 0; k < from.vectors; ++k, tokens += 64) {
      Z x[M];
#pragma GCC unroll 2
      for (int m = 0; m < M; ++m) x[m] = _mm512_loadu_si512(tokens + m * block);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        int32_t four;
        std::memcpy(&four, at[r / 4] + (r & 3) * stride, 4);
        const Z w = _mm512_set1_epi32(four);
#pragma GCC unroll 2
        for (int m = 0; m < M; ++m) sum[r][m] = Dot::add(sum[r][m], x[m], w);
      }
#pragma GCC unroll 4
      for (int i = 0; i < R / 4; ++i) at[i] += 4;
    }
  }
}

// c[M][16][16] += a . b; start: what each row's sums begin with, or null where c has them
// A function of its own, as the one below: among others' variables its addresses do not all get registers.
template <typename Dot, int R, int M>
__attribute__((noinline)) void some_rows(int32_t* c, const Streams& from, const int32_t* start) {
  Z sum[R][M];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int m = 0; m < M; ++m) sum[r][m] = start == nullptr ? _mm512_loadu_si512(c + m * 256 + r * 16) : _mm512_set1_epi32(start[r]);
  accumulate<Dot, R, M>(sum, from);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int m = 0; m < M; ++m) _mm512_storeu_si512(c + m * 256 + r * 16, sum[r][m]);
}

// The first eight of sixteen rows become the second.
inline Streams second_half(Streams from) {
  from.rows += 8 * from.stride;
  return from;
}

template <typename Dot, int M>
inline void sixteen_rows(int32_t* c, const Streams& from, const int32_t* start) {
  if (M == 1) return some_rows<Dot, 16, 1>(c, from, start);
  some_rows<Dot, 8, M>(c, from, start);
  some_rows<Dot, 8, M>(c + 128, second_half(from), start == nullptr ? nullptr : start + 8);
}

// Scales of groups of inputs, one group after the other: of the rows [groups][16], of the tokens [groups][16] for each block.
struct Groups {
  const float *x_scale, *x_sums;  // sums: of the tokens' numbers, times their scale
  int64_t block;                  // floats from a block's to the next one's
  const int32_t* start;           // of int8: what sums begin with
  const float *scale, *offset;    // of int4: the rows' scales, and these times the rows' zeros
  int64_t steps;                  // of a group; the last one may have fewer

  template <typename Dot>
  Groups of_rows(int64_t further) const {
    Groups there = *this;
    if (Dot::kSigned) {
      there.start += further;
    } else {
      there.scale += further;
      there.offset += further;
    }
    return there;
  }
};

// c[M / T][16][16] (+)= a . b, group by group. T terms: 2 where a number is 256 of the first block plus the second.
template <typename Dot, int R, int M, int T>
__attribute__((noinline)) void some_groups(float* c, Streams from, Groups groups, bool add) {
  for (int64_t left = from.steps; left > 0; left -= groups.steps) {
    from.steps = least(left, groups.steps);
    Z sum[R][M];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int m = 0; m < M; ++m) sum[r][m] = Dot::kSigned ? _mm512_set1_epi32(groups.start[r]) : _mm512_setzero_si512();
    accumulate<Dot, R, M>(sum, from);
#pragma GCC unroll 2
    for (int m = 0; m < M; m += T) {
      const F x_scale = load(groups.x_scale + m * groups.block), x_sums = load(groups.x_sums + m * groups.block);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        float* to = c + m * 256 + r * 16;
        const Z all = T == 2 ? _mm512_add_epi32(_mm512_slli_epi32(sum[r][m], 8), sum[r][m + T - 1]) : sum[r][m];
        const F v = _mm512_cvtepi32_ps(all), before = add ? load(to) : _mm512_setzero_ps();
        if (Dot::kSigned) {
          store(to, _mm512_fmadd_ps(v, x_scale, before));
        } else {
          const F centred = _mm512_fnmadd_ps(spread(groups.offset[r]), x_sums, before);
          store(to, _mm512_fmadd_ps(_mm512_mul_ps(v, x_scale), spread(groups.scale[r]), centred));
        }
      }
    }
    add = true;
    from.rows += groups.steps * kStep;
    from.tokens += groups.steps * from.step;
    groups.x_scale += kLanes;
    groups.x_sums += kLanes;
    groups = groups.of_rows<Dot>(kLanes);
  }
}

template <typename Dot, int M, int T>
inline void sixteen_groups(float* c, const Streams& from, const Groups& groups, bool add) {
  if (M == 1) return some_groups<Dot, 16, 1, 1>(c, from, groups, add);
  some_groups<Dot, 8, M, T>(c, from, groups, add);
  some_groups<Dot, 8, M, T>(c + 128, second_half(from), groups.of_rows<Dot>(8), add);
}

#endif

#ifndef DOVETAIL_AMX
// The sums of 16 rows and columns, and one tile of 16 rows of 64 bytes, `stride` apart, onto them. A line of what will be read
// soon is fetched with each vector of columns: as many as the tile has.
struct Sixteen {
  F sum[16];
};

inline void add_tile(Sixteen& to, const uint8_t* rows, int64_t stride, const uint8_t* columns, const uint8_t* soon) {
  const uint8_t *second = rows + 4 * stride, *third = rows + 8 * stride, *fourth = rows + 12 * stride;
  for (int k = 0; k < 16; ++k, rows += 4, second += 4, third += 4, fourth += 4, columns += 64) {
    if (soon != nullptr) _mm_prefetch(reinterpret_cast<const char*>(soon + 64 * k), _MM_HINT_T1);
    const Z x = _mm512_loadu_si512(columns);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      int32_t pair;
      std::memcpy(&pair, (r < 4 ? rows : r < 8 ? second : r < 12 ? third : fourth) + (r & 3) * stride, 4);
      to.sum[r] = dot_bf16(to.sum[r], _mm512_set1_epi32(pair), x);
    }
  }
}
#endif

// c[16][16] = a . b over `steps` of 32 inputs; a: 16 rows `stride` bytes apart, 64 bytes further each step.
// soon: memory to fetch meanwhile, as much as a has, or null
inline void tile_bf16(float* c, const uint8_t* a, int64_t stride, const uint8_t* b, int64_t steps, const uint8_t* soon) {
#ifdef DOVETAIL_AMX
  _tile_zero(0);
  for (int64_t s = 0; s < steps; ++s) {
    _tile_loadd(4, a + s * kStep, stride);
    _tile_loadd(6, b + s * kTile, 64);
    _tile_dpbf16ps(0, 4, 6);
  }
  _tile_stored(0, c, 64);
#else
  Sixteen to;
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) to.sum[r] = _mm512_setzero_ps();
  for (int64_t s = 0; s < steps; ++s) add_tile(to, a + s * kStep, stride, b + s * kTile, soon != nullptr ? soon + s * kTile : nullptr);
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) store(c + 16 * r, to.sum[r]);
#endif
}

// c[16][16] += the tiles of a, 16 rows of 64 bytes end to end, each times its own tile of b. soon: as above, of each tile
inline void add_tiles(float* c, const uint8_t* const* a, int64_t tiles, const uint8_t* b, const uint8_t* const* soon) {
#ifdef DOVETAIL_AMX
  _tile_loadd(0, c, 64);
  for (int64_t i = 0; i < tiles; ++i) {
    _tile_loadd(4, a[i], kStep);
    _tile_loadd(6, b + i * kTile, 64);
    _tile_dpbf16ps(0, 4, 6);
  }
  _tile_stored(0, c, 64);
#else
  Sixteen to;
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) to.sum[r] = load(c + 16 * r);
  for (int64_t i = 0; i < tiles; ++i) add_tile(to, a[i], kStep, b + i * kTile, soon[i]);
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) store(c + 16 * r, to.sum[r]);
#endif
}

}  // namespace
