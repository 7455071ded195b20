// x @ weight.T for packed activations, `first` to `last` rows of the weight. Weights are read in place: a tile takes 16
// of their rows as they lie. Only int4 is unpacked, 16 rows at a time into scratch, and edges are copied there.

#pragma once

#include "few.h"
#include "put.h"

namespace {

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

#ifndef DOVETAIL_AMX
inline Streams streams_of(const RowTile& tile, const Packed& x, const Geometry& shape, int64_t block, int64_t from, int64_t to) {
  const int64_t bytes = x.padded * (x.form == kBf16 ? 2 : 1) * kLanes;
  const uint8_t* tokens = x.data + block * bytes + from * shape.b_step;
  return {tile.data + from * kStep, tokens, tile.stride, bytes, shape.b_step, to - from, tile.ahead, shape.rows};
}
#endif

// Steps `from` to `to` of the products of NT tiles of rows and MT blocks of tokens, onto `sums` (integers, or f32 for bf16).
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
