#include "train/data/selection.h"

#include "kernels/base/error.h"
#include "train/data/cpg_tables.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <set>
#include <string_view>

namespace mono {
namespace {

// Mechanisms with six compounds that the publication's list has (the printed index of
// SergeyPnev/SCMC-DINO's notebook, which names each of the fifty).
constexpr std::array<std::string_view, 7> kPublishedTies = {
    "AKT inhibitor",
    "Aurora kinase inhibitor",
    "HMGCR inhibitor",
    "angiotensin receptor antagonist",
    "mTOR inhibitor|PI3K inhibitor",
    "nucleoside reverse transcriptase inhibitor",
    "vitamin D receptor agonist"};

}  // namespace

Dataset select_treatments(Dataset dataset, const TreatmentSelection& selection) {
  if (!is_cpg0004(dataset.form))
    fail(ErrorKind::usage,
         "{}: a selection by dose and mechanism is asked for, which the tables of RxRx1 do not "
         "hold; leave it out",
         dataset.root.string());
  constexpr int kLevels = static_cast<int>(std::size(kDoseLevels));
  if (selection.dose_level < 1 || selection.dose_level > kLevels)
    fail(ErrorKind::usage, "dose level {} is asked for; levels are 1 to {}", selection.dose_level,
         kLevels);
  if (selection.moas < 2)
    fail(ErrorKind::usage, "{} mechanisms are asked for; DMSO and one more are the least",
         selection.moas);
  std::map<int, std::set<int>> compounds;  // of each mechanism
  for (const Site& s : dataset.sites)
    if (s.dose_level == selection.dose_level && dataset.moas[static_cast<size_t>(s.moa)] != kNoMoa)
      compounds[s.moa].insert(s.compound);
  if (compounds.empty())
    fail(ErrorKind::usage,
         "{}: no compound with a known mechanism has dose level {} ({} uM); choose another level",
         dataset.root.string(), selection.dose_level, kDoseLevels[selection.dose_level - 1]);
  std::vector<int> order;
  for (const auto& [moa, list] : compounds) order.push_back(moa);
  const auto published = [&](int moa) {
    return std::find(kPublishedTies.begin(), kPublishedTies.end(),
                     dataset.moas[static_cast<size_t>(moa)]) != kPublishedTies.end();
  };
  // Mechanisms are numbered by name, so what is equal otherwise stays in order of names.
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    const size_t na = compounds.at(a).size(), nb = compounds.at(b).size();
    return na != nb ? na > nb : published(a) && !published(b);
  });
  order.resize(std::min(order.size(), static_cast<size_t>(selection.moas - 1)));
  const std::set<int> kept(order.begin(), order.end());
  std::erase_if(dataset.sites, [&](const Site& s) {
    return !s.is_control() && (s.dose_level != selection.dose_level || !kept.contains(s.moa));
  });
  number_treatments(dataset);
  return dataset;
}

}  // namespace mono
