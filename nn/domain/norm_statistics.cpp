#include "nn/domain/norm_statistics.h"

#include <algorithm>

namespace mono {
namespace {

template <class From, class Into>
void merge(const NormLayers& layers, const NormStatistics& from, int from_row, NormStatistics& into,
           int row) {
  const int64_t columns = layers.columns();
  const From* from_mean = from.mean().data<From>() + from_row * columns;
  const From* from_variance = from.variance().data<From>() + from_row * columns;
  Into* mean = into.mean().data<Into>() + row * columns;
  Into* variance = into.variance().data<Into>() + row * columns;
  for (const NormLayer& layer : layers.layers()) {
    const double a = into.count(row, layer.index), b = from.count(from_row, layer.index);
    if (b == 0) continue;
    const double share = b / (a + b);  // 1 for the first: what was there before does not count
    for (int64_t c = layer.offset; c < layer.offset + layer.channels; ++c) {
      const double delta = static_cast<double>(from_mean[c]) - static_cast<double>(mean[c]);
      variance[c] = static_cast<Into>(static_cast<double>(variance[c]) * (1 - share) +
                                      static_cast<double>(from_variance[c]) * share +
                                      delta * delta * share * (1 - share));
      mean[c] = static_cast<Into>(static_cast<double>(mean[c]) + delta * share);
    }
    into.count(row, layer.index) = a + b;
  }
}

}  // namespace

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

NormStatistics::NormStatistics(const NormLayers& layers, int rows, DType master)
    : rows_(rows),
      layers_(static_cast<int>(layers.layers().size())),
      mean_(Tensor::zeros({rows, static_cast<int>(layers.columns())}, master)),
      variance_(Tensor::empty({rows, static_cast<int>(layers.columns())}, master)),
      counts_(static_cast<size_t>(rows) * layers.layers().size(), 0.0) {
  dispatch_master(master, [&]<class M>() { std::ranges::fill(variance_.span<M>(), M(1)); });
}

void update_running(const NormLayers& layers, const NormStatistics& groups, double momentum,
                    NormStatistics& running) {
  const int64_t columns = layers.columns();
  dispatch_master(running.mean().dtype(), [&]<class M>() {
    const M *mean = groups.mean().data<M>(), *variance = groups.variance().data<M>();
    M *running_mean = running.mean().data<M>(), *running_variance = running.variance().data<M>();
    for (const NormLayer& layer : layers.layers()) {
      for (int64_t c = layer.offset; c < layer.offset + layer.channels; ++c) {
        double m = 0, v = 0;
        for (int row = 0; row < groups.rows(); ++row) {
          const double n = groups.count(row, layer.index);
          m += static_cast<double>(mean[row * columns + c]);
          v += static_cast<double>(variance[row * columns + c]) * (n / (n - 1));
        }
        m /= groups.rows();
        v /= groups.rows();
        running_mean[c] =
            static_cast<M>((1 - momentum) * static_cast<double>(running_mean[c]) + momentum * m);
        running_variance[c] = static_cast<M>(
            (1 - momentum) * static_cast<double>(running_variance[c]) + momentum * v);
      }
    }
  });
}

void merge_statistics(const NormLayers& layers, const NormStatistics& from, int from_row,
                      NormStatistics& into, int row) {
  dispatch_master(from.mean().dtype(), [&]<class From>() {
    dispatch_master(into.mean().dtype(),
                    [&]<class Into>() { merge<From, Into>(layers, from, from_row, into, row); });
  });
}

}  // namespace mono
