// CDCL's 570 treatments of CPG0004, and labels.
#include "train/data/selection.h"

#include "kernels/base/error.h"
#include "tests/train/data/cpg_screen.h"
#include "tests/train/data/test_screen.h"
#include "train/data/csv.h"
#include "train/data/labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace mono {
namespace {

using test::TempDir;

std::string message_of(auto&& call, ErrorKind kind) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "no error";
}

TEST(Selection, PublishedTreatmentsAndMechanisms) {
  const auto lincs = test::cdcl_data("lincs"),
             treatments = test::cdcl_data("derived/cpg0004_570_treatments.csv"),
             moas = test::cdcl_data("derived/cpg0004_moa_counts.csv");
  if (lincs.empty() || treatments.empty() || moas.empty())
    GTEST_SKIP() << "../shared/data/cdcl is not at hand";
  TempDir dir;
  std::filesystem::create_symlink(lincs, dir / "metadata");
  const Dataset d = select_treatments(open_dataset(dir.path()));
  EXPECT_EQ(d.num_classes, 570);
  EXPECT_EQ(d.moas.size(), 50u);
  EXPECT_EQ(d.experiments.size(), 136u);
  std::vector<const Site*> of_class(570);
  int64_t treated = 0, untreated = 0;
  for (const Site& s : d.sites) {
    of_class[static_cast<size_t>(s.sirna_id)] = &s;
    (s.is_control() ? untreated : treated) += 1;
  }
  EXPECT_EQ(untreated, 136 * 24 * 9);
  // The index of the gallery has 24,849 treated fields, of 24,864 that the plate maps have.
  EXPECT_NEAR(static_cast<double>(treated), 24849, 0.001 * 24849);
  const CsvTable reference = read_csv(treatments, "cpg0004_570_treatments.csv");
  ASSERT_EQ(reference.rows.size(), 570u);
  for (size_t i = 0; i < 570; ++i) {
    const auto& f = reference.rows[i].fields;
    ASSERT_NE(of_class[i], nullptr) << i;
    EXPECT_EQ(f[0], fmt::format("{}", i));
    EXPECT_EQ(d.compounds[static_cast<size_t>(of_class[i]->compound)], f[1]);
    EXPECT_EQ(d.moas[static_cast<size_t>(of_class[i]->moa)], f[5]);
    EXPECT_EQ(fmt::format("{}", of_class[i]->moa), f[6]);
  }
  const CsvTable counts = read_csv(moas, "cpg0004_moa_counts.csv");
  ASSERT_EQ(counts.rows.size(), 50u);
  for (size_t m = 0; m < 50; ++m) EXPECT_EQ(d.moas[m], counts.rows[m].fields[1]);
}

TEST(Selection, DoseAndNumberOfMechanisms) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_cpg_table());
  const Dataset all = open_dataset(dir.path());
  const Dataset two = select_treatments(all, {.dose_level = 6, .moas = 2});
  EXPECT_THAT(two.class_names, testing::ElementsAre("DMSO", "CPD-1@10", "CPD-2@10"));
  EXPECT_THAT(two.moas, testing::ElementsAre("kinase", "unknown"));
  EXPECT_THAT(two.compounds, testing::ElementsAre("CPD-1", "CPD-2", "DMSO"));
  EXPECT_EQ(two.sites.size(), 40u);
  EXPECT_EQ(two.sites[2].sirna, "CPD-1@10");
  const Dataset other = select_treatments(all, {.dose_level = 5});
  EXPECT_THAT(other.class_names, testing::ElementsAre("DMSO", "CPD-3@3.33"));
  EXPECT_THAT(message_of([&] { select_treatments(all, {.dose_level = 7}); }, ErrorKind::usage),
              testing::HasSubstr("no compound with a known mechanism has dose level 7 (20 uM)"));
  EXPECT_THAT(message_of([&] { select_treatments(all, {.dose_level = 8}); }, ErrorKind::usage),
              testing::HasSubstr("levels are 1 to 7"));
  EXPECT_THAT(message_of([&] { select_treatments(all, {.moas = 1}); }, ErrorKind::usage),
              testing::HasSubstr("1 mechanisms are asked for"));
  TempDir rxrx;
  test::write_text(rxrx / "metadata.csv", test::small_table());
  EXPECT_THAT(message_of([&] { select_treatments(open_dataset(rxrx.path())); }, ErrorKind::usage),
              testing::HasSubstr("which the tables of RxRx1 do not hold"));
}

TEST(Labels, TreatmentsAndMechanisms) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_cpg_table());
  const Dataset d = open_dataset(dir.path());
  const Labels moa = dataset_labels(d, LabelKind::moa);
  EXPECT_EQ(moa.names, d.moas);
  const Labels treatment = dataset_labels(d, LabelKind::treatment);
  EXPECT_EQ(treatment.names, d.class_names);
  for (size_t i = 0; i < d.sites.size(); ++i) {
    EXPECT_EQ(moa.of_site[i], d.sites[i].moa);
    EXPECT_EQ(treatment.of_site[i], d.sites[i].sirna_id);
  }
  TempDir rxrx;
  test::write_text(rxrx / "metadata.csv", test::small_table());
  EXPECT_THAT(message_of([&] { dataset_labels(open_dataset(rxrx.path()), LabelKind::moa); },
                         ErrorKind::usage),
              testing::HasSubstr("its tables have none"));
}

TEST(Labels, TableOfTheUser) {
  TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_cpg_table());
  const Dataset d = open_dataset(dir.path());
  const std::string good = "treatment,label\nDMSO,none\nCPD-1@10,b\nCPD-2@10,a\nCPD-3@3.33,b\n";
  test::write_text(dir / "labels.csv", good);
  const Labels labels = table_labels(d, dir / "labels.csv");
  EXPECT_THAT(labels.names, testing::ElementsAre("a", "b", "none"));
  EXPECT_EQ(labels.of_site[0], 2);
  EXPECT_EQ(labels.of_site[2], 1);
  const auto fault = [&](const std::string& text) {
    test::write_text(dir / "labels.csv", text);
    return message_of([&] { table_labels(d, dir / "labels.csv"); }, ErrorKind::data);
  };
  EXPECT_THAT(fault("treatment,name\n"), testing::HasSubstr("labels.csv:1: column 'label' is"));
  EXPECT_THAT(fault(good + "CPD-9@10,a\n"),
              testing::HasSubstr("labels.csv:6: treatment 'CPD-9@10' is not one of the 4"));
  EXPECT_THAT(fault(good + "DMSO,a\n"),
              testing::HasSubstr("labels.csv:6: treatment 'DMSO' was already given label 'none' in "
                                 "line 2"));
  EXPECT_THAT(fault("treatment,label\nDMSO,\n"),
              testing::HasSubstr("labels.csv:2: treatment 'DMSO' has an empty label"));
  EXPECT_THAT(fault("treatment,label\nDMSO,none\n"), testing::HasSubstr("treatment 'CPD-1@10' of"));
}

}  // namespace
}  // namespace mono
