// Evaluation and embedding of a run on the tiny screen: what is written, and what is refused.
#include "train/evaluate/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>

#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"
#include "models/safetensors.h"
#include "tests/train/evaluate/tiny_run.h"
#include "train/checkpoint.h"
#include "train/data/csv.h"
#include "train/evaluate/embedding_set.h"
#include "train/evaluate/npy.h"
#include "train/json.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using test::write_tiny_run;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// One screen for all tests.
class Evaluate : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new TempDir;
    test::write_tiny_screen(screen_->path());
  }
  static void TearDownTestSuite() {
    delete screen_;
    screen_ = nullptr;
  }

  fs::path make_run(const std::vector<std::string>& sets) {
    write_tiny_run(folder_ / "run", screen_->path(), sets);
    return folder_ / "run";
  }
  // Runs the command; returns what it printed.
  static std::string run(const EvaluateOptions& options) {
    ::testing::internal::CaptureStdout();
    try {
      EXPECT_EQ(run_evaluate(options), 0);
    } catch (...) {
      ::testing::internal::GetCapturedStdout();
      throw;
    }
    return ::testing::internal::GetCapturedStdout();
  }
  static EvaluateOptions options_for(const fs::path& run, const std::string& split = "",
                                     const std::string& statistics = "") {
    EvaluateOptions options;
    options.run = run;
    options.split = split;
    options.statistics = statistics;
    options.compute.device = "cpu";
    return options;
  }
  // The error that evaluating gives.
  static std::string error_of(const EvaluateOptions& options, ErrorKind kind) {
    try {
      run(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  static TempDir* screen_;
  TempDir folder_;
};
TempDir* Evaluate::screen_ = nullptr;

const std::vector<std::string> kAdaBn = {"domain.adabn=true",
                                         "batch.one_experiment_per_group=true"};

double share_where_equal(const CsvTable& csv, const char* a, const char* b) {
  int equal = 0;
  for (const CsvRow& row : csv.rows)
    equal += row.fields[static_cast<size_t>(csv.column(a))] ==
             row.fields[static_cast<size_t>(csv.column(b))];
  return static_cast<double>(equal) / static_cast<double>(csv.rows.size());
}

TEST_F(Evaluate, WritesTheContractsJsonAndCsv) {
  const fs::path run_folder = make_run({});
  const std::string text = run(options_for(run_folder, "separated"));
  EXPECT_THAT(text, HasSubstr("separated split, running statistics, 16 test images, 4 classes"));
  EXPECT_THAT(text, HasSubstr("HUVEC-04"));

  const JsonView json =
      read_json_file((run_folder / "evaluation" / "separated-running.json").string());
  EXPECT_EQ(json["format_version"].integer(), 1);
  EXPECT_EQ(json["split"].string(), "separated");
  EXPECT_EQ(json["statistics"].string(), "running");
  EXPECT_EQ(json["images"].integer(), 16);
  EXPECT_EQ(json["classes"].integer(), 4);
  EXPECT_TRUE(json["batch_accuracy"].is_null());
  EXPECT_EQ(json["step"].integer(), 7);
  EXPECT_EQ(json["part"].string(), "test");
  const CsvTable csv =
      read_csv(run_folder / "evaluation" / json["predictions"].string(), "predictions");
  EXPECT_EQ(csv.columns, (std::vector<std::string>{"site_id", "sirna_id", "predicted", "experiment",
                                                   "predicted_experiment"}));
  ASSERT_EQ(csv.rows.size(), 16u);
  EXPECT_TRUE(
      std::ranges::is_sorted(csv.rows, {}, [](const CsvRow& row) { return row.fields[0]; }));
  for (const CsvRow& row : csv.rows) {
    EXPECT_EQ(row.fields[3], "HUVEC-04");
    EXPECT_THAT(row.fields[4], StartsWith("HUVEC-0"));
  }
  const double accuracy = share_where_equal(csv, "sirna_id", "predicted");
  EXPECT_DOUBLE_EQ(json["accuracy"].number(), accuracy);
  EXPECT_DOUBLE_EQ(json["accuracy_by_cell_type"]["HUVEC"].number(), accuracy);
  EXPECT_DOUBLE_EQ(json["accuracy_by_experiment"]["HUVEC-04"].number(), accuracy);
}

TEST_F(Evaluate, StratifiedGivesBatchAccuracy) {
  const fs::path run_folder = make_run({"data.split=stratified"});
  EXPECT_THAT(run(options_for(run_folder)),
              AllOf(HasSubstr("batch accuracy"), HasSubstr("stratified (by well) split")));
  const JsonView json =
      read_json_file((run_folder / "evaluation" / "stratified-running.json").string());
  const CsvTable csv =
      read_csv(run_folder / "evaluation" / json["predictions"].string(), "predictions");
  EXPECT_DOUBLE_EQ(json["batch_accuracy"].number(),
                   share_where_equal(csv, "experiment", "predicted_experiment"));
  std::set<std::string> experiments;
  for (const CsvRow& row : csv.rows) experiments.insert(row.fields[3]);
  EXPECT_EQ(experiments.size(), 4u);
}

TEST_F(Evaluate, WithoutABatchHeadThereIsNoBatchAccuracy) {
  const fs::path run_folder = make_run({"data.split=stratified", "batch_head.mode=none"});
  run(options_for(run_folder));
  const JsonView json =
      read_json_file((run_folder / "evaluation" / "stratified-running.json").string());
  EXPECT_TRUE(json["batch_accuracy"].is_null());
  const CsvTable csv =
      read_csv(run_folder / "evaluation" / json["predictions"].string(), "predictions");
  EXPECT_EQ(csv.rows[0].fields[4], "");
}

TEST_F(Evaluate, AnotherScreenDoesNotReplaceTheRunsOwnFigures) {
  const fs::path run_folder = make_run({});
  run(options_for(run_folder));
  const fs::path own = run_folder / "evaluation" / "separated-running.json";
  const std::string before = test::read_text(own);
  test::TempDir dir;
  fs::copy(read_run_info(run_folder).data, dir / "other", fs::copy_options::recursive);
  const fs::path one = dir / "other" / "images" / "HUVEC-01" / "Plate1";
  fs::remove(fs::directory_iterator(one)->path());
  EvaluateOptions options = options_for(run_folder);
  options.data = dir / "other";
  EXPECT_THAT(run(options), HasSubstr("evaluation/on-other/separated-running.json"));
  EXPECT_EQ(test::read_text(own), before);
}

TEST_F(Evaluate, Bf16ActivationsGiveFiniteFigures) {
  const fs::path run_folder = make_run(
      {"train.precision=bf16", "domain.adabn=true", "batch.one_experiment_per_group=true"});
  run(options_for(run_folder));
  const JsonView json =
      read_json_file((run_folder / "evaluation" / "separated-experiment.json").string());
  EXPECT_GT(json["loss"].number(), 0);
  EXPECT_LT(json["loss"].number(), 20);
}

TEST_F(Evaluate, AdaBnRecipesUseTheExperimentsStatisticsAndWriteThem) {
  const fs::path run_folder = make_run(kAdaBn);
  EXPECT_THAT(run(options_for(run_folder)), HasSubstr("experiment statistics"));
  const SafetensorsFile file(
      (run_folder / "evaluation" / "separated-experiment.safetensors").string());
  EXPECT_EQ(file.metadata().at("experiments"), R"(["HUVEC-04"])");
  const TrainedRun loaded = load_run(run_folder, "", "", "");
  for (const NormLayer& layer : loaded.model->norms().layers()) {
    EXPECT_EQ(file.entry(layer.name + ".mean").shape, (std::vector<int64_t>{1, layer.channels}));
    for (const float variance : file.values<float>(layer.name + ".variance"))
      EXPECT_GE(variance, 0) << layer.name;
    EXPECT_GE(file.values<double>(layer.name + ".count")[0], 16) << layer.name;
  }
}

TEST_F(Evaluate, TargetExperimentOnUnseenExperimentsSaysThatItLooksAtTrainingImages) {
  const fs::path run_folder = make_run({"data.target=experiment"});
  EXPECT_THAT(run(options_for(run_folder)), HasSubstr("48 TRAINING images"));
  const fs::path file = run_folder / "evaluation" / "separated-running-training-images.json";
  const JsonView json = read_json_file(file.string());
  EXPECT_EQ(json["part"].string(), "train");
  EXPECT_EQ(json["target"].string(), "experiment");
  const CsvTable csv =
      read_csv(run_folder / "evaluation" / json["predictions"].string(), "predictions");
  EXPECT_EQ(csv.rows[0].fields[2], "");
  EXPECT_DOUBLE_EQ(json["accuracy"].number(),
                   share_where_equal(csv, "experiment", "predicted_experiment"));
}

// The outputs of every site, in ascending order of sites.
std::map<int, std::vector<float>> outputs(const TrainedRun& run, const std::vector<int>& sites,
                                          StatisticsMode mode) {
  std::map<int, std::vector<float>> rows;
  forward_images(
      *run.setup, *run.model, sites, {.task = "test", .mode = mode},
      [&](std::span<const int> batch, const ModelOutput& output) {
        for (size_t n = 0; n < batch.size(); ++n)
          EXPECT_TRUE(rows.emplace(batch[n], row_of(output.y.value(), static_cast<int>(n))).second)
              << "site " << batch[n] << " twice";
      });
  return rows;
}

TEST_F(Evaluate, EveryModeIsIndependentOfOrderThreadsAndWorkers) {
  TrainedRun run = load_run(make_run({"data.split=stratified"}), "", "", "");
  std::vector<int> shuffled = run.sites;
  Philox(1, Purpose::test).shuffle(shuffled);
  const int threads = num_threads();
  std::map<int, std::vector<float>> running;
  for (const StatisticsMode mode :
       {StatisticsMode::running, StatisticsMode::experiment, StatisticsMode::group}) {
    set_num_threads(1);
    run.setup->recipe.loader.workers = 0;
    const auto one = outputs(run, run.sites, mode);
    set_num_threads(3);
    run.setup->recipe.loader.workers = 3;
    const auto three = outputs(run, shuffled, mode);
    EXPECT_EQ(one.size(), run.sites.size());
    EXPECT_EQ(one, three) << name_of(mode);
    if (mode == StatisticsMode::running)
      running = one;
    else
      EXPECT_NE(one, running) << name_of(mode);
  }
  set_num_threads(threads);
}

TEST_F(Evaluate, StatisticsOfAnExperimentNeedTwoImages) {
  const TrainedRun run = load_run(make_run({}), "", "", "");
  const std::vector<int> one = {run.sites[0]};
  EXPECT_EQ(outputs(run, one, StatisticsMode::running).size(), 1u);
  try {
    outputs(run, one, StatisticsMode::experiment);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("HUVEC-04"));
  }
}

TEST_F(Evaluate, RefusesTheOtherSplitNamingBoth) {
  const std::string message = error_of(options_for(make_run({}), "stratified"), ErrorKind::usage);
  EXPECT_THAT(message, HasSubstr("data.split = separated"));
  EXPECT_THAT(message, HasSubstr("--split stratified"));
}

TEST_F(Evaluate, RefusesUnknownWords) {
  const fs::path run_folder = make_run({});
  EXPECT_THAT(error_of(options_for(run_folder, "seperated"), ErrorKind::usage),
              HasSubstr("did you mean 'separated'?"));
  EXPECT_THAT(error_of(options_for(run_folder, "", "runing"), ErrorKind::usage),
              HasSubstr("did you mean 'running'?"));
}

TEST_F(Evaluate, RefusesAMissingRun) {
  EXPECT_THAT(error_of(options_for(folder_ / "nowhere"), ErrorKind::data), HasSubstr("nowhere"));
}

TEST_F(Evaluate, RefusesARunWithoutCheckpoint) {
  const fs::path run_folder = make_run({});
  fs::remove_all(run_folder / "ckpt");
  EXPECT_THAT(error_of(options_for(run_folder), ErrorKind::data), HasSubstr("ckpt"));
}

TEST_F(Evaluate, RefusesADamagedCheckpointNamingTheFile) {
  const fs::path run_folder = make_run({});
  const fs::path file = list_checkpoints(run_folder).at(0) / "model.safetensors";
  std::string content = test::read_text(file);
  content[content.size() / 2] = static_cast<char>(content[content.size() / 2] ^ 16);
  test::write_text(file, content);
  EXPECT_THAT(error_of(options_for(run_folder), ErrorKind::data), HasSubstr("model.safetensors"));
  EXPECT_FALSE(fs::exists(run_folder / "evaluation" / "separated-running.json"));
}

TEST_F(Evaluate, RefusesAScreenThatIsGone) {
  EvaluateOptions options = options_for(make_run({}));
  options.data = folder_ / "no-screen";
  EXPECT_THAT(error_of(options, ErrorKind::data), HasSubstr("no-screen"));
}

// ---- embed ------------------------------------------------------------------------------------

struct Npy {
  std::string header;
  std::vector<float> values;
};

Npy read_npy(const fs::path& path) {
  const std::string bytes = test::read_text(path);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const size_t length =
      static_cast<unsigned char>(bytes[8]) + 256u * static_cast<unsigned char>(bytes[9]);
  EXPECT_EQ((10 + length) % 64, 0u);
  EXPECT_EQ(bytes[10 + length - 1], '\n');
  Npy npy{bytes.substr(10, length), std::vector<float>((bytes.size() - 10 - length) / 4)};
  if (!npy.values.empty())
    std::memcpy(npy.values.data(), bytes.data() + 10 + length, npy.values.size() * 4);
  return npy;
}

TEST(Npy, HeaderIsNumPysForAnyShape) {
  const TempDir folder;
  for (int64_t rows : {0, 1, 9, 123456}) {
    const std::vector<float> values(static_cast<size_t>(rows) * 3, 0.5f);
    write_npy(folder / "a.npy", values, rows, 3);
    const Npy npy = read_npy(folder / "a.npy");
    EXPECT_THAT(npy.header, StartsWith("{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                                       std::to_string(rows) + ", 3), }"));
    EXPECT_EQ(npy.values, values);
  }
}

TEST_F(Evaluate, EmbedWritesTheClassifiersInputAndItsMetadata) {
  EmbedOptions options;
  options.run = make_run(kAdaBn);
  options.out = folder_ / "embedding";
  options.compute.device = "cpu";
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(run_embed(options), 0);
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("16 test images"));

  const Npy npy = read_npy(options.out / "embeddings.npy");
  EXPECT_THAT(npy.header, HasSubstr("(16, 16)"));
  const CsvTable csv = read_csv(options.out / "metadata.csv", "metadata.csv");
  ASSERT_EQ(csv.rows.size(), 16u);
  for (const char* column : {"Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_Batch",
                             "Metadata_CellType", "Metadata_Perturbation"})
    EXPECT_GE(csv.column(column), 0) << column;
  EXPECT_EQ(csv.columns[0], "site_id");

  const TrainedRun run = load_run(options.run, "", "", "");
  std::map<int, std::vector<float>> expected;
  forward_images(*run.setup, *run.model, run.sites,
                 {.task = "test", .mode = StatisticsMode::experiment},
                 [&](std::span<const int> sites, const ModelOutput& output) {
                   for (size_t n = 0; n < sites.size(); ++n)
                     expected[sites[n]] = row_of(output.embedding.value(), static_cast<int>(n));
                 });
  size_t row = 0;
  float largest = 0;
  for (const auto& [site, embedding] : expected) {
    EXPECT_EQ(csv.rows[row].fields[0], run.setup->dataset.sites[static_cast<size_t>(site)].site_id);
    EXPECT_EQ(csv.rows[row].fields[static_cast<size_t>(csv.column("Metadata_Batch"))], "HUVEC-04");
    for (size_t d = 0; d < 16; ++d) {
      EXPECT_EQ(npy.values[row * 16 + d], embedding[d]);
      EXPECT_GE(embedding[d], 0);
      largest = std::max(largest, embedding[d]);
    }
    ++row;
  }
  EXPECT_GT(largest, 0);
}

// A network is carried over to another screen: its features need none of that screen's classes.
TEST_F(Evaluate, EmbedsAScreenOfOtherClassesAndDoesNotEvaluateIt) {
  const fs::path other = folder_ / "other";
  fs::copy(screen_->path(), other, fs::copy_options::recursive);
  std::string table = read_file((other / "metadata.csv").string(), 1 << 20), changed;
  for (size_t begin = 0; begin < table.size();) {
    const size_t end = table.find('\n', begin);
    std::string line = table.substr(begin, end - begin);
    if (line.starts_with("HUVEC-01") && line.ends_with(",3"))
      line = line.substr(0, line.rfind(',', line.size() - 3)) + ",another,4";
    changed += line + "\n";
    begin = end + 1;
  }
  ASSERT_NE(changed, table);
  std::ofstream(other / "metadata.csv") << changed;

  EmbedOptions options;
  options.run = make_run(kAdaBn);
  options.compute.device = "cpu";
  const auto embed = [&](const char* out, const fs::path& data) {
    options.out = folder_ / out;
    options.data = data;
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(run_embed(options), 0);
    ::testing::internal::GetCapturedStdout();
    return read_npy(options.out / "embeddings.npy").values;
  };
  EXPECT_EQ(embed("embedding", other), embed("own", {}));  // the same test images
  const CsvTable csv = read_csv(folder_ / "embedding" / "metadata.csv", "metadata.csv");
  EXPECT_EQ(csv.rows[0].fields[static_cast<size_t>(csv.column("Metadata_Predicted"))], "");

  EvaluateOptions evaluate = options_for(options.run);
  evaluate.data = other;
  EXPECT_THAT(error_of(evaluate, ErrorKind::data),
              AllOf(HasSubstr(other.string()), HasSubstr("5 classes"), HasSubstr("embed")));
}

TEST_F(Evaluate, EmbeddingsOfBothPartsAreABankAndItsQueries) {
  EmbedOptions options;
  options.run = make_run(kAdaBn);
  options.out = folder_ / "both";
  options.parts = {"test", "train"};
  options.compute.device = "cpu";
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(run_embed(options), 0);
  EXPECT_THAT(::testing::internal::GetCapturedStdout(),
              HasSubstr("48 training and 16 test images"));
  const EmbeddingSet set = read_embeddings(options.out);
  EXPECT_EQ(set.rows(), 64);
  EXPECT_EQ(std::ranges::count(set.part, Part::train), 48);
  EXPECT_EQ(set.domain.count(), 4);
  EXPECT_EQ(set.label.count(), 4);
  EXPECT_TRUE(std::ranges::is_sorted(set.ids));

  // The test images have the bits that they have alone.
  EmbedOptions alone = options;
  alone.out = folder_ / "alone";
  alone.parts.clear();
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(run_embed(alone), 0);
  ::testing::internal::GetCapturedStdout();
  std::vector<uint8_t> is_test;
  for (const Part part : set.part) is_test.push_back(part == Part::test);
  EXPECT_EQ(set.subset(is_test).features.values, read_embeddings(alone.out).features.values);

  EvaluateOptions evaluation;
  evaluation.embeddings.folder = options.out;
  evaluation.embeddings.probe_epochs = 1;
  evaluation.compute.device = "cpu";
  EXPECT_THAT(run(evaluation), AllOf(HasSubstr("bank: 48 train images of 3 batches"),
                                     HasSubstr("queries: 16 test images of 1 batch"),
                                     HasSubstr("all 16 samples are of one batch")));
  options.parts = {"tests"};
  EXPECT_THROW(run_embed(options), Error);
  options.parts = {"validation"};
  EXPECT_THROW(run_embed(options), Error);
}

}  // namespace
}  // namespace mono
