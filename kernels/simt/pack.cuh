// V neighbouring elements that a thread loads and stores as one word, 16 bytes at most.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/simt/simt.cuh"

namespace mono {

template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  static_assert(sizeof(T) * V <= 16);
  T value[V];
};

template <class T, int V>
__device__ __forceinline__ Pack<T, V> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T, V>*>(p);
}
template <class T, int V>
__device__ __forceinline__ void store_pack(T* p, const Pack<T, V>& pack) {
  *reinterpret_cast<Pack<T, V>*>(p) = pack;
}

// Elements of T in 16 bytes.
template <class T>
inline constexpr int kPackWidth = static_cast<int>(16 / sizeof(T));

// Whether rows of C elements at `pitch` from base p can be read in packs of 16 bytes. A null
// pointer is an operand that is not there.
template <class T>
bool packs_fit(const T* p, int64_t pitch, int C) {
  return C % kPackWidth<T> == 0 && pitch % kPackWidth<T> == 0 &&
         reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

}  // namespace mono
