// Numbers in memory are of a storage type, f32, f16 or bf16; all arithmetic is in f32. Needs OpenCL 1.2 and nothing else:
// half is only loaded and stored, bf16 is 16 bits of an f32. TYPE(T), LOAD(T, p, i), STORE(T, p, i, x) and their forms
// for 4 and 16 numbers take the name of a storage type, usually a macro that the launcher defines.

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

#define TYPE(T) PASTE(TYPE_, T)
#define LOAD(T, p, i) PASTE(LOAD_, T)(p, i)
#define LOAD4(T, p, i) PASTE(LOAD4_, T)(p, i)
#define LOAD16(T, p, i) PASTE(LOAD16_, T)(p, i)
#define STORE(T, p, i, x) PASTE(STORE_, T)(p, i, x)
#define STORE4(T, p, i, x) PASTE(STORE4_, T)(p, i, x)
#define STORE16(T, p, i, x) PASTE(STORE16_, T)(p, i, x)

#define TYPE_f32 float
#define LOAD_f32(p, i) ((p)[i])
#define LOAD4_f32(p, i) vload4(0, (p) + (i))
#define LOAD16_f32(p, i) vload16(0, (p) + (i))
#define STORE_f32(p, i, x) ((p)[i] = (x))
#define STORE4_f32(p, i, x) vstore4(x, 0, (p) + (i))
#define STORE16_f32(p, i, x) vstore16(x, 0, (p) + (i))

#define TYPE_f16 half
#define LOAD_f16(p, i) vload_half(0, (p) + (i))
#define LOAD4_f16(p, i) vload_half4(0, (p) + (i))
#define LOAD16_f16(p, i) vload_half16(0, (p) + (i))
#define STORE_f16(p, i, x) vstore_half_rte(x, 0, (p) + (i))
#define STORE4_f16(p, i, x) vstore_half4_rte(x, 0, (p) + (i))
#define STORE16_f16(p, i, x) vstore_half16_rte(x, 0, (p) + (i))

#define TYPE_bf16 ushort
#define LOAD_bf16(p, i) as_float((uint)(p)[i] << 16)
#define LOAD4_bf16(p, i) as_float4(convert_uint4(vload4(0, (p) + (i))) << 16)
#define LOAD16_bf16(p, i) as_float16(convert_uint16(vload16(0, (p) + (i))) << 16)
#define STORE_bf16(p, i, x) ((p)[i] = to_bf16(x))
#define STORE4_bf16(p, i, x) vstore4(to_bf16_4(x), 0, (p) + (i))
#define STORE16_bf16(p, i, x) vstore16(to_bf16_16(x), 0, (p) + (i))

// Weights: eight bits, and two numbers of four bits in a byte.
#define TYPE_i8 char
#define LOAD_i8(p, i) ((float)(p)[i])
#define LOAD16_i8(p, i) convert_float16(vload16(0, (p) + (i)))
#define TYPE_i4 uchar

// To the nearest, ties to even; NaN stays NaN.
inline ushort to_bf16(float x) {
  uint bits = as_uint(x);
  uint rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return isnan(x) ? (ushort)0x7fc0 : (ushort)rounded;
}
inline ushort4 to_bf16_4(float4 x) {
  return (ushort4)(to_bf16(x.s0), to_bf16(x.s1), to_bf16(x.s2), to_bf16(x.s3));
}
inline ushort16 to_bf16_16(float16 x) {
  uint16 bits = as_uint16(x);
  uint16 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return convert_ushort16(select(rounded, (uint16)0x7fc0u, isnan(x)));
}

inline float sum16(float16 x) {
  float8 a = x.lo + x.hi;
  float4 b = a.lo + a.hi;
  float2 c = b.lo + b.hi;
  return c.x + c.y;
}
inline float max16(float16 x) {
  float8 a = fmax(x.lo, x.hi);
  float4 b = fmax(a.lo, a.hi);
  float2 c = fmax(b.lo, b.hi);
  return fmax(c.x, c.y);
}

// e**x of all sixteen at once, where some drivers make sixteen calls of exp. Within one unit of the last place; 0 below -104,
// inf above 88.8, NaN of NaN. Sources: Cody and Waite 1980, chapter 6 (ln 2 in two pieces); Moshier, Cephes, expf (polynomial).
inline float16 exp16(float16 x) {
  float16 within = fmin(fmax(x, -104.0f), 89.0f);
  float16 n = rint(within * 1.44269504f);
  float16 r = fma(n, (float16)-0.693145752f, within);
  r = fma(n, (float16)-1.42860677e-6f, r);
  float16 p = (float16)1.98756912e-4f;
  p = fma(p, r, (float16)1.39819994e-3f);
  p = fma(p, r, (float16)8.33345205e-3f);
  p = fma(p, r, (float16)4.16657962e-2f);
  p = fma(p, r, (float16)0.166666657f);
  p = fma(p, r, (float16)0.5f);
  p = fma(p * r, r, r) + 1.0f;
  int16 power = convert_int16(n), half_power = power >> 1;  // in two steps, since one would leave the exponents
  p *= as_float16((half_power + 127) << 23);
  p *= as_float16((power - half_power + 127) << 23);
  return select(p, x, isnan(x));
}
