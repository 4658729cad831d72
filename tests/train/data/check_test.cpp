// data check, stats, pack and montage: on small screens with one fault each, and on real images.
#include "train/data/check.h"
#include "train/json.h"

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "tests/train/data/test_screen.h"
#include "train/data/commands.h"
#include "train/data/image_stats.h"
#include "train/data/montage.h"
#include "train/data/normalisation.h"
#include "train/data/png.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

namespace mono {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

constexpr int kSize = 16;

void make_screen(const TempDir& dir) {
  test::write_text(dir / "metadata.csv", test::small_table());
  test::write_images(dir.path(), kSize);
}

std::string one_image(uint8_t value, int size, int channels = 1) {
  const PngInfo info{size, size, channels};
  const std::vector<uint8_t> bytes =
      encode_png(info, std::vector<uint8_t>(info.bytes(), value).data());
  return {bytes.begin(), bytes.end()};
}

TEST(Check, SoundScreen) {
  TempDir dir;
  make_screen(dir);
  const CheckReport report = check_dataset(dir.path());
  EXPECT_TRUE(report.problems.empty()) << check_text(report);
  EXPECT_TRUE(report.notes.empty());
  EXPECT_EQ(report.sites, 24);
  EXPECT_EQ(report.complete_sites, 24);
  EXPECT_EQ(report.absent_sites, 0);
  EXPECT_EQ(report.images_checked, 24 * 6);
  EXPECT_EQ(report.layout, "rxrx");
  EXPECT_EQ(run_data_check({dir.path(), false, false}), 0);
}

struct Fault {
  const char* name;
  std::function<void(const fs::path& root)> make;
  const char* kind;
  const char* file;
  int row;
  const char* message;
};

const char* kImage = "images/HUVEC-01/Plate1/B03_s1_w2.png";  // metadata.csv:3

TEST(Check, OneFaultOneProblem) {
  const auto overwrite = [](const std::string& bytes) {
    return [bytes](const fs::path& root) { test::write_text(root / kImage, bytes); };
  };
  const auto damage = [](const std::function<void(std::string&)>& change) {
    return [change](const fs::path& root) {
      std::string bytes = test::read_text(root / kImage);
      change(bytes);
      test::write_text(root / kImage, bytes);
    };
  };
  const Fault faults[] = {
      {"missing channel", [](const fs::path& root) { fs::remove(root / kImage); }, "missing",
       kImage, 3, "is missing"},
      {"flipped bit", damage([](std::string& b) { b[60] ^= 4; }), "damaged", kImage, 3,
       "CRC of the chunk at byte 33"},
      {"cut off", damage([](std::string& b) { b.resize(b.size() / 2); }), "damaged", kImage, 3,
       "are left in the file"},
      {"empty file", overwrite(""), "damaged", kImage, 3, "is empty"},
      {"a web page", overwrite("<html>403 Forbidden</html>" + std::string(60, ' ')), "damaged",
       kImage, 3, "does not begin with the PNG signature"},
      {"wrong size", overwrite(one_image(7, 2 * kSize)), "size", kImage, 3,
       "is 32 x 32 pixels with 1 channel(s), the screen's images are 16 x 16"},
      {"colour", overwrite(one_image(7, kSize, 3)), "size", kImage, 3, "with 3 channel(s)"},
      {"constant", overwrite(one_image(0, kSize)), "constant", kImage, 3, "all 256 pixels are 0"},
      {"two channels alike",
       [](const fs::path& root) {
         fs::copy_file(root / "images/HUVEC-01/Plate1/B03_s1_w1.png", root / kImage,
                       fs::copy_options::overwrite_existing);
       },
       "duplicate-image", kImage, 3,
       "shows the same picture as images/HUVEC-01/Plate1/B03_s1_w1.png"},
      {"picture of another experiment",
       [](const fs::path& root) {
         fs::copy_file(root / kImage, root / "images/HUVEC-02/Plate2/B04_s2_w5.png",
                       fs::copy_options::overwrite_existing);
       },
       "duplicate-image", "images/HUVEC-02/Plate2/B04_s2_w5.png", 25, kImage},
      {"channel 7",
       [](const fs::path& root) {
         test::write_text(root / "images/HUVEC-01/Plate1/B03_s1_w7.png", "x");
       },
       "mislabelled", "images/HUVEC-01/Plate1/B03_s1_w7.png", 0, "rename the file"},
      {"channel 0",
       [](const fs::path& root) {
         test::write_text(root / "images/HUVEC-01/Plate1/B03_s1_w0.png", "x");
       },
       "mislabelled", "images/HUVEC-01/Plate1/B03_s1_w0.png", 0, "channels 1 to 6"},
      {"plate 5",
       [](const fs::path& root) { fs::create_directory(root / "images/HUVEC-01/Plate5"); },
       "mislabelled", "images/HUVEC-01/Plate5", 0, "plates are numbered 1 to 4"},
      {"folder in place of an image",
       [](const fs::path& root) {
         fs::remove(root / kImage);
         fs::create_directory(root / kImage);
       },
       "damaged", kImage, 3, "is not a regular file"},
      {"faulty row",
       [](const fs::path& root) {
         test::write_text(root / "metadata.csv",
                          test::small_table() + test::row("HUVEC-02", 7, "B02", 1, "test",
                                                          "negative_control", "EMPTY", 2));
       },
       "plate", "metadata.csv", 26, "metadata.csv:26: plate '7'"},
  };
  for (const Fault& fault : faults) {
    SCOPED_TRACE(fault.name);
    TempDir dir;
    make_screen(dir);
    fault.make(dir.path());
    const CheckReport report = check_dataset(dir.path());
    ASSERT_EQ(report.problems.size(), 1u) << check_text(report);
    const Problem& p = report.problems.front();
    EXPECT_EQ(p.kind, fault.kind);
    EXPECT_EQ(p.file, fault.file);
    EXPECT_EQ(p.row, fault.row);
    EXPECT_THAT(p.message, testing::HasSubstr(fault.message));
    EXPECT_THAT(p.message, testing::StartsWith(fault.file));
    EXPECT_THAT(check_text(report), testing::HasSubstr(p.message));
    EXPECT_EQ(run_data_check({dir.path(), true, false}), 3);
  }
}

TEST(Check, FaultsOfTheWholeTable) {
  TempDir dir;
  make_screen(dir);
  const auto only = [](const CheckReport& report) {
    EXPECT_EQ(report.problems.size(), 1u) << check_text(report);
    return report.problems.empty() ? "" : report.problems.front().kind;
  };
  std::string table =
      test::kHeader + test::row("HUVEC-01", 1, "B04", 1, "train", "treatment", "a", 0);
  test::write_text(dir / "metadata.csv", table);
  EXPECT_EQ(only(check_dataset(dir.path())), "no-controls");
  table += test::row("HUVEC-01", 1, "B02", 1, "train", "negative_control", "EMPTY", 5);
  test::write_text(dir / "metadata.csv", table);
  const CheckReport gap = check_dataset(dir.path());
  EXPECT_EQ(only(gap), "label-gap");
  EXPECT_THAT(gap.problems[0].message,
              testing::HasSubstr("4 of the classes 0 to 5 have no row, the first is sirna_id 1"));
  // RxRx1's numbering stands for itself.
  test::write_text(dir / "metadata.csv",
                   test::kHeader + test::row("HUVEC-01", 1, "B02", 1, "train", "negative_control",
                                             "EMPTY", 1138));
  EXPECT_TRUE(check_dataset(dir.path()).problems.empty());
  fs::remove_all(dir / "images");
  EXPECT_EQ(only(check_dataset(dir.path())), "no-images");
}

TEST(Check, AbsentWellsAndUnlistedImagesAreNoProblems) {
  TempDir dir;
  make_screen(dir);
  for (int site = 1; site <= 2; ++site)
    for (int w = 1; w <= 6; ++w)
      fs::remove(dir / fmt::format("images/HUVEC-02/Plate1/B03_s{}_w{}.png", site, w));
  test::write_text(dir / "images/HUVEC-01/Plate1/O23_s1_w1.png", "not looked at");
  test::write_text(dir / "images/RPE-07/Plate1/B02_s1_w1.png", "not looked at");
  const CheckReport report = check_dataset(dir.path());
  EXPECT_TRUE(report.problems.empty()) << check_text(report);
  EXPECT_EQ(report.absent_sites, 2);
  EXPECT_EQ(report.absent_by_experiment.at("HUVEC-02"), 2);
  EXPECT_EQ(report.complete_sites, 22);
  EXPECT_THAT(report.notes, testing::ElementsAre(
                                testing::HasSubstr("1 image has no row in the table and is not"),
                                testing::HasSubstr("images/RPE-07: the table has no experiment")));
}

TEST(Check, QuickLooksAtHeadersOnly) {
  TempDir dir;
  make_screen(dir);
  std::string bytes = test::read_text(dir / kImage);
  bytes[60] ^= 4;
  test::write_text(dir / kImage, bytes);
  EXPECT_TRUE(check_dataset(dir.path(), true).problems.empty());
  test::write_text(dir / kImage, one_image(7, 2 * kSize));
  EXPECT_EQ(check_dataset(dir.path(), true).problems.size(), 1u);
}

TEST(Check, JsonForm) {
  TempDir dir;
  make_screen(dir);
  fs::remove(dir / kImage);
  const JsonView json = parse_json(check_json(check_dataset(dir.path())), "report");
  EXPECT_EQ(json["complete_sites"].integer(), 23);
  const std::vector<JsonView> problems = json["problems"].array();
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0]["kind"].string(), "missing");
  EXPECT_EQ(problems[0]["file"].string(), kImage);
  EXPECT_EQ(problems[0]["row"].integer(), 3);
  EXPECT_THAT(problems[0]["message"].string(),
              testing::HasSubstr(fmt::format("{}: is missing", kImage)));
}

TEST(Check, RealImages) {
  const auto root = test::real_data("dylanskinner65_034524c");
  if (root.empty()) GTEST_SKIP() << "../shared/data/rxrx1 is not at hand";
  const CheckReport report = check_dataset(root);
  EXPECT_EQ(report.complete_sites, 18);
  EXPECT_EQ(report.images_checked, 180);
  EXPECT_EQ(report.absent_sites, report.sites - 36);
  ASSERT_EQ(report.problems.size(), 36u);  // channels 5 and 6 of 18 sites
  for (const Problem& p : report.problems) {
    EXPECT_EQ(p.kind, "missing");
    EXPECT_THAT(p.file, testing::ContainsRegex("Plate[1-4]/B02_s2_w[56].png$"));
    EXPECT_GT(p.row, 1);
  }
}

// ---- statistics ---------------------------------------------------------------------------------

TEST(Stats, HistogramIsExact) {
  Histogram a, b;
  const std::vector<uint8_t> x = {0, 255, 3, 3, 7}, y = {9, 9, 250};
  a.add(x);
  b.add(y);
  EXPECT_DOUBLE_EQ(a.mean_std().mean, 268.0 / 5);
  EXPECT_NEAR(a.mean_std().std, std::sqrt(50727.2 / 4), 1e-9);  // squares about 53.6
  a.add(b);
  EXPECT_DOUBLE_EQ(a.mean_std().mean, 536.0 / 8);
  EXPECT_EQ(Histogram().mean_std().std, 0);
}

TEST(Stats, DamagedFilesAreLeftOutWithAWarning) {
  TempDir dir;
  make_screen(dir);
  test::write_text(dir / kImage, "");
  const Dataset d = open_dataset(dir.path());
  const DatasetStats stats = image_statistics(d, FileImages(d));
  EXPECT_EQ(stats.images.size(), 24u * 6 - 1);
  ASSERT_EQ(stats.warnings.size(), 1u);
  EXPECT_THAT(stats.warnings[0].message, testing::HasSubstr(kImage));
  EXPECT_EQ(run_data_stats({dir.path(), true, {}}), 0);
}

// Mean and std of the EMPTY well B02 on every plate, by others: specs of RxRx1, section B, item 7.
TEST(Stats, RealImagesAgreeWithPublishedOnes) {
  const auto root = test::real_data("dylanskinner65_034524c");
  const auto table = test::real_data("plate_negctrl_B02_stats_vshmyhlo.csv");
  if (root.empty() || table.empty()) GTEST_SKIP() << "../shared/data/rxrx1 is not at hand";
  std::map<std::string, std::vector<std::string>> published;
  const std::string text = test::read_text(table);
  for (size_t at = 0, end; (end = text.find('\n', at)) != text.npos; at = end + 1) {
    std::vector<std::string> fields(1);
    for (const char c : text.substr(at, end - at)) {
      if (c == ',')
        fields.emplace_back();
      else if (c != '\r')
        fields.back() += c;
    }
    published[fields[0] + "/" + fields[1] + "/" + fields[2]] = fields;
  }
  const Dataset d = open_dataset(root);
  const DatasetStats stats = image_statistics(d, FileImages(d));
  ASSERT_EQ(stats.images.size(), 108u);
  for (const ImageStats& i : stats.images) {
    const Site& s = d.sites[static_cast<size_t>(i.site)];
    const auto& fields = published.at(
        fmt::format("{}/{}/{}", d.experiments[static_cast<size_t>(s.experiment)], s.plate, s.site));
    const auto channel = static_cast<size_t>(i.channel);
    EXPECT_NEAR(i.value.mean, std::stod(fields[3 + channel]), 0.005) << s.site_id << channel;
    EXPECT_NEAR(i.value.std, std::stod(fields[9 + channel]), 0.005) << s.site_id << channel;
  }
}

// ---- normalisation ------------------------------------------------------------------------------

TEST(Normalisation, GroupsOfTable5) {
  TempDir dir;
  make_screen(dir);
  const Dataset d = open_dataset(dir.path());
  const FileImages images(d);
  const Split split = make_split(d, {});
  const std::vector<int> channels = {0, 2, 5};
  // The same by hand: pooled pixels of the sites that `use` takes.
  const auto by_hand = [&](int channel, const std::function<bool(const Site&)>& use) {
    Histogram h;
    std::vector<uint8_t> plane(kSize * kSize);
    for (int i = 0; i < 24; ++i) {
      if (!use(d.sites[static_cast<size_t>(i)])) continue;
      images.read(i, std::span(&channel, 1), plane.data());
      h.add(plane);
    }
    return h.mean_std();
  };
  const Site& probe = d.sites[23];  // HUVEC-02, plate 2, a treatment
  const std::map<Normalisation, std::function<bool(const Site&)>> uses = {
      {Normalisation::all, [](const Site& s) { return !s.in_test; }},
      {Normalisation::all_experiment,
       [&](const Site& s) { return s.experiment == probe.experiment; }},
      {Normalisation::control_experiment,
       [&](const Site& s) { return s.experiment == probe.experiment && s.is_control(); }},
      {Normalisation::all_plate,
       [&](const Site& s) { return s.experiment == probe.experiment && s.plate == probe.plate; }},
      {Normalisation::control_plate, [&](const Site& s) {
         return s.experiment == probe.experiment && s.plate == probe.plate && s.is_control();
       }}};
  for (const auto& [kind, use] : uses) {
    const auto stats = normalisation_statistics(d, images, channels, split, kind, StdBy::pooled);
    for (const int c : channels) {
      const MeanStd expected = by_hand(c, use);
      EXPECT_EQ(stats.of(23, c).mean, expected.mean);
      EXPECT_EQ(stats.of(23, c).std, expected.std);
    }
  }
  // Few pixels vary less by image than over the pool.
  const auto means = normalisation_statistics(d, images, channels, split, Normalisation::all_plate,
                                              StdBy::mean_of_stds);
  EXPECT_EQ(means.groups.size(), 4u);
  EXPECT_THAT(means.groups, testing::Contains("HUVEC-02 plate 2"));
  EXPECT_NE(means.of(23, 0).std, by_hand(0, uses.at(Normalisation::all_plate)).std);
  EXPECT_TRUE(
      normalisation_statistics(d, images, channels, split, Normalisation::self, StdBy::pooled)
          .values.empty());
}

TEST(Normalisation, NoControlsIsAnError) {
  TempDir dir;
  make_screen(dir);
  for (const char* well : {"B02", "B03"})
    for (int site = 1; site <= 2; ++site)
      fs::remove(dir / fmt::format("images/HUVEC-02/Plate1/{}_s{}_w1.png", well, site));
  const Dataset d = open_dataset(dir.path());
  try {
    normalisation_statistics(d, FileImages(d), {0}, make_split(d, {}), Normalisation::control_plate,
                             StdBy::pooled);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_THAT(e.what(), testing::HasSubstr("HUVEC-02 plate 1 has no control image"));
  }
}

// ---- montage ------------------------------------------------------------------------------------

// One pixel a site: counts of six channels.
class Pixels : public ImageSource {
 public:
  explicit Pixels(std::vector<std::vector<uint8_t>> sites) : sites_(std::move(sites)) {}
  void read(int site, std::span<const int> channels, uint8_t* planes) const override {
    for (const int c : channels)
      *planes++ = sites_[static_cast<size_t>(site)][static_cast<size_t>(c)];
  }
  int height() const override { return 1; }
  int width() const override { return 1; }

 private:
  std::vector<std::vector<uint8_t>> sites_;
};

TEST(Montage, ColoursOfRxrxUtils) {
  const Pixels images({{51, 0, 0, 0, 0, 0}, {200, 0, 0, 0, 0, 0}, {0, 0, 64, 0, 0, 0}});
  const auto colour = [&](int site) {
    const Picture p = draw_grid({}, images, {{"", {{site, -1, ""}}}}, 64, MontageScale::fixed);
    const auto at = static_cast<size_t>((p.height - 32) * p.width + p.width / 2) * 3;  // its tile
    return std::vector<int>(p.rgb.begin() + static_cast<ptrdiff_t>(at),
                            p.rgb.begin() + static_cast<ptrdiff_t>(at) + 3);
  };
  EXPECT_THAT(colour(0), testing::ElementsAre(19, 0, 249));
  EXPECT_THAT(colour(1), testing::ElementsAre(19, 0, 249));  // clipped
  EXPECT_THAT(colour(2), testing::ElementsAre(255, 0, 25));
}

TEST(Montage, PictureOfASmallScreen) {
  TempDir dir, out;
  make_screen(dir);
  EXPECT_EQ(run_data_montage({dir.path(), out / "m.png", {}, 128, 4}), 0);
  const auto file = read_png_file(out / "m.png", "m.png");
  const PngInfo info = png_header(file, "m.png");
  EXPECT_EQ(info.channels, 3);
  EXPECT_GT(info.width, 6 * 128);  // the channels' row
  std::vector<uint8_t> pixels(info.bytes());
  decode_png(file, "m.png", info, pixels.data());
  MontageOptions unknown{dir.path(), out / "m.png", {"nothing"}, 128, 4};
  EXPECT_THROW(run_data_montage(unknown), Error);
}

TEST(Commands, NothingIsWrittenIntoTheScreen) {
  TempDir dir;
  make_screen(dir);
  for (const fs::path& out : {dir / "m.png", dir / "images" / "m.png", dir / "no" / ".." / "m.png",
                              fs::path(), dir.path()}) {
    try {
      run_data_montage({dir.path(), out, {}, 128, 4});
      ADD_FAILURE() << out;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_THAT(e.what(), testing::HasSubstr("--out"));
    }
  }
}

// Images behind a link lie elsewhere, as does a table.
TEST(Commands, NothingIsWrittenAmongImagesBehindALink) {
  TempDir dir, store;
  make_screen(dir);
  fs::rename(dir / "images", store / "images");
  fs::create_directory_symlink(store / "images", dir / "images");
  fs::rename(dir / "metadata.csv", store / "table.csv");
  fs::create_symlink(store / "table.csv", dir / "metadata.csv");
  const fs::path image = store / kImage;
  const std::string before = test::read_text(image);
  for (const fs::path& target : {image, image.parent_path() / "new.png", store / "table.csv"}) {
    try {
      run_data_montage({dir.path(), target, {}, 128, 4});
      ADD_FAILURE() << target;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_THAT(e.what(), testing::HasSubstr("--out"));
    }
    EXPECT_THROW(run_data_pack({dir.path(), target}), Error);
  }
  EXPECT_EQ(test::read_text(image), before);
  EXPECT_EQ(run_data_montage({dir.path(), store / "m.png", {}, 128, 4}), 0);
}

}  // namespace
}  // namespace mono
