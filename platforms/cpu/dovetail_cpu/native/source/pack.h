// Activations on their way into a product: normed, quantised or rounded, and put into the order of a matrix's form.

#pragma once

#include "simd.h"

namespace {

// Of each run of 64 bytes (`run` 64) or 32: even inputs, then odd ones, as the low and the high bits of int4 come.
inline Z evens_first(Z x, int64_t run) {
  const Z within = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
  const Z lanes = run == 64 ? _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7) : _mm512_setr_epi64(0, 2, 1, 3, 4, 6, 5, 7);
  return _mm512_permutexvar_epi64(lanes, _mm512_shuffle_epi8(x, within));
}

inline Z quantised(const float* x, int64_t valid, F inverse) {
  __m128i part[4];
  for (int i = 0; i < 4; ++i) {
    const F v = _mm512_maskz_loadu_ps(first(most(0, valid - 16 * i)), x + 16 * i);
    part[i] = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(v, inverse)));
  }
  const Z low = _mm512_castsi256_si512(_mm256_set_m128i(part[1], part[0]));
  return _mm512_inserti64x4(low, _mm256_set_m128i(part[3], part[2]), 1);
}

inline const float* normed(const float* x, const Norm& norm, int64_t width, float* to) {
  if (norm.weight == nullptr) return x;
  const F factor = spread(inverse_root_mean(x, width, norm.eps));
  for (int64_t k = 0; k < width; k += 16) {
    const __mmask16 here = first(width - k);
    const F v = _mm512_mul_ps(_mm512_maskz_loadu_ps(here, x + k), factor);
    _mm512_mask_storeu_ps(to + k, here, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(here, norm.weight + k)));
  }
  return to;
}

struct Scan {  // of a token's numbers: the largest, and 0, or NaN where one of them is not finite
  float top, invalid;
};

inline Scan scanned(const float* x, int64_t begin, int64_t end) {
  F largest = _mm512_setzero_ps(), invalid = _mm512_setzero_ps();
  for (int64_t k = begin; k < end; k += 16) {
    const F v = _mm512_maskz_loadu_ps(first(end - k), x + k);
    largest = _mm512_max_ps(largest, _mm512_abs_ps(v));
    invalid = _mm512_fmadd_ps(v, _mm512_setzero_ps(), invalid);
  }
  return {_mm512_reduce_max_ps(largest), _mm512_reduce_add_ps(invalid)};
}

// One token to i8: bytes [padded], scales and sums of scale * number (or null) per group, every `step`th; sums of all groups together
// if so wished.
inline void quantise_row(const float* x, const Packed& to, uint8_t* bytes, float* scale, float* sums, int64_t step, bool together = false) {
  const int64_t run = to.weight_group == 32 ? 32 : 64;
  for (int64_t g = 0; g < to.groups; ++g) {
    const int64_t begin = g * to.group, end = least(begin + to.group, to.inputs);
    const Scan found = scanned(x, begin, end);
    const F inverse = spread(found.top > 0 ? 127.0f / found.top : 0.0f);
    scale[g * step] = found.top / 127.0f + found.invalid;
    Z sum = _mm512_setzero_si512();
    const int64_t stop = least(round_up(end, 64), to.padded);
    for (int64_t k = begin; k < stop; k += 64) {
      Z q = quantised(x + k, end - k, inverse);
      if (sums != nullptr) sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), q);
      if (to.form == kInt4) q = evens_first(q, run);
      _mm512_mask_storeu_epi8(bytes + k, first_bytes(stop - k), q);
    }
    if (sums == nullptr) continue;
    const float weighted = scale[g * step] * static_cast<float>(_mm512_reduce_add_epi32(sum));
    if (!together) sums[g * step] = weighted;
    else sums[0] = g == 0 ? weighted : sums[0] + weighted;
  }
}

constexpr float kMostOfTwo = 127 * 256 + 127;  // of a number of two terms

struct Two {  // sixteen numbers, their high and low terms
  __m128i high, low;
  Z number;
};

inline Two two_terms(F v, F inverse) {
  const Z q = _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse));
  const Z upper = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
  const Z lower = _mm512_sub_epi32(q, _mm512_slli_epi32(upper, 8));
  return {_mm512_cvtsepi32_epi8(upper), _mm512_cvtsepi32_epi8(lower), q};
}

// The same in two terms for int4: a scale for 256 high + low per group, as the group's products are added up as integers.
inline void split_groups(const float* x, const Packed& to, uint8_t* high, uint8_t* low, float* scale, float* sums, int64_t step) {
  const int64_t run = to.weight_group == 32 ? 32 : 64;
  for (int64_t g = 0; g < to.groups; ++g) {
    const int64_t begin = g * to.group, end = least(begin + to.group, to.inputs);
    const Scan found = scanned(x, begin, end);
    const F inverse = spread(found.top > 0 ? kMostOfTwo / found.top : 0.0f);
    scale[g * step] = found.top / kMostOfTwo + found.invalid;
    Z sum = _mm512_setzero_si512();
    for (int64_t k = begin; k < end; k += run) {  // whole runs: groups are multiples of 32 and end in one
      alignas(64) uint8_t upper[64], lower[64];
      for (int64_t i = 0; i < run; i += 16) {
        const Two two = two_terms(_mm512_maskz_loadu_ps(first(end - k - i), x + k + i), inverse);
        _mm_store_si128(reinterpret_cast<__m128i*>(upper + i), two.high);
        _mm_store_si128(reinterpret_cast<__m128i*>(lower + i), two.low);
        sum = _mm512_add_epi32(sum, two.number);
      }
      const __mmask64 here = first_bytes(run);
      _mm512_mask_storeu_epi8(high + k, here, evens_first(_mm512_maskz_loadu_epi8(here, upper), run));
      _mm512_mask_storeu_epi8(low + k, here, evens_first(_mm512_maskz_loadu_epi8(here, lower), run));
    }
    if (sums != nullptr) sums[g * step] = scale[g * step] * static_cast<float>(_mm512_reduce_add_epi32(sum));
  }
}

// One token to two terms of i8: the line of the high ones, the line of the low ones, their scales and sums.
struct Term {
  uint8_t* bytes;
  float *scale, *sum;  // sum: of scale * number, or null
};

inline void split_terms(const float* x, const Packed& to, const Term& high, const Term& low) {
  const Scan found = scanned(x, 0, to.inputs);
  const F inverse = spread(found.top > 0 ? kMostOfTwo / found.top : 0.0f);
  *low.scale = found.top / kMostOfTwo + found.invalid;
  *high.scale = 256.0f * *low.scale;
  Z high_sum = _mm512_setzero_si512(), low_sum = _mm512_setzero_si512();
  for (int64_t k = 0; k < to.padded; k += 16) {
    const Two two = two_terms(_mm512_maskz_loadu_ps(first(most(0, to.inputs - k)), x + k), inverse);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high.bytes + k), two.high);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low.bytes + k), two.low);
    high_sum = _mm512_add_epi32(high_sum, _mm512_cvtepi8_epi32(two.high));
    low_sum = _mm512_add_epi32(low_sum, _mm512_cvtepi8_epi32(two.low));
  }
  if (high.sum == nullptr) return;
  *high.sum = *high.scale * static_cast<float>(_mm512_reduce_add_epi32(high_sum));
  *low.sum = *low.scale * static_cast<float>(_mm512_reduce_add_epi32(low_sum));
}

// f32 for products of few tokens with bf16: of each 32 inputs the even ones, then the odd ones
inline void split_row(const float* x, int64_t inputs, int64_t padded, float* to) {
  const Z even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const Z odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  for (int64_t k = 0; k < padded; k += 32) {
    const F low = _mm512_maskz_loadu_ps(first(most(0, inputs - k)), x + k);
    const F high = _mm512_maskz_loadu_ps(first(most(0, inputs - k - 16)), x + k + 16);
    store(to + k, _mm512_permutex2var_ps(low, even, high));
    store(to + k + 16, _mm512_permutex2var_ps(low, odd, high));
  }
}

inline void pack_row(const Rows& x, const Norm& norm, Packed& to, int64_t t, float* row) {
  const float* values = normed(x.data + t * x.stride, norm, to.inputs, row);
  if (to.form == kBf16) {
    split_row(values, to.inputs, to.padded, reinterpret_cast<float*>(to.data) + t * to.padded);
  } else if (to.terms == 2 && to.form == kInt4) {
    uint8_t* bytes = to.data + 2 * t * to.padded;
    split_groups(values, to, bytes, bytes + to.padded, to.scale + t * to.groups, to.sums + t * to.groups, 1);
  } else if (to.terms == 2) {
    uint8_t* bytes = to.data + 2 * t * to.padded;
    float *scale = to.scale + 2 * t, *sum = to.sums + 2 * t;
    split_terms(values, to, {bytes, scale, sum}, {bytes + to.padded, scale + 1, sum + 1});
  } else {
    const bool together = to.form == kInt8;  // what is taken off for unsigned weights has no groups
    float* sums = to.sums + t * (together ? 1 : to.groups);
    quantise_row(values, to, to.data + t * to.padded, to.scale + t * to.groups, sums, 1, together);
  }
}

inline void pack_bf16(const float* x, int64_t inputs, int64_t padded, uint8_t* to) {
  for (int64_t k = 0; k < padded; k += 16) {
    const F v = _mm512_maskz_loadu_ps(first(most(0, inputs - k)), x + k);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 2 * k), to_bf16(v));
  }
}

// 16 lines of bytes to where a tile wants them: 64 bytes of all of them at a time.
inline void interleave(const uint8_t* lines, int64_t bytes, const Packed& to, uint8_t* out) {
  for (int64_t k = 0; k < bytes; k += 64) {
    Z r[16];
    const __mmask64 here = first_bytes(bytes - k);
    for (int i = 0; i < 16; ++i) r[i] = _mm512_maskz_loadu_epi8(here, lines + i * bytes + k);
    transpose(r);
    const int64_t count = least(64, bytes - k) / 4;
    for (int64_t i = 0; i < count; ++i) {
#ifndef DOVETAIL_AMX
      if (to.form == kInt8) r[i] = _mm512_xor_si512(r[i], _mm512_set1_epi8(static_cast<char>(0x80)));
#endif
      _mm512_storeu_si512(out + (k / 4 + i) * 64, r[i]);
    }
  }
}

// Four rows of i32 within i8 to 16 columns of four bytes.
inline Z four_bytes(Z a, Z b, Z c, Z d) {
  const Z order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  return _mm512_shuffle_epi8(_mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)), order);
}

// Of numbers of 16 tokens side by side: the largest, and 0, or NaN where one of them is not finite.
struct Scan16 {
  F top, nothing;
};

template <typename At>
inline Scan16 scanned(At&& at, int64_t begin, int64_t end) {
  F largest[4], invalid[4];
  for (int i = 0; i < 4; ++i) largest[i] = invalid[i] = _mm512_setzero_ps();
  for (int64_t k = begin; k < end; k += 4) {
    for (int i = 0; i < 4; ++i) {
      const F v = at(k + i);
      largest[i] = _mm512_max_ps(largest[i], _mm512_abs_ps(v));
      invalid[i] = _mm512_fmadd_ps(v, _mm512_setzero_ps(), invalid[i]);
    }
  }
  return {_mm512_max_ps(_mm512_max_ps(largest[0], largest[1]), _mm512_max_ps(largest[2], largest[3])),
          _mm512_add_ps(_mm512_add_ps(invalid[0], invalid[1]), _mm512_add_ps(invalid[2], invalid[3]))};
}

// 16 tokens that lie side by side to i8 in one or two terms.
inline void pack_blocked(const Rows& x, const Packed& to, int64_t block) {
  const float* from = x.data + block * kLanes * x.stride;
  const __mmask16 here = first(to.tokens - block * kLanes);
  auto at = [&](int64_t k) { return _mm512_maskz_loadu_ps(k < to.inputs ? here : 0, from + k * kLanes); };
  const F most_number = spread(to.terms == 2 ? kMostOfTwo : 127.0f);
  float* scale = to.scale + block * to.terms * to.groups * kLanes;
  uint8_t* bytes = to.data + block * to.terms * to.padded * kLanes;
#ifdef DOVETAIL_AMX
  const Z flip = _mm512_setzero_si512();
#else
  const Z flip = _mm512_set1_epi8(static_cast<char>(0x80));
#endif
  for (int64_t begin = 0; begin < to.padded; begin += to.group, scale += kLanes) {
    const int64_t end = least(begin + to.group, to.padded);
    const Scan16 found = scanned(at, begin, least(end, to.inputs));
    const __mmask16 some = _mm512_cmp_ps_mask(found.top, _mm512_setzero_ps(), _CMP_GT_OQ);
    const F inverse = _mm512_maskz_div_ps(some, most_number, found.top);
    const F unit = _mm512_add_ps(_mm512_div_ps(found.top, most_number), found.nothing);
    store(scale, to.terms == 2 ? _mm512_mul_ps(spread(256.0f), unit) : unit);
    if (to.terms == 2) store(scale + kLanes, unit);
    for (int64_t k = begin; k < end; k += 4, bytes += 64) {
      Z q[4];
      for (int i = 0; i < 4; ++i) q[i] = _mm512_cvtps_epi32(_mm512_mul_ps(at(k + i), inverse));
      if (to.terms == 2) {
        Z upper[4];
        for (int i = 0; i < 4; ++i) {
          upper[i] = _mm512_srai_epi32(_mm512_add_epi32(q[i], _mm512_set1_epi32(128)), 8);
          q[i] = _mm512_sub_epi32(q[i], _mm512_slli_epi32(upper[i], 8));
        }
        _mm512_storeu_si512(bytes, _mm512_xor_si512(four_bytes(upper[0], upper[1], upper[2], upper[3]), flip));
      }
      uint8_t* low = bytes + (to.terms - 1) * to.padded * kLanes;
      _mm512_storeu_si512(low, _mm512_xor_si512(four_bytes(q[0], q[1], q[2], q[3]), flip));
    }
  }
}

// 16 tokens, each to bytes in scratch first; or one token.
void pack(const Rows& x, const Norm& norm, Packed& to, int64_t block, uint8_t* scratch) {
  float* row = reinterpret_cast<float*>(scratch);
  if (to.rows) return pack_row(x, norm, to, block, row);
  if (x.blocked) return pack_blocked(x, to, block);
  const int64_t bytes = to.padded * (to.form == kBf16 ? 2 : 1);
  uint8_t* lines = scratch + round_up(to.inputs * 4 + 64, 64);  // of a term after those of the other
  const int64_t scales = block * to.terms * to.groups * kLanes;
  float* scale = to.scale + scales;
#ifdef DOVETAIL_AMX
  float* sums = nullptr;
#else
  float* sums = to.form == kInt4 ? to.sums + scales : nullptr;  // what the weights' zeros are multiplied by
#endif
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const int64_t t = block * kLanes + lane;
    uint8_t *line = lines + lane * bytes, *second = line + kLanes * bytes;
    if (t >= to.tokens) {
      std::memset(line, 0, static_cast<size_t>(bytes));
      if (to.terms == 2) std::memset(second, 0, static_cast<size_t>(bytes));
      for (int64_t g = 0; g < to.groups * to.terms; ++g) {
        scale[g * kLanes + lane] = 0.0f;
        if (sums != nullptr) sums[g * kLanes + lane] = 0.0f;
      }
      continue;
    }
    const float* values = normed(x.data + t * x.stride, norm, to.inputs, row);
    if (to.form == kBf16) {
      pack_bf16(values, to.inputs, to.padded, line);
    } else if (to.terms == 2 && to.form == kInt4) {
      split_groups(values, to, line, second, scale + lane, sums == nullptr ? nullptr : sums + lane, kLanes);
    } else if (to.terms == 2) {
      split_terms(values, to, {line, scale + lane, nullptr}, {second, scale + kLanes + lane, nullptr});
    } else {
      quantise_row(values, to, line, scale + lane, sums == nullptr ? nullptr : sums + lane, kLanes);
    }
  }
  for (int64_t term = 0; term < to.terms; ++term)
    interleave(lines + term * kLanes * bytes, bytes, to, to.data + (block * to.terms + term) * bytes * kLanes);
}

}  // namespace
