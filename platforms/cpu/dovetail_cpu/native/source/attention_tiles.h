// Attention of heads 64 wide on tile registers, the usual case; part of attention.h, which has the general one.
//
// The tile unit and the vector units work at the same time: while the scores of one group of keys become weights, the
// scores of the group after are computed, and the values of the group before gathered. The sums stay in tiles 0 to 3.
// They are scaled anew only when a maximum has grown by more than kSlack powers of two, which is seldom after the first
// group. Source: Shah et al. 2024, section 3 (overlapping softmax with products).

#pragma once

#ifdef DOVETAIL_AMX

namespace {

constexpr float kSlack = 8.0f;

struct Group {  // 128 keys or fewer
  const int32_t* table;
  int64_t blocks;
  float* scores;     // [keys][16]
  uint8_t* weights;  // [keys / 2][16] pairs of bf16
};

struct Softmax {  // per column
  F base, sum;
};

inline void gather_low(const uint8_t* values, const uint8_t* weights) {
  _tile_loadd(5, weights, 64);
  _tile_loadd(4, values, 64);
  _tile_dpbf16ps(0, 4, 5);
  _tile_loadd(4, values + kTile, 64);
  _tile_dpbf16ps(1, 4, 5);
}

inline void gather_high(const uint8_t* values) {
  _tile_loadd(4, values + 2 * kTile, 64);
  _tile_dpbf16ps(2, 4, 5);
  _tile_loadd(4, values + 3 * kTile, 64);
  _tile_dpbf16ps(3, 4, 5);
}

inline void score_low(const uint8_t* keys, const uint8_t* queries) {
  _tile_zero(6);
  _tile_zero(7);
  _tile_loadd(5, queries, 64);
  _tile_loadd(4, keys, 128);
  _tile_dpbf16ps(6, 4, 5);
  _tile_loadd(4, keys + 2048, 128);
  _tile_dpbf16ps(7, 4, 5);
}

inline void score_high(const uint8_t* keys, const uint8_t* queries, float* scores) {
  _tile_loadd(5, queries + kTile, 64);
  _tile_loadd(4, keys + 64, 128);
  _tile_dpbf16ps(6, 4, 5);
  _tile_loadd(4, keys + 2048 + 64, 128);
  _tile_dpbf16ps(7, 4, 5);
  _tile_stored(6, scores, 64);
  _tile_stored(7, scores + 256, 64);
}

// Eight keys' scores to weights.
inline void soften_eight(const float* scores, F base, uint8_t* weights, F& even, F& odd) {
  for (int k = 0; k < 8; k += 2) {
    const F low = exp2_roughly(_mm512_sub_ps(load(scores + 16 * k), base));
    const F high = exp2_roughly(_mm512_sub_ps(load(scores + 16 * k + 16), base));
    even = _mm512_add_ps(even, low);
    odd = _mm512_add_ps(odd, high);
    _mm512_storeu_si512(weights + 32 * k, pairs_bf16(low, high));
  }
}

// What earlier sums must be multiplied by so that the group's weights stay below 2^kSlack.
inline F raise(const Group& group, Softmax& run) {
  F top[4];
  for (int i = 0; i < 4; ++i) top[i] = spread(kHidden / 10);  // a column that sees nothing yet gets no weights
  for (int64_t k = 0; k < group.blocks * kBlock; k += 4)
    for (int i = 0; i < 4; ++i) top[i] = _mm512_max_ps(top[i], load(group.scores + 16 * (k + i)));
  const F most = _mm512_max_ps(_mm512_max_ps(top[0], top[1]), _mm512_max_ps(top[2], top[3]));
  const __mmask16 grown = _mm512_cmp_ps_mask(most, _mm512_add_ps(run.base, spread(kSlack)), _CMP_NLE_UQ);
  const F before = run.base;
  run.base = _mm512_mask_mov_ps(before, grown, most);
  return exp2(_mm512_sub_ps(before, run.base));
}

inline void store_sums(float* sums) {
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  _tile_stored(2, sums + 512, 64);
  _tile_stored(3, sums + 768, 64);
}

inline void scale_sums(F fade, float* sums) {
  store_sums(sums);
  for (int d = 0; d < 64; ++d) store(sums + 16 * d, _mm512_mul_ps(load(sums + 16 * d), fade));
  _tile_loadd(0, sums, 64);
  _tile_loadd(1, sums + 256, 64);
  _tile_loadd(2, sums + 512, 64);
  _tile_loadd(3, sums + 768, 64);
}

// The weights of `now`, the scores of `after`, and what `before` adds to the sums.
inline void turn(const Attention& a, const Widths& w, int64_t head, const Group& before, const Group& now, const Group& after,
                 const uint8_t* queries, Softmax& run) {
  F even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
  const int64_t most_blocks = most(most(before.blocks, after.blocks), now.blocks);
  for (int64_t b = 0; b < most_blocks; ++b) {
    const float* scores = now.scores + b * 512;
    uint8_t* weights = now.weights + b * kTile;
    const bool soften = b < now.blocks, gather = b < before.blocks, score = b < after.blocks;
    const uint8_t* values = gather ? value_block(a, w, before.table[b], head) : nullptr;
    const uint8_t* keys = score ? key_block(a, w, after.table[b], head) : nullptr;
    if (gather) gather_low(values, before.weights + b * kTile);
    if (soften) soften_eight(scores, run.base, weights, even, odd);
    if (gather) gather_high(values);
    if (soften) soften_eight(scores + 128, run.base, weights + 256, even, odd);
    if (score) score_low(keys, queries);
    if (soften) soften_eight(scores + 256, run.base, weights + 512, even, odd);
    if (score) score_high(keys, queries, after.scores + b * 512);
    if (soften) soften_eight(scores + 384, run.base, weights + 768, even, odd);
  }
  run.sum = _mm512_add_ps(run.sum, _mm512_add_ps(even, odd));
}

// Sums of 16 columns over the blocks of `table` that hold keys start to newest; returns what they must be divided by.
inline F attend_tiles(const Attention& a, const Widths& w, const int32_t* table, int64_t head, int64_t start, int64_t oldest,
                      int64_t newest, Z positions, const uint8_t* queries, float* sums, uint8_t* scratch) {
  auto group = [&](int64_t from) {
    const int64_t odd = (from - start) / kKeys % 2;
    const int64_t blocks = from > newest ? 0 : least(kKeys / kBlock, newest / kBlock - from / kBlock + 1);
    uint8_t* memory = scratch + odd * kKeys * 96;
    return Group{table + from / kBlock, blocks, reinterpret_cast<float*>(memory), memory + kKeys * 64};
  };
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  Softmax run{spread(-INFINITY), _mm512_setzero_ps()};
  Group before{}, now{}, after = group(start);
  turn(a, w, head, before, now, after, queries, run);
  for (int64_t from = start; from <= newest; from += kKeys) {
    before = now;
    now = after;
    after = group(from + kKeys);
    if (a.soft_cap > 0) cap(a.soft_cap, now.blocks * kBlock, now.scores);
    if (from + now.blocks * kBlock - 1 > oldest || a.window > 0) mask(a, positions, from, now.blocks * kBlock, now.scores);
    const F fade = raise(now, run);
    const bool faded = _mm512_cmpneq_epi32_mask(_mm512_castps_si512(fade), _mm512_castps_si512(spread(1.0f))) != 0;
    run.sum = _mm512_mul_ps(run.sum, fade);
    turn(a, w, head, before, now, after, queries, run);
    if (from > start && faded) scale_sums(fade, sums);
  }
  turn(a, w, head, now, {}, {}, queries, run);
  store_sums(sums);
  return run.sum;
}

}  // namespace

#endif
