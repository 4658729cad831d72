#include "runtime/communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "kernels/base/bf16.h"
#include "kernels/base/error.h"
#include "kernels/base/gpu.h"
#include "kernels/base/philox.h"

namespace mono {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Sets environment variables for the life of a test.
class Environment {
 public:
  void set(const char* name, const char* value) {
    if (!before_.contains(name)) {
      const char* old = std::getenv(name);
      before_[name] = old ? std::optional<std::string>(old) : std::nullopt;
    }
    if (value)
      ::setenv(name, value, 1);
    else
      ::unsetenv(name);
  }
  ~Environment() {
    for (const auto& [name, value] : before_)
      if (value)
        ::setenv(name.c_str(), value->c_str(), 1);
      else
        ::unsetenv(name.c_str());
  }

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

Environment& without_launcher(Environment& environment) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "SLURM_PROCID",
                           "SLURM_STEP_NUM_TASKS", "RANK", "WORLD_SIZE"})
    environment.set(name, nullptr);
  return environment;
}

TEST(Launch, IsFoundInTheVariablesOfEachLauncher) {
  Environment environment;
  without_launcher(environment);
  EXPECT_EQ(find_launch().size, 1);
  EXPECT_EQ(find_launch().launcher, "");
  environment.set("RANK", "3");
  EXPECT_EQ(find_launch().size, 1) << "RANK alone says nothing";
  environment.set("WORLD_SIZE", "8");
  environment.set("LOCAL_RANK", "1");
  EXPECT_EQ(find_launch().launcher, "torchrun");
  EXPECT_EQ(find_launch().rank, 3);
  EXPECT_EQ(find_launch().size, 8);
  EXPECT_EQ(find_launch().local_rank, 1);
  environment.set("SLURM_PROCID", "0");  // of a batch script, which is not one of srun's tasks
  EXPECT_EQ(find_launch().launcher, "torchrun");
  environment.set("SLURM_STEP_NUM_TASKS", "2");
  EXPECT_EQ(find_launch().launcher, "srun");
  environment.set("OMPI_COMM_WORLD_RANK", "1");
  environment.set("OMPI_COMM_WORLD_SIZE", "16");
  EXPECT_EQ(find_launch().launcher, "mpirun");
  environment.set("OMPI_COMM_WORLD_SIZE", "many");
  EXPECT_EQ(find_launch().launcher, "srun") << "not a number";
}

TEST(Launch, TasksThatMpiDoesNotKnowOfAreAnErrorAndNotManyRunsOfOne) {
  Environment environment;
  without_launcher(environment).set("RANK", "0");
  environment.set("WORLD_SIZE", "4");
  try {
    join_ranks();
    FAIL() << "joined ranks that are not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(), HasSubstr("torchrun"));
    EXPECT_THAT(error.what(), HasSubstr("4"));
  }
}

TEST(Communicator, OneProcessKeepsWhatItHas) {
  Communicator& one = single_process();
  EXPECT_EQ(one.size(), 1);
  EXPECT_TRUE(one.is_root());
  const Tensor piece = Tensor::empty({3}, DType::f32);
  for (int i = 0; i < 3; ++i) piece.data<float>()[i] = static_cast<float>(i);
  one.start_sum(piece);
  one.finish_sums();
  one.gather_rows(piece);
  EXPECT_THAT(piece.span<float>(), ElementsAre(0, 1, 2));
  EXPECT_TRUE(one.any(true));
  EXPECT_FALSE(one.any(false));
  const std::vector<int> own = {4, 5};
  EXPECT_THAT(one.gather_values<int>(own), ElementsAre(4, 5));
}

// ---- The same program on several ranks: `mpirun -np N runtime_tests --gtest_filter=ManyRanks.*`

class ManyRanks : public testing::Test {
 public:
  static void SetUpTestSuite() {
    if (std::getenv("OMPI_COMM_WORLD_SIZE")) ranks_ = join_ranks();
  }
  static void TearDownTestSuite() { ranks_.reset(); }
  void SetUp() override {
    if (!ranks_) GTEST_SKIP() << "started by itself; ctest ranks_of_* run it on several ranks";
  }

 protected:
  static std::unique_ptr<Communicator> ranks_;
};
std::unique_ptr<Communicator> ManyRanks::ranks_;

// The balanced tree over the ranks, as a binary counter builds it.
template <class M>
M tree_sum(std::vector<M> leaves) {
  while (leaves.size() > 1) {
    std::vector<M> sums;
    for (size_t i = 0; i + 1 < leaves.size(); i += 2) sums.push_back(leaves[i] + leaves[i + 1]);
    if (leaves.size() % 2) sums.push_back(leaves.back());
    leaves = std::move(sums);
  }
  return leaves[0];
}

struct Rounded {
  bf16 value;
  Rounded operator+(Rounded other) const {
    return {bf16(static_cast<float>(value) + static_cast<float>(other.value))};
  }
};

template <class M>
M value(int rank, int64_t i) {
  Philox random(7, Purpose::test, static_cast<uint32_t>(rank), static_cast<uint32_t>(i));
  return static_cast<M>(random.normal() * (i % 3 == 0 ? 1e6 : 1e-3));
}

template <class M>
void expect_sums(Communicator& ranks, DType dtype, std::initializer_list<int> sizes) {
  std::vector<Tensor> pieces;
  for (const int n : sizes) {
    pieces.push_back(Tensor::empty({n}, dtype));
    for (int64_t i = 0; i < n; ++i) pieces.back().data<M>()[i] = value<M>(ranks.rank(), n + i);
    ranks.start_sum(pieces.back());
  }
  ranks.finish_sums();
  for (const Tensor& piece : pieces)
    for (int64_t i = 0; i < piece.elements(); ++i) {
      std::vector<M> leaves;
      for (int r = 0; r < ranks.size(); ++r) leaves.push_back(value<M>(r, piece.elements() + i));
      ASSERT_EQ(piece.data<M>()[i], tree_sum(leaves)) << i << " of " << piece.elements();
    }
}

TEST_F(ManyRanks, SumsAreTheBalancedTreeBitForBit) {
  expect_sums<float>(*ranks_, DType::f32, {1, 2, 3, 7, 64, 1000, 65537, 5});
  expect_sums<double>(*ranks_, DType::f64, {1, 9, 4096});
}

// Every addition on the way rounds.
TEST_F(ManyRanks, SumsOfBf16AreTheSameTreeInBf16) {
  const Tensor piece = Tensor::empty({1001}, DType::bf16);
  const auto leaf = [](int rank, int64_t i) { return bf16(value<float>(rank, i)); };
  for (int64_t i = 0; i < piece.elements(); ++i) piece.data<bf16>()[i] = leaf(ranks_->rank(), i);
  ranks_->start_sum(piece);
  ranks_->finish_sums();
  for (int64_t i = 0; i < piece.elements(); ++i) {
    std::vector<Rounded> leaves;
    for (int r = 0; r < ranks_->size(); ++r) leaves.push_back({leaf(r, i)});
    ASSERT_EQ(piece.data<bf16>()[i].bits, tree_sum(leaves).value.bits) << i;
  }
}

TEST_F(ManyRanks, RowsComeInTheOrderOfRanks) {
  const int size = ranks_->size(), rank = ranks_->rank();
  for (const Device device : {Device::cpu, kGpu}) {
    if (device == Device::cuda) continue;  // its machine has one GPU
    const Tensor host = Tensor::zeros({2 * size, 3}, DType::f32);
    for (int i = 0; i < 6; ++i) host.data<float>()[rank * 6 + i] = static_cast<float>(rank * 6 + i);
    const Tensor table = host.to(device);
    ranks_->gather_rows(table);
    const Tensor all = table.to(Device::cpu);
    for (int i = 0; i < 6 * size; ++i) ASSERT_EQ(all.data<float>()[i], static_cast<float>(i));
  }
}

TEST_F(ManyRanks, TensorsOfTheEmulatorAreSummedInPlace) {
  if (kGpu == Device::cuda) GTEST_SKIP() << "a build for GPUs";
  const Tensor host = Tensor::empty({100}, DType::f32);
  std::ranges::fill(host.span<float>(), static_cast<float>(ranks_->rank() + 1));
  const Tensor piece = host.to(kGpu);
  ranks_->start_sum(piece);
  ranks_->finish_sums();
  const float expected = static_cast<float>(ranks_->size() * (ranks_->size() + 1) / 2);
  for (const float v : piece.to(Device::cpu).span<float>()) ASSERT_EQ(v, expected);
}

// On a machine with as many GPUs as ranks: mpirun -np N runtime_tests --gtest_filter=ManyRanks.*
// Several pieces of each type under way at once; what is added is what was computed before, and
// what is computed then is made of sums.
TEST_F(ManyRanks, NcclAddsUpOnTheGpus) {
  if (kGpu != Device::cuda) GTEST_SKIP() << "this build has no CUDA";
  if (gpu::devices() < ranks_->size())
    GTEST_SKIP() << gpu::devices() << " GPUs for " << ranks_->size() << " ranks";
  gpu::use_device(find_launch().local_rank);
  const std::unique_ptr<Communicator> nccl = nccl_over(*ranks_);
  for (const auto& [dtype, rounding] :
       {std::pair{DType::f32, 1e-7}, {DType::f64, 1e-15}, {DType::bf16, 4e-3}})
    dispatch_activation(dtype, [&]<class T>() {
      const auto exact = [](T v) { return static_cast<double>(static_cast<Master<T>>(v)); };
      std::vector<Tensor> pieces, sums;
      for (const int n : {1 << 22, 7, 100'003}) {
        const Tensor host = Tensor::empty({n}, dtype);
        for (int64_t i = 0; i < n; ++i)
          host.data<T>()[i] = static_cast<T>(value<float>(nccl->rank(), i));
        pieces.push_back(Tensor::zeros({n}, dtype, kGpu));
        pieces.back().copy_from(host);
        nccl->start_sum(pieces.back());
      }
      nccl->finish_sums();
      for (const Tensor& piece : pieces) {
        sums.push_back(Tensor::zeros(piece.shape(), dtype, kGpu));
        sums.back().copy_from(piece);
      }
      for (const Tensor& on_gpu : sums) {
        const Tensor sum = on_gpu.to(Device::cpu);
        for (int64_t i = 0; i < sum.elements(); ++i) {
          double expected = 0, magnitude = 0;
          for (int r = 0; r < nccl->size(); ++r) {
            const double v = exact(static_cast<T>(value<float>(r, i)));
            expected += v;
            magnitude += std::abs(v);
          }
          ASSERT_NEAR(exact(sum.data<T>()[i]), expected, nccl->size() * rounding * magnitude)
              << name_of(dtype) << ' ' << i;
        }
      }
    });
}

// By themselves (CMakeLists.txt): the first ends the program, the second the communicator.
TEST_F(ManyRanks, DISABLED_AllStandStill) {
  ranks_->set_timeout(3);
  ranks_->moving("working");
  std::this_thread::sleep_for(std::chrono::seconds(30));
  ADD_FAILURE() << "nobody noticed";
}

TEST_F(ManyRanks, DISABLED_RootWorksOnAfterTheOthers) {
  ranks_->set_timeout(3);
  ranks_->moving("working");
  if (ranks_->is_root()) std::this_thread::sleep_for(std::chrono::seconds(9));
  ranks_.reset();
}

TEST_F(ManyRanks, OneYesIsHeardByAll) {
  EXPECT_FALSE(ranks_->any(false));
  EXPECT_TRUE(ranks_->any(ranks_->rank() == ranks_->size() - 1));
  const std::vector<int> all = ranks_->gather_values<int>(std::vector<int>{10 * ranks_->rank()});
  for (int r = 0; r < ranks_->size(); ++r) EXPECT_EQ(all[static_cast<size_t>(r)], 10 * r);
}

}  // namespace
}  // namespace mono
