// Tensors on the GPU: allocation in stream order, copies, a copy stream beside the compute stream,
// arenas, and captured steps. Every test runs under every schedule of the emulator.
#include "runtime/allocator.h"
#include "runtime/copy.h"
#include "runtime/gradient_tree.h"
#include "runtime/graph.h"
#include "runtime/tape.h"

#include <gmock/gmock.h>

#include <numeric>

#include "kernels/elementwise/elementwise.h"
#include "tests/kernels/gpu_test.h"

namespace mono {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

// The schedule may change only when nothing waits to run.
template <class F>
void on_gpu(F&& f) {
  test::for_each_schedule([&] {
    f();
    synchronize(compute_stream(kGpu));
    CachingAllocator::of(kGpu).release_cache();
  });
}

Tensor counting(int n, float from = 0) {
  const Tensor t = Tensor::empty({n}, DType::f32);
  std::iota(t.data<float>(), t.data<float>() + n, from);
  return t;
}

std::vector<float> host(const Tensor& t) {
  const Tensor copy = t.to(Device::cpu);
  const auto values = copy.span<float>();
  return {values.begin(), values.end()};
}

std::string error_of(ErrorKind kind, const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "no error";
}

TEST(DeviceTensor, CopiesThereAndBack) {
  on_gpu([] {
    for (const int n : {0, 1, 33, 5'000'000}) {  // the last in several pieces
      const Tensor t = counting(n);
      const Tensor there = t.to(kGpu);
      t.zero();  // the copy was taken when to() returned
      EXPECT_EQ(there.device(), kGpu);
      const Tensor again = Tensor::empty({n}, DType::f32, kGpu);
      again.copy_from(there);
      ASSERT_EQ(host(again), host(counting(n)));
    }
    const Tensor t = Tensor::zeros({2, 3}, DType::f32, kGpu);
    EXPECT_THAT(host(t), Each(0.0f));
    EXPECT_EQ(t.to(kGpu).storage(), t.storage());
    const uint64_t version = t.version();
    t.copy_from(counting(6).reshape({2, 3}));
    EXPECT_GT(t.version(), version);
    EXPECT_THAT(host(t.range(3, {3})), ElementsAre(3, 4, 5));
  });
}

TEST(DeviceTensor, SaysWhatTheHostMayNotDo) {
  on_gpu([] {
    const Tensor t = Tensor::zeros({4, 6}, DType::f32, kGpu);
    EXPECT_THAT(error_of(ErrorKind::internal, [&] { t.span<float>(); }),
                HasSubstr("the host cannot read"));
    EXPECT_THAT(error_of(ErrorKind::internal, [&] { t.channels(0, 2).zero(); }),
                HasSubstr("pitched"));
    EXPECT_THAT(error_of(ErrorKind::internal, [&] { t.copy_from(counting(4)); }),
                HasSubstr("copy of f32 (4) to f32 (4, 6)"));
  });
  const Device other = kGpu == Device::cuda ? Device::emulated : Device::cuda;
  EXPECT_THAT(error_of(ErrorKind::device, [&] { Tensor::empty({1}, DType::f32, other); }),
              HasSubstr("this build has no device"));
}

TEST(DeviceAllocator, ReusesInStreamOrderAndCounts) {
  on_gpu([] {
    CachingAllocator& allocator = CachingAllocator::of(kGpu);
    const AllocatorCounters before = allocator.counters();
    const int n = 10'000;
    const Stream stream = compute_stream(kGpu);
    const Tensor sum = Tensor::zeros({n}, DType::f32, kGpu);
    for (int i = 0; i < 4; ++i) {
      // Freed while the addition still waits; the next one gets the same memory and comes later.
      const Tensor x = counting(n, static_cast<float>(i)).to(kGpu);
      add<float>(stream, n, sum.data<float>(), x.data<float>(), sum.data<float>());
    }
    EXPECT_EQ(allocator.counters().system_requests - before.system_requests, 1);
    EXPECT_GE(allocator.counters().active_bytes - before.active_bytes, n * 4);
    EXPECT_LE(allocator.counters().active_bytes - before.active_bytes, n * 4 + 512);
    const std::vector<float> total = host(sum);
    EXPECT_EQ(total[0], 0 + 1 + 2 + 3);
    EXPECT_EQ(total[100], 4 * 100 + 6);
  });
}

TEST(DeviceAllocator, SaysHowMuchIsMissing) {
  on_gpu([] {
    const Tensor some = Tensor::empty({1 << 20}, DType::f32, kGpu);
    const std::string message = error_of(ErrorKind::device, [] {
      CachingAllocator::of(kGpu).allocate(gpu::properties()->memory_bytes + 1);
    });
    EXPECT_THAT(message, HasSubstr(gpu::properties()->name));
    EXPECT_THAT(message, HasSubstr("MB wanted beside"));
    EXPECT_THAT(message, HasSubstr("use a smaller batch or smaller images"));
  });
}

TEST(DeviceStreams, OrdersWhatAnotherStreamTouches) {
  on_gpu([] {
    const int n = 1000;
    const OwnedStream copies;
    const Tensor pinned = Tensor::empty_pinned({n}, DType::f32);
    for (int round = 0; round < 3; ++round) {
      std::iota(pinned.data<float>(), pinned.data<float>() + n, static_cast<float>(round));
      const Tensor y = Tensor::empty({n}, DType::f32, kGpu);
      Event copied;
      {
        // Memory that the compute stream has just given up, and that it gets back after the copy.
        const Tensor x = Tensor::empty({n}, DType::f32, kGpu);
        x.used_on(copies);
        gpu::copy(x.raw(), pinned.raw(), static_cast<size_t>(x.bytes()), copies);
        copied.record(copies);
        copied.block(x.stream());
        add<float>(x.stream(), n, x.data<float>(), x.data<float>(), y.data<float>());
      }
      const Tensor over = Tensor::zeros({n}, DType::f32, kGpu);
      copied.synchronize();  // `pinned` may change
      EXPECT_EQ(host(y)[7], 2.0f * static_cast<float>(7 + round));
      EXPECT_THAT(host(over), Each(0.0f));
    }
  });
}

// Without used_on the freed block is handed out while the other stream still reads it.
TEST(DeviceStreams, StorageComesBackAfterTheOtherStreamsWork) {
  on_gpu([] {
    const int n = 1000;
    const OwnedStream other;
    const Tensor pinned = Tensor::empty_pinned({n}, DType::f32);
    {
      const Tensor x = counting(n, 5).to(kGpu);
      x.used_on(other);
      gpu::copy(pinned.raw(), x.raw(), static_cast<size_t>(x.bytes()), other);
    }
    const Tensor y = Tensor::zeros({n}, DType::f32, kGpu);  // the same block
    EXPECT_THAT(host(y), Each(0.0f));
    gpu::synchronize(other);
    EXPECT_EQ(pinned.data<float>()[1], 6.0f);
  });
}

struct Square {
  // y = 2x, with a tape entry that accumulates.
  static Variable doubled(const Variable& x, Tape& tape) {
    const Variable y(Tensor::empty(x.shape(), DType::f32, x.value().device()), true);
    const int64_t n = x.value().elements();
    const auto twice = [n](Stream stream, const Tensor& from, const Tensor& to, GradMode mode) {
      scale_into<float>(stream, n, 2.0f, from.data<float>(), to.data<float>(), mode);
    };
    twice(y.value().stream(), x.value(), y.value(), GradMode::overwrite);
    tape.record("doubled", {x}, {y}, {}, [twice](Backward& b) {
      const auto dx = b.target(0);
      twice(dx.tensor.stream(), b.grad(), dx.tensor, dx.mode);
    });
    return y;
  }
};

TEST(DeviceTape, GradientsAreOnTheDevice) {
  on_gpu([] {
    Tape tape;
    const Variable x(counting(5).to(kGpu), true);
    const Variable y = Square::doubled(Square::doubled(x, tape), tape);
    const Variable z = Square::doubled(x, tape);
    y.seed_grad(counting(5).to(kGpu));
    z.seed_grad(counting(5, 1).to(kGpu));
    tape.backward();
    EXPECT_EQ(x.grad().device(), kGpu);
    EXPECT_THAT(host(x.grad()), ElementsAre(2, 8, 14, 20, 26));
  });
}

TEST(DeviceArena, DrawsTheSameWeightsAndAddsTheSameTrees) {
  on_gpu([] {
    ParameterArena cpu, gpu;
    for (ParameterArena* arena : {&cpu, &gpu}) {
      arena->add("conv", {4, 3, 3, 2}, Init::kaiming_normal_fan_in);
      arena->add("bias", {4}, Init::linear_uniform, true, 18);
      arena->allocate(DType::f32, arena == &gpu ? kGpu : Device::cpu);
      arena->initialise(3);
    }
    EXPECT_EQ(host(cpu.weights()), host(gpu.weights()));
    std::vector<float> sums[2];
    for (ParameterArena* arena : {&cpu, &gpu}) {
      GradientTree tree(*arena);
      for (int leaf = 0; leaf < 5; ++leaf) {
        const Tensor array = tree.next_leaf();
        EXPECT_EQ(array.device(), arena->weights().device());
        arena->begin_gradients(array);
        arena->gradient(arena->parameters()[0])
            .tensor.copy_from(counting(72, 0.1f * static_cast<float>(leaf)).reshape({4, 3, 3, 2}));
        arena->finish_gradients();  // the bias has none: zeros
        tree.add(array);
      }
      sums[arena == &gpu] = host(tree.sum());
    }
    EXPECT_EQ(sums[0], sums[1]);
  });
}

TEST(DeviceGraph, ReplaysWithTheSameResultAndAsksForNoMemory) {
  on_gpu([] {
    const int n = 300;
    const Stream stream = compute_stream(kGpu);
    const Tensor x = counting(n).to(kGpu), sum = Tensor::zeros({n}, DType::f32, kGpu);
    const auto step = [&] {
      const Tensor twice = Tensor::empty({n}, DType::f32, kGpu);
      add<float>(stream, n, x.data<float>(), x.data<float>(), twice.data<float>());
      const Tensor more = Tensor::empty({n}, DType::f32, kGpu);
      add<float>(stream, n, twice.data<float>(), x.data<float>(), more.data<float>());
      add<float>(stream, n, sum.data<float>(), more.data<float>(), sum.data<float>());
    };
    const int64_t active = CachingAllocator::of(kGpu).counters().active_bytes;
    {
      const Graph graph(step);  // runs it once
      const int64_t requests = CachingAllocator::of(kGpu).counters().system_requests;
      // What others allocate now must not be what the graph writes to.
      const Tensor bystander = Tensor::zeros({n}, DType::f32, kGpu);
      graph.replay();
      x.copy_from(counting(n, 1));  // input that changes between replays
      graph.replay();
      EXPECT_THAT(host(bystander), Each(0.0f));
      EXPECT_LE(CachingAllocator::of(kGpu).counters().system_requests, requests + 1);
      EXPECT_EQ(host(sum)[10], 3 * (10 + 10 + 11));
    }
    EXPECT_EQ(CachingAllocator::of(kGpu).counters().active_bytes, active);
    CachingAllocator::of(kGpu).release_cache();
  });
}

TEST(DeviceGraph, RefusesTheHost) {
  on_gpu([] {
    const Tensor x = counting(8).to(kGpu);
    int calls = 0;
    const std::string message = error_of(ErrorKind::internal, [&] {
      const Graph graph([&] {
        if (++calls == 2) x.copy_from(counting(8));
      });
    });
    EXPECT_THAT(message, HasSubstr("inside a captured step"));
    EXPECT_FALSE(Graph::capturing());
    EXPECT_EQ(host(x)[3], 3.0f);  // the stream works again
  });
}

}  // namespace
}  // namespace mono
