// The trees of CPG0004, PNG and TIFF: small ones, and the real images beside the source tree.
#include "kernels/base/error.h"
#include "tests/train/data/cpg_screen.h"
#include "tests/train/data/test_screen.h"
#include "train/data/check.h"
#include "train/data/commands.h"
#include "train/data/csv.h"
#include "train/data/image_stats.h"
#include "train/data/normalisation.h"
#include "train/data/png.h"
#include "train/data/tiff.h"
#include "train/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <sstream>

namespace mono {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

constexpr int kSize = 12;
const char* kImage = "P1/r02c02f01p01-ch2sk1fk1fl1.png";  // metadata.csv:4

void make_screen(const TempDir& dir, const std::string& below = "") {
  test::write_text(dir / "metadata.csv", test::small_cpg_table());
  test::write_cpg_images(dir.path(), kSize, below);
}

TEST(CpgTree, PublishedFolders) {
  for (const char* below : {"", "images", "images/2016_04_01_a549_48hr_batch1_compressed/images",
                            "2016_04_01_a549_48hr_batch1_compressed"}) {
    SCOPED_TRACE(below);
    TempDir dir;
    make_screen(dir, below);
    const CheckReport report = check_dataset(dir.path());
    EXPECT_TRUE(report.problems.empty()) << check_text(report);
    EXPECT_TRUE(report.notes.empty());
    EXPECT_EQ(report.complete_sites, 50);
    EXPECT_EQ(report.images_checked, 250);
    EXPECT_EQ(report.layout, "cpg0004");
    const Dataset d = open_dataset(dir.path());
    EXPECT_EQ(d.image_size, kSize);
    const std::string prefix = below[0] == '\0' ? "" : std::string(below) + "/";
    EXPECT_EQ(d.file_of(d.sites[2], 1), prefix + kImage);
  }
}

struct Fault {
  const char* name;
  std::function<void(const fs::path& root)> make;
  const char *kind, *file, *message;
};

TEST(CpgTree, OneFaultOneProblem) {
  const auto put = [](const char* file) {
    return [file](const fs::path& root) {
      fs::create_directories((root / file).parent_path());
      fs::copy_file(root / kImage, root / file);
    };
  };
  const Fault faults[] = {
      {"missing", [](const fs::path& root) { fs::remove(root / kImage); }, "missing", kImage,
       "is missing"},
      {"flipped bit",
       [](const fs::path& root) {
         std::string bytes = test::read_text(root / kImage);
         bytes[60] ^= 4;
         test::write_text(root / kImage, bytes);
       },
       "damaged", kImage, "CRC"},
      {"channel 6", put("P1/r02c02f01p01-ch6sk1fk1fl1.png"), "mislabelled",
       "P1/r02c02f01p01-ch6sk1fk1fl1.png", "channels 1 to 5); rename the file"},
      {"field 0", put("P1/r02c02f00p01-ch1sk1fk1fl1.png"), "mislabelled",
       "P1/r02c02f00p01-ch1sk1fk1fl1.png", "fields 1 to 9"},
      {"row 17", put("P1/r17c02f01p01-ch1sk1fk1fl1.png"), "mislabelled",
       "P1/r17c02f01p01-ch1sk1fk1fl1.png", "rows 1 to 16"},
      {"a plate twice", put("copy/P1/r02c02f01p01-ch2sk1fk1fl1.png"), "duplicate", "copy/P1",
       "the plate is also at P1; keep one"},
      {"raw beside published", put("P1/r02c02f01p01-ch2sk1fk1fl1.tiff"), "mixed", ".",
       "250 images are .png and 1 are .tiff"},
      {"wrong size",
       [](const fs::path& root) {
         const std::vector<uint8_t> pixels(20 * 20, 3);
         write_png(root / kImage, {20, 20, 1}, pixels.data());
       },
       "size", kImage, "is 20 x 20 pixels"},
      {"one picture twice",
       [](const fs::path& root) {
         fs::copy_file(root / kImage, root / "P2/r02c02f01p01-ch2sk1fk1fl1.png",
                       fs::copy_options::overwrite_existing);
       },
       "duplicate-image", "P2/r02c02f01p01-ch2sk1fk1fl1.png", kImage},
  };
  for (const Fault& fault : faults) {
    SCOPED_TRACE(fault.name);
    TempDir dir;
    make_screen(dir);
    fault.make(dir.path());
    const CheckReport report = check_dataset(dir.path());
    ASSERT_EQ(report.problems.size(), 1u) << check_text(report);
    EXPECT_EQ(report.problems[0].kind, fault.kind);
    EXPECT_EQ(report.problems[0].file, fault.file);
    EXPECT_THAT(report.problems[0].message, testing::HasSubstr(fault.message));
  }
}

TEST(CpgTree, ImagesWithoutARowAndWithoutAPlateAreNotes) {
  TempDir dir;
  make_screen(dir);
  fs::copy_file(dir / kImage, dir / "P1/r16c01f01p01-ch2sk1fk1fl1.png");
  fs::create_directory(dir / "SQ99");
  fs::copy_file(dir / kImage, dir / "SQ99/r16c01f01p01-ch2sk1fk1fl1.png");
  const CheckReport report = check_dataset(dir.path());
  EXPECT_TRUE(report.problems.empty()) << check_text(report);
  EXPECT_THAT(report.notes,
              testing::UnorderedElementsAre(
                  testing::HasSubstr("SQ99: 1 images of a plate that the table does not have"),
                  testing::HasSubstr("P1: 1 image has no row in the table and is not used, e.g.")));
}

// A grey TIFF of one uncompressed strip, 16 bits, little-endian, as the microscope's are.
std::string tiff_of(const std::vector<uint16_t>& pixels, int width, int samples = 1) {
  std::string bytes("II*\0\0\0\0\0", 8);
  const auto put16 = [&](unsigned v) {
    bytes.push_back(static_cast<char>(v & 0xFF));
    bytes.push_back(static_cast<char>(v >> 8));
  };
  const auto put32 = [&](unsigned v) {
    put16(v & 0xFFFF);
    put16(v >> 16);
  };
  for (const uint16_t p : pixels) put16(p);
  const auto offset = static_cast<uint32_t>(bytes.size());
  for (size_t i = 0; i < 4; ++i) bytes[4 + i] = static_cast<char>(offset >> (8 * i) & 0xFF);
  const auto height = static_cast<unsigned>(pixels.size()) / static_cast<unsigned>(width);
  const std::vector<std::array<unsigned, 3>> fields = {
      {256, 3, static_cast<unsigned>(width)},
      {257, 3, height},
      {258, 3, 16},
      {259, 3, 1},
      {262, 3, 1},
      {273, 4, 8},
      {277, 3, static_cast<unsigned>(samples)},
      {278, 3, height},
      {279, 4, static_cast<unsigned>(pixels.size()) * 2}};
  put16(static_cast<unsigned>(fields.size()));
  for (const auto& [tag, type, value] : fields) {
    put16(tag);
    put16(type);
    put32(1);
    put32(value);
  }
  put32(0);
  return bytes;
}

TEST(CpgTree, RawTiffIsScaledByOneRule) {
  if (!tiff_is_built()) GTEST_SKIP() << "built without libtiff";
  TempDir dir;
  test::write_text(dir / "metadata.csv", std::string(test::kCpgHeader) +
                                             test::cpg_row("SQ1", 1, "A01", 1, "DMSO", "", ""));
  const std::string folder =
      "raw/SQ1__2016-05-06T02_10_05-Measurement1/Images/r01c01f01p01-ch{}sk1fk1fl1.tiff";
  const std::vector<uint16_t> pixels = {0, 31, 33, 8192, 16383, 16384, 65535, 97, 64};
  for (int c = 1; c <= 5; ++c)
    test::write_text(dir / fmt::format(fmt::runtime(folder), c), tiff_of(pixels, 3));
  const Dataset d = open_dataset(dir.path());
  EXPECT_EQ(d.extension, ".tiff");
  EXPECT_EQ(d.image_size, 3);
  ASSERT_TRUE(d.complete(0));
  const FileImages images(d);
  std::vector<uint8_t> got(9);
  const int channel = 4;
  images.read(0, std::span(&channel, 1), got.data());
  EXPECT_THAT(got, testing::ElementsAre(0, 0, 1, 128, 255, 255, 255, 2, 1));

  const std::string file = dir.path() / fmt::format(fmt::runtime(folder), 5);
  const auto error = [&](const std::string& bytes) {
    test::write_text(file, bytes);
    try {
      images.read(0, std::span(&channel, 1), got.data());
    } catch (const PngError& e) {
      return std::string(name_of(e.fault())) + " " + e.what();
    }
    return std::string("no error");
  };
  EXPECT_THAT(error(tiff_of(pixels, 9)), testing::StartsWith("size "));
  EXPECT_THAT(error(tiff_of(pixels, 3, 3)), testing::StartsWith("format "));
  EXPECT_THAT(error("II*"), testing::StartsWith("damaged "));
  EXPECT_THAT(error(tiff_of(pixels, 3).substr(0, 20)), testing::StartsWith("damaged "));
  fs::remove(file);
  EXPECT_THROW(images.read(0, std::span(&channel, 1), got.data()), PngError);
}

TEST(CpgTree, StatisticsAfterNormalisation) {
  TempDir dir;
  make_screen(dir);
  testing::internal::CaptureStdout();
  EXPECT_EQ(run_data_stats({dir.path(), true, "all-images"}), 0);
  const auto plates = parse_json(testing::internal::GetCapturedStdout(), "stats")["plates"].array();
  ASSERT_EQ(plates.size(), 25u);
  for (const JsonView& plate : plates) {
    EXPECT_NEAR(plate["normalised_mean"].number(), 0, 1e-12);
    EXPECT_NEAR(plate["normalised_std"].number(), 1, 1e-12);
  }
  testing::internal::CaptureStdout();
  EXPECT_EQ(run_data_stats({dir.path(), false, "negative-controls"}), 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::HasSubstr("normalised: mean"));
  EXPECT_THROW(run_data_stats({dir.path(), false, "controls"}), Error);
}

TEST(CpgTree, PackedSmallerAndUsedWithoutTheFiles) {
  TempDir dir, out;
  make_screen(dir);
  PackOptions options;
  options.data = dir.path();
  options.out = out / "small.mono";
  options.resize = 8;
  options.selection = true;
  options.compare = false;
  EXPECT_EQ(run_data_pack(options), 0);
  Dataset d = open_dataset(dir.path());
  const auto expected = open_images(d, {}, 8);
  Dataset cached = open_dataset(dir.path());
  const auto images = open_images(cached, out / "small.mono", 8);
  EXPECT_EQ(cached.image_size, 8);
  const std::vector<int> channels = {0, 1, 2, 3, 4};
  std::vector<uint8_t> a(5 * 8 * 8), b(5 * 8 * 8);
  int complete = 0;
  for (int i = 0; i < 50; ++i) {
    complete += cached.complete(i);
    if (!cached.complete(i)) continue;
    expected->read(i, channels, a.data());
    images->read(i, channels, b.data());
    ASSERT_EQ(a, b);
  }
  EXPECT_EQ(complete, 40);  // the ten of C04 have another dose
  EXPECT_THROW(open_images(cached, out / "small.mono", 9), Error);
  // Other images of the same names.
  const std::vector<uint8_t> pixels(kSize * kSize, 77);
  for (const Site& s : d.sites)
    for (int c = 0; c < 5; ++c) write_png(d.path_of(s, c), {kSize, kSize, 1}, pixels.data());
  Dataset other = open_dataset(dir.path());
  try {
    open_images(other, out / "small.mono");
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("resized to 8 pixels a side"));
  }
}

// ---- real images: five plates, four wells, five channels of 1080 x 1080 -------------------------

// A folder with the real images and the public tables, of which the plates without images are left
// out (they are read by CpgTables.LincsTables); false where they are not at hand.
bool link_real(const TempDir& dir) {
  const fs::path images = test::cdcl_data("cpg0004_images"), lincs = test::cdcl_data("lincs");
  if (images.empty() || lincs.empty()) return false;
  for (const auto& entry : fs::directory_iterator(images))
    fs::create_directory_symlink(entry.path(), dir.path() / entry.path().filename());
  std::string plates;
  std::istringstream table(test::read_text(lincs / "barcode_platemap.csv"));
  for (std::string line; std::getline(table, line);)
    if (plates.empty() || fs::exists(images / line.substr(0, line.find(','))))
      plates += line + "\n";
  test::write_text(dir / "metadata/barcode_platemap.csv", plates);
  for (const char* name : {"platemap", "repurposing_info_external_moa_map_resolved.tsv"})
    fs::create_symlink(lincs / name, dir.path() / "metadata" / name);
  return true;
}

TEST(CpgReal, CheckAndStatisticsShowTheBrightPlate) {
  TempDir dir;
  if (!link_real(dir)) GTEST_SKIP() << "../shared/data/cdcl is not at hand";
  const CheckReport report = check_dataset(dir.path());
  EXPECT_TRUE(report.problems.empty()) << check_text(report);
  EXPECT_EQ(report.complete_sites, 20);
  EXPECT_EQ(report.images_checked, 100);

  const Dataset d = open_dataset(dir.path());
  EXPECT_EQ(d.image_size, 1080);
  const FileImages images(d);
  const DatasetStats stats = image_statistics(d, images);
  std::map<std::string, double> mean_of, std_of;
  const CsvTable reference =
      read_csv(test::cdcl_data("derived/cpg0004_images_stats.csv"), "cpg0004_images_stats.csv");
  for (const CsvRow& r : reference.rows) {
    mean_of[r.fields[0] + r.fields[1] + r.fields[4]] = std::stod(r.fields[6]);
    std_of[r.fields[0] + r.fields[1] + r.fields[4]] = std::stod(r.fields[7]);
  }
  ASSERT_EQ(stats.images.size(), reference.rows.size());
  std::map<std::pair<int, bool>, double> plate_mean;  // channel, SQ00015198: mean of image means
  for (const ImageStats& i : stats.images) {
    const Site& s = d.sites[static_cast<size_t>(i.site)];
    const std::string& plate = d.experiments[static_cast<size_t>(s.experiment)];
    const std::string key = plate + s.well + fmt::format("{}", i.channel + 1);
    EXPECT_NEAR(i.value.mean, mean_of.at(key), 1e-4) << key;
    EXPECT_NEAR(i.value.std, std_of.at(key), 1e-3) << key;
    const bool bright = plate == "SQ00015198";
    plate_mean[{i.channel, bright}] += i.value.mean / (bright ? 4 : 16);
    const bool dmso = s.well == "A01" || s.well == "J18";
    EXPECT_EQ(s.is_control(), dmso);
    EXPECT_EQ(s.sirna, s.well == "A13"   ? "BRD-K55966568-001-05-4@10"
                       : s.well == "P13" ? "BRD-K41599323-001-02-3@10"
                                         : "DMSO");
    EXPECT_EQ(s.replicate, bright ? 1 : plate.back() - '0' + 2);
  }
  const double published[] = {1.39, 1.46, 1.37, 1.44, 1.02};
  for (int c = 0; c < 5; ++c)
    EXPECT_NEAR((plate_mean[{c, true}] / plate_mean[{c, false}]), published[c], 0.01) << c;

  // Normalised by its controls, the bright plate is one among the others.
  std::vector<int> channels = {0, 1, 2, 3, 4};
  Split split;
  for (int i = 0; i < static_cast<int>(d.sites.size()); ++i)
    if (d.complete(i)) split.train.push_back(i);
  const NormalisationStats by =
      plate_normalisation(d, images, channels, split, {PlateStatistics::negative_controls, false});
  std::map<std::pair<int, int>, double> after;  // channel, experiment
  for (const ImageStats& i : stats.images) {
    const MeanStd& scale = by.of(i.site, i.channel);
    after[{i.channel, d.sites[static_cast<size_t>(i.site)].experiment}] +=
        (i.value.mean - scale.mean) / scale.std / 4;
  }
  const int bright = d.sites[static_cast<size_t>(split.train[0])].experiment;
  for (int c = 0; c < 5; ++c) {
    double least = 1e9, most = -1e9;
    for (const auto& [key, value] : after)
      if (key.first == c && key.second != bright) {
        least = std::min(least, value);
        most = std::max(most, value);
      }
    const double gap = most - least;
    EXPECT_GT((after[{c, bright}]), least - gap) << c;
    EXPECT_LT((after[{c, bright}]), most + gap) << c;
  }
}

TEST(CpgReal, CacheAt256AndMontage) {
  TempDir dir, out;
  if (!link_real(dir)) GTEST_SKIP() << "../shared/data/cdcl is not at hand";
  PackOptions pack;
  pack.data = dir.path();
  pack.out = out / "cpg.mono";
  pack.resize = 256;
  pack.compare = false;
  EXPECT_EQ(run_data_pack(pack), 0);
  Dataset d = open_dataset(dir.path());
  const auto images = open_images(d, out / "cpg.mono", 256);  // compares with the files
  EXPECT_EQ(images->height(), 256);
  EXPECT_EQ(std::count_if(d.sites.begin(), d.sites.end(),
                          [](const Site& s) { return s.channels_present == 0x1F; }),
            20);
  MontageOptions montage;
  montage.data = dir.path();
  montage.out = out / "cpg.png";
  montage.tile = 200;
  EXPECT_EQ(run_data_montage(montage), 0);
  EXPECT_GT(fs::file_size(out / "cpg.png"), 100000u);
}

}  // namespace
}  // namespace mono
