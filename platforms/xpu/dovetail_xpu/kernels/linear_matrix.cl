// y = x @ weight.T + bias by the matrix unit (XMX): sixteen-bit numbers, summed in f32. Arguments are those of linear.cl.
//
// VALUE is f16 or bf16; WEIGHT is VALUE, i8 or i4, laid out as for LANE in linear.cl: what an item reads of its output is what
// the unit wants of it. A group has GROUP / 16 sub-groups; each makes 16 outputs of 8 * TILES lines.
//
// Source: cl_intel_subgroup_matrix_multiply_accumulate (Khronos registry), version 1.0.

#define LANES 16
#pragma OPENCL EXTENSION cl_khr_fp16 : enable

// Sixteen weights as eight words of two VALUE each. Whole numbers up to 256 are exact in both types.
#define HALF_PAIRS_f16(x) as_int8(convert_half16(x))
#define HALF_PAIRS_bf16(x) as_int8(convert_ushort16(as_uint16(convert_float16(x)) >> 16))
#define PAIRS(x) PASTE(HALF_PAIRS_, VALUE)(x)

#ifdef EMULATED
// The unit's product, item by item: for devices that have sub-groups and no unit.
#define NUMBER_f16(bits) convert_float(as_half(bits))
#define NUMBER_bf16(bits) as_float((uint)(ushort)(bits) << 16)
#define NUMBER(bits) PASTE(NUMBER_, VALUE)(bits)
float8 multiply_add(short8 a, int8 b, float8 sum) {
  short lines[8], weights[16];
  float sums[8];
  vstore8(a, 0, lines);
  vstore16(as_short16(b), 0, weights);
  vstore8(sum, 0, sums);
  for (int k = 0; k < 16; k++)
    for (int r = 0; r < 8; r++)
      sums[r] += NUMBER(intel_sub_group_shuffle(lines[r], k)) * NUMBER(weights[k]);
  return vload8(0, sums);
}
#else
#define UNIT_f16 intel_sub_group_f16_f16_matrix_mad_k16
#define UNIT_bf16 intel_sub_group_bf16_bf16_matrix_mad_k16
#define multiply_add(a, b, sum) PASTE(UNIT_, VALUE)(a, b, sum)
#endif

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1), intel_reqd_sub_group_size(16))) void
linear_matrix(__global const TYPE(VALUE) * x, int x_at, int x_step, int inner, int lines, int I,
              __global const TYPE(WEIGHT) * weight, __global const float *scale,
              __global const float *zero, int group, __global const float *bias, int biased,
              __global TYPE(VALUE) * y, int O) {
  int lane = get_sub_group_local_id(), first = get_group_id(0) * 8 * TILES;
  int block = get_group_id(1) * (GROUP / LANES) + get_sub_group_id(), Ip = (I + 15) / 16 * 16;
  if (16 * block >= O) return;
  __global const ushort *bits = (__global const ushort *)x;
  float8 sums[TILES];
  for (int t = 0; t < TILES; t++) sums[t] = 0.0f;
#ifdef GROUPED
  float8 parts[TILES];
  for (int t = 0; t < TILES; t++) parts[t] = 0.0f;
#endif
  for (int k = 0; k < Ip; k += 16) {
    size_t at = ((size_t)block * Ip + k) * 16 + lane * 16;
#ifdef GROUPED
    size_t pair = ((size_t)block * (I / group) + k / group) * 16 + lane;
    uchar8 both = vload8(0, weight + at / 2);
    char16 some;
    some.even = as_char8(both & (uchar)15);
    some.odd = as_char8(both >> (uchar)4);
    int8 b = PAIRS(some - (char)zero[pair]);
#elif defined(SCALED)
    int8 b = PAIRS(vload16(0, weight + at));
#else
    int8 b = vload8(0, (__global const int *)(weight + at));
#endif
    for (int t = 0; t < TILES; t++) {
      short rows[8];
      for (int r = 0; r < 8; r++) {
        int n = first + 8 * t + r;
        size_t from = x_at + (size_t)(n / inner) * x_step + (size_t)(n % inner) * I + k + lane;
        rows[r] = n < lines && k + lane < I ? as_short(bits[from]) : (short)0;
      }
#ifdef GROUPED
      parts[t] = multiply_add(vload8(0, rows), b, parts[t]);
    }
    if ((k + 16) % group == 0)
      for (int t = 0; t < TILES; t++) {
        sums[t] += parts[t] * scale[pair];
        parts[t] = 0.0f;
      }
#else
      sums[t] = multiply_add(vload8(0, rows), b, sums[t]);
    }
#endif
  }
  int output = 16 * block + lane;
  if (output >= O) return;
  for (int t = 0; t < TILES; t++) {
    float column[8];
    vstore8(sums[t], 0, column);
    for (int r = 0; r < 8 && first + 8 * t + r < lines; r++) {
      float value = column[r];
#ifdef SCALED
      value *= scale[output];
#endif
      STORE(VALUE, y, (size_t)(first + 8 * t + r) * O + output, biased ? value + bias[output] : value);
    }
  }
}
