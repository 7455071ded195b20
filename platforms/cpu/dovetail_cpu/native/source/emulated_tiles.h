// Tile registers (AMX) in plain C++, for tests of the kernels that use them on processors without any. Included before all else.
// Palette 1 with every tile 16 rows of 64 bytes, as the kernels configure it.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, the TILE and TDP instructions.

#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace emulated {

inline thread_local uint8_t tiles[8][16][64];

inline void load(int tile, const void* from, int64_t stride) {
  for (int r = 0; r < 16; ++r) std::memcpy(tiles[tile][r], static_cast<const uint8_t*>(from) + r * stride, 64);
}

inline void store(int tile, void* to, int64_t stride) {
  for (int r = 0; r < 16; ++r) std::memcpy(static_cast<uint8_t*>(to) + r * stride, tiles[tile][r], 64);
}

// c[m][n] += four products of signed bytes for each k
inline void add_bytes(int c, int a, int b) {
  for (int m = 0; m < 16; ++m) {
    int32_t sum[16];
    std::memcpy(sum, tiles[c][m], 64);
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < 16; ++n)
        for (int i = 0; i < 4; ++i)
          sum[n] += static_cast<int8_t>(tiles[a][m][4 * k + i]) * static_cast<int8_t>(tiles[b][k][4 * n + i]);
    std::memcpy(tiles[c][m], sum, 64);
  }
}

inline float bf16(const uint8_t* from) {
  uint32_t bits = static_cast<uint32_t>(from[0]) << 16 | static_cast<uint32_t>(from[1]) << 24;
  float number;
  std::memcpy(&number, &bits, 4);
  return number;
}

// c[m][n] += two products of bf16 for each k, in f32
inline void add_bf16(int c, int a, int b) {
  for (int m = 0; m < 16; ++m) {
    float sum[16];
    std::memcpy(sum, tiles[c][m], 64);
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < 16; ++n)
        for (int i = 0; i < 2; ++i) sum[n] += bf16(&tiles[a][m][4 * k + 2 * i]) * bf16(&tiles[b][k][4 * n + 2 * i]);
    std::memcpy(tiles[c][m], sum, 64);
  }
}

}  // namespace emulated

#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbssd
#undef _tile_dpbf16ps
#define _tile_loadconfig(config) static_cast<void>(config)
#define _tile_release() static_cast<void>(0)
#define _tile_loadd(tile, from, stride) emulated::load(tile, from, stride)
#define _tile_stream_loadd(tile, from, stride) emulated::load(tile, from, stride)
#define _tile_stored(tile, to, stride) emulated::store(tile, to, stride)
#define _tile_zero(tile) std::memset(emulated::tiles[tile], 0, sizeof emulated::tiles[tile])
#define _tile_dpbssd(c, a, b) emulated::add_bytes(c, a, b)
#define _tile_dpbf16ps(c, a, b) emulated::add_bf16(c, a, b)
