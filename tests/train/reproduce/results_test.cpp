#include "train/reproduce/results.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/reproduce/results_page.h"

namespace mono {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Outcome = CheckResult::Outcome;

const Experiment& table1() {
  return *find_experiments("rxrx1/table1").front();
}

ResultRow row_of(const std::string& name, std::vector<std::optional<double>> separated,
                 std::vector<std::optional<double>> batch_accuracy) {
  ResultRow row;
  row.name = name;
  for (const Column& column : table1().columns) row.cells[column.key].values = {1.0, 1.0};
  row.cells["separated"].values = std::move(separated);
  row.cells["batch_accuracy"].values = std::move(batch_accuracy);
  return row;
}

Result example() {
  Result result;
  result.experiment = &table1();
  result.scale = {.data = DataScale::synthetic, .smoke = true};
  result.seeds = {1, 2};
  result.folds = {0};
  result.rows = {row_of("baseline", {30, 40}, {60, 70}),
                 row_of("gradient-reversal", {28, 33}, {11, 19}),
                 row_of("adabn", {90, 80}, {std::nullopt, std::nullopt})};
  result.rows[0].paper = {{"separated", {75.1, 0.2}}};
  result.rows[1].paper = {{"separated", {71.2, 0.4}}};
  result.rows[2].paper = {{"separated", {87.1, 0.2}}};
  result.rows[2].cells["batch_accuracy"].reason = "failed: the disk is full";
  return result;
}

TEST(Results, MeanAndSampleStandardDeviation) {
  EXPECT_EQ(text_of(report::spread_of({1, 2, 3}), true), "2.0 ± 1.0");
  EXPECT_EQ(text_of(PaperFigure{75.1, 0.2}, true), "75.1 ± 0.2");
  EXPECT_EQ(text_of(PaperFigure{5.289, {}}, false), "5.29");
}

TEST(Results, OfOtherDataNeverSaysOurs) {
  const std::string text = result_markdown(example());
  EXPECT_THAT(text, HasSubstr("**Smoke recipes, synthetic data**"));
  EXPECT_THAT(text, Not(HasSubstr("| ours")));
  EXPECT_THAT(text, Not(HasSubstr("difference")));
  EXPECT_THAT(text, HasSubstr("35.0 ± 7.1"));
  EXPECT_THAT(text, HasSubstr("75.1 ± 0.2"));
}

TEST(Results, OfThePapersDataSubtractsThePapersFigure) {
  Result result = example();
  result.scale = {.data = DataScale::full};
  ASSERT_TRUE(result.scale.ours());
  const std::string text = result_markdown(result);
  EXPECT_THAT(text, Not(HasSubstr("ynthetic")));
  EXPECT_THAT(text, HasSubstr("difference"));
  EXPECT_THAT(text, HasSubstr("-40.1"));
  for (const Scale& scale :
       {Scale{.data = DataScale::full, .smoke = true},
        Scale{.data = DataScale::full, .changed = true},
        Scale{.data = DataScale::full, .missing_weights = true}, Scale{.data = DataScale::partial}})
    EXPECT_FALSE(scale.ours()) << scale.text();
}

TEST(Results, WhatIsAbsentSaysWhy) {
  const Result result = example();
  EXPECT_THAT(result_markdown(result), HasSubstr("[1] failed: the disk is full"));
  const JsonView json = parse_json(result_json(result).text(), "table.json");
  const std::vector<JsonView> rows = json["rows"].array();
  EXPECT_TRUE(rows[2]["batch_accuracy"]["mean"].is_null());
  EXPECT_EQ(rows[2]["batch_accuracy"]["absent"].string(), "failed: the disk is full");
  EXPECT_EQ(rows[0]["separated"]["n"].integer(), 2);
  EXPECT_DOUBLE_EQ(rows[0]["separated"]["mean"].number(), 35);
  EXPECT_DOUBLE_EQ(rows[0]["separated"]["paper"].number(), 75.1);
  EXPECT_TRUE(rows[0]["separated"]["difference"].is_null());
  EXPECT_EQ(json["data"].string(), "smoke recipes, synthetic data");
}

// The kind of what failed is the exit code.
TEST(Results, FailedAsTheFirstThatFailed) {
  Result result = example();
  EXPECT_FALSE(result.failed());
  result.no_picture = "the screen has no images";
  EXPECT_FALSE(result.failed());
  result.picture_failed = ErrorKind::device;
  EXPECT_EQ(result.failed(), ErrorKind::device);
  result.rows[2].cells["batch_accuracy"].failed = ErrorKind::storage;
  EXPECT_EQ(result.failed(), ErrorKind::storage);
}

TEST(Results, ChecksHoldInEverySeedOrFail) {
  Result result = example();
  judge(result, 10);  // chance 10 %: at most 20
  ASSERT_EQ(result.checks.size(), 2u);
  EXPECT_EQ(result.checks[0].outcome, Outcome::holds) << result.checks[0].text;
  EXPECT_THAT(result.checks[0].text, HasSubstr("90.0 > 30.0, 80.0 > 40.0"));
  EXPECT_EQ(result.checks[1].outcome, Outcome::holds) << result.checks[1].text;

  result = example();
  result.rows[2].cells["separated"].values = {90, 39};
  result.rows[1].cells["batch_accuracy"].values = {11, 21};
  judge(result, 10);
  EXPECT_EQ(result.checks[0].outcome, Outcome::fails);
  EXPECT_EQ(result.checks[1].outcome, Outcome::fails);
}

TEST(Results, AMarginIsPartOfTheClaim) {
  for (const bool enough : {true, false}) {
    Result result;
    result.experiment = find_experiments("cdcl/table1").front();
    result.rows.resize(2);
    result.rows[0].name = "ssl-dino";
    result.rows[1].name = "cdcl";
    for (ResultRow& row : result.rows) row.cells["kbet"].values = {10, 10};
    result.rows[0].cells["z_norm_knn"].values = {40, enough ? 40.0 : 40.5};
    result.rows[1].cells["z_norm_knn"].values = {60, 45.2};
    judge(result, 10);
    EXPECT_EQ(result.checks[0].outcome, enough ? Outcome::holds : Outcome::fails);
    EXPECT_THAT(result.checks[0].text, AllOf(HasSubstr("above ssl-dino by 5 points"),
                                             HasSubstr(enough ? "45.2 > 40.0" : "45.2 > 40.5")));
    EXPECT_EQ(result.checks[1].outcome, Outcome::fails);  // as much is not more
  }
}

TEST(Results, NothingIsAssertedOfChangedRecipesOrAbsentRows) {
  Result result = example();
  result.scale.changed = true;
  result.rows[2].cells["separated"].values = {1, 1};
  judge(result, 10);
  EXPECT_EQ(result.checks[0].outcome, Outcome::not_checked);
  EXPECT_THAT(result.checks[0].text, HasSubstr("the recipes were changed"));
  result = example();
  result.rows.erase(result.rows.begin());
  judge(result, 10);
  EXPECT_EQ(result.checks[0].outcome, Outcome::not_checked);
  EXPECT_THAT(result.checks[0].text, HasSubstr("row baseline is not there"));
}

TEST(Results, OrdersStandBesideThePapers) {
  Result result = example();
  judge(result, 10);
  EXPECT_EQ(result.orders[0],
            "separated: paper adabn > baseline > gradient-reversal; here adabn > baseline > "
            "gradient-reversal (the same order)");
  result = example();
  result.rows[0].cells["separated"].values = {20, 20};
  judge(result, 10);
  EXPECT_THAT(result.orders[0], HasSubstr("(2 of 3 pairs alike)"));
}

TEST(Results, RunsFromScratchNeverStandBesideThePaper) {
  Result result;
  result.experiment = find_experiments("cdcl/table1").front();
  result.scale = {.data = DataScale::full, .missing_weights = true};
  result.folds = {1, 2};
  result.seeds = {1};
  ResultRow row;
  row.name = "cdcl";
  for (const Column& column : result.experiment->columns) row.cells[column.key].values = {60, 64};
  row.paper["z_norm_knn"] = {63.1, 6.33};
  result.rows = {row};
  std::string text = result_markdown(result);
  EXPECT_THAT(text, HasSubstr("**From scratch**"));
  EXPECT_THAT(text, HasSubstr("62.0 ± 2.8"));
  EXPECT_THAT(text, Not(HasSubstr("ours")));
  EXPECT_THAT(text, Not(HasSubstr("-1.1")));
  result.scale.missing_weights = false;
  result.start = "deit_small.safetensors";
  text = result_markdown(result);
  EXPECT_THAT(text, HasSubstr("starts from the weights deit_small.safetensors"));
  EXPECT_THAT(text, HasSubstr("63.1 ± 6.3"));
  EXPECT_THAT(text, HasSubstr("-1.1"));
}

std::string page_of(const Result& result) {
  return results_page("rxrx1/table1", {{result, {}}}, "train_rxrx reproduce rxrx1/table1", {});
}

// The lead, the best of a column (of the batch head the lowest), what is absent, which seeds.
TEST(ResultsPage, SaysWhatIsBestOfHowManyAndWhatIsAbsent) {
  Result result = example();
  result.rows[0].cells["separated"] = {{30, std::nullopt}, "failed: the disk is full", {}};
  const std::string page = page_of(result);
  EXPECT_THAT(page, HasSubstr("adabn is best in &quot;separated&quot; with 85.0"));
  EXPECT_THAT(page, HasSubstr("%, baseline last with 30.0 (n = 2 and 1; smoke recipes, synthetic "
                              "data)."));
  EXPECT_THAT(page, HasSubstr("30.0 (1 of 2: failed: the disk is full)"));
  EXPECT_THAT(page, HasSubstr("smoke recipes, synthetic data; seeds 1, 2"));
  EXPECT_THAT(page, HasSubstr("strong\">85.0 ± 7.1<"));
  EXPECT_THAT(page, HasSubstr("strong\">15.0 ± 5.7<"));
  EXPECT_THAT(page, Not(HasSubstr("strong\">65.0 ± 7.1<")));
  EXPECT_THAT(page, HasSubstr("Beside the paper"));
  EXPECT_THAT(page, Not(HasSubstr("difference")));
}

TEST(ResultsPage, OfCdclSaysWhereRunsStartAndWhichFolds) {
  Result result;
  result.experiment = find_experiments("cdcl/table5").front();
  result.folds = {1, 2};
  result.seeds = {1};
  for (const char* name : {"supervised", "cdcl"}) {
    ResultRow row;
    row.name = name;
    for (const Column& column : result.experiment->columns) row.cells[column.key].values = {3, 4};
    result.rows.push_back(row);
  }
  result.rows[0].cells["grit_control_std"].values = {8, 9};
  const std::string page = page_of(result);
  EXPECT_THAT(page, HasSubstr("From scratch: every run of the paper starts from ImageNet"));
  EXPECT_THAT(page, HasSubstr("folds 1, 2; seeds 1"));
  EXPECT_THAT(page, HasSubstr("8.50 ± 0.71"));
  EXPECT_THAT(page, Not(HasSubstr("strong\">8.50 ± 0.71")));  // no method is better by it
}

TEST(Results, AScreenIsCompleteOnlyWithAllOfItsImages) {
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

TEST(Results, RxRx1HuvecIsAllOfItsImagesAsTheyWerePublished) {
  Dataset dataset;
  for (int e = 1; e <= 24; ++e) dataset.experiments.push_back(fmt::format("HUVEC-{:02}", e));
  dataset.experiments.push_back("RPE-01");  // more does no harm
  dataset.num_classes = kRxrxClasses;
  dataset.image_size = 512;
  dataset.sites.resize(59'050);
  for (Site& site : dataset.sites) {
    site.cell_type = "HUVEC";
    site.channels_present = 63;
    site.sirna_id = 0;
  }
  EXPECT_TRUE(is_complete_huvec(dataset));
  EXPECT_EQ(data_scale(dataset, true), DataScale::full);
  EXPECT_EQ(data_scale(dataset, false), DataScale::partial);
  Dataset wilds = dataset;  // three channels of 256 x 256
  wilds.channels_on_disk = 3;
  wilds.image_size = 256;
  for (Site& site : wilds.sites) site.channels_present = 7;
  EXPECT_FALSE(is_complete_huvec(wilds));
  dataset.sites[7].channels_present = 31;
  EXPECT_FALSE(is_complete_huvec(dataset));
}

// Of CPG0004-LINCS what CDCL's selection takes: 569 compounds of 49 mechanisms at 10 uM.
TEST(Results, Cpg0004IsTheFieldsOfCdclsSelection) {
  Dataset dataset;
  dataset.form = TableForm::cpg_metadata;
  dataset.experiments.resize(136);
  dataset.channels_on_disk = 5;
  for (int c = 0; c <= 569; ++c)
    dataset.compounds.push_back(c == 0 ? kDmso : fmt::format("BRD-{:03}", c));
  for (int m = 0; m < 49; ++m) dataset.moas.push_back(fmt::format("inhibitor {:02}", m));
  dataset.moas.push_back(kNoMoa);
  Site control;
  control.well_type = WellType::negative_control;
  control.compound = 0;
  control.moa = 49;
  control.channels_present = 31;
  dataset.sites = {control};
  for (int field = 0; field < 24'849; ++field) {
    Site site;
    site.compound = 1 + field % 569;
    site.moa = site.compound % 49;
    site.dose_level = 6;
    site.channels_present = 31;
    dataset.sites.push_back(site);
  }
  EXPECT_TRUE(is_complete_cpg0004(dataset));
  for (const int lost : {1, 2, 3}) {
    dataset.sites[static_cast<size_t>(lost)].channels_present = 27;
    EXPECT_EQ(is_complete_cpg0004(dataset), lost < 3);  // two are known to lack a channel
  }
  dataset.sites[3].channels_present = 31;
  EXPECT_TRUE(is_complete_cpg0004(dataset));
  dataset.experiments.pop_back();
  EXPECT_FALSE(is_complete_cpg0004(dataset));
  dataset.experiments.emplace_back();
  for (Site& site : dataset.sites) site.dose_level = std::min(site.dose_level, 5);
  EXPECT_FALSE(is_complete_cpg0004(dataset));  // another dose
}

TEST(Results, WhatDataSynthMakesIsSynthetic) {
  Dataset dataset;
  dataset.class_names = {"s123", "EMPTY"};
  dataset.experiments = {"HUVEC-01"};
  EXPECT_FALSE(is_synthetic(dataset));
  dataset.class_names = {"syn0001", "EMPTY"};
  EXPECT_TRUE(is_synthetic(dataset));
  dataset.class_names = {"BRD-1@10.00"};
  dataset.experiments = {"SYN00001"};
  EXPECT_TRUE(is_synthetic(dataset));
  dataset.form = TableForm::described;  // somebody's own names
  EXPECT_FALSE(is_synthetic(dataset));
}

}  // namespace
}  // namespace mono
