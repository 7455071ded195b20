// Causal attention over paged keys and values in bf16, sums and softmax in f32.
//
// Queries are taken 16 columns at a time, a column being one head of one token, so that all heads that share a key
// read it once. Scores have rows of keys and columns of queries: what softmax needs across keys are plain vector
// operations down the rows. Source: Dao 2023, algorithm 1 (running maximum and sum).

#pragma once

#include "tiles.h"

namespace {

constexpr int64_t kKeys = 4 * kBlock;  // keys between two looks at the running maximum

struct Widths {
  int64_t key, value;  // D and Dv as stored: padded to 32 and to 16
};

inline Widths widths(const Attention& a) { return {round_up(a.key_width, 32), round_up(a.value_width, 16)}; }

inline const uint8_t* key_block(const Attention& a, const Widths& w, int32_t block, int64_t head) {
  return reinterpret_cast<const uint8_t*>(a.keys + block * a.key_step + head * kBlock * w.key);
}

inline const uint8_t* value_block(const Attention& a, const Widths& w, int32_t block, int64_t head) {
  return reinterpret_cast<const uint8_t*>(a.values + block * a.value_step + head * kBlock * w.value);
}

// New tokens first to last of a row, into its blocks: keys and values of the heads first to last.
void write_cache(const Attention& a, int64_t row, int64_t first_head, int64_t last_head, int64_t first_token, int64_t last_token) {
  const Widths w = widths(a);
  const int32_t* table = a.table + a.table_starts[row];
  for (int64_t t = first_token; t < last_token; ++t) {
    const int64_t position = a.past[row] + t, source = a.starts[row] + t, at = position % kBlock;
    const int32_t block = table[position / kBlock];
    for (int64_t head = first_head; head < last_head; ++head) {
      const float* key = a.key.data + source * a.key.stride + head * a.key_width;
      const float* value = a.value.data + source * a.value.stride + head * a.value_width;
      uint16_t* keys = a.keys + block * a.key_step + (head * kBlock + at) * w.key;
      uint16_t* values = a.values + block * a.value_step + head * kBlock * w.value + at;
      for (int64_t d = 0; d < w.key; d += 16) {
        const F v = _mm512_maskz_loadu_ps(first(most(0, a.key_width - d)), key + d);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(keys + d), to_bf16(v));
      }
      alignas(32) uint16_t line[16];
      for (int64_t d = 0; d < a.value_width; d += 16) {
        const int64_t count = least(16, a.value_width - d);
        _mm256_store_si256(reinterpret_cast<__m256i*>(line), to_bf16(_mm512_maskz_loadu_ps(first(count), value + d)));
        for (int64_t i = 0; i < count; ++i) values[(d + i) * kBlock] = line[i];
      }
      // What an earlier owner left behind the last token is multiplied by 0: it must be finite.
      if (t + 1 == a.starts[row + 1] - a.starts[row] && at + 1 < kBlock)
        for (int64_t d = 0; d < a.value_width; ++d)
          _mm512_mask_storeu_epi16(values - at + d * kBlock, ~0u << (at + 1), _mm512_setzero_si512());
    }
  }
}

// Queries of 16 columns, scaled, as pairs of bf16: [D / 32][16][16 columns]
inline void pack_queries(const Attention& a, int64_t row, int64_t kv_head, int64_t column, int64_t columns, float factor,
                         uint8_t* to) {
  const int64_t share = a.heads / a.kv_heads, width = round_up(a.key_width, 32);
  for (int64_t d = 0; d < width; d += 32) {
    Z r[16];
    for (int64_t c = 0; c < 16; ++c) {
      r[c] = _mm512_setzero_si512();
      if (c >= columns) continue;
      const int64_t token = a.starts[row] + (column + c) / share, head = kv_head * share + (column + c) % share;
      const float* q = a.query.data + token * a.query.stride + head * a.key_width + d;
      const F low = _mm512_maskz_loadu_ps(first(most(0, a.key_width - d)), q);
      const F high = _mm512_maskz_loadu_ps(first(most(0, a.key_width - d - 16)), q + 16);
      const __m256i x = to_bf16(_mm512_mul_ps(low, spread(factor))), y = to_bf16(_mm512_mul_ps(high, spread(factor)));
      r[c] = _mm512_inserti64x4(_mm512_castsi256_si512(x), y, 1);
    }
    transpose(r);
    for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + d / 32 * kTile + 64 * i, r[i]);
  }
}

struct Running {  // per column
  F largest, sum;
};

// Scores [keys][16] to weights as pairs of bf16 [keys / 2][16]; returns what earlier sums must be multiplied by.
inline F soften(float* scores, int64_t keys, Running& run, uint8_t* weights) {
  F top[4] = {run.largest, run.largest, run.largest, run.largest};
  for (int64_t k = 0; k < keys; k += 4)
    for (int i = 0; i < 4; ++i) top[i] = _mm512_max_ps(top[i], load(scores + 16 * (k + i)));
  const F largest = _mm512_max_ps(_mm512_max_ps(top[0], top[1]), _mm512_max_ps(top[2], top[3]));
  // far above what is hidden: a column that sees nothing yet gets no weights
  const F base = _mm512_max_ps(largest, spread(-1e29f));
  const F fade = exp2(_mm512_sub_ps(run.largest, base));
  F sum = _mm512_setzero_ps(), more = _mm512_setzero_ps();
  for (int64_t k = 0; k < keys; k += 2) {
    const F low = exp2_roughly(_mm512_sub_ps(load(scores + 16 * k), base));
    const F high = exp2_roughly(_mm512_sub_ps(load(scores + 16 * k + 16), base));
    sum = _mm512_add_ps(sum, low);
    more = _mm512_add_ps(more, high);
    _mm512_storeu_si512(weights + 32 * k, pairs_bf16(low, high));
  }
  run.sum = _mm512_fmadd_ps(run.sum, fade, _mm512_add_ps(sum, more));
  run.largest = largest;
  return fade;
}

constexpr float kHidden = -1e30f;  // finite: differences are taken

// Keys outside of what each column may see are hidden.
inline void mask(const Attention& a, Z positions, int64_t from, int64_t keys, float* scores) {
  const Z oldest = _mm512_sub_epi32(positions, _mm512_set1_epi32(static_cast<int>(a.window)));
  for (int64_t k = 0; k < keys; ++k) {
    const Z here = _mm512_set1_epi32(static_cast<int>(from + k));
    __mmask16 hidden = _mm512_cmpgt_epi32_mask(here, positions);
    if (a.window > 0) hidden |= _mm512_cmple_epi32_mask(here, oldest);
    store(scores + 16 * k, _mm512_mask_mov_ps(load(scores + 16 * k), hidden, spread(kHidden)));
  }
}

inline void cap(float soft_cap, int64_t keys, float* scores) {  // scores are times log2(e)
  const F limit = spread(soft_cap * 1.44269504f), inverse = spread(1.0f / (soft_cap * 1.44269504f));
  for (int64_t k = 0; k < keys; ++k) store(scores + 16 * k, _mm512_mul_ps(limit, tanh(_mm512_mul_ps(load(scores + 16 * k), inverse))));
}

// Blocks that are read soon, each somewhere else in memory: those of the row that this thread will probably be given next, or, if
// nothing is known of that, the next ones of its present row. They are fetched a line at a time while as much is multiplied,
// which is as fast as a core can have lines brought.
struct Soon {
  const int32_t* table;
  int64_t blocks, kv_head, further;  // further: places behind those that are multiplied

  bool has(int64_t place) const { return place + further < blocks; }
  int32_t block(int64_t place) const { return table[place + further]; }
};

inline Soon soon(const Attention& a, int64_t row, int64_t kv_head, const Next& next) {
  const bool own = next.row < 0;
  const int64_t of = own ? row : next.row, length = a.past[of] + a.starts[of + 1] - a.starts[of];
  return {a.table + a.table_starts[of], (length + kBlock - 1) / kBlock, own ? kv_head : next.kv_head, own ? kKeys / kBlock : 0};
}

// scores[32 * blocks][16] = keys . queries
// first: of the blocks among those of the row
inline void score(const Attention& a, const Widths& w, const int32_t* table, int64_t head, int64_t blocks, int64_t first,
                  const Soon& next, const uint8_t* queries, float* scores) {
#ifdef DOVETAIL_AMX
  if (w.key == 64) {  // the usual width: the queries stay in two tiles
    _tile_loadd(6, queries, 64);
    _tile_loadd(7, queries + kTile, 64);
    for (int64_t b = 0; b < blocks; ++b) {
      const uint8_t* k = key_block(a, w, table[b], head);
      _tile_zero(0);
      _tile_zero(1);
      _tile_loadd(2, k, 128);
      _tile_loadd(3, k + 2048, 128);
      _tile_dpbf16ps(0, 2, 6);
      _tile_dpbf16ps(1, 3, 6);
      _tile_loadd(4, k + 64, 128);
      _tile_loadd(5, k + 2048 + 64, 128);
      _tile_dpbf16ps(0, 4, 7);
      _tile_dpbf16ps(1, 5, 7);
      _tile_stored(0, scores + b * 512, 64);
      _tile_stored(1, scores + b * 512 + 256, 64);
    }
    return;
  }
#endif
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t* k = key_block(a, w, table[b], head);
    const uint8_t* fetched = next.has(first + b) ? key_block(a, w, next.block(first + b), next.kv_head) : nullptr;
    for (int64_t half = 0; half < 2; ++half)
      tile_bf16(scores + (b * kBlock + half * 16) * 16, k + half * 32 * w.key, 2 * w.key, queries, w.key / 32,
                fetched != nullptr ? fetched + half * 32 * w.key : nullptr);
  }
}

// sums[Dv][16] += values . weights, over 32 * blocks tokens
inline void gather(const Attention& a, const Widths& w, const int32_t* table, int64_t head, int64_t blocks, int64_t first,
                   const Soon& next, const uint8_t* weights, float* sums) {
  int64_t d = 0;
#ifdef DOVETAIL_AMX
  for (; d + 64 <= w.value; d += 64) {
    _tile_loadd(0, sums + 16 * d, 64);
    _tile_loadd(1, sums + 16 * d + 256, 64);
    _tile_loadd(2, sums + 16 * d + 512, 64);
    _tile_loadd(3, sums + 16 * d + 768, 64);
    for (int64_t b = 0; b < blocks; ++b) {
      const uint8_t* v = value_block(a, w, table[b], head) + d * 64;
      _tile_loadd(6, weights + b * kTile, 64);
      _tile_loadd(4, v, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, v + kTile, 64);
      _tile_dpbf16ps(1, 5, 6);
      _tile_loadd(4, v + 2 * kTile, 64);
      _tile_dpbf16ps(2, 4, 6);
      _tile_loadd(5, v + 3 * kTile, 64);
      _tile_dpbf16ps(3, 5, 6);
    }
    _tile_stored(0, sums + 16 * d, 64);
    _tile_stored(1, sums + 16 * d + 256, 64);
    _tile_stored(2, sums + 16 * d + 512, 64);
    _tile_stored(3, sums + 16 * d + 768, 64);
  }
#endif
  for (; d < w.value; d += 16) {
    const uint8_t *tiles[kKeys / kBlock], *fetched[kKeys / kBlock];
    for (int64_t b = 0; b < blocks; ++b) {
      tiles[b] = value_block(a, w, table[b], head) + d * 64;
      fetched[b] = next.has(first + b) ? value_block(a, w, next.block(first + b), next.kv_head) + d * 64 : nullptr;
    }
    add_tiles(sums + 16 * d, tiles, blocks, weights, fetched);
  }
}

inline void put_columns(const Attention& a, int64_t row, int64_t kv_head, int64_t column, int64_t columns, F sum, float* sums) {
  const int64_t share = a.heads / a.kv_heads;
  const F inverse = _mm512_div_ps(spread(1.0f), sum);
  for (int64_t d = 0; d < a.value_width; d += 16) {
    Z r[16];
    for (int i = 0; i < 16; ++i) r[i] = _mm512_castps_si512(_mm512_mul_ps(load(sums + (d + i) * 16), inverse));
    transpose(r);
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t token = a.starts[row] + (column + c) / share, head = kv_head * share + (column + c) % share;
      float* out = a.out.data + token * a.out.stride + head * a.value_width + d;
      _mm512_mask_storeu_ps(out, first(a.value_width - d), _mm512_castsi512_ps(r[c]));
    }
  }
}

}  // namespace

#include "attention_tiles.h"

namespace {

// Columns column to column + 16 of a row's queries under one key head.
void attend(const Attention& a, int64_t row, int64_t kv_head, int64_t column, const Next& next, uint8_t* scratch) {
  const Widths w = widths(a);
  const int64_t share = a.heads / a.kv_heads, tokens = a.starts[row + 1] - a.starts[row];
  const int64_t columns = least(16, tokens * share - column);
  const int64_t oldest = a.past[row] + column / share, newest = a.past[row] + (column + columns - 1) / share;
  alignas(64) int32_t at[16];
  for (int64_t c = 0; c < 16; ++c) at[c] = static_cast<int32_t>(a.past[row] + (column + least(c, columns - 1)) / share);
  const Z positions = _mm512_load_si512(at);

  uint8_t* queries = scratch;                                              // [D / 32] tiles
  float* sums = reinterpret_cast<float*>(queries + w.key / 32 * kTile);    // [Dv][16]
  float* scores = sums + w.value * 16;                                     // [128][16]
  uint8_t* weights = reinterpret_cast<uint8_t*>(scores + kKeys * 16);      // [64][16] pairs
  pack_queries(a, row, kv_head, column, columns, a.scale * 1.44269504f, queries);

  const int32_t* table = a.table + a.table_starts[row];
  const int64_t start = a.window > 0 ? most(0, oldest - a.window + 1) / kBlock * kBlock : 0;
#ifdef DOVETAIL_AMX
  if (w.key == 64 && w.value == 64) {
    const F sum = attend_tiles(a, w, table, kv_head, start, oldest, newest, positions, queries, sums, reinterpret_cast<uint8_t*>(scores));
    return put_columns(a, row, kv_head, column, columns, sum, sums);
  }
#endif
  std::memset(sums, 0, static_cast<size_t>(w.value) * 64);
  Running run{spread(-INFINITY), _mm512_setzero_ps()};
  const Soon fetched = soon(a, row, kv_head, next);
  for (int64_t from = start; from <= newest; from += kKeys) {
    const int64_t blocks = least(kKeys / kBlock, newest / kBlock - from / kBlock + 1), keys = blocks * kBlock;
    score(a, w, table + from / kBlock, kv_head, blocks, from / kBlock, fetched, queries, scores);
    if (a.soft_cap > 0) cap(a.soft_cap, keys, scores);
    if (from + keys - 1 > oldest || a.window > 0) mask(a, positions, from, keys, scores);
    const F fade = soften(scores, keys, run, weights);
    if (from > start && _mm512_cmpneq_epi32_mask(_mm512_castps_si512(fade), _mm512_castps_si512(spread(1.0f))))
      for (int64_t d = 0; d < w.value; ++d) store(sums + 16 * d, _mm512_mul_ps(load(sums + 16 * d), fade));
    gather(a, w, table + from / kBlock, kv_head, blocks, from / kBlock, fetched, weights, sums);
  }
  put_columns(a, row, kv_head, column, columns, run.sum, sums);
}

}  // namespace
