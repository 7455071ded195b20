// y[t] = table[ids[t] + offset]: rows of a table in TABLE (f32, f16, bf16, or i8 with a scale per row). One group per token.

__kernel void embed(__global const int *ids, __global const TYPE(TABLE) * table,
                    __global const float *scale, __global TYPE(VALUE) * y, int E, int offset) {
  int t = get_group_id(0), id = ids[t] + offset;
  __global const TYPE(TABLE) *from = table + (size_t)id * E;
#ifdef SCALED
  float factor = scale[id];
#else
  float factor = 1.0f;
#endif
  for (int e = get_local_id(0); e < E; e += get_local_size(0))
    STORE(VALUE, y, (size_t)t * E + e, LOAD(TABLE, from, e) * factor);
}

// y[n] = x[rows[n]]
__kernel void take_rows(__global const TYPE(VALUE) * x, int x_at, int x_step,
                        __global const int *rows, __global TYPE(VALUE) * y, int E) {
  int n = get_group_id(0);
  __global const TYPE(VALUE) *from = x + x_at + (size_t)rows[n] * x_step;
  for (int e = get_local_id(0); e < E; e += get_local_size(0)) STORE(VALUE, y, (size_t)n * E + e, LOAD(VALUE, from, e));
}

// y[n] = mean of x over the row starts[r] .. starts[r + 1] that token rows[n] is in
__kernel void mean_rows(__global const TYPE(VALUE) * x, int x_at, int x_step,
                        __global const int *starts, __global const int *rows,
                        __global TYPE(VALUE) * y, int E) {
  int n = get_group_id(0), r = 0;
  while (starts[r + 1] <= rows[n]) r++;
  for (int e = get_local_id(0); e < E; e += get_local_size(0)) {
    float sum = 0.0f;
    for (int t = starts[r]; t < starts[r + 1]; t++)
      sum += LOAD(VALUE, x, x_at + (size_t)t * x_step + e);
    STORE(VALUE, y, (size_t)n * E + e, sum / (starts[r + 1] - starts[r]));
  }
}
