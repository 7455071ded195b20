// Sixteen rows of a weight for the tiles: in place where they lie well, else in scratch.

#pragma once

#include "tiles.h"

namespace {

// 16 rows of a matrix in the form tiles take them.
struct RowTile {
  const Matrix* weight;
  int64_t row, rows;     // first row, rows that exist
  const uint8_t* data;   // i8 or bf16
  int64_t stride;        // bytes between rows
  int64_t ahead;         // bytes to the rows of the round after, where these lie in memory and nothing else would fetch them
  const int32_t* start;           // [groups][16] of i8: what sums begin with, as the tokens' numbers are 128 too many; else zeros
  const float *group_scale, *group_offset;  // [groups][16] of int4: the rows' scales, and these times their zeros
  alignas(64) float scale[16], bias[16];    // of the rows; 1 and 0 where there is none
};

alignas(64) const int32_t kZeros[16] = {};

struct Geometry {
  int64_t groups, steps, b_step;  // scale groups, tiles in each, bytes of x in each
  int rows;                       // rows of 64 bytes of x that belong to a tile
};

inline Geometry geometry(const Packed& x) {
  const bool half = x.form == kInt4 && x.weight_group == 32;
  const int64_t bytes = x.padded * (x.form == kBf16 ? 2 : 1);
  if (half) return {x.groups, 1, kTile / 2, 8};
  if (x.form == kBf16) return {1, bytes / kStep, kTile, 16};
  return {x.groups, least(x.group, x.padded) / kStep, kTile, 16};
}

// Steps of a group: the last one may be short.
inline int64_t steps_of(const Geometry& shape, const Packed& x, int64_t g) {
  if (shape.rows == 8) return 1;
  const int64_t all = x.padded * (x.form == kBf16 ? 2 : 1) / kStep;
  return least(shape.steps, all - g * shape.steps);
}

// 16 rows of u4 to bytes: less their zeros where tiles take signed numbers on both sides, else as they are (see `scaled`).
inline void unpack_int4(const Matrix& w, int64_t row, int64_t rows, int64_t ahead, uint8_t* to, int64_t stride) {
  const int64_t groups = w.inputs / w.group, half = w.group / 2;
  const __m256i low = _mm256_set1_epi8(15);
  for (int64_t r = 0; r < 16; ++r) {
    uint8_t* out = to + r * stride;
    if (r >= rows) {
      std::memset(out, 0, static_cast<size_t>(stride));
      continue;
    }
    const uint8_t* in = w.data + (row + r) * (w.inputs / 2);
    for (int64_t k = 0; k < w.inputs / 2; k += 64) _mm_prefetch(reinterpret_cast<const char*>(in + ahead + k), _MM_HINT_T1);
#ifdef DOVETAIL_AMX
    const uint8_t* zero = w.zero + (row + r) * groups;
#endif
    for (int64_t g = 0; g < groups; ++g, in += half) {
#ifdef DOVETAIL_AMX
      const Z z = _mm512_set1_epi8(static_cast<char>(zero[g]));
#else
      const Z z = _mm512_setzero_si512();
#endif
      if (w.group == 32) {  // 32 numbers and 32 zeros
        const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
        const __m128i a = _mm_and_si128(v, _mm_set1_epi8(15));
        const __m128i b = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15));
        const __m256i both = _mm256_sub_epi8(_mm256_set_m128i(b, a), _mm512_castsi512_si256(z));
        _mm512_storeu_si512(out + g * 64, _mm512_zextsi256_si512(both));
        continue;
      }
      for (int64_t k = 0; k < half; k += 32) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + k));
        const __m256i a = _mm256_and_si256(v, low), b = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
        const Z both = _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
        _mm512_storeu_si512(out + g * w.group + 2 * k, _mm512_sub_epi8(both, z));
      }
    }
  }
}

// Bytes of 16 rows in scratch, padded, and of their groups' scales and offsets after them.
inline int64_t rows_bytes(int64_t inputs) { return (round_up(most(inputs * 2, 1), 64) + 64) * 16; }
inline int64_t tile_bytes(int64_t inputs) { return rows_bytes(inputs) + (inputs / 32 + 1) * 2 * kLanes * 4 + 64; }

// Scales of int4, which lie row by row, side by side for 16 rows.
inline void take_scales(const Matrix& w, int64_t groups, float* to, RowTile& tile) {
  float* offset = to + groups * kLanes;
  tile.group_scale = to;
  tile.group_offset = offset;
  for (int64_t r = 0; r < kLanes; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t at = (tile.row + r) * groups + g;
      const float scale = r < tile.rows ? w.scale[at] : 0.0f;
      to[g * kLanes + r] = scale;
      offset[g * kLanes + r] = r < tile.rows ? scale * static_cast<float>(w.zero[at]) : 0.0f;
    }
  }
}

// `scratch` holds 16 rows; `rows` are those of a round. Rows that many tokens follow are copied there: their lines then neither share
// a cache set, as rows a power of two apart do, nor lie across two lines.
inline void take_rows(const Matrix& w, int64_t row, int64_t rows, const Packed& x, const Geometry& shape, bool copy, uint8_t* scratch,
                      RowTile& tile) {
  const int64_t used = w.inputs * (w.form == kBf16 ? 2 : 1), padded = x.padded * (x.form == kBf16 ? 2 : 1);
  tile.weight = &w;
  tile.row = row;
  tile.rows = least(16, w.outputs - row);
  tile.data = w.data + row * used;
  tile.stride = used;
  tile.ahead = used * rows;
  if (w.form == kInt4) {
    tile.stride = shape.rows == 8 ? shape.groups * 64 : padded;
    unpack_int4(w, row, tile.rows, rows * (w.inputs / 2), scratch, tile.stride);
    tile.data = scratch;
    tile.ahead = 0;
  } else if (copy || tile.rows < 16 || padded != used) {
    tile.stride = padded + 64;
    for (int64_t r = 0; r < 16; ++r) {
      const int64_t length = r < tile.rows ? used : 0;
      std::memcpy(scratch + r * tile.stride, tile.data + r * used, static_cast<size_t>(length));
      std::memset(scratch + r * tile.stride + length, 0, static_cast<size_t>(padded - length));
    }
    tile.data = scratch;
    tile.ahead = 0;
  }
  for (int r = 0; r < 16; ++r) {
    tile.scale[r] = w.form == kInt8 && r < tile.rows ? w.scale[row + r] : 1.0f;
    tile.bias[r] = w.bias != nullptr && r < tile.rows ? w.bias[row + r] : 0.0f;
  }
  tile.start = w.form == kInt8 && w.sums != nullptr ? w.sums + row * x.groups : kZeros;
  if (w.form == kInt4) take_scales(w, x.groups, reinterpret_cast<float*>(scratch + rows_bytes(w.inputs)), tile);
}

// Whether 16 rows as they lie spread over the sets of the first-level cache, each in whole lines.
inline bool spread_rows(const Matrix& w) {
  const int64_t bytes = w.inputs * (w.form == kBf16 ? 2 : 1);
  return bytes % kStep == 0 && bytes / kStep % 16 != 0 && reinterpret_cast<uintptr_t>(w.data) % 64 == 0;
}

}  // namespace
