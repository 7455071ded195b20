// Products of many tokens with i8 rows on tile registers. Part of product.h, which has the general path.
//
// Two tiles of rows meet two blocks of tokens, or the two terms of one block. Rows stay in the first-level cache while
// the tokens' blocks stream by from the second level; the rows of the next round are fetched meanwhile. What has to be
// done to the sums of a pair (scales, activation, order) is done between the tile products of the pair after it.

#pragma once

#include "tiles.h"

namespace {

#ifdef DOVETAIL_AMX

constexpr int64_t kWideSteps = 16;  // most steps whose rows stay in the first-level cache

// The sums of a pair that are not put away yet, in items of one row (gated) or one tile.
struct Rest {
  const Product* p;
  const RowTile* tile;
  const int32_t* sums;      // [tile][block or term][16][16]
  int64_t block, blocks;    // first block of tokens, how many
  int64_t at = 0, end = 0;  // items done, items to do
};

inline F meant(const Rest& rest, int i, int64_t j, int64_t r) {  // row r of a tile for the tokens of a block
  const Packed& x = *rest.p->x;
  const float* scale = x.scale + (rest.block + j) * x.terms * kLanes;
  const int32_t* c = rest.sums + ((i * 2 + j * x.terms) * 16 + r) * 16;
  F v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(c)), load(scale));
  if (x.terms == 2) v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(c + 256)), load(scale + kLanes), v);
  return _mm512_fmadd_ps(v, spread(rest.tile[i].scale[r]), spread(rest.tile[i].bias[r]));
}

enum Ending { kPlain, kGatedSilu, kGated };

template <Ending E>
inline void put_item(const Rest& rest, int64_t item) {
  const Product& p = *rest.p;
  if (E == kPlain) {
    const int i = static_cast<int>(item / rest.blocks);
    F v[16];
    for (int r = 0; r < 16; ++r) v[r] = meant(rest, i, item % rest.blocks, r);
    put(v, rest.tile[i], p, rest.block + item % rest.blocks);
    return;
  }
  const int64_t r = item % 16, j = item / 16;
  if (r >= rest.tile[0].rows) return;
  const F gate = meant(rest, 0, j, r), up = meant(rest, 1, j, r);
  const F v = E == kGatedSilu ? _mm512_mul_ps(gate, sigmoid(gate)) : activate(gate, p.activation);
  store(p.out.data + ((rest.block + j) * p.out.stride + rest.tile[0].row + r) * kLanes, _mm512_mul_ps(v, up));
}

template <Ending E>
inline void put_items(Rest& rest, int64_t count) {
  for (const int64_t stop = least(rest.at + count, rest.end); rest.at < stop; ++rest.at) put_item<E>(rest, rest.at);
}

// Rows of the next round, a slice with each pair.
struct Ahead {
  const uint8_t* from[2];
  int64_t lines;  // of a slice
};

template <Ending E>
inline void pair_steps(const RowTile* tile, const uint8_t* x, const uint8_t* y, int64_t from, int64_t to, int32_t* c, Rest& rest,
                       const Ahead& ahead) {
  const int64_t steps = to - from;
  const int64_t items = (rest.end - rest.at + steps - 1) / steps, fetched = (ahead.lines + steps - 1) / steps;
  const uint8_t *a = tile[0].data, *b = tile[1].data;
  const int64_t stride = tile[0].stride;
  if (from > 0) {
    _tile_loadd(0, c, 64);
    _tile_loadd(1, c + 256, 64);
    _tile_loadd(2, c + 512, 64);
    _tile_loadd(3, c + 768, 64);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t s = from; s < to; ++s) {
    _tile_stream_loadd(6, x + s * kTile, 64);  // leaves the rows in the first-level cache
    _tile_stream_loadd(7, y + s * kTile, 64);
    _tile_loadd(4, a + s * kStep, stride);
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_loadd(5, b + s * kStep, stride);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
    put_items<E>(rest, items);
    for (int64_t l = (s - from) * fetched; l < least((s - from + 1) * fetched, ahead.lines); ++l) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead.from[0] + 64 * l), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(ahead.from[1] + 64 * l), _MM_HINT_T1);
    }
  }
  _tile_stored(0, c, 64);
  _tile_stored(1, c + 256, 64);
  _tile_stored(2, c + 512, 64);
  _tile_stored(3, c + 768, 64);
}

inline bool many(const Product& p, int64_t token_blocks) {
  return whole(*p.x) && token_blocks * p.x->terms >= 4 && (p.second == nullptr || p.out.blocked);
}

// The two tiles of a round; of a single one the second is the same again, and is not put away. Returns how many.
inline int take_pair(const Product& p, int64_t n, int64_t last, const Geometry& shape, bool copy, uint8_t* scratch, RowTile* tile) {
  const Matrix& w = *p.weight;
  if (p.second == nullptr && n + 16 >= last) {
    take_rows(w, n, 32, *p.x, shape, copy, scratch, tile[0]);
    tile[1] = tile[0];
    return 1;
  }
  const int64_t other = p.second != nullptr ? n : n + 16;
  copy = copy || other + 16 > w.outputs;  // both in rows as far apart
  take_rows(w, n, 32, *p.x, shape, copy, scratch, tile[0]);
  take_rows(p.second != nullptr ? *p.second : w, other, 32, *p.x, shape, copy, scratch + tile_bytes(w.inputs), tile[1]);
  return 2;
}

template <Ending E>
void wide(const Product& p, int64_t first, int64_t last, int64_t token_block, int64_t token_blocks, uint8_t* scratch) {
  const Packed& x = *p.x;
  const Geometry shape = geometry(x);
  const int64_t bytes = x.padded * kLanes, steps = x.padded / kStep, each = 2 / x.terms;
  const int64_t pairs = (token_blocks + each - 1) / each, pieces = (steps + kWideSteps - 1) / kWideSteps;
  const int64_t piece = (steps + pieces - 1) / pieces, rows = E == kPlain ? 32 : 16;
  const Matrix& other = E == kPlain ? *p.weight : *p.second;
  const int64_t apart = E == kPlain ? 16 : 0, lines = (16 * x.inputs / 64 + pairs * pieces - 1) / (pairs * pieces);
  const bool copy = !spread_rows(*p.weight) || !spread_rows(other);
  int32_t* sums = reinterpret_cast<int32_t*>(scratch + round_up(2 * tile_bytes(x.inputs), 64));
  RowTile tiles[2][2];  // of this round and, whose last pair is not put away yet, of the one before
  Rest rest{};
  for (int64_t n = first, round = 0; n < last; n += rows, ++round) {
    RowTile* tile = tiles[round & 1];
    const int count = take_pair(p, n, last, shape, copy, scratch, tile);
    for (int64_t from = 0; from < steps; from += piece) {
      const int64_t to = least(from + piece, steps);
      for (int64_t j = 0; j < pairs; ++j) {
        const uint8_t* tokens = x.data + (token_block * x.terms + 2 * j) * bytes;
        const int64_t blocks = least(each, token_blocks - j * each);
        Ahead ahead{};
        if (n + rows < last) {
          const int64_t at = (n + rows) * x.inputs + (from / piece * pairs + j) * lines * 64;
          ahead = {{p.weight->data + at, other.data + at + apart * x.inputs}, lines};
        }
        int32_t* c = sums + (pieces > 1 ? j : j & 1) * 1024;
        pair_steps<E>(tile, tokens, blocks * x.terms == 2 ? tokens + bytes : tokens, from, to, c, rest, ahead);
        if (to == steps) rest = {&p, tile, c, token_block + j * each, blocks, 0, blocks * (E == kPlain ? count : 16)};
      }
    }
  }
  put_items<E>(rest, rest.end);
  if (p.last) _mm_sfence();
}

#endif

}  // namespace
