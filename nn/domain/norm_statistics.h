// The statistics that batch norms normalise with, for all layers of a model at once.
//
//   AdaBN (RxRx1, section 4.2; Li et al. 2016): "statistics from individual domain distributions
//   ... both during training and at test time".
//
// Every batch norm owns a range of columns of one flat table, so that running statistics are one
// row, the statistics of D experiments are D rows, and the statistics of the G groups of a step are
// G rows that any number of ranks can fill. Where a layer gets its mean and variance from is one
// value, NormPolicy: there is no flag inside a layer.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "kernels/norm_tables/norm_tables.h"
#include "runtime/communicator.h"
#include "runtime/parameter_arena.h"

namespace mono {

// One batch norm: its affine parameters and its columns of the statistics tables.
struct NormLayer {
  std::string name;  // e.g. features.norm0; buffers are <name>.running_mean, _var
  int channels = 0;
  int index = 0;       // in registration order
  int64_t offset = 0;  // first column
  double eps = 1e-5;
  const Parameter* gamma = nullptr;  // <name>.weight
  const Parameter* beta = nullptr;   // <name>.bias
};

// The batch norms of a model. References stay valid for its life.
class NormLayers {
 public:
  NormLayer& add(ParameterArena& arena, const std::string& name, int channels);
  const std::deque<NormLayer>& layers() const { return layers_; }
  int64_t columns() const { return columns_; }
  void set_eps(double eps);  // of every layer; 1e-5 without it

 private:
  std::deque<NormLayer> layers_;
  int64_t columns_ = 0;
};

// A table (rows, columns) of means and of biased variances (running variances: unbiased).
class NormStatistics {
 public:
  NormStatistics() = default;
  // Mean 0, variance 1, count 0, in the arena's master dtype, on the model's device.
  NormStatistics(const NormLayers& layers, int rows, DType master, Device device = Device::cpu);

  int rows() const { return rows_; }
  const Tensor& mean() const { return mean_; }          // (rows, columns)
  const Tensor& variance() const { return variance_; }  // (rows, columns)
  // Pixels (images x height x width) behind a layer's statistics in a row.
  double count(int row, int layer) const { return counts_[index(row, layer)]; }
  void set_count(int row, int layer, double pixels);
  // Of several ranks, each of which has filled its equal contiguous share of the rows: fills in
  // those of the others.
  void gather(Communicator& ranks);

  // For kernels: the counts (rows, layers) on the device, and whose column each is. The counts are
  // copied there when they have changed, which they do not from one step to the next.
  const double* device_counts() const;
  NormColumns device_columns() const;

 private:
  size_t index(int row, int layer) const { return static_cast<size_t>(row) * layers_ + layer; }

  int rows_ = 0, layers_ = 0;
  Tensor mean_, variance_;
  std::vector<double> counts_;
  Tensor layer_of_column_;           // int, on the device
  mutable Tensor counts_on_device_;  // f64; undefined: they have changed
};

// Where a forward pass takes statistics from, and where it leaves those it computed.
struct NormPolicy {
  // batch: each segment's own (training; "group" statistics at test time).
  // table: rows of `table`, e.g. running statistics (one row) or one row an experiment.
  enum class Source { batch, table };
  Source source = Source::batch;
  const NormStatistics* table = nullptr;
  std::span<const int> row_of_segment;  // table: empty means row 0 for every segment
  NormStatistics* record = nullptr;     // batch: segment s goes to row record_row + s
  int record_row = 0;
};

// running <- (1 - momentum) * running + momentum * mean over the rows of `groups`, in row order;
// the variance enters unbiased (count / (count - 1)), as PyTorch stores it.
void update_running(const NormStatistics& groups, double momentum, NormStatistics& running);

// Accumulates an experiment's statistics over its groups: merges row `from_row` of `from` into row
// `row` of `into` by counts (Chan's rule in double; exact for groups of any size). The two tables
// may differ in dtype: accumulate in f64.
void merge_statistics(const NormLayers& layers, const NormStatistics& from, int from_row,
                      NormStatistics& into, int row);

}  // namespace mono
