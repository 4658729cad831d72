// The measured choice: the nearest row of the same kind, and none where nothing is near.
#include "kernels/conv2d/conv2d_choices.h"

#include <gtest/gtest.h>

namespace mono {
namespace {

constexpr ConvPass kPass = ConvPass::fprop;

const ConvChoice kTable[] = {
    {"amx", kPass, DType::f32, {8, 32, 32, 96, 192, 1, 1, 1, 0, 384, 192}, ConvVariant::onednn},
    {"amx", kPass, DType::f32, {8, 16, 16, 768, 192, 1, 1, 1, 0, 768, 192}, ConvVariant::reference},
    {"amx",
     kPass,
     DType::f32,
     {8, 32, 32, 240, 192, 1, 1, 1, 0, 384, 192},
     ConvVariant::implicit_gemm},
    {"sm_90", kPass, DType::f32, {8, 32, 32, 96, 192, 1, 1, 1, 0, 384, 192}, ConvVariant::naive},
};

const ConvChoice* find(ConvProblem p, std::string_view machine = "amx", ConvPass pass = kPass,
                       DType dtype = DType::f32) {
  return nearest_choice(kTable, machine, pass, p, dtype);
}

TEST(Conv2dChoices, TheNearestRowOfTheSameKind) {
  const ConvProblem slice{8, 32, 32, 96, 192, 1, 1, 1, 0, 384, 192};
  EXPECT_EQ(find(slice), &kTable[0]);
  EXPECT_EQ(find(slice, "sm_90"), &kTable[3]);
  ConvProblem wider = slice;
  wider.C = 200;
  EXPECT_EQ(find(wider), &kTable[2]);
  ConvProblem packed = slice;
  packed.C = packed.ldx = 500;
  EXPECT_EQ(find(packed), &kTable[1]);
}

TEST(Conv2dChoices, NothingNear) {
  const ConvProblem slice{8, 32, 32, 96, 192, 1, 1, 1, 0, 384, 192};
  EXPECT_EQ(find(slice, "avx2"), nullptr);
  EXPECT_EQ(find(slice, "amx", ConvPass::dgrad), nullptr);
  EXPECT_EQ(find(slice, "amx", kPass, DType::bf16), nullptr);
  ConvProblem other = slice;
  other.R = other.S = 3;
  EXPECT_EQ(find(other), nullptr) << "another filter";
  other = slice;
  other.N = 8 * 17;
  EXPECT_EQ(find(other), nullptr) << "many more pixels";
}

}  // namespace
}  // namespace mono
