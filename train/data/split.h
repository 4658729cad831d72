// Which images train and which test.
//
// separated   by the table's `dataset` column: whole experiments are unseen in training.
// stratified  every class and every experiment is in both parts, in the proportion of the separated
//             split: a fraction of experiments f = 18/51 (in general: the table's own). The paper
//             does not state its construction; this one is exact and deterministic:
//   * treatments, in an order drawn from the seed, i = 0..T-1; experiments likewise, position q in
//     0..E-1. Class i tests in the F = round(f E) positions (F i .. F i + F - 1) mod E. So every
//     class tests in exactly F experiments and experiments differ by at most one class.
//     Where a treatment has several wells an experiment (small synthetic screens), the walk runs
//     over (experiment, replicate), so that every class and experiment still meet in both parts.
//   * a positive control has a well on each plate: the same walk over its (experiment, plate)
//   slots.
//   * negative controls: a shuffle inside each experiment, the fraction f of them tests.
//   by well: both sites of a well are on one side. By image (an option): the walk runs over
//   (experiment, site) instead, so that the two sites of a well may part; it lets well-level
//   artefacts through, so name it beside every number.
#pragma once

#include "train/data/dataset.h"
#include "train/recipe.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mono {

const char* name_of(SplitBy split);

struct SplitOptions {
  SplitBy by = SplitBy::separated;
  uint64_t seed = 0;  // of the stratified split and of the draw of experiments
  StratifiedBy stratified_by = StratifiedBy::well;  // image: sites of one well may part
  bool include_incomplete = false;  // also sites whose images are missing (tables alone: dry runs)
  bool include_unlabelled = false;  // also test sites without a class (Kaggle's test.csv)
  bool validation_in_test = true;   // WILDS: val experiments count as test, as in the paper
  std::vector<std::string> experiments;  // keep only these; empty: all
  std::vector<std::string> cell_types;   // keep only these; empty: all
  // Table 4: train on this many experiments, drawn by the seed from the (filtered) training
  // experiments; 0: all. Test experiments are not reduced. As many as there are: all of them.
  int train_experiments = 0;
  int train_site = 0;  // WILDS trains on one site of each well: its number; 0: on all of them
};

struct Split {
  std::vector<int> train, test;  // indices into Dataset::sites, ascending
  std::vector<int> validation;   // likewise; make_folds() only
  std::vector<int> bank;         // all training images, of which `train` may be a part; likewise
};

// Throws Error(data) if a part comes out empty, with the reason, and Error(usage) for an experiment
// or cell type that the table does not have.
Split make_split(const Dataset& dataset, const SplitOptions& options);

}  // namespace mono
