// The list of the models' convolutions, and that every variant of the CPU runs them.
#include "tests/kernels/model_problems.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <span>

namespace mono {
namespace {

TEST(ModelProblems, AreTheModels) {
  const auto densenet = densenet161_convolutions(1, 224);
  ASSERT_EQ(densenet.size(), 1u + 4 * 4 + 3);
  EXPECT_EQ(densenet.back().name, "block4.layer24.conv1");
  EXPECT_EQ(densenet.back().problem.C, 2208 - 48);
  EXPECT_EQ(densenet.back().problem.ldx, 2208);
  EXPECT_EQ(densenet.back().problem.H, 7);
  const auto resnet = resnet50_convolutions(1, 224);
  EXPECT_EQ(resnet.back().name, "layer4.1.conv3");
  EXPECT_EQ(resnet.back().problem.K, 2048);
  EXPECT_EQ(resnet.back().problem.H, 7);
}

// Whoever asks for a workspace gets one that the variant finds large enough.
TEST(ModelProblems, EveryVariantRunsInItsWorkspace) {
  for (const ModelConvolution& model : densenet161_convolutions(2, 64)) {
    const ConvProblem& p = model.problem;
    const int64_t in = int64_t{p.N} * p.H * p.W, out = int64_t{p.N} * p.P() * p.Q();
    const int ldx = std::max(p.C, p.ldx), ldy = std::max(p.K, p.ldy), offsets[] = {0, 1, p.N};
    const Segments segments{2, offsets};
    std::vector<float> x(in * ldx), y(out * ldy), w(int64_t{p.K} * p.R * p.S * p.C),
        tables(2 * std::max(p.C, p.K)), sums(2 * p.C);
    std::vector<float> dx = x, dy = y, g(out * p.K), dw = w;
    for (const ConvVariant variant :
         {ConvVariant::reference, ConvVariant::onednn, ConvVariant::implicit_gemm})
      for (const ConvPass pass : {ConvPass::fprop, ConvPass::dgrad, ConvPass::wgrad}) {
        if (!conv2d_supports(Device::cpu, variant, pass, p, DType::f32)) continue;
        SCOPED_TRACE(model.name + " " + std::string(name_of(variant)));
        const size_t bytes = conv2d_workspace_bytes(variant, pass, p, DType::f32, 2);
        void* memory = std::aligned_alloc(256, (bytes + 256) / 256 * 256);
        const std::span<std::byte> workspace(static_cast<std::byte*>(memory), bytes);
        const ScaleShiftRelu<float> relu{tables.data(), tables.data()};
        if (pass == ConvPass::fprop) {
          ConvFprop<float> args;
          args.x = x.data();
          args.w = w.data();
          args.y = y.data();
          args.segments = segments;
          if (model.fused) args.prologue = relu;
          EXPECT_NO_THROW(conv2d_fprop<float>(Stream{}, variant, p, args, workspace));
        } else if (pass == ConvPass::dgrad) {
          ConvDgrad<float, float> args;
          args.dy = dy.data();
          args.w = w.data();
          args.dx = dx.data();
          args.segments = segments;
          if (model.fused) {
            args.mask = relu;
            args.x = x.data();
            args.sum_dz = sums.data();
          }
          EXPECT_NO_THROW((conv2d_dgrad<float, float>(Stream{}, variant, p, args, workspace)));
        } else {
          ConvWgrad<float> args;
          args.x = x.data();
          args.g = g.data();
          args.ldg = p.K;
          args.dw = dw.data();
          args.segments = segments;
          if (model.fused) args.prologue = relu;
          EXPECT_NO_THROW(conv2d_wgrad<float>(Stream{}, variant, p, args, workspace));
        }
        std::free(memory);
      }
  }
}

}  // namespace
}  // namespace mono
