// A mixture of experts: route chooses each token's K experts, product multiplies a line by the weights of one of them, and
// combine sums what they made. A pair is a token and one of its experts; pair K * t + i is token t's i-th.
//
// logits  [T, X]      VALUE  of the router, rows logits_step apart
// chosen  [T * K]            expert of each pair
// shares  [T * K]     f32    its weight in the token's sum
// weight  [X, Op, I]  WEIGHT of each expert O outputs, padded to Op, a multiple of 16; in the blocks of linear.cl, as are
// scale, zero                what belongs to integers
// x       lines of I numbers in VALUE, x_step apart; `of` pairs in a row share a line
// y       product: [T * K, O] f32; combine: [T, E] VALUE
//
// Sources: Shazeer et al. 2017, section 2.1; Jiang et al. 2024 (Mixtral), section 2.1.

// Whether expert a with logit x is taken before expert b with logit z: the largest first, then the lowest; NaN last.
inline bool before(float x, int a, float z, int b) {
  if (isnan(x) || isnan(z)) return isnan(x) && isnan(z) ? a < b : isnan(z);
  return x == z ? a < b : x > z;
}

// One group per token, an item per expert; found holds X numbers. NaN among the logits makes every share NaN.
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void route(
    __global const TYPE(VALUE) * logits, int logits_at, int logits_step, __global int *chosen,
    __global float *shares, int X, int K, int normalised, __local float *found) {
  int t = get_group_id(0), l = get_local_id(0);
  size_t from = logits_at + (size_t)t * logits_step, to = (size_t)t * K;
  for (int e = l; e < X; e += GROUP) found[e] = LOAD(VALUE, logits, from + e);
  barrier(CLK_LOCAL_MEM_FENCE);
  float most = -INFINITY, broken = 0.0f, all = 0.0f, taken = 0.0f;
  for (int e = 0; e < X; e++) {
    most = fmax(most, found[e]);
    if (isnan(found[e])) broken = found[e];
  }
  most += broken;
  for (int e = l; e < X; e += GROUP) {
    int rank = 0;
    for (int other = 0; other < X; other++) rank += before(found[other], other, found[e], e);
    if (rank >= K) continue;
    chosen[to + rank] = e;
    shares[to + rank] = exp(found[e] - most);
  }
  barrier(CLK_GLOBAL_MEM_FENCE);
  for (int e = 0; e < X; e++) all += exp(found[e] - most);
  for (int i = 0; i < K; i++) taken += shares[to + i];
  barrier(CLK_GLOBAL_MEM_FENCE);
  for (int i = l; i < K; i += GROUP) shares[to + i] /= normalised ? taken : all;
}

// Numbers k .. k + 16 of a line of I, zeros past its end.
inline float16 part(__global const TYPE(VALUE) * line, int k, int I) {
  if (k + 16 <= I) return LOAD16(VALUE, line, k);
  float some[16];
  for (int i = 0; i < 16; i++) some[i] = k + i < I ? LOAD(VALUE, line, k + i) : 0.0f;
  return vload16(0, some);
}

// What inputs k .. k + 16 add to a block's outputs, or (LANE) to one of them. i4: a group never ends among them.
#ifdef LANE
typedef float wide;
inline wide products(__global const TYPE(WEIGHT) * weight, __global const float *scale,
                     __global const float *zero, int group, size_t block, int lane, int k, int I,
                     float16 x) {
  size_t at = (block * ((I + 15) / 16 * 16) + k) * 16 + lane * 16;
#ifdef GROUPED
  uchar8 both = vload8(0, weight + at / 2);
  size_t pair = (block * (I / group) + k / group) * 16 + lane;
  float16 some;
  some.even = convert_float8(both & (uchar)15);
  some.odd = convert_float8(both >> (uchar)4);
  some = (some - zero[pair]) * scale[pair];
#else
  float16 some = LOAD16(WEIGHT, weight, at);
#endif
  return sum16(some * x);
}
#else
typedef float16 wide;
inline wide products(__global const TYPE(WEIGHT) * weight, __global const float *scale,
                     __global const float *zero, int group, size_t block, int lane, int k, int I,
                     float16 x) {
  float some[16];
  vstore16(x, 0, some);
  wide sum = 0.0f;
  size_t at = block * I + k;
#ifdef GROUPED
  size_t pair = (block * (I / group) + k / group) * 16;
  float16 z = vload16(0, zero + pair), s = vload16(0, scale + pair);
  for (int i = 0; i < 16; i += 2) {
    uchar16 both = vload16(0, weight + (at + i) * 8);
    sum += some[i] * (convert_float16(both & (uchar)15) - z);
    sum += some[i + 1] * (convert_float16(both >> (uchar)4) - z);
  }
  return sum * s;
#else
  int n = min(16, I - k);
  for (int i = 0; i < n; i++) sum += some[i] * LOAD16(WEIGHT, weight, (at + i) * 16);
  return sum;
#endif
}
#endif

// An item per pair and block of outputs, or (LANE) per pair and output.
__kernel void product(__global const TYPE(VALUE) * x, int x_at, int x_step, int of,
                      __global const int *chosen, __global const TYPE(WEIGHT) * weight,
                      __global const float *scale, __global const float *zero, int group,
                      __global float *y, int I, int O) {
  int pair = get_global_id(1), blocks = (O + 15) / 16;
#ifdef LANE
  int output = get_global_id(0), lane = output % 16;
#else
  int output = 16 * get_global_id(0), lane = 0;
#endif
  if (output >= O) return;
  size_t block = (size_t)chosen[pair] * blocks + output / 16;
  __global const TYPE(VALUE) *line = x + x_at + (size_t)(pair / of) * x_step;
  wide sum = 0.0f;
  for (int k = 0; k < I; k += 16)
    sum += products(weight, scale, zero, group, block, lane, k, I, part(line, k, I));
  y += (size_t)pair * O + output;
#ifdef LANE
#ifdef SCALED
  sum *= scale[block * 16 + lane];
#endif
  *y = sum;
#else
#ifdef SCALED
  sum *= vload16(0, scale + block * 16);
#endif
  if (output + 16 <= O) {
    vstore16(sum, 0, y);
    return;
  }
  float some[16];
  vstore16(sum, 0, some);
  for (int i = 0; output + i < O; i++) y[i] = some[i];
#endif
}

__kernel void combine(__global const float *made, __global const float *shares,
                      __global TYPE(VALUE) * y, int K, int E) {
  int e = get_global_id(0), t = get_global_id(1);
  if (e >= E) return;
  float sum = 0.0f;
  for (int i = 0; i < K; i++) {
    size_t pair = (size_t)t * K + i;
    sum += shares[pair] * made[pair * E + e];
  }
  STORE(VALUE, y, (size_t)t * E + e, sum);
}
