// Products of one token: every row of a weight is read once, from end to end, as memory is read fastest. Four rows are finished
// together.

#pragma once

#include "simd.h"

namespace {

constexpr int64_t kAhead = 2048;  // bytes: 1 to 12 KiB did as well, none at all a tenth worse

inline void fetch_ahead(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p + kAhead), _MM_HINT_T0); }

inline __m128i totals(const Z (&x)[4]) {
  const Z low = _mm512_add_epi32(_mm512_unpacklo_epi32(x[0], x[1]), _mm512_unpackhi_epi32(x[0], x[1]));
  const Z high = _mm512_add_epi32(_mm512_unpacklo_epi32(x[2], x[3]), _mm512_unpackhi_epi32(x[2], x[3]));
  const Z all = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

inline __m128 totals(const F (&x)[4]) {
  const F low = _mm512_add_ps(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
  const F high = _mm512_add_ps(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
  const Z l = _mm512_castps_si512(low), h = _mm512_castps_si512(high);
  const F all = _mm512_add_ps(_mm512_castsi512_ps(_mm512_unpacklo_epi64(l, h)), _mm512_castsi512_ps(_mm512_unpackhi_epi64(l, h)));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// Four rows of a matrix; where the last of them are past its end, the last one again.
struct FourRows {
  int64_t row[4];
  __mmask8 here;
};

inline FourRows four_rows(const Matrix& w, int64_t row) {
  FourRows four;
  for (int r = 0; r < 4; ++r) four.row[r] = least(row + r, w.outputs - 1);
  four.here = static_cast<__mmask8>(first(least(4, w.outputs - row)));
  return four;
}

// i8 against T terms. Weights are made unsigned; what that adds is taken off by the sums of x.
template <int T>
inline __m128 dot_int8(const Matrix& w, const FourRows& four, const Packed& x) {
  const Z flip = _mm512_set1_epi8(static_cast<char>(0x80));
  const int64_t whole = w.inputs / 64 * 64;
  const __mmask64 rest = first_bytes(w.inputs - whole);
  Z sum[T][4];
  for (int r = 0; r < 4; ++r) {
    const uint8_t* a = w.data + four.row[r] * w.inputs;
    Z here[T];
    for (int t = 0; t < T; ++t) here[t] = _mm512_setzero_si512();
    for (int64_t k = 0; k < whole; k += 64) {
      fetch_ahead(a + k);
      const Z v = _mm512_xor_si512(_mm512_loadu_si512(a + k), flip);
      for (int t = 0; t < T; ++t) here[t] = _mm512_dpbusd_epi32(here[t], v, _mm512_loadu_si512(x.data + t * x.padded + k));
    }
    if (rest != 0) {  // x is zero there
      const Z v = _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, a + whole), flip);
      for (int t = 0; t < T; ++t) here[t] = _mm512_dpbusd_epi32(here[t], v, _mm512_loadu_si512(x.data + t * x.padded + whole));
    }
    for (int t = 0; t < T; ++t) sum[t][r] = here[t];
  }
  __m128 all = _mm_setzero_ps();
  for (int t = 0; t < T; ++t)
    all = _mm_add_ps(all, _mm_fmsub_ps(_mm_cvtepi32_ps(totals(sum[t])), _mm_set1_ps(x.scale[t]), _mm_set1_ps(128.0f * x.sums[t])));
  return _mm_mul_ps(all, _mm_maskz_loadu_ps(four.here, w.scale + four.row[0]));
}

// u4 in groups of G against T terms; the numbers are unsigned, their zeros are taken off by the sums of x. Of two terms the sums
// of a group are put together as integers.
template <int T, int G>
inline __m128 dot_int4(const Matrix& w, const FourRows& four, const Packed& x) {
  const int64_t groups = x.groups;
  const __m256i low = _mm256_set1_epi8(15);
  F total[4];
  for (int r = 0; r < 4; ++r) {
    const uint8_t* a = w.data + four.row[r] * (w.inputs / 2);
    const float* scale = w.scale + four.row[r] * groups;
    total[r] = _mm512_setzero_ps();
    for (int64_t g = 0; g < groups; ++g, a += G / 2) {
      fetch_ahead(a);
      Z sum[T];
      for (int t = 0; t < T; ++t) sum[t] = _mm512_setzero_si512();
      for (int k = 0; k < G; k += 64) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + k / 2));
        const __m256i even = _mm256_and_si256(v, low), odd = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
        const Z both = _mm512_inserti64x4(_mm512_castsi256_si512(even), odd, 1);
        for (int t = 0; t < T; ++t) sum[t] = _mm512_dpbusd_epi32(sum[t], both, _mm512_loadu_si512(x.data + t * x.padded + g * G + k));
      }
      const Z all = T == 2 ? _mm512_add_epi32(_mm512_slli_epi32(sum[0], 8), sum[T - 1]) : sum[0];
      total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all), spread(scale[g] * x.scale[g]), total[r]);
    }
    const uint8_t* zero = w.zero + four.row[r] * groups;
    for (int64_t g = 0; g < groups; g += 16) {
      const __mmask16 here = first(groups - g);
      const F offset = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(here, zero + g))),
                                     _mm512_maskz_loadu_ps(here, scale + g));
      total[r] = _mm512_fnmadd_ps(offset, _mm512_maskz_loadu_ps(here, x.sums + g), total[r]);
    }
  }
  return totals(total);
}

// bf16 against f32
inline __m128 dot_dense(const Matrix& w, const FourRows& four, const Packed& x) {
  const float* v = reinterpret_cast<const float*>(x.data);
  const int64_t whole = w.inputs / 32 * 32;
  const __mmask32 rest = static_cast<__mmask32>(first_bytes(w.inputs - whole));
  F total[4];
  for (int r = 0; r < 4; ++r) {
    const uint8_t* a = w.data + four.row[r] * w.inputs * 2;
    F even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
    auto add = [&](Z pairs, int64_t k) {
      even = _mm512_fmadd_ps(even_bf16(pairs), load(v + k), even);
      odd = _mm512_fmadd_ps(odd_bf16(pairs), load(v + k + 16), odd);
    };
    for (int64_t k = 0; k < whole; k += 32) {
      fetch_ahead(a + 2 * k);
      add(_mm512_loadu_si512(a + 2 * k), k);
    }
    if (rest != 0) add(_mm512_maskz_loadu_epi16(rest, a + 2 * whole), whole);
    total[r] = _mm512_add_ps(even, odd);
  }
  return totals(total);
}

inline __m128 dot_rows(const Matrix& w, const FourRows& four, const Packed& x) {
  __m128 sum;
  if (x.form == kBf16) {
    sum = dot_dense(w, four, x);
  } else if (w.form == kInt8) {
    sum = x.terms == 2 ? dot_int8<2>(w, four, x) : dot_int8<1>(w, four, x);
  } else if (w.group == 128) {
    sum = x.terms == 2 ? dot_int4<2, 128>(w, four, x) : dot_int4<1, 128>(w, four, x);
  } else {
    sum = x.terms == 2 ? dot_int4<2, 64>(w, four, x) : dot_int4<1, 64>(w, four, x);
  }
  return w.bias != nullptr ? _mm_add_ps(sum, _mm_maskz_loadu_ps(four.here, w.bias + four.row[0])) : sum;
}

inline void one_token(const Product& p, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end; n += 4) {
    FourRows four = four_rows(*p.weight, n);
    four.here &= static_cast<__mmask8>(first(end - n));
    __m128 sum = dot_rows(*p.weight, four, *p.x);
    if (p.second != nullptr) {
      const F gate = activate(_mm512_zextps128_ps512(sum), p.activation);
      sum = _mm_mul_ps(_mm512_castps512_ps128(gate), dot_rows(*p.second, four, *p.x));
    }
    float* out = p.out.data + n;
    if (p.add) sum = _mm_add_ps(sum, _mm_maskz_loadu_ps(four.here, out));
    _mm_mask_storeu_ps(out, four.here, sum);
  }
}

}  // namespace
