// `evaluate --embeddings`: the table and the JSON, what is left out and why, and that a foreign
// folder stays as it was.
#include "train/evaluate/embedding_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "tests/train/tiny_screen.h"
#include "train/commands.h"
#include "train/evaluate/npy.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kWidth = 6;

class EmbeddingReportTest : public ::testing::Test {
 protected:
  // Four batches of 15 wells of two sites: 5 controls, classes 1..5 with two wells each. A class is
  // a direction, a batch a large shift. `last`: the table's further columns of a row.
  void write_folder(const std::string& columns,
                    const std::function<std::string(int batch, int well_class)>& last) {
    Philox draw(3, Purpose::test);
    std::vector<float> values;
    std::string csv = "site_id" + columns + "\n";
    for (int batch = 0; batch < 4; ++batch)
      for (int well = 0; well < 15; ++well)
        for (int site = 1; site <= 2; ++site) {
          const int label = well < 5 ? 0 : (well - 5) / 2 + 1;
          for (int c = 0; c < kWidth; ++c)
            values.push_back(static_cast<float>(0.4 * draw.normal() + (c == label ? 3 : 0) +
                                                (c == batch ? 8 : 0)));
          csv += "s" + std::to_string(batch) + "_" + std::to_string(well) + "_" +
                 std::to_string(site) + last(batch, label) + "\n";
        }
    write_npy((folder_ / "embeddings.npy").string(), values,
              static_cast<int64_t>(values.size()) / kWidth, kWidth);
    std::ofstream(folder_ / "metadata.csv") << csv;
  }
  void write_full_folder() {
    int well = -1;
    write_folder(
        ",Metadata_Batch,Metadata_Plate,Metadata_Well,Metadata_PerturbationId,"
        "Metadata_WellType,Metadata_moa,Metadata_Part",
        [well](int batch, int label) mutable {
          ++well;
          return ",E-" + std::to_string(batch) + ",1,W" + std::to_string(well / 2) + "," +
                 std::to_string(label) + "," + (label == 0 ? "negative_control" : "treatment") +
                 "," +
                 (label == 0  ? "unknown"
                  : label < 3 ? "a"
                              : "b") +
                 "," + (batch < 2 ? "train" : "test");
        });
  }
  std::string run(const EmbeddingsOptions& options) {
    ::testing::internal::CaptureStdout();
    try {
      ComputeOptions compute;
      compute.device = "cpu";
      EXPECT_EQ(run_evaluate_embeddings(options, compute), 0);
    } catch (...) {
      ::testing::internal::GetCapturedStdout();
      throw;
    }
    return ::testing::internal::GetCapturedStdout();
  }
  EmbeddingsOptions options() {
    EmbeddingsOptions options;
    options.folder = folder_.path();
    options.k = 3;
    options.probe_epochs = 2;
    return options;
  }
  static const ReportRow& row(const EmbeddingReport& report, const std::string& key) {
    return *std::ranges::find(report.table, key, &ReportRow::key);
  }
  static const Measure& measure(const ReportRow& row, const std::string& key) {
    return *std::ranges::find(row.measures, key, &Measure::key);
  }
  test::TempDir folder_;
};

TEST_F(EmbeddingReportTest, SaysEverythingOfACompleteSet) {
  write_full_folder();
  const std::string text = run(options());
  EXPECT_THAT(text, AllOf(HasSubstr("120 rows of 6 numbers; bank: 60 train images of 2 batches; "
                                    "queries: 60 test images of 2 batches"),
                          HasSubstr("Z-norm (all) *"), HasSubstr("ComBat"), HasSubstr("whitening"),
                          HasSubstr("k 3, temperature 0.1, bank 60, queries 60"),
                          HasSubstr("samples 60, neighbours 10, batches 2, form consistent"),
                          Not(HasSubstr("left out"))));

  ReportOptions what;
  what.knn.k = 3;
  what.probe.epochs = 2;
  const EmbeddingReport report = report_on(read_embeddings(folder_.path()), what);
  EXPECT_EQ(report.table.size(), 7u);
  // The batches are far apart: as given, neighbourhoods hold one batch; Z-norm mixes them.
  const ReportRow& raw = row(report, "none");
  const ReportRow& normed = row(report, "z_norm_all");
  EXPECT_TRUE(normed.headline);
  EXPECT_EQ(*measure(raw, "kbet_test").value, 0);
  EXPECT_GT(*measure(normed, "kbet_test").value, 0.5);
  EXPECT_EQ(*measure(normed, "knn").value, 1);
  EXPECT_GT(*measure(normed, "grit_test").value, 1);
  EXPECT_EQ(measure(raw, "moa").counts.entries[0].first, "treatments");
  EXPECT_TRUE(measure(raw, "linear_probe").value);
}

TEST_F(EmbeddingReportTest, WritesJsonWhereItIsToldToAndNowhereElse) {
  write_full_folder();
  const auto before = std::distance(fs::directory_iterator(folder_.path()), {});
  run(options());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), before);

  test::TempDir other;
  EmbeddingsOptions to_file = options();
  to_file.out = other / "report.json";
  to_file.json = true;
  const JsonView printed = parse_json(run(to_file), "stdout");
  const JsonView json = read_json_file(to_file.out.string());
  for (const JsonView& view : {printed, json}) {
    EXPECT_EQ(view["format_version"].integer(), 1);
    EXPECT_EQ(view["rows"].integer(), 120);
    EXPECT_EQ(view["about"]["columns"]["label"].string(), "Metadata_PerturbationId");
    EXPECT_TRUE(view["about"]["columns"]["compound"].is_null());
    EXPECT_EQ(view["about"]["negative_controls"].integer(), 40);
    const std::vector<JsonView> table = view["table"].array();
    ASSERT_EQ(table.size(), 7u);
    EXPECT_EQ(table[2]["processing"].string(), "z_norm_all");
    EXPECT_TRUE(table[2]["headline"].boolean());
    EXPECT_EQ(table[2]["measures"]["knn"]["value"].number(), 1);
    EXPECT_EQ(table[2]["measures"]["knn"]["k"].integer(), 3);
    EXPECT_TRUE(table[2]["measures"]["knn"]["left_out"].is_null());
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), before);
}

TEST_F(EmbeddingReportTest, NamesWhatIsLeftOutAndWhy) {
  // No parts, no controls, one batch, no mechanisms.
  write_folder(",treatment,batch",
               [](int, int label) { return ",t" + std::to_string(label) + ",only"; });
  const std::string text = run(options());
  EXPECT_THAT(
      text, AllOf(HasSubstr("bank: 120 images of 1 batch; queries: the same, each without itself"),
                  HasSubstr("k 3, temperature 0.1, without own row, bank 120"),
                  HasSubstr("all 120 samples are of one batch"), HasSubstr("no controls are known"),
                  HasSubstr("no column of mechanisms of action"),
                  HasSubstr("a probe needs a training part"),
                  HasSubstr("left out: grit all, Z-norm (controls), TVN: no controls")));
}

TEST_F(EmbeddingReportTest, LeavesOneOutWithoutASecondPart) {
  int well = -1;
  write_folder(",label,batch,well", [well](int batch, int label) mutable {
    ++well;
    return "," + std::string(label == 0 ? "EMPTY" : "t" + std::to_string(label)) + ",b" +
           std::to_string(batch) + ",w" + std::to_string(well / 2);
  });
  const EmbeddingSet set = read_embeddings(folder_.path());
  ReportOptions what;
  what.knn.k = 3;
  const EmbeddingReport report = report_on(set, what);
  const ReportRow& raw = row(report, "none");
  EXPECT_EQ(*measure(raw, "knn").value, 1) << "the class's other well of the batch is nearest";
  EXPECT_LT(*measure(raw, "knn_other_batches").value, 1);
  EXPECT_EQ(*measure(row(report, "z_norm_all"), "knn_other_batches").value, 1);
  EXPECT_TRUE(measure(raw, "grit_all").value);
}

TEST_F(EmbeddingReportTest, RefusesATableThatSaysNothing) {
  write_folder(",note", [](int, int) { return ",x"; });
  EXPECT_THROW(run(options()), Error);
  EvaluateOptions neither;
  EXPECT_THROW(run_evaluate(neither), Error);
}

}  // namespace
}  // namespace mono
