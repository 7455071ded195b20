// Sixteen floats at a time: what the kernels of both instruction sets share. Included inside their namespace.

#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "kernels.h"

namespace {

using namespace dovetail;
using F = __m512;
using Z = __m512i;

inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F x) { _mm512_storeu_ps(p, x); }
inline F spread(float x) { return _mm512_set1_ps(x); }
inline __mmask16 first(int64_t n) { return n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1); }
inline __mmask64 first_bytes(int64_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }
inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// 2^x, relative error about 1e-7 and none at 0; 0 far below, inf far above, NaN stays. The polynomial is nearest to 2^f over
// 0 <= f < 1 in relative error (weighted least squares); scalef rounds the exponent down, as reduce does.
inline F exp2(F x) {
  x = _mm512_max_ps(spread(-150.0f), x);
  const F f = _mm512_reduce_ps(x, 9);
  F p = spread(1.8671317e-3f);
  p = _mm512_fmadd_ps(p, f, spread(9.0170270e-3f));
  p = _mm512_fmadd_ps(p, f, spread(5.5799916e-2f));
  p = _mm512_fmadd_ps(p, f, spread(2.4016444e-1f));
  p = _mm512_fmadd_ps(p, f, spread(6.9315130e-1f));
  p = _mm512_fmadd_ps(p, f, spread(1.0f));
  return _mm512_scalef_ps(p, x);
}

// 2^x for finite x, relative error 9e-5 and none at 0: enough for what is rounded to bf16
inline F exp2_roughly(F x) {
  const F f = _mm512_reduce_ps(x, 9);
  F p = spread(7.7066928e-2f);
  p = _mm512_fmadd_ps(p, f, spread(2.2764505e-1f));
  p = _mm512_fmadd_ps(p, f, spread(6.9511676e-1f));
  p = _mm512_fmadd_ps(p, f, spread(1.0f));
  return _mm512_scalef_ps(p, x);
}

inline F exp(F x) { return exp2(_mm512_mul_ps(x, spread(1.44269504f))); }

inline F sigmoid(F x) {  // 1 / (1 + e^-x); the reciprocal by one step of Newton from 14 bits
  const F y = _mm512_add_ps(spread(1.0f), exp2(_mm512_min_ps(spread(126.0f), _mm512_mul_ps(x, spread(-1.44269504f)))));
  const F r = _mm512_rcp14_ps(y);
  return _mm512_mul_ps(r, _mm512_fnmadd_ps(y, r, spread(2.0f)));
}

inline F tanh(F x) {  // 2 sigmoid(2x) - 1
  return _mm512_fmsub_ps(spread(2.0f), sigmoid(_mm512_add_ps(x, x)), spread(1.0f));
}

inline F activate(F x, int32_t activation) {
  if (activation == kSilu) return _mm512_mul_ps(x, sigmoid(x));
  if (activation == kRelu) return _mm512_max_ps(_mm512_setzero_ps(), x);
  if (activation == kGeluTanh) {  // x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))
    const F cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
    const F inner = _mm512_fmadd_ps(spread(0.044715f), cube, x);
    return _mm512_mul_ps(x, sigmoid(_mm512_mul_ps(inner, spread(1.59576912f))));
  }
  alignas(64) float each[16];
  store(each, x);
  for (float& value : each) value = 0.5f * value * (1.0f + erff(value * 0.70710678f));
  return load(each);
}

// rows of 16 32-bit numbers become columns
inline void transpose(Z r[16]) {
  Z t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 8] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
  }
}

inline Z rounded_bf16(F x) {  // nearest even, in the upper half of each lane
  const Z bits = _mm512_castps_si512(x);
  const Z odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
}

// bf16 of `low` and `high` side by side in each lane
inline Z pairs_bf16(F low, F high) {
#ifdef __AVX512BF16__
  const Z both = reinterpret_cast<Z>(_mm512_cvtne2ps_pbh(high, low));
  const Z order = _mm512_add_epi32(_mm512_set1_epi32(0x00100000), _mm512_mullo_epi32(_mm512_set1_epi32(0x00010001), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
  return _mm512_permutexvar_epi16(order, both);
#else
  return _mm512_or_si512(_mm512_srli_epi32(rounded_bf16(low), 16),
                         _mm512_and_si512(rounded_bf16(high), _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
#endif
}

inline __m256i to_bf16(F x) { return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded_bf16(x), 16)); }

inline F even_bf16(Z x) { return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)); }
inline F odd_bf16(Z x) { return _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(static_cast<int>(0xffff0000u)))); }

inline F from_bf16(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }

// sum + a . b for four bytes each, of a without and of b with a sign. g++ 12 moves the sums of a whole round about where it is given
// the intrinsic, which halves the rate.
inline Z dot_bytes(Z sum, Z a, Z b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}

// acc + a . b for pairs of bf16
inline F dot_bf16(F acc, Z a, Z b) {
#ifdef __AVX512BF16__
  return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
#else
  acc = _mm512_fmadd_ps(even_bf16(a), even_bf16(b), acc);
  return _mm512_fmadd_ps(odd_bf16(a), odd_bf16(b), acc);
#endif
}

inline float inverse_root_mean(const float* x, int64_t width, float eps) {
  F sum = _mm512_setzero_ps();
  for (int64_t k = 0; k < width; k += 16) {
    const F v = _mm512_maskz_loadu_ps(first(width - k), x + k);
    sum = _mm512_fmadd_ps(v, v, sum);
  }
  return 1.0f / std::sqrt(_mm512_reduce_add_ps(sum) / static_cast<float>(width) + eps);
}

}  // namespace
