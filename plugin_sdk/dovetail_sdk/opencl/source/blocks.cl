// Whole blocks of `words` 32-bit words: block target[i] of y becomes block source[i] of x.
__kernel void copy_blocks(__global const uint *x, __global uint *y, __global const int *source,
                          __global const int *target, int words) {
  int i = get_group_id(1);
  int word = get_global_id(0);
  if (word < words)
    y[(size_t)target[i] * words + word] = x[(size_t)source[i] * words + word];
}
