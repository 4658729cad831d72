// Element types, and the accumulation type that goes with each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/base/bf16.h"
#include "kernels/base/error.h"

namespace mono {

enum class DType : uint8_t { f32, bf16, u8, i32, f64 };

constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::u8:
      return 1;
    case DType::i32:
      return 4;
    case DType::f64:
      return 8;
  }
  return 0;
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::u8:
      return "u8";
    case DType::i32:
      return "i32";
    case DType::f64:
      return "f64";
  }
  return "?";
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <class T>
inline constexpr DType kDTypeOf = DTypeOf<T>::value;

// What an activation of type T is computed and accumulated in; also the type of filters, batch-norm
// parameters, statistics and parameter gradients beside it: float for f32 and bf16, double for f64.
template <class T>
struct MasterOf {
  using type = float;
};
template <>
struct MasterOf<double> {
  using type = double;
};
template <class T>
using Master = typename MasterOf<T>::type;

constexpr DType master_of(DType activation) {
  return activation == DType::f64 ? DType::f64 : DType::f32;
}

// Calls f.operator()<T>() with the C++ type of an activation dtype (f32, bf16 or f64).
template <class F>
decltype(auto) dispatch_activation(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::bf16:
      return f.template operator()<bf16>();
    case DType::f64:
      return f.template operator()<double>();
    default:
      fail(ErrorKind::internal, "activations are f32, bf16 or f64, not {}", name_of(dtype));
  }
}

// The same for a master dtype (f32 or f64).
template <class F>
decltype(auto) dispatch_master(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::f64:
      return f.template operator()<double>();
    default:
      fail(ErrorKind::internal, "masters are f32 or f64, not {}", name_of(dtype));
  }
}

}  // namespace mono
