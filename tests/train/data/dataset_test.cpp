// The tables and trees in which RxRx1 was published, as they are.
#include "train/data/dataset.h"

#include "tests/train/data/test_screen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace mono {
namespace {

using test::real_data;
using test::TempDir;

std::vector<std::string> messages(const std::vector<Problem>& problems) {
  std::vector<std::string> text;
  for (const Problem& p : problems) text.push_back(p.message);
  return text;
}

Dataset open_clean(const std::filesystem::path& path) {
  std::vector<Problem> problems;
  std::vector<std::string> notes;
  Dataset dataset = open_dataset(path, problems, notes);
  EXPECT_THAT(messages(problems), testing::IsEmpty());
  return dataset;
}

int count(const Dataset& d, auto&& predicate) {
  return static_cast<int>(std::count_if(d.sites.begin(), d.sites.end(), predicate));
}

TEST(Dataset, SmallTable) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_table());
  const Dataset d = open_clean(dir.path());
  EXPECT_EQ(d.form, TableForm::rxrx);
  EXPECT_EQ(d.layout, Layout::none);
  ASSERT_EQ(d.sites.size(), 24u);
  EXPECT_EQ(d.num_classes, 3);
  EXPECT_THAT(d.experiments, testing::ElementsAre("HUVEC-01", "HUVEC-02"));
  EXPECT_THAT(d.class_names, testing::ElementsAre("s21721", "s1174", "EMPTY"));
  EXPECT_EQ(d.sites[5].site_id, "HUVEC-01_1_B04_2");
  EXPECT_EQ(d.sites[5].row, 7);
  EXPECT_FALSE(d.sites[5].in_test);
  EXPECT_EQ(d.image_size, 0);
}

TEST(Dataset, TableWithMarkCrlfQuotesAndOtherOrder) {
  TempDir dir;
  test::write_text(
      dir / "rxrx1.csv",
      "\xEF\xBB\xBF\"sirna_id\",extra,site_id,well_type,sirna,cell_type,dataset,"
      "experiment,plate,well,site\r\n"
      "3,\"a, \"\"b\"\"\nc\",U2OS-01_4_O23_2,treatment,s1,U2OS,train,U2OS-01,4,O23,2\r\n"
      "\r\n");
  const Dataset d = open_clean(dir.path());
  ASSERT_EQ(d.sites.size(), 1u);
  EXPECT_EQ(d.sites[0].sirna_id, 3);
  EXPECT_EQ(d.sites[0].well, "O23");
  EXPECT_EQ(d.sites[0].site, 2);
}

TEST(Dataset, WildsTableAndRgbTree) {
  TempDir dir;
  test::write_text(
      dir / "metadata.csv",
      test::kHeader + test::row("RPE-01", 1, "B02", 1, "train", "negative_control", "EMPTY", 1138) +
          test::row("RPE-08", 1, "B02", 1, "val", "negative_control", "EMPTY", 1138) +
          test::row("RPE-09", 1, "B02", 1, "test", "negative_control", "EMPTY", 1138));
  test::write_text(dir / "images/RPE-01/Plate1/B02_s1.png", "");
  const Dataset d = open_clean(dir.path());
  EXPECT_EQ(d.form, TableForm::wilds);
  EXPECT_EQ(d.channels_on_disk, 3);
  EXPECT_TRUE(d.complete(0));
  EXPECT_FALSE(d.complete(1));
  EXPECT_TRUE(d.sites[1].in_validation && d.sites[1].in_test);
  EXPECT_EQ(d.file_of(d.sites[0], 2), "images/RPE-01/Plate1/B02_s1.png");
}

TEST(Dataset, FlatTree) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_table());
  test::write_text(dir / "HUVEC-02/Plate2/B03_s2_w6.png", "");
  const Dataset d = open_clean(dir.path());
  EXPECT_EQ(d.layout, Layout::flat);
  EXPECT_EQ(count(d, [](const Site& s) { return s.channels_present == 1 << 5; }), 1);
}

// The 125,510 sites of rxrx.ai, rebuilt from public tables (specs: section B, item 4).
TEST(Dataset, RxrxMetadata) {
  const auto table = real_data("metadata_reconstructed.csv");
  if (table.empty()) GTEST_SKIP() << "../shared/data/rxrx1 is not at hand";
  TempDir dir;
  std::filesystem::create_symlink(table, dir / "metadata.csv");
  const Dataset d = open_clean(dir.path());
  EXPECT_EQ(d.sites.size(), 125510u);
  EXPECT_EQ(d.num_classes, kRxrxClasses);
  EXPECT_EQ(d.experiments.size(), 51u);
  EXPECT_EQ(d.cell_types.size(), 4u);
  EXPECT_EQ(count(d, [](const Site& s) { return !s.in_test; }), 81224);
  EXPECT_EQ(count(d, [](const Site& s) { return s.sirna_id == 1138; }), 2 * 246);
  EXPECT_EQ(count(d, [](const Site& s) { return s.well_type == WellType::positive_control; }),
            2 * 6097);
  EXPECT_EQ(count(d, [](const Site& s) { return s.sirna_id < 0; }), 2 * 11044);
}

TEST(Dataset, GenuineRowsOfRxrxMetadata) {
  const auto table = real_data("metzner28_metadata_subset/md_test_final.csv");
  if (table.empty()) GTEST_SKIP() << "../shared/data/rxrx1 is not at hand";
  TempDir dir;
  std::filesystem::create_symlink(table, dir / "metadata.csv");
  const Dataset d = open_clean(dir.path());
  EXPECT_EQ(d.sites.size(), 13657u);
  EXPECT_EQ(d.num_classes, kRxrxClasses);
  EXPECT_EQ(std::count(d.class_names.begin(), d.class_names.end(), ""), 0);
}

TEST(Dataset, KaggleIntegerTables) {
  const auto root = real_data("darraghdog_kaggle_csv");
  if (root.empty()) GTEST_SKIP() << "../shared/data/rxrx1 is not at hand";
  const Dataset d = open_clean(root);
  EXPECT_EQ(d.form, TableForm::kaggle);
  EXPECT_EQ(d.sites.size(), 2u * (36515 + 19897 + 4097 + 2246));
  EXPECT_EQ(d.num_classes, kRxrxClasses);
  EXPECT_EQ(count(d, [](const Site& s) { return s.sirna_id < 0; }), 2 * 19897);
}

// The tables of Kaggle's second release, with names, and 180 of the images.
TEST(Dataset, KaggleNameTablesAndTree) {
  const auto root = real_data("dylanskinner65_034524c");
  if (root.empty()) GTEST_SKIP() << "../shared/data/rxrx1 is not at hand";
  const Dataset d = open_clean(root);
  EXPECT_EQ(d.form, TableForm::kaggle_names);
  EXPECT_EQ(d.layout, Layout::train_test);
  EXPECT_EQ(d.image_size, 512);
  EXPECT_EQ(d.sites.size(), 2u * (36517 + 19899 + 4097 + 2246));
  EXPECT_EQ(d.num_classes, kRxrxClasses);
  EXPECT_EQ(d.class_names[1138], "UNTREATED");
  EXPECT_EQ(d.class_names[1108], "sirna_52");
  EXPECT_EQ(d.class_names[0], "sirna_0");
  EXPECT_EQ(count(d, [](const Site& s) { return s.channels_present == 0x3F; }), 18);
  EXPECT_EQ(count(d, [](const Site& s) { return s.channels_present == 0x0F; }), 18);
  EXPECT_EQ(count(d, [](const Site& s) { return s.channels_present != 0; }), 36);

  // The numbering is one to one with that of the first release.
  const auto integers = real_data("darraghdog_kaggle_csv");
  if (integers.empty()) GTEST_SKIP() << "the integer tables are not at hand";
  const Dataset other = open_clean(integers);
  std::map<std::string, int> ids;
  for (const Site& s : other.sites) ids[s.site_id] = s.sirna_id;
  std::map<int, std::set<int>> ours_of;
  for (const Site& s : d.sites)
    if (const auto it = ids.find(s.site_id); it != ids.end() && s.sirna_id >= 0)
      ours_of[it->second].insert(s.sirna_id);
  EXPECT_EQ(ours_of.size(), static_cast<size_t>(kRxrxClasses));
  for (const auto& [id, ours] : ours_of) EXPECT_EQ(ours.size(), 1u) << id;
}

}  // namespace
}  // namespace mono
