// The convolutions of the models at their real sizes: what bench_kernels times, and what the tests
// compare at a small image (model_problems_test.cpp).
#pragma once

#include <string>
#include <vector>

#include "kernels/conv2d/conv2d.h"

namespace mono {

struct ModelConvolution {
  std::string name;  // in the model, e.g. "block2.layer6.conv1"
  ConvProblem problem;
  bool fused;  // with BN-ReLU in the prologue, statistics, masks and sums, on slices of a buffer
};

// DenseNet-161 on images of size² pixels: the stem, each transition, and of each dense block the
// first, the middle and the last layer.
inline std::vector<ModelConvolution> densenet161_convolutions(int N, int size, int channels = 6) {
  constexpr int kGrowth = 48, kBottleneck = 4 * kGrowth, kLayers[] = {6, 12, 36, 24};
  std::vector<ModelConvolution> out;
  int C = 2 * kGrowth, side = size / 4;
  out.push_back({"stem", {N, size, size, channels, C, 7, 7, 2, 3}, false});
  for (int block = 0; block < 4 && side >= 1; ++block) {
    const int layers = kLayers[block], buffer = C + layers * kGrowth;
    for (int layer : {0, layers / 2, layers - 1}) {
      const std::string name = fmt::format("block{}.layer{}", block + 1, layer + 1);
      const int in = C + layer * kGrowth;
      out.push_back({name + ".conv1",
                     {N, side, side, in, kBottleneck, 1, 1, 1, 0, buffer, kBottleneck},
                     true});
      if (layer == 0)
        out.push_back({name + ".conv2",
                       {N, side, side, kBottleneck, kGrowth, 3, 3, 1, 1, kBottleneck, buffer},
                       true});
    }
    C = buffer;
    if (block == 3) break;
    out.push_back({fmt::format("transition{}", block + 1),
                   {N, side, side, C, C / 2, 1, 1, 1, 0, C, C / 2},
                   true});
    C /= 2;
    side /= 2;
  }
  return out;
}

// ResNet-50: every distinct convolution.
inline std::vector<ModelConvolution> resnet50_convolutions(int N, int size, int channels = 6) {
  std::vector<ModelConvolution> out;
  out.push_back({"stem", {N, size, size, channels, 64, 7, 7, 2, 3}, false});
  int side = size / 4, in = 64;
  for (int stage = 1; stage <= 4 && side >= 1; ++stage) {
    const int width = 32 << stage, wide = 4 * width, stride = stage == 1 ? 1 : 2;
    const std::string name = fmt::format("layer{}", stage);
    const int half = (side - 1) / stride + 1;
    out.push_back({name + ".0.conv1", {N, side, side, in, width, 1, 1}, false});
    out.push_back({name + ".0.conv2", {N, side, side, width, width, 3, 3, stride, 1}, false});
    out.push_back({name + ".0.downsample", {N, side, side, in, wide, 1, 1, stride, 0}, false});
    out.push_back({name + ".1.conv1", {N, half, half, wide, width, 1, 1}, false});
    if (stride == 2)
      out.push_back({name + ".1.conv2", {N, half, half, width, width, 3, 3, 1, 1}, false});
    out.push_back({name + ".1.conv3", {N, half, half, width, wide, 1, 1}, false});
    side = half;
    in = wide;
  }
  return out;
}

}  // namespace mono
