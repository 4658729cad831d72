// The evaluations against scikit-learn, SciPy and NumPy (tools/golden/evaluation.py), and grit on a
// real plate.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <numbers>
#include <sstream>

#include "models/safetensors.h"
#include "tests/paths.h"
#include "tests/train/evaluate/gunzip.h"
#include "train/data/csv.h"
#include "train/evaluate/chi_squared.h"
#include "train/evaluate/grit.h"
#include "train/evaluate/kbet.h"
#include "train/evaluate/knn.h"
#include "train/evaluate/linear_probe.h"
#include "train/evaluate/moa.h"
#include "train/evaluate/post_processing.h"
#include "train/evaluate/z_norm.h"

namespace mono {
namespace {

class GoldenEvaluation : public ::testing::Test {
 protected:
  static constexpr int kBank = 120, kClasses = 8;

  GoldenEvaluation() : file_(test::data_folder() + "/golden/evaluation.safetensors") {
    const SafetensorsEntry& entry = file_.entry("x");
    features_ = Features(static_cast<int>(entry.shape[0]), static_cast<int>(entry.shape[1]));
    features_.values = file_.values<float>("x");
    label_ = file_.values<int32_t>("label");
    domain_ = file_.values<int32_t>("domain");
    for (const int label : label_) control_.push_back(label == 0);
  }

  FeatureView rows(int begin, int end) const {
    const size_t width = static_cast<size_t>(features_.width);
    return {
        std::span(features_.values)
            .subspan(static_cast<size_t>(begin) * width, static_cast<size_t>(end - begin) * width),
        end - begin, features_.width};
  }
  // The values agree to `tolerance` of the largest.
  void expect_equal(FeatureView ours, const char* name, double tolerance) const {
    const std::vector<double> golden = file_.values<double>(name);
    ASSERT_EQ(ours.values.size(), golden.size()) << name;
    double largest = 0, error = 0;
    for (size_t i = 0; i < golden.size(); ++i) {
      largest = std::max(largest, std::abs(golden[i]));
      error = std::max(error, std::abs(golden[i] - static_cast<double>(ours.values[i])));
    }
    EXPECT_LE(error, tolerance * largest) << name;
  }

  SafetensorsFile file_;
  Features features_;
  std::vector<int> label_, domain_;
  std::vector<uint8_t> control_;
};

TEST_F(GoldenEvaluation, KnnEqualsScikitLearn) {
  const std::span<const int> labels(label_);
  const Knn found =
      knn(rows(0, kBank), labels.first(kBank), rows(kBank, features_.rows), labels.subspan(kBank));
  EXPECT_EQ(found.predicted, file_.values<int32_t>("knn"));
  int correct = 0;
  for (size_t i = 0; i < found.predicted.size(); ++i)
    correct += found.predicted[i] == label_[kBank + i];
  EXPECT_EQ(found.accuracy.correct, correct);
  EXPECT_EQ(found.accuracy.images, features_.rows - kBank);
}

TEST_F(GoldenEvaluation, ZNormEqualsNumPyInEachMode) {
  for (const ZNorm mode : {ZNorm::controls, ZNorm::all, ZNorm::minibatch92})
    expect_equal(z_norm(features_, domain_, control_, mode),
                 (std::string("z_norm.") + name_of(mode)).c_str(), 2e-6);
}

TEST_F(GoldenEvaluation, ChiSquaredEqualsSciPy) {
  const std::vector<double> statistic = file_.values<double>("chi2.statistic"),
                            degrees = file_.values<double>("chi2.degrees"),
                            tail = file_.values<double>("chi2.upper_tail");
  for (size_t i = 0; i < tail.size(); ++i)
    EXPECT_NEAR(chi_squared_upper_tail(statistic[i], degrees[i]) / tail[i], 1, 1e-11) << i;
  EXPECT_EQ(chi_squared_upper_tail(0, 3), 1);
}

TEST_F(GoldenEvaluation, KbetEqualsSciPyInBothForms) {
  for (const bool compat : {false, true}) {
    KbetOptions options;
    options.neighbours = 10;
    options.cdcl_compat = compat;
    const Kbet ours = kbet(features_, domain_, options);
    const std::vector<double> golden = file_.values<double>(compat ? "kbet.cdcl_p" : "kbet.p");
    ASSERT_EQ(ours.p.size(), golden.size());
    int accepted = 0;
    for (size_t i = 0; i < golden.size(); ++i) {
      EXPECT_NEAR(ours.p[i], golden[i], 1e-10) << i;
      accepted += golden[i] >= 0.05;
    }
    EXPECT_DOUBLE_EQ(ours.score, static_cast<double>(accepted) / features_.rows);
    EXPECT_GT(ours.score, 0);
    EXPECT_LT(ours.score, 1);
    EXPECT_EQ(ours.neighbours, 10);
    EXPECT_EQ(ours.batches, 4);
  }
}

TEST_F(GoldenEvaluation, TvnCombatAndWhiteningEqualNumPy) {
  const Tvn aligned = tvn(features_, domain_, control_);
  EXPECT_EQ(aligned.controls, 24);
  EXPECT_EQ(aligned.least_controls, 6);
  // The sign of a principal component is free, and a rotation within a domain is not: compare what
  // does not depend on it, the products of rows, and each component up to its sign.
  const std::vector<double> golden = file_.values<double>("tvn");
  ASSERT_EQ(aligned.features.values.size(), golden.size());
  const size_t width = static_cast<size_t>(aligned.features.width);
  for (int i = 0; i < features_.rows; ++i)
    for (int j = 0; j < features_.rows; j += 7) {
      double ours = 0, theirs = 0;
      for (size_t c = 0; c < width; ++c) {
        ours += static_cast<double>(aligned.features.row(i)[c] * aligned.features.row(j)[c]);
        theirs +=
            golden[static_cast<size_t>(i) * width + c] * golden[static_cast<size_t>(j) * width + c];
      }
      ASSERT_NEAR(ours, theirs, 2e-4 * std::max(1.0, std::abs(theirs))) << i << ' ' << j;
    }
  const Combat adjusted = combat(features_, domain_);
  EXPECT_EQ(adjusted.domains, 4);
  expect_equal(adjusted.features, "combat", 1e-6);

  std::vector<uint8_t> fit;
  for (size_t i = 0; i < label_.size(); ++i) fit.push_back(control_[i] || domain_[i] == 1);
  const Whitened zca = whiten(features_, fit, Whitening::zca);
  expect_equal(zca.features, "zca", 2e-6);
  EXPECT_EQ(zca.rank, features_.width);
  expect_equal(whiten(features_, fit, Whitening::zca_cor).features, "zca_cor", 2e-6);
}

TEST_F(GoldenEvaluation, GritEqualsNumPy) {
  const std::vector<int> well = file_.values<int32_t>("well");
  const Grit ours = grit(features_, label_, control_, well);
  const std::vector<double> golden = file_.values<double>("grit");
  double mean = 0;
  for (size_t c = 1; c < kClasses; ++c) {
    EXPECT_NEAR(ours.of_group[c], golden[c], 1e-9);
    mean += golden[c] / (kClasses - 1);
  }
  EXPECT_NEAR(ours.mean, mean, 1e-9);
  EXPECT_EQ(ours.controls, 24);
  EXPECT_EQ(ours.groups, kClasses - 1);
  EXPECT_EQ(ours.profiles, features_.rows - 24);
}

TEST_F(GoldenEvaluation, MoaEqualsNumPy) {
  const std::vector<int> mechanism = file_.values<int32_t>("mechanism");
  std::vector<int> moa;
  for (const int label : label_) moa.push_back(mechanism[static_cast<size_t>(label)]);
  const Moa ours = one_nn_moa(features_, {domain_, label_, {}, moa, control_});
  EXPECT_EQ(ours.nearest, file_.values<int32_t>("moa.nearest"));
  EXPECT_DOUBLE_EQ(ours.accuracy.value(), file_.values<double>("moa.accuracy")[0]);
  EXPECT_EQ(ours.plates, 4);
  EXPECT_EQ(ours.whole_plates, 0);
  EXPECT_EQ(ours.candidates, kClasses);
}

TEST_F(GoldenEvaluation, LinearProbeStepsEqualNumPy) {
  LinearProbe probe(features_.width, kClasses, 0.9, 0);
  std::ranges::fill(probe.weight(), 0.0f);
  const std::vector<int> order = file_.values<int32_t>("probe.order");
  const std::vector<double> losses = file_.values<double>("probe.losses");
  constexpr int kBatch = 16;
  for (size_t step = 0; step < losses.size(); ++step) {
    Features batch(kBatch, features_.width);
    std::vector<int> labels;
    for (int i = 0; i < kBatch; ++i) {
      const int row = order[step * kBatch + static_cast<size_t>(i)];
      std::ranges::copy(features_.row(row), batch.row(i).begin());
      labels.push_back(label_[static_cast<size_t>(row)]);
    }
    const double lr = 0.05 / 2 * (1 + std::cos(std::numbers::pi * static_cast<double>(step) / 30));
    EXPECT_NEAR(probe.step(batch, labels, lr), losses[step], 1e-5) << step;
  }
  expect_equal({probe.weight(), kClasses, features_.width}, "probe.weight", 1e-5);
  expect_equal({probe.bias(), 1, kClasses}, "probe.bias", 1e-5);
}

// A LINCS plate: 24 DMSO wells, 58 compounds at several doses, 454 features of CellProfiler.
TEST(Grit, OfARealPlateEqualsTheGoldenTable) {
  const std::filesystem::path folder = std::filesystem::path(test::shared_folder()) / "data/cdcl";
  const std::filesystem::path plate =
      folder / "cytominer_eval/SQ00015054_normalized_feature_select.csv.gz";
  if (!std::filesystem::exists(plate)) GTEST_SKIP() << plate << " is not there";
  const CsvTable table = parse_csv(test::gunzip(plate), "plate");
  std::vector<size_t> columns;
  for (size_t c = 0; c < table.columns.size(); ++c)
    if (!table.columns[c].starts_with("Metadata_")) columns.push_back(c);
  const size_t sample = static_cast<size_t>(table.column("Metadata_broad_sample"));

  Features features(static_cast<int>(table.rows.size()), static_cast<int>(columns.size()));
  std::map<std::string, int> groups;
  std::vector<int> group;
  std::vector<uint8_t> control;
  for (int i = 0; i < features.rows; ++i) {
    const std::vector<std::string>& fields = table.rows[static_cast<size_t>(i)].fields;
    for (size_t c = 0; c < columns.size(); ++c) features.row(i)[c] = std::stof(fields[columns[c]]);
    control.push_back(fields[sample] == "DMSO");
    group.push_back(
        groups.try_emplace(fields[sample], static_cast<int>(groups.size())).first->second);
  }
  const Grit ours = grit(features, group, control);
  EXPECT_EQ(ours.controls, 24);
  EXPECT_EQ(ours.groups, 58);

  const CsvTable golden = read_csv(folder / "derived/golden_grit_SQ00015054.csv", "golden");
  ASSERT_EQ(golden.rows.size(), 59u);
  for (const CsvRow& row : golden.rows) {
    if (row.fields[0] == "DMSO") {  // against themselves controls are 0 by construction
      EXPECT_EQ(std::abs(std::stod(row.fields[2])), 0);
      continue;
    }
    EXPECT_NEAR(ours.of_group[static_cast<size_t>(groups.at(row.fields[0]))],
                std::stod(row.fields[2]), 0.51e-6)
        << row.fields[0];
  }
}

}  // namespace
}  // namespace mono
