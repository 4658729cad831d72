// A small network of all functions, inputs shared between branches: f64 gradients by differences,
// and f32 and bf16 near f64.
#include <gtest/gtest.h>

#include "kernels/base/thread_pool.h"
#include "nn/functional/augmentation.h"
#include "nn/functional/convolution.h"
#include "nn/functional/dense_block.h"
#include "nn/functional/linear.h"
#include "nn/functional/pooling.h"
#include "nn/functional/precision.h"
#include "tests/kernels/gpu_test.h"
#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

// images -> 3x3 - norm - pool = a;  b = norm(3x3(a)) + norm(1x1(a));  dense block - pool - linear
struct Network {
  explicit Network(DType master, Device device = Device::cpu) {
    const auto filter = [&](const char* name, int K, int R, int C) {
      return &arena.add(name, {K, R, R, C}, Init::kaiming_normal_fan_in);
    };
    stem = filter("stem", 8, 3, 6);
    stem_norm = &norms.add(arena, "stem_norm", 8);
    path = filter("path", 12, 3, 8);
    path_norm = &norms.add(arena, "path_norm", 12);
    shortcut = filter("shortcut", 12, 1, 8);
    shortcut_norm = &norms.add(arena, "shortcut_norm", 12);
    for (int l = 0; l < 2; ++l) {
      const std::string name = "layer" + std::to_string(l);
      const NormLayer* norm1 = &norms.add(arena, name + "norm1", 12 + 8 * l);
      const Parameter* conv1 = filter((name + "conv1").c_str(), 16, 1, 12 + 8 * l);
      const NormLayer* norm2 = &norms.add(arena, name + "norm2", 16);
      block.push_back({norm1, conv1, norm2, filter((name + "conv2").c_str(), 8, 3, 16)});
    }
    last = &norms.add(arena, "last", 28);
    weight = &arena.add("fc.weight", {5, 28}, Init::linear_uniform);
    bias = &arena.add("fc.bias", {5}, Init::linear_uniform, true, 28);
    arena.allocate(master);
    test::randomise(arena);
    if (device != Device::cpu) {
      const Tensor weights = arena.weights();
      arena.allocate(master, device);
      arena.weights().copy_from(weights);
    }
  }

  Variable forward(const Variable& images, const ForwardContext& context) const {
    const ConvolutionResult y =
        convolution(images, *stem, context, {.pad = 1, .want_moments = true});
    Variable x = domain_batch_norm(y.y, *stem_norm, context, {.known = y.moments});
    x = max_pool(x, 3, 2, 1, context);
    const Variable side = domain_batch_norm(convolution(x, *shortcut, context, {.stride = 2}).y,
                                            *shortcut_norm, context, {.relu = false});
    x = domain_batch_norm(convolution(x, *path, context, {.stride = 2, .pad = 1}).y, *path_norm,
                          context, {.residual = side});
    const DenseBlockResult dense = dense_block(x, block, context);
    x = domain_batch_norm(dense.x, *last, context, {.known = dense.moments});
    return linear(global_average_pool(x, context), *weight, bias, context);
  }

  ParameterArena arena;
  NormLayers norms;
  const Parameter *stem, *path, *shortcut, *weight, *bias;
  const NormLayer *stem_norm, *path_norm, *shortcut_norm, *last;
  std::vector<DenseLayer> block;
};

const std::vector<int> kSegments = {0, 2, 5};

TEST(SmallNetwork, GradientIsTheDifferenceQuotient) {
  Network network(DType::f64);
  test::GradientCheck check{network.arena, {test::normal_tensor({5, 12, 11, 6}, 1)}, kSegments};
  check.elements = 6;
  check.tolerance = 1e-6;
  test::expect_gradients(check, [&](const std::vector<Variable>& x, const ForwardContext& context) {
    return network.forward(x[0], context);
  });
}

// Output, input gradient and all parameter gradients in doubles.
std::vector<std::vector<double>> run(DType dtype, Device device = Device::cpu) {
  Network network(master_of(dtype), device);
  const SegmentTable segments(kSegments, device);
  Tape tape;
  ForwardContext context{&tape, segments, {}};
  const Variable x(images_on(test::normal_tensor({5, 12, 11, 6}, 1, DType::bf16), dtype, device),
                   true);
  const Variable y = network.forward(x, context);
  y.seed_grad(converted(test::normal_tensor(y.shape(), 2, DType::bf16), dtype).to(device));
  const Tensor gradients = network.arena.new_array();
  network.arena.begin_gradients(gradients);
  tape.backward();
  network.arena.finish_gradients();
  std::vector<std::vector<double>> result;
  for (const Tensor& t : {y.value(), x.grad(), gradients}) {
    const Tensor wide = converted(t.to(Device::cpu), DType::f64);
    result.emplace_back(wide.span<double>().begin(), wide.span<double>().end());
  }
  return result;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, square = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    square += b[i] * b[i];
  }
  return std::sqrt(difference / square);
}

// bf16 keeps eight bits: a few percent after eight layers, and no sign change that would matter.
TEST(SmallNetwork, SinglePrecisionAndBf16AreNearDouble) {
  const auto exact = run(DType::f64), single = run(DType::f32), half = run(DType::bf16);
  const char* names[] = {"output", "input gradient", "parameter gradients"};
  for (size_t i = 0; i < 3; ++i) {
    if (i < 2) {  // the arenas differ in padding
      EXPECT_LT(distance(single[i], exact[i]), 1e-4) << names[i];
    }
    EXPECT_LT(distance(half[i], single[i]), i == 0 ? 0.03 : 0.2) << names[i];
    EXPECT_GT(distance(half[i], single[i]), 1e-4) << names[i] << ": was this bf16?";
  }
}

TEST(SmallNetwork, HasTheSameBitsWithAnyNumberOfThreads) {
  const int threads = num_threads();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    set_num_threads(1);
    const auto expected = run(dtype);
    for (const int n : {2, 3}) {
      set_num_threads(n);
      EXPECT_EQ(run(dtype), expected) << name_of(dtype) << ", " << n << " threads";
    }
  }
  set_num_threads(threads);
}

// The same network on the GPU, under every order of threads, blocks and streams: near the CPU's,
// and always the same bits.
TEST(SmallNetworkGpu, IsNearTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto cpu = run(dtype);
    std::vector<std::vector<double>> first;
    test::for_each_schedule_of_a_network([&] {
      const auto gpu = run(dtype, kGpu);
      synchronize(compute_stream(kGpu));
      if (first.empty()) first = gpu;
      EXPECT_EQ(gpu, first);
      for (size_t i = 0; i < 3; ++i)
        EXPECT_LT(distance(gpu[i], cpu[i]), dtype == DType::f32 ? 1e-4 : (i == 0 ? 0.03 : 0.2))
            << name_of(dtype) << " " << i;
    });
  }
}

}  // namespace
}  // namespace mono
