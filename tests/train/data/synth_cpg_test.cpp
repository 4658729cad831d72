// Synthetic screens for CDCL: the layout of CPG0004, and RxRx1 with HUVEC alone.
#include "train/data/synth.h"

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "tests/train/data/test_screen.h"
#include "train/data/check.h"
#include "train/data/folds.h"
#include "train/data/image_stats.h"
#include "train/data/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace mono {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

SynthOptions small(const fs::path& out) {
  SynthOptions options;
  options.out = out;
  options.layout = "cpg0004";
  options.wells = 8;
  options.experiments = 5;
  options.sirnas = 4;
  options.image_size = 32;
  return options;
}

std::map<std::string, std::string> tree_of(const fs::path& root) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), root)] = test::read_text(entry.path());
  return files;
}

TEST(SynthCpg, OpensChecksAndFolds) {
  TempDir dir;
  synthesize_screen(small(dir / "a"));
  const CheckReport report = check_dataset(dir / "a");
  EXPECT_TRUE(report.problems.empty()) << check_text(report);
  EXPECT_TRUE(report.notes.empty());
  EXPECT_EQ(report.complete_sites, 5 * 8 * 2);
  const Dataset d = open_dataset(dir / "a");
  EXPECT_EQ(d.form, TableForm::cpg_metadata);
  EXPECT_EQ(d.layout, Layout::cpg0004);
  EXPECT_EQ(d.experiments.size(), 5u);
  EXPECT_EQ(d.compounds.size(), 5u);
  EXPECT_THAT(d.moas, testing::ElementsAre("mechanism 01", "mechanism 02", "unknown"));
  // Every treatment on every plate, in the same well; an eighth of the wells or more is DMSO.
  std::map<std::pair<int, std::string>, std::set<int>> plates_of;
  int controls = 0;
  for (const Site& s : d.sites) {
    plates_of[{s.sirna_id, s.well}].insert(s.experiment);
    controls += s.is_control();
  }
  for (const auto& [key, plates] : plates_of) EXPECT_EQ(plates.size(), 5u);
  EXPECT_EQ(controls, 5 * 4 * 2);
  EXPECT_EQ(fold_count(d, {}), 5);
  EXPECT_EQ(make_folds(d, {.fold = 5, .cell_type = {}}).test.size(), 16u);
  const Dataset selected = select_treatments(d);
  EXPECT_EQ(selected.num_classes, 5);
}

TEST(SynthCpg, SameBytesForAnyNumberOfThreads) {
  TempDir dir;
  const int before = num_threads();
  set_num_threads(1);
  synthesize_screen(small(dir / "a"));
  set_num_threads(3);
  synthesize_screen(small(dir / "b"));
  set_num_threads(before);
  EXPECT_EQ(tree_of(dir / "a"), tree_of(dir / "b"));
}

TEST(SynthCpg, FirstPlateIsBrighterButInMitochondria) {
  TempDir dir;
  SynthOptions options = small(dir / "a");
  options.batch_effect = 0;
  synthesize_screen(options);
  const auto means = [&](const char* name) {
    const Dataset d = open_dataset(dir / name);
    std::vector<std::vector<double>> mean(5, std::vector<double>(5));
    for (const GroupStats& g : image_statistics(d, FileImages(d)).plates)
      mean[static_cast<size_t>(g.channel)][static_cast<size_t>(g.experiment)] = g.pooled.mean;
    return mean;
  };
  for (const auto& channel : means("a"))  // without batch effects the plates are alike
    for (const double mean : channel) EXPECT_NEAR(mean / channel[1], 1, 0.25);
  options.out = dir / "b";
  options.batch_effect = 1;
  synthesize_screen(options);
  const auto with = means("b");
  for (size_t c = 0; c < 4; ++c) {
    double others = 0;
    for (size_t p = 1; p < 5; ++p) others += with[c][p] / 4;
    EXPECT_GT(with[c][0] / others, 1.1) << c;
  }
}

TEST(SynthCpg, WrongNumbersAreNamed) {
  TempDir dir;
  const auto message = [&](auto&& change) {
    SynthOptions options = small(dir / "a");
    change(options);
    try {
      synthesize_screen(options);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(message([](SynthOptions& o) { o.experiments = 6; }),
              testing::HasSubstr("give a multiple of 5"));
  EXPECT_THAT(message([](SynthOptions& o) { o.sirnas = 7; }),
              testing::HasSubstr("7 compounds on 1 plate map(s) need 9 wells on each plate"));
  EXPECT_THAT(message([](SynthOptions& o) { o.fields = 10; }),
              testing::HasSubstr("--fields 10: must be from 1 to 9"));
  EXPECT_THAT(message([](SynthOptions& o) { o.cell_types = 1; }),
              testing::HasSubstr("--cell-types 1: is for --layout rxrx1"));
  EXPECT_THAT(message([](SynthOptions& o) { o.layout = "jump"; }),
              testing::HasSubstr("--layout 'jump' is unknown"));
  EXPECT_THAT(message([](SynthOptions& o) {
                o.layout = "rxrx1";
                o.fields = 3;
              }),
              testing::HasSubstr("--fields 3: is for --layout cpg0004"));
  EXPECT_THAT(message([](SynthOptions& o) {
                o.layout = "rxrx1";
                o.cell_types = 3;
              }),
              testing::HasSubstr("3 cell types need 6 at least"));
}

TEST(SynthHuvec, EveryTreatmentInEveryExperiment) {
  TempDir dir;
  SynthOptions options;
  options.out = dir / "a";
  options.wells = 6;
  options.experiments = 6;
  options.cell_types = 1;
  options.sirnas = 9;
  options.image_size = 32;
  synthesize_screen(options);
  const Dataset d = open_dataset(dir / "a");
  EXPECT_THAT(d.cell_types, testing::ElementsAre("HUVEC"));
  EXPECT_EQ(fold_count(d, {}), 6);
  std::map<int, std::set<int>> experiments_of;
  for (const Site& s : d.sites) experiments_of[s.sirna_id].insert(s.experiment);
  EXPECT_EQ(experiments_of.size(), 10u);
  for (const auto& [sirna, experiments] : experiments_of) EXPECT_EQ(experiments.size(), 6u);
}

}  // namespace
}  // namespace mono
