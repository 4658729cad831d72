// LayerRecorder: what an explanation keeps of every batch norm of a forward pass, but for the batch
// head's, which no class is read behind.
//
//   statistics   of the layer's INPUT, for each experiment: mean and biased variance of every
//                channel over all pixels of its images (merged by Chan's rule, in double, image
//                after image)
//   features     of the layer's OUTPUT, for each image: the mean over its pixels of
//                relu(gamma (x - mean) / sqrt(variance + eps) + beta), without the ReLU where none
//                follows: what the next layer sees, pooled. A residual is not added: it would bring
//                in other layers' features.
//
// Memory: images x (channels of all norms) x 4 bytes: 1.5 GB for 3,600 images of DenseNet-161.
// Work: every norm's input is read twice on the host, 140 million values an image of DenseNet-161
// at 512 x 512; from a GPU they are copied there first.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "nn/domain/norm_observer.h"
#include "nn/functional/nearest.h"
#include "train/explain/image_choice.h"

namespace mono {

// Mean and variance of a layer's channels in one domain.
struct ChannelMoments {
  std::vector<double> mean, variance;  // (C)
  double pixels = 0;
};

struct LayerRecord {
  std::string name;  // of the batch norm
  int index = 0;     // NormLayer::index
  double eps = 0;
  std::vector<ChannelMoments> input;  // [domain of the choice]
  Features pooled;                    // (rows of the choice, C)
};

class LayerRecorder final : public NormObserver {
 public:
  // `choice` must outlive this.
  explicit LayerRecorder(const ImageChoice& choice) : choice_(choice) {}

  void see(const NormInput& input) override;
  // The batch whose norms were seen since the last call was of these sites.
  void end_of_batch(std::span<const int> sites);

  // In the order in which the layers run.
  const std::vector<LayerRecord>& layers() const { return layers_; }

 private:
  struct Seen {  // of a batch
    size_t layer;
    int images;
    double pixels;                 // of an image
    std::vector<double> mean, m2;  // (images, C): m2 is the sum of squares about the mean
    std::vector<float> pooled;     // (images, C)
  };
  size_t layer_of(const NormLayer& layer);

  const ImageChoice& choice_;
  std::vector<LayerRecord> layers_;
  std::vector<int> position_;  // [NormLayer::index] -> in layers_, -1: not seen yet
  std::vector<Seen> seen_;
};

// A layer's row of a table of statistics, on the host.
ChannelMoments moments_of(const NormLayer& layer, const NormStatistics& table, int row);

// How far one set of statistics lies from another, in units of the other's standard deviation:
//
//   shift  sqrt( mean over channels of ((mean_c - mean'_c) / sigma'_c)^2 )
//   scale  sqrt( mean over channels of (log(sigma_c / sigma'_c))^2 )
//
// with sigma = sqrt(variance + eps), as the layer divides. A shift of 1: the layer's channels are
// off by a whole standard deviation; a scale of 0.7: by a factor of two.
struct StatisticsDistance {
  double shift = 0, scale = 0;
};
StatisticsDistance distance_of(const ChannelMoments& of, const ChannelMoments& from, double eps);

}  // namespace mono
