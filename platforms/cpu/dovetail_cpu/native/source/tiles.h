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

// c[16][16] (+)= a . b over `steps` of 32 inputs; a: 16 rows `stride` bytes apart, 64 bytes further each step
inline void tile_bf16(float* c, const uint8_t* a, int64_t stride, const uint8_t* b, int64_t steps, bool add) {
#ifdef DOVETAIL_AMX
  if (add) {
    _tile_loadd(0, c, 64);
  } else {
    _tile_zero(0);
  }
  for (int64_t s = 0; s < steps; ++s) {
    _tile_loadd(4, a + s * kStep, stride);
    _tile_loadd(6, b + s * kTile, 64);
    _tile_dpbf16ps(0, 4, 6);
  }
  _tile_stored(0, c, 64);
#else
  F sum[16];
  for (int r = 0; r < 16; ++r) sum[r] = add ? load(c + 16 * r) : _mm512_setzero_ps();
  for (int64_t s = 0; s < steps; ++s) {
    for (int k = 0; k < 16; ++k) {
      const Z x = _mm512_loadu_si512(b + s * kTile + 64 * k);
      for (int r = 0; r < 16; ++r) {
        int32_t pair;
        std::memcpy(&pair, a + r * stride + s * kStep + 4 * k, 4);
        sum[r] = dot_bf16(sum[r], _mm512_set1_epi32(pair), x);
      }
    }
  }
  for (int r = 0; r < 16; ++r) store(c + 16 * r, sum[r]);
#endif
}

#ifndef DOVETAIL_AMX
// c[16][16] = a . b over `steps`, each of `rows` times 4 inputs; b holds i8 + 128, `sums` of a's rows take that back
inline void tile_i8(int32_t* c, const uint8_t* a, int64_t stride, const uint8_t* b, int64_t b_step, int rows, int64_t steps,
                    const int32_t* sums, bool add) {
  Z sum[16];
  for (int r = 0; r < 16; ++r) sum[r] = add ? _mm512_loadu_si512(c + 16 * r) : _mm512_set1_epi32(-128 * sums[r]);
  for (int64_t s = 0; s < steps; ++s) {
    for (int k = 0; k < rows; ++k) {
      const Z x = _mm512_loadu_si512(b + s * b_step + 64 * k);
      for (int r = 0; r < 16; ++r) {
        int32_t four;
        std::memcpy(&four, a + r * stride + s * kStep + 4 * k, 4);
        sum[r] = _mm512_dpbusd_epi32(sum[r], x, _mm512_set1_epi32(four));
      }
    }
  }
  for (int r = 0; r < 16; ++r) _mm512_storeu_si512(c + 16 * r, sum[r]);
}
#endif

}  // namespace
