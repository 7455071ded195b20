// Keys [T, K, D] and values [T, K, Dv] of the step into their blocks: places[t] = block * S + offset. One group per token.
// Source: Kwon et al. 2023, section 4.
__kernel void kv_write(__global const TYPE(VALUE) * k, int k_at, int k_step,
                       __global const TYPE(VALUE) * v, int v_at, int v_step,
                       __global const int *places, __global TYPE(KV) * keys,
                       __global TYPE(KV) * values, int key_width, int value_width) {
  int t = get_group_id(0), l = get_local_id(0), L = get_local_size(0);
  size_t place = places[t];
  for (int i = l; i < key_width; i += L)
    STORE(KV, keys, place * key_width + i, LOAD(VALUE, k, k_at + (size_t)t * k_step + i));
  for (int i = l; i < value_width; i += L)
    STORE(KV, values, place * value_width + i, LOAD(VALUE, v, v_at + (size_t)t * v_step + i));
}
