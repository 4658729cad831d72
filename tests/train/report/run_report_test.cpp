// Reports of runs that are finished, still training, damaged, hostile, or not there at all.
#include "train/report/run_report.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <set>
#include <thread>
#include <utility>

#include "kernels/base/error.h"
#include "tests/train/data/test_screen.h"
#include "tests/train/report/markup.h"
#include "tests/train/tiny_screen.h"
#include "train/commands.h"
#include "train/report/comparison.h"
#include "train/report/predictions.h"
#include "train/report/training_watch.h"
#include "train/run_directory.h"

namespace mono::report {
namespace {

namespace fs = std::filesystem;
using test::Element;
using test::parse_markup;
using test::TempDir;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kScript = "<script>alert(1)</script>";

// A run as the trainer leaves it, of `steps` of 12 steps in 3 epochs.
void write_run(const fs::path& run, const fs::path& screen, const std::string& recipe,
               const std::string& split, int seed, int steps = 12,
               const std::vector<std::string>& sets = {}) {
  std::vector<std::string> all = {"train.epochs=3", "data.split=" + split,
                                  "seed=" + std::to_string(seed)};
  all.insert(all.end(), sets.begin(), sets.end());
  const RunDirectory folder(run);
  RunInfo info;
  info.data = screen;
  folder.start(load_recipe(recipe, all), info);
  std::string rows;
  for (int step = 1; step <= steps; ++step)
    rows += fmt::format(
        "{{\"step\": {}, \"epoch\": {}, \"loss\": {}, \"accuracy\": {}, \"lr\": 0.1, "
        "\"images_per_s\": 100.0, \"ranks\": 1}}\n",
        step, (step - 1) / 4 + 1, 2.5 / step, 0.05 * step);
  test::write_text(run / "metrics.jsonl", rows);
}

// An evaluation of two experiments, of which `share` is right.
void write_evaluation(const fs::path& run, const std::string& split, const std::string& statistics,
                      double share, const std::string& predictions, int images = 8) {
  const std::string name = split + "-" + statistics;
  test::write_text(
      run / "evaluation" / (name + ".json"),
      fmt::format("{{\"format_version\": 1, \"split\": \"{}\", \"statistics\": \"{}\", \"part\": "
                  "\"test\", \"images\": {}, \"classes\": 4, \"accuracy\": {}, "
                  "\"accuracy_by_cell_type\": {{\"HUVEC\": {}}}, \"accuracy_by_experiment\": "
                  "{{\"HUVEC-03\": {}, \"HUVEC-04\": {}}}, \"batch_accuracy\": {}, "
                  "\"predictions\": \"{}.csv\", \"step\": 12}}",
                  split, statistics, images, share, share, share + 0.05, share - 0.05,
                  split == "stratified" ? "0.3" : "null", name));
  test::write_text(run / "evaluation" / (name + ".csv"), predictions);
}

const std::string kPredictionHeader =
    "site_id,sirna_id,predicted,experiment,predicted_experiment\n";
const std::string kPredictions = kPredictionHeader +
                                 "HUVEC-04_1_B02_1,0,0,HUVEC-04,\n"
                                 "HUVEC-04_1_B02_2,0,1,HUVEC-04,\n"
                                 "HUVEC-04_1_B03_1,1,1,HUVEC-04,\n"
                                 "HUVEC-04_2_B03_1,1,1,HUVEC-04,\n"
                                 "HUVEC-04_2_B04_1,2,1,HUVEC-04,\n"
                                 "HUVEC-04_2_B04_2,2,0,HUVEC-04,\n"
                                 "HUVEC-04_2_B05_1,,0,HUVEC-04,\n";

std::vector<RunRecord> read_all(const std::vector<fs::path>& paths) {
  std::vector<RunRecord> runs;
  for (const fs::path& path : find_runs(paths)) runs.push_back(read_run(path));
  return runs;
}

Element page_of(const std::vector<RunRecord>& runs) {
  return parse_markup(make_report(runs).html);
}

constexpr const char* kBaseline = "smoke/rxrx1/table1/baseline";
constexpr const char* kAdabn = "smoke/rxrx1/table1/adabn";

TEST(RunReports, FirstLinesSayWhoWinsByHowMuchOnWhat) {
  TempDir dir;
  test::write_text(dir / "screen/metadata.csv", test::small_table());
  for (int seed = 1; seed <= 3; ++seed)
    for (const std::string split : {"separated", "stratified"}) {
      const double more = 0.01 * seed + (split == "stratified" ? 0.2 : 0);
      const fs::path a = dir / ("adabn/" + split + std::to_string(seed));
      const fs::path b = dir / ("baseline/" + split + std::to_string(seed));
      write_run(a, dir / "screen", kAdabn, split, seed);
      write_evaluation(a, split, "experiment", 0.7 + more, kPredictions);
      write_run(b, dir / "screen", kBaseline, split, seed);
      write_evaluation(b, split, "running", 0.5 + more, kPredictions);
      if (split == "separated") write_evaluation(b, split, "experiment", 0.6 + more, kPredictions);
    }
  const std::vector<RunRecord> runs = read_all({dir.path()});
  ASSERT_EQ(runs.size(), 12u);
  const Comparison comparison = compare(runs);
  ASSERT_EQ(comparison.rows.size(), 3u);
  EXPECT_EQ(comparison.rows[0].title, "adabn");
  EXPECT_EQ(comparison.rows[2].title, "baseline, experiment statistics (control)");
  EXPECT_TRUE(comparison.rows[2].control);
  EXPECT_EQ(comparison.headline, "separated");
  EXPECT_EQ(comparison.best(), &comparison.rows[0]);
  EXPECT_NEAR(comparison.rows[0].at("separated").mean, 72, 1e-9);
  EXPECT_NEAR(*comparison.rows[0].at("separated").sd, 1, 1e-9);
  // Seed by seed: 71/91, 72/92, 73/93.
  EXPECT_NEAR(comparison.rows[0].at("batch_generalisation").mean,
              100 * (71. / 91 + 72. / 92 + 73. / 93) / 3, 1e-9);
  EXPECT_NEAR(comparison.rows[0].at("batch_accuracy").mean, 30, 1e-9);
  EXPECT_FALSE(comparison.paper_scale);
  EXPECT_EQ(comparison.our_name(), "other data, smoke");
  EXPECT_THAT(comparison.lead().at(0),
              AllOf(HasSubstr("adabn names the right class for 72.0 ± 1.0 %"),
                    HasSubstr("20.0 points more than baseline (52.0 ± 1.0 %)")));
  EXPECT_THAT(comparison.lead().at(1), HasSubstr("say nothing about the paper's"));

  const RunReport report = make_report(runs);
  test::show_to_browser("comparison", report.html);
  const Element page = parse_markup(report.html);
  EXPECT_THAT(page.all("h1").front()->text, HasSubstr("adabn, baseline"));
  // The paper's figures stand beside, but never as a difference from other data.
  const std::string text = page.all_text();
  EXPECT_THAT(text, HasSubstr("87.1 ± 0.2"));
  EXPECT_THAT(text, Not(HasSubstr("difference\n")));
  EXPECT_GE(report.files.size(), 6u);
  for (const auto& [name, content] : report.files)
    EXPECT_EQ(parse_markup(content).name, "svg") << name;
}

TEST(RunReports, ATieIsCalledOne) {
  TempDir dir;
  for (int seed = 1; seed <= 2; ++seed) {
    const fs::path a = dir / ("a" + std::to_string(seed)), b = dir / ("b" + std::to_string(seed));
    write_run(a, dir / "gone", kAdabn, "separated", seed);
    write_evaluation(a, "separated", "experiment", 0.5 + 0.1 * seed, kPredictions);
    write_run(b, dir / "gone", kBaseline, "separated", seed);
    write_evaluation(b, "separated", "running", 0.49 + 0.1 * seed, kPredictions);
  }
  EXPECT_THAT(compare(read_all({dir.path()})).lead().at(0),
              HasSubstr("The lead over baseline is within the spread over 2 runs."));
}

TEST(RunReports, RunsOfOneNameWithOtherSettingsAreAnotherMethod) {
  TempDir dir;
  write_run(dir / "a", dir / "gone", kBaseline, "separated", 1);
  write_run(dir / "b", dir / "gone", kBaseline, "separated", 1, 12, {"optim.lr=0.5"});
  const std::vector<RunRecord> runs = read_all({dir.path()});
  const Comparison comparison = compare(runs);
  ASSERT_EQ(comparison.rows.size(), 2u);
  EXPECT_EQ(comparison.rows[0].title, "baseline");
  EXPECT_EQ(comparison.rows[1].title, "baseline (optim.lr: 0.5)");
}

TEST(RunReports, ATrainingRunSaysWhatIsNotThereYet) {
  TempDir dir;
  write_run(dir / "run", dir / "gone", kBaseline, "separated", 1, 7);
  const std::vector<RunRecord> stopped = read_all({dir / "run"});
  EXPECT_EQ(stopped[0].state, RunState::stopped);
  EXPECT_EQ(stopped[0].epoch_steps, 4);
  EXPECT_EQ(stopped[0].total_steps, 12);
  const std::string text = page_of(stopped).all_text();
  EXPECT_THAT(text, HasSubstr("No run has an evaluation yet"));
  EXPECT_THAT(text, HasSubstr("stopped after step 7 of 12"));
  EXPECT_THAT(text, HasSubstr("Loss"));
  EXPECT_THAT(text, HasSubstr("is not a folder"));  // the screen
  const RunDirectory lock(dir / "run");             // as a trainer holds it
  EXPECT_EQ(read_run(dir / "run").state, RunState::training);
}

TEST(RunReports, AnEmptyFolderIsARunThatWasNeverStarted) {
  TempDir dir;
  const std::vector<RunRecord> runs = read_all({dir.path()});
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].state, RunState::absent);
  test::show_to_browser("never_started", make_report(runs).html);
  EXPECT_THAT(page_of(runs).all_text(), HasSubstr("never started"));
  EXPECT_THROW(find_runs({dir / "no such folder"}), Error);
  // Started, and killed before the first step.
  write_run(dir / "new", dir / "gone", kBaseline, "separated", 1, 0);
  EXPECT_EQ(read_run(dir / "new").state, RunState::started);
  EXPECT_THAT(page_of(read_all({dir / "new"})).all_text(), HasSubstr("No step has been logged"));
}

TEST(RunReports, DamagedFilesAreNamedAndTheRestIsShown) {
  TempDir dir;
  write_run(dir / "run", dir / "gone", kBaseline, "separated", 1);
  write_evaluation(dir / "run", "separated", "running", 0.5, "not,a,table\n1\n");
  test::write_text(dir / "run/evaluation/stratified-running.json", "{\"split\": ");
  test::write_text(dir / "run/validation.jsonl", "{\"step\": 4, \"knn_accuracy\": 0.5}\n[1]\n");
  test::write_text(dir / "run/left_out.csv", "site,why\na,b\n");
  fs::create_directories(dir / "run/ckpt/step_00000012");
  const std::vector<RunRecord> runs = read_all({dir / "run"});
  const std::string text = page_of(runs).all_text();
  for (const char* file : {"stratified-running.json", "validation.jsonl:2", "left_out.csv",
                           "state.json", "separated-running.csv"})
    EXPECT_THAT(text, HasSubstr(file));
  EXPECT_THAT(text, HasSubstr("50.0"));
  EXPECT_EQ(runs[0].metrics.rows(), 12u);
  EXPECT_EQ(runs[0].validation.rows(), 1u);

  test::write_text(dir / "run/recipe.toml", "seed = [");
  EXPECT_THAT(page_of(read_all({dir / "run"})).all_text(), HasSubstr("recipe.toml:1"));
  test::write_text(dir / "run/metrics.jsonl", std::string("\0\0\0\n", 4));
  EXPECT_NO_THROW(page_of(read_all({dir / "run"})));
}

TEST(RunReports, NamesOfAnyKindStayText) {
  TempDir dir;
  const std::string table = test::kHeader +
                            test::row("HUVEC-04", 1, "B02", 1, "test", "treatment", kScript, 0) +
                            test::row("HUVEC-04", 1, "B02", 2, "test", "treatment", kScript, 0);
  test::write_text(dir / "<script>screen/metadata.csv", table);
  const fs::path run = dir / "<script>alert(1)<'&\">";
  write_run(run, dir / "<script>screen", kBaseline, "separated", 1);
  std::string recipe = test::read_text(run / "recipe.toml");
  const std::string name = std::string("name = \"") + kBaseline;
  recipe.replace(recipe.find(name), name.size(), std::string("name = \"") + kScript);
  test::write_text(run / "recipe.toml", recipe);
  write_evaluation(run, "separated", "running", 0.5, kPredictions);
  test::write_text(run / "left_out.csv",
                   std::string("site_id,reason\nHUVEC-04_1_B02_1,\"") + kScript + "\"\n");
  const RunReport report = make_report(read_all({run}));
  test::show_to_browser("hostile_names", report.html);
  const Element page = parse_markup(report.html);
  EXPECT_TRUE(page.all("script").empty());
  const std::string text = page.all_text();
  EXPECT_THAT(text, HasSubstr(std::string(kScript) + "\n"));         // the treatment, in the figure
  EXPECT_THAT(text, HasSubstr("name = \"" + std::string(kScript)));  // the recipe
  EXPECT_THAT(page.all("h1").front()->text, HasSubstr("script>"));
}

TEST(RunReports, TwentyThousandImagesAreASmallPage) {
  TempDir dir;
  write_run(dir / "run", dir / "gone", kBaseline, "separated", 1, 0);
  std::string rows, predictions = kPredictionHeader;
  for (int step = 1; step <= 15'800; ++step)
    rows += fmt::format("{{\"step\": {}, \"epoch\": {}, \"loss\": {}, \"images_per_s\": 900}}\n",
                        step, (step - 1) / 158 + 1, 7.0 / std::sqrt(step));
  for (int i = 0; i < 20'000; ++i) {
    const int experiment = 17 + i % 8, plate = i / 8 % 4 + 1, place = i / 32 % 308;
    predictions += fmt::format("HUVEC-{}_{}_{}{:02}_{},{},{},HUVEC-{},\n", experiment, plate,
                               static_cast<char>('B' + place / 22), place % 22 + 2, i % 2 + 1,
                               i * 7 % 1139, i % 3 ? i * 7 % 1139 : i % 1139, experiment);
  }
  test::write_text(dir / "run/metrics.jsonl", rows);
  write_evaluation(dir / "run", "separated", "running", 0.67, predictions, 20'000);
  const auto start = std::chrono::steady_clock::now();
  const RunReport report = make_report(read_all({dir / "run"}));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("[ report   ] 20,000 images, 15,800 steps: %.2f MB in %.2f s\n",
              static_cast<double>(report.html.size()) / 1e6, seconds);
  test::show_to_browser("twenty_thousand_images", report.html);
  EXPECT_LT(report.html.size(), 5'000'000u);
  EXPECT_EQ(parse_markup(report.html).all("h1").size(), 1u);
}

TEST(RunReports, DifferencesStandBesideThePaperAtItsScaleOnly) {
  Comparison comparison;
  comparison.columns = {{"separated", "unseen experiments"}};
  ComparisonRow row;
  row.title = "adabn";
  row.values["separated"] = {87.0, 87.2};
  row.paper["separated"] = {87.1, 0.2};
  comparison.rows = {row};
  comparison.paper_scale = true;
  Table table = paper_table(comparison);
  ASSERT_EQ(table.columns.size(), 6u);
  EXPECT_EQ(table.columns[3].title, "ours");
  EXPECT_EQ(table.rows.at(0).at(3).text, "87.1 ± 0.1");
  EXPECT_EQ(table.rows.at(0).at(4).text, "2");
  EXPECT_EQ(table.rows.at(0).at(5).tone, Tone::inside);
  comparison.paper_scale = false;
  table = paper_table(comparison);
  EXPECT_EQ(table.columns.size(), 5u);
  EXPECT_NE(table.columns[3].title, "ours");
}

// The words of a command, as a shell takes them.
std::vector<std::string> words_of(const std::string& command) {
  const std::string script = "for word in " + command + "; do printf '%s\\n' \"$word\"; done";
  std::vector<std::string> words;
  FILE* pipe = ::popen(script.c_str(), "r");
  char line[4096];
  while (pipe && std::fgets(line, sizeof line, pipe)) {
    words.emplace_back(line);
    words.back().pop_back();
  }
  if (pipe) ::pclose(pipe);
  return words;
}

TEST(RunReports, TheCommandsMakeTheSameRun) {
  TempDir dir;
  write_run(dir / "my run", "/data/a 'screen'", kAdabn, "stratified", 7, 12,
            {"optim.lr=0.5", "data.experiments=[\"HUVEC 01\", \"b\"]"});
  for (const char* statistics : {"experiment", "running"})
    write_evaluation(dir / "my run", "stratified", statistics, 0.5, kPredictions);
  const RunRecord run = read_run(dir / "my run");
  const std::vector<std::string> commands = repeat_commands(run);
  ASSERT_EQ(commands.size(), 3u);
  std::vector<std::string> words = words_of(commands[0]);
  const std::string out = (dir / "my run-again").string();  // not the folder that is there
  EXPECT_THAT(words, ::testing::IsSupersetOf(
                         {std::string("--data"), std::string("/data/a 'screen'"), out}));
  std::vector<std::string> sets;
  for (size_t i = 0; i + 1 < words.size(); ++i)
    if (words[i] == "--set") sets.push_back(words[i + 1]);
  EXPECT_EQ(recipe_hash(load_recipe(words.at(3), sets)), run.hash);
  EXPECT_THAT(sets, Not(::testing::Contains(HasSubstr("momentum"))));
  EXPECT_THAT(words_of(commands[1]), ElementsAre("train_rxrx", "evaluate", out));
  EXPECT_THAT(words_of(commands[2]),
              ElementsAre("train_rxrx", "evaluate", out, "--statistics", "running"));

  // A recipe of one's own that is no longer there.
  std::string recipe = test::read_text(dir / "my run/recipe.toml");
  const std::string name = std::string("name = \"") + kAdabn;
  recipe.replace(recipe.find(name), name.size(), "name = \"/gone/mine.toml");
  test::write_text(dir / "my run/recipe.toml", recipe);
  words = words_of(repeat_commands(read_run(dir / "my run"))[0]);
  EXPECT_EQ(recipe_hash(load_recipe(words.at(3))), run.hash);
}

TEST(RunReports, WhatARunStartedFromLabelsIt) {
  TempDir dir;
  const auto start_from = [&](const char* run, const fs::path& other) {
    write_run(dir / run, dir / "gone", kBaseline, "separated", 1, 12,
              {"model.init_from=" + other.string()});
    return read_run(dir / run).label;
  };
  write_run(dir / "a", dir / "gone", kBaseline, "separated", 1, 12, {"model.from_scratch=true"});
  EXPECT_EQ(start_from("b", dir / "a"), "from scratch");
  EXPECT_EQ(start_from("c", dir / "b"), "from scratch");
  EXPECT_EQ(start_from("d", dir / "gone"), "from a run that is gone");
  EXPECT_EQ(start_from("e", dir / "e"), "from a run that is gone");
}

TEST(RunReports, EachRunIsThereOnce) {
  TempDir dir;
  write_run(dir / "a", dir / "gone", kBaseline, "separated", 1);
  write_run(dir / "b", dir / "gone", kBaseline, "separated", 2);
  EXPECT_EQ(find_runs({dir / "a", dir.path(), dir / "b/../a/"}).size(), 2u);
}

TEST(RunReports, AnEvaluationIsCurrentForTheCheckpointThatStandsForTheRun) {
  TempDir dir;
  write_run(dir / "run", dir / "gone", kBaseline, "separated", 1);
  write_evaluation(dir / "run", "separated", "running", 0.5, kPredictions);  // of step 12
  const auto current = [&](const std::string& more) {
    test::write_text(dir / "run/ckpt/step_00000012/state.json",
                     "{\"total_steps\": 12" + more + "}");
    return read_run(dir / "run").evaluations.at(0).up_to_date;
  };
  EXPECT_TRUE(current(""));
  EXPECT_TRUE(current(", \"more\": {\"validation\": {\"best_step\": 12}}"));
  EXPECT_FALSE(current(", \"more\": {\"validation\": {\"best_step\": 8}}"));
  EXPECT_THAT(page_of(read_all({dir / "run"})).all_text(), HasSubstr("brings it up to date"));
  fs::rename(dir / "run/ckpt/step_00000012", dir / "run/ckpt/step_00000016");
  EXPECT_FALSE(read_run(dir / "run").evaluations.at(0).up_to_date);
}

TEST(RunReports, FiguresOfAnOlderPageGo) {
  TempDir dir;
  write_run(dir / "run", dir / "gone", kBaseline, "separated", 1);
  const std::string key = std::string(300, 'k') + "\xC3\xA9/..";  // of a log that grew odd
  test::write_text(dir / "run/metrics.jsonl",
                   "{\"step\": 1, \"epoch\": 1, \"" + key + "\": 1.5}\n");
  test::write_text(dir / "report_figures/umap_1.svg", "old");
  test::write_text(dir / "report_figures/notes.txt", "the user's");
  const RunReport report = make_report(read_all({dir / "run"}));
  write_report(report, dir / "report.html");
  EXPECT_FALSE(fs::exists(dir / "report_figures/umap_1.svg"));
  EXPECT_TRUE(fs::exists(dir / "report_figures/notes.txt"));
  ASSERT_EQ(report.files.size(), 1u);
  EXPECT_TRUE(fs::exists(dir / "report_figures" / report.files[0].first));
}

TEST(RunReports, PredictionsWithoutAnAnswerAreNotAllRight) {
  TempDir dir;
  write_run(dir / "run", dir / "gone", kBaseline, "separated", 1);
  write_evaluation(dir / "run", "separated", "running", 0.5,
                   kPredictionHeader + "HUVEC-04_1_B02_1,0,,HUVEC-04,HUVEC-04\n");
  std::string text = page_of(read_all({dir / "run"})).all_text();
  EXPECT_THAT(text, HasSubstr("No image has both a label and a predicted class"));
  EXPECT_THAT(text, Not(HasSubstr("image is right")));
  test::write_text(dir / "run/evaluation/separated-running.csv",
                   kPredictionHeader + "HUVEC-04_1_B02_1,0,0,HUVEC-04,\n");
  text = page_of(read_all({dir / "run"})).all_text();
  EXPECT_THAT(text, HasSubstr("every labelled image is right"));
}

TEST(RunReports, AnswersOfViewsAreTheLinearClassifiers) {
  TempDir dir;
  write_run(dir / "run", dir / "gone", "smoke/cdcl/table1/cdcl", "separated", 1);
  test::write_text(dir / "run/evaluation/views.json",
                   "{\"images\": 1, \"classes\": 4, \"step\": 12, \"z_norm_knn\": 0.5, \"grit\": "
                   "6.5, \"lin\": null, \"predictions\": \"views.csv\"}");
  test::write_text(dir / "run/evaluation/views.csv",
                   "site_id,label,predicted,domain\nHUVEC-04_1_B02_1,0,1,HUVEC-04\n");
  const std::vector<RunRecord> runs = read_all({dir / "run"});
  EXPECT_THAT(runs[0].evaluations.at(0).figures,
              ElementsAre(::testing::Pair("grit", 6.5), ::testing::Pair("z_norm_knn", 50)));
  EXPECT_THAT(page_of(runs).all_text(),
              HasSubstr("1 run, by the answers of its linear classifier"));
}

TEST(RunReports, AskingWhoWritesDoesNotKeepTrainingOut) {
  TempDir dir;
  fs::create_directories(dir / "run");
  const int asking = ::open((dir / "run").c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::flock(asking, LOCK_SH | LOCK_NB), 0);  // as read_run does for a moment
  std::thread done([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    ::close(asking);
  });
  EXPECT_NO_THROW(RunDirectory(dir / "run"));
  done.join();
}

TEST(Predictions, HardestClassesAndPlates) {
  TempDir dir;
  test::write_text(dir / "p.csv", kPredictions);
  const std::vector<Prediction> predictions = read_predictions(dir / "p.csv", nullptr);
  ASSERT_EQ(predictions.size(), 7u);
  EXPECT_EQ(predictions[4].well, "B04");
  EXPECT_EQ(predictions[4].plate, "2");
  EXPECT_EQ(predictions[6].label, -1);
  const HardClasses hard = hard_classes(predictions, {{2, "s102"}});
  EXPECT_THAT(hard.map.rows, ElementsAre("s102", "class 0"));
  EXPECT_THAT(hard.map.columns, ElementsAre("s102", "class 0", "class 1"));
  EXPECT_EQ(hard.map.values[1], 50);  // class 2 taken for class 0
  EXPECT_TRUE(std::isnan(hard.map.values[0]));
  EXPECT_NEAR(hard.share_of_perfect, 1. / 3, 1e-12);
  EXPECT_EQ(hard.table.rows[0][3].text, "class 0 (1), class 1 (1)");

  const HeatMap wells = by_well(predictions);
  EXPECT_EQ(wells.values.size(), 16u * 24u);
  EXPECT_EQ(wells.values[1 * 24 + 1], 50);   // B02
  EXPECT_EQ(wells.values[1 * 24 + 2], 100);  // B03
  EXPECT_TRUE(std::isnan(wells.values[0]));
  const std::vector<HeatMap> plates = by_plate(predictions);
  ASSERT_EQ(plates.size(), 2u);
  EXPECT_EQ(plates[0].title, "HUVEC-04 plate 2: 33.3 %");
  // A screen of one's own names its plates.
  Dataset own;
  own.experiments = {"run 1"};
  own.plate_names = {{"PL1-9", "PL1-10"}};
  Site site;
  site.site_id = "run 1_PL1-10_B02_1";
  site.plate = 2;
  site.well = "B02";
  own.sites = {site};
  test::write_text(dir / "own.csv", kPredictionHeader + "run 1_PL1-10_B02_1,0,0,run 1,\n");
  for (const Dataset* dataset : {static_cast<const Dataset*>(nullptr), &std::as_const(own)})
    EXPECT_EQ(by_plate(read_predictions(dir / "own.csv", dataset))[0].title,
              "run 1 plate PL1-10: 100.0 %");

  test::write_text(dir / "bad.csv", kPredictionHeader + "a,x,0,e,\n");
  EXPECT_THROW(read_predictions(dir / "bad.csv", nullptr), Error);
  test::write_text(dir / "other.csv", "site_id,label\na,1\n");
  EXPECT_THROW(read_predictions(dir / "other.csv", nullptr), Error);
}

// The whole way, on a screen of 64 sites: train with its curves, evaluate, report.
TEST(RunReports, OfARealRun) {
  TempDir dir;
  test::write_tiny_screen(dir / "screen");
  TrainOptions train;
  train.recipe = kBaseline;
  train.sets = test::tiny_sets();
  train.data = dir / "screen";
  train.out = dir / "run";
  train.plots = train.tensorboard = true;
  ASSERT_EQ(run_train(train), 0);
  const Element plots = parse_markup(test::read_text(dir / "run/plots.html"));
  EXPECT_THAT(plots.all_text(), HasSubstr("Step 12 of 12, epoch 3"));
  EXPECT_GE(plots.all("svg").size(), 3u);
  EXPECT_GT(fs::file_size(dir / "run/tensorboard/events.out.tfevents.monolayer"), 1000u);
  EvaluateOptions evaluate;
  evaluate.run = dir / "run";
  ASSERT_EQ(run_evaluate(evaluate), 0);
  EmbedOptions embed;
  embed.run = dir / "run";
  embed.out = dir / "run/embeddings";
  ASSERT_EQ(run_embed(embed), 0);
  RunReportOptions options;
  options.runs = {dir / "run"};
  ASSERT_EQ(run_report(options), 0);
  const std::string text = parse_markup(test::read_text(dir / "run/report.html")).all_text();
  EXPECT_THAT(text, HasSubstr("finished: 12 steps"));
  EXPECT_THAT(text, HasSubstr("Hardest classes"));
  EXPECT_TRUE(fs::exists(dir / "run/report_figures/experiments.svg"));
  EXPECT_TRUE(fs::exists(dir / "run/report_figures/umap_1.svg"));
  EXPECT_THAT(text, Not(HasSubstr("What is missing")));
}

}  // namespace
}  // namespace mono::report
