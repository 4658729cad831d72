// Pairs of images of a self-supervised run, as the views that a step computes on.
//
// An epoch takes every training image once as an anchor, shuffled, in batches; images that fill no
// batch sit out. Loader threads read a batch's images ahead, in order, with partners and views as
// pure functions of (seed, epoch, anchor); their planes are copied to the device, and cropped
// there. So any number of workers and any step resumed from give the same batches.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "train/data/pair_sampler.h"
#include "train/data/planes_upload.h"
#include "train/data/read_ahead.h"
#include "train/data/views.h"
#include "train/ranks.h"
#include "train/setup.h"

namespace mono {

// B pairs. Rows of the tensors are view-major: view v of pair b is row v B + b.
struct ViewBatch {
  int pairs = 0;
  std::vector<int> anchors, partners;  // sites; partners are the anchors without cross-batch pairs
  std::vector<int> domains;            // (2B) of the anchors, then of the partners
  std::vector<int> labels;             // (B) RunSetup::label of the anchors
  // (global_crops B, side, side, C), (local_crops B, side, side, C) of RunSetup::precision on
  // RunSetup::device; undefined where there are no such crops.
  Tensor global, local;
};

// Batches in an epoch. Error(usage) if the training images do not fill one, or if a batch has one
// pair only while its views are compared with each other (batch statistics would be zero).
int64_t view_steps_per_epoch(const PairSampler& sampler, const ViewOptions& options, int pairs);

// Anchors of an epoch's steps, in order: `pairs` each.
std::vector<int> plan_anchors(const PairSampler& sampler, uint64_t seed, int64_t epoch, int pairs);

// Reads the anchors' and partners' sites, and draws their views.
class ViewLoader {
 public:
  // Steps [first_step, last_step) of the run, counted over all epochs, of `pairs` pairs each, in
  // equal groups, of which this loads those of `share`. `setup` gives pixels, channels,
  // normalisation (per site: NormalisationStats::of), labels, seed, device and precision; it and
  // `sampler` must outlive the loader.
  ViewLoader(const RunSetup& setup, const PairSampler& sampler, const ViewOptions& options,
             int pairs, int64_t first_step, int64_t last_step, int workers,
             const GroupShare& share = {});

  // The next group, a batch. Rethrows what its reading threw: Error(data) names the file.
  ViewBatch next();
  // Starts to copy the next batch's planes to a GPU, which works meanwhile: for the end of a step,
  // before the host waits. Nothing on the CPU, or when there is no further batch.
  void prefetch();
  // Seconds that next() has spent waiting (or reading, without workers) since the start.
  double waited() const { return reader_.waited(); }

 private:
  struct Pairs {  // as read, on the host
    std::vector<int> anchors, partners;
    Tensor planes;  // (B or 2B,C,H,W) u8: anchors, then partners
    std::vector<float> mean, inv_std;
    std::vector<CropView> views;  // view-major, global ones first
    std::vector<float> gain, shift;
  };
  using Plan = std::shared_ptr<const std::vector<int>>;

  Pairs load(int64_t number);
  Plan plan(int64_t epoch);
  ViewBatch crop(const Pairs& pairs, const Tensor& planes) const;

  const RunSetup& setup_;
  const PairSampler& sampler_;
  const ViewOptions options_;
  const GroupShare share_;
  const int step_pairs_, pairs_;  // of a step, of a group
  const std::vector<int> image_of_view_;
  const int64_t per_epoch_;  // steps
  std::mutex plan_mutex_;
  int64_t plan_epoch_ = -1;
  Plan plan_;
  PlanesUpload upload_;
  struct Ahead {  // what prefetch() has taken
    std::optional<Pairs> pairs;
    Tensor planes;
    std::exception_ptr error;
  };
  Ahead ahead_;
  ReadAhead<Pairs>
      reader_;  // the share's groups, numbered across steps; last: its threads use the rest
};

// What evaluation and k-NN banks see of the sites: the middle `side` x `side` pixels, the plate's
// normalisation, no other change. (sites, side, side, C) of RunSetup::precision on
// RunSetup::device. Throws Error(data) naming the file.
Tensor evaluation_views(const RunSetup& setup, std::span<const int> sites, int side);

}  // namespace mono
