// Rotary positions. Sources: Su et al. 2021, equation 34; the half-split pairing is that of GPT-NeoX.

// angles [T, n, 2]: cos and sin of position * frequency, times factor. One item per pair.
__kernel void rope_angles(__global const int *positions, __global const float *frequencies,
                          __global float *angles, int n, float factor) {
  int i = get_global_id(0), t = get_global_id(1);
  if (i >= n) return;
  float angle = (float)positions[t] * frequencies[i];
  angles[2 * ((size_t)t * n + i)] = cos(angle) * factor;
  angles[2 * ((size_t)t * n + i) + 1] = sin(angle) * factor;
}

// x [T, H, D] -> y: pairs of the first 2n of D turn, the rest is copied. One item per head and token.
__kernel void rope(__global const TYPE(VALUE) * x, int x_at, int x_step,
                   __global const float *angles, __global TYPE(VALUE) * y, int H, int D, int n,
                   int interleaved) {
  int h = get_global_id(0), t = get_global_id(1);
  if (h >= H) return;
  __global const TYPE(VALUE) *from = x + x_at + (size_t)t * x_step + h * D;
  __global TYPE(VALUE) *to = y + ((size_t)t * H + h) * D;
  __global const float *angle = angles + 2 * (size_t)t * n;
  for (int i = 0; i < n; i++) {
    int first = interleaved ? 2 * i : i, second = interleaved ? 2 * i + 1 : i + n;
    float a = LOAD(VALUE, from, first), b = LOAD(VALUE, from, second);
    float c = angle[2 * i], s = angle[2 * i + 1];
    STORE(VALUE, to, first, a * c - b * s);
    STORE(VALUE, to, second, b * c + a * s);
  }
  for (int d = 2 * n; d < D; d++) STORE(VALUE, to, d, LOAD(VALUE, from, d));
}
