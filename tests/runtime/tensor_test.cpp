// Shapes, views and pitches.
#include "runtime/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace mono {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensor counting(const Shape& shape) {
  const Tensor t = Tensor::empty(shape, DType::f32);
  std::iota(t.data<float>(), t.data<float>() + t.elements(), 0.0f);
  return t;
}

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::internal);
    return error.what();
  }
  return "no error";
}

TEST(Shape, CountsElementsAndRows) {
  const Shape image{2, 3, 5, 7};
  EXPECT_EQ(image.elements(), 210);
  EXPECT_EQ(image.rows(), 30);
  EXPECT_EQ(image.back(), 7);
  EXPECT_EQ(image.to_string(), "(2, 3, 5, 7)");
  EXPECT_EQ(Shape().elements(), 1);
  EXPECT_EQ((Shape{65536, 65536}).elements(), int64_t{1} << 32);
  EXPECT_EQ((Shape{4, 0, 3}).elements(), 0);
  EXPECT_NE((Shape{6}), (Shape{6, 1}));
  EXPECT_THAT(message_of([] { Shape{1, 2, 3, 4, 5}; }), HasSubstr("at most 4 extents, not 5"));
  EXPECT_THAT(message_of([] { Shape{3, -1}; }), HasSubstr("cannot be negative: -1"));
}

TEST(Tensor, AChannelSliceIsAPitchedView) {
  const Tensor x = counting({2, 2, 2, 6});
  const Tensor slice = x.channels(2, 5);
  EXPECT_EQ(slice.shape(), (Shape{2, 2, 2, 3}));
  EXPECT_EQ(slice.ld(), 6);
  EXPECT_FALSE(slice.packed());
  EXPECT_EQ(slice.data<float>(), x.data<float>() + 2);
  EXPECT_EQ(slice.storage(), x.storage());
  EXPECT_EQ(slice.to_string(), "f32 (2, 2, 2, 3) ld 6");
  EXPECT_EQ(slice.channels(1, 2).data<float>()[6], 9.0f);  // a slice of a slice, second pixel
  EXPECT_THAT(message_of([&] { slice.span<float>(); }), HasSubstr("pitched"));
  EXPECT_THAT(message_of([&] { slice.reshape({24}); }), HasSubstr("reshape"));
  EXPECT_THAT(message_of([&] { x.channels(4, 7); }), HasSubstr("channels [4, 7)"));
}

TEST(Tensor, ImagesKeepThePitch) {
  const Tensor x = counting({4, 3, 2, 5});
  const Tensor last = x.images(3, 4);
  EXPECT_TRUE(last.packed());
  EXPECT_EQ(last.data<float>()[0], 90.0f);
  const Tensor pitched = x.channels(1, 3).images(2, 4);
  EXPECT_EQ(pitched.shape(), (Shape{2, 3, 2, 2}));
  EXPECT_EQ(pitched.ld(), 5);
  EXPECT_EQ(pitched.data<float>()[0], 61.0f);
  const Tensor vector = counting({9}).images(4, 6);
  EXPECT_TRUE(vector.packed());
  EXPECT_THAT(vector.span<float>(), ElementsAre(4, 5));
  EXPECT_THAT(message_of([&] { x.images(3, 5); }), HasSubstr("images [3, 5)"));
}

TEST(Tensor, ReshapeAndRangeShareTheValues) {
  const Tensor x = counting({24});
  const Tensor table = x.range(4, {3, 2});
  EXPECT_THAT(table.span<float>(), ElementsAre(4, 5, 6, 7, 8, 9));
  EXPECT_EQ(table.ld(), 2);
  const Tensor square = x.reshape({2, 12}).images(1, 2).reshape({3, 4});
  EXPECT_EQ(square.data<float>()[0], 12.0f);
  EXPECT_THAT(message_of([&] { x.range(20, {5}); }), HasSubstr("range 20 + (5) of f32 (24)"));
  EXPECT_THAT(message_of([&] { x.reshape({5, 5}); }), HasSubstr("to (5, 5)"));
}

TEST(Tensor, ZeroOfASliceSparesItsNeighbours) {
  const Tensor x = counting({2, 4});
  x.channels(1, 3).zero();
  EXPECT_THAT(x.span<float>(), ElementsAre(0, 0, 0, 3, 4, 0, 0, 7));
}

TEST(Tensor, ViewsShareOneVersion) {
  const Tensor x = counting({2, 4});
  const Tensor view = x.channels(0, 2);
  const uint64_t before = x.version();
  view.zero();
  EXPECT_EQ(x.version(), before + 1);
  x.bump_version();
  EXPECT_EQ(view.version(), before + 2);
}

TEST(Tensor, TheTypeIsChecked) {
  const Tensor x = Tensor::empty({3}, DType::bf16);
  EXPECT_EQ(x.bytes(), 6);
  EXPECT_THAT(message_of([&] { x.data<float>(); }), HasSubstr("tensor is bf16, asked for f32"));
  EXPECT_THAT(message_of([] { Tensor().data<float>(); }), HasSubstr("undefined tensor"));
  EXPECT_EQ(Tensor().to_string(), "undefined tensor");
}

}  // namespace
}  // namespace mono
