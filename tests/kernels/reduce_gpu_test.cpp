// Column sums and the merging of statistics tables on the GPU: the CPU's bits.
#include "kernels/reduce/reduce.h"

#include <algorithm>

#include "kernels/norm_tables/norm_tables.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class ReduceGpu : public ::testing::Test {};
TYPED_TEST_SUITE(ReduceGpu, ActivationTypes);

TYPED_TEST(ReduceGpu, ColumnSumsMatchTheCpu) {
  using T = TypeParam;
  using M = Master<T>;
  for_each_schedule([] {
    const GpuStream stream;
    for (const auto& [rows, columns] : {std::pair{1, 1}, {7, 31}, {33, 300}, {64, 5}, {300, 9}}) {
      const std::vector<T> x = normal_values<T>(rows * columns, 1);
      const GpuArray<T> dx(stream, x);
      std::vector<M> sums = normal_values<M>(columns, 3);
      const GpuArray<M> dsums(stream, sums);
      const size_t bytes = column_sums_workspace_bytes(rows, columns);
      Scratch scratch(bytes);
      const GpuArray<std::byte> gpu_scratch(stream, static_cast<int64_t>(bytes));
      column_sums<T>(rows, columns, x.data(), sums.data(), GradMode::accumulate, scratch.span());
      column_sums<T>(stream, rows, columns, dx.data(), dsums.data(), GradMode::accumulate,
                     {gpu_scratch.data(), bytes});
      EXPECT_EQ(dsums.host(), sums);
    }
  });
}

TEST(NormTablesGpu, MatchTheCpu) {
  for_each_schedule([] {
    const GpuStream stream;
    const int columns = 300, rows = 3, layers = 2;
    std::vector<int> layer(columns, 0);
    std::fill(layer.begin() + 70, layer.end(), 1);
    const std::vector<double> counts = {8, 64, 10, 80, 0, 12};
    const std::vector<float> mean = normal_values<float>(rows * columns, 6);
    std::vector<float> variance = normal_values<float>(rows * columns, 7);
    for (float& v : variance) v = v * v + 0.1f;
    const GpuArray<int> dlayer(stream, layer);
    const GpuArray<double> dcounts(stream, counts);
    const GpuArray<float> dmean(stream, mean), dvariance(stream, variance);
    const NormColumns host{columns, layers, layer.data()}, device{columns, layers, dlayer.data()};

    std::vector<double> merged(2 * columns, 1.0);
    const GpuArray<double> dmerged(stream, merged);
    for (const int row : {0, 1, 2}) {
      const int into = row == 0 ? 2 : 0;  // layer 0 of the first merge finds nothing before it
      merge_tables<float, double>({}, host, counts.data() + row * 2, counts.data() + into * 2,
                                  mean.data() + row * columns, variance.data() + row * columns,
                                  merged.data(), merged.data() + columns);
      merge_tables<float, double>(stream, device, dcounts.data() + row * 2,
                                  dcounts.data() + into * 2, dmean.data() + row * columns,
                                  dvariance.data() + row * columns, dmerged.data(),
                                  dmerged.data() + columns);
    }
    EXPECT_EQ(dmerged.host(), merged);
  });
}

}  // namespace
}  // namespace mono
