#include "train/evaluate/table1.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "train/evaluate/reproduce.h"

namespace mono {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Table1 example() {
  Table1 table;
  table.name = "rxrx1/table1";
  table.seeds = {1, 2};
  Table1Row baseline{.method = "baseline", .statistics = "running"};
  baseline.seeds = {{0.30, 0.60, 0.50}, {0.40, 0.80, 0.70}};
  baseline.paper["separated"] = {75.1, 0.2};
  Table1Row control = baseline;
  control.control = true;
  control.statistics = "experiment";
  control.paper.clear();
  Table1Row adabn{.method = "adabn", .statistics = "experiment"};
  adabn.seeds = {{0.90, 0.90, std::nullopt}, {0.80, 1.00, std::nullopt}};
  table.rows = {baseline, control, adabn};
  return table;
}

TEST(Table1, MeanAndSampleStandardDeviation) {
  EXPECT_DOUBLE_EQ(mean_sd({1, 2, 3}).mean, 2);
  EXPECT_DOUBLE_EQ(*mean_sd({1, 2, 3}).sd, 1);
  EXPECT_FALSE(mean_sd({4}).sd);
}

TEST(Table1, BatchGeneralisationIsARatioSeedBySeed) {
  const std::vector<double> ratio = column_values(example().rows[2], "batch_generalisation");
  ASSERT_EQ(ratio.size(), 2u);
  EXPECT_DOUBLE_EQ(ratio[0], 100);
  EXPECT_DOUBLE_EQ(ratio[1], 80);
  EXPECT_TRUE(column_values(example().rows[2], "batch_accuracy").empty());
}

TEST(Table1, OfOtherDataNeverSaysOurs) {
  const std::string text = table1_markdown(example());
  EXPECT_THAT(text, HasSubstr("Synthetic or partial data"));
  EXPECT_THAT(text, Not(HasSubstr("| ours")));
  EXPECT_THAT(text, Not(HasSubstr("difference")));
  EXPECT_THAT(text, HasSubstr("35.0 ± 7.1"));  // separated, baseline
  EXPECT_THAT(text, HasSubstr("75.1 ± 0.2"));
  EXPECT_THAT(text, HasSubstr("baseline, post-hoc experiment statistics (control, not AdaBN)"));
}

TEST(Table1, OfThePapersDataSubtractsThePapersFigure) {
  Table1 table = example();
  table.paper_scale = true;
  const std::string text = table1_markdown(table);
  EXPECT_THAT(text, Not(HasSubstr("ynthetic")));
  EXPECT_THAT(text, HasSubstr("difference"));
  EXPECT_THAT(text, HasSubstr("-40.1"));
}

TEST(Table1, JsonHoldsEverySeed) {
  const JsonView json = parse_json(table1_json(example()).text(), "table.json");
  EXPECT_EQ(json["data"].string(), "synthetic or partial data");
  const std::vector<JsonView> rows = json["rows"].array();
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["separated"]["values"].array().size(), 2u);
  EXPECT_DOUBLE_EQ(rows[0]["separated"]["mean"].number(), 35);
  EXPECT_DOUBLE_EQ(rows[0]["separated"]["paper"].number(), 75.1);
  EXPECT_TRUE(rows[0]["separated"]["difference"].is_null());
  EXPECT_TRUE(rows[1]["control"].boolean());
  EXPECT_TRUE(rows[2]["batch_accuracy"]["mean"].is_null());
}

TEST(Table1, RowsAreThePapersInItsOrder) {
  ReproduceOptions options;
  std::vector<std::string> names;
  for (const Table1Method& method : table1_methods(options)) {
    names.push_back(method.name);
    EXPECT_EQ(method.recipe, "rxrx1/table1/" + method.name);
    EXPECT_EQ(method.seeds, (std::vector<int64_t>{1, 2, 3, 4, 5}));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"baseline", "gradient-reversal", "adabn",
                                             "adabn-gradient-reversal"}));
  options.smoke = true;
  options.methods = {"adabn", "baseline"};
  options.seeds = {4};
  const auto two = table1_methods(options);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].recipe, "smoke/rxrx1/table1/baseline");
  EXPECT_EQ(two[1].seeds, std::vector<int64_t>{4});
}

TEST(Table1, UnknownRowsAndTablesAreNamed) {
  ReproduceOptions options;
  options.methods = {"adbn"};
  try {
    table1_methods(options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'adabn'?"));
  }
  options.methods.clear();
  options.table = "rxrx1/table9";
  EXPECT_THROW(table1_methods(options), Error);
}

TEST(Table1, AScreenIsCompleteOnlyWithAllOfItsImages) {
  Dataset dataset;
  dataset.experiments.resize(51);
  dataset.num_classes = kRxrxClasses;
  dataset.image_size = 512;
  dataset.sites.resize(125'510);
  for (Site& site : dataset.sites) {
    site.channels_present = 63;
    site.sirna_id = 0;
  }
  EXPECT_TRUE(is_complete_rxrx1(dataset));
  dataset.sites[99].channels_present = 31;
  EXPECT_FALSE(is_complete_rxrx1(dataset));
  dataset.sites[99].channels_present = 63;
  dataset.sites[99].sirna_id = -1;
  EXPECT_FALSE(is_complete_rxrx1(dataset));
}

}  // namespace
}  // namespace mono
