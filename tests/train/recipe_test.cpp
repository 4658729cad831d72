#include "train/recipe.h"

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"
#include "train/idle_keys.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// The refusal, word by word from its start: FILE:LINE:COL, key, both values, remedy.
void expect_refused(const std::string& text, const std::string& message,
                    const std::vector<std::string>& sets = {}) {
  try {
    parse_recipe(text, "r.toml", sets);
    ADD_FAILURE() << "accepted: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), StartsWith(message));
  }
}

TEST(Recipe, EveryEmbeddedRecipeLoadsAndItsTextLoadsBackToTheSame) {
  ASSERT_GE(recipe_names().size(), 10u);
  for (const std::string& name : recipe_names()) {
    const Recipe recipe = load_recipe(name);
    const Recipe again = parse_recipe(recipe_text(recipe), "recipe.toml");
    EXPECT_EQ(recipe_text(again), recipe_text(recipe)) << name;
    EXPECT_EQ(recipe_hash(again), recipe_hash(recipe)) << name;
    EXPECT_THAT(differing_keys(recipe, again), ElementsAre());
  }
}

TEST(Recipe, Table1IsThePapers) {
  const Recipe baseline = load_recipe("rxrx1/table1/baseline");
  EXPECT_EQ(baseline.name, "rxrx1/table1/baseline");
  EXPECT_EQ(baseline.model.backbone, "densenet161");
  EXPECT_EQ(baseline.batch.images(), 512);
  EXPECT_EQ(baseline.optim.lr, 0.1024);
  EXPECT_EQ(baseline.train.epochs, 100);
  EXPECT_EQ(baseline.seeds, 5);
  EXPECT_EQ(baseline.batch_head.mode, BatchHeadMode::detached);
  EXPECT_FALSE(baseline.domain.adabn);
  const Recipe both = load_recipe("rxrx1/table1/adabn-gradient-reversal");
  EXPECT_EQ(both.batch_head.mode, BatchHeadMode::reversed);
  EXPECT_TRUE(both.domain.adabn && both.batch.one_experiment_per_group);
  EXPECT_EQ(both.paper.at("separated").value, 86.2);
  EXPECT_EQ(both.paper.at("separated").spread, 0.3);
  EXPECT_FALSE(both.paper.at("batch_generalisation").spread.has_value());
}

TEST(Recipe, PublishedFiguresAreOfOneRowAlone) {
  EXPECT_EQ(load_recipe("cdcl/table2b/cdcl-controls").paper.size(), 1u);
  EXPECT_TRUE(load_recipe("cdcl/ablation/barlow").paper.empty());
  EXPECT_TRUE(load_recipe("controls/untrained").paper.empty());
  EXPECT_EQ(load_recipe("cdcl/table1/cdcl").paper.at("grit_z_norm").spread, 0.90);
}

// The control is the baseline's training, looked at in another way.
TEST(Recipe, PosthocStatisticsShareTheBaselinesRuns) {
  const Recipe baseline = load_recipe("rxrx1/table1/baseline");
  const Recipe control = load_recipe("controls/posthoc-bn");
  EXPECT_EQ(control.domain.test_statistics, StatisticsMode::experiment);
  EXPECT_EQ(recipe_hash(control), recipe_hash(baseline));
}

TEST(Recipe, EveryRowOfCdclHasASmokeTwin) {
  const std::vector<std::string> names = recipe_names();
  int rows = 0;
  for (const std::string& name : names) {
    if (!name.starts_with("cdcl/") && !name.starts_with("controls/")) continue;
    ++rows;
    EXPECT_TRUE(std::ranges::find(names, "smoke/" + name) != names.end()) << name;
  }
  EXPECT_GT(rows, 30);
}

// DINO's rule, which the published code follows: no decay of vectors and biases.
TEST(Recipe, AdamWSparesVectorsAndBiases) {
  int recipes = 0;
  for (const std::string& name : recipe_names()) {
    const Recipe recipe = load_recipe(name);
    if (recipe.optim.kind != OptimKind::adamw) continue;
    ++recipes;
    EXPECT_FALSE(recipe.optim.decay_norm_and_bias) << name;
  }
  EXPECT_GT(recipes, 20);
}

TEST(Recipe, DefaultsOfTheStructAreTheCommonRecipe) {
  Recipe defaults;
  EXPECT_THAT(differing_keys(defaults, load_recipe("rxrx1/common")), ElementsAre());
}

TEST(Recipe, SetsTakeTomlValuesAndBareWords) {
  const Recipe recipe = load_recipe(
      "rxrx1/table1/adabn",
      {"seed=7", "optim.lr=0.05", "data.split=stratified", "data.channels=[1, 3]",
       "train.epochs = 2", "data.experiments=['HUVEC-01']", "optim.lr=1", "model.backbone=resnet50",
       "model.weights=/tmp/w.safetensors", "optim.nesterov=true"});
  EXPECT_EQ(recipe.seed, 7u);
  EXPECT_EQ(recipe.optim.lr, 1.0);  // the last one holds; an integer is a number
  EXPECT_EQ(recipe.data.split, SplitBy::stratified);
  EXPECT_THAT(recipe.data.channels, ElementsAre(1, 3));
  EXPECT_EQ(recipe.train.epochs, 2);
  EXPECT_THAT(recipe.data.experiments, ElementsAre("HUVEC-01"));
  EXPECT_EQ(recipe.model.backbone, "resnet50");
  EXPECT_EQ(recipe.model.weights, "/tmp/w.safetensors");
  EXPECT_TRUE(recipe.optim.nesterov);
}

TEST(Recipe, TheHashFollowsResultsOnly) {
  const std::string hash = recipe_hash(load_recipe("rxrx1/table1/adabn"));
  EXPECT_EQ(hash.size(), 16u);
  EXPECT_EQ(recipe_hash(load_recipe("rxrx1/table1/adabn",
                                    {"checkpoint.every_steps=5", "loader.workers=0", "paper.x=1"})),
            hash);
  EXPECT_NE(recipe_hash(load_recipe("rxrx1/table1/adabn", {"optim.lr=0.05"})), hash);
  EXPECT_NE(recipe_hash(load_recipe("rxrx1/table1/adabn", {"seed=2"})), hash);
}

TEST(Recipe, DifferencesAreListedWithBothValues) {
  const Recipe run = load_recipe("rxrx1/table1/baseline");
  const Recipe now = load_recipe("rxrx1/table1/baseline",
                                 {"optim.lr=0.05", "data.split=stratified", "loader.workers=9"});
  EXPECT_THAT(differing_keys(run, now),
              ElementsAre("data.split: \"separated\" in the run, \"stratified\" now",
                          "optim.lr: 0.1024 in the run, 0.05 now"));
}

TEST(Recipe, RefusesUnknownKeysWithTheNearestRightOne) {
  expect_refused("seed = 1\n[optim]\nmomentun = 0.9\n",
                 "r.toml:3:1: unknown key 'optim.momentun'; did you mean 'optim.momentum'?");
  expect_refused("momentum = 0.9", "r.toml:1:1: unknown key 'momentum'; did you mean 'optim.momen");
  expect_refused("[optm]\n", "r.toml:1:2: unknown table 'optm'; did you mean 'optim'?");
  expect_refused("zzzzzzzz = 1", "r.toml:1:1: unknown key 'zzzzzzzz'");
  expect_refused("", "--set 'optim.lrr=1':1:7: unknown key 'optim.lrr'; did you mean 'optim.lr'?",
                 {"optim.lrr=1"});
}

TEST(Recipe, RefusesWrongTypes) {
  expect_refused("[optim]\nlr = \"0.1\"",
                 "r.toml:2:6: optim.lr: '0.1' is a string, where a number");
  expect_refused("[train]\nepochs = 1.5",
                 "r.toml:2:10: train.epochs: 1.5 is a number, where an in");
  expect_refused("seed = true", "r.toml:1:8: seed: true is a boolean, where an integer");
  expect_refused("optim = 3", "r.toml:1:1: 'optim' is a table of keys, but is given an integer");
  expect_refused("[optim.lr]\nx = 1", "r.toml:1:8: 'optim.lr' is a key and takes a value");
  expect_refused("[data]\nchannels = 3",
                 "r.toml:2:12: data.channels: 3 is an integer, where an arr");
  expect_refused("[data]\nsplit = 1",
                 "r.toml:2:9: data.split: 1 is an integer, where one of separ");
  expect_refused("seed = 1979-05-27", "r.toml:1:8: seed: a date or time");
  expect_refused("", "--set 'optim.lr=fast':1:10: optim.lr: 'fast' is a string, where a number",
                 {"optim.lr=fast"});
}

TEST(Recipe, RefusesValuesOutOfRange) {
  expect_refused("[optim]\nlr = -0.1", "r.toml:2:6: optim.lr: -0.1 is out of range, 0 to 1000");
  expect_refused("[optim]\nlr = nan", "r.toml:2:6: optim.lr: nan is out of range");
  expect_refused("[train]\nepochs = 0", "r.toml:2:10: train.epochs: 0 is out of range");
  expect_refused("[batch]\ngroup_size = 1", "r.toml:2:14: batch.group_size: 1 is out of range");
  expect_refused("seed = -1", "r.toml:1:8: seed: -1 is out of range");
  expect_refused("[data]\nchannels = [1, 9]", "r.toml:2:16: data.channels: 9 is out of range, 1 t");
  expect_refused("[data]\nchannels = [1, 1]", "r.toml:2:16: data.channels: 1 appears twice");
  expect_refused("[data]\nsplit = 'separate'",
                 "r.toml:2:9: data.split: 'separate' is not one of separated, stratified; did you "
                 "mean 'separated'?");
  expect_refused(
      "[model]\nbackbone = 'densnet161'",
      "r.toml:2:12: model.backbone: 'densnet161' is not one of densenet_smoke, densenet121");
  expect_refused("", "--set 'checkpoint.keep=1':1:17: checkpoint.keep: 1 is out of range",
                 {"checkpoint.keep=1"});
}

TEST(Recipe, RefusesContradictions) {
  expect_refused("[domain]\nadabn = true", "r.toml:2:9: domain.adabn = true needs batch.one_expe");
  expect_refused("[data]\ntarget = 'experiment'\n[batch_head]\nmode = 'reversed'",
                 "r.toml:2:10: data.target = 'experiment' and batch_head.mode = 'reversed'");
}

TEST(Recipe, RefusesBrokenDocuments) {
  expect_refused("seed = \n", "r.toml:1:8: ");
  expect_refused("seed = 1\nseed = 2\n", "r.toml:2:");
  expect_refused("[optim\nlr = 1", "r.toml:1:7: ");
  expect_refused("\xFF\xFE", "r.toml:1:1: ");
  expect_refused(std::string(2 << 20, '#'), "r.toml:1:1: 2097152 bytes");
  expect_refused("seed = " + std::string(100000, '['), "r.toml:1:");
  expect_refused("format_version = 2", "r.toml:1:18: format_version 2 is not known");
  expect_refused("", "--set 'novalue':1:1: KEY=VALUE is expected", {"novalue"});
  expect_refused("", "--set 'name=x':1:1: 'name' cannot be set", {"name=x"});
}

class RecipeFiles : public ::testing::Test {
 protected:
  RecipeFiles() {
    folder_ = fs::temp_directory_path() / ("mono_recipe_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  ~RecipeFiles() override { fs::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  fs::path folder_;
};

TEST_F(RecipeFiles, TablesMergeAndArraysReplace) {
  write("base.toml", "seed = 3\n[optim]\nlr = 0.5\nmomentum = 0.5\n[data]\nchannels = [1, 2]\n");
  const std::string child =
      write("child.toml", "extends = 'base.toml'\n[optim]\nlr = 0.25\n[data]\nchannels = [3]\n");
  const Recipe recipe = load_recipe(child);
  EXPECT_EQ(recipe.seed, 3u);
  EXPECT_EQ(recipe.optim.lr, 0.25);
  EXPECT_EQ(recipe.optim.momentum, 0.5);
  EXPECT_THAT(recipe.data.channels, ElementsAre(3));
  EXPECT_EQ(recipe.name, child);
}

TEST_F(RecipeFiles, AFileMayExtendAnEmbeddedRecipe) {
  const Recipe recipe =
      load_recipe(write("mine.toml", "extends = \"rxrx1/table1/adabn\"\n[optim]\nlr = 0.2\n"));
  EXPECT_TRUE(recipe.domain.adabn);
  EXPECT_EQ(recipe.optim.lr, 0.2);
}

TEST_F(RecipeFiles, AMistakeInTheBaseIsReportedThere) {
  write("base.toml", "[optim]\n\nlr = 'x'\n");
  const std::string child = write("child.toml", "extends = 'base.toml'\n");
  try {
    load_recipe(child);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("base.toml:3:6: optim.lr"));
  }
}

TEST_F(RecipeFiles, RefusesCircles) {
  write("a.toml", "extends = 'b.toml'\n");
  const std::string b = write("b.toml", "extends = 'a.toml'\n");
  try {
    load_recipe(b);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("a.toml:1:11: 'extends' runs in a circle"));
  }
}

TEST_F(RecipeFiles, RefusesUnknownNamesAndAbsentFiles) {
  for (const auto& [name, message] : std::vector<std::pair<std::string, std::string>>{
           {"rxrx1/table1/adabm", "did you mean 'rxrx1/table1/adabn'?"},
           {"absent.toml", "recipe file 'absent.toml' does not exist"},
           {write("c.toml", "\nextends = 'absent.toml'"), "c.toml:2:11: recipe file"}}) {
    try {
      load_recipe(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  }
}

// ---- keys that do nothing ---------------------------------------------------------------------

void expect_idle(const std::string& recipe, const std::string& set, const std::string& message) {
  try {
    load_recipe(recipe, {set});
    ADD_FAILURE() << recipe << " " << set;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), StartsWith("--set '" + set + "':1:")) << recipe;
    EXPECT_THAT(error.what(), HasSubstr(message)) << recipe;
  }
}

TEST(IdleKeys, AreRefusedWhereASetGivesThem) {
  const std::string cdcl = "cdcl/table1/cdcl", dino = "cdcl/table1/ssl-dino",
                    byol = "cdcl/table1/ssl-byol", supervised = "cdcl/table1/supervised",
                    rxrx1 = "rxrx1/table1/baseline";
  expect_idle(cdcl, "augment.mixing=mixup",
              "augment.mixing does nothing with batch.form = \"views");
  expect_idle(cdcl, "augment.dihedral=false", "flips are views.dihedral; leave it out");
  expect_idle(cdcl, "batch_head.mode=reversed", "there is no batch head");
  expect_idle(cdcl, "batch_head.weight=2", "there is no batch head");
  expect_idle(cdcl, "batch.group_size=64", "a step has batch.anchors images");  // the default
  expect_idle(cdcl, "domain.adabn=true", "AdaBN needs groups");
  expect_idle(rxrx1, "data.domain_key=plate", "nothing to validate on");
  EXPECT_NO_THROW(load_recipe("cdcl/adabn-supervised", {"data.domain_key=plate"}));
  expect_idle(cdcl, "data.crop=128", "set views.size");
  expect_idle(cdcl, "model.neck=64", "there is no neck");
  expect_idle(cdcl, "model.depth=6", "only \"deit_smoke\" has a size");
  expect_idle(cdcl, "bn.momentum=0.2", "there is no batch norm");
  expect_idle(cdcl, "optim.momentum=0.9", "its averages are optim.beta1 and optim.beta2");
  expect_idle(cdcl, "optim.nesterov=true", "its averages are");
  expect_idle(cdcl, "optim.warmup_epochs=3", "beside optim.warmup_steps");
  expect_idle(cdcl, "ssl.byol_hidden=64", "with method = \"dino\"");
  expect_idle(cdcl, "data.train_experiments=4", "beside data.fold");
  expect_idle(cdcl, "data.train_site=1", "beside data.fold");
  expect_idle(dino, "ssl.barlow_weight=0.5", "without both ssl.dino_loss and ssl.barlow_loss");
  expect_idle(dino, "ssl.barlow_diagonal=0.5", "without ssl.barlow_loss");
  expect_idle(dino, "data.pair_key=treatment-or-image", "without ssl.cross_batch");
  expect_idle(byol, "ssl.outputs=64", "with method = \"byol\"");
  expect_idle(byol, "views.local_size=64", "there are no local crops");
  expect_idle(supervised, "ssl.outputs=64", "with method = \"supervised\"");
  expect_idle(supervised, "ssl.multi_center=true", "with method = \"supervised\"");
  expect_idle(supervised, "probe.lr=0.1", "with method = \"supervised\"");
  expect_idle(rxrx1, "views.size=128", "with batch.form = \"groups\"");
  expect_idle(rxrx1, "ssl.cross_batch=true", "with batch.form = \"groups\"");
  expect_idle(rxrx1, "batch.anchors=8", "with batch.form = \"groups\"");
  expect_idle(rxrx1, "optim.clip=3", "gradients are not clipped");
  expect_idle(rxrx1, "optim.beta1=0.8", "its average is optim.momentum");
  expect_idle(rxrx1, "optim.warmup_steps=100", "its warm-up is of optim.warmup_epochs");
  expect_idle(rxrx1, "batch_head.lambda=0.5", "no gradient is reversed");
  expect_idle(rxrx1, "model.growth=8", "only \"densenet_smoke\" has a size");
  expect_idle(rxrx1, "model.blocks=[1, 1]", "only \"densenet_smoke\" and \"resnet_smoke\"");
  expect_idle("smoke/wilds/erm", "model.growth=8", "only \"densenet_smoke\" has a size");
  EXPECT_EQ(load_recipe("smoke/wilds/erm", {"model.stem=8"}).model.stem, 8);
  expect_idle(rxrx1, "model.drop_path=0.1", "it is of vision transformers");
  expect_idle(rxrx1, "data.stratified_by=image", "without data.split = \"stratified\"");
  expect_idle(rxrx1, "validation.every_epochs=2", "without images to validate on");
  expect_idle("smoke/rxrx1/table1/baseline", "augment.alpha=0.5", "with augment.mixing = \"none\"");
}

TEST(IdleKeys, ThatSayOffAreTrue) {
  const Recipe recipe = load_recipe(
      "cdcl/table1/supervised",
      {"augment.mixing=none", "batch_head.mode=none", "domain.adabn=false", "views.locals=0",
       "probe.enabled=false", "ssl.cross_batch=false", "ssl.freeze_last_layer_epochs=0"});
  EXPECT_EQ(recipe.views.locals, 0);
}

TEST(IdleKeys, AreRefusedInAFileWhereTheyAreNotTheDefault) {
  const std::string views =
      "method = 'dino'\n[model]\nbackbone = 'deit_small'\n[batch]\nform = "
      "'views'\n[optim]\nkind = 'adamw'\n";
  EXPECT_EQ(parse_recipe(views + "momentum = 0.9\n", "r.toml").method, Method::dino);
  expect_refused(views + "momentum = 0.8\n",
                 "r.toml:8:1: optim.momentum does nothing with optim.kind = \"adamw\"");
  expect_refused(views + "[augment]\nmixing = 'mixup'\n",
                 "r.toml:9:1: augment.mixing does nothing with batch.form = \"views\"");
  expect_refused("[ssl]\nouputs = 9", "r.toml:2:1: unknown key 'ssl.ouputs'");
}

// What a base sets for other methods than the one at hand is no mistake of the recipe that extends
// it; a run's recipe.toml lists what its bases set.
TEST(IdleKeys, OfABaseAndOfARunAreNoMistakes) {
  const Recipe recipe = load_recipe("smoke/cdcl/table1/ssl-dino");
  EXPECT_EQ(recipe.ssl.barlow_diagonal, 0.77);
  EXPECT_FALSE(recipe.ssl.barlow_loss);
  const Recipe again = parse_recipe(recipe_text(recipe), "recipe.toml");
  EXPECT_THAT(differing_keys(recipe, again), ElementsAre());
  EXPECT_THROW(parse_recipe(recipe_text(recipe), "recipe.toml", {"ssl.barlow_diagonal=0.5"}),
               Error);
}

TEST_F(RecipeFiles, ARunOfAnOlderProgramMayHaveIdleKeys) {
  const std::string run = write("recipe.toml", "[optim]\nclip = 3.0\n");
  EXPECT_THROW(load_recipe(run), Error);
  EXPECT_EQ(load_accepted_recipe(run).optim.clip, 3.0);
}

TEST(IdleKeys, OfSeveralRecipesEachTakesItsOwn) {
  const std::vector<std::string> names = {"cdcl/table1/supervised", "cdcl/table1/cdcl"};
  const std::vector<std::string> sets = {"ssl.outputs=64", "optim.lr=1e-3", "views.local_size=64"};
  EXPECT_THAT(sets_that_apply(names[0], sets), ElementsAre("optim.lr=1e-3"));
  EXPECT_EQ(sets_that_apply(names[1], sets), sets);
  check_sets_apply(names, sets);
  try {
    check_sets_apply(names, {"ssl.outputs=64", "optim.nesterov=true"});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), StartsWith("--set 'optim.nesterov=true':1:"));
  }
}

TEST(ViewsRecipes, RefuseContradictions) {
  for (const auto& [recipe, set, message] : std::vector<std::array<std::string, 3>>{
           {"ssl-dino", "ssl.only_cross_domain=true",
            "ssl.only_cross_domain needs ssl.cross_batch"},
           {"ssl-byol", "ssl.multi_center=true", "ssl.multi_center needs method"},
           {"ssl-dino", "data.target=experiment",
            "validation experiments are absent from training"},
       }) {
    try {
      load_recipe("smoke/cdcl/table1/" + recipe, {set});
      ADD_FAILURE() << recipe << " " << set;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  }
  EXPECT_TRUE(
      load_recipe("smoke/cdcl/table1/cdcl", {"ssl.only_cross_domain=true"}).ssl.only_cross_domain);
}

TEST(Suggest, NearestName) {
  const std::vector<std::string> names = {"train", "evaluate", "embed"};
  EXPECT_EQ(nearest_name("tarin", names), "train");
  EXPECT_EQ(nearest_name("Evaluat", names), "evaluate");
  EXPECT_EQ(nearest_name("xyzzy", names), "");
}

}  // namespace
}  // namespace mono
