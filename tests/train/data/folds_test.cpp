// CDCL's folds and training subsets: image counts of the real tables, and small screens.
#include "train/data/folds.h"

#include "kernels/base/error.h"
#include "tests/train/data/cpg_screen.h"
#include "tests/train/data/test_screen.h"
#include "train/data/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>

namespace mono {
namespace {

using test::TempDir;

FoldOptions fold(int number, Subset subset = Subset::all) {
  FoldOptions o;
  o.fold = number;
  o.cell_type = "HUVEC";
  o.subset = subset;
  o.include_incomplete = o.include_unlabelled = true;
  return o;
}

// RxRx1's whole table; empty where ../shared is not at hand.
const Dataset& rxrx1() {
  static const Dataset dataset = [] {
    const auto table = test::real_data("metadata_reconstructed.csv");
    if (table.empty()) return Dataset();
    TempDir dir;
    std::filesystem::create_symlink(table, dir / "metadata.csv");
    return open_dataset(dir.path());
  }();
  return dataset;
}

std::set<std::string> experiments_in(const Dataset& d, const std::vector<int>& part) {
  std::set<std::string> names;
  for (const int i : part)
    names.insert(d.experiments[static_cast<size_t>(d.sites[static_cast<size_t>(i)].experiment)]);
  return names;
}

TEST(Folds, HuvecFoldsHaveThePublishedImages) {
  const auto reference = test::cdcl_data("derived/huvec_6fold.csv");
  const Dataset& d = rxrx1();
  if (reference.empty() || d.sites.empty()) GTEST_SKIP() << "../shared/data is not at hand";
  EXPECT_EQ(fold_count(d, fold(1)), 6);
  const CsvTable csv = read_csv(reference, "huvec_6fold.csv");
  ASSERT_EQ(csv.rows.size(), 18u);
  for (const CsvRow& r : csv.rows) {
    SCOPED_TRACE(r.fields[0] + " " + r.fields[1]);
    const Split split = make_folds(d, fold(std::stoi(r.fields[0])));
    const auto& part = r.fields[1] == "train"  ? split.train
                       : r.fields[1] == "eval" ? split.validation
                                               : split.test;
    EXPECT_EQ(part.size(), std::stoul(r.fields[2]));
    std::istringstream names(r.fields[3]);
    std::set<std::string> expected;
    for (std::string name; names >> name;) expected.insert(name);
    EXPECT_EQ(experiments_in(d, part), expected);
    EXPECT_TRUE(std::is_sorted(part.begin(), part.end()));
  }
}

TEST(Folds, Table2bSubsetsHaveThePublishedImages) {
  const Dataset& d = rxrx1();
  if (d.sites.empty()) GTEST_SKIP() << "../shared/data is not at hand";
  for (const auto& [subset, images] : {std::pair(Subset::all, 39342u),
                                       {Subset::controls, 3966u},
                                       {Subset::treatments, 35376u},
                                       {Subset::half_sites, 21654u},
                                       {Subset::half_treatments, 21664u}}) {
    const Split split = make_folds(d, fold(1, subset));
    EXPECT_EQ(split.train.size(), images) << name_of(subset);
    EXPECT_EQ(split.bank.size(), 39342u) << name_of(subset);
    EXPECT_EQ(split.test.size(), 9854u) << name_of(subset);
  }
}

TEST(Folds, EveryExperimentTestsOnceInASmallScreen) {
  TempDir dir;
  std::string table = test::kHeader;
  for (int e = 1; e <= 7; ++e)
    table += test::row(fmt::format("HUVEC-{:02}", e), 1, "B02", 1, e < 5 ? "train" : "test",
                       "negative_control", "EMPTY", 0);
  table += test::row("RPE-01", 1, "B02", 1, "train", "negative_control", "EMPTY", 0);
  test::write_text(dir / "metadata.csv", table);
  const Dataset d = open_dataset(dir.path());
  ASSERT_EQ(fold_count(d, fold(1)), 7);
  std::map<std::string, int> tested;
  for (int f = 1; f <= 7; ++f) {
    const Split split = make_folds(d, fold(f));
    EXPECT_EQ(split.train.size(), 5u);
    EXPECT_EQ(split.validation.size(), 1u);
    ASSERT_EQ(split.test.size(), 1u);
    ++tested[*experiments_in(d, split.test).begin()];
    std::set<int> all(split.train.begin(), split.train.end());
    all.insert(split.validation.begin(), split.validation.end());
    all.insert(split.test.begin(), split.test.end());
    EXPECT_EQ(all.size(), 7u);
  }
  EXPECT_EQ(tested.size(), 7u);
  for (const int wrong : {0, 8}) {
    try {
      make_folds(d, fold(wrong));
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_THAT(e.what(), testing::HasSubstr("has folds 1 to 7"));
    }
  }
  FoldOptions other = fold(1);
  other.cell_type = "RPE";
  EXPECT_THROW(make_folds(d, other), Error);
  other.cell_type = "U2OS";
  EXPECT_THROW(make_folds(d, other), Error);
}

TEST(Folds, ReplicatesOfCpg0004Rotate) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_cpg_table());
  const Dataset d = open_dataset(dir.path());
  EXPECT_EQ(fold_count(d, fold(1)), 5);
  // The published table of replicates.
  const std::set<std::string> train[] = {{"P1", "P2", "P3"},
                                         {"P2", "P3", "P4"},
                                         {"P3", "P4", "P5"},
                                         {"P1", "P4", "P5"},
                                         {"P1", "P2", "P5"}};
  const char *validation[] = {"P4", "P5", "P1", "P2", "P3"},
             *test[] = {"P5", "P1", "P2", "P3", "P4"};
  for (int f = 1; f <= 5; ++f) {
    const Split split = make_folds(d, fold(f));
    EXPECT_EQ(experiments_in(d, split.train), train[f - 1]);
    EXPECT_THAT(experiments_in(d, split.validation), testing::ElementsAre(validation[f - 1]));
    EXPECT_THAT(experiments_in(d, split.test), testing::ElementsAre(test[f - 1]));
    EXPECT_EQ(split.train.size(), 30u);
  }
  const Split official = [&] {
    SplitOptions o;
    o.include_incomplete = true;
    return make_split(d, o);
  }();
  EXPECT_EQ(official.train, make_folds(d, fold(1)).train);
  const auto all_there = fold(1);
  FoldOptions images = all_there;
  images.include_incomplete = false;
  try {
    make_folds(d, images);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_THAT(e.what(), testing::HasSubstr("fold 1 leaves no training images"));
    EXPECT_THAT(e.what(), testing::HasSubstr("50 sites of the fold lack images"));
  }
}

TEST(Folds, ControlsOfCpg0004AreDrawnFromTheTrainingPartOnly) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_cpg_table());
  const Dataset d = open_dataset(dir.path());
  const auto controls = [&](const std::vector<int>& part) {
    return std::count_if(part.begin(), part.end(),
                         [&](int i) { return d.sites[static_cast<size_t>(i)].is_control(); });
  };
  FoldOptions options = fold(2);
  options.control_fields = 5;
  options.seed = 3;
  const Split split = make_folds(d, options);
  EXPECT_EQ(controls(split.train), 5);
  EXPECT_EQ(split.train.size(), 18u + 5);
  EXPECT_EQ(controls(split.validation), 4);
  EXPECT_EQ(controls(split.test), 4);
  EXPECT_EQ(make_folds(d, options).train, split.train);
  options.seed = 4;
  EXPECT_NE(make_folds(d, options).train, split.train);
  options.control_fields = 0;
  EXPECT_EQ(controls(make_folds(d, options).train), 12);
  options.subset = Subset::controls;
  EXPECT_EQ(make_folds(d, options).train.size(), 12u);
  options.subset = Subset::half_treatments;  // CPD-1 and CPD-3
  EXPECT_EQ(make_folds(d, options).train.size(), 12u + 12);
  options.subset = Subset::half_sites;
  EXPECT_EQ(make_folds(d, options).train.size(), 12u + 9);
}

}  // namespace
}  // namespace mono
