// What is done to a token's numbers one row at a time.

#pragma once

#include "simd.h"

namespace {

void embed(const Matrix& table, int32_t id, float* out) {
  const int64_t width = table.inputs, row = id;
  for (int64_t k = 0; k < width; k += 16) {
    const __mmask16 here = first(width - k);
    F v;
    if (table.form == kBf16) {
      v = from_bf16(_mm256_maskz_loadu_epi16(here, table.data + (row * width + k) * 2));
    } else if (table.form == kInt8) {
      const Z q = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(here, table.data + row * width + k));
      v = _mm512_mul_ps(_mm512_cvtepi32_ps(q), spread(table.scale[row]));
    } else {  // 16 inputs are 8 bytes, and lie within one group
      const int64_t groups = width / table.group, g = row * groups + k / table.group;
      const __m128i q = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(table.data + (row * width + k) / 2));
      const __m128i low = _mm_and_si128(q, _mm_set1_epi8(15)), high = _mm_and_si128(_mm_srli_epi16(q, 4), _mm_set1_epi8(15));
      const Z both = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(low, high));
      const Z centred = _mm512_sub_epi32(both, _mm512_set1_epi32(table.zero[g]));
      v = _mm512_mul_ps(_mm512_cvtepi32_ps(centred), spread(table.scale[g]));
    }
    _mm512_mask_storeu_ps(out + k, here, v);
  }
}

void norm(const float* x, const Norm& norm, int64_t width, float* out) {
  const F factor = spread(inverse_root_mean(x, width, norm.eps));
  for (int64_t k = 0; k < width; k += 16) {
    const __mmask16 here = first(width - k);
    const F v = _mm512_mul_ps(_mm512_maskz_loadu_ps(here, x + k), factor);
    _mm512_mask_storeu_ps(out + k, here, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(here, norm.weight + k)));
  }
}

// table: cos [half], sin [half]. The first 2 * half numbers turn, in halves or in neighbouring pairs; the rest is copied.
void rope(const float* x, const float* table, int64_t half, int64_t width, int32_t interleaved, float* out) {
  const float *cos = table, *sin = table + half;
  if (interleaved) {
    for (int64_t i = 0; i < half; ++i) {
      const float a = x[2 * i], b = x[2 * i + 1];
      out[2 * i] = a * cos[i] - b * sin[i];
      out[2 * i + 1] = b * cos[i] + a * sin[i];
    }
  } else {
    for (int64_t i = 0; i < half; i += 16) {
      const __mmask16 here = first(half - i);
      const F a = _mm512_maskz_loadu_ps(here, x + i), b = _mm512_maskz_loadu_ps(here, x + half + i);
      const F c = _mm512_maskz_loadu_ps(here, cos + i), s = _mm512_maskz_loadu_ps(here, sin + i);
      _mm512_mask_storeu_ps(out + i, here, _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)));
      _mm512_mask_storeu_ps(out + half + i, here, _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s)));
    }
  }
  if (out != x) std::memcpy(out + 2 * half, x + 2 * half, static_cast<size_t>(width - 2 * half) * 4);
}

// activation(x), times `times` where that is given
void activate_row(const float* x, const float* times, int64_t width, int32_t activation, float* out) {
  for (int64_t k = 0; k < width; k += 16) {
    const __mmask16 here = first(width - k);
    F v = activate(_mm512_maskz_loadu_ps(here, x + k), activation);
    if (times != nullptr) v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(here, times + k));
    _mm512_mask_storeu_ps(out + k, here, v);
  }
}

#ifdef DOVETAIL_AMX
constexpr int32_t (*row_sum)(const uint8_t*, int64_t) = nullptr;  // tiles multiply signed numbers
#else
int32_t row_sum(const uint8_t* row, int64_t inputs) {
  Z sum = _mm512_setzero_si512();
  for (int64_t k = 0; k < inputs; k += 64)
    sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), _mm512_maskz_loadu_epi8(first_bytes(inputs - k), row + k));
  return _mm512_reduce_add_epi32(sum);
}
#endif

}  // namespace
