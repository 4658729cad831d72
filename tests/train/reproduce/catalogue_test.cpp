// The catalogue against the recipes: every row has one, at both scales, and the papers' figures.
#include "train/reproduce/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "kernels/base/error.h"
#include "train/recipe.h"

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

// Where the paper prints a figure the recipe has it.
TEST(Catalogue, RecipesCarryThePapersFigures) {
  for (const char* id : {"rxrx1/table1", "rxrx1/table2", "rxrx1/table3", "rxrx1/table4",
                         "rxrx1/table5", "rxrx1/table6", "wilds", "cdcl/table4"}) {
    const Experiment& entry = experiment(id);
    for (const Row& row : entry.rows) {
      if (!row.beside_the_paper.empty()) continue;
      const auto paper = load_recipe(row.recipe).paper;
      for (const Column& column : entry.columns)
        EXPECT_TRUE(paper.contains(column.key)) << id << " " << row.name << " " << column.key;
    }
  }
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
