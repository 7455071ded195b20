// Sampled rows of the logits as f32, after edits and masks (dovetail.platform.LateEdits). One group per row.
//
// logits  [N, V]      VALUE  lines `step` apart from `at`
// rows    [n]                the line of each sampled row
// plan    [n, 3]             first edit, edits, index of the mask or -1
// ids, factors, addends [e]  edits in the order of their rows
// masks   [m, words]         bit id & 31 of word id >> 5 allows the id
// y       [n, V]      f32
// broken  [n]                1 where the row held NaN or +inf before it was edited
__kernel void edited_rows(__global const TYPE(VALUE) * logits, int at, int step, int V,
                          __global const int *rows, __global const int *plan,
                          __global const int *ids, __global const float *factors,
                          __global const float *addends, __global const uint *masks, int words,
                          __global float *y, __global int *broken) {
  int i = get_group_id(0);
  int l = get_local_id(0), L = get_local_size(0);
  __global const TYPE(VALUE) *x = logits + at + (size_t)rows[i] * step;
  __global float *out = y + (size_t)i * V;
  __local int wrong;
  if (l == 0) wrong = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  int seen = 0;
  for (int v = l; v < V; v += L) {
    float value = LOAD(VALUE, x, v);
    out[v] = value;
    seen |= isnan(value) || (isinf(value) && value > 0.0f);
  }
  if (seen) wrong = 1;
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  if (l == 0) broken[i] = wrong;
  int first = plan[3 * i], count = plan[3 * i + 1], mask = plan[3 * i + 2];
  for (int e = first + l; e < first + count; e += L) {
    float value = out[ids[e]];
    value = value > 0.0f ? value / factors[e] : value * factors[e];
    out[ids[e]] = value + addends[e];
  }
  barrier(CLK_GLOBAL_MEM_FENCE);
  if (mask >= 0)
    for (int v = l; v < V; v += L)
      if (!(masks[(size_t)mask * words + (v >> 5)] >> (v & 31) & 1) && !isnan(out[v]))
        out[v] = -INFINITY;
}

// y[i] = x[rows[i]], from VALUE to f32. One group per row.
__kernel void fetched_rows(__global const TYPE(VALUE) * x, int at, int step, int W,
                           __global const int *rows, __global float *y) {
  int i = get_group_id(0);
  __global const TYPE(VALUE) *line = x + at + (size_t)rows[i] * step;
  for (int w = get_local_id(0); w < W; w += get_local_size(0))
    y[(size_t)i * W + w] = LOAD(VALUE, line, w);
}
