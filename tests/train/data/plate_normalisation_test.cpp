// CDCL's input statistics, by plate.
#include "kernels/base/error.h"
#include "tests/train/data/cpg_screen.h"
#include "tests/train/data/test_screen.h"
#include "train/data/csv.h"
#include "train/data/folds.h"
#include "train/data/normalisation.h"
#include "train/data/png.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

namespace mono {
namespace {

using test::TempDir;

const std::vector<int> kAll = {0, 1, 2, 3, 4, 5};

// An image whose mean and std are easy to tell: half of the pixels `low`, half `high`.
void write_halves(const std::filesystem::path& path, int low, int high) {
  std::vector<uint8_t> pixels(16 * 16);
  for (size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<uint8_t>(i % 2 == 0 ? low : high);
  write_png(path, {16, 16, 1}, pixels.data());
}

TEST(PlateNormalisation, ControlsOfTheImagesOwnPlate) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_table());
  test::write_images(dir.path(), 16);
  const auto folder = dir / "images/HUVEC-02/Plate1";
  write_halves(folder / "B02_s1_w3.png", 10, 21);  // mean 15.5, std 5.5 * sqrt(256/255)
  write_halves(folder / "B02_s2_w3.png", 30, 50);  // mean 40, std 10 * sqrt(256/255)
  const Dataset d = open_dataset(dir.path());
  const FileImages images(d);
  const Split split = make_split(d, {});
  const NormalisationStats stats =
      plate_normalisation(d, images, kAll, split, {PlateStatistics::negative_controls, false});
  EXPECT_EQ(stats.groups.size(), 4u);
  const double unbiased = std::sqrt(256.0 / 255.0);
  for (size_t i = 0; i < d.sites.size(); ++i) {
    const Site& s = d.sites[i];
    if (d.experiments[static_cast<size_t>(s.experiment)] != "HUVEC-02" || s.plate != 1) continue;
    const MeanStd value = stats.of(static_cast<int>(i), 2);
    EXPECT_NEAR(value.mean, 27.75, 1e-12);
    EXPECT_NEAR(value.std, 7.75 * unbiased, 1e-12);
    float mean[2], inv_std[2];
    stats.of(static_cast<int>(i), {0, 2}, mean, inv_std);
    EXPECT_FLOAT_EQ(mean[1], 27.75f / 255);
    EXPECT_FLOAT_EQ(inv_std[1], static_cast<float>(255 / (7.75 * unbiased)));
  }
  const NormalisationStats floored =
      plate_normalisation(d, images, kAll, split, {PlateStatistics::negative_controls, true});
  const int site =
      static_cast<int>(std::find_if(d.sites.begin(), d.sites.end(),
                                    [](const Site& s) { return s.site_id == "HUVEC-02_1_B03_1"; }) -
                       d.sites.begin());
  EXPECT_DOUBLE_EQ(floored.of(site, 2).mean, 27.5);
  EXPECT_DOUBLE_EQ(floored.of(site, 2).std, 7.5);
}

TEST(PlateNormalisation, PlateWithoutControlsIsAnErrorBeforeAnyImageIsRead) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_table());
  test::write_images(dir.path(), 16);
  for (const char* site : {"s1", "s2"})
    std::filesystem::remove(dir / fmt::format("images/HUVEC-01/Plate2/B02_{}_w1.png", site));
  test::write_text(dir / "images/HUVEC-01/Plate1/B02_s1_w1.png", "not read");
  Dataset d = open_dataset(dir.path());
  const FileImages images(d);
  const Split split = make_split(d, {});
  const auto normalise = [&](PlateStatistics of) {
    return plate_normalisation(d, images, kAll, split, {of, false});
  };
  try {
    normalise(PlateStatistics::negative_controls);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_THAT(e.what(),
                testing::HasSubstr("HUVEC-01 plate 2 has no image of a negative control"));
  }
  EXPECT_THROW(normalise(PlateStatistics::all_images), Error);  // the damaged image
  const NormalisationStats constants = normalise(PlateStatistics::constants);
  EXPECT_DOUBLE_EQ(constants.of(0, 1).mean, 18.4262);
  EXPECT_DOUBLE_EQ(constants.of(0, 1).std, 12.0360);
  d.channels_on_disk = 3;
  EXPECT_THROW(normalise(PlateStatistics::constants), Error);
  EXPECT_EQ(parse_plate_statistics("all-images"), PlateStatistics::all_images);
  EXPECT_THROW(parse_plate_statistics("plates"), Error);
}

TEST(PlateNormalisation, AllImagesOfAPlateOfCpg0004) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_cpg_table());
  test::write_cpg_images(dir.path(), 12);
  const Dataset d = open_dataset(dir.path());
  const FileImages images(d);
  FoldOptions fold;
  fold.control_fields = 1;  // statistics are of all images, whatever trains
  const Split split = make_folds(d, fold);
  EXPECT_EQ(plate_statistics_of(d.form), PlateStatistics::all_images);
  const NormalisationStats stats =
      plate_normalisation(d, images, {0, 1, 2, 3, 4}, split, {PlateStatistics::all_images, false});
  ASSERT_EQ(stats.groups.size(), 5u);
  EXPECT_EQ(stats.groups[2], "P3 plate 1");
  double means = 0, stds = 0;
  int count = 0;
  for (const ImageStats& i : image_statistics(d, images).images) {
    if (d.sites[static_cast<size_t>(i.site)].experiment != 2 || i.channel != 3) continue;
    means += i.value.mean;
    stds += i.value.std;
    ++count;
  }
  ASSERT_EQ(count, 10);
  EXPECT_NEAR(stats.values[2 * 5 + 3].mean, means / 10, 1e-12);
  EXPECT_NEAR(stats.values[2 * 5 + 3].std, stds / 10, 1e-12);
  const NormalisationStats constants =
      plate_normalisation(d, images, {0, 1, 2, 3, 4}, split, {PlateStatistics::constants, false});
  EXPECT_DOUBLE_EQ(constants.of(7, 4).std, 25.822);
}

// Real EMPTY wells against the values that were reconstructed for CDCL: the first four channels, of
// which there are most.
TEST(PlateNormalisation, RealHuvecPlates) {
  const auto root = test::real_data("dylanskinner65_034524c"),
             table = test::cdcl_data("derived/huvec_plate_negctrl_norm_reconstructed.csv");
  if (root.empty() || table.empty()) GTEST_SKIP() << "../shared/data is not at hand";
  Dataset d = open_dataset(root);
  d.channels_on_disk = 4;
  for (Site& site : d.sites) site.channels_present &= 0xF;
  const FileImages images(d);
  const std::vector<int> four = {0, 1, 2, 3};
  Split split;
  std::map<std::string, int> controls;  // complete EMPTY images of a plate
  for (size_t i = 0; i < d.sites.size(); ++i)
    if (d.complete(static_cast<int>(i)) && d.sites[i].cell_type == "HUVEC") {
      const Site& site = d.sites[i];
      split.train.push_back(static_cast<int>(i));
      controls[fmt::format("{} plate {}", d.experiments[static_cast<size_t>(site.experiment)],
                           site.plate)] += site.well_type == WellType::negative_control;
    }
  if (split.train.empty()) GTEST_SKIP() << "no HUVEC image is at hand";
  const PlateNormalisation options{PlateStatistics::negative_controls, false};
  const NormalisationStats stats = plate_normalisation(d, images, four, split, options);
  const NormalisationStats floored =
      plate_normalisation(d, images, four, split, {options.of, true});
  const CsvTable reference = read_csv(table, "reconstructed.csv");
  int compared = 0;
  for (const CsvRow& r : reference.rows)
    for (size_t g = 0; g < stats.groups.size(); ++g) {
      if (stats.groups[g] != r.fields[1] + " plate " + r.fields[2]) continue;
      if (controls.at(stats.groups[g]) != std::stoi(r.fields[3])) continue;  // some are not at hand
      ++compared;
      for (size_t c = 0; c < 4; ++c) {
        const auto at = [&](size_t column) { return std::stod(r.fields[column + c]); };
        EXPECT_NEAR(stats.values[g * 4 + c].mean, at(4), 1e-3) << stats.groups[g];
        EXPECT_NEAR(stats.values[g * 4 + c].std, at(10), 1e-3) << stats.groups[g];
        EXPECT_NEAR(floored.values[g * 4 + c].mean, at(16), 1e-9) << stats.groups[g];
        EXPECT_NEAR(floored.values[g * 4 + c].std, at(22), 1e-9) << stats.groups[g];
      }
    }
  EXPECT_GT(compared, 0);
  fmt::print("{} plates compared\n", compared);
}

}  // namespace
}  // namespace mono
