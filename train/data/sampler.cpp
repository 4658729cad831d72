#include "train/data/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/philox.h"

namespace mono {
namespace {

// Training sites by experiment; all in one list for mixed groups.
std::vector<std::vector<int>> pools_of(const RunSetup& setup) {
  if (!setup.recipe.batch.one_experiment_per_group) return {setup.split.train};
  std::vector<std::vector<int>> pools(setup.dataset.experiments.size());
  for (const int site : setup.split.train)
    pools[static_cast<size_t>(setup.dataset.sites[static_cast<size_t>(site)].experiment)].push_back(
        site);
  return pools;
}

// Keys of the sampler's random streams: pool e shuffles with view e + 1, the groups with view 0.
Philox stream(const RunSetup& setup, int64_t epoch, size_t view) {
  return Philox(setup.recipe.seed, Purpose::sampler, static_cast<uint32_t>(epoch), 0,
                static_cast<uint32_t>(view));
}

// One lambda and one box for the group, every image gets its partner's pixels inside the box.
// The box has side sqrt(1 - lambda) and a uniform centre; what the border cuts off counts as own.
void draw_cutmix(Philox& random, int crop, double alpha, RawBatch& raw) {
  const double lambda = random.beta(alpha, alpha);
  const int side = static_cast<int>(crop * std::sqrt(1 - lambda));
  const int y = static_cast<int>(random.below(static_cast<uint32_t>(crop)));
  const int x = static_cast<int>(random.below(static_cast<uint32_t>(crop)));
  const int y0 = std::clamp(y - side / 2, 0, crop), y1 = std::clamp(y + side / 2, 0, crop);
  const int x0 = std::clamp(x - side / 2, 0, crop), x1 = std::clamp(x + side / 2, 0, crop);
  const double boxed = double(y1 - y0) * (x1 - x0) / (double(crop) * crop);
  for (size_t n = 0; n < raw.values.size(); ++n) {
    AugmentImage& value = raw.values[n];
    value.box_y0 = y0, value.box_y1 = y1, value.box_x0 = x0, value.box_x1 = x1;
    raw.own_share[n] = static_cast<float>(1 - boxed);
  }
}

// A lambda for every image.
void draw_mixup(Philox& random, double alpha, RawBatch& raw) {
  for (size_t n = 0; n < raw.values.size(); ++n)
    raw.own_share[n] = raw.values[n].mix = static_cast<float>(random.beta(alpha, alpha));
}

}  // namespace

int64_t steps_per_epoch(const Recipe::Batch& batch, const std::vector<int64_t>& images) {
  int64_t groups = 0;
  if (batch.one_experiment_per_group)
    for (const int64_t count : images) groups += count / batch.group_size;
  else
    groups = std::accumulate(images.begin(), images.end(), int64_t{0}) / batch.group_size;
  return groups / batch.groups;
}

int64_t steps_per_epoch(const RunSetup& setup) {
  const Recipe::Batch& batch = setup.recipe.batch;
  if (batch.form == BatchForm::views) {
    const int64_t steps = static_cast<int64_t>(setup.split.train.size()) / batch.anchors;
    if (steps > 0) return steps;
    fail(ErrorKind::usage,
         "the {} training images do not fill one step of {} anchors; lower batch.anchors",
         setup.split.train.size(), batch.anchors);
  }
  std::vector<int64_t> images;
  for (const auto& pool : pools_of(setup)) images.push_back(static_cast<int64_t>(pool.size()));
  const int64_t steps = steps_per_epoch(batch, images);
  if (steps > 0) return steps;
  if (batch.one_experiment_per_group)
    fail(ErrorKind::usage,
         "the {} training images do not fill one step of {} groups of {} images of one experiment "
         "each (the largest experiment has {}); lower batch.group_size or batch.groups",
         setup.split.train.size(), batch.groups, batch.group_size,
         *std::ranges::max_element(images));
  fail(ErrorKind::usage,
       "the {} training images do not fill one step of {} groups of {} images; lower "
       "batch.group_size or batch.groups",
       setup.split.train.size(), batch.groups, batch.group_size);
}

std::vector<Group> plan_epoch(const RunSetup& setup, int64_t epoch) {
  const size_t group_size = static_cast<size_t>(setup.recipe.batch.group_size);
  std::vector<std::vector<int>> pools = pools_of(setup);
  std::vector<Group> groups;
  for (size_t e = 0; e < pools.size(); ++e) {
    stream(setup, epoch, e + 1).shuffle(pools[e]);
    for (size_t at = 0; at + group_size <= pools[e].size(); at += group_size)
      groups.emplace_back(pools[e].begin() + static_cast<ptrdiff_t>(at),
                          pools[e].begin() + static_cast<ptrdiff_t>(at + group_size));
  }
  if (pools.size() > 1) stream(setup, epoch, 0).shuffle(groups);
  const size_t per_step = static_cast<size_t>(setup.recipe.batch.groups);
  groups.resize(groups.size() / per_step * per_step);
  return groups;
}

void draw_augmentation(const RunSetup& setup, int64_t epoch, int64_t index, RawBatch& raw) {
  const Recipe::Augment& augment = setup.recipe.augment;
  const uint64_t seed = setup.recipe.seed;
  const uint32_t at = static_cast<uint32_t>(epoch);
  const int spare_y = setup.images->height() - setup.crop;
  const int spare_x = setup.images->width() - setup.crop;
  for (size_t n = 0; n < raw.values.size(); ++n) {
    AugmentImage& value = raw.values[n];
    const uint32_t site = static_cast<uint32_t>(raw.sites[n]);
    if (augment.dihedral)
      value.dihedral = static_cast<int>(Philox(seed, Purpose::dihedral, at, site).below(8));
    Philox crop(seed, Purpose::crop, at, site);
    value.crop_y = static_cast<int>(crop.below(static_cast<uint32_t>(spare_y) + 1));
    value.crop_x = static_cast<int>(crop.below(static_cast<uint32_t>(spare_x) + 1));
  }
  if (augment.mixing == Mixing::none) return;
  Philox random(seed, Purpose::mixing, at, static_cast<uint32_t>(index));
  if (random.uniform() >= augment.probability) return;
  std::vector<int> partners(raw.values.size());
  std::iota(partners.begin(), partners.end(), 0);
  random.shuffle(partners);
  for (size_t n = 0; n < raw.values.size(); ++n) raw.values[n].partner = partners[n];
  if (augment.mixing == Mixing::cutmix)
    draw_cutmix(random, setup.crop, augment.alpha, raw);
  else
    draw_mixup(random, augment.alpha, raw);
}

}  // namespace mono
