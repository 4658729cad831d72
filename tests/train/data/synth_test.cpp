// The synthetic screen: same bytes from the same seed, the plate layout of the real design, its
// table, and images whose statistics lie in the ranges of the real screen.
#include "train/data/synth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "train/data/png.h"
#include "train/data/synth_batch_effect.h"
#include "train/data/synth_cells.h"
#include "train/data/synth_design.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using namespace synth;

class SynthTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  SynthOptions small(const char* name) const {
    SynthOptions options;
    options.out = folder_ / name;
    options.wells = 4;
    options.experiments = 2;
    options.sirnas = 4;
    options.image_size = 32;
    return options;
  }

  fs::path folder_;
};

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::map<std::string, std::string> tree_of(const fs::path& root) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), root).string()] = content_of(entry.path());
  return files;
}

std::string message_of(const SynthOptions& options) {
  try {
    synthesize_screen(options);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    return error.what();
  }
  return "no error";
}

TEST_F(SynthTest, SameSeedSameBytesForAnyNumberOfThreads) {
  const int before = num_threads();
  set_num_threads(1);
  synthesize_screen(small("one"));
  set_num_threads(3);
  synthesize_screen(small("three"));
  set_num_threads(before);
  const auto one = tree_of(folder_ / "one");
  EXPECT_EQ(one.size(), 2u * 4 * 4 * 2 * 6 + 1);
  EXPECT_EQ(one, tree_of(folder_ / "three"));
}

TEST_F(SynthTest, AnotherSeedGivesOtherImages) {
  SynthOptions options = small("one");
  synthesize_screen(options);
  options.out = folder_ / "two";
  options.seed = 2;
  synthesize_screen(options);
  const auto one = tree_of(folder_ / "one"), two = tree_of(folder_ / "two");
  for (const auto& [name, bytes] : one)
    if (name != "metadata.csv") {
      ASSERT_TRUE(two.contains(name)) << name;
      EXPECT_NE(bytes, two.at(name)) << name;
    }
}

TEST_F(SynthTest, TreeAndTable) {
  const SynthOptions options = small("screen");
  synthesize_screen(options);
  std::istringstream table(content_of(options.out / "metadata.csv"));
  std::string line;
  std::getline(table, line);
  EXPECT_EQ(line,
            "site_id,well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,"
            "sirna_id");
  std::vector<std::string> ids;
  while (std::getline(table, line)) {
    EXPECT_EQ(std::count(line.begin(), line.end(), ','), 10) << line;
    ids.push_back(line.substr(0, line.find(',')));
  }
  EXPECT_EQ(ids.size(), 64u);
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  EXPECT_EQ(ids.front(), "HUVEC-01_1_B02_1");

  const std::vector<uint8_t> bytes =
      read_png_file(options.out / "images/HUVEC-02/Plate4/B03_s2_w6.png", "image");
  EXPECT_EQ(png_header(bytes, "image"), (PngInfo{32, 32, 1}));
}

TEST_F(SynthTest, RefusesWhatItCannotMake) {
  using testing::HasSubstr;
  const auto with = [this](auto change) {
    SynthOptions options = small("refused");
    change(options);
    return message_of(options);
  };
  EXPECT_THAT(with([](SynthOptions& o) { o.out.clear(); }), HasSubstr("--out DIR is missing"));
  EXPECT_THAT(with([](SynthOptions& o) { o.wells = 309; }), HasSubstr("--wells 309: must be from"));
  EXPECT_THAT(with([](SynthOptions& o) { o.experiments = 1; }), HasSubstr("--experiments 1"));
  EXPECT_THAT(with([](SynthOptions& o) { o.sirnas = 1; }), HasSubstr("--sirnas 1"));
  EXPECT_THAT(with([](SynthOptions& o) { o.image_size = 31; }), HasSubstr("--image-size 31"));
  EXPECT_THAT(with([](SynthOptions& o) { o.batch_effect = std::nan(""); }),
              HasSubstr("--batch-effect nan"));
  EXPECT_THAT(with([](SynthOptions& o) { o.sirnas = 100; }), HasSubstr("raise --wells"));
  EXPECT_FALSE(fs::exists(folder_ / "refused"));

  fs::create_directories(folder_ / "refused");
  std::ofstream(folder_ / "refused" / "precious.txt") << "data";
  EXPECT_THAT(with([](SynthOptions&) {}), HasSubstr("exists and is not an empty folder"));
}

// The rules of the real design, at its full size and at that of the smoke screen.
void check_layout(const ScreenDesign& design, int wells) {
  const int experiments = static_cast<int>(design.experiments.size());
  ASSERT_EQ(design.wells.size(), static_cast<size_t>(experiments * kPlates * wells));
  std::map<std::pair<int, int>, std::map<int, int>> plates;  // (experiment, plate) -> siRNA -> n
  for (const Well& well : design.wells) {
    ++plates[{well.experiment, well.plate}][well.sirna];
    EXPECT_EQ(well.name == "B02", well.sirna == design.empty());
  }
  for (const auto& [key, sirnas] : plates) {
    const auto [e, plate] = key;
    const auto& rotation = design.experiments[static_cast<size_t>(e)].group_of_plate;
    EXPECT_EQ((rotation[static_cast<size_t>(plate)] + 1) % kPlates,
              rotation[static_cast<size_t>((plate + 1) % kPlates)]);
    for (int c = design.treatments; c < design.empty(); ++c) EXPECT_GE(sirnas.count(c), 1u);
    for (int t = 0; t < design.treatments; ++t)
      EXPECT_EQ(sirnas.count(t), design.group_of_treatment[static_cast<size_t>(t)] ==
                                         rotation[static_cast<size_t>(plate)]
                                     ? 1u
                                     : 0u);
  }
  std::set<std::string> trained, tested;
  for (const Experiment& experiment : design.experiments)
    (experiment.test ? tested : trained).insert(name_of(experiment.cell_type));
  EXPECT_EQ(trained, tested);
}

TEST(SynthDesign, FullSizeIsTheRealDesign) {
  const ScreenDesign design = design_screen(308, 51, 1138, 7);
  EXPECT_EQ(design.treatments, 1108);
  EXPECT_EQ(design.positive_controls, 30);
  EXPECT_EQ(design.empty(), 1138);
  check_layout(design, 308);
  std::map<std::string, std::pair<int, int>> counts;  // cell type -> train, test
  for (const Experiment& experiment : design.experiments) {
    auto& [train, test] = counts[name_of(experiment.cell_type)];
    ++(experiment.test ? test : train);
  }
  EXPECT_EQ(counts, (std::map<std::string, std::pair<int, int>>{
                        {"HUVEC", {16, 8}}, {"RPE", {7, 4}}, {"HEPG2", {7, 4}}, {"U2OS", {3, 2}}}));
  std::map<int, int> wells_of;  // in one experiment: each treatment once, each control four times
  for (const Well& well : design.wells)
    if (well.experiment == 0) ++wells_of[well.sirna];
  for (const auto& [sirna, wells] : wells_of) EXPECT_EQ(wells, sirna < 1108 ? 1 : 4) << sirna;
  EXPECT_EQ(design.wells.back().name, "O23");
}

TEST(SynthDesign, PositionsAreDrawnAnewForEachExperiment) {
  const ScreenDesign design = design_screen(308, 5, 1138, 7);
  const int cycle = 4;  // after four experiments the groups are on the same plates again
  int same = 0;
  for (size_t w = 0; w < 308; ++w)
    same += design.wells[w].sirna == design.wells[w + size_t{cycle} * kPlates * 308].sirna;
  EXPECT_LT(same, 10);
}

TEST(SynthDesign, SmallScreens) {
  check_layout(design_screen(24, 10, 11, 1), 24);
  check_layout(design_screen(3, 2, 2, 1), 3);
  check_layout(design_screen(30, 30, 37, 5), 30);
  EXPECT_EQ(design_screen(3, 2, 2, 1).positive_controls, 1);
}

TEST(SynthPhenotypes, NoTwoClassesCoincide) {
  const std::vector<Traits> phenotypes = draw_phenotypes(40, 3);
  ASSERT_EQ(phenotypes.size(), 41u);
  EXPECT_EQ(phenotypes.back(), Traits{});
  for (size_t a = 0; a < phenotypes.size(); ++a)
    for (size_t b = 0; b < a; ++b) {
      double distance = 0.0;
      for (size_t t = 0; t < kGain1; ++t) distance += std::abs(phenotypes[a][t] - phenotypes[b][t]);
      EXPECT_GT(distance, 0.5) << a << " and " << b;
    }
}

struct Moments {
  double mean = 0.0, std_dev = 0.0;
};

Moments moments_of(const std::vector<uint8_t>& plane) {
  Moments m;
  for (const uint8_t v : plane) m.mean += v;
  m.mean /= static_cast<double>(plane.size());
  for (const uint8_t v : plane) m.std_dev += (v - m.mean) * (v - m.mean);
  m.std_dev = std::sqrt(m.std_dev / static_cast<double>(plane.size()));
  return m;
}

// Mean of the per-image statistics of untreated fields, through an experiment's batch.
std::array<Moments, kChannels> experiment_moments(CellType type, int experiment, double effect) {
  constexpr uint64_t kSeed = 11;
  constexpr int kFields = 24, kSize = 64;
  Batch batch = draw_experiment(type, experiment, effect, kSeed);
  set_exposure(batch, type, kSize, kSeed, 1000 * experiment);
  std::array<Moments, kChannels> sums{};
  for (int i = 0; i < kFields; ++i) {
    const int64_t site = 1000 * experiment + 500 + i;
    const Image image =
        take_image(render_cells(type, batch.traits, kSize, kSeed, site), batch, kSeed, site);
    for (size_t c = 0; c < kChannels; ++c) {
      const Moments m = moments_of(image[c]);
      sums[c].mean += m.mean / kFields;
      sums[c].std_dev += m.std_dev / kFields;
    }
  }
  return sums;
}

TEST(SynthBatchEffect, StatisticsLieInTheRealRanges) {
  for (const CellType type : {CellType::huvec, CellType::rpe, CellType::hepg2, CellType::u2os})
    for (int e = 0; e < 3; ++e) {
      const auto moments = experiment_moments(type, e, 1.0);
      for (int c = 0; c < kChannels; ++c) {
        const RealStatistics real = real_statistics(type, c);
        const Moments& m = moments[static_cast<size_t>(c)];
        SCOPED_TRACE(fmt::format("{} {} w{}: mean {:.2f}, std {:.2f}", name_of(type), e, c + 1,
                                 m.mean, m.std_dev));
        // A tenth for the spread of 24 small fields.
        EXPECT_GE(m.mean, 0.9f * real.least_mean);
        EXPECT_LE(m.mean, 1.1f * real.greatest_mean);
        EXPECT_GE(m.std_dev / m.mean, 0.85f * real.least_cv);
        EXPECT_LE(m.std_dev / m.mean, 1.2f * real.greatest_cv);
      }
    }
}

TEST(SynthBatchEffect, WithoutItExperimentsAreAlike) {
  std::array<Batch, 3> batches;
  for (int e = 0; e < 3; ++e) {
    Batch batch = draw_experiment(CellType::rpe, e, e == 2 ? 1.0 : 0.0, 11);
    set_exposure(batch, CellType::rpe, 48, 11, 100);
    batches[static_cast<size_t>(e)] =
        vary_plate(batch, e == 2 ? 1.0 : 0.0, stream(11, Draw::plate, e));
  }
  const auto all_equal = [](const Batch& a, const Batch& b) {
    return a.traits == b.traits && a.optics.mix == b.optics.mix && a.optics.blur == b.optics.blur &&
           a.optics.gamma == b.optics.gamma && a.optics.haze == b.optics.haze &&
           a.optics.tilt_x == b.optics.tilt_x && a.exposure.gain == b.exposure.gain &&
           a.exposure.offset == b.exposure.offset && a.exposure.read == b.exposure.read;
  };
  EXPECT_TRUE(all_equal(batches[0], batches[1]));
  EXPECT_FALSE(all_equal(batches[0], batches[2]));
  for (size_t c = 0; c < kChannels; ++c) {
    EXPECT_NE(batches[0].optics.gamma[c], batches[2].optics.gamma[c]);
    EXPECT_NE(batches[0].exposure.gain[c], batches[2].exposure.gain[c]);
  }
}

}  // namespace
}  // namespace mono
