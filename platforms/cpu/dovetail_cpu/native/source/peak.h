// The largest number of a row and its place: what greedy sampling wants of logits. A product keeps them as it writes (see keep_peaks);
// here where something comes after it.

#pragma once

#include "simd.h"

namespace {

// Of x[0, count), numbered from `id`. The lowest place of several that are equal; value NaN if any number is.
void peak(const float* x, int64_t count, int32_t id, float* value, int32_t* place) {
  const F lowest = spread(-__builtin_inff());
  F best[2] = {lowest, lowest};
  Z at[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  __mmask16 nan = 0;
  const Z lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int64_t k = 0; k < count; k += 32) {
    for (int i = 0; i < 2 && k + 16 * i < count; ++i) {
      const __mmask16 here = first(count - k - 16 * i);
      const F v = _mm512_mask_loadu_ps(lowest, here, x + k + 16 * i);
      const __mmask16 more = _mm512_cmp_ps_mask(v, best[i], _CMP_GT_OQ);
      nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
      best[i] = _mm512_mask_mov_ps(best[i], more, v);
      at[i] = _mm512_mask_set1_epi32(at[i], more, static_cast<int32_t>(k + 16 * i));
    }
  }
  const float top = _mm512_reduce_max_ps(_mm512_max_ps(best[0], best[1]));
  int32_t lowest_place = 0x7fffffff;
  for (int i = 0; i < 2; ++i) {
    const __mmask16 equal = _mm512_cmp_ps_mask(best[i], spread(top), _CMP_EQ_OQ);
    const int32_t found = _mm512_mask_reduce_min_epi32(equal, _mm512_add_epi32(at[i], lanes));
    if (equal != 0 && found < lowest_place) lowest_place = found;
  }
  *value = nan != 0 ? __builtin_nanf("") : top;
  *place = id + lowest_place;
}

}  // namespace
