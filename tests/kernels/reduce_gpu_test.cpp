// Sums and statistics tables on the GPU against the CPU's.
#include "kernels/reduce/reduce.h"

#include <cmath>
#include <numeric>

#include "kernels/norm_tables/norm_tables.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class ReduceGpu : public ::testing::Test {};
TYPED_TEST_SUITE(ReduceGpu, ActivationTypes);

TYPED_TEST(ReduceGpu, ColumnSumsAndFiguresMatchTheCpu) {
  using T = TypeParam;
  using M = Master<T>;
  for_each_schedule([] {
    const GpuStream stream;
    for (const auto& [rows, columns] : {std::pair{1, 1}, {7, 31}, {33, 300}, {64, 5}}) {
      std::vector<T> x = normal_values<T>(rows * columns, 1);
      std::vector<float> targets = normal_values<float>(rows * columns, 2);
      for (int r = 0; r < rows; r += 2)  // half of them right; and ties, of which the first counts
        for (int c = 0; c < columns; ++c)
          targets[r * columns + c] = float(Master<T>(x[r * columns + c]));
      if (rows > 4 && columns > 40)
        for (const int c : {3, 35, 36}) {
          x[4 * columns + c] = T(100.0f);
          targets[4 * columns + c] = c == 35 ? 7.0f : 8.0f;
        }
      const GpuArray<T> dx(stream, x);
      const GpuArray<float> dtargets(stream, targets);

      std::vector<M> sums = normal_values<M>(columns, 3);
      const GpuArray<M> dsums(stream, sums);
      column_sums<T>(rows, columns, x.data(), sums.data(), GradMode::accumulate);
      column_sums<T>(stream, rows, columns, dx.data(), dsums.data(), GradMode::accumulate);
      EXPECT_EQ(dsums.host(), sums);  // the same order of additions

      double share = 0.25;
      const GpuArray<double> dshare(stream, std::vector<double>{0.25});
      add_accuracy<T>(rows, columns, x.data(), targets.data(), &share);
      add_accuracy<T>(stream, rows, columns, dx.data(), dtargets.data(), dshare.data());
      EXPECT_EQ(dshare.host()[0], share);
      EXPECT_GE(share, 0.25 + 0.4);
    }
  });
}

TEST(ReduceGpu, SumsOfSquaresAndMeans) {
  for_each_schedule([] {
    const GpuStream stream;
    for (const int n : {1, 33, 4097, 30000}) {
      const std::vector<float> x = normal_values<float>(n, 4);
      const GpuArray<float> dx(stream, x);
      const GpuArray<double> into(stream, std::vector<double>{2.0, 0.0});
      const GpuArray<std::byte> work(stream,
                                     static_cast<int64_t>(sum_of_squares_workspace_bytes(kGpu)));
      const auto span = std::span(work.data(), sum_of_squares_workspace_bytes(kGpu));
      add_mean<float>(stream, n, dx.data(), 0.5, into.data());
      sum_of_squares<float>(stream, n, dx.data(), into.data() + 1, span);
      double mean = 2.0, squares = 0;
      add_mean<float>(n, x.data(), 0.5, &mean);
      for (const float v : x) squares += double(v) * v;
      EXPECT_NEAR(into.host()[0], mean, 1e-13);
      EXPECT_NEAR(into.host()[1], squares, 1e-12 * squares);
    }
    std::vector<float> bad = normal_values<float>(5000, 5);
    bad[4321] = std::numeric_limits<float>::quiet_NaN();
    const GpuArray<float> dbad(stream, bad);
    const GpuArray<double> into(stream, std::vector<double>{0.0});
    const GpuArray<std::byte> work(stream,
                                   static_cast<int64_t>(sum_of_squares_workspace_bytes(kGpu)));
    sum_of_squares<float>(stream, 5000, dbad.data(), into.data(),
                          std::span(work.data(), sum_of_squares_workspace_bytes(kGpu)));
    EXPECT_TRUE(std::isnan(into.host()[0]));
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

    std::vector<float> running = normal_values<float>(2 * columns, 8);
    const GpuArray<float> drunning(stream, running);
    update_running_tables<float>({}, host, 2, counts.data(), mean.data(), variance.data(), 0.1,
                                 running.data(), running.data() + columns);
    update_running_tables<float>(stream, device, 2, dcounts.data(), dmean.data(), dvariance.data(),
                                 0.1, drunning.data(), drunning.data() + columns);
    EXPECT_EQ(drunning.host(), running);

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
