// Ops on one number at a time. T rows of W numbers; rows of the inputs are `step` numbers apart from `at`, the output is
// dense. An item takes VEC numbers of a row: 16 where items are threads of a CPU, one where they are lanes of a GPU.

#if VEC == 16
typedef float16 wide;
#define EXP(x) exp16(x)
#else
typedef float wide;
#define EXP(x) exp(x)
#endif

inline wide active(wide x, int kind) {
  switch (kind) {
    case 0: return x / (1.0f + EXP(-x));
    case 1: return 0.5f * x * (1.0f + erf(x * 0.70710678118654752f));
    case 2: return x / (1.0f + EXP(-1.59576912160573072f * (x + 0.044715f * x * x * x)));
    default: return isnan(x) ? x : fmax(x, 0.0f);
  }
}

// Numbers w .. w + VEC of a line of W, zeros past its end.
inline wide part(__global const TYPE(VALUE) * line, int w, int W) {
#if VEC == 16
  if (w + 16 <= W) return LOAD16(VALUE, line, w);
  float some[16];
  for (int i = 0; i < 16; i++) some[i] = w + i < W ? LOAD(VALUE, line, w + i) : 0.0f;
  return vload16(0, some);
#else
  return LOAD(VALUE, line, w);
#endif
}

inline void keep(__global TYPE(VALUE) * line, int w, int W, wide x) {
#if VEC == 16
  if (w + 16 <= W) {
    STORE16(VALUE, line, w, x);
    return;
  }
  float some[16];
  vstore16(x, 0, some);
  for (int i = 0; w + i < W; i++) STORE(VALUE, line, w + i, some[i]);
#else
  STORE(VALUE, line, w, x);
#endif
}

#define AT(x) part(x + x##_at + (size_t)t * x##_step, w, W)
#define INPUT(x) __global const TYPE(VALUE) *x, int x##_at, int x##_step
#define PLACE                                           \
  int w = VEC * get_global_id(0), t = get_global_id(1); \
  if (w >= W) return
#define RETURN(value) keep(y + (size_t)t * W, w, W, value)

// kind: 0 silu, 1 gelu, 2 gelu_tanh, 3 relu
__kernel void activation(INPUT(x), __global TYPE(VALUE) * y, int W, int kind) {
  PLACE;
  RETURN(active(AT(x), kind));
}

__kernel void gated_activation(INPUT(gate), INPUT(up), __global TYPE(VALUE) * y, int W, int kind) {
  PLACE;
  RETURN(active(AT(gate), kind) * AT(up));
}

__kernel void add(INPUT(a), INPUT(b), __global TYPE(VALUE) * y, int W) {
  PLACE;
  RETURN(AT(a) + AT(b));
}

__kernel void mul(INPUT(a), INPUT(b), __global TYPE(VALUE) * y, int W) {
  PLACE;
  RETURN(AT(a) * AT(b));
}

__kernel void scale(INPUT(x), __global TYPE(VALUE) * y, int W, float factor) {
  PLACE;
  RETURN(AT(x) * factor);
}

__kernel void soft_cap(INPUT(x), __global TYPE(VALUE) * y, int W, float cap) {
  PLACE;
  RETURN(tanh(AT(x) / cap) * cap);
}

__kernel void hyperbolic_tangent(INPUT(x), __global TYPE(VALUE) * y, int W) {
  PLACE;
  RETURN(tanh(AT(x)));
}

// Columns first .. first + W of lines of `line` numbers, `inner` lines in a row of the input.
__kernel void columns(INPUT(x), __global TYPE(VALUE) * y, int W, int inner, int line, int first) {
  PLACE;
  size_t from = x_at + (size_t)(t / inner) * x_step + (t % inner) * line + first;
  RETURN(part(x + from, w, W));
}
