// Weights by a formula of name and element index, which tools/golden/models.py repeats bit for bit:
// full-size models against PyTorch without a weight file. Elements are counted in PyTorch's layout.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/weights.h"

namespace mono::test {

inline uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  return hash;
}

// Values of a stream: splitmix64 of hash(name) + i * golden ratio.
class FormulaStream {
 public:
  explicit FormulaStream(std::string_view name) : hash_(fnv1a(name)) {}
  uint64_t bits(int64_t i) const {
    uint64_t z = hash_ + static_cast<uint64_t>(i + 1) * 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  double uniform(int64_t i) const { return static_cast<double>(bits(i) >> 11) * 0x1p-52 - 1; }

 private:
  uint64_t hash_;
};

// A weight or running statistic of the given name and PyTorch shape, rounded to float.
inline std::vector<double> formula_values(const std::string& name,
                                          const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (const int64_t extent : shape) n *= extent;
  double centre = 0, scale = 0.3;  // offsets, biases, running means
  if (shape.size() == 4) {
    scale = std::sqrt(6.0 / static_cast<double>(n / shape[0]));
  } else if (shape.size() == 2) {
    scale = std::sqrt(3.0 / static_cast<double>(shape[1]));
  } else if (name.ends_with("running_var")) {
    centre = 1, scale = 0.5;
  } else if (name.ends_with("weight")) {
    centre = 1;
  }
  const FormulaStream stream(name);
  std::vector<double> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    values[i] = static_cast<double>(static_cast<float>(centre + scale * stream.uniform(i)));
  return values;
}

// What is kept of a tensor: largest magnitude, Euclidean norm, product with a pseudo-random vector,
// and four elements.
using Fingerprint = std::array<double, 7>;

inline Fingerprint fingerprint(const std::string& name, const std::vector<double>& values) {
  const FormulaStream probe(name + ".probe"), sample(name + ".sample");
  double largest = 0, squares = 0, product = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    largest = std::isnan(values[i]) ? values[i] : std::max(largest, std::abs(values[i]));
    squares += values[i] * values[i];
    product += values[i] * probe.uniform(static_cast<int64_t>(i));
  }
  Fingerprint row = {largest, std::sqrt(squares), product};
  for (int j = 0; j < 4; ++j) row[3 + j] = values[sample.bits(j) % values.size()];
  return row;
}

inline std::vector<double> as_doubles(const Tensor& values) {
  std::vector<double> out(static_cast<size_t>(values.elements()));
  dispatch_activation(values.dtype(), [&]<class T>() {
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<double>(Master<T>(values.data<T>()[i]));
  });
  return out;
}

inline void assign(const Tensor& to, const std::vector<double>& values) {
  dispatch_activation(to.dtype(), [&]<class T>() {
    for (size_t i = 0; i < values.size(); ++i)
      to.data<T>()[i] = static_cast<T>(static_cast<Master<T>>(values[i]));
  });
}

// Gives an initialised model the formula's weights and running statistics.
inline void set_formula_weights(Model& model) {
  ParameterArena& arena = model.arena();
  for (const Parameter& p : arena.parameters()) {
    const NamedTensor theirs = to_pytorch(arena, arena.weights(), p, p.name);
    assign(theirs.values, formula_values(p.name, theirs.shape));
    from_pytorch(arena, arena.weights(), p, theirs.values);
  }
  for (const NamedTensor& buffer : running_statistics(model, ""))
    assign(buffer.values, formula_values(buffer.name, buffer.shape));
  arena.weights_changed();
}

// Images (N,H,W,C) of the formula "x", whose elements are counted as (N,C,H,W).
inline Tensor formula_images(int N, int size, int C, DType dtype) {
  const FormulaStream stream("x");
  const Tensor x = Tensor::empty({N, size, size, C}, dtype);
  const int64_t plane = int64_t{size} * size;
  std::vector<double> values(static_cast<size_t>(x.elements()));
  for (int n = 0; n < N; ++n)
    for (int64_t p = 0; p < plane; ++p)
      for (int c = 0; c < C; ++c)
        values[(n * plane + p) * C + c] = static_cast<double>(
            static_cast<float>(1.75 * stream.uniform((int64_t{n} * C + c) * plane + p)));
  assign(x, values);
  return x;
}

// Gradient of an output (N, classes): "dy", "dbatch".
inline Tensor formula_dy(const char* name, int N, int classes, DType dtype) {
  const FormulaStream stream(name);
  const Tensor dy = Tensor::empty({N, classes}, dtype);
  std::vector<double> values(static_cast<size_t>(dy.elements()));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(static_cast<float>(stream.uniform(static_cast<int64_t>(i))));
  assign(dy, values);
  return dy;
}

}  // namespace mono::test
