// The tape: order, targets, what is saved and for how long.
#include "runtime/tape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/allocator.h"

namespace mono {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Tensor values(std::initializer_list<float> list) {
  const Tensor t = Tensor::empty({static_cast<int>(list.size())}, DType::f32);
  std::copy(list.begin(), list.end(), t.data<float>());
  return t;
}

// y = factor * x elementwise; `log` receives factor when backward runs.
Variable scaled(const Variable& x, float factor, Tape& tape, std::vector<float>* log = nullptr,
                const char* op = "scaled") {
  const Variable y(Tensor::empty(x.shape(), x.dtype()), true);
  for (int64_t i = 0; i < x.value().elements(); ++i)
    y.value().data<float>()[i] = factor * x.value().data<float>()[i];
  tape.record(op, {x}, {y}, {x.value()}, [factor, log](Backward& b) {
    if (log) log->push_back(factor);
    const auto dx = b.target(0);
    if (!dx.tensor.defined()) return;
    const Tensor dy = b.grad();
    for (int64_t i = 0; i < dy.elements(); ++i) {
      float& to = dx.tensor.data<float>()[i];
      to = (dx.mode == GradMode::accumulate ? to : 0.0f) + factor * dy.data<float>()[i];
    }
  });
  return y;
}

TEST(Tape, RunsEntriesFromTheLastToTheFirst) {
  Tape tape;
  std::vector<float> log;
  const Variable x(values({1, 2}), true);
  const Variable y = scaled(scaled(scaled(x, 2, tape, &log), 3, tape, &log), 5, tape, &log);
  EXPECT_EQ(tape.entries(), 3u);
  y.seed_grad(values({1, 10}));
  tape.backward();
  EXPECT_THAT(log, ElementsAre(5, 3, 2));
  EXPECT_THAT(x.grad().span<float>(), ElementsAre(30, 300));
  EXPECT_EQ(tape.entries(), 0u);
  EXPECT_FALSE(y.grad().defined()) << "a consumed gradient is released";
}

TEST(Tape, TheFirstContributionOverwritesLaterOnesAccumulate) {
  Tape tape;
  const Variable x(values({1}), true);
  const Variable a = scaled(x, 2, tape), b = scaled(x, 3, tape), c = scaled(x, 7, tape);
  a.seed_grad(values({1}));
  b.seed_grad(values({10}));
  c.seed_grad(values({100}));
  tape.backward();
  EXPECT_THAT(x.grad().span<float>(), ElementsAre(732));
}

TEST(Tape, OneInputTwiceOfOneOperationReceivesBoth) {
  Tape tape;
  const Variable x(values({3}), true), y(values({9}), true);
  tape.record("square", {x, x}, {y}, {x.value()}, [](Backward& b) {
    const auto first = b.target(0), second = b.target(1);
    EXPECT_EQ(first.mode, GradMode::overwrite);
    EXPECT_EQ(second.mode, GradMode::accumulate);
    EXPECT_EQ(first.tensor.raw(), second.tensor.raw());
    *first.tensor.data<float>() = *b.saved(0).data<float>() * *b.grad().data<float>();
    *second.tensor.data<float>() += *b.saved(0).data<float>() * *b.grad().data<float>();
  });
  y.seed_grad(values({1}));
  tape.backward();
  EXPECT_THAT(x.grad().span<float>(), ElementsAre(6));
}

TEST(Tape, AnInputThatWantsNoGradientHasNoTarget) {
  Tape tape;
  const Variable x(values({3}), false), y(values({9}), true);
  tape.record("op", {x, Variable()}, {y}, {}, [](Backward& b) {
    for (size_t i : {0, 1}) {
      EXPECT_FALSE(b.wants(i));
      EXPECT_FALSE(b.target(i).tensor.defined());
      EXPECT_EQ(b.target(i).mode, GradMode::ignore);
    }
  });
  y.seed_grad(values({1}));
  tape.backward();
  EXPECT_FALSE(x.grad().defined());
}

TEST(Tape, SkipsEntriesThatNoGradientReached) {
  Tape tape;
  std::vector<float> log;
  const Variable x(values({1}), true);
  const Variable used = scaled(x, 2, tape, &log);
  scaled(scaled(x, 3, tape, &log), 5, tape, &log);  // nobody asks for this branch
  used.seed_grad(values({1}));
  tape.backward();
  EXPECT_THAT(log, ElementsAre(2));
  EXPECT_THAT(x.grad().span<float>(), ElementsAre(2));
  EXPECT_EQ(tape.entries(), 0u);
}

TEST(Tape, SeveralOutputsRunWhereOneWasReached) {
  Tape tape;
  const Variable x(values({1}), true), a(values({1}), true), b(values({1}), true);
  tape.record("split", {x}, {a, b}, {}, [](Backward& backward) {
    EXPECT_FALSE(backward.grad(0).defined());
    const auto dx = backward.target(0);
    *dx.tensor.data<float>() = *backward.grad(1).data<float>();
  });
  b.seed_grad(values({4}));
  tape.backward();
  EXPECT_THAT(x.grad().span<float>(), ElementsAre(4));
}

TEST(Tape, ASavedTensorThatWasWrittenIsAnErrorNamingTheOperation) {
  Tape tape;
  const Variable x(values({1, 2}), true);
  const Variable y = scaled(x, 2, tape, nullptr, "halved");
  x.value().reshape({1, 2}).channels(1, 2).zero();  // through a view of the saved storage
  y.seed_grad(values({1, 1}));
  try {
    tape.backward();
    FAIL() << "backward ran on a value that had changed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::internal);
    EXPECT_THAT(error.what(), HasSubstr("backward of halved: saved tensor 0 (f32 (2)) was written "
                                        "after it was saved (version 0, now 1)"));
  }
}

TEST(Tape, SavedBytesCountEachStorageOnceUnderItsFirstOperation) {
  Tape tape;
  const Tensor shared = Tensor::empty({10, 4}, DType::f32);
  const Tensor alone = Tensor::empty({3}, DType::f64);
  const Variable y(values({1}), true);
  const auto nothing = [](Backward&) {};
  tape.record("first", {}, {y}, {shared, shared.channels(1, 2), Tensor()}, nothing);
  tape.record("second", {}, {y}, {shared.images(2, 3), alone}, nothing);
  tape.record("third", {}, {y}, {shared}, nothing);
  const std::map<std::string, int64_t> expected = {{"first", 160}, {"second", 24}};
  EXPECT_EQ(tape.saved_bytes(), expected);
}

TEST(Tape, EntriesReleaseWhatTheySavedAsTheyAreConsumed) {
  const int64_t before = CachingAllocator::of(Device::cpu).counters().active_bytes;
  const auto active = [&] {
    return CachingAllocator::of(Device::cpu).counters().active_bytes - before;
  };
  {
    static int64_t seen_by_first = 0;
    Tape tape;
    const Variable x(values({1}), true);
    const Variable y(values({1}), true), z(values({1}), true);
    tape.record("first", {x}, {y}, {}, [](Backward&) {
      seen_by_first = CachingAllocator::of(Device::cpu).counters().active_bytes;
    });
    tape.record("second", {y}, {z}, {Tensor::empty({1 << 16}, DType::u8)},
                [](Backward& b) { *b.target(0).tensor.data<float>() = 1; });
    EXPECT_GE(active(), 1 << 16);
    z.seed_grad(values({1}));
    tape.backward();
    EXPECT_LT(seen_by_first - before, 1 << 16) << "the second entry was still alive";
  }
  EXPECT_EQ(active(), 0);
}

TEST(Tape, ASeedMustFitItsValue) {
  const Variable x(values({1, 2}), true);
  EXPECT_THROW(x.seed_grad(values({1})), Error);
  EXPECT_THROW(x.seed_grad(Tensor::empty({2}, DType::f64)), Error);
  EXPECT_THROW(Variable(values({1})).seed_grad(values({1})), Error);
}

TEST(Tape, TellsTheSinkWhichParametersAreDone) {
  struct Sink : GradSink {
    std::vector<std::string> names;
    void done(const Parameter& parameter) override { names.push_back(parameter.name); }
  } sink;
  ParameterArena arena;
  const Parameter &w = arena.add("w", {2}, Init::ones), &v = arena.add("v", {2}, Init::ones);
  arena.allocate(DType::f32);
  Tape tape;
  const Variable y(values({1}), true);
  for (const Parameter* p : {&w, &v}) {
    tape.writes({p});
    tape.record("use", {}, {y}, {}, [p](Backward& b) {
      b.gradient(*p).tensor.zero();
      b.done(*p);
    });
  }
  arena.begin_gradients(arena.new_array());
  y.seed_grad(values({1}));
  tape.backward(&sink);
  // The last entry consumed y's gradient: the earlier writer of the same variable is not reached.
  EXPECT_THAT(sink.names, ElementsAre("v"));
}

}  // namespace
}  // namespace mono
