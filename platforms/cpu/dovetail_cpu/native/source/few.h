// Products of few tokens: every row of the weight is read once, from end to end, against all of them.

#pragma once

#include "simd.h"

namespace {

constexpr int kFew = 4;  // most tokens handled so

inline void fetch_ahead(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }

constexpr int64_t kAhead = 4096;  // bytes

// R rows of i8 [inputs] against M tokens, into out[row][token]. Weights are made unsigned; what that adds is taken off by the
// sums of x.
template <int R, int M, int W>
inline void dot_int8(const Matrix& w, int64_t row, const Packed& x, float (&out)[4][W]) {
  const uint8_t* a = w.data + row * w.inputs;
  Z sum[R][M];
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m) sum[r][m] = _mm512_setzero_si512();
  const Z flip = _mm512_set1_epi8(static_cast<char>(0x80));
  for (int64_t k = 0; k < w.inputs; k += 64) {
    const __mmask64 here = first_bytes(w.inputs - k);
    Z b[M];
    for (int m = 0; m < M; ++m) b[m] = _mm512_loadu_si512(x.data + m * x.padded + k);
    for (int r = 0; r < R; ++r) {
      const uint8_t* p = a + r * w.inputs + k;
      fetch_ahead(p + kAhead);
      const Z v = _mm512_xor_si512(_mm512_maskz_loadu_epi8(here, p), flip);
      for (int m = 0; m < M; ++m) sum[r][m] = _mm512_dpbusd_epi32(sum[r][m], v, b[m]);
    }
  }
  for (int m = 0; m < M; ++m)
    for (int r = 0; r < R; ++r) {
      const float total = static_cast<float>(_mm512_reduce_add_epi32(sum[r][m])) * x.scale[m];
      out[r][m] = (total - 128.0f * x.sums[m]) * w.scale[row + r];
    }
}

// R rows of u4 in groups of G against M tokens of T terms; the numbers are unsigned, the zeros are taken off by the sums
// of x. Of two terms the sums of a group are put together as integers.
template <int R, int M, int T, int G>
inline void dot_int4(const Matrix& w, int64_t row, const Packed& x, float out[4][kFew]) {
  const int64_t groups = x.groups;
  const __m256i low = _mm256_set1_epi8(15);
  const uint8_t* a = w.data + row * (w.inputs / 2);
  const float* scale = w.scale + row * groups;
  F total[R][M];
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m) total[r][m] = _mm512_setzero_ps();
  for (int r = 0; r < R; ++r) {  // rows lie end to end: one stream from memory
    for (int64_t g = 0; g < groups; ++g) {
      const uint8_t* p = a + r * (w.inputs / 2) + g * (G / 2);
      fetch_ahead(p + kAhead);
      Z sum[T * M];
      for (int m = 0; m < T * M; ++m) sum[m] = _mm512_setzero_si512();
      for (int k = 0; k < G; k += 64) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + k / 2));
        const __m256i even = _mm256_and_si256(v, low), odd = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
        const Z both = _mm512_inserti64x4(_mm512_castsi256_si512(even), odd, 1);
        for (int m = 0; m < T * M; ++m)
          sum[m] = _mm512_dpbusd_epi32(sum[m], both, _mm512_loadu_si512(x.data + m * x.padded + g * G + k));
      }
      for (int m = 0; m < M; ++m) {
        const Z all = T == 2 ? _mm512_add_epi32(_mm512_slli_epi32(sum[T * m], 8), sum[T * m + T - 1]) : sum[m];
        const F s = _mm512_mul_ps(spread(scale[r * groups + g]), spread(x.scale[m * groups + g]));
        total[r][m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all), s, total[r][m]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    const uint8_t* zero = w.zero + (row + r) * groups;
    for (int64_t g = 0; g < groups; g += 16) {
      const __mmask16 here = first(groups - g);
      const __m128i bytes = _mm_maskz_loadu_epi8(here, zero + g);
      const F offset =
          _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), _mm512_maskz_loadu_ps(here, scale + r * groups + g));
      for (int m = 0; m < M; ++m)
        total[r][m] = _mm512_fnmadd_ps(offset, _mm512_maskz_loadu_ps(here, x.sums + m * groups + g), total[r][m]);
    }
    for (int m = 0; m < M; ++m) out[r][m] = _mm512_reduce_add_ps(total[r][m]);
  }
}

template <int R, int M, int T>
inline void dot_groups(const Matrix& w, int64_t row, const Packed& x, float out[4][kFew]) {
  return w.group == 128 ? dot_int4<R, M, T, 128>(w, row, x, out) : dot_int4<R, M, T, 64>(w, row, x, out);
}

// Rows of bf16 against tokens in f32.
template <int R, int M>
inline void dot_dense(const Matrix& w, int64_t row, const Packed& x, float out[4][kFew]) {
  const int64_t stride = w.inputs * 2;
  const uint8_t* a = w.data + row * stride;
  F total[R][M];
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m) total[r][m] = _mm512_setzero_ps();
  for (int64_t k = 0; k < w.inputs; k += 32) {
    const __mmask32 here = w.inputs - k >= 32 ? ~0u : (1u << (w.inputs - k)) - 1;
    F even[M], odd[M];
    for (int m = 0; m < M; ++m) {
      const float* v = reinterpret_cast<const float*>(x.data) + m * x.padded + k;
      even[m] = load(v);
      odd[m] = load(v + 16);
    }
    for (int r = 0; r < R; ++r) {
      fetch_ahead(a + r * stride + 2 * k + kAhead);
      const Z v = _mm512_maskz_loadu_epi16(here, a + r * stride + 2 * k);
      const F low = even_bf16(v), high = odd_bf16(v);
      for (int m = 0; m < M; ++m) {
        total[r][m] = _mm512_fmadd_ps(low, even[m], total[r][m]);
        total[r][m] = _mm512_fmadd_ps(high, odd[m], total[r][m]);
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m) out[r][m] = _mm512_reduce_add_ps(total[r][m]);
}

// Rows of i8 against tokens of two terms, which lie like tokens of their own.
template <int R, int M>
inline void dot_terms(const Matrix& w, int64_t row, const Packed& x, float out[4][kFew]) {
  float terms[4][2 * kFew];
  dot_int8<R, 2 * M>(w, row, x, terms);
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m) out[r][m] = terms[r][2 * m] + terms[r][2 * m + 1];
}

template <int R, int M>
inline void dot_rows(const Matrix& w, int64_t row, const Packed& x, float (&out)[4][kFew]) {
  if (x.form == kBf16) return dot_dense<R, M>(w, row, x, out);
  if (w.form == kInt4) return x.terms == 2 ? dot_groups<R, M, 2>(w, row, x, out) : dot_groups<R, M, 1>(w, row, x, out);
  return x.terms == 2 ? dot_terms<R, M>(w, row, x, out) : dot_int8<R, M>(w, row, x, out);
}

template <int M>
inline void few_tokens(const Product& p, int64_t begin, int64_t end) {
  alignas(64) float a[4][kFew], b[4][kFew];
  for (int64_t n = begin; n < end;) {
    const int rows = end - n >= 4 ? 4 : 1;
    rows == 4 ? dot_rows<4, M>(*p.weight, n, *p.x, a) : dot_rows<1, M>(*p.weight, n, *p.x, a);
    if (p.second != nullptr)
      rows == 4 ? dot_rows<4, M>(*p.second, n, *p.x, b) : dot_rows<1, M>(*p.second, n, *p.x, b);
    for (int r = 0; r < rows; ++r) {
      for (int m = 0; m < M; ++m) {
        float* out = p.out.data + m * p.out.stride + n + r;
        float value = a[r][m] + (p.weight->bias != nullptr ? p.weight->bias[n + r] : 0.0f);
        if (p.second != nullptr) {
          const float up = b[r][m] + (p.second->bias != nullptr ? p.second->bias[n + r] : 0.0f);
          value = _mm512_cvtss_f32(activate(spread(value), p.activation)) * up;
        }
        *out = p.add ? *out + value : value;
      }
    }
    n += rows;
  }
}

inline void few(const Product& p, int64_t begin, int64_t end) {
  switch (p.x->tokens) {
    case 1: return few_tokens<1>(p, begin, end);
    case 2: return few_tokens<2>(p, begin, end);
    case 3: return few_tokens<3>(p, begin, end);
    default: return few_tokens<4>(p, begin, end);
  }
}

}  // namespace
