#include "train/data/view_loader.h"

#include <algorithm>
#include <utility>

#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

Tensor empty_planes(const RunSetup& setup, int images) {
  const Shape shape{images, static_cast<int>(setup.channels.size()), setup.images->height(),
                    setup.images->width()};
  return setup.device == Device::cpu ? Tensor::empty(shape, DType::u8)
                                     : Tensor::empty_pinned(shape, DType::u8);
}

void read_site(const RunSetup& setup, int site, const Tensor& planes, int image) {
  const int64_t bytes = planes.bytes() / planes.shape()[0];
  setup.images->read(site, setup.channels, planes.data<uint8_t>() + image * bytes);
}

// What the sites' planes are normalised with, in units of pixels / 255.
struct Scales {
  std::vector<float> mean, inv_std;  // (sites, channels)
};
Scales scales_of(const RunSetup& setup, std::span<const int> sites) {
  const size_t channels = setup.channels.size();
  Scales scales{std::vector<float>(sites.size() * channels),
                std::vector<float>(sites.size() * channels)};
  for (size_t n = 0; n < sites.size(); ++n)
    setup.normalisation.of(sites[n], setup.channels, scales.mean.data() + n * channels,
                           scales.inv_std.data() + n * channels);
  return scales;
}

void check_normalisation(const RunSetup& setup) {
  if (setup.normalisation.values.empty())
    fail(ErrorKind::usage,
         "views are normalised with the statistics of a plate, an experiment or all images; "
         "data.normalisation = \"self\" has none");
}

}  // namespace

int64_t view_steps_per_epoch(const PairSampler& sampler, const ViewOptions& options, int pairs) {
  const int64_t images = static_cast<int64_t>(sampler.sites().size());
  if (pairs < 1 || images / pairs == 0)
    fail(ErrorKind::usage,
         "the {} training images do not fill one batch of {} pairs; lower the batch size or train "
         "on more images",
         images, pairs);
  if (pairs == 1 && options.global_crops > 1)
    fail(ErrorKind::usage,
         "a batch of one pair: its views are compared by statistics over the batch, which one "
         "image does not have; use 2 pairs or more");
  return images / pairs;
}

std::vector<int> plan_anchors(const PairSampler& sampler, uint64_t seed, int64_t epoch, int pairs) {
  std::vector<int> anchors = sampler.sites();
  Philox(seed, Purpose::sampler, static_cast<uint32_t>(epoch)).shuffle(anchors);
  const size_t batch = static_cast<size_t>(pairs);
  anchors.resize(anchors.size() / batch * batch);
  return anchors;
}

ViewLoader::ViewLoader(const RunSetup& setup, const PairSampler& sampler,
                       const ViewOptions& options, int pairs, int64_t first_step, int64_t last_step,
                       int workers, const GroupShare& share)
    : setup_(setup),
      sampler_(sampler),
      options_((check_view_options(options), check_normalisation(setup), options)),
      share_(share),
      step_pairs_(pairs),
      pairs_(pairs / share.groups),
      image_of_view_(images_of_views(options, sampler.rule() != PairRule::self)),
      per_epoch_(view_steps_per_epoch(sampler, options, pairs)),
      upload_(setup.device),
      reader_(first_step * share.count, last_step * share.count, workers,
              [this](int64_t number) { return load(number); }) {}

ViewLoader::Plan ViewLoader::plan(int64_t epoch) {
  const std::lock_guard lock(plan_mutex_);
  if (plan_epoch_ != epoch) {
    plan_ = std::make_shared<const std::vector<int>>(
        plan_anchors(sampler_, setup_.recipe.seed, epoch, step_pairs_));
    plan_epoch_ = epoch;
  }
  return plan_;
}

ViewLoader::Pairs ViewLoader::load(int64_t number) {
  const int64_t step = number / share_.count, group = share_.first + number % share_.count;
  const int64_t epoch = step / per_epoch_;
  const uint64_t seed = setup_.recipe.seed;
  const Plan anchors = plan(epoch);
  const auto first = anchors->begin() + step % per_epoch_ * step_pairs_ + group * pairs_;
  Pairs pairs;
  pairs.anchors.assign(first, first + pairs_);
  for (const int anchor : pairs.anchors)
    pairs.partners.push_back(sampler_.partner(seed, epoch, anchor));

  const bool cross = sampler_.rule() != PairRule::self;
  std::vector<int> sites = pairs.anchors;
  if (cross) sites.insert(sites.end(), pairs.partners.begin(), pairs.partners.end());
  pairs.planes = empty_planes(setup_, static_cast<int>(sites.size()));
  for (size_t n = 0; n < sites.size(); ++n)
    read_site(setup_, sites[n], pairs.planes, static_cast<int>(n));
  Scales scales = scales_of(setup_, sites);
  pairs.mean = std::move(scales.mean);
  pairs.inv_std = std::move(scales.inv_std);

  const size_t channels = setup_.channels.size();
  const size_t views = image_of_view_.size() * pairs.anchors.size();
  pairs.gain.resize(views * channels);
  pairs.shift.resize(views * channels);
  for (size_t v = 0; v < image_of_view_.size(); ++v)
    for (int b = 0; b < pairs_; ++b) {
      const size_t at = pairs.views.size() * channels;
      CropView view = draw_view(
          options_, static_cast<int>(v), setup_.images->height(), setup_.images->width(), seed,
          epoch, pairs.anchors[static_cast<size_t>(b)], std::span(pairs.gain).subspan(at, channels),
          std::span(pairs.shift).subspan(at, channels));
      view.image = image_of_view_[v] * pairs_ + b;
      pairs.views.push_back(view);
    }
  return pairs;
}

ViewBatch ViewLoader::crop(const Pairs& pairs, const Tensor& planes) const {
  ViewBatch batch;
  batch.pairs = pairs_;
  batch.anchors = pairs.anchors;
  batch.partners = pairs.partners;
  for (const auto* sites : {&batch.anchors, &batch.partners})
    for (const int site : *sites)
      batch.domains.push_back(sampler_.keys().domain[static_cast<size_t>(site)]);
  for (const int site : batch.anchors)
    batch.labels.push_back(setup_.label[static_cast<size_t>(site)]);

  const PlaneScale scale = plane_scale(pairs.mean, pairs.inv_std, planes.device());
  const size_t channels = setup_.channels.size();
  const size_t global = static_cast<size_t>(options_.global_crops) * static_cast<size_t>(pairs_);
  const auto crops = [&](size_t begin, size_t end, int side) {
    const auto part = [&](const std::vector<float>& values) {
      return std::span(values).subspan(begin * channels, (end - begin) * channels);
    };
    return cropped_views(planes, std::span(pairs.views).subspan(begin, end - begin),
                         {part(pairs.gain), part(pairs.shift)}, scale, side, setup_.precision);
  };
  batch.global = crops(0, global, options_.global.side);
  if (options_.local_crops > 0)
    batch.local = crops(global, pairs.views.size(), options_.local.side);
  return batch;
}

ViewBatch ViewLoader::next() {
  if (!ahead_.pairs && !ahead_.error) {
    const Pairs pairs = reader_.next();
    return crop(pairs, upload_(pairs.planes));
  }
  const Ahead ahead = std::exchange(ahead_, {});
  if (ahead.error) std::rethrow_exception(ahead.error);
  return crop(*ahead.pairs, ahead.planes);
}

void ViewLoader::prefetch() {
  if (setup_.device == Device::cpu || reader_.finished() || ahead_.pairs || ahead_.error) return;
  try {
    ahead_.pairs = reader_.next();
    ahead_.planes = upload_(ahead_.pairs->planes);
  } catch (...) {  // belongs to the batch, not to the step before it
    ahead_ = {};
    ahead_.error = std::current_exception();
  }
}

Tensor evaluation_views(const RunSetup& setup, std::span<const int> sites, int side) {
  check_normalisation(setup);
  const Tensor planes = empty_planes(setup, static_cast<int>(sites.size()));
  parallel_for(static_cast<int64_t>(sites.size()), [&](int64_t n, int) {
    read_site(setup, sites[static_cast<size_t>(n)], planes, static_cast<int>(n));
  });
  const Scales scales = scales_of(setup, sites);
  std::vector<CropView> views;
  while (views.size() < sites.size())
    views.push_back(centre_view(static_cast<int>(views.size()), setup.images->height(),
                                setup.images->width(), side));
  const std::vector<float> gain(scales.mean.size(), 1.0f), shift(scales.mean.size(), 0.0f);
  return cropped_views(planes.to(setup.device), views, {gain, shift},
                       plane_scale(scales.mean, scales.inv_std, setup.device), side,
                       setup.precision);
}

}  // namespace mono
