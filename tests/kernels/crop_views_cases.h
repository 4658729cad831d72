// What the tests of crop_views share: calls with vectors, OpenCV's results, seeded problems.
#pragma once

#include <fstream>
#include <string>

#include "kernels/crop_views/crop_views.h"
#include "tests/kernels/op_test.h"
#include "tests/paths.h"

namespace mono::test {

// A row of tests/data/golden/resize.csv (tools/golden/resize.py).
struct GoldenResize {
  int height = 1, width = 1, side = 1;
  uint32_t seed = 0;
  int vertical = 0, horizontal = 0, quarters = 0;
  uint64_t hash = 0;

  std::string name() const {
    return fmt::format("{} x {} to {}, flips {}{}, {} quarters", height, width, side, vertical,
                       horizontal, quarters);
  }
};

inline std::vector<GoldenResize> golden_resizes() {
  std::ifstream file(data_folder() + "/golden/resize.csv");
  std::vector<GoldenResize> rows;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    GoldenResize row;
    unsigned long long hash = 0;
    if (std::sscanf(line.c_str(), "%d,%d,%d,%u,%d,%d,%d,%llx", &row.height, &row.width, &row.side,
                    &row.seed, &row.vertical, &row.horizontal, &row.quarters, &hash) != 8)
      fail(ErrorKind::internal, "resize.csv: cannot read \"{}\"", line);
    row.hash = hash;
    rows.push_back(row);
  }
  return rows;
}

// The script's image, in a plane with a margin of other pixels around it.
struct GoldenPlane {
  int H, W;
  CropView view;
  std::vector<uint8_t> pixels;

  GoldenPlane(const GoldenResize& row, int margin)
      : H(row.height + 2 * margin),
        W(row.width + 3 * margin),
        view{.y = margin, .x = margin, .h = row.height, .w = row.width},
        pixels(static_cast<size_t>(H) * static_cast<size_t>(W), 201) {
    for (int i = 0; i < row.height * row.width; ++i) {
      uint32_t v = static_cast<uint32_t>(i) + row.seed * 0x9E3779B9u;
      v = (v ^ v >> 16) * 0x7FEB352Du;
      v = (v ^ v >> 15) * 0x846CA68Bu;
      pixels[static_cast<size_t>((margin + i / row.width) * W + margin + i % row.width)] =
          static_cast<uint8_t>(v >> 24);
    }
  }
};

inline uint64_t fnv1a(const std::vector<uint8_t>& bytes) {
  uint64_t value = 0xCBF29CE484222325;
  for (const uint8_t byte : bytes) value = (value ^ byte) * 0x100000001B3;
  return value;
}

// Problem, operands and views for it, in vectors.
struct CropViewsCase {
  CropViewsProblem p;
  std::vector<uint8_t> planes;
  std::vector<CropView> views;
  std::vector<float> gain, shift, mean, inv_std;

  // Random boxes, the whole image and single pixels among them; every element.
  explicit CropViewsCase(const CropViewsProblem& problem) : p(problem) {
    Philox random(7, Purpose::test);
    planes.resize(int64_t{p.N} * p.C * p.H * p.W);
    for (uint8_t& v : planes) v = static_cast<uint8_t>(random.below(256));
    for (int m = 0; m < p.M; ++m) {
      CropView view{.image = m * 5 % p.N, .h = p.H, .w = p.W, .dihedral = m % 8};
      if (m % 4 != 1) {
        view.h = 1 + static_cast<int>(random.below(p.H));
        view.w = m % 4 == 2 ? 1 : 1 + static_cast<int>(random.below(p.W));
        view.y = m % 3 == 0 ? p.H - view.h : static_cast<int>(random.below(p.H - view.h + 1));
        view.x = m % 3 == 0 ? p.W - view.w : static_cast<int>(random.below(p.W - view.w + 1));
      }
      views.push_back(view);
    }
    gain = normal_values<float>(p.M * p.C, 1, 1.0, 0.1);
    shift = normal_values<float>(p.M * p.C, 2, 0.0, 0.1);
    mean = normal_values<float>(p.N * p.C, 3, 0.1, 0.02);
    inv_std = normal_values<float>(p.N * p.C, 4, 20.0, 4.0);
    for (int i = 0; i < p.C && p.M > 1; ++i) gain[i] = 1, shift[i] = 0;  // view 0: no colour shift
  }
  int64_t size() const { return int64_t{p.M} * p.P * p.P * (p.ldy ? p.ldy : p.C); }

  template <class T>
  std::vector<T> run() const {
    Guarded<T> out(size(), 9.0);
    Scratch scratch(crop_views_workspace_bytes(Device::cpu, p, kDTypeOf<T>));
    crop_views<T>(p, planes.data(), views.data(), gain.data(), shift.data(), mean.data(),
                  inv_std.data(), out.data(), scratch.span());
    return out.copy();
  }
};

}  // namespace mono::test
