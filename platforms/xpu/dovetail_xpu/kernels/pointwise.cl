// Ops on one number at a time. T rows of W numbers; rows of the inputs are `step` numbers apart from `at`, the output is
// dense. One item per number.

inline float active(float x, int kind) {
  switch (kind) {
    case 0: return x / (1.0f + exp(-x));
    case 1: return 0.5f * x * (1.0f + erf(x * 0.70710678118654752f));
    case 2: {
      float inner = 0.79788456080286536f * (x + 0.044715f * x * x * x);
      return 0.5f * x * (1.0f + tanh(inner));
    }
    default: return isnan(x) ? x : fmax(x, 0.0f);
  }
}

#define AT(x) LOAD(VALUE, x, x##_at + (size_t)t * x##_step + w)
#define INPUT(x) __global const TYPE(VALUE) *x, int x##_at, int x##_step
#define PLACE                                      \
  int w = get_global_id(0), t = get_global_id(1); \
  if (w >= W) return
#define RETURN(value) STORE(VALUE, y, (size_t)t * W + w, value)

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
__kernel void part(INPUT(x), __global TYPE(VALUE) * y, int W, int inner, int line, int first) {
  PLACE;
  size_t from = x_at + (size_t)(t / inner) * x_step + (t % inner) * line + first + w;
  RETURN(LOAD(VALUE, x, from));
}
