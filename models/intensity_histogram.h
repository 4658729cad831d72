// No network: a histogram of each channel's pixels, the floor that learnt features must beat.
//
// As CDCL's classifiers it has a linear head, which nobody trains.
#pragma once

#include "models/model.h"

namespace mono {

// Shares of pixels below -3, in 30 bins of 0.25 from -3 to 4.5, and above, of every channel as it
// comes (normalised): 32 numbers a channel. On the CPU's memory; inference only.
class IntensityHistogram final : public Backbone {
 public:
  explicit IntensityHistogram(int channels) : channels_(channels) {}
  int features() const override { return kBins * channels_; }
  Variable pooled(const Variable& images, const ForwardContext& context,
                  bool relu_before_pool) const override;

 private:
  static constexpr int kBins = 32;
  int channels_;
};

}  // namespace mono
