#include "train/explain/image_choice.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"

namespace mono {

ImageChoice choose_images(const Dataset& dataset, std::span<const int> sites, int per_experiment,
                          int in_all, uint64_t seed) {
  using Well = std::tuple<int, std::string>;  // plate, well
  std::map<int, std::map<Well, std::vector<int>>> wells_of;
  std::vector<int> sorted(sites.begin(), sites.end());
  std::ranges::sort(sorted);
  for (const int index : sorted) {
    const Site& site = dataset.sites[static_cast<size_t>(index)];
    wells_of[site.experiment][{site.plate, site.well}].push_back(index);
  }
  if (wells_of.empty()) fail(ErrorKind::data, "{}: no image to look at", dataset.root.string());
  const size_t each = static_cast<size_t>(
      std::clamp(in_all / static_cast<int>(wells_of.size()), 2, std::max(2, per_experiment)));

  struct Chosen {
    int site, domain;
    bool in_bank;
  };
  std::vector<Chosen> chosen;
  ImageChoice choice;
  for (const auto& [experiment, by_well] : wells_of) {
    std::vector<const std::vector<int>*> wells;
    for (const auto& [well, images] : by_well) wells.push_back(&images);
    Philox(seed, Purpose::explanation, 0, static_cast<uint32_t>(experiment)).shuffle(wells);
    std::vector<Chosen> own;
    const int domain = static_cast<int>(choice.experiments.size());
    size_t taken = 0;
    std::vector<size_t> begins;  // of the wells in `own`
    for (const auto* images : wells) {
      if (taken >= each) break;
      begins.push_back(taken);
      for (const int site : *images) {
        if (taken == each) break;
        own.push_back({site, domain, false});
        ++taken;
      }
    }
    if (taken < 2)
      fail(ErrorKind::data,
           "{}: experiment {} has a single image to look at, too few for statistics of its own; "
           "leave it out (data.experiments)",
           dataset.root.string(), dataset.experiments[static_cast<size_t>(experiment)]);
    const size_t half = begins.size() == 1 ? taken : begins[(begins.size() + 1) / 2];
    for (size_t i = 0; i < half; ++i) own[i].in_bank = true;
    chosen.insert(chosen.end(), own.begin(), own.end());
    choice.experiments.push_back(experiment);
    choice.of_domain.push_back(static_cast<int64_t>(taken));
  }
  std::ranges::sort(chosen, {}, &Chosen::site);
  for (const Chosen& image : chosen) {
    choice.sites.push_back(image.site);
    choice.domain.push_back(image.domain);
    choice.in_bank.push_back(image.in_bank);
  }
  return choice;
}

}  // namespace mono
