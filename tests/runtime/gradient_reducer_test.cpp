#include "runtime/gradient_reducer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/runtime/fake_ranks.h"

namespace mono {
namespace {

using testing::ElementsAre;
using testing::Pair;

// What happened, in order: the names of parameters as their gradients are computed, and "send".
std::vector<std::string> events;

// Notes what is sent and, as if a second rank had the same gradient, doubles it.
class Recorder final : public test::FakeRanks {
 public:
  Recorder() : FakeRanks(2) {}
  void start_sum(const Tensor& piece) override {
    events.push_back("send");
    if (piece.dtype() == DType::f32) sent.emplace_back(piece.data<float>(), piece.elements());
    pieces.push_back(piece);
  }
  void finish_sums() override {
    for (const Tensor& piece : std::exchange(pieces, {}))
      if (piece.dtype() == DType::f32)
        for (float& v : piece.span<float>()) v *= 2;
      else
        for (bf16& v : piece.span<bf16>()) v = bf16(2 * static_cast<float>(v));
  }

  // (offset in the array, elements) of everything sent so far.
  std::vector<std::pair<int64_t, int64_t>> sent_of(const Tensor& array) const {
    std::vector<std::pair<int64_t, int64_t>> out;
    for (const auto& [at, elements] : sent) out.emplace_back(at - array.data<float>(), elements);
    return out;
  }

  std::vector<std::pair<const float*, int64_t>> sent;
  std::vector<Tensor> pieces;
};

// Three parameters; the arena keeps c first, then b, then a, each on 64 elements.
struct Three {
  ParameterArena arena;
  const Parameter &a, &b, &c;
  Three()
      : a(arena.add("a", {2}, Init::ones)),
        b(arena.add("b", {2}, Init::ones)),
        c(arena.add("c", {2}, Init::ones)) {
    arena.allocate(DType::f32);
  }
};

Tensor one_value() {
  const Tensor t = Tensor::empty({1}, DType::f32);
  *t.data<float>() = 1;
  return t;
}

// Records a use of each parameter, in order, whose gradient is `value`.
void use(Tape& tape, Variable& y, std::initializer_list<const Parameter*> parameters, float value) {
  for (const Parameter* p : parameters) {
    Variable next(one_value(), true);
    tape.writes({p});
    tape.record("use", {y}, {next}, {}, [p, value](Backward& backward) {
      events.push_back(p->name);
      const auto target = backward.gradient(*p);
      for (float& v : target.tensor.span<float>())
        v = value + (target.mode == GradMode::accumulate ? v : 0.0f);
      backward.done(*p);
      const auto dy = backward.target(0);
      if (dy.tensor.defined()) dy.tensor.span<float>()[0] = 1;
    });
    y = next;
  }
}

TEST(GradientReducer, SendsABucketAsSoonAsTheLastGroupHasFilledIt) {
  events.clear();
  Three p;
  Recorder ranks;
  GradientReducer reducer(p.arena, ranks, 2, {.bucket_bytes = 1});  // one parameter each
  EXPECT_EQ(reducer.buckets(), 3);
  for (int group = 0; group < 2; ++group) {
    Tape tape;
    Variable y(one_value(), true);
    use(tape, y, {&p.a, &p.b, &p.c}, static_cast<float>(group + 1));
    y.seed_grad(one_value());
    reducer.backward(tape);
    EXPECT_EQ(ranks.sent.size(), group == 0 ? 0u : 3u) << "only the last group sends";
  }
  EXPECT_THAT(events, ElementsAre("c", "b", "a", "c", "send", "b", "send", "a", "send"))
      << "while backward runs";
  const Tensor sum = reducer.sum();
  EXPECT_THAT(ranks.sent_of(sum),
              ElementsAre(Pair(p.c.offset, 64), Pair(p.b.offset, 64), Pair(p.a.offset, 64)));
  for (const Parameter* q : {&p.a, &p.b, &p.c})
    EXPECT_THAT(p.arena.view(sum, *q).span<float>(), ElementsAre(6, 6)) << q->name;
}

TEST(GradientReducer, AParameterThatIsUsedTwiceIsFinalAfterTheSecondUse) {
  events.clear();
  Three p;
  Recorder ranks;
  GradientReducer reducer(p.arena, ranks, 1, {.bucket_bytes = 1});
  Tape tape;
  Variable y(one_value(), true);
  use(tape, y, {&p.c, &p.a, &p.b, &p.c}, 1);  // backward: c, b, a, c
  y.seed_grad(one_value());
  reducer.backward(tape);
  // In the arena's order, and c only at the very end: b and a have waited for it.
  EXPECT_THAT(events, ElementsAre("c", "b", "a", "c", "send", "send", "send"));
  const Tensor sum = reducer.sum();
  EXPECT_THAT(ranks.sent_of(sum),
              ElementsAre(Pair(p.c.offset, 64), Pair(p.b.offset, 64), Pair(p.a.offset, 64)));
  EXPECT_THAT(p.arena.view(sum, p.c).span<float>(), ElementsAre(4, 4));
  EXPECT_THAT(p.arena.view(sum, p.a).span<float>(), ElementsAre(2, 2));
}

TEST(GradientReducer, WhatNothingWroteIsSentAsZeros) {
  Three p;
  Recorder ranks;
  GradientReducer reducer(p.arena, ranks, 1, {.bucket_bytes = 300});  // c and b, then a
  EXPECT_EQ(reducer.buckets(), 2);
  for (int step = 0; step < 2; ++step) {
    Tape tape;
    Variable y(one_value(), true);
    if (step == 0)
      use(tape, y, {&p.a, &p.b, &p.c}, 1);
    else  // into the same array
      use(tape, y, {&p.a, &p.c}, 1);
    y.seed_grad(one_value());
    reducer.backward(tape);
    const Tensor sum = reducer.sum();
    const float of_b = step == 0 ? 2 : 0;
    EXPECT_THAT(p.arena.view(sum, p.b).span<float>(), ElementsAre(of_b, of_b));
    EXPECT_THAT(p.arena.view(sum, p.a).span<float>(), ElementsAre(2, 2));
    EXPECT_THAT(ranks.sent_of(sum), ElementsAre(Pair(0, 128), Pair(128, 64)));
    ranks.sent.clear();
  }
}

TEST(GradientReducer, SendsGradientsRoundedToBf16WhereThatIsAskedFor) {
  Three p;
  Recorder ranks;
  GradientReducer reducer(p.arena, ranks, 1, {.bucket_bytes = 1, .as_bf16 = true});
  const float third = 1.0f / 3;
  for (int step = 0; step < 2; ++step) {
    Tape tape;
    Variable y(one_value(), true);
    use(tape, y, {&p.a, &p.b, &p.c}, third);
    y.seed_grad(one_value());
    reducer.backward(tape);
    ASSERT_EQ(ranks.pieces.size(), 3u);
    for (const Tensor& piece : ranks.pieces) EXPECT_EQ(piece.bytes(), 64 * 2);
    const Tensor sum = reducer.sum();
    const float expected = 2 * static_cast<float>(bf16(third));
    EXPECT_NE(expected, 2 * third);
    for (const Parameter* q : {&p.a, &p.b, &p.c})
      EXPECT_THAT(p.arena.view(sum, *q).span<float>(), ElementsAre(expected, expected));
  }
}

TEST(GradientReducer, AGradientThatNobodyAnnouncedIsAFault) {
  Three p;
  Tape tape;
  const Variable y(one_value(), true);
  tape.record("use", {}, {y}, {}, [q = &p.a](Backward& backward) {
    backward.gradient(*q).tensor.zero();
    backward.done(*q);
  });
  y.seed_grad(one_value());
  p.arena.begin_gradients(p.arena.new_array());
  EXPECT_THROW(tape.backward(), Error);
}

// Any number of groups, in any buckets: the bits of the tree.
TEST(GradientReducer, PiecesAddUpToTheTree) {
  for (const int groups : {1, 2, 3, 5, 8}) {
    Three p;
    GradientTree tree(p.arena);
    GradientReducer reducer(p.arena, single_process(), groups, {.bucket_bytes = 1});
    for (int g = 0; g < groups; ++g) {
      const float value = 1.0f / static_cast<float>(3 + g) * (g % 2 ? 1e4f : 1.0f);
      Tape tape;
      Variable y(one_value(), true);
      use(tape, y, {&p.a, &p.b, &p.c}, value);
      y.seed_grad(one_value());
      reducer.backward(tape);
      const Tensor leaf = tree.next_leaf();
      leaf.zero();
      for (const Parameter* q : {&p.a, &p.b, &p.c})
        for (float& v : p.arena.view(leaf, *q).span<float>()) v = value;
      tree.add(leaf);
    }
    const Tensor expected = tree.sum(), sum = reducer.sum();
    for (int64_t i = 0; i < p.arena.size(); ++i)
      ASSERT_EQ(sum.data<float>()[i], expected.data<float>()[i]) << groups << " groups, " << i;
  }
}

}  // namespace
}  // namespace mono
