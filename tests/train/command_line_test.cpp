// The program from outside: exit code and message of every kind of mistake, as the shell sees them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kernels/base/gpu.h"
#include "tests/paths.h"
#include "tests/train/evaluate/tiny_run.h"
#include "tests/train/tiny_screen.h"
#include "train/recipe.h"
#include "train/run_directory.h"

extern char** environ;

namespace mono {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

struct Outcome {
  int code = -1;
  std::string out, err;
};

std::string content_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class CommandLine : public ::testing::Test {
 protected:
  CommandLine() {
    folder_ = fs::temp_directory_path() / ("mono_command_line_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  ~CommandLine() override { fs::remove_all(folder_); }

  Outcome run(std::vector<std::string> words) const {
    const std::string program = test::program();
    words.insert(words.begin(), program);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string out = folder_ / "out", err = folder_ / "err";
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    ::posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), flags, 0600);
    ::posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), flags, 0600);
    pid_t child = -1;
    EXPECT_EQ(::posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    ::waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content_of(out), content_of(err)};
  }

  void expect(const std::vector<std::string>& words, int code, const std::string& message) const {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("error: "));
    EXPECT_THAT(outcome.err, HasSubstr(message));
  }

  fs::path folder_;
};

TEST_F(CommandLine, HelpAndVersion) {
  const Outcome help = run({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* command : {"train", "evaluate", "embed", "explain", "reproduce", "check", "data",
                              "list", "forward", "bench", "Exit codes", "75  interrupted"})
    EXPECT_THAT(help.out, HasSubstr(command));
  for (const char* command :
       {"train", "evaluate", "embed", "explain", "reproduce", "check", "list", "forward", "bench"})
    EXPECT_EQ(run({command, "--help"}).code, 0) << command;
  const Outcome version = run({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.out,
              AllOf(HasSubstr("train_rxrx 0."), HasSubstr("commit "), HasSubstr("compiler "),
                    HasSubstr("instruction set "), HasSubstr("cpu: ")));
}

TEST_F(CommandLine, Lists) {
  const Outcome recipes = run({"list", "recipes"});
  EXPECT_EQ(recipes.code, 0);
  EXPECT_THAT(recipes.out,
              AllOf(HasSubstr("rxrx1/table1/adabn "), Not(HasSubstr("densenet161\n"))));
  EXPECT_THAT(run({"list", "models"}).out, HasSubstr("densenet161\n"));
  EXPECT_THAT(run({"list", "devices"}).out, HasSubstr("cpu: "));
}

TEST_F(CommandLine, UnknownWordsAreNamedWithTheNearestRightOne) {
  expect({}, 2, "subcommand is required");
  expect({"trian"}, 2, "unknown command 'trian'; did you mean 'train'?");
  expect({"data", "chekc"}, 2, "unknown command 'chekc'; did you mean 'check'?");
  expect({"train", "--recip", "x"}, 2, "unknown flag '--recip'; did you mean '--recipe'?");
  expect({"--verison"}, 2, "unknown flag '--verison'; did you mean '--version'?");
  expect({"list", "modles"}, 2, "did you mean 'models'?");
  expect({"list", "models", "more"}, 2, "more");
  expect({"train"}, 2, "is required");
  expect({"bench", "--model", "densenet16"}, 2, "densenet161");
  expect({"bench", "--model", "resnet18", "--batch", "eight"}, 2, "--batch");
  expect({"explain", "adabm", "--run", "."}, 2, "did you mean 'adabn'?");
  expect({"explain", "adabn"}, 2, "--run is required");
  expect({"explain", "adabn", "--run", "absent"}, 3, "absent");
  expect({"reproduce", "rxrx1/table9", "--dry-run", "--data", "."}, 2, "rxrx1/table1");
}

TEST_F(CommandLine, RecipesAndSets) {
  const std::string out = folder_ / "run";
  const auto train = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"train", "--data", folder_, "--out", out};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const std::string smoke = "smoke/rxrx1/table1/adabn";
  expect(train({"--recipe", "smoke/rxrx1/table1/adabm"}), 2, "did you mean 'smoke/rxrx1/table1/ad");
  expect(train({"--recipe", "absent.toml"}), 2, "recipe file 'absent.toml' does not exist");
  expect(train({"--recipe", smoke, "--set", "optim.lrr=1"}), 2, "did you mean 'optim.lr'?");
  expect(train({"--recipe", smoke, "--set", "optim.lr=fast"}), 2, "where a number is expected");
  expect(train({"--recipe", smoke, "--set", "optim.lr=-1"}), 2, "out of range");
  expect(train({"--recipe", smoke, "--precision", "f16"}), 2, "'f16' is not one of f32, bf16");
  expect(train({"--recipe", smoke, "--resume", "yes"}), 2, "auto");
  if (kGpu != Device::cuda || !gpu::properties())
    expect(train({"--recipe", smoke, "--device", "cuda"}), 6, "no GPU found: this ");
  if (kGpu == Device::cuda)
    expect(train({"--recipe", smoke, "--device", "emulated"}), 6, "this build has CUDA instead");
  expect(train({"--recipe", smoke, "--device", "gpu"}), 2, "auto, cpu, cuda or emulated");

  const std::string recipe = folder_ / "mine.toml";
  std::ofstream(recipe) << "[optim]\nlr = 0.1\nmomentun = 0.9\n";
  expect(train({"--recipe", recipe}), 2,
         recipe + ":3:1: unknown key 'optim.momentun'; did you mean 'optim.momentum'?");
}

TEST_F(CommandLine, SetComesLast) {
  const fs::path screen = folder_ / "screen";
  test::write_tiny_screen(screen);
  // Both out of range: what is refused is what counts.
  expect({"train", "--recipe", "smoke/rxrx1/table1/adabn", "--data", screen, "--out",
          folder_ / "run", "--set", "seed=-4", "--seed", "-3"},
         2, "-4 is out of range");
  expect({"train", "--recipe", "smoke/rxrx1/table1/adabn", "--data", screen, "--out", ""}, 2,
         "--out is followed by nothing");
  expect({"train", "--recipe", "smoke/rxrx1/table1/adabn", "--data", screen, "--out",
          folder_ / "run", "--set", "lr=0.1"},
         2, "did you mean 'optim.lr'?");
}

TEST_F(CommandLine, OutputsReplaceNeitherTablesNorRecipes) {
  const fs::path mine = folder_ / "metadata.csv", screen = folder_ / "screen";
  std::ofstream(mine) << "mine\n";
  test::write_tiny_screen(screen);
  expect({"report", folder_, "--out", mine}, 2, "does not end with .html");
  expect({"data", "report", "--data", screen, "--out", mine}, 2, "does not end with .html");
  expect({"evaluate", "--embeddings", folder_, "--out", mine}, 2, "does not end with .json");
  expect({"data", "pack", "--data", screen, "--out", mine}, 2, "is there, and is no image cache");
  expect({"forward", "--model", "resnet18", "--weights", mine, "--input", folder_ / "x", "--output",
          mine},
         2, "is the file of --weights, which it would replace");
  EXPECT_EQ(content_of(mine), "mine\n");
}

TEST_F(CommandLine, FlagsOfARunAndOfAnEmbeddingDoNotMix) {
  expect({"evaluate", folder_, "--json"}, 2, "--json requires --embeddings");
  expect({"evaluate", "--embeddings", folder_, "--split", "separated"}, 2, "--embeddings");
  expect({"bench", "--model", "resnet18", "--step", "cdcl"}, 2, "--step cdcl is one of a DeiT");
}

TEST_F(CommandLine, AFolderThatCannotBeReadIsNotOneWithoutImages) {
  const fs::path screen = folder_ / "screen", locked = screen / "images" / "HUVEC-01" / "Plate1";
  test::write_tiny_screen(screen);
  fs::permissions(locked, fs::perms::none);
  std::error_code error;
  const bool readable = fs::directory_iterator(locked, error) != fs::directory_iterator();
  if (!readable) expect({"data", "check", "--data", screen}, 3, "Plate1: cannot be read");
  fs::permissions(locked, fs::perms::owner_all);
  if (readable) GTEST_SKIP() << "root reads every folder";
}

TEST_F(CommandLine, CheckTriesTheFolderOfTheRun) {
  const fs::path screen = folder_ / "screen", file = folder_ / "file";
  test::write_tiny_screen(screen);
  std::ofstream(file) << "mine\n";
  const std::vector<std::string> words = {"check",  "--recipe", "smoke/rxrx1/table1/adabn",
                                          "--data", screen,     "--out"};
  auto with = [&](const fs::path& out) {
    std::vector<std::string> all = words;
    all.push_back(out);
    return all;
  };
  expect(with(file), 5, "is no folder; choose another --out");
  test::write_tiny_run(folder_ / "run", screen, {});
  expect(with(folder_ / "run"), 2, "cannot be resumed with another recipe");
}

// A build with CUDA starts without a driver, too.
TEST_F(CommandLine, WithoutAGpuAutoTrainsOnTheCpu) {
  std::string why = "this build has no CUDA";
  if (kGpu == Device::cuda && gpu::properties(&why)) GTEST_SKIP() << "there is a GPU";
  const Outcome outcome = run({"bench", "--model", "resnet18", "--batch", "2", "--image-size", "32",
                               "--steps", "2", "--device", "auto"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("device: cpu ("), HasSubstr("no GPU found: " + why)));
  EXPECT_THAT(outcome.out, HasSubstr("images/s"));
}

TEST_F(CommandLine, DataThatIsNotThere) {
  expect({"data", "check", "--data", folder_ / "absent"}, 3, "absent");
  expect({"evaluate", folder_}, 3, "recipe.toml is missing");
  expect({"embed", folder_, "--out", folder_ / "e"}, 3, "recipe.toml is missing");
}

TEST_F(CommandLine, TheDryRunNeedsTheTableOnly) {
  std::ofstream table(folder_ / "metadata.csv");
  table
      << "site_id,well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,sirna_id\n";
  // 6 experiments of 96 wells, 4 of them for training: 768 images, of 6 classes.
  for (int experiment = 1; experiment <= 6; ++experiment)
    for (int well = 0; well < 96; ++well)
      for (int site = 1; site <= 2; ++site) {
        const std::string name = "HUVEC-0" + std::to_string(experiment);
        const int plate = well / 24 + 1, row = well % 24 / 12, column = well % 12 + 2;
        const std::string where = std::string(1, static_cast<char>('B' + row)) +
                                  (column < 10 ? "0" : "") + std::to_string(column);
        const std::string id = name + "_" + std::to_string(plate) + "_" + where;
        table << id << "_" << site << "," << id << ",HUVEC," << (experiment <= 4 ? "train" : "test")
              << "," << name << "," << plate << "," << where << "," << site << ",treatment,s"
              << well % 6 << "," << well % 6 << "\n";
      }
  table.close();
  const Outcome outcome =
      run({"reproduce", "rxrx1/table1", "--dry-run", "--data", folder_, "--seeds", "1,2"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  // Training and test images, steps an epoch (768 / 512), steps a run of 100 epochs.
  EXPECT_THAT(outcome.out, ContainsRegex("separated +baseline +768 +384 +1 +100 +2 +75.1"));
  EXPECT_THAT(outcome.out, HasSubstr("16 runs"));
}

// With images a step is tried, also of views, whose statistics would be read from the whole screen.
TEST_F(CommandLine, TheDryRunTriesAStepOfViews) {
  const fs::path screen = folder_ / "screen";
  ASSERT_EQ(run({"data", "synth", "--out", screen, "--experiments", "27", "--wells", "4",
                 "--sirnas", "2", "--image-size", "48", "--cell-types", "1"})
                .code,
            0);
  const Outcome outcome =
      run({"reproduce", "cdcl/table1", "--smoke", "--dry-run", "--data", screen});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("from trial steps on this machine"));
}

// What is wrong with a run of views is said before it begins, and leaves no folder behind.
TEST_F(CommandLine, RunsThatCannotTrainAreRefusedAndLeaveNoFolder) {
  const fs::path screen = folder_ / "screen", out = folder_ / "run";
  test::write_tiny_screen(screen);
  const auto refused = [&](const std::vector<std::string>& sets, int code,
                           const std::string& message) {
    std::vector<std::string> words = {
        "train", "--recipe", "smoke/cdcl/table1/cdcl", "--data", screen, "--out", out};
    for (const char* set :
         {"views.size=16", "views.local_size=8", "model.patch=4", "batch.anchors=6"})
      words.insert(words.end(), {"--set", set});
    for (const std::string& set : sets) words.insert(words.end(), {"--set", set});
    expect(words, code, message);
    EXPECT_FALSE(fs::exists(out)) << message;
  };
  refused({"batch.anchors=1"}, 2, "batch.anchors: 1 is out of range, 2 to ");
  refused({"batch.anchors=500"}, 2, "500");
  refused({"data.train_experiments=2"}, 3, "have no partner: their label is in one domain only");
  refused({"data.target=experiment"}, 2, "validation experiments are absent from training");
  refused({"data.validation_experiments=3"}, 2, "only 3 experiments are there to train on");
  refused({"data.experiments=['HUVEC-09']"}, 2, "HUVEC-09");
  refused({"data.fold=9"}, 2, "data.fold");
  refused({"views.size=64"}, 2, "views.size = 64 is larger than the images of 20 pixels");
  refused({"optim.momentum=0.5"}, 2,
          "--set 'optim.momentum=0.5':1:7: optim.momentum does nothing with optim.kind");
  refused({"model.pretrained=true"}, 2, "--weights FILE");
  std::ofstream(folder_ / "labels.csv") << "treatment,label\nno such treatment,a\n";
  refused({"data.labels=" + (folder_ / "labels.csv").string()}, 3,
          "labels.csv:2: treatment 'no such treatment' is not one of");
  // A plate without controls: of training, validation or test.
  for (const char* experiment : {"HUVEC-01", "HUVEC-03", "HUVEC-04"}) {
    const fs::path plate = screen / "images" / experiment / "Plate2";
    for (int site = 1; site <= 2; ++site)
      for (int channel = 1; channel <= 6; ++channel)
        fs::rename(plate / fmt::format("B05_s{}_w{}.png", site, channel),
                   folder_ / fmt::format("{}{}.png", site, channel));
    refused({}, 3, experiment);
    for (int site = 1; site <= 2; ++site)
      for (int channel = 1; channel <= 6; ++channel)
        fs::rename(folder_ / fmt::format("{}{}.png", site, channel),
                   plate / fmt::format("B05_s{}_w{}.png", site, channel));
  }
  // A folder that was there stays.
  fs::create_directories(out);
  expect({"train", "--recipe", "smoke/cdcl/table1/cdcl", "--data", screen, "--out", out}, 2,
         "views.size = 48 is larger");
  EXPECT_TRUE(fs::is_empty(out));
}

TEST_F(CommandLine, ARunCannotBeResumedWithAnotherRecipe) {
  {
    const RunDirectory run(folder_ / "run");
    run.start(load_recipe("smoke/rxrx1/table1/adabn"), {.recipe_hash = {},
                                                        .data = folder_,
                                                        .cache = {},
                                                        .version = {},
                                                        .commit = {},
                                                        .instruction_set = {}});
  }
  ASSERT_EQ(run({"data", "synth", "--out", folder_ / "screen", "--wells", "16", "--experiments",
                 "4", "--sirnas", "4", "--image-size", "32"})
                .code,
            0);
  expect({"train", "--recipe", "smoke/rxrx1/table1/adabn", "--set", "optim.lr=0.01", "--data",
          folder_ / "screen", "--out", folder_ / "run", "--resume", "auto"},
         2, "optim.lr: ");
}

}  // namespace
}  // namespace mono
