#include "train/data/split.h"

#include "kernels/base/error.h"
#include "kernels/base/philox.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

namespace mono {
namespace {

// Streams of random numbers under Purpose::split, in the `epoch` word of the counter.
enum Stream : uint32_t {
  kTreatments,
  kTreatmentSlots,
  kControls,
  kControlSlots,
  kNegatives,
  kExperiments
};

bool by_image(const SplitOptions& options) {
  return options.stratified_by == StratifiedBy::image;
}

// Where a well (or image) of a class can be: (experiment, plate or replicate, site or 0).
using Slot = std::tuple<int, int, int>;

// [site] -> which of its class's wells in its experiment the site's well is, from 0, in the order
// of plates and wells; modulo the usual number of such wells, so that in the real screen, where a
// treatment has one (and two by mistake of some tables), it is 0 throughout.
std::vector<int> replicates(const Dataset& dataset, WellType type) {
  std::map<std::pair<int, int>, std::map<std::pair<int, std::string>, int>> wells;
  for (const Site& s : dataset.sites)
    if (s.well_type == type) wells[{s.experiment, s.sirna_id}][{s.plate, s.well}] = 0;
  size_t total = 0;
  for (auto& [pair, of_pair] : wells) {
    int rank = 0;
    for (auto& [well, replicate] : of_pair) replicate = rank++;
    total += of_pair.size();
  }
  const int usual =
      wells.empty()
          ? 1
          : std::max(1, static_cast<int>(std::llround(static_cast<double>(total) /
                                                      static_cast<double>(wells.size()))));
  std::vector<int> out(dataset.sites.size());
  for (size_t i = 0; i < out.size(); ++i) {
    const Site& s = dataset.sites[i];
    if (s.well_type == type)
      out[i] = wells.at({s.experiment, s.sirna_id}).at({s.plate, s.well}) % usual;
  }
  return out;
}

template <class Key>
std::map<Key, int> shuffled_positions(const std::set<Key>& keys, uint64_t seed, Stream stream) {
  std::vector<Key> order(keys.begin(), keys.end());
  Philox(seed, Purpose::split, stream).shuffle(order);
  std::map<Key, int> position;
  for (size_t i = 0; i < order.size(); ++i) position[order[i]] = static_cast<int>(i);
  return position;
}

// Fraction of experiments that test: the table's own, 18/51 where the table has no test part.
double test_fraction(const Dataset& dataset) {
  std::set<int> test;
  for (const Site& site : dataset.sites)
    if (site.in_test) test.insert(site.experiment);
  if (test.empty() || test.size() == dataset.experiments.size()) return 18.0 / 51.0;
  return static_cast<double>(test.size()) / static_cast<double>(dataset.experiments.size());
}

// Marks the test sites of one kind of well by the walk of the header.
void walk(const Dataset& dataset, WellType type, const SplitOptions& options, double fraction,
          std::vector<uint8_t>& in_test) {
  const bool by_plate = type == WellType::positive_control;
  const std::vector<int> replicate = replicates(dataset, type);
  const auto slot_of = [&](size_t i) {
    const Site& s = dataset.sites[i];
    return Slot(s.experiment, by_plate ? s.plate : replicate[i], by_image(options) ? s.site : 0);
  };
  std::set<int> classes;
  std::set<Slot> slots;
  for (size_t i = 0; i < dataset.sites.size(); ++i) {
    const Site& site = dataset.sites[i];
    if (site.well_type != type || site.sirna_id < 0) continue;
    classes.insert(site.sirna_id);
    slots.insert(slot_of(i));
  }
  if (slots.empty()) return;
  const auto class_at =
      shuffled_positions(classes, options.seed, by_plate ? kControls : kTreatments);
  const auto slot_at =
      shuffled_positions(slots, options.seed, by_plate ? kControlSlots : kTreatmentSlots);
  const auto n = static_cast<int64_t>(slots.size());
  const int64_t width = std::clamp<int64_t>(std::llround(fraction * static_cast<double>(n)), 1,
                                            std::max<int64_t>(n - 1, 1));
  for (size_t i = 0; i < dataset.sites.size(); ++i) {
    const Site& site = dataset.sites[i];
    if (site.well_type != type || site.sirna_id < 0) continue;
    const int64_t begin = width * class_at.at(site.sirna_id) % n;
    in_test[i] = (slot_at.at(slot_of(i)) - begin + n) % n < width;
  }
}

// Negative controls: a shuffle inside each experiment.
void split_negatives(const Dataset& dataset, const SplitOptions& options, double fraction,
                     std::vector<uint8_t>& in_test) {
  using Unit = std::tuple<int, std::string, int>;  // plate, well, site or 0
  const auto unit_of = [&](const Site& s) {
    return Unit(s.plate, s.well, by_image(options) ? s.site : 0);
  };
  std::map<int, std::set<Unit>> units;
  for (const Site& site : dataset.sites)
    if (site.well_type == WellType::negative_control) units[site.experiment].insert(unit_of(site));
  std::set<std::pair<int, Unit>> test;
  int64_t seen = 0;
  for (const auto& [experiment, set] : units) {
    std::vector<Unit> order(set.begin(), set.end());
    Philox(options.seed, Purpose::split, kNegatives, static_cast<uint32_t>(experiment))
        .shuffle(order);
    const auto due = [&](int64_t count) {
      return std::llround(fraction * static_cast<double>(count));
    };
    const int64_t take = due(seen + static_cast<int64_t>(order.size())) - due(seen);
    seen += static_cast<int64_t>(order.size());
    for (int64_t k = 0; k < take; ++k) test.emplace(experiment, order[static_cast<size_t>(k)]);
  }
  for (size_t i = 0; i < dataset.sites.size(); ++i) {
    const Site& site = dataset.sites[i];
    if (site.well_type == WellType::negative_control)
      in_test[i] = test.contains({site.experiment, unit_of(site)});
  }
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void require_known(const std::vector<std::string>& wanted, const std::vector<std::string>& known,
                   const char* what) {
  for (const auto& name : wanted)
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail(ErrorKind::usage, "{} '{}' is not in the table; it has {}", what, name, joined(known));
}

// [experiment] -> kept by the filters.
std::vector<uint8_t> filter(const Dataset& dataset, const SplitOptions& options) {
  require_known(options.experiments, dataset.experiments, "experiment");
  require_known(options.cell_types, dataset.cell_types, "cell type");
  std::vector<uint8_t> keep(dataset.experiments.size(), 1);
  const auto has = [](const auto& list, const std::string& name) {
    return list.empty() || std::find(list.begin(), list.end(), name) != list.end();
  };
  for (size_t e = 0; e < keep.size(); ++e) {
    const auto type = static_cast<size_t>(dataset.cell_type_of[e]);
    keep[e] = has(options.experiments, dataset.experiments[e]) &&
              has(options.cell_types, dataset.cell_types[type]);
  }
  return keep;
}

// Table 4: drops the training sites of all but `train_experiments` experiments.
void draw_experiments(const Dataset& dataset, const SplitOptions& options, Split& split) {
  if (options.train_experiments == 0) return;
  std::set<int> present;
  for (const int i : split.train) present.insert(dataset.sites[static_cast<size_t>(i)].experiment);
  if (options.train_experiments < 0 || options.train_experiments > static_cast<int>(present.size()))
    fail(ErrorKind::usage,
         "{} training experiments are asked for, the selection has {}; ask for "
         "fewer or widen it",
         options.train_experiments, present.size());
  std::vector<int> order(present.begin(), present.end());
  Philox(options.seed, Purpose::split, kExperiments).shuffle(order);
  order.resize(static_cast<size_t>(options.train_experiments));
  const std::set<int> kept(order.begin(), order.end());
  std::erase_if(split.train, [&](int i) {
    return !kept.contains(dataset.sites[static_cast<size_t>(i)].experiment);
  });
}

void require_both_parts(const Dataset& dataset, const SplitOptions& options, const Split& split,
                        int incomplete) {
  if (!split.train.empty() && !split.test.empty()) return;
  const char* part = split.train.empty() ? "training" : "test";
  const std::string root = dataset.root.string();
  if (incomplete > 0)
    fail(
        ErrorKind::data,
        "{}: the {} split leaves no {} images: {} sites lack images; `train_rxrx data check` lists "
        "them",
        root, name_of(options.by), part, incomplete);
  if (options.by == SplitBy::separated && dataset.form == TableForm::described)
    fail(
        ErrorKind::data,
        "{}: the separated split leaves no {} images: split.test_experiments (or columns.split) of "
        "screen.toml must say that at least one experiment tests and another one does not ({} "
        "experiment(s) in the table); correct it, widen the selection, or use data.split = "
        "\"stratified\"",
        root, part, dataset.experiments.size());
  if (options.by == SplitBy::separated)
    fail(ErrorKind::data,
         "{}: the separated split leaves no {} images: column `dataset` must name at least one "
         "experiment as train and another one as test ({} experiment(s) in the table); correct the "
         "table, widen the selection, or use data.split = \"stratified\"",
         root, part, dataset.experiments.size());
  fail(ErrorKind::data,
       "{}: the stratified split leaves no {} images; it needs labelled wells of at "
       "least two experiments ({} in the table)",
       root, part, dataset.experiments.size());
}

}  // namespace

const char* name_of(SplitBy split) {
  return split == SplitBy::separated ? "separated" : "stratified";
}

Split make_split(const Dataset& dataset, const SplitOptions& options) {
  const std::vector<uint8_t> keep = filter(dataset, options);
  std::vector<uint8_t> in_test(dataset.sites.size());
  if (options.by == SplitBy::separated) {
    for (size_t i = 0; i < in_test.size(); ++i) in_test[i] = dataset.sites[i].in_test;
  } else if (dataset.experiments.size() >= 2) {
    const double fraction = test_fraction(dataset);
    walk(dataset, WellType::treatment, options, fraction, in_test);
    walk(dataset, WellType::positive_control, options, fraction, in_test);
    split_negatives(dataset, options, fraction, in_test);
  }
  Split split;
  int incomplete = 0;
  for (size_t i = 0; i < dataset.sites.size(); ++i) {
    const Site& site = dataset.sites[i];
    if (!keep[static_cast<size_t>(site.experiment)]) continue;
    const bool stratified = options.by == SplitBy::stratified;
    if (site.sirna_id < 0 && (stratified || !options.include_unlabelled)) continue;
    if (!stratified && site.in_validation && !options.validation_in_test) continue;
    if (!options.include_incomplete && !dataset.complete(static_cast<int>(i))) {
      ++incomplete;
      continue;
    }
    (in_test[i] ? split.test : split.train).push_back(static_cast<int>(i));
  }
  draw_experiments(dataset, options, split);
  if (options.train_site > 0)
    std::erase_if(split.train, [&](int i) {
      return dataset.sites[static_cast<size_t>(i)].site != options.train_site;
    });
  require_both_parts(dataset, options, split, incomplete);
  return split;
}

}  // namespace mono
