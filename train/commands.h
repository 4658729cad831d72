// The commands of train_rxrx: what each takes, and the function that does it.
//
// command_line.cpp fills these structs and calls the function; nothing behind it sees a flag. Each
// prints its result to stdout and its progress to stderr, returns the exit code, and throws
// mono::Error for everything that ends it. The `data` commands are in train/data/commands.h and
// train/data/synth.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "train/evaluate/embedding_columns.h"

namespace mono {

// Flags that every command has which computes.
struct ComputeOptions {
  std::string device = "auto";   // auto | cpu | cuda | emulated; see train/device.h
  int threads = 0;               // 0: the cores that this process may use
  bool deterministic = false;    // the CPU always is
  std::string kernels = "auto";  // auto | reference | onednn | implicit_gemm, for comparisons
};

struct TrainOptions {
  std::string recipe;             // name or .toml
  std::vector<std::string> sets;  // KEY=VALUE, in order; --precision and --seed are sets as well
  std::filesystem::path data;
  std::filesystem::path cache;  // of `data pack`; empty: PNG files
  std::filesystem::path out;
  bool resume = false;       // --resume auto: from the newest good checkpoint, or afresh
  bool plots = false;        // RUN/plots.html after every epoch
  bool tensorboard = false;  // RUN/tensorboard/: event files
  ComputeOptions compute;
};
int run_train(const TrainOptions& options);

// `evaluate --embeddings DIR`: an embedding instead of a run.
struct EmbeddingsOptions {
  std::filesystem::path folder;  // of embeddings.npy and metadata.csv; never written to
  std::filesystem::path out;     // receives the report as JSON; empty: nothing is written
  bool json = false;             // JSON on stdout instead of the table
  EmbeddingColumns columns;
  int k = 10;                // of k-NN
  int kbet_neighbours = 0;   // 0: the rule of kbet.h
  bool cdcl_compat = false;  // kBET as CDCL's code has it
  int probe_epochs = 100;    // of the linear probe; 0: without it
};
int run_evaluate_embeddings(const EmbeddingsOptions& options, const ComputeOptions& compute);

struct EvaluateOptions {
  std::filesystem::path run;     // or:
  EmbeddingsOptions embeddings;  // where its folder is not empty
  std::string split;             // separated | stratified; empty: the run's own
  std::string statistics;        // experiment | group | running; empty: as the recipe trains
  std::filesystem::path data;    // empty: where the run was trained
  std::filesystem::path cache;   // empty: the one of the run
  ComputeOptions compute;
};
int run_evaluate(const EvaluateOptions& options);

struct EmbedOptions {
  std::filesystem::path run;
  std::filesystem::path out;  // receives embeddings.npy and metadata.csv
  std::vector<std::string>
      parts;               // train, validation, test; empty: the images that figures are made of
  std::string split;       // as in EvaluateOptions
  std::string statistics;  // as in EvaluateOptions
  std::filesystem::path data;  // empty: where the run was trained
  std::filesystem::path cache;
  ComputeOptions compute;
};
int run_embed(const EmbedOptions& options);

// `explain`: what a method of batch correction does inside of a run, as a page of figures.
struct ExplainOptions {
  std::string what;  // adabn | gradient-reversal | centring
  std::filesystem::path run;
  std::filesystem::path out;   // FILE.html, numbers in FILE.json; empty: RUN/explain/WHAT.html
  std::filesystem::path data;  // empty: where the run was trained
  std::filesystem::path cache;
  int images = 200;  // of each experiment, at most
  ComputeOptions compute;
};
int run_explain(const ExplainOptions& options);

struct ReproduceOptions {
  std::string table = "rxrx1/table1";  // an experiment or a group (train/reproduce/catalogue.h)
  bool smoke = false;                  // the smoke/ recipes of the same rows
  bool dry_run = false;                // print what would be done; needs only metadata.csv
  std::vector<std::string> methods;    // some rows; empty: all
  std::vector<int64_t> seeds;          // empty: as the recipes say, from their `seed` on
  std::vector<std::string> grid;       // KEY=V1,V2,...: the best by validation
  std::vector<std::string> sets;
  std::filesystem::path data;     // empty in a rehearsal: screens are made in OUT
  std::filesystem::path cache;    // of data
  std::filesystem::path cpg0004;  // the other screen, of experiments on CPG0004
  std::filesystem::path cpg0004_cache;
  std::filesystem::path out;
  ComputeOptions compute;
};
int run_reproduce(const ReproduceOptions& options);

// `report`: one page about runs, and its figures as files beside it.
struct RunReportOptions {
  std::vector<std::filesystem::path> runs;  // runs, or folders with runs below
  std::filesystem::path out;  // empty: report.html in the only folder of `runs`, or here
  int most_points = 20000;    // of the UMAP; of more images a sample; 0: without it
};
int run_report(const RunReportOptions& options);

// `check`: everything that can fail later, tried in a minute.
struct PreflightOptions {
  std::string recipe;
  std::vector<std::string> sets;
  std::filesystem::path data;
  std::filesystem::path cache;
  std::filesystem::path out;  // tried for space and a checkpoint; empty: the temporary folder
  bool deep = false;          // decode every image
  ComputeOptions compute;
};
int run_check(const PreflightOptions& options);

struct ListOptions {
  std::string what;  // recipes | models | devices; empty: all three
};
int run_list(const ListOptions& options);

struct BenchOptions {
  std::string model;
  int channels = 6;
  int classes = 1139;
  int image_size = 128;
  int batch = 8;
  std::string step = "supervised";  // or cdcl: a batch is of pairs
  int warm_up = 2;
  int steps = 10;
  std::string precision = "f32";  // f32 | bf16
  bool json = false;
  bool graph = false;      // record the step once and replay it (a GPU's)
  double link_gbytes = 0;  // as if gradients went over a network, 1e9 bytes/s; 0: none
  double link_us = 20;     // its latency, of each bucket
  double bucket_mb = 25;
  bool bf16_gradients = false;
  bool nccl = false;  // sums over NCCL, of one rank
  ComputeOptions compute;
};
int run_bench(const BenchOptions& options);

struct ForwardOptions {
  std::string model;
  int channels = 6;
  int classes = 1139;
  std::string mode = "eval";  // train | eval
  std::filesystem::path weights, input, output;
  bool backward = false;
  std::string precision = "f32";  // f64 | f32 | bf16
  std::string position_rule;      // cdcl | dino | deit | timm; empty: cdcl, or no DeiT
  ComputeOptions compute;
};
int run_forward(const ForwardOptions& options);

}  // namespace mono
