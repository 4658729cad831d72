#include "train/data/pair_sampler.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"

namespace mono {

PairKeys pair_keys(const Dataset& dataset, PairDomain domain) {
  PairKeys keys;
  keys.label_names = dataset.class_names;
  for (const Site& site : dataset.sites) keys.label.push_back(site.sirna_id);
  if (domain == PairDomain::experiment) {
    keys.domain_names = dataset.experiments;
    for (const Site& site : dataset.sites) keys.domain.push_back(site.experiment);
    return keys;
  }
  std::map<std::pair<int, int>, int> plates;  // sorted: experiment, plate
  for (const Site& site : dataset.sites) plates.emplace(std::pair(site.experiment, site.plate), 0);
  for (auto& [plate, id] : plates) {
    id = static_cast<int>(keys.domain_names.size());
    keys.domain_names.push_back(fmt::format("{} plate {}",
                                            dataset.experiments[static_cast<size_t>(plate.first)],
                                            dataset.plate_name(plate.first, plate.second)));
  }
  for (const Site& site : dataset.sites)
    keys.domain.push_back(plates.at({site.experiment, site.plate}));
  return keys;
}

PairSampler::PairSampler(PairKeys keys, std::span<const int> sites, PairRule rule)
    : keys_(std::move(keys)),
      sites_(sites.begin(), sites.end()),
      rule_(rule),
      order_(sites_),
      block_of_(keys_.label.size(), -1) {
  if (sites_.empty())
    fail(ErrorKind::usage, "there are no training images to pair; check the split and its filters");
  const auto key = [&](int site) {
    const size_t i = static_cast<size_t>(site);
    return std::tuple(keys_.label[i], keys_.domain[i], site);
  };
  std::ranges::sort(order_, {}, key);
  if (const int site = order_.front(); rule_ != PairRule::self && std::get<0>(key(site)) < 0)
    fail(ErrorKind::data,
         "training image {} has no label, so no partner can be found for it; leave unlabelled "
         "images out of the training split",
         site);
  const int n = static_cast<int>(order_.size());
  const auto at = [&](int i) { return order_[static_cast<size_t>(i)]; };
  for (Range label; label.end < n; label.begin = label.end) {
    const int of_label = std::get<0>(key(at(label.begin)));
    while (label.end < n && std::get<0>(key(at(label.end))) == of_label) ++label.end;
    for (Range own{label.begin, label.begin}; own.end < label.end; own.begin = own.end) {
      const int of_domain = std::get<1>(key(at(own.begin)));
      for (; own.end < label.end && std::get<1>(key(at(own.end))) == of_domain; ++own.end)
        block_of_[static_cast<size_t>(at(own.end))] = static_cast<int>(blocks_.size());
      blocks_.push_back({label, own});
    }
  }
  if (rule_ == PairRule::other_domain) check_partners();
}

void PairSampler::check_partners() const {
  int64_t alone = 0, labels = 0;
  const Block* first = nullptr;
  for (const Block& block : blocks_)
    if (block.own.size() == block.label.size()) {
      alone += block.own.size();
      ++labels;
      if (!first) first = &block;
    }
  if (!first) return;
  const size_t site = static_cast<size_t>(order_[static_cast<size_t>(first->own.begin)]);
  const size_t label = static_cast<size_t>(keys_.label[site]);
  fail(ErrorKind::data,
       "{} of {} training images have no partner: their label is in one domain only. Label {} "
       "(\"{}\") has {} images, all of {}{}; train on more domains, leave these labels out, or "
       "allow partners of the same domain where there is no other",
       alone, sites_.size(), label,
       label < keys_.label_names.size() ? keys_.label_names[label] : std::string(),
       first->own.size(), keys_.domain_names[static_cast<size_t>(keys_.domain[site])],
       labels > 1 ? fmt::format("; {} more labels are alone likewise", labels - 1) : std::string());
}

const PairSampler::Block& PairSampler::block_of(int anchor) const {
  MONO_CHECK(anchor >= 0 && static_cast<size_t>(anchor) < block_of_.size() &&
                 block_of_[static_cast<size_t>(anchor)] >= 0,
             "site {} is not a training image", anchor);
  return blocks_[static_cast<size_t>(block_of_[static_cast<size_t>(anchor)])];
}

int64_t PairSampler::candidates(int anchor) const {
  const Block& block = block_of(anchor);
  if (rule_ == PairRule::self) return 1;
  const int others = block.label.size() - block.own.size();
  return others > 0 ? others : block.label.size();
}

int PairSampler::partner(uint64_t seed, int64_t epoch, int anchor) const {
  const Block& block = block_of(anchor);
  if (rule_ == PairRule::self) return anchor;
  Philox random(seed, Purpose::partner, static_cast<uint32_t>(epoch),
                static_cast<uint32_t>(anchor));
  const int drawn = static_cast<int>(random.below(static_cast<uint32_t>(candidates(anchor))));
  int at = block.label.begin + drawn;
  if (at >= block.own.begin && block.own.size() < block.label.size()) at += block.own.size();
  return order_[static_cast<size_t>(at)];
}

std::vector<int64_t> PairSampler::images_of_domains() const {
  std::vector<int64_t> images(keys_.domain_names.size());
  for (const int site : sites_)
    ++images[static_cast<size_t>(keys_.domain[static_cast<size_t>(site)])];
  return images;
}

}  // namespace mono
