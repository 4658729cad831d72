// The whole of `reproduce` on the tiny screen: training, evaluation, table; and going on from what
// is there.
#include "train/evaluate/reproduce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/tiny_screen.h"
#include "train/evaluate/reproduce_cdcl.h"
#include "train/json.h"

namespace mono {
namespace {

using ::testing::HasSubstr;

std::string execute(const ReproduceOptions& options) {
  ::testing::internal::CaptureStdout();
  const int code = execute_table1(options);
  const std::string text = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, 0);
  return text;
}

TEST(Reproduce, TrainsEvaluatesAndUsesWhatIsThere) {
  const test::TempDir folder;
  test::write_tiny_screen(folder / "screen");
  ReproduceOptions options;
  options.smoke = true;
  options.methods = {"baseline", "adabn"};
  options.seeds = {1, 2};
  options.sets = test::tiny_sets();
  options.data = folder / "screen";
  options.out = folder / "table";
  options.compute.device = "cpu";
  EXPECT_THAT(execute(options), HasSubstr("[8 of 8] smoke/rxrx1/table1/adabn, stratified"));

  const std::filesystem::path table = options.out / "table.json";
  const JsonView json = read_json_file(table.string());
  const std::vector<JsonView> rows = json["rows"].array();
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["method"].string(), "baseline");
  EXPECT_EQ(rows[0]["statistics"].string(), "running");
  EXPECT_TRUE(rows[1]["control"].boolean());
  EXPECT_EQ(rows[2]["method"].string(), "adabn");
  EXPECT_EQ(rows[2]["statistics"].string(), "experiment");
  for (const JsonView& row : rows)
    for (const char* column : {"separated", "stratified", "batch_accuracy"})
      EXPECT_EQ(row[column]["values"].array().size(), 2u) << column;

  // Each figure is that of the run beside the table.
  const std::filesystem::path run = options.out / "adabn" / "separated" / "seed-2";
  const JsonView own = read_json_file((run / "evaluation" / "separated-experiment.json").string());
  EXPECT_DOUBLE_EQ(rows[2]["separated"]["values"].array()[1].number(),
                   100 * own["accuracy"].number());
  EXPECT_EQ(own["seed"].integer(), 2);

  // A second call trains and evaluates nothing again.
  const std::string before = test::read_text(table);
  const auto written = [&] {
    return std::filesystem::last_write_time(run / "evaluation" / "separated-experiment.json");
  };
  const auto time = written();
  execute(options);
  EXPECT_EQ(written(), time);
  EXPECT_EQ(test::read_text(table), before);
}

// Floors beside methods that start from weights: nothing is loaded, here from where there is
// nothing.
TEST(Reproduce, FloorsOfCdclStartFromNothing) {
  const test::TempDir folder;
  test::write_tiny_screen(folder / "screen");
  ReproduceOptions options;
  options.table = "cdcl/table1";
  options.smoke = true;
  options.methods = {"untrained", "intensity-histogram"};
  options.seeds = {1};
  options.sets = {
      "model.patch=4", "model.depth=2",   "model.dim=32",   "data.validation_experiments=0",
      "views.size=16", "batch.anchors=6", "validation.k=3", "model.weights=/nowhere.safetensors"};
  options.data = folder / "screen";
  options.out = folder / "table";
  options.compute.device = "cpu";
  ::testing::internal::CaptureStdout();
  const int code = execute_cdcl_table(options);
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("| untrained (floor)"));
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace mono
