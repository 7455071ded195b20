// Attention of tiles of queries over stretches of their row's context. Softmax and sums are f32.
//
// A tile is some consecutive new tokens of a row and some query heads of one key head: up to M = QUERIES lines that read the
// same keys. A long context is cut into stretches, whose results attention_join puts together. One group per tile.
//
// q        [T, H, D]      VALUE  rows of T are q_step apart
// keys     [B, S, K, D]   KV     blocks of the cache; WHOLE: [T, K, D] of the step, rows k_step apart
// values   [B, S, K, Dv]
// table    [R, width]            blocks of each row
// tiles    [n, 8]                row, first token, tokens, position of the first token, start and end of the stretch,
//                                part (-1: the whole context), first token of the row (WHOLE)
// y        [T, H, Dv]     VALUE
// parts    [p, H, Dv + 2] f32    sums, largest score and mass of each stretch; a part is one token's
// sinks    [H]            f32    SINKS: one more score of each head, which takes its weight without a value
//
// Query i sees key j iff i - back <= j <= i + ahead. Sources: Dao 2023, algorithm 1; Dao et al. 2023 (stretches);
// Xiao et al. 2023, section 3 (sinks).
//
// VEC is how many numbers an item takes at once: 16 where items are threads of a CPU, 4 where they are lanes of a GPU.

#define STRETCH 32

#if VEC == 16
typedef float16 wide;
#define LOADV(T, p, i) LOAD16(T, p, i)
#define STOREV(T, p, i, x) STORE16(T, p, i, x)
#define GET(p) vload16(0, p)
#define PUT(x, p) vstore16(x, 0, p)
#define SUM(x) sum16(x)
#define MAX(x) max16(x)
#define EXP(x) exp16(x)
#else
typedef float4 wide;
#define LOADV(T, p, i) LOAD4(T, p, i)
#define STOREV(T, p, i, x) STORE4(T, p, i, x)
#define GET(p) vload4(0, p)
#define PUT(x, p) vstore4(x, 0, p)
#define SUM(x) dot(x, (float4)1.0f)
#define MAX(x) fmax(fmax((x).s0, (x).s1), fmax((x).s2, (x).s3))
#define EXP(x) exp(x)
#endif

// Numbers d .. d + VEC of a line of D in memory, zeros past its end; and the first numbers of a vector put where there are so many.
#define PART(name, T)                                                               \
  inline wide name(__global const TYPE(T) * line, int d, int D) {                   \
    if (d + VEC <= D) return LOADV(T, line, d);                                     \
    float some[VEC];                                                                \
    for (int i = 0; i < VEC; i++) some[i] = d + i < D ? LOAD(T, line, d + i) : 0.0f; \
    return GET(some);                                                               \
  }
PART(part_of_query, VALUE)
PART(part_of_key, KV)
#define KEEP(T, line, d, D, x)                                                \
  if (d + VEC <= D) {                                                         \
    STOREV(T, line, d, x);                                                    \
  } else {                                                                    \
    float some[VEC];                                                          \
    PUT(x, some);                                                             \
    for (int i = 0; d + i < D; i++) STORE(T, line, d + i, some[i]);           \
  }

#if VEC == 16
inline float16 halved(float16 a, float16 b) {
  return (float16)(a.even + a.odd, b.even + b.odd);
}

// Scores of four keys with four lines: number 4 * n + i is that of key n and line i. Sums are halved together, which takes
// fifteen additions for all sixteen.
inline float16 dots(__global const TYPE(KV) * keys, __local const long *at, __local const float *a, int D,
                    int Dp) {
  float16 found[4];
  _Pragma("unroll") for (int n = 0; n < 4; n += 2) {
    float16 s[8];
    _Pragma("unroll") for (int i = 0; i < 8; i++) s[i] = 0.0f;
    for (int d = 0; d < D; d += 16) {
      float16 x = part_of_key(keys + at[n], d, D), y = part_of_key(keys + at[n + 1], d, D);
      _Pragma("unroll") for (int i = 0; i < 4; i++) {
        float16 line = vload16(0, a + i * Dp + d);
        s[i] += x * line;
        s[4 + i] += y * line;
      }
    }
    found[n] = halved(halved(s[0], s[1]), halved(s[2], s[3]));
    found[n + 1] = halved(halved(s[4], s[5]), halved(s[6], s[7]));
  }
  return halved(halved(found[0], found[1]), halved(found[2], found[3]));
}
#else
// Scores of four lines with a key.
inline float4 dots(__global const TYPE(KV) * key, __local const float *a, int D, int Dp) {
  float4 s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
  for (int d = 0; d < D; d += 4) {
    float4 x = part_of_key(key, d, D);
    s0 += x * vload4(0, a + d);
    s1 += x * vload4(0, a + Dp + d);
    s2 += x * vload4(0, a + 2 * Dp + d);
    s3 += x * vload4(0, a + 3 * Dp + d);
  }
  return (float4)(SUM(s0), SUM(s1), SUM(s2), SUM(s3));
}
#endif

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void attention(
    __global const TYPE(VALUE) * q, int q_at, int q_step, __global const TYPE(KV) * keys, int k_at,
    int k_step, __global const TYPE(KV) * values, int v_at, int v_step, __global const int *table,
    int width, __global const int *tiles, __global TYPE(VALUE) * y, __global float *parts, int H,
    int K, int D, int Dv, int S, int heads, float scale, float cap, int back, int ahead,
    __global const float *sinks, __local float *queries, __local float *sums,
    __local float *scores) {
  __global const int *tile = tiles + 8 * get_group_id(0);
  int row = tile[0], first = tile[1], count = tile[2], position = tile[3];
  int start = tile[4], end = tile[5], part = tile[6], base = tile[7];
  int per_key = H / K, chunks = (per_key + heads - 1) / heads;
  int k = get_group_id(1) / chunks, head = k * per_key + get_group_id(1) % chunks * heads;
  int mine = min(heads, (k + 1) * per_key - head);
  int lines = count * mine, l = get_local_id(0);
  int Dp = (D + 15) / 16 * 16, Vp = (Dv + 15) / 16 * 16;
  int padded = (lines + 3) / 4 * 4;
  __local float top[QUERIES], mass[QUERIES], fade[QUERIES];
  __local int at[QUERIES];  // positions of the lines
  __local long at_key[STRETCH], at_value[STRETCH];

  int columns = Dp / VEC;
  for (int i = l; i < padded * columns; i += GROUP) {
    int line = i / columns, d = i % columns * VEC, token = line / mine;
    wide x = 0.0f;
    if (line < lines) {
      size_t of = q_at + (size_t)(first + token) * q_step + (head + line - token * mine) * D;
      x = part_of_query(q + of, d, D) * scale;
    }
    PUT(x, queries + line * Dp + d);
  }
  columns = Vp / VEC;
  for (int i = l; i < padded * columns; i += GROUP) PUT((wide)0.0f, sums + i * VEC);
  for (int i = l; i < padded; i += GROUP) {
    at[i] = position + i / mine;
    top[i] = -INFINITY;
    mass[i] = 0.0f;
#ifdef SINKS
    if (part < 0 && i < lines) {
      top[i] = sinks[head + i % mine];
      mass[i] = 1.0f;
    }
#endif
  }

  for (int from = start; from < end; from += STRETCH) {
    int here = min(STRETCH, end - from);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int j = l; j < STRETCH; j += GROUP) {
      int p = from + min(j, here - 1);
#ifdef WHOLE
      at_key[j] = k_at + (long)(base + p) * k_step + k * D;
      at_value[j] = v_at + (long)(base + p) * v_step + k * Dv;
#else
      int block = p / S;
      long place = (long)table[(size_t)row * width + block] * S + (p - block * S);
      at_key[j] = (place * K + k) * D;
      at_value[j] = (place * K + k) * Dv;
#endif
    }
    barrier(CLK_LOCAL_MEM_FENCE);

#if VEC == 16
    // Scores, four keys and four lines at a time.
    for (int unit = l; unit < padded / 4 * (STRETCH / 4); unit += GROUP) {
      int j = unit % (STRETCH / 4) * 4, line = unit / (STRETCH / 4) * 4;
      float16 score = dots(keys, at_key + j, queries + line * Dp, D, Dp);
      if (cap > 0.0f) score = tanh(score / cap) * cap;
      float4 found[4] = {score.s048c, score.s159d, score.s26ae, score.s37bf};
      for (int i = 0; i < 4; i++) {
        int4 n = (int4)(0, 1, 2, 3) + j, p = from + n;
        int4 seen = n < here && p >= at[line + i] - back && p <= at[line + i] + ahead;
        vstore4(select((float4)-INFINITY, found[i], seen), 0, scores + (line + i) * STRETCH + j);
      }
    }
#else
    // Scores, a key per item and four lines at a time.
    for (int j = l; j < STRETCH; j += GROUP) {
      int p = from + j;
      for (int line = 0; line < lines; line += 4) {
        float score[4];
        vstore4(dots(keys + at_key[j], queries + line * Dp, D, Dp), 0, score);
        for (int i = 0; i < 4; i++) {
          bool seen = j < here && p >= at[line + i] - back && p <= at[line + i] + ahead;
          float value = cap > 0.0f ? tanh(score[i] / cap) * cap : score[i];
          scores[(line + i) * STRETCH + j] = seen ? value : -INFINITY;
        }
      }
    }
#endif
    barrier(CLK_LOCAL_MEM_FENCE);

    // Weights, a line per item.
    for (int line = l; line < lines; line += GROUP) {
      __local float *s = scores + line * STRETCH;
      wide most = GET(s);  // NaN is passed over: it is a NaN among the weights all the same
      for (int j = VEC; j < STRETCH; j += VEC) most = fmax(most, GET(s + j));
      float before = top[line], now = fmax(MAX(most), before);
      bool any = now != -INFINITY;
      float zero = any ? now : 0.0f;
      wide total = 0.0f;
      for (int j = 0; j < STRETCH; j += VEC) {
        wide weight = EXP(GET(s + j) - zero);
        PUT(weight, s + j);
        total += weight;
      }
      float lost = any ? exp(before - now) : 1.0f;
      fade[line] = lost;
      mass[line] = mass[line] * lost + SUM(total);
      top[line] = now;
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    // Weighted sums of values, VEC columns of four lines per item.
    for (int unit = l; unit < columns * (padded / 4); unit += GROUP) {
      int d = unit % columns * VEC, line = unit / columns * 4;
      __local const float *w = scores + line * STRETCH;
      __local float *sum = sums + line * Vp + d;
      wide s0 = GET(sum) * fade[line], s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
      if (line + 1 < lines) s1 = GET(sum + Vp) * fade[line + 1];
      if (line + 2 < lines) s2 = GET(sum + 2 * Vp) * fade[line + 2];
      if (line + 3 < lines) s3 = GET(sum + 3 * Vp) * fade[line + 3];
      for (int j = 0; j < here; j++) {
        __global const TYPE(KV) *value = values + at_value[j];
        wide x = part_of_key(value, d, Dv);
        s0 += x * w[j];
        s1 += x * w[STRETCH + j];
        s2 += x * w[2 * STRETCH + j];
        s3 += x * w[3 * STRETCH + j];
      }
      PUT(s0, sum);
      if (line + 1 < lines) PUT(s1, sum + Vp);
      if (line + 2 < lines) PUT(s2, sum + 2 * Vp);
      if (line + 3 < lines) PUT(s3, sum + 3 * Vp);
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);

  for (int i = l; i < lines * columns; i += GROUP) {
    int line = i / columns, d = i % columns * VEC, token = line / mine, h = head + line - token * mine;
    wide sum = GET(sums + line * Vp + d);
    if (part < 0) {
      sum /= mass[line];
      KEEP(VALUE, y + ((size_t)(first + token) * H + h) * Dv, d, Dv, sum);
    } else {
      KEEP(f32, parts + ((size_t)(part + token) * H + h) * (Dv + 2), d, Dv, sum);
    }
  }
  if (part >= 0)
    for (int line = l; line < lines; line += GROUP) {
      size_t to = ((size_t)(part + line / mine) * H + head + line % mine) * (Dv + 2) + Dv;
      parts[to] = top[line];
      parts[to + 1] = mass[line];
    }
}

// Puts the stretches of a token together. joins [n, 4]: token, its first part, parts, distance between
// them. One group per token and head.
__kernel void attention_join(__global const float *parts, __global const int *joins,
                             __global TYPE(VALUE) * y, int H, int Dv,
                             __global const float *sinks) {
  __global const int *join = joins + 4 * get_group_id(0);
  int token = join[0], first = join[1], count = join[2], stride = join[3];
  int h = get_group_id(1);
#ifdef SINKS
  float sink = sinks[h], now = sink;
#else
  float now = -INFINITY;
#endif
  for (int i = 0; i < count; i++) {
    float value = parts[((size_t)(first + i * stride) * H + h) * (Dv + 2) + Dv];
    now = value > now || isnan(value) ? value : now;
  }
  for (int d = get_local_id(0); d < Dv; d += get_local_size(0)) {
    float sum = 0.0f, mass = 0.0f;
    for (int i = 0; i < count; i++) {
      __global const float *part = parts + ((size_t)(first + i * stride) * H + h) * (Dv + 2);
      float factor = part[Dv] == -INFINITY ? 0.0f : exp(part[Dv] - now);
      sum += factor * part[d];
      mass += factor * part[Dv + 1];
    }
#ifdef SINKS
    mass += exp(sink - now);
#endif
    STORE(VALUE, y, ((size_t)token * H + h) * Dv + d, sum / mass);
  }
}
