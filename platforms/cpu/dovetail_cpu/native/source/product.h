// x @ weight.T for packed activations, `first` to `last` rows of the weight. Weights are read in place: a tile takes 16
// of their rows as they lie. Only int4 is unpacked, 16 rows at a time into scratch, and edges are copied there.

#pragma once

#include "few.h"
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

struct alignas(64) Sums {  // [tile of rows][block of tokens][row][token]
  float f[2][2][16][16];
  int32_t i[2][2][16][16];  // where one group is all there is, or of the group at hand
};

#ifdef DOVETAIL_AMX
// Integer sums of one group into f32: times the tokens' scale and, for int4, the rows'. low: of the second term, or null.
inline void scaled(const int32_t* c, const int32_t* low, const RowTile& tile, const Packed& x, int64_t g, const float* x_scale,
                   bool add, float* to) {
  const F s = load(x_scale);
  for (int r = 0; r < 16; ++r) {
    Z sum = _mm512_loadu_si512(c + 16 * r);
    if (low != nullptr) sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 8), _mm512_loadu_si512(low + 16 * r));
    const F v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), s), before = add ? load(to + 16 * r) : _mm512_setzero_ps();
    store(to + 16 * r, _mm512_fmadd_ps(v, spread(x.form == kInt4 ? tile.group_scale[g * kLanes + r] : 1.0f), before));
  }
}
#endif

// Whether the integer sums are left as they are, to be scaled when they are put away: one scale per token.
inline bool whole(const Packed& x) { return x.form == kInt8 && x.groups == 1; }

#ifndef DOVETAIL_AMX
inline Streams streams_of(const RowTile& tile, const Packed& x, const Geometry& shape, int64_t block, int64_t from, int64_t to) {
  const int64_t bytes = x.padded * (x.form == kBf16 ? 2 : 1) * kLanes;
  const uint8_t* tokens = x.data + block * bytes + from * shape.b_step;
  return {tile.data + from * kStep, tokens, tile.stride, bytes, shape.b_step, to - from, tile.ahead, shape.rows};
}
#endif

// Steps from to `to` of the products of NT tiles of rows and MT blocks of tokens, onto `sums` (integers, or f32 for bf16).
// Loads and products take turns: four loads in a row keep the tile unit waiting.
template <int NT, int MT>
inline void steps(const RowTile* tile, const Packed& x, const Geometry& shape, int64_t block, int64_t from, int64_t to, bool add,
                  Sums& sums) {
  const bool bf16 = x.form == kBf16;
#ifdef DOVETAIL_AMX
  const int64_t bytes = x.padded * (bf16 ? 2 : 1) * kLanes;
  const uint8_t* b = x.data + block * bytes;
  char* c = bf16 ? reinterpret_cast<char*>(sums.f) : reinterpret_cast<char*>(sums.i);
  if (add) {
    _tile_loadd(0, c, 64);
    if (MT > 1) _tile_loadd(1, c + 1024, 64);
    if (NT > 1) _tile_loadd(2, c + 2048, 64);
    if (NT > 1 && MT > 1) _tile_loadd(3, c + 3072, 64);
  } else {
    _tile_zero(0);
    if (MT > 1) _tile_zero(1);
    if (NT > 1) _tile_zero(2);
    if (NT > 1 && MT > 1) _tile_zero(3);
  }
#define DOVETAIL_STEPS(dot)                                                                  \
  for (int64_t s = from; s < to; ++s) {                                                      \
    _tile_loadd(4, tile[0].data + s * kStep, tile[0].stride);                                \
    _tile_loadd(6, b + s * shape.b_step, 64);                                                \
    dot(0, 4, 6);                                                                            \
    if (MT > 1) _tile_loadd(7, b + bytes + s * shape.b_step, 64);                            \
    if (MT > 1) dot(1, 4, 7);                                                                \
    if (NT > 1) _tile_loadd(5, tile[1].data + s * kStep, tile[1].stride);                    \
    if (NT > 1) dot(2, 5, 6);                                                                \
    if (NT > 1 && MT > 1) dot(3, 5, 7);                                                      \
  }
  if (bf16) {
    DOVETAIL_STEPS(_tile_dpbf16ps)
  } else {
    DOVETAIL_STEPS(_tile_dpbssd)
  }
#undef DOVETAIL_STEPS
  _tile_stored(0, c, 64);
  if (MT > 1) _tile_stored(1, c + 1024, 64);
  if (NT > 1) _tile_stored(2, c + 2048, 64);
  if (NT > 1 && MT > 1) _tile_stored(3, c + 3072, 64);
#else
  for (int i = 0; i < NT; ++i) {
    const Streams streams = streams_of(tile[i], x, shape, block, from, to);
    const int32_t* start = add ? nullptr : tile[i].start;
    if (bf16) {
      sixteen_rows<DotBf16, MT>(reinterpret_cast<int32_t*>(sums.f[i][0][0]), streams, start);
    } else {
      sixteen_rows<DotInt8, MT>(sums.i[i][0][0], streams, start);
    }
  }
#endif
}

#ifdef DOVETAIL_AMX
constexpr int64_t kInCache = 12;  // steps whose tiles of rows stay in the first-level cache while tokens pass
#else
constexpr int64_t kInCache = 24;  // eight rows of them at a time; 7 to 80 differ by 3 %
#endif

// All steps of some tokens, onto sums[0]; sums[1] on for the tokens after. Here where groups of inputs have scales of their own.
#ifdef DOVETAIL_AMX
template <int NT, int MT>
inline void multiply_groups(const RowTile* tile, const Packed& x, const Geometry& shape, int64_t block, int64_t blocks, Sums* sums) {
  for (int64_t g = 0; g < shape.groups; ++g) {
    const int64_t from = g * shape.steps;
    for (int64_t j = 0; j < blocks; j += MT) {
      Sums& here = sums[j / MT];
      steps<NT, MT>(tile, x, shape, block + j, from, from + steps_of(shape, x, g), false, here);
      for (int i = 0; i < NT; ++i)
        for (int m = 0; m < MT; m += static_cast<int>(x.terms))
          scaled(here.i[i][m][0], x.terms == 2 ? here.i[i][m + 1][0] : nullptr, tile[i], x, g,
                 x.scale + ((block + j + m) * shape.groups + g) * kLanes, g > 0, here.f[i][m][0]);
    }
  }
}
#else
template <typename Dot, int NT, int MT, int T>
inline void multiply_groups_of(const RowTile* tile, const Packed& x, const Geometry& shape, int64_t block, int64_t blocks, Sums* sums) {
  const int64_t piece = most(kInCache / shape.steps, 1);  // groups
  for (int64_t g = 0; g < shape.groups; g += piece) {
    const int64_t last = least(g + piece, shape.groups) - 1, from = g * shape.steps, to = last * shape.steps + steps_of(shape, x, last);
    for (int64_t j = 0; j < blocks; j += MT) {
      const int64_t at = ((block + j) * shape.groups + g) * kLanes;
      for (int i = 0; i < NT; ++i) {
        const Groups groups{x.scale + at, x.sums + at, shape.groups * kLanes, tile[i].start, tile[i].group_scale, tile[i].group_offset, shape.steps};
        sixteen_groups<Dot, MT, T>(sums[j / MT].f[i][0][0], streams_of(tile[i], x, shape, block + j, from, to), groups.of_rows<Dot>(g * kLanes), g > 0);
      }
    }
  }
}

template <int NT, int MT>
inline void multiply_groups(const RowTile* tile, const Packed& x, const Geometry& shape, int64_t block, int64_t blocks, Sums* sums) {
  if (x.form == kInt8) return multiply_groups_of<DotInt8, NT, MT, 1>(tile, x, shape, block, blocks, sums);
  if (x.terms == 1) return multiply_groups_of<DotInt4, NT, MT, 1>(tile, x, shape, block, blocks, sums);
  multiply_groups_of<DotInt4, NT, MT, 2>(tile, x, shape, block, blocks, sums);
}
#endif

template <int NT, int MT>
inline void multiply(const RowTile* tile, const Packed& x, const Geometry& shape, int64_t block, int64_t blocks, Sums* sums) {
  if (x.form != kBf16 && !whole(x)) return multiply_groups<NT, MT>(tile, x, shape, block, blocks, sums);
  const int64_t all = steps_of(shape, x, 0), piece = blocks > 2 * MT ? kInCache : all;
  for (int64_t from = 0; from < all; from += piece)
    for (int64_t j = 0; j < blocks; j += MT)
      steps<NT, MT>(tile, x, shape, block + j, from, least(from + piece, all), from > 0, sums[j / MT]);
}

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

#include "wide.h"

namespace {

constexpr int64_t kMostBlocks = 128;  // of tokens in one call

int64_t scratch_bytes(int64_t inputs) {
  return 2 * tile_bytes(inputs) + round_up(inputs * 4 + 64, 64) + (kMostBlocks / 2 + 1) * static_cast<int64_t>(sizeof(Sums)) + (64 << 10);
}

// Weight rows first to last, a multiple of 32 apart (16 with `second`), of token blocks token_block on.
void product(const Product& p, int64_t first, int64_t last, int64_t token_block, int64_t token_blocks, uint8_t* scratch) {
  const Packed& x = *p.x;
  if (x.rows) return few_tokens(p, first, last);
#ifdef DOVETAIL_AMX
  if (many(p, token_blocks)) {
    if (p.second == nullptr) return wide<kPlain>(p, first, last, token_block, token_blocks, scratch);
    if (p.activation == kSilu) return wide<kGatedSilu>(p, first, last, token_block, token_blocks, scratch);
    return wide<kGated>(p, first, last, token_block, token_blocks, scratch);
  }
#endif
  const Geometry shape = geometry(x);
  Sums* sums = reinterpret_cast<Sums*>(scratch + round_up(2 * tile_bytes(x.inputs), 64));
  const int64_t rows = p.second != nullptr ? 16 : 32;
  const bool copy = token_blocks >= (x.form == kBf16 ? 8 : 4) && !spread_rows(*p.weight);
  token_block *= x.terms;  // high and low terms are blocks of their own until they are put away together
  token_blocks *= x.terms;
  for (int64_t n = first; n < last; n += rows) {
    RowTile tile[2];
    int tiles = 1;
    take_rows(*p.weight, n, rows, x, shape, copy, scratch, tile[0]);
    if (p.second != nullptr || n + 16 < last) {
      const Matrix& other = p.second != nullptr ? *p.second : *p.weight;
      take_rows(other, p.second != nullptr ? n : n + 16, rows, x, shape, copy, scratch + tile_bytes(x.inputs), tile[tiles++]);
    }
    const int64_t even = token_blocks / 2 * 2, last_block = token_block + even;
    if (even > 0) {
      tiles == 2 ? multiply<2, 2>(tile, x, shape, token_block, even, sums) : multiply<1, 2>(tile, x, shape, token_block, even, sums);
      for (int64_t j = 0; j < even; j += 2) finish(p, tile, tiles, 2, token_block + j, sums[j / 2]);
    }
    if (even < token_blocks) {
      tiles == 2 ? multiply<2, 1>(tile, x, shape, last_block, 1, sums) : multiply<1, 1>(tile, x, shape, last_block, 1, sums);
      finish(p, tile, tiles, 1, last_block, sums[0]);
    }
  }
  if (p.last) _mm_sfence();
}

}  // namespace
