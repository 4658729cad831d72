// Recipes: everything that decides the outcome of a run, as a TOML file and as a typed struct.
//
// The defaults below are the paper's values (specs of RxRx1, table A5); the recipes in
// train/recipes/ state them again, so that a reader of a recipe sees them. A recipe `extends` at
// most one other; tables merge, arrays replace. All errors are ErrorKind::usage and start with
// FILE:LINE:COL of the offending key or value.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mono {

enum class Target { sirna, experiment };       // what the main head classifies
enum class SplitBy { separated, stratified };  // whole experiments unseen, or every one in both
enum class StratifiedBy { well, image };       // image: the two sites of a well may part
enum class Normalisation {                     // Table 5
  self,                                        // each image by itself
  all,                                         // all training images
  control_experiment,                          // the controls of the image's experiment
  all_experiment,                              // all images of the image's experiment
  control_plate,                               // the controls of the image's plate
  all_plate                                    // all images of the image's plate
};
enum class StdBy { pooled, mean_of_stds };  // for all but `self`
enum class OnBadImage { fail, drop };       // drop: decided before training, and listed
enum class BatchHeadMode { none, detached, reversed };
enum class LambdaSchedule { constant, ramp };  // ramp: lambda (2 / (1 + exp(-10 p)) - 1)
enum class Mixing { none, cutmix, mixup };
enum class LrSchedule { cosine, constant };  // after the warm-up, per step
enum class Precision { f32, bf16 };

struct PaperFigure {
  double value = 0;
  std::optional<double> spread;  // the ± of the paper
};

struct Recipe {
  std::string name;   // as it was asked for
  uint64_t seed = 1;  // of everything random
  int64_t seeds = 1;  // how many runs, with seed, seed + 1, ..., `reproduce` makes

  struct Model {
    std::string backbone = "densenet161";  // a name of backbone_names()
    // Only for backbone = "densenet_smoke": a DenseNet of any size.
    int64_t growth = 12;
    std::vector<int64_t> blocks = {2, 4, 4};
    int64_t stem = 24;
    int64_t bn_size = 4;
    int64_t neck = 1024;          // width of both hidden layers; of the embedding
    bool pool_after_relu = true;  // ReLU, then global average pooling, as torchvision
    std::string weights;          // .safetensors to start from; empty: random initialisation
  } model;

  struct Data {
    Target target = Target::sirna;
    SplitBy split = SplitBy::separated;
    StratifiedBy stratified_by = StratifiedBy::well;
    std::vector<std::string> experiments;  // keep only these; empty: all
    std::vector<std::string> cell_types;   // keep only these; empty: all
    int64_t train_experiments = 0;         // Table 4: this many, drawn by the seed; 0: all
    std::vector<int64_t> channels = {1, 2, 3, 4, 5, 6};
    int64_t crop = 0;  // side in pixels, random in training, central in evaluation; 0: whole image
    Normalisation normalisation = Normalisation::self;
    StdBy std = StdBy::pooled;
    OnBadImage on_bad_image = OnBadImage::fail;
  } data;

  struct Batch {
    int64_t groups = 8;       // per step; each has its own batch-norm statistics
    int64_t group_size = 64;  // images
    bool one_experiment_per_group = false;
    int64_t images() const { return groups * group_size; }
  } batch;

  struct Domain {
    bool adabn = false;  // evaluation uses the statistics of the image's own experiment
  } domain;

  struct BatchHeadOptions {
    BatchHeadMode mode = BatchHeadMode::detached;
    double lambda = 1;  // of the reversal
    LambdaSchedule schedule = LambdaSchedule::constant;
    double weight = 1;   // of its loss
    int64_t hidden = 0;  // width of a hidden layer (batch norm, ReLU); 0: one linear layer
  } batch_head;

  struct Augment {
    bool dihedral = true;  // the eight flips and rotations
    Mixing mixing = Mixing::cutmix;
    double alpha = 1;        // of Beta(alpha, alpha)
    double probability = 1;  // that a group is mixed
    double label_smoothing = 0;
  } augment;

  struct Optim {
    double lr = 0.1024;  // for the whole batch of a step
    double momentum = 0.9;
    bool nesterov = false;
    double weight_decay = 1e-5;
    bool decay_norm_and_bias = true;  // whether batch norm and biases decay too
    double warmup_epochs = 5;         // linear, per step
    LrSchedule schedule = LrSchedule::cosine;
  } optim;

  struct Train {
    int64_t epochs = 100;
    Precision precision = Precision::f32;
  } train;

  struct BatchNorm {
    double eps = 1e-5;
    double momentum = 0.1;
  } bn;

  // What follows changes no result: it is outside the hash and may differ at resume.
  struct Checkpoint {
    int64_t every_steps = 0;   // 0: not by steps
    int64_t every_epochs = 1;  // 0: not by epochs; the last step is always saved
    int64_t keep = 2;
  } checkpoint;
  struct Loader {
    int64_t workers = 1;  // threads that read and decode; 0: the training thread does
  } loader;

  // [paper]: published figures in percent, e.g. separated = [87.1, 0.2]. Outside the hash.
  std::map<std::string, PaperFigure> paper;
};

// Loads an embedded recipe by name ("rxrx1/table1/adabn"), or, for a name ending in .toml, a file;
// then applies `sets` ("optim.lr=0.05", TOML values; a bare word is a string) in order.
Recipe load_recipe(const std::string& name, const std::vector<std::string>& sets = {});

// The same from text; `file` stands in messages, and relative `extends` paths start at its folder.
Recipe parse_recipe(const std::string& text, const std::string& file,
                    const std::vector<std::string>& sets = {});

// The resolved recipe as TOML: every key, in a fixed order; loads back to an equal Recipe.
std::string recipe_text(const Recipe& recipe);

// XXH3-64 of the keys that decide results, as 16 hexadecimal digits.
std::string recipe_hash(const Recipe& recipe);

// What a resume may not change: "optim.lr: 0.1 in the run, 0.05 now", in the order of the text.
std::vector<std::string> differing_keys(const Recipe& run, const Recipe& now);

// Names of the embedded recipes, sorted; their TOML source.
std::vector<std::string> recipe_names();
std::string_view recipe_source(std::string_view name);  // empty if there is none

// What model.backbone may be.
const std::vector<std::string>& backbone_names();

}  // namespace mono
