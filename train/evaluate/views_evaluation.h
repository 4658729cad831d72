// Everything that the CDCL paper measures, out of one run: Tables 1 to 5 and what it says of TVN
// and ComBat. A thin selection of embedding_report.h, on the features of run_features.h, with the
// run's own classifier beside it.
//
// Columns (keys of views.json and of a recipe's [paper]; fractions 0..1 but for grit's):
//
//   Table 1    lin                    accuracy of the run's linear classifier on test images: the
//                                     online probe, or the supervised classifier itself
//              lin_offline            of a probe trained on the features afterwards
//              knn                    cosine, k and temperature of the recipe's [validation]
//              z_norm_knn             after Z-norm by all images of the domain: the headline
//              z_norm_knn_controls    by its controls
//              z_norm_knn_minibatch92 by runs of 92 test images
//              kbet                   of the test images' domains, consistent form
//   Table 4    kbet_train, kbet, kbet_z_norm     bank; test; test after Z-norm (all)
//   Table 5    grit_train, grit, grit_z_norm     the same; profile = image, group = treatment,
//                                                controls = the part's own negative controls
//              grit_train_control_std, grit_control_std, grit_z_norm_control_std
//                                                mean std of the similarities to the controls,
//                                                without which grit says little
//   Table 2a   moa_1nn                1-NN not-same-compound mechanism of action, test images
//   afterwards tvn_knn, combat_knn, whitening_knn, tvn_kbet, combat_kbet
//                                     k-NN and k-BET (test) after the correction
//
// Table 2b is z_norm_knn, Table 3 the columns of Table 1. What cannot be computed is absent, with
// the reason. Also of runs of groups with validation images (data.fold,
// data.validation_experiments), such as cdcl/adabn-supervised.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "train/evaluate/embedding_report.h"
#include "train/evaluate/run_features.h"

namespace mono {

struct ViewsColumn {
  std::string key;           // "z_norm_knn"
  std::string title;         // "Z-norm k-NN (all)"
  std::string table;         // "table1", "table4", "table5", "table2a" or "afterwards"
  std::string row, measure;  // where embedding_report.h has it; empty: the classifier's
  std::string count = {};    // of the measure, where the column is not its value
  bool percent = true;       // a fraction that is printed in percent; else a plain number
};

// All of them, in the order in which they are printed.
const std::vector<ViewsColumn>& views_columns();

struct ViewsEvaluation {
  std::map<std::string, double> figures;      // by column
  std::map<std::string, std::string> absent;  // column -> why
  std::map<std::string, Counts> counts;       // column -> samples, neighbours, controls
  int64_t bank_images = 0, images = 0;
};

// Whether such an evaluation is one of this recipe's: views, or groups on CDCL's parts of a screen.
bool has_views_evaluation(const Recipe& recipe);

ViewsEvaluation evaluate_views(const RunFeatures& features, const Recipe& recipe);

// Writes RUN/evaluation/views.json and views.csv (a row for each test image); returns the JSON's
// path.
std::filesystem::path write_views_evaluation(const std::filesystem::path& run,
                                             const RunFeatures& features, const Recipe& recipe,
                                             const ViewsEvaluation& result);
std::string views_evaluation_text(const RunFeatures& features, const Recipe& recipe,
                                  const ViewsEvaluation& result);

// The evaluation of a finished run: RUN/evaluation/views.json where it is of the checkpoint,
// recipe, screen and statistics that features_of() would take, else computed and written first.
JsonView views_figures(const std::filesystem::path& run, const FeatureOptions& options = {});

// What every result of a run is labelled with: empty, or "from scratch", also where the run that it
// started from (model.init_from) was.
std::string label_of(const Recipe& recipe);

}  // namespace mono
