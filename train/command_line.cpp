#include "train/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"
#include "runtime/communicator.h"
#include "train/commands.h"
#include "train/data/commands.h"
#include "train/data/synth.h"
#include "train/recipe.h"
#include "train/report/screen_report.h"
#include "train/version.h"

namespace mono {
namespace {

constexpr const char* kExitCodes = R"(Exit codes:
  0  done                            4  diverged: a loss or weight that is not finite
  1  a fault of this program         5  storage: a write that failed, a full disk
  2  command line or recipe          6  device or collective
  3  data: the content of a file     7  reproduce: an asserted order did not come out
                                    75  interrupted by a signal, everything saved)";

// Each add_ function declares a command, binds its flags to an option struct that it owns, and
// returns what runs it.
using Run = std::function<int()>;

struct Commands {
  CLI::App app{"Train and evaluate models against batch effects in cell microscopy."};
  Run selected;

  // A command `name` of `parent` whose options are a new Options; `bind` declares its flags.
  template <class Options>
  void add(CLI::App& parent, const char* name, const char* help, int (*run)(const Options&),
           void (*bind)(CLI::App&, Options&)) {
    CLI::App* command = parent.add_subcommand(name, help);
    const auto options = std::make_shared<Options>();
    bind(*command, *options);
    command->callback(
        [this, options, run] { selected = [options, run] { return run(*options); }; });
  }
};

void bind_list(CLI::App& command, ListOptions& options) {
  command.add_option("what", options.what, "recipes, models or devices; all without it");
}

void bind_compute(CLI::App& command, ComputeOptions& options) {
  command.add_option("--device", options.device, "auto, cpu, cuda or emulated");
  command.add_option("--threads", options.threads, "compute threads; 0: all cores of this process");
  command.add_flag("--deterministic", options.deterministic, "same bits every time (CPU: always)");
  command.add_option("--kernels", options.kernels,
                     "auto, reference, onednn or implicit_gemm: for comparisons");
}

void bind_forward(CLI::App& command, ForwardOptions& options) {
  command.option_defaults()->always_capture_default();
  command.add_option("--model", options.model, "as in `list models`")->required();
  command.add_option("--channels", options.channels, "input channels");
  command.add_option("--classes", options.classes, "outputs");
  command.add_option("--mode", options.mode, "train or eval");
  command.add_option("--weights", options.weights, "W: the PyTorch state dict")->required();
  command.add_option("--input", options.input, "X: x, with --backward dy, optionally domain")
      ->required();
  command.add_option("--output", options.output, "Y: receives y, grad.*, buffer.*")->required();
  command.add_flag("--backward", options.backward, "gradients of x and every parameter");
  command.add_option("--precision", options.precision, "f64, f32 or bf16");
  command.add_option("--position-rule", options.position_rule,
                     "DeiT at other sizes than 224: cdcl (the default), dino, deit or timm");
  bind_compute(command, options.compute);
}

void bind_bench(CLI::App& command, BenchOptions& options) {
  command.option_defaults()->always_capture_default();
  command.add_option("--model", options.model, "as in `list models`")->required();
  command.add_option("--channels", options.channels, "input channels");
  command.add_option("--classes", options.classes, "outputs");
  command.add_option("--image-size", options.image_size, "pixels a side");
  command.add_option("--batch", options.batch, "images a step");
  command.add_option("--step", options.step, "supervised, or cdcl: --batch pairs of eight views");
  command.add_option("--warm-up", options.warm_up, "steps before the clock starts");
  command.add_option("--steps", options.steps, "timed steps");
  command.add_option("--precision", options.precision, "f32 or bf16");
  command.add_flag("--json", options.json, "one JSON object on stdout");
  command.add_flag("--graph", options.graph, "record the step once and replay it (a GPU only)");
  command.add_option("--link-gbytes", options.link_gbytes,
                     "as if gradients went over a network: 1e9 bytes/s (0: none)");
  command.add_option("--link-us", options.link_us, "its latency, microseconds a bucket");
  command.add_option("--bucket-mb", options.bucket_mb, "gradients that are sent together, MiB");
  command.add_flag("--bf16-gradients", options.bf16_gradients, "sent rounded to bf16");
  command.add_flag("--nccl", options.nccl, "sent through NCCL by one rank (a GPU only)");
  bind_compute(command, options.compute);
}

// Commands that read a screen.
void bind_data(CLI::App& command, std::filesystem::path& data) {
  command.add_option("--data", data, "the screen: its table and its images")->required();
}

void bind_sets(CLI::App& command, std::vector<std::string>& sets) {
  command.add_option("--set", sets, "KEY=VALUE, e.g. optim.lr=0.05; any number of times")
      ->allow_extra_args(false);
}

// What training starts from: other spellings of keys. --set comes after all of these and wins.
void bind_start(CLI::App& command, std::vector<std::string>& sets) {
  command.add_option_function<std::string>(
      "--weights",
      [&sets](const std::string& file) {
        sets.insert(sets.begin(), text_set("model.weights", file));
      },
      "ImageNet weights of the backbone (.safetensors), as --set model.weights=...");
  command.add_flag_callback(
      "--from-scratch", [&sets] { sets.insert(sets.begin(), "model.from_scratch=true"); },
      "random weights where the recipe wants ImageNet's; labels every result");
}

// The recipe, and flags that are another spelling of one of its keys.
void bind_recipe(CLI::App& command, std::string& recipe, std::vector<std::string>& sets) {
  command.add_option("--recipe", recipe, "a name of `list recipes`, or a .toml file")->required();
  bind_sets(command, sets);
  const auto shorthand = [&](const char* flag, const char* key, const char* help) {
    command.add_option_function<std::string>(
        flag,
        [&sets, key = std::string(key)](const std::string& value) {
          sets.insert(sets.begin(), key + "=" + value);
        },
        help);
  };
  bind_start(command, sets);
  shorthand("--seed", "seed", "as --set seed=N");
  shorthand("--precision", "train.precision", "f32 or bf16, as --set train.precision=...");
  shorthand("--on-bad-image", "data.on_bad_image", "fail or drop, as --set data.on_bad_image=...");
}

void bind_cache(CLI::App& command, std::filesystem::path& cache) {
  command.add_option("--cache", cache, "the cache file of `data pack`; without it PNG files");
}

void bind_train(CLI::App& command, TrainOptions& options) {
  bind_recipe(command, options.recipe, options.sets);
  bind_data(command, options.data);
  bind_cache(command, options.cache);
  command.add_option("--out", options.out, "the run's folder")->required();
  command.add_option_function<std::string>(
      "--resume",
      [&options](const std::string& how) {
        if (how != "auto") throw CLI::ValidationError("--resume", "takes auto, not '" + how + "'");
        options.resume = true;
      },
      "auto: from the newest good checkpoint in --out, or afresh where there is none");
  command.add_flag("--plots", options.plots, "curves in OUT/plots.html, anew after every epoch");
  command.add_flag("--tensorboard", options.tensorboard,
                   "event files in OUT/tensorboard, for TensorBoard");
  bind_compute(command, options.compute);
}

void bind_check(CLI::App& command, PreflightOptions& options) {
  bind_recipe(command, options.recipe, options.sets);
  bind_data(command, options.data);
  bind_cache(command, options.cache);
  command.add_option("--out", options.out, "where the run is to be; without it a temporary folder");
  command.add_flag("--deep", options.deep, "decode every image, not only the headers");
  bind_compute(command, options.compute);
}

// `evaluate` and `embed`: a run, looked at.
template <class Options>
void bind_run(CLI::App& command, Options& options) {
  command.add_option("run", options.run, "the folder of a trained run");
  command.add_option("--split", options.split,
                     "separated or stratified; must be the one of the run");
  command.add_option("--statistics", options.statistics,
                     "of batch norm: experiment, group or running; as trained without it");
  command.add_option("--data", options.data, "the screen, if it is no longer where it was");
  command.add_option("--cache", options.cache, "its cache file, likewise");
  bind_compute(command, options.compute);
}

void bind_embeddings(CLI::App& command, EmbeddingsOptions& options) {
  constexpr const char* kGroup = "Instead of a run, an embedding";
  const auto mine = [&](CLI::Option* option) { return option->group(kGroup); };
  CLI::Option* embeddings = mine(command.add_option("--embeddings", options.folder,
                                                    "the folder of embeddings.npy, metadata.csv"));
  mine(command.add_option("--out", options.out, "receives the report as JSON"));
  mine(command.add_flag("--json", options.json, "JSON on stdout instead of the table"));
  const auto column = [&](const char* flag, std::string& name, const char* what) {
    mine(command.add_option(flag, name, std::string("the column of ") + what));
  };
  column("--label", options.columns.label, "what is classified");
  column("--batch", options.columns.domain, "the batch: experiment or plate");
  column("--plate", options.columns.plate, "the plate");
  column("--well", options.columns.well, "the well");
  column("--well-type", options.columns.well_type, "treatment and controls");
  column("--moa", options.columns.moa, "the mechanism of action");
  column("--compound", options.columns.compound, "the compound");
  column("--part", options.columns.part, "train, validation, test");
  mine(command.add_option("--negative-control", options.columns.negative_control,
                          "the value that marks negative controls"));
  mine(command.add_option("--k", options.k, "neighbours of k-NN")->check(CLI::Range(1, 10000)));
  mine(command
           .add_option("--kbet-k", options.kbet_neighbours,
                       "of kBET; without it 0.5 % of the images, at least 5 a batch")
           ->check(CLI::Range(2, 1000000)));
  mine(command.add_flag("--cdcl-compat", options.cdcl_compat, "kBET as CDCL's code has it"));
  mine(command
           .add_option("--probe-epochs", options.probe_epochs, "of the linear probe; 0: without it")
           ->check(CLI::Range(0, 100000)));
  for (CLI::Option* option : command.get_options()) {
    if (option == embeddings) continue;
    if (option->get_group() == kGroup) option->needs(embeddings);
    for (const char* of_a_run : {"--split", "--statistics", "--data", "--cache"})
      if (option->check_name(of_a_run)) option->excludes(embeddings);
  }
}

void bind_evaluate(CLI::App& command, EvaluateOptions& options) {
  bind_run(command, options);
  bind_embeddings(command, options.embeddings);
}

void bind_embed(CLI::App& command, EmbedOptions& options) {
  bind_run(command, options);
  command.get_option("run")->required();
  command.add_option("--out", options.out, "receives embeddings.npy and metadata.csv")->required();
  command
      .add_option("--parts", options.parts,
                  "train,validation,test: which images; test images without it")
      ->delimiter(',')
      ->allow_extra_args(false);
}

void bind_explain(CLI::App& command, ExplainOptions& options) {
  command
      .add_option("what", options.what,
                  "adabn: every batch norm before and after an experiment's own statistics; "
                  "gradient-reversal: what both heads ask of every layer; centring: what a teacher "
                  "puts out for each domain (DINO and CDCL)")
      ->required();
  command.add_option("--run", options.run, "the folder of a trained run")->required();
  command.add_option("--out", options.out,
                     "the page, FILE.html, its numbers beside it as FILE.json; without it "
                     "RUN/explain/WHAT.html");
  command.add_option("--data", options.data, "the screen, if it is no longer where it was");
  bind_cache(command, options.cache);
  command.add_option("--images", options.images, "of each experiment, at most; 4,000 in all")
      ->capture_default_str();
  bind_compute(command, options.compute);
}

void bind_reproduce(CLI::App& command, ReproduceOptions& options) {
  command
      .add_option("experiment", options.table,
                  "rxrx1/table1 to table6, rxrx1/fig1c to fig10, cdcl/table1 to table5, cdcl/fig1 "
                  "to fig3, cdcl/tvn, cdcl/combat, cdcl/ablation, cdcl/backbone, "
                  "cdcl/adabn-supervised, wilds; all of a paper: rxrx1, cdcl")
      ->required();
  command.add_flag("--smoke", options.smoke, "a rehearsal: the same methods for two cores");
  command.add_flag("--dry-run", options.dry_run, "say what it takes; needs metadata.csv only");
  command.add_option("--methods", options.methods, "some rows only: baseline,adabn")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--seeds", options.seeds, "these seeds: 1,2,3; as the recipes say without it")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      .add_option("--grid", options.grid,
                  "KEY=V1,V2,...: train with each, evaluate the best by validation")
      ->allow_extra_args(false);
  bind_sets(command, options.sets);
  bind_start(command, options.sets);
  command.add_option("--data", options.data,
                     "the screen: its table and its images; --smoke makes one where none is given");
  bind_cache(command, options.cache);
  command.add_option("--cpg0004", options.cpg0004,
                     "the screen of the experiments on CPG0004 (cdcl/table2a)");
  command.add_option("--cpg0004-cache", options.cpg0004_cache, "its cache file");
  command.add_option("--out", options.out,
                     "receives the runs, the tables and results.json; not for --dry-run");
  bind_compute(command, options.compute);
  command.footer(
      "Exit codes: 7 where an asserted order of methods did not come out, after everything was "
      "written; that of\nthe first run that failed; 75 where it was interrupted: the same call "
      "goes on.");
}

void bind_report(CLI::App& command, RunReportOptions& options) {
  command.add_option("runs", options.runs, "runs, or folders with runs below")->required();
  command.add_option("--out", options.out,
                     "the .html to write; report.html in the folder if there is one, else here");
  command
      .add_option("--points", options.most_points,
                  "images of the UMAP, of more a sample; 0: without it")
      ->check(CLI::Range(0, 200000))
      ->capture_default_str();
}

void bind_synth(CLI::App& command, SynthOptions& options) {
  command.add_option("--out", options.out, "the new screen; must not exist or be empty")
      ->required();
  command
      .add_option("--layout", options.layout,
                  "rxrx1, or cpg0004: an experiment is then a plate, a siRNA a compound")
      ->capture_default_str();
  command.add_option("--seed", options.seed, "of everything random")->capture_default_str();
  command.add_option("--wells", options.wells, "per plate, 3 to 308; cpg0004: 4 to 384")
      ->capture_default_str();
  command
      .add_option("--experiments", options.experiments,
                  "2 to 99; cpg0004: plates, 5 for each plate map")
      ->capture_default_str();
  command
      .add_option("--sirnas", options.sirnas,
                  "treatments and positive controls, 2 to 1138; cpg0004: compounds")
      ->capture_default_str();
  command.add_option("--image-size", options.image_size, "pixels a side, 32 to 1024")
      ->capture_default_str();
  command.add_option("--batch-effect", options.batch_effect, "0: none, 1: as in the real screen")
      ->capture_default_str();
  command
      .add_option("--cell-types", options.cell_types,
                  "rxrx1: so many of HUVEC, RPE, HEPG2, U2OS; 0: as there is room for")
      ->capture_default_str();
  command.add_option("--fields", options.fields, "cpg0004: sites a well, 1 to 9; 0: two")
      ->capture_default_str();
}

void bind_data_check(CLI::App& command, CheckOptions& options) {
  bind_data(command, options.data);
  command.add_flag("--json", options.json, "one JSON object on stdout");
  command.add_flag("--quick", options.quick, "sizes and headers only, no pixels");
}

void bind_data_stats(CLI::App& command, StatsOptions& options) {
  bind_data(command, options.data);
  command.add_flag("--json", options.json, "one JSON object on stdout");
  command.add_option("--normalise", options.normalise,
                     "also after CDCL's normalisation of the input: by negative-controls or "
                     "all-images of each plate, or by constants");
}

void bind_data_montage(CLI::App& command, MontageOptions& options) {
  bind_data(command, options.data);
  command.add_option("--out", options.out, "the .png to write, outside of --data")->required();
  command.add_option("--sirna", options.sirna, "rows, by siRNA; none: the negative control")
      ->allow_extra_args(false);
  command.add_option("--tile", options.tile, "pixels a tile")->capture_default_str();
  command.add_option("--columns", options.columns, "at most so many sites a row")
      ->capture_default_str();
}

void bind_data_pack(CLI::App& command, PackOptions& options) {
  bind_data(command, options.data);
  command.add_option("--out", options.out, "the cache file to write, outside of --data")
      ->required();
  command.add_option("--codec", options.codec, "raw or delta-zstd")->capture_default_str();
  command
      .add_option("--resize", options.resize,
                  "store images of so many pixels a side (bilinear, as OpenCV); 0: as they are")
      ->capture_default_str();
  command.add_flag("--selection", options.selection,
                   "CPG0004: only DMSO and the 569 compounds that CDCL trains on");
  command.add_flag("!--no-compare", options.compare, "do not measure the other codec as well");
}

void bind_data_report(CLI::App& command, ScreenReportOptions& options) {
  bind_data(command, options.data);
  bind_cache(command, options.cache);
  command.add_option("--run", options.run,
                     "a run on this screen, whose embedding of negative controls is shown");
  command.add_option("--out", options.out, "the .html to write, outside of --data")
      ->capture_default_str();
  command.add_option("--title", options.title, "of the page");
  command
      .add_option("--resize", options.resize,
                  "measure and show images of so many pixels a side; 0: as they are")
      ->capture_default_str();
  command.add_flag("--quick", options.quick, "look for damage in sizes and headers only");
  bind_compute(command, options.compute);
}

void add_data_commands(Commands& commands, CLI::App& data) {
  data.require_subcommand(1);
  commands.add(data, "synth", "Write a synthetic screen", run_data_synth, bind_synth);
  commands.add(data, "pack", "Write the image cache", run_data_pack, bind_data_pack);
  commands.add(data, "check", "List what is missing, damaged or mislabelled", run_data_check,
               bind_data_check);
  commands.add(data, "stats", "Mean and standard deviation of every image", run_data_stats,
               bind_data_stats);
  commands.add(data, "report", "A page about the screen: pictures, statistics, what is missing",
               run_data_report, bind_data_report);
  commands.add(data, "montage", "A faux-colour picture of the screen", run_data_montage,
               bind_data_montage);
}

void add_commands(Commands& commands) {
  CLI::App& app = commands.app;
  commands.add(app, "train", "Train a recipe on a screen", run_train, bind_train);
  commands.add(app, "evaluate", "Accuracy of a run on its test images", run_evaluate,
               bind_evaluate);
  commands.add(app, "embed", "Embeddings of a run's test images, as .npy and .csv", run_embed,
               bind_embed);
  commands.add(app, "explain", "What AdaBN, gradient reversal or centring does inside of a run",
               run_explain, bind_explain);
  commands.add(app, "reproduce", "Tables and figures of both papers: paper, ours, difference",
               run_reproduce, bind_reproduce);
  commands.add(app, "report", "One page about runs: who wins, curves, figures, how to repeat it",
               run_report, bind_report);
  commands.add(app, "check", "Try everything that can fail later, in a minute", run_check,
               bind_check);
  add_data_commands(commands, *app.add_subcommand("data", "Make, check and look at screens"));
  commands.add(app, "list", "What there is to name: recipes, models, devices", run_list, bind_list);
  commands.add(app, "forward", "Run a model on tensors from a file", run_forward, bind_forward);
  commands.add(app, "bench", "Time whole training steps", run_bench, bind_bench);
}

// ---- mistakes ---------------------------------------------------------------------------------

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> flag_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

// What a person would call the command: "train_rxrx data check".
std::string full_name(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent ? full_name(*parent) + " " + app.get_name() : "train_rxrx";
}

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// Unknown commands and flags first: CLI11 would complain about a missing required flag before it
// mentions the mistyped one.
void check_words(const CLI::App& root, int argc, const char* const* argv) {
  const CLI::App* app = &root;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--") return;
    if (word.starts_with("-")) {
      if (!word.starts_with("--")) continue;  // -h, or a negative number
      const std::string flag = word.substr(0, word.find('='));
      const std::vector<std::string> known = flag_names(*app);
      if (std::find(known.begin(), known.end(), flag) == known.end())
        fail(ErrorKind::usage, "{}: unknown flag '{}'{}; see {} --help", full_name(*app), flag,
             did_you_mean(flag, known), full_name(*app));
      if (word == flag + "=" || (flag == word && i + 1 < argc && !*argv[i + 1]))
        fail(ErrorKind::usage, "{}: {} is followed by nothing; is a variable empty?",
             full_name(*app), flag);
      continue;
    }
    const std::vector<std::string> commands = command_names(*app);
    if (commands.empty()) continue;
    const auto found = std::find(commands.begin(), commands.end(), word);
    if (found == commands.end())
      fail(ErrorKind::usage, "{}: unknown command '{}'{}; the commands are {}", full_name(*app),
           word, did_you_mean(word, commands), list_of(commands));
    app = app->get_subcommand(word);
  }
}

// Several processes of another command would all do the whole of it, and write the same files.
void check_ranks(const CLI::App& command) {
  const Launch launch = find_launch();
  const std::string name = command.get_name();
  if (launch.size == 1 || name == "train" || name == "embed" ||
      (name == "evaluate" && command.get_option("run")->count() > 0))
    return;
  fail(ErrorKind::usage,
       "{} is one process, and {} started {}: `train`, `evaluate RUN` and `embed` work on several "
       "ranks",
       full_name(command), launch.launcher, launch.size);
}

}  // namespace

int run_command_line(int argc, const char* const* argv) {
  Commands commands;
  CLI::App& app = commands.app;
  app.name("train_rxrx");
  app.set_version_flag("--version", version_text(), "Version, commit, compiler, devices");
  app.footer(kExitCodes);
  app.require_subcommand(1);
  add_commands(commands);
  check_words(app, argc, argv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    const CLI::App* at = &app;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    fail(ErrorKind::usage, "{}: {}; see {} --help", full_name(*at), error.what(), full_name(*at));
  }
  check_ranks(*app.get_subcommands().front());
  return commands.selected();
}

}  // namespace mono
