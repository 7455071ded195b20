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

// One token to i8: bytes [padded], scales (every `scale_step`th) and sums of scale * number per group.
inline void quantise_row(const float* x, const Packed& to, uint8_t* bytes, float* scale, int64_t scale_step, float* sums) {
  const int64_t run = to.weight_group == 32 ? 32 : 64;
  for (int64_t g = 0; g < to.groups; ++g) {
    const int64_t begin = g * to.group, end = least(begin + to.group, to.inputs);
    F largest = _mm512_setzero_ps(), invalid = _mm512_setzero_ps();
    for (int64_t k = begin; k < end; k += 16) {
      const F v = _mm512_maskz_loadu_ps(first(end - k), x + k);
      largest = _mm512_max_ps(largest, _mm512_abs_ps(v));
      invalid = _mm512_fmadd_ps(v, _mm512_setzero_ps(), invalid);  // NaN and infinity stay visible
    }
    const float top = _mm512_reduce_max_ps(largest);
    const F inverse = spread(top > 0 ? 127.0f / top : 0.0f);
    scale[g * scale_step] = top / 127.0f + _mm512_reduce_add_ps(invalid);
    Z sum = _mm512_setzero_si512();
    const int64_t stop = least(round_up(end, 64), to.padded);
    for (int64_t k = begin; k < stop; k += 64) {
      Z q = quantised(x + k, end - k, inverse);
      if (sums != nullptr) sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), q);
      if (to.form == kInt4) q = evens_first(q, run);
      _mm512_mask_storeu_epi8(bytes + k, first_bytes(stop - k), q);
    }
    if (sums != nullptr) sums[g] = scale[g * scale_step] * static_cast<float>(_mm512_reduce_add_epi32(sum));
  }
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

inline void pack_rows(const Rows& x, const Norm& norm, Packed& to, float* row) {
  for (int64_t t = 0; t < to.tokens; ++t) {
    const float* values = normed(x.data + t * x.stride, norm, to.inputs, row);
    if (to.form == kBf16) {
      split_row(values, to.inputs, to.padded, reinterpret_cast<float*>(to.data) + t * to.padded);
    } else {
      quantise_row(values, to, to.data + t * to.padded, to.scale + t * to.groups, 1, to.sums + t * to.groups);
    }
  }
}

inline void pack_bf16(const float* x, int64_t inputs, int64_t padded, uint8_t* to) {
  for (int64_t k = 0; k < padded; k += 16) {
    const F v = _mm512_maskz_loadu_ps(first(most(0, inputs - k)), x + k);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 2 * k), to_bf16(v));
  }
}

// 16 tokens: each to bytes in scratch, then 64 bytes of all of them at a time to where a tile wants them.
void pack(const Rows& x, const Norm& norm, Packed& to, int64_t block, uint8_t* scratch) {
  float* row = reinterpret_cast<float*>(scratch);
  if (to.rows) return pack_rows(x, norm, to, row);
  const int64_t bytes = to.padded * (to.form == kBf16 ? 2 : 1);
  uint8_t* lines = scratch + round_up(to.inputs * 4 + 64, 64);
  float* scale = to.scale + block * to.groups * kLanes;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const int64_t t = block * kLanes + lane;
    uint8_t* line = lines + lane * bytes;
    if (t >= to.tokens) {
      std::memset(line, 0, static_cast<size_t>(bytes));
      for (int64_t g = 0; g < to.groups; ++g) scale[g * kLanes + lane] = 0.0f;
      continue;
    }
    const float* values = normed(x.data + t * x.stride, norm, to.inputs, row);
    if (to.form == kBf16) {
      pack_bf16(values, to.inputs, to.padded, line);
    } else {
      quantise_row(values, to, line, scale + lane, kLanes, nullptr);
    }
  }
  uint8_t* out = to.data + block * bytes * kLanes;
  for (int64_t k = 0; k < bytes; k += 64) {
    Z r[16];
    const __mmask64 here = first_bytes(bytes - k);
    for (int i = 0; i < 16; ++i) r[i] = _mm512_maskz_loadu_epi8(here, lines + i * bytes + k);
    transpose(r);
    const int64_t count = least(64, bytes - k) / 4;
    for (int64_t i = 0; i < count; ++i) {
#ifndef DOVETAIL_AMX
      if (to.form != kBf16) r[i] = _mm512_xor_si512(r[i], _mm512_set1_epi8(static_cast<char>(0x80)));
#endif
      _mm512_storeu_si512(out + (k / 4 + i) * 64, r[i]);
    }
  }
}

}  // namespace
