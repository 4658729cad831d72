#include "train/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <fstream>

#include "kernels/base/error.h"
#include "train/recipe.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Checkpoint : public ::testing::Test {
 protected:
  Checkpoint() {
    run_ = fs::temp_directory_path() / ("mono_checkpoint_" + std::to_string(::getpid()));
    fs::remove_all(run_);
  }
  ~Checkpoint() override { fs::remove_all(run_); }

  // A checkpoint of two tensors whose values tell the step.
  static fs::path save(CheckpointStore& store, int64_t step, size_t elements = 3) {
    const std::vector<float> weight(elements, static_cast<float>(step)), moment = {0.5f};
    CheckpointContent content;
    content.step = step;
    content.model = {{"conv.weight", {static_cast<int64_t>(elements)}, weight}};
    content.optimizer = {{"conv.weight.momentum", {1}, moment}};
    content.state["epoch"] = step / 10;
    content.recipe_hash = "0123456789abcdef";
    return store.save(content);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(run_ / "ckpt"))
      out.push_back(entry.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }
  static std::string content_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  static void write(const fs::path& file, const std::string& content) {
    std::ofstream(file, std::ios::binary).write(content.data(), static_cast<long>(content.size()));
  }

  fs::path run_;
};

TEST_F(Checkpoint, SavesPrunesAndLoadsTheNewest) {
  const RunDirectory run(run_);
  CheckpointStore store(run, 2);
  EXPECT_FALSE(store.load_newest().has_value());
  for (const int64_t step : {10, 20, 30}) save(store, step);
  EXPECT_THAT(names(), ElementsAre("step_00000020", "step_00000030"));
  const LoadedCheckpoint loaded = store.load_newest().value();
  EXPECT_EQ(loaded.step, 30);
  EXPECT_EQ(loaded.recipe_hash, "0123456789abcdef");
  EXPECT_EQ(loaded.model.values<float>("conv.weight"), std::vector<float>(3, 30.0f));
  EXPECT_EQ(loaded.optimizer.values<float>("conv.weight.momentum"), std::vector<float>{0.5f});
  EXPECT_EQ(loaded.state["epoch"].integer(), 3);
  EXPECT_FALSE(loaded.state["instruction_set"].string().empty());
}

TEST_F(Checkpoint, SavingAStepAgainReplacesIt) {
  const RunDirectory run(run_);
  CheckpointStore store(run, 2);
  const fs::path folder = save(store, 10);
  write(folder / "state.json", "damage");
  save(store, 10);
  EXPECT_THAT(names(), ElementsAre("step_00000010"));
  EXPECT_EQ(load_checkpoint(folder).step, 10);
}

// One bit in every byte of every file: found, named, and the older checkpoint taken.
TEST_F(Checkpoint, EveryFlippedBitIsDetected) {
  const RunDirectory run(run_);
  CheckpointStore store(run, 2);
  save(store, 10);
  const fs::path folder = save(store, 20);
  size_t flips = 0;
  for (const char* name :
       {"MANIFEST.json", "model.safetensors", "optimizer.safetensors", "state.json"}) {
    const std::string good = content_of(folder / name);
    for (size_t i = 0; i < good.size(); ++i, ++flips) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
      write(folder / name, bad);
      try {
        load_checkpoint(folder);
        ADD_FAILURE() << name << " byte " << i;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        EXPECT_THAT(error.what(), HasSubstr((folder / "").string()));
      }
    }
    EXPECT_EQ(store.load_newest().value().step, 10);
    write(folder / name, good);
  }
  EXPECT_GT(flips, 700u);
  EXPECT_EQ(store.load_newest().value().step, 20);
}

TEST_F(Checkpoint, EveryTruncationAndEveryMissingFileIsDetected) {
  const RunDirectory run(run_);
  CheckpointStore store(run, 2);
  const fs::path folder = save(store, 10);
  for (const char* name :
       {"MANIFEST.json", "model.safetensors", "optimizer.safetensors", "state.json"}) {
    const std::string good = content_of(folder / name);
    for (size_t length = 0; length < good.size(); ++length) {
      write(folder / name, good.substr(0, length));
      EXPECT_THROW(load_checkpoint(folder), Error) << name << " " << length;
    }
    write(folder / name, good + " ");
    EXPECT_THROW(load_checkpoint(folder), Error) << name;
    fs::remove(folder / name);
    EXPECT_THROW(load_checkpoint(folder), Error) << name;
    write(folder / name, good);
  }
  EXPECT_EQ(load_checkpoint(folder).step, 10);
}

TEST_F(Checkpoint, ARenamedFolderIsRefused) {
  const RunDirectory run(run_);
  CheckpointStore store(run, 2);
  fs::rename(save(store, 10), run_ / "ckpt" / "step_00000099");
  try {
    load_last_checkpoint(run_);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("is of step 10, but lies in step_00000099"));
  }
}

TEST_F(Checkpoint, OnlyDamagedCheckpointsAreAnErrorNotAFreshStart) {
  const RunDirectory run(run_);
  CheckpointStore store(run, 2);
  write(save(store, 10) / "state.json", "{}");
  try {
    store.load_newest();
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("none of 1 checkpoints verifies"));
    EXPECT_THAT(error.what(), HasSubstr("state.json"));
  }
}

TEST_F(Checkpoint, ARejectedCheckpointDoesNotCountAmongThoseKept) {
  const RunDirectory run(run_);
  CheckpointStore store(run, 2);
  save(store, 10);
  write(save(store, 30) / "state.json", "{}");
  EXPECT_EQ(store.load_newest().value().step, 10);
  save(store, 20);
  EXPECT_THAT(names(), ElementsAre("step_00000010", "step_00000020"));
}

TEST_F(Checkpoint, RefusesValuesThatAreNotFinite) {
  const RunDirectory run(run_);
  CheckpointStore store(run, 2);
  save(store, 10);
  const std::vector<float> bad = {1, std::nanf("")};
  CheckpointContent content;
  content.step = 20;
  content.model = {{"conv.weight", {2}, bad}};
  try {
    store.save(content);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::diverged);
    EXPECT_THAT(error.what(), HasSubstr("tensor 'conv.weight': element 1 is nan"));
  }
  EXPECT_THAT(names(), ElementsAre("step_00000010"));
}

TEST_F(Checkpoint, AFullDiskLeavesTheOldCheckpointAndNothingElse) {
  const RunDirectory run(run_);
  CheckpointStore store(run, 2);
  save(store, 10);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  // A limit in each of the four files, from the first byte of the smallest on.
  for (const rlim_t bytes : {1, 100, 400, 5'000, 100'000}) {
    rlimit limit = before;
    limit.rlim_cur = bytes;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    try {
      save(store, 20, 1 << 20);
      ADD_FAILURE() << bytes;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::storage);
      EXPECT_THAT(error.what(), HasSubstr("model.safetensors: write: File too large"));
    }
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_THAT(names(), ElementsAre("step_00000010"));
  }
  EXPECT_EQ(store.load_newest().value().step, 10);
}

TEST_F(Checkpoint, KilledWhileSavingLosesNothing) {
  {
    const RunDirectory run(run_);
    CheckpointStore store(run, 2);
    save(store, 10, 1 << 16);
  }
  int64_t newest = 10;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {  // saves until it is killed
      const RunDirectory run(run_);
      CheckpointStore store(run, 2);
      for (int64_t step = newest + 1;; ++step) save(store, step, 1 << 16);
    }
    ::usleep(static_cast<useconds_t>(20'000 + 37'001 * round % 200'000));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    const RunDirectory run(run_);
    CheckpointStore store(run, 2);
    for (const std::string& name : names()) EXPECT_THAT(name, HasSubstr("step_"));
    const int64_t step = load_last_checkpoint(run_).step;  // the newest itself verifies
    EXPECT_GE(step, newest);
    newest = step;
  }
  EXPECT_GT(newest, 10);
}

TEST_F(Checkpoint, ASecondWriterIsRefused) {
  const RunDirectory run(run_);
  try {
    RunDirectory second(run_);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_THAT(error.what(), HasSubstr("another train_rxrx is writing to this run"));
  }
}

TEST_F(Checkpoint, HalfWrittenFoldersOfKilledProcessesAreRemoved) {
  fs::create_directories(run_ / "ckpt" / ".tmp-1-0");
  write(run_ / "ckpt" / ".tmp-1-0" / "model.safetensors", "x");
  const RunDirectory run(run_);
  CheckpointStore store(run, 2);
  EXPECT_THAT(names(), ElementsAre());
}

TEST_F(Checkpoint, ARunRemembersItsRecipeAndRefusesAnother) {
  const RunDirectory run(run_);
  EXPECT_FALSE(run.has_run());
  const Recipe recipe = load_recipe("smoke/rxrx1/table1/adabn");
  run.start(recipe, {.recipe_hash = {},
                     .data = "/screens/a",
                     .cache = {},
                     .version = {},
                     .commit = {},
                     .instruction_set = {}});
  EXPECT_TRUE(run.has_run());
  EXPECT_EQ(read_run_info(run_).data, "/screens/a");
  EXPECT_EQ(read_run_info(run_).recipe_hash, recipe_hash(recipe));
  EXPECT_EQ(recipe_text(read_run_recipe(run_)), recipe_text(recipe));
  check_same_recipe(run_, recipe);
  try {
    check_same_recipe(run_, load_recipe("smoke/rxrx1/table1/adabn", {"optim.lr=0.01", "seed=9"}));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("seed: 1 in the run, 9 now"));
    EXPECT_THAT(error.what(), HasSubstr("optim.lr: "));
  }
  EXPECT_THROW(read_run_recipe(run_ / "ckpt"), Error);
}

}  // namespace
}  // namespace mono
