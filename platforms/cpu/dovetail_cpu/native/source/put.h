// What becomes of a tile's sums: scaled, activated, added, the largest of each token noted, and put into their order.

#pragma once

#include "take.h"

namespace {

struct alignas(64) Sums {  // [tile of rows][block of tokens][row][token]
  float f[2][2][16][16];
  int32_t i[2][2][16][16];  // where one group is all there is, or of the group at hand
};

// Whether the integer sums are left as they are, to be scaled when they are put away: one scale per token.
inline bool whole(const Packed& x) { return x.form == kInt8 && x.groups == 1; }

// Sums of 16 rows and tokens as they are meant: scales and bias applied; of two terms both.
inline void finished(const RowTile& tile, const Packed& x, const Sums& sums, int i, int j, int64_t block, F v[16]) {
  if (whole(x)) {
    const F s = load(x.scale + (block + j) * kLanes);
    for (int r = 0; r < 16; ++r)
      v[r] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums.i[i][j][r])), s);
    if (x.terms == 2) {
      const F low = load(x.scale + (block + j + 1) * kLanes);
      for (int r = 0; r < 16; ++r)
        v[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums.i[i][j + 1][r])), low, v[r]);
    }
  } else {
    for (int r = 0; r < 16; ++r) v[r] = load(sums.f[i][j][r]);
  }
  for (int r = 0; r < 16; ++r) v[r] = _mm512_fmadd_ps(v[r], spread(tile.scale[r]), spread(tile.bias[r]));
}

// Whether whole lines of results go past the caches: nothing of this step reads them again, and they need not be fetched to be written.
inline bool streamed(const Product& p, const float* out) {
  return p.last && !p.add && p.out.stride % 16 == 0 && reinterpret_cast<uintptr_t>(out) % 64 == 0;
}

// The largest of what each token of a block has so far and 16 rows more.
inline void keep_peaks(const F v[16], const RowTile& tile, const Product& p, int64_t block) {
  float* values = p.peak_values + block * kLanes;
  int32_t* ids = p.peak_ids + block * kLanes;
  F best = load(values);
  Z id = _mm512_loadu_si512(ids);
  for (int r = 0; r < tile.rows; ++r) {
    const __mmask16 more = _mm512_cmp_ps_mask(v[r], best, _CMP_GT_OQ) | _mm512_cmp_ps_mask(v[r], v[r], _CMP_UNORD_Q);
    best = _mm512_mask_mov_ps(best, more, v[r]);
    id = _mm512_mask_set1_epi32(id, more, static_cast<int32_t>(tile.row + r));
  }
  store(values, best);
  _mm512_storeu_si512(ids, id);
}

inline void put(F v[16], const RowTile& tile, const Product& p, int64_t block) {
  if (p.peak_values != nullptr) keep_peaks(v, tile, p, block);
  if (p.out.blocked) {
    float* to = p.out.data + (block * p.out.stride + tile.row) * kLanes;
    for (int64_t r = 0; r < tile.rows; ++r) store(to + r * kLanes, v[r]);
    return;
  }
  Z r[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_castps_si512(v[i]);
  transpose(r);
  const int64_t tokens = least(kLanes, p.x->tokens - block * kLanes);
  float* out = p.out.data + block * kLanes * p.out.stride + tile.row;
  if (tokens == kLanes && tile.rows == 16 && streamed(p, out)) {
    for (int t = 0; t < 16; ++t) _mm512_stream_ps(out + t * p.out.stride, _mm512_castsi512_ps(r[t]));
    return;
  }
  if (tokens == kLanes && tile.rows == 16) {
    for (int t = 0; t < 16; ++t) {
      F value = _mm512_castsi512_ps(r[t]);
      if (p.add) value = _mm512_add_ps(value, load(out + t * p.out.stride));
      store(out + t * p.out.stride, value);
    }
    return;
  }
  const __mmask16 valid = first(tile.rows);
  for (int64_t t = 0; t < tokens; ++t, out += p.out.stride) {
    F value = _mm512_castsi512_ps(r[t]);
    if (p.add) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(valid, out));
    _mm512_mask_storeu_ps(out, valid, value);
  }
}

inline void finish(const Product& p, const RowTile* tile, int tiles, int blocks, int64_t block, const Sums& sums) {
  const int terms = static_cast<int>(p.x->terms);
  for (int j = 0; j < blocks; j += terms) {
    F v[16];
    finished(tile[0], *p.x, sums, 0, j, block, v);
    if (p.second != nullptr) {
      F up[16];
      finished(tile[1], *p.x, sums, 1, j, block, up);
      if (p.activation == kSilu) {
        for (int r = 0; r < 16; ++r) v[r] = _mm512_mul_ps(_mm512_mul_ps(v[r], sigmoid(v[r])), up[r]);
      } else {
        for (int r = 0; r < 16; ++r) v[r] = _mm512_mul_ps(activate(v[r], p.activation), up[r]);
      }
    }
    put(v, tile[0], p, (block + j) / terms);
    if (p.second != nullptr || tiles == 1) continue;
    finished(tile[1], *p.x, sums, 1, j, block, v);
    put(v, tile[1], p, (block + j) / terms);
  }
}

}  // namespace
