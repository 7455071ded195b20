// One token for each row, by the rules of dovetail.platform.SamplingColumns. One group of GROUP items per row.
//
// logits   [n, V]   f32, after edits and masks
// broken   [n]      1 where the row is not to be trusted already
// columns  [n, 10]  slot, target, temperature, top_k, top_p, min_p, seed low, seed high, position, logprobs; floats by bits
// results  [n, 3 + 2k]  id, not finite, log-probability by bits, then k ids and k log-probabilities
// registers         the token that each slot sampled last
//
// What survives top-k and top-p is found by digits, without sorting: logits as ordered 32-bit keys, ties by id. Masses
// are whole numbers of 2**-38 of the largest, so that their sums do not depend on the order of work.
//
// Sources: Salmon et al. 2011, section 3.3 (Philox); radix selection as in Alabi et al. 2012.

#define COLUMNS 10
#define ONE 274877906944.0f /* 2**38 */

typedef struct {
  uint key;
  uint tie;
} Place;  // descending order of (key, tie): logits from the largest, equal ones from the lowest id

inline uint key_of(float x) {
  uint bits = as_uint(x + 0.0f);  // -0 is 0
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

inline bool at_least(uint key, uint tie, Place place) {
  return key > place.key || (key == place.key && tie >= place.tie);
}

inline uint digit_of(uint key, uint tie, int digit) {
  return (digit < 4 ? key >> (24 - 8 * digit) : tie >> (56 - 8 * digit)) & 255u;
}

// Whether the digits before `digit` are those of the prefix.
inline bool in_prefix(uint key, uint tie, Place prefix, int digit) {
  if (digit == 0) return true;
  if (digit < 4) return (key ^ prefix.key) >> (32 - 8 * digit) == 0;
  if (digit == 4) return key == prefix.key;
  return key == prefix.key && (tie ^ prefix.tie) >> (64 - 8 * digit) == 0;
}

inline Place with_digit(Place prefix, uint value, int digit) {
  if (digit < 4)
    prefix.key |= value << (24 - 8 * digit);
  else
    prefix.tie |= value << (56 - 8 * digit);
  return prefix;
}

inline uint4 philox(uint4 c, uint2 k) {
  for (int i = 0; i < 10; i++) {
    uint low0 = c.s0 * 0xD2511F53u, high0 = mul_hi(c.s0, 0xD2511F53u);
    uint low1 = c.s2 * 0xCD9E8D57u, high1 = mul_hi(c.s2, 0xCD9E8D57u);
    c = (uint4)(high1 ^ c.s1 ^ k.s0, low1, high0 ^ c.s3 ^ k.s1, low0);
    k += (uint2)(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

// -log(-log u), u = (word + 0.5) / 2**32, exact to f32 at both ends.
inline float gumbel(uint word) {
  float near_one = ((float)(~word) + 0.5f) * 0x1p-32f;
  float near_zero = ((float)word + 0.5f) * 0x1p-32f;
  float rate = word & 0x80000000u ? -log1p(-near_one) : -log(near_zero);
  return -log(rate);
}

typedef struct {
  int count[256];
  int low[256], middle[256], high[256];  // masses in pieces of 13 bits
} Histogram;

inline void add_mass(__local Histogram *h, uint digit, ulong mass) {
  atomic_add(&h->low[digit], (int)(mass & 8191));
  atomic_add(&h->middle[digit], (int)(mass >> 13 & 8191));
  atomic_add(&h->high[digit], (int)(mass >> 26));
}

inline ulong mass_of(__local const Histogram *h, int digit) {
  return (ulong)(uint)h->low[digit] + ((ulong)(uint)h->middle[digit] << 13) +
         ((ulong)(uint)h->high[digit] << 26);
}

inline ulong quantum(float x, float peak, float temperature) {
  return (ulong)(exp((x - peak) / temperature) * ONE);
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void sample(
    __global const float *logits, __global const int *broken, int V, __global const int *columns,
    int alternatives, __global int *results, __global int *registers) {
  int row = get_group_id(0), l = get_local_id(0);
  __global const float *x = logits + (size_t)row * V;
  __global const int *column = columns + COLUMNS * row;
  __global int *result = results + (size_t)row * (3 + 2 * alternatives);
  int target = column[1], top_k = column[3], wanted = column[9];
  float temperature = as_float(column[2]), top_p = as_float(column[4]);
  float min_p = as_float(column[5]);

  __local float best[GROUP];
  __local int winner[GROUP];
  __local int wrong[GROUP];
  __local Histogram h;
  __local Place prefix, cut;
  __local ulong left, total;
  __local int found;

  // The largest logit, the lowest id of it, and whether there is NaN.
  float peak = -INFINITY;
  int first = V, bad = 0;
  for (int v = l; v < V; v += GROUP) {
    float value = x[v];
    bad |= isnan(value);
    if (value > peak || first == V && !isnan(value)) {
      peak = value;
      first = v;
    }
  }
  best[l] = peak;
  winner[l] = first;
  wrong[l] = bad;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (l == 0) {
    for (int i = 1; i < GROUP; i++) {
      if (best[i] > best[0] || (best[i] == best[0] && winner[i] < winner[0])) {
        best[0] = best[i];
        winner[0] = winner[i];
      }
      wrong[0] |= wrong[i];
    }
    wrong[0] |= broken[row] || isinf(best[0]);
    if (winner[0] == V) winner[0] = 0;
    cut.key = 0;
    cut.tie = 0;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  peak = best[0];
  int id = winner[0];
  bool finite = !wrong[0];
  barrier(CLK_LOCAL_MEM_FENCE);

  bool draws = target < 0 && temperature != 0.0f && finite;
  // Two cuts: first by count (top-k), then by mass (top-p).
  for (int by_mass = 0; by_mass < 2; by_mass++) {
    bool cuts = draws && (by_mass ? top_p < 1.0f : top_k > 0 && top_k < V);
    if (!cuts) continue;
    barrier(CLK_LOCAL_MEM_FENCE);
    Place least = cut;
    if (l == 0) {
      prefix.key = 0;
      prefix.tie = 0;
      left = (ulong)top_k;
      found = 0;
    }
    for (int digit = 0; digit < 8; digit++) {
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int i = l; i < 256; i += GROUP) h.count[i] = h.low[i] = h.middle[i] = h.high[i] = 0;
      barrier(CLK_LOCAL_MEM_FENCE);
      Place under = prefix;
      for (int v = l; v < V; v += GROUP) {
        uint key = key_of(x[v]), tie = ~(uint)v;
        if (!in_prefix(key, tie, under, digit) || !at_least(key, tie, least)) continue;
        uint d = digit_of(key, tie, digit);
        atomic_inc(&h.count[d]);
        if (by_mass) add_mass(&h, d, quantum(x[v], peak, temperature));
      }
      barrier(CLK_LOCAL_MEM_FENCE);
      if (l == 0) {
        if (by_mass && digit == 0) {
          total = 0;
          for (int i = 0; i < 256; i++) total += mass_of(&h, i);
          ulong share = (ulong)(top_p * 16777216.0f);
          left = max((ulong)1, mul_hi(total, share << 40));
        }
        int d = 255;
        for (; d > 0; d--) {
          ulong here = by_mass ? mass_of(&h, d) : (ulong)h.count[d];
          if (here >= left) break;
          left -= here;
        }
        while (h.count[d] == 0 && d < 255) d++;  // rounding left a rest that nobody has
        prefix = with_digit(prefix, (uint)d, digit);
        found = h.count[d] == 1 || (!by_mass && (ulong)h.count[d] == left);
      }
      barrier(CLK_LOCAL_MEM_FENCE);
      if (found) break;
    }
    if (l == 0) cut = prefix;
    barrier(CLK_LOCAL_MEM_FENCE);
  }

  if (draws) {
    float most = min_p > 0.0f ? log(min_p) : -INFINITY;
    float high = -INFINITY;
    int drawn = V;
    uint2 seed = (uint2)((uint)column[6], (uint)column[7]);
    for (int g = l; 4 * g < V; g += GROUP) {
      float score[4];
      bool any = false;
      for (int i = 0; i < 4; i++) {
        int v = 4 * g + i;
        score[i] = -INFINITY;
        if (v >= V) continue;
        float relative = (x[v] - peak) / temperature;
        if (relative < -27.0f || relative < most || !at_least(key_of(x[v]), ~(uint)v, cut)) continue;
        score[i] = relative;
        any = true;
      }
      if (!any) continue;
      uint4 words = philox((uint4)((uint)g, (uint)column[8], 0, 0), seed);
      uint word[4] = {words.s0, words.s1, words.s2, words.s3};
      for (int i = 0; i < 4; i++) {
        if (score[i] == -INFINITY) continue;
        float value = score[i] + gumbel(word[i]);
        if (value > high) {
          high = value;
          drawn = 4 * g + i;
        }
      }
    }
    best[l] = high;
    winner[l] = drawn;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (l == 0)
      for (int i = 1; i < GROUP; i++)
        if (best[i] > best[0] || (best[i] == best[0] && winner[i] < winner[0])) {
          best[0] = best[i];
          winner[0] = winner[i];
        }
    barrier(CLK_LOCAL_MEM_FENCE);
    id = winner[0];
  }
  if (target >= 0) id = target;
  if (l == 0) {
    result[0] = id;
    result[1] = !finite;
    result[2] = as_int(NAN);
    if (column[0] >= 0) registers[column[0]] = id;
    for (int i = 0; i < alternatives; i++) {
      result[3 + i] = -1;
      result[3 + alternatives + i] = as_int(NAN);
    }
  }
  bool scores = finite && (target >= 0 || wanted >= 0);
  if (scores) {
    float sum = 0.0f;
    for (int v = l; v < V; v += GROUP) sum += exp(x[v] - peak);
    barrier(CLK_LOCAL_MEM_FENCE);
    best[l] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    sum = 0.0f;
    for (int i = 0; i < GROUP; i++) sum += best[i];
    float norm = peak + log(sum);
    if (l == 0) result[2] = as_int(x[id] - norm);
    uint last_key = 0xffffffffu, last_tie = 0xffffffffu;
    for (int rank = 0; rank < min(wanted, V); rank++) {
      uint key = 0, tie = 0;
      for (int v = l; v < V; v += GROUP) {
        uint k = key_of(x[v]), t = ~(uint)v;
        bool below = k < last_key || (k == last_key && t < last_tie);
        if (below && (k > key || (k == key && t > tie))) {
          key = k;
          tie = t;
        }
      }
      barrier(CLK_LOCAL_MEM_FENCE);
      winner[l] = (int)key;
      wrong[l] = (int)tie;
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int i = 0; i < GROUP; i++) {
        uint k = (uint)winner[i], t = (uint)wrong[i];
        if (k > key || (k == key && t > tie)) {
          key = k;
          tie = t;
        }
      }
      last_key = key;
      last_tie = tie;
      if (l == 0) {
        result[3 + rank] = (int)~tie;
        result[3 + alternatives + rank] = as_int(x[~tie] - norm);
      }
    }
  }
}
