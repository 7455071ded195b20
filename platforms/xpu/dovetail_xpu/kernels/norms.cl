// Norms over lines of W numbers; `inner` lines to a row of the input, rows `step` numbers apart. One group per line.
// Statistics are f32. Sources: Zhang and Sennrich 2019, equation 4; Ba, Kiros and Hinton 2016, equation 3.

#define LINE(x) (x + x##_at + (size_t)(n / inner) * x##_step + (size_t)(n % inner) * W)
#define INPUT(x) __global const TYPE(VALUE) *x, int x##_at, int x##_step

inline float total(float mine, __local float *sums, int l) {
#ifdef SUBGROUP
  float some = sub_group_reduce_add(mine);
  if (get_sub_group_local_id() == 0) sums[get_sub_group_id()] = some;
  int parts = get_num_sub_groups();
#else
  sums[l] = mine;
  int parts = GROUP;
#endif
  barrier(CLK_LOCAL_MEM_FENCE);
  float sum = 0.0f;
  for (int i = 0; i < parts; i++) sum += sums[i];
  barrier(CLK_LOCAL_MEM_FENCE);
  return sum;
}

#ifdef SUBGROUP
#define SIZED __attribute__((reqd_work_group_size(GROUP, 1, 1), intel_reqd_sub_group_size(SUBGROUP)))
#else
#define SIZED __attribute__((reqd_work_group_size(GROUP, 1, 1)))
#endif

__kernel SIZED void rms_norm(INPUT(x), __global const float *weight, __global TYPE(VALUE) * y,
                             int W, int inner, float eps) {
  __local float sums[GROUP];
  int n = get_group_id(0), l = get_local_id(0);
  __global const TYPE(VALUE) *line = LINE(x);
  float mine = 0.0f;
  for (int w = l; w < W; w += GROUP) {
    float value = LOAD(VALUE, line, w);
    mine += value * value;
  }
  float norm = 1.0f / sqrt(total(mine, sums, l) / W + eps);
  for (int w = l; w < W; w += GROUP)
    STORE(VALUE, y, (size_t)n * W + w, LOAD(VALUE, line, w) * norm * weight[w]);
}

// The sum is rounded to its storage type first: what is normalised is what the next layer adds to.
__kernel SIZED void add_rms_norm(INPUT(x), INPUT(residual), __global const float *weight,
                                 __global TYPE(VALUE) * y, __global TYPE(VALUE) * sum, int W,
                                 int inner, float eps) {
  __local float sums[GROUP];
  int n = get_group_id(0), l = get_local_id(0);
  __global const TYPE(VALUE) *a = LINE(x), *b = LINE(residual);
  __global TYPE(VALUE) *kept = sum + (size_t)n * W;
  float mine = 0.0f;
  for (int w = l; w < W; w += GROUP) {
    STORE(VALUE, kept, w, LOAD(VALUE, a, w) + LOAD(VALUE, b, w));
    float value = LOAD(VALUE, kept, w);
    mine += value * value;
  }
  float norm = 1.0f / sqrt(total(mine, sums, l) / W + eps);
  for (int w = l; w < W; w += GROUP)
    STORE(VALUE, y, (size_t)n * W + w, LOAD(VALUE, kept, w) * norm * weight[w]);
}

__kernel SIZED void layer_norm(INPUT(x), __global const float *weight, __global const float *bias,
                               int biased, __global TYPE(VALUE) * y, int W, int inner, float eps) {
  __local float sums[GROUP];
  int n = get_group_id(0), l = get_local_id(0);
  __global const TYPE(VALUE) *line = LINE(x);
  float mine = 0.0f;
  for (int w = l; w < W; w += GROUP) mine += LOAD(VALUE, line, w);
  float mean = total(mine, sums, l) / W;
  mine = 0.0f;
  for (int w = l; w < W; w += GROUP) {
    float centred = LOAD(VALUE, line, w) - mean;
    mine += centred * centred;
  }
  float norm = 1.0f / sqrt(total(mine, sums, l) / W + eps);
  for (int w = l; w < W; w += GROUP) {
    float value = (LOAD(VALUE, line, w) - mean) * norm * weight[w];
    STORE(VALUE, y, (size_t)n * W + w, biased ? value + bias[w] : value);
  }
}
