// `data report`: its figures, and the page itself.
#include "train/report/screen_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "tests/train/data/own_screen.h"
#include "tests/train/data/test_screen.h"
#include "tests/train/tiny_screen.h"
#include "train/report/screen_figures.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// ---- figures ------------------------------------------------------------------------------------

// Experiments 0 and 1, one channel; a site for each given image mean.
struct Brightness {
  Dataset dataset;
  DatasetStats stats;
  void add(int experiment, double mean, WellType type = WellType::negative_control,
           const char* well = "A01") {
    Site site;
    site.experiment = experiment;
    site.well_type = type;
    site.well = well;
    stats.images.push_back({static_cast<int>(dataset.sites.size()), 0, {mean, 1}});
    dataset.sites.push_back(site);
  }
  Brightness() { dataset.channels_on_disk = 1; }
};

TEST(ScreenFigures, BrightnessIsRelativeToTheGeometricMean) {
  Brightness b;
  b.add(0, 7), b.add(0, 9), b.add(1, 30), b.add(1, 34);
  b.add(1, 200, WellType::treatment);  // both have controls: treatments do not count
  const report::BrightnessShift shift = report::brightness_shift(b.dataset, b.stats);
  EXPECT_TRUE(shift.of_controls);
  EXPECT_EQ(shift.images, (std::vector<int>{2, 2}));
  EXPECT_DOUBLE_EQ(shift.mean[0], 8);
  EXPECT_DOUBLE_EQ(shift.mean[1], 32);
  EXPECT_DOUBLE_EQ(shift.shift[0], -1);  // geometric mean 16
  EXPECT_DOUBLE_EQ(shift.shift[1], 1);
  // Means 8 and 32 about 20: between 2 (144 + 144); within 2 (1 + 4).
  EXPECT_NEAR(shift.between[0], 576.0 / 586, 1e-12);
  EXPECT_NEAR(shift.between_by_chance, 1.0 / 3, 1e-12);
}

TEST(ScreenFigures, BrightnessWithoutControlsIsOfAllImages) {
  Brightness b;
  b.add(0, 10), b.add(1, 0, WellType::treatment);
  const report::BrightnessShift shift = report::brightness_shift(b.dataset, b.stats);
  EXPECT_FALSE(shift.of_controls);
  EXPECT_DOUBLE_EQ(shift.shift[0], 0);
  EXPECT_TRUE(std::isnan(shift.shift[1]));
  EXPECT_TRUE(shift.between.empty());  // one image each
}

TEST(ScreenFigures, WellsAreComparedWithTheirPlates) {
  Brightness b;
  b.add(0, 10), b.add(0, 30, WellType::treatment, "A02");
  b.add(1, 40), b.add(1, 120, WellType::treatment, "A02");
  const auto wells = report::well_figures(b.dataset, b.stats);
  ASSERT_EQ(wells.size(), 2u);
  EXPECT_EQ(wells[1].well, "A02");
  EXPECT_EQ(wells[1].images, 2);
  EXPECT_NEAR(wells[0].shift, -1, 1e-12);
  EXPECT_NEAR(wells[1].shift, std::log2(1.5), 1e-12);
}

TEST(ScreenFigures, MapsOfPlatesHaveTheirGaps) {
  const report::HeatMap map =
      report::plate_map({{"Z09", 2, 0.5}, {"AB11", 4, -1}, {"Z10", 6, 0}}, true);
  EXPECT_THAT(map.rows, testing::ElementsAre("Z", "AA", "AB"));
  EXPECT_THAT(map.columns, testing::ElementsAre("09", "10", "11"));
  ASSERT_EQ(map.values.size(), 9u);
  EXPECT_EQ(map.values[0], 0.5);
  EXPECT_EQ(map.values[1], 0);
  EXPECT_EQ(map.values[8], -1);
  EXPECT_TRUE(std::isnan(map.values[3]));
  EXPECT_EQ(report::plate_map({{"B02", 3, 0.5}}, false).values, std::vector<double>{3});
}

// Four wells of two experiments, two sites each: neighbours by direction alone.
TEST(ScreenFigures, NeighboursOfTheSameExperiment) {
  Features x(8, 2);
  const std::vector<int> experiment = {0, 0, 0, 0, 1, 1, 1, 1}, well = {0, 0, 1, 1, 2, 2, 3, 3};
  for (int i = 0; i < 8; ++i) {
    const double angle = (experiment[static_cast<size_t>(i)] ? 1.4 : 0.1) + 0.01 * i;
    x.row(i)[0] = static_cast<float>(std::cos(angle)),
    x.row(i)[1] = static_cast<float>(std::sin(angle));
  }
  const auto apart = report::same_experiment_neighbours(x, experiment, well, 2);
  ASSERT_TRUE(apart);
  EXPECT_EQ(apart->k, 2);
  EXPECT_DOUBLE_EQ(apart->share, 1);
  EXPECT_DOUBLE_EQ(apart->chance, 2.0 / 6);  // its own well does not count
  const auto all = report::same_experiment_neighbours(x, experiment, well, 100);
  EXPECT_EQ(all->k, 2);  // so many of each could be of its experiment
  const std::vector<int> one_well_each = {0, 0, 0, 0, 1, 1, 1, 1}, one(8, 0);
  EXPECT_FALSE(report::same_experiment_neighbours(x, experiment, one_well_each));
  EXPECT_FALSE(report::same_experiment_neighbours(x, one, well));
}

// ---- the page -----------------------------------------------------------------------------------

TEST(ScreenReport, SaysWhatIsThereAndWhatIsWrong) {
  TempDir dir, out;
  test::write_own_screen(dir.path());
  fs::remove(dir / "plates" / "PL2-9" / "B03-f02-488.png");
  ScreenReportOptions options;
  options.data = dir.path();
  options.out = out / "screen.html";
  options.title = "<script>alert(1)</script>";
  EXPECT_EQ(run_data_report(options), 0);
  const std::string page = test::read_text(options.out);
  EXPECT_THAT(page, AllOf(HasSubstr("47 of 48 sites"), HasSubstr("no figure of a paper"),
                          HasSubstr("DNA, actin, tubulin, Golgi"),
                          HasSubstr("plates/PL2-9/B03-f02-488.png: is missing"),
                          HasSubstr("data:image/png;base64,"), Not(HasSubstr("<script"))));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)"));
  options.out = dir / "screen.html";
  EXPECT_THROW(run_data_report(options), Error);  // never into the screen
}

std::string page_of(const ScreenReportOptions& options) {
  EXPECT_EQ(run_data_report(options), 0);
  return test::read_text(options.out);
}

// Whatever is wrong with the screen, there is a page, and it says so.
TEST(ScreenReport, GoesWithoutWhatIsMissing) {
  TempDir dir, out;
  test::write_own_screen(dir.path());
  ScreenReportOptions options;
  options.data = dir.path();
  options.out = out / "my page.html";
  const fs::path image = dir / "plates" / "PL1-9" / "B05-f01-405.png";  // DMSO: in the montage
  fs::resize_file(image, 200);
  const auto damaged = AllOf(HasSubstr("47 of 48 sites"), HasSubstr("1 problem is listed below"),
                             HasSubstr("B05-f01-405.png: "), HasSubstr("data:image/png;base64,"));
  EXPECT_THAT(page_of(options), damaged);
  options.quick = true;  // found while measuring
  EXPECT_THAT(page_of(options),
              AllOf(damaged, HasSubstr("--out &#39;" + (out / "my page.html").string())));
  options.quick = false;

  test::write_text(dir / "screen.toml", "[columns]\n");  // no such screen
  EXPECT_THROW(run_data_report(options), Error);
  std::string description = test::own_description();
  description.replace(description.find("Barcode"), 7, "barcode");
  test::write_text(dir / "screen.toml", description);
  EXPECT_THAT(page_of(options), AllOf(HasSubstr("The table has no site that can be used."),
                                      HasSubstr("has no column")));
  test::write_text(dir / "screen.toml", test::own_description());
  fs::remove_all(dir / "plates");
  EXPECT_THAT(page_of(options), AllOf(HasSubstr("None of 48 sites has all of its images."),
                                      HasSubstr("no image of any site was found"),
                                      HasSubstr("There are no images to measure.")));
}

TEST(ScreenReport, ShowsNegativeControlsBeforeAndAfterAdaBN) {
  TempDir dir;
  test::write_tiny_screen(dir / "screen");
  TrainOptions train;
  train.recipe = "smoke/rxrx1/table1/adabn";
  train.sets = test::tiny_sets();
  train.sets.push_back("train.epochs=1");
  train.data = dir / "screen";
  train.out = dir / "run";
  ASSERT_EQ(run_train(train), 0);
  ScreenReportOptions options;
  options.data = dir / "screen";
  options.run = dir / "run";
  options.out = dir / "page.html";
  testing::internal::CaptureStdout();
  EXPECT_EQ(run_data_report(options), 0);
  const std::string said = testing::internal::GetCapturedStdout();
  // Four experiments, an EMPTY well on each of two plates, two sites: 16 images; 2 of the 14 of
  // other wells are of the same experiment.
  EXPECT_THAT(said, AllOf(HasSubstr("with running statistics"), HasSubstr("14.3 % by chance")));
  EXPECT_THAT(test::read_text(options.out),
              AllOf(HasSubstr("16 images of 8 wells in 4 experiments"),
                    HasSubstr("Of the 2 nearest neighbours of an image among the 16 images"),
                    HasSubstr("smoke/rxrx1/table1/adabn")));
  // A page without what the run cannot do without.
  fs::remove_all(dir / "screen" / "images");
  EXPECT_THAT(page_of(options), AllOf(HasSubstr("None of 64 sites"), HasSubstr("embedding")));
}

}  // namespace
}  // namespace mono
