#include "train/explain/layer_recorder.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/base/bf16.h"
#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

std::vector<double> in_double(const Tensor& values) {  // packed, on the host
  std::vector<double> out(static_cast<size_t>(values.elements()));
  dispatch_master(values.dtype(),
                  [&]<class M>() { std::ranges::copy(values.span<M>(), out.begin()); });
  return out;
}

template <class T>
double wide(T value) {
  if constexpr (std::is_same_v<T, bf16>)
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<double>(value);
}

// What normalises a segment: y = scale x + shift.
struct Affine {
  std::vector<double> scale, shift;
};

std::vector<Affine> affines_of(const NormInput& input) {
  const NormLayer& layer = input.layer;
  const ParameterArena& arena = *layer.gamma->arena;
  const auto parameter = [&](const Parameter& p) {
    return in_double(arena.view(arena.weights(), p).to(Device::cpu));
  };
  const std::vector<double> gamma = parameter(*layer.gamma), beta = parameter(*layer.beta);
  std::vector<Affine> affines(static_cast<size_t>(input.segments.count));
  dispatch_master(input.mean.dtype(), [&]<class M>() {
    for (int s = 0; s < input.segments.count; ++s) {
      const M* mean = input.mean.data<M>() + int64_t{s} * input.mean.ld();
      const M* variance = input.variance.data<M>() + int64_t{s} * input.variance.ld();
      Affine& affine = affines[static_cast<size_t>(s)];
      for (size_t c = 0; c < gamma.size(); ++c) {
        affine.scale.push_back(gamma[c] / std::sqrt(static_cast<double>(variance[c]) + layer.eps));
        affine.shift.push_back(beta[c] - static_cast<double>(mean[c]) * affine.scale[c]);
      }
    }
  });
  return affines;
}

// (count, mean, m2) <- with (more, mean, m2): Chan, Golub and LeVeque 1979. `variance` holds m2.
void merge(ChannelMoments& into, double pixels, const double* mean, const double* m2) {
  const double all = into.pixels + pixels;
  for (size_t c = 0; c < into.mean.size(); ++c) {
    const double difference = mean[c] - into.mean[c];
    into.mean[c] += difference * pixels / all;
    into.variance[c] += m2[c] + difference * difference * into.pixels * pixels / all;
  }
  into.pixels = all;
}

}  // namespace

size_t LayerRecorder::layer_of(const NormLayer& layer) {
  const size_t index = static_cast<size_t>(layer.index);
  if (position_.size() <= index) position_.resize(index + 1, -1);
  if (position_[index] < 0) {
    position_[index] = static_cast<int>(layers_.size());
    const size_t channels = static_cast<size_t>(layer.channels);
    const ChannelMoments none{std::vector<double>(channels), std::vector<double>(channels), 0};
    layers_.push_back({layer.name, layer.index, layer.eps,
                       std::vector<ChannelMoments>(choice_.experiments.size(), none),
                       Features(static_cast<int>(choice_.sites.size()), layer.channels)});
  }
  return static_cast<size_t>(position_[index]);
}

void LayerRecorder::see(const NormInput& input) {
  if (input.layer.name.starts_with("batch_head.")) return;
  const Tensor& x = input.x;
  const int images = x.shape()[0], C = x.shape().back();
  const int64_t pixels = x.shape().rank() == 4 ? int64_t{x.shape()[1]} * x.shape()[2] : 1;
  const size_t size = static_cast<size_t>(images) * static_cast<size_t>(C);
  Seen seen{layer_of(input.layer),       images,
            static_cast<double>(pixels), std::vector<double>(size),
            std::vector<double>(size),   std::vector<float>(size)};
  const std::vector<Affine> affines = affines_of(input);
  std::vector<int> segment_of;
  for (int s = 0; s < input.segments.count; ++s)
    segment_of.insert(segment_of.end(),
                      static_cast<size_t>(input.segments.end(s) - input.segments.begin(s)), s);

  dispatch_activation(x.dtype(), [&]<class T>() {
    parallel_for(images, [&](int64_t n, int) {
      const T* image = x.data<T>() + n * pixels * x.ld();
      double* mean = seen.mean.data() + n * C;
      double* m2 = seen.m2.data() + n * C;
      const Affine& affine = affines[static_cast<size_t>(segment_of[static_cast<size_t>(n)])];
      std::vector<double> pooled(static_cast<size_t>(C));
      for (int64_t p = 0; p < pixels; ++p)
        for (int c = 0; c < C; ++c) mean[c] += wide(image[p * x.ld() + c]);
      for (int c = 0; c < C; ++c) mean[c] /= static_cast<double>(pixels);
      for (int64_t p = 0; p < pixels; ++p)
        for (int c = 0; c < C; ++c) {
          const size_t at = static_cast<size_t>(c);
          const double value = wide(image[p * x.ld() + c]);
          m2[c] += (value - mean[c]) * (value - mean[c]);
          const double y = affine.scale[at] * value + affine.shift[at];
          pooled[at] += input.relu ? std::max(0.0, y) : y;
        }
      for (int c = 0; c < C; ++c)
        seen.pooled[static_cast<size_t>(n * C + c)] =
            static_cast<float>(pooled[static_cast<size_t>(c)] / static_cast<double>(pixels));
    });
  });
  seen_.push_back(std::move(seen));
}

void LayerRecorder::end_of_batch(std::span<const int> sites) {
  for (const Seen& seen : seen_) {
    LayerRecord& layer = layers_[seen.layer];
    MONO_CHECK(static_cast<size_t>(seen.images) == sites.size(), "{}: {} images seen of {}",
               layer.name, seen.images, sites.size());
    const size_t C = static_cast<size_t>(layer.pooled.width);
    for (size_t n = 0; n < sites.size(); ++n) {
      const auto found = std::ranges::lower_bound(choice_.sites, sites[n]);
      MONO_CHECK(found != choice_.sites.end() && *found == sites[n], "site {} was not chosen",
                 sites[n]);
      const size_t row = static_cast<size_t>(found - choice_.sites.begin());
      std::copy_n(seen.pooled.begin() + static_cast<int64_t>(n * C), C,
                  layer.pooled.row(static_cast<int>(row)).begin());
      ChannelMoments& moments = layer.input[static_cast<size_t>(choice_.domain[row])];
      // m2 stands in `variance` while it grows.
      for (double& variance : moments.variance) variance *= moments.pixels;
      merge(moments, seen.pixels, seen.mean.data() + n * C, seen.m2.data() + n * C);
      for (double& variance : moments.variance) variance /= moments.pixels;
    }
  }
  seen_.clear();
}

ChannelMoments moments_of(const NormLayer& layer, const NormStatistics& table, int row) {
  const int64_t at = row * table.mean().shape().back() + layer.offset;
  const auto values = [&](const Tensor& all) {
    return in_double(all.reshape({static_cast<int>(all.elements())})
                         .range(at, {layer.channels})
                         .to(Device::cpu));
  };
  return {values(table.mean()), values(table.variance()), table.count(row, layer.index)};
}

StatisticsDistance distance_of(const ChannelMoments& of, const ChannelMoments& from, double eps) {
  StatisticsDistance distance;
  const size_t channels = of.mean.size();
  for (size_t c = 0; c < channels; ++c) {
    const double shift = (of.mean[c] - from.mean[c]) / std::sqrt(from.variance[c] + eps);
    const double scale = 0.5 * std::log((of.variance[c] + eps) / (from.variance[c] + eps));
    distance.shift += shift * shift;
    distance.scale += scale * scale;
  }
  distance.shift = std::sqrt(distance.shift / static_cast<double>(channels));
  distance.scale = std::sqrt(distance.scale / static_cast<double>(channels));
  return distance;
}

}  // namespace mono
