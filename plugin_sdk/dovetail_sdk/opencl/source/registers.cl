// y[t] = tokens[t], or what slot ~tokens[t] sampled last.
__kernel void resolve_tokens(__global const int *tokens, __global const int *registers,
                             __global int *y) {
  int t = get_global_id(0);
  int token = tokens[t];
  y[t] = token < 0 ? registers[~token] : token;
}
