#include "train/data/folds.h"

#include "kernels/base/error.h"
#include "kernels/base/philox.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace mono {
namespace {

// The stream of the draw of DMSO fields, in the `epoch` word under Purpose::split; those below 16
// are split.cpp's.
constexpr uint32_t kControlFields = 16;

enum Part : uint8_t { kTrain, kValidation, kTest, kNone };

// Experiments of the cell type (empty: the only one), in order of their names.
std::vector<int> experiments_of(const Dataset& dataset, const std::string& asked) {
  std::vector<int> experiments;
  std::string have;
  for (const std::string& type : dataset.cell_types) have += (have.empty() ? "" : ", ") + type;
  if (asked.empty() && dataset.cell_types.size() != 1)
    fail(ErrorKind::usage,
         "folds rotate the experiments of one cell type, and the table has {}; name one in "
         "data.cell_types",
         have);
  const std::string& cell_type = asked.empty() ? dataset.cell_types.front() : asked;
  for (size_t e = 0; e < dataset.experiments.size(); ++e)
    if (dataset.cell_types[static_cast<size_t>(dataset.cell_type_of[e])] == cell_type)
      experiments.push_back(static_cast<int>(e));
  if (experiments.empty())
    fail(ErrorKind::usage, "cell type '{}' is not in the table; it has {}", cell_type, have);
  if (experiments.size() < 3)
    fail(ErrorKind::data,
         "{}: {} {} experiment(s); folds need three at least, to train, validate and test on",
         dataset.root.string(), experiments.size(), cell_type);
  return experiments;
}

int held_out(size_t experiments) {
  return std::max(1, static_cast<int>(experiments) / 6);
}

// [experiment] -> part.
std::vector<Part> parts_by_experiment(const Dataset& dataset, const FoldOptions& options) {
  const std::vector<int> order = experiments_of(dataset, options.cell_type);
  const int n = static_cast<int>(order.size()), hold = held_out(order.size());
  std::vector<Part> parts(dataset.experiments.size(), kNone);
  for (int i = 0; i < n; ++i) {
    const int experiment = order[static_cast<size_t>((i + hold * (options.fold - 1)) % n)];
    parts[static_cast<size_t>(experiment)] = i < n - 2 * hold ? kTrain
                                             : i < n - hold   ? kValidation
                                                              : kTest;
  }
  return parts;
}

std::vector<Part> parts_by_replicate(const Dataset& dataset, const FoldOptions& options) {
  std::vector<Part> parts(dataset.experiments.size(), kNone);
  for (const Site& s : dataset.sites) {
    const int place = (s.replicate - options.fold + kMaxReplicate) % kMaxReplicate;
    parts[static_cast<size_t>(s.experiment)] = place < 3    ? kTrain
                                               : place == 3 ? kValidation
                                                            : kTest;
  }
  return parts;
}

// Leaves at most options.control_fields of DMSO in `train`.
void draw_controls(const Dataset& dataset, const FoldOptions& options, std::vector<int>& train) {
  std::vector<int> controls;
  for (const int i : train)
    if (dataset.sites[static_cast<size_t>(i)].is_control()) controls.push_back(i);
  const auto wanted = static_cast<size_t>(options.control_fields);
  if (wanted == 0 || controls.size() <= wanted) return;
  Philox(options.seed, Purpose::split, kControlFields).shuffle(controls);
  const std::set<int> dropped(controls.begin() + static_cast<ptrdiff_t>(wanted), controls.end());
  std::erase_if(train, [&](int i) { return dropped.contains(i); });
}

std::vector<int> subset_of(const Dataset& dataset, Subset subset, const std::vector<int>& train) {
  std::vector<int> kept;
  std::set<std::tuple<int, int, int>> met;  // class, experiment, plate
  for (const int i : train) {
    const Site& s = dataset.sites[static_cast<size_t>(i)];
    const bool control = s.is_control();
    switch (subset) {
      case Subset::all:
        break;
      case Subset::controls:
        if (!control) continue;
        break;
      case Subset::treatments:
        if (control) continue;
        break;
      case Subset::half_sites:
        if (!control && met.emplace(s.sirna_id, s.experiment, s.plate).second) continue;
        break;
      case Subset::half_treatments:
        if (!control && s.sirna_id % 2 == 0) continue;
        break;
    }
    kept.push_back(i);
  }
  return kept;
}

}  // namespace

const char* name_of(Subset subset) {
  switch (subset) {
    case Subset::all:
      return "all";
    case Subset::controls:
      return "controls";
    case Subset::treatments:
      return "treatments";
    case Subset::half_sites:
      return "half-sites";
    case Subset::half_treatments:
      return "half-treatments";
  }
  return "?";
}

int fold_count(const Dataset& dataset, const FoldOptions& options) {
  if (is_cpg0004(dataset.form)) return kMaxReplicate;
  const size_t n = experiments_of(dataset, options.cell_type).size();
  return static_cast<int>(n) / held_out(n);
}

Split make_folds(const Dataset& dataset, const FoldOptions& options) {
  const int folds = fold_count(dataset, options);
  if (options.fold < 1 || options.fold > folds)
    fail(ErrorKind::usage, "fold {} is asked for, the screen {} has folds 1 to {}", options.fold,
         dataset.root.string(), folds);
  const bool cpg = is_cpg0004(dataset.form);
  const std::vector<Part> parts =
      cpg ? parts_by_replicate(dataset, options) : parts_by_experiment(dataset, options);
  Split split;
  int incomplete = 0;
  for (size_t i = 0; i < dataset.sites.size(); ++i) {
    const Site& s = dataset.sites[i];
    const Part part = parts[static_cast<size_t>(s.experiment)];
    if (part == kNone || (s.sirna_id < 0 && !options.include_unlabelled)) continue;
    if (!options.include_incomplete && !dataset.complete(static_cast<int>(i))) {
      ++incomplete;
      continue;
    }
    (part == kTrain  ? split.train
     : part == kTest ? split.test
                     : split.validation)
        .push_back(static_cast<int>(i));
  }
  if (cpg) draw_controls(dataset, options, split.train);
  split.bank = split.train;
  split.train = subset_of(dataset, options.subset, split.bank);
  for (const auto& [part, name] : {std::pair(&split.train, "training"),
                                   {&split.validation, "validation"},
                                   {&split.test, "test"}})
    if (part->empty())
      fail(ErrorKind::data,
           "{}: fold {} leaves no {} images (subset {}; {} sites of the fold lack images{}); "
           "`train_rxrx data check` lists what is missing",
           dataset.root.string(), options.fold, name, name_of(options.subset), incomplete,
           cpg ? ", and each of the replicates 1 to 5 must be there" : "");
  return split;
}

}  // namespace mono
