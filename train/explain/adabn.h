// AdaBN under the microscope: what a run's batch norms meet on its images (TrainedRun::sites: those
// of testing, or of training where no other could be), layer by layer, with running statistics
// ("before") and with those of each image's own experiment ("after").
//
//   y = gamma (x - mean) / sqrt(variance + eps) + beta
//   before   mean, variance: the averages over training, everywhere
//   after    mean[d], variance[d] of the image's experiment d, everywhere (nn/domain/adabn.h)
//
// Distances (layer_recorder.h) of an experiment's statistics of a layer's input from what the layer
// normalises with:
//   before     of the input that arrives with running statistics below, from the running ones: what
//              the layer hands on uncorrected. It has piled up over all layers below.
//   own        of the experiment's own statistics (running ones nowhere below), from the running
//              ones: what this layer alone has to correct
//   after      of the input that arrives with own statistics below, from the own ones: what is left
//              (only the difference between statistics of groups and of the whole experiment)
// Source: RxRx1 section 4.2; Li et al. 2016.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/evaluate/figures.h"
#include "train/evaluate/trained_run.h"
#include "train/explain/layer_recorder.h"

namespace mono {

struct AdabnLayer {
  std::string name;
  int channels = 0;
  std::vector<StatisticsDistance> before, own, after;  // [experiment]
  std::optional<Share> probe_before, probe_after;      // of the experiment; see domain_probe.h
};

// One channel, chosen because running statistics leave the experiment most visible in it: the
// largest ratio of the variance between experiments to that within, of its pooled outputs.
struct ChannelExample {
  std::string layer;
  int channel = 0;
  double ratio_before = 0, ratio_after = 0;
  std::vector<std::vector<double>> before, after;  // [experiment] pooled outputs of its images
};

struct AdabnExplanation {
  std::vector<std::string> experiments;
  std::vector<int64_t> images;  // [experiment] looked at
  int64_t bank = 0, queries = 0;
  double chance = 1;  // of the probes
  std::vector<AdabnLayer> layers;
  std::optional<ChannelExample> example;   // two experiments or more
  Share accuracy_before, accuracy_after;   // of the images with a label
  std::vector<Share> before_of, after_of;  // [experiment]
};

// Errors: usage (a run of views, which has no batch norm that was adapted; says what to use),
// data (an image that cannot be read, an experiment of one image).
AdabnExplanation explain_adabn(const TrainedRun& run, int per_experiment, int in_all);

// The variance of `values` between experiments over the mean variance within them; 0 without any.
double variance_ratio(FeatureView values, int column, const ImageChoice& choice);

}  // namespace mono
