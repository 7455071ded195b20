// Products of 16 rows of weights with 16 tokens, in tile registers (AMX) or in sixteen vector registers (AVX-512).
// A tile of weights is 16 rows of 64 bytes just as they are stored; results have rows of weights and columns of tokens.

#pragma once

#include "simd.h"

namespace {

constexpr int64_t kStep = 64;     // bytes of each row that one tile takes
constexpr int64_t kTile = 16 * kStep;  // bytes of a tile

#ifdef DOVETAIL_AMX

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

const TileConfig kTiles;  // in memory: g++ 12 takes the intrinsic to read 8 bytes of a local one

void enter() { _tile_loadconfig(&kTiles); }
void leave() { _tile_release(); }

#else

void enter() {}
void leave() {}

#endif

#ifndef DOVETAIL_AMX

// Four bytes of a row of weights beside those of 16 tokens; which of the two has a sign depends on the form.
struct DotInt8 {  // tokens + 128
  static Z add(Z sum, Z tokens, Z row) { return _mm512_dpbusd_epi32(sum, tokens, row); }
};

struct DotInt4 {  // rows are 0 to 15
  static Z add(Z sum, Z tokens, Z row) { return _mm512_dpbusd_epi32(sum, row, tokens); }
};

struct DotBf16 {
  static Z add(Z sum, Z tokens, Z row) { return _mm512_castps_si512(dot_bf16(_mm512_castsi512_ps(sum), row, tokens)); }
};

// Sums of R rows for M blocks of 16 tokens, in sixteen registers: as many as hide a product's latency, few enough to stay there.
// Addresses are R / 4 pointers and multiples of the stride, so that little but the numbers is read.
//   c[M][16][16] (+)= a . b over `steps` of 64 bytes; a block has `rows` vectors of each
//   ahead: bytes from a row to one that will be read soon, or 0. Rows that come from memory are read in an order in which no
//   processor expects them.
template <typename Dot, int R, int M>
inline void some_rows(int32_t* c, const uint8_t* a, int64_t stride, const uint8_t* b, int64_t b_bytes, int64_t b_step, int rows,
                      int64_t steps, int64_t ahead, bool add) {
  Z sum[R][M];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int m = 0; m < M; ++m) sum[r][m] = add ? _mm512_loadu_si512(c + m * 256 + r * 16) : _mm512_setzero_si512();
  for (int64_t s = 0; s < steps; ++s) {
    const uint8_t *at[R / 4], *tokens = b + s * b_step;
#pragma GCC unroll 4
    for (int i = 0; i < R / 4; ++i) at[i] = a + s * kStep + 4 * i * stride;
    if (ahead != 0) {
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) _mm_prefetch(reinterpret_cast<const char*>(at[r / 4] + (r & 3) * stride + ahead), _MM_HINT_T1);
    }
    for (int k = 0; k < rows; ++k, tokens += 64) {
      Z x[M];
#pragma GCC unroll 2
      for (int m = 0; m < M; ++m) x[m] = _mm512_loadu_si512(tokens + m * b_bytes);
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
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int m = 0; m < M; ++m) _mm512_storeu_si512(c + m * 256 + r * 16, sum[r][m]);
}

template <typename Dot, int M>
inline void sixteen_rows(int32_t* c, const uint8_t* a, int64_t stride, const uint8_t* b, int64_t b_bytes, int64_t b_step, int rows,
                         int64_t steps, int64_t ahead, bool add) {
  if (M == 1) return some_rows<Dot, 16, 1>(c, a, stride, b, b_bytes, b_step, rows, steps, ahead, add);
  some_rows<Dot, 8, M>(c, a, stride, b, b_bytes, b_step, rows, steps, ahead, add);
  some_rows<Dot, 8, M>(c + 128, a + 8 * stride, stride, b, b_bytes, b_step, rows, steps, ahead, add);
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
