// The catalogue against the recipes: every row has one, at both scales, and the papers' figures.
#include "train/reproduce/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "kernels/base/error.h"
#include "train/recipe.h"
#include "train/reproduce/pictures.h"

namespace mono {
namespace {

using ::testing::HasSubstr;

const Experiment& experiment(const std::string& id) {
  return *find_experiments(id).front();
}

TEST(Catalogue, HasEveryTableAndFigureOfBothPapers) {
  std::set<std::string> ids;
  for (const Experiment& entry : catalogue()) ids.insert(entry.id);
  EXPECT_EQ(ids.size(), catalogue().size());
  for (const char* id : {"rxrx1/table1",
                         "rxrx1/table2",
                         "rxrx1/table3",
                         "rxrx1/table4",
                         "rxrx1/table5",
                         "rxrx1/table6",
                         "rxrx1/fig1c",
                         "rxrx1/fig2",
                         "rxrx1/fig3",
                         "rxrx1/fig4",
                         "rxrx1/fig5",
                         "rxrx1/fig6",
                         "rxrx1/fig7",
                         "rxrx1/fig8",
                         "rxrx1/fig9",
                         "rxrx1/fig10",
                         "wilds",
                         "cdcl/table1",
                         "cdcl/table2a",
                         "cdcl/table2b",
                         "cdcl/table3",
                         "cdcl/table4",
                         "cdcl/table5",
                         "cdcl/fig1",
                         "cdcl/fig2",
                         "cdcl/fig3",
                         "cdcl/tvn",
                         "cdcl/combat",
                         "cdcl/adabn-supervised",
                         "cdcl/backbone",
                         "cdcl/ablation"})
    EXPECT_TRUE(ids.contains(id)) << id;
}

TEST(Catalogue, EveryRowHasARecipeAndItsRehearsal) {
  for (const Experiment& entry : catalogue())
    for (const Row& row : entry.rows) {
      EXPECT_NO_THROW(load_recipe(row.recipe, row.sets)) << entry.id << " " << row.name;
      if (!row.rehearsed) continue;
      EXPECT_NO_THROW(load_recipe("smoke/" + row.recipe, row.sets)) << entry.id << " " << row.name;
    }
}

struct Printed {
  std::string columns;                            // keys
  std::map<std::string, std::string> of_recipes;  // a figure a column
};

// As the papers print them, by hand; RxRx1-WILDS's of Koh et al. and of "DANN + ELS".
const std::vector<Printed> kPrinted = {
    {"separated stratified batch_generalisation batch_accuracy HUVEC RPE HEPG2 U2OS",
     {{"rxrx1/table1/baseline",
       "75.1±0.2 91.1±0.1 82.4 59.2±0.7 84.2±0.2 79.0±0.4 76.2±0.1 26.1±1.5"},
      {"rxrx1/table1/gradient-reversal",
       "71.2±0.4 89.1±0.1 79.9 1.8±0.1 83.8±0.2 78.1±0.5 74.0±0.6 24.3±0.7"},
      {"rxrx1/table1/adabn", "87.1±0.2 91.1±0.1 95.6 16.4±0.3 92.1±0.2 87.2±0.0 86.2±0.2 68.2±0.1"},
      {"rxrx1/table1/adabn-gradient-reversal",
       "86.2±0.3 90.2±0.2 95.6 2.3±0.1 92.0±0.0 87.5±0.1 85.6±0.1 66.9±0.3"}}},
    {"separated",
     {{"rxrx1/table2/default-baseline", "75.2"},
      {"rxrx1/table2/default-adabn", "87.1"},
      {"rxrx1/table2/no-cutmix-baseline", "70.8"},
      {"rxrx1/table2/no-cutmix-adabn", "80.2"},
      {"rxrx1/table2/mixup-baseline", "75.6"},
      {"rxrx1/table2/mixup-adabn", "83.9"},
      {"rxrx1/table2/resnet50-baseline", "71.7"},
      {"rxrx1/table2/resnet50-adabn", "83.9"},
      {"rxrx1/table2/resnet101-baseline", "71.9"},
      {"rxrx1/table2/resnet101-adabn", "84.6"},
      {"rxrx1/table2/densenet121-baseline", "74.3"},
      {"rxrx1/table2/densenet121-adabn", "85.9"},
      {"rxrx1/table4/baseline-HUVEC", "39.5±0.7"},
      {"rxrx1/table4/baseline-RPE", "39.2±2.0"},
      {"rxrx1/table4/baseline-HEPG2", "31.4±0.4"},
      {"rxrx1/table4/baseline-U2OS", "2.8±1.0"},
      {"rxrx1/table4/gradient-reversal-HUVEC", "41.4±0.5"},
      {"rxrx1/table4/gradient-reversal-RPE", "38.8±0.5"},
      {"rxrx1/table4/gradient-reversal-HEPG2", "32.3±0.4"},
      {"rxrx1/table4/gradient-reversal-U2OS", "3.0±0.3"},
      {"rxrx1/table4/adabn-HUVEC", "55.1±1.1"},
      {"rxrx1/table4/adabn-RPE", "56.1±0.4"},
      {"rxrx1/table4/adabn-HEPG2", "56.2±1.6"},
      {"rxrx1/table4/adabn-U2OS", "44.0±0.9"},
      {"rxrx1/table4/adabn-gradient-reversal-HUVEC", "55.3±2.0"},
      {"rxrx1/table4/adabn-gradient-reversal-RPE", "56.7±0.9"},
      {"rxrx1/table4/adabn-gradient-reversal-HEPG2", "55.5±0.6"},
      {"rxrx1/table4/adabn-gradient-reversal-U2OS", "44.1±1.4"},
      {"rxrx1/table5/all", "60.8±1.1"},
      {"rxrx1/table5/control-experiment", "68.4±0.5"},
      {"rxrx1/table5/all-experiment", "68.6±0.5"},
      {"rxrx1/table5/control-plate", "73.4±0.3"},
      {"rxrx1/table5/all-plate", "73.4±0.5"},
      {"rxrx1/table5/self", "75.1±0.2"},
      {"rxrx1/table6/all", "78.4"},
      {"rxrx1/table6/control-experiment", "83.6"},
      {"rxrx1/table6/all-experiment", "83.7"},
      {"rxrx1/table6/control-plate", "81.7"},
      {"rxrx1/table6/all-plate", "82.6"},
      {"rxrx1/table6/self", "87.1"},
      {"wilds/erm", "29.9±0.4"},
      {"wilds/dann", "19.2±0.1"}}},
    {"lin knn z_norm_knn kbet kbet_train kbet_z_norm grit_train grit grit_z_norm",
     {{"cdcl/table1/supervised",
       "52.56±5.08 51.44±5.47 53.52±5.53 24.05±17.76 15.78±4.35 38.20±25.20 8.37±.38 5.29±1.05 "
       "5.60±1.07"},
      {"cdcl/table1/ssl-dino",
       "14.46±2.65 14.28±2.04 25.04±3.29 6.87±9.45 0±0 27.71±23.76 2.81±.14 2.91±.87 3.55±.69"},
      {"cdcl/table1/ssl-byol",
       "4.04±0.86 9.38±1.45 15.1±2.74 17.00±13.72 .02±.03 57.9±20.49 1.19±.30 1.51±.71 2.55±.56"},
      {"cdcl/table1/ssl-dino-cb",
       "30.08±8.21 41.52±8.5 55.3±7.29 12.54±9.19 2.31±1.29 45.06±26.60 4.09±.22 3.64±.88 "
       "4.96±.96"},
      {"cdcl/table1/ssl-byol-cb",
       "46.24±4.41 42.06±4.19 47.44±4.02 35.73±17.52 35.39±10.32 52.12±28.04 18.04±8.45 "
       "10.04±5.98 8.40±2.36"},
      {"cdcl/table1/cdcl",
       "49.64±4.93 53.56±6.61 63.1±6.33 22.26±14.50 10.45±3.59 52.89±31.20 6.34±.30 4.96±1.05 "
       "6.14±.90"}}},
    {"lin knn z_norm_knn kbet",
     {{"cdcl/table3/ssl-byol-bl", "3.76±0.55 6.58±0.59 8.88±0.52 19.76±15.74"},
      {"cdcl/table3/ssl-dino-bl", "15.36±3.82 15.92±3.60 21.20±4.03 11.18±8.04"}}},
    {"moa_1nn",
     {{"cdcl/table2a/imagenet", "8.3±0.7"},
      {"cdcl/table2a/supervised", "11.3±2.1"},
      {"cdcl/table2a/cdcl", "14.3±1.8"},
      {"cdcl/table2a/imagenet-finetuned", "21.3±4.0"},
      {"cdcl/table2a/supervised-finetuned", "21.0±5.0"},
      {"cdcl/table2a/cdcl-finetuned", "22.6±4.5"}}},
    {"z_norm_knn",
     {{"cdcl/table2b/supervised-controls", "18.5±1.89"},
      {"cdcl/table2b/cdcl-controls", "20.8±2.15"},
      {"cdcl/table2b/supervised-treatments", "51.68±4.41"},
      {"cdcl/table2b/cdcl-treatments", "61.43±5.03"},
      {"cdcl/table2b/supervised-half-treatments", "42.2±3.57"},
      {"cdcl/table2b/cdcl-half-treatments", "54.47±5.39"}}}};

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

// Every figure that the papers print, none that they do not, each in a column of some experiment.
TEST(Catalogue, RecipesCarryThePapersFigures) {
  std::map<std::string, std::map<std::string, std::string>> printed;
  for (const Printed& table : kPrinted) {
    const std::vector<std::string> columns = words_of(table.columns);
    for (const auto& [recipe, text] : table.of_recipes) {
      const std::vector<std::string> figures = words_of(text);
      ASSERT_EQ(figures.size(), columns.size()) << recipe;
      for (size_t c = 0; c < columns.size(); ++c) printed[recipe][columns[c]] = figures[c];
    }
  }
  for (const std::string& name : recipe_names()) {
    const std::map<std::string, PaperFigure> paper = load_recipe(name).paper;
    EXPECT_EQ(paper.size(), printed[name].size()) << name;
    for (const auto& [column, text] : printed[name]) {
      const size_t sign = text.find("±");
      ASSERT_TRUE(paper.contains(column)) << name << " " << column;
      EXPECT_EQ(paper.at(column).value, std::stod(text)) << name << " " << column;
      ASSERT_EQ(paper.at(column).spread.has_value(), sign != text.npos) << name << " " << column;
      if (sign == text.npos) continue;
      EXPECT_EQ(paper.at(column).spread, std::stod(text.substr(sign + 2))) << name << " " << column;
    }
  }
  for (const Experiment& entry : catalogue())
    for (const Row& row : entry.rows)
      for (const Column& column : entry.columns) printed[row.recipe].erase(column.key);
  for (const auto& [recipe, left] : printed) EXPECT_TRUE(left.empty()) << recipe;
}

TEST(Catalogue, EveryFigureIsDrawn) {
  for (const Experiment& entry : catalogue())
    EXPECT_EQ(has_picture(entry), entry.id.find("/fig") != entry.id.npos) << entry.id;
}

TEST(Catalogue, AliasesAreTheRunsOfTable1) {
  const auto hash = [](const std::string& recipe) {
    return recipe_hash(load_recipe(recipe, {"data.split=separated", "seed=1"}));
  };
  for (const std::string scale : {"", "smoke/"}) {
    const std::string baseline = hash(scale + "rxrx1/table1/baseline");
    const std::string adabn = hash(scale + "rxrx1/table1/adabn");
    EXPECT_EQ(hash(scale + "rxrx1/table5/self"), baseline);
    EXPECT_EQ(hash(scale + "rxrx1/table6/self"), adabn);
    EXPECT_EQ(hash(scale + "rxrx1/fig10/adabn"), adabn);
    EXPECT_NE(hash(scale + "rxrx1/table5/all"), baseline);
  }
  EXPECT_EQ(hash("rxrx1/table2/default-baseline"), hash("rxrx1/table1/baseline"));
  EXPECT_EQ(hash("rxrx1/fig9/123456"), hash("rxrx1/table1/baseline"));
  EXPECT_EQ(hash("smoke/rxrx1/table2/no-cutmix-adabn"), hash("smoke/rxrx1/table1/adabn"));
}

TEST(Catalogue, Figure9HasEverySubsetOfTheChannelsOnce) {
  const Experiment& figure = experiment("rxrx1/fig9");
  EXPECT_EQ(figure.rows.size(), 63u);
  EXPECT_EQ(std::ranges::count_if(figure.rows, &Row::rehearsed), 7);
  EXPECT_THAT(load_recipe("rxrx1/fig9/135").data.channels, ::testing::ElementsAre(1, 3, 5));
}

TEST(Catalogue, FiveSeedsWhereThePaperSaysSoElseOne) {
  for (const Experiment* entry : find_experiments("rxrx1"))
    for (const Row& row : entry->rows)
      EXPECT_EQ(load_recipe(row.recipe).seeds, entry->id == "rxrx1/fig10" ||
                                                       row.recipe.starts_with("rxrx1/table1/") ||
                                                       row.recipe == "controls/posthoc-bn"
                                                   ? 5
                                                   : 1)
          << entry->id << " " << row.name;
}

TEST(Catalogue, ChecksAndOrdersNameRowsAndColumns) {
  for (const Experiment& entry : catalogue()) {
    std::set<std::string> columns, rows;
    for (const Column& column : entry.columns) EXPECT_TRUE(columns.insert(column.key).second);
    for (const Row& row : entry.rows) EXPECT_TRUE(rows.insert(row.name).second) << row.name;
    for (const std::string& column : entry.ordered_by) EXPECT_TRUE(columns.contains(column));
    for (const Check& check : entry.checks) {
      EXPECT_TRUE(rows.contains(check.row));
      EXPECT_TRUE(columns.contains(check.column));
      EXPECT_TRUE(check.than.empty() ? check.times_chance > 0 : rows.contains(check.than));
    }
    for (const Row& row : entry.rows)
      EXPECT_TRUE(row.starts_from.empty() || rows.contains(row.starts_from));
  }
}

TEST(Catalogue, GroupsAndMistypedNames) {
  EXPECT_EQ(find_experiments("rxrx1/table2").size(), 1u);
  EXPECT_EQ(find_experiments("cdcl").size(), 14u);
  try {
    find_experiments("rxrx1/tabel2");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'rxrx1/table2'?"));
  }
}

}  // namespace
}  // namespace mono
