#include "nn/domain/norm_statistics.h"

#include <algorithm>

#include "kernels/batch_norm/batch_norm.h"
#include "runtime/copy.h"

namespace mono {
NormLayer& NormLayers::add(ParameterArena& arena, const std::string& name, int channels) {
  NormLayer layer;
  layer.name = name;
  layer.channels = channels;
  layer.index = static_cast<int>(layers_.size());
  layer.offset = columns_;
  layer.gamma = &arena.add(name + ".weight", {channels}, Init::ones, true);
  layer.beta = &arena.add(name + ".bias", {channels}, Init::zeros, true);
  columns_ += channels;
  return layers_.emplace_back(std::move(layer));
}

void NormLayers::set_eps(double eps) {
  for (NormLayer& layer : layers_) layer.eps = eps;
}

NormStatistics::NormStatistics(const NormLayers& layers, int rows, DType master, Device device)
    : rows_(rows),
      layers_(static_cast<int>(layers.layers().size())),
      mean_(Tensor::zeros({rows, static_cast<int>(layers.columns())}, master, device)),
      variance_(Tensor::empty(mean_.shape(), master, device)),
      counts_(static_cast<size_t>(rows) * layers.layers().size(), 0.0) {
  const Tensor ones = Tensor::empty(mean_.shape(), master);
  dispatch_master(master, [&]<class M>() { std::ranges::fill(ones.span<M>(), M(1)); });
  variance_.copy_from(ones);
  std::vector<int> layer_of_column;
  for (const NormLayer& layer : layers.layers())
    layer_of_column.insert(layer_of_column.end(), static_cast<size_t>(layer.channels), layer.index);
  layer_of_column_ = on_device<int>(layer_of_column, device);
}

void NormStatistics::set_count(int row, int layer, double pixels) {
  double& count = counts_[index(row, layer)];
  if (count == pixels) return;
  count = pixels;
  counts_on_device_ = Tensor();
}

void NormStatistics::gather(Communicator& ranks) {
  if (ranks.size() == 1) return;
  ranks.gather_rows(mean_);
  ranks.gather_rows(variance_);
  const size_t share = counts_.size() / static_cast<size_t>(ranks.size());
  const std::vector<double> all = ranks.gather_values(
      std::span<const double>(counts_).subspan(share * static_cast<size_t>(ranks.rank()), share));
  if (all == counts_) return;
  counts_ = all;
  counts_on_device_ = Tensor();
}

const double* NormStatistics::device_counts() const {
  if (!counts_on_device_.defined()) counts_on_device_ = on_device<double>(counts_, mean_.device());
  return values_of<double>(counts_on_device_);
}

NormColumns NormStatistics::device_columns() const {
  return {mean_.shape().back(), layers_, values_of<int>(layer_of_column_)};
}

void update_running(const NormStatistics& groups, double momentum, NormStatistics& running) {
  dispatch_master(running.mean().dtype(), [&]<class M>() {
    const NormColumns table = groups.device_columns();
    BatchNormRunning<M> args;
    args.rows = groups.rows();
    args.layers = table.layers;
    args.columns = table.columns;
    args.mean = groups.mean().data<M>();
    args.variance = groups.variance().data<M>();
    args.counts = groups.device_counts();
    args.layer_of_column = table.layer;
    args.momentum = momentum;
    args.running_mean = running.mean().data<M>();
    args.running_variance = running.variance().data<M>();
    batch_norm_update_running<M>(running.mean().stream(), args);
  });
}

void merge_statistics(const NormLayers& layers, const NormStatistics& from, int from_row,
                      NormStatistics& into, int row) {
  const int64_t columns = layers.columns(), rows_of_layers = layers.layers().size();
  dispatch_master(from.mean().dtype(), [&]<class From>() {
    dispatch_master(into.mean().dtype(), [&]<class Into>() {
      merge_tables<From, Into>(into.mean().stream(), into.device_columns(),
                               from.device_counts() + from_row * rows_of_layers,
                               into.device_counts() + row * rows_of_layers,
                               from.mean().data<From>() + from_row * columns,
                               from.variance().data<From>() + from_row * columns,
                               into.mean().data<Into>() + row * columns,
                               into.variance().data<Into>() + row * columns);
    });
  });
  for (const NormLayer& layer : layers.layers())
    into.set_count(row, layer.index,
                   into.count(row, layer.index) + from.count(from_row, layer.index));
}

}  // namespace mono
