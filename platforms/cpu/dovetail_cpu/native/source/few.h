// Products of few tokens: every row of a weight is read from end to end, as memory is read fastest. Four rows are finished together,
// for as many tokens as there are registers.

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

// Of some tokens: numbers [tokens * terms][I padded]; scales, one or one per group of each line; sums, of int8 one of each line.
struct Lines {
  const uint8_t* numbers;
  const float *scale, *sums;
};

// sum[v] += 64 bytes of a row . those of V lines of x, `stride` bytes apart: two pointers and multiples of the stride.
template <int V>
__attribute__((always_inline)) inline void add_row(Z (&sum)[V], Z row, const uint8_t* x, int64_t stride) {
  const uint8_t* at[2] = {x, x + 4 * stride};
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) sum[v] = dot_bytes(sum[v], row, _mm512_loadu_si512(at[v / 4] + (v & 3) * stride));
}

template <int V>
__attribute__((always_inline)) inline void clear(Z (&sum)[V]) {
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) sum[v] = _mm512_setzero_si512();
}

// i8 against V lines of i8 with a scale each. Weights are made unsigned; what that adds is taken off by the sums of x.
template <int V>
__attribute__((noinline)) void dot_int8(const Matrix& w, const FourRows& four, const Packed& x, const Lines& lines, __m128* out) {
  const Z flip = _mm512_set1_epi8(static_cast<char>(0x80));
  const int64_t whole = w.inputs / 64 * 64;
  const __mmask64 rest = first_bytes(w.inputs - whole);
  Z sums[V][4];
  for (int r = 0; r < 4; ++r) {
    const uint8_t *a = w.data + four.row[r] * w.inputs, *numbers = lines.numbers;
    Z sum[V];
    clear(sum);
    for (int64_t k = 0; k < whole; k += 64) {
      fetch_ahead(a + k);
      add_row(sum, _mm512_xor_si512(_mm512_loadu_si512(a + k), flip), numbers + k, x.padded);
    }
    if (rest != 0) add_row(sum, _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, a + whole), flip), numbers + whole, x.padded);  // x is zero there
    for (int v = 0; v < V; ++v) sums[v][r] = sum[v];
  }
  const __m128 scale = _mm_maskz_loadu_ps(four.here, w.scale + four.row[0]);
  for (int v = 0; v < V; ++v) {
    const __m128 all = _mm_fmsub_ps(_mm_cvtepi32_ps(totals(sums[v])), _mm_set1_ps(lines.scale[v]), _mm_set1_ps(128.0f * lines.sums[v]));
    out[v] = _mm_mul_ps(all, scale);
  }
}

// The same in groups of inputs with a scale each.
template <int V>
__attribute__((noinline)) void dot_int8_groups(const Matrix& w, const FourRows& four, const Packed& x, const Lines& lines, __m128* out) {
  const Z flip = _mm512_set1_epi8(static_cast<char>(0x80));
  const int64_t groups = x.groups;
  F totals_of[V][4];
  for (int r = 0; r < 4; ++r) {
    const uint8_t *a = w.data + four.row[r] * w.inputs, *numbers = lines.numbers;
    F total[V];
    for (int v = 0; v < V; ++v) total[v] = _mm512_setzero_ps();
    for (int64_t g = 0, k = 0; g < groups; ++g) {
      Z sum[V];
      clear(sum);
      for (const int64_t end = least(k + x.group, w.inputs); k < end; k += 64) {
        fetch_ahead(a + k);
        const Z row = end - k >= 64 ? _mm512_loadu_si512(a + k) : _mm512_maskz_loadu_epi8(first_bytes(end - k), a + k);
        add_row(sum, _mm512_xor_si512(row, flip), numbers + k, x.padded);
      }
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) total[v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[v]), spread(lines.scale[v * groups + g]), total[v]);
    }
    for (int v = 0; v < V; ++v) totals_of[v][r] = total[v];
  }
  const __m128 scale = _mm_maskz_loadu_ps(four.here, w.scale + four.row[0]);
  for (int v = 0; v < V; ++v) out[v] = _mm_mul_ps(_mm_sub_ps(totals(totals_of[v]), _mm_set1_ps(128.0f * lines.sums[v])), scale);
}

// u4 in groups of G against T tokens; the numbers are unsigned, their zeros are taken off by the sums of x. Of two terms the sums
// of a group are put together as integers.
template <int T, int Terms, int G>
__attribute__((noinline)) void dot_int4(const Matrix& w, const FourRows& four, const Packed& x, const Lines& lines, __m128* out) {
  constexpr int V = T * Terms;
  const int64_t groups = x.groups;
  const __m256i low = _mm256_set1_epi8(15);
  F totals_of[T][4];
  for (int r = 0; r < 4; ++r) {
    const uint8_t *a = w.data + four.row[r] * (w.inputs / 2), *numbers = lines.numbers;
    const float* scale = w.scale + four.row[r] * groups;
    F total[T];
    for (int t = 0; t < T; ++t) total[t] = _mm512_setzero_ps();
    for (int64_t g = 0; g < groups; ++g, a += G / 2, numbers += G) {
      fetch_ahead(a);
      Z sum[V];
      clear(sum);
#pragma GCC unroll 2
      for (int k = 0; k < G; k += 64) {
        const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + k / 2));
        const __m256i even = _mm256_and_si256(bytes, low), odd = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low);
        add_row(sum, _mm512_inserti64x4(_mm512_castsi256_si512(even), odd, 1), numbers + k, x.padded);
      }
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        const Z all = Terms == 2 ? _mm512_add_epi32(_mm512_slli_epi32(sum[t * Terms], 8), sum[t * Terms + Terms - 1]) : sum[t * Terms];
        total[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all), spread(scale[g] * lines.scale[t * groups + g]), total[t]);
      }
    }
    const uint8_t* zero = w.zero + four.row[r] * groups;
    for (int64_t g = 0; g < groups; g += 16) {
      const __mmask16 valid = first(groups - g);
      const F offset = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(valid, zero + g))),
                                     _mm512_maskz_loadu_ps(valid, scale + g));
      for (int t = 0; t < T; ++t) total[t] = _mm512_fnmadd_ps(offset, _mm512_maskz_loadu_ps(valid, lines.sums + t * groups + g), total[t]);
    }
    for (int t = 0; t < T; ++t) totals_of[t][r] = total[t];
  }
  for (int t = 0; t < T; ++t) out[t] = totals(totals_of[t]);
}

// bf16 against f32
template <int T>
__attribute__((noinline)) void dot_dense(const Matrix& w, const FourRows& four, const Packed& x, const Lines& lines, __m128* out) {
  const int64_t whole = w.inputs / 32 * 32, padded = x.padded;
  const __mmask32 rest = static_cast<__mmask32>(first_bytes(w.inputs - whole));
  F totals_of[T][4];
  for (int r = 0; r < 4; ++r) {
    const uint8_t* a = w.data + four.row[r] * w.inputs * 2;
    const float* numbers = reinterpret_cast<const float*>(lines.numbers);
    F even[T], odd[T];
    for (int t = 0; t < T; ++t) even[t] = odd[t] = _mm512_setzero_ps();
    for (int64_t k = 0; k < w.inputs; k += 32, numbers += 32) {
      fetch_ahead(a + 2 * k);
      const Z pairs = k < whole ? _mm512_loadu_si512(a + 2 * k) : _mm512_maskz_loadu_epi16(rest, a + 2 * k);
      const F low = even_bf16(pairs), high = odd_bf16(pairs);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        even[t] = _mm512_fmadd_ps(low, load(numbers + t * padded), even[t]);
        odd[t] = _mm512_fmadd_ps(high, load(numbers + t * padded + 16), odd[t]);
      }
    }
    for (int t = 0; t < T; ++t) totals_of[t][r] = _mm512_add_ps(even[t], odd[t]);
  }
  for (int t = 0; t < T; ++t) out[t] = totals(totals_of[t]);
}

template <int T>
inline void dot_two_terms(const Matrix& w, const FourRows& four, const Packed& x, const Lines& lines, __m128* out) {
  if (x.form == kInt4) return w.group == 128 ? dot_int4<T, 2, 128>(w, four, x, lines, out) : dot_int4<T, 2, 64>(w, four, x, lines, out);
  __m128 each[2 * T];
  dot_int8<2 * T>(w, four, x, lines, each);
  for (int t = 0; t < T; ++t) out[t] = _mm_add_ps(each[2 * t], each[2 * t + 1]);
}

template <int T>
inline void dot_rows(const Matrix& w, const FourRows& four, const Packed& x, int64_t token, __m128* out) {
  const int64_t bytes = x.form == kBf16 ? 4 : x.terms, scales = x.form == kInt8 ? x.terms * x.groups : x.groups;
  const int64_t sums = x.form == kInt8 ? x.terms : x.groups;
  const Lines lines{x.data + token * bytes * x.padded, x.scale + token * scales, x.sums + token * sums};
  if (x.form == kBf16) {
    dot_dense<T>(w, four, x, lines, out);
  } else if (x.terms == 2) {
    if constexpr (T <= 4) dot_two_terms<T>(w, four, x, lines, out);
  } else if (x.form == kInt8) {
    x.groups > 1 ? dot_int8_groups<T>(w, four, x, lines, out) : dot_int8<T>(w, four, x, lines, out);
  } else {
    w.group == 128 ? dot_int4<T, 1, 128>(w, four, x, lines, out) : dot_int4<T, 1, 64>(w, four, x, lines, out);
  }
  if (w.bias == nullptr) return;
  for (int t = 0; t < T; ++t) out[t] = _mm_add_ps(out[t], _mm_maskz_loadu_ps(four.here, w.bias + four.row[0]));
}

// The largest of what a token has so far and four rows more.
inline void keep_peak(const Product& p, __mmask8 here, __m128 sum, int64_t n, int64_t token) {
  float& best = p.peak_values[token];
  const __m128 known = _mm_set1_ps(best);
  if ((here & (_mm_cmp_ps_mask(sum, known, _CMP_GT_OQ) | _mm_cmp_ps_mask(sum, sum, _CMP_UNORD_Q))) == 0) return;
  alignas(16) float each[4];
  _mm_store_ps(each, sum);
  for (int i = 0; i < 4 && (here >> i & 1) != 0; ++i) {
    if (!(each[i] > best || each[i] != each[i])) continue;
    best = each[i];
    p.peak_ids[token] = static_cast<int32_t>(n + i);
  }
}

// T tokens from `token` on.
template <int T>
inline void some_tokens(const Product& p, int64_t n, int64_t end, int64_t token) {
  FourRows four = four_rows(*p.weight, n);
  four.here &= static_cast<__mmask8>(first(end - n));
  __m128 sum[T], up[T];
  dot_rows<T>(*p.weight, four, *p.x, token, sum);
  if (p.second != nullptr) dot_rows<T>(*p.second, four, *p.x, token, up);
  for (int t = 0; t < T; ++t) {
    if (p.second != nullptr) sum[t] = _mm_mul_ps(_mm512_castps512_ps128(activate(_mm512_zextps128_ps512(sum[t]), p.activation)), up[t]);
    float* out = p.out.data + (token + t) * p.out.stride + n;
    if (p.add) sum[t] = _mm_add_ps(sum[t], _mm_maskz_loadu_ps(four.here, out));
    _mm_mask_storeu_ps(out, four.here, sum[t]);
    if (p.peak_values != nullptr) keep_peak(p, four.here, sum[t], n, token + t);
  }
}

// What four rows were read for once stays in the first-level cache for the tokens after. Four tokens with two terms need as many
// registers as eight with one.
inline void few_tokens(const Product& p, int64_t begin, int64_t end) {
  const int64_t tokens = p.x->tokens;
  for (int64_t n = begin; n < end; n += 4) {
    int64_t t = 0;
    for (; p.x->terms == 1 && t + 8 <= tokens; t += 8) some_tokens<8>(p, n, end, t);
    for (; t + 4 <= tokens; t += 4) some_tokens<4>(p, n, end, t);
    for (; t + 2 <= tokens; t += 2) some_tokens<2>(p, n, end, t);
    if (t < tokens) some_tokens<1>(p, n, end, t);
  }
}

}  // namespace
