// Recipes: everything that decides the outcome of a run, as a TOML file and as a typed struct.
//
// The defaults below are the paper's values (specs of RxRx1, table A5); the recipes in
// train/recipes/ state them again, so that a reader of a recipe sees them. A recipe `extends` at
// most one other; tables merge, arrays replace, [paper] is not inherited. All errors are
// ErrorKind::usage and start with FILE:LINE:COL of the offending key or value.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mono {

enum class Target { sirna, experiment, moa };  // what the main head classifies
enum class SplitBy { separated, stratified };  // whole experiments unseen, or every one in both
enum class StratifiedBy { well, image };       // image: the two sites of a well may part
enum class Normalisation {                     // Table 5
  self,                                        // each image by itself
  all,                                         // all training images
  control_experiment,                          // the controls of the image's experiment
  all_experiment,                              // all images of the image's experiment
  control_plate,                               // the controls of the image's plate
  all_plate,                                   // all images of the image's plate
  // CDCL's: means over images of the images' own means and stds
  negative_control_plate,  // of the plate's EMPTY wells
  published_constants      // the same for all plates
};
enum class StdBy { pooled, mean_of_stds };  // for all but `self`
enum class OnBadImage { fail, drop };       // drop: decided before training, and listed
enum class BatchHeadMode { none, detached, reversed };
enum class LambdaSchedule { constant, ramp };  // ramp: lambda (2 / (1 + exp(-10 p)) - 1)
enum class Mixing { none, cutmix, mixup };
enum class LrSchedule { cosine, constant };  // after the warm-up, per step
enum class Precision { f32, bf16 };
enum class Method { supervised, dino, byol };
enum class BatchForm { groups, views };  // whole images in groups; random crops of single images
enum class DomainKey { experiment, plate };            // what a batch effect belongs to
enum class PairKey { treatment, treatment_or_image };  // see Data::pair_key
enum class Subset {                                    // what of the training images is trained on
  all,
  controls,         // I: control wells
  treatments,       // II: all but control wells
  half_sites,       // III as its code has it: one site of each treated well, and the controls
  half_treatments,  // III as the paper says it: every other treatment, and the controls
};
// Which statistics batch norms use at evaluation.
enum class StatisticsMode {
  as_trained,  // in recipes only: experiment under AdaBN, or running
  experiment,  // of the image's whole experiment, in two passes (nn/domain/adabn.h)
  group,       // of its group: balanced groups of the size of training, each from one experiment
  running      // the averages over training
};
enum class OptimKind { sgd, adamw };
enum class ChannelRule { tile, timm };  // tile: RGB kernels repeated; timm: the same times 3 / C
enum class GpuSums { nccl, mpi };
enum class PositionEmbedding { cdcl, dino, deit, timm };  // how it is resampled from the 224 grid

struct PaperFigure {
  double value = 0;
  std::optional<double> spread;  // the ± of the paper
};

struct Recipe {
  std::string name;   // as it was asked for
  uint64_t seed = 1;  // of everything random
  Method method = Method::supervised;
  int64_t seeds = 1;  // how many runs, with seed, seed + 1, ..., `reproduce` makes

  struct Model {
    std::string backbone = "densenet161";  // a name of backbone_names()
    // Only for backbone = "densenet_smoke", a DenseNet of any size, and of these blocks and stem
    // for "resnet_smoke", a ResNet of bottlenecks.
    int64_t growth = 12;
    std::vector<int64_t> blocks = {2, 4, 4};
    int64_t stem = 24;
    int64_t bn_size = 4;
    int64_t neck = 1024;          // width of both hidden layers; of the embedding
    bool pool_after_relu = true;  // ReLU, then global average pooling, as torchvision
    std::string weights;          // .safetensors to start from; empty: random initialisation
    std::string init_from;        // a run whose backbone to start from; its heads are left behind
    // pretrained: the recipe is one of ImageNet weights; without `weights` or `init_from` it is an
    // error unless from_scratch says that this is meant, which labels every result.
    bool pretrained = false, from_scratch = false;
    // Vision transformers. Size and patch only for backbone = "deit_smoke".
    int64_t patch = 16, depth = 12, dim = 384, heads = 6;
    ChannelRule channel_rule = ChannelRule::tile;
    PositionEmbedding position_embedding = PositionEmbedding::cdcl;
    double drop_path = 0;  // of the last block, from 0 for the first; the teacher's is 0
  } model;

  struct Data {
    Target target = Target::sirna;
    std::string labels;  // a table treatment,label whose labels are the classes instead
    SplitBy split = SplitBy::separated;
    StratifiedBy stratified_by = StratifiedBy::well;
    std::vector<std::string> experiments;  // keep only these; empty: all
    std::vector<std::string> cell_types;   // keep only these; empty: all
    int64_t train_experiments = 0;         // Table 4: this many, drawn by the seed; 0: all
    int64_t train_site = 0;                // WILDS: of each well only this site trains; 0: both
    std::vector<int64_t> channels = {1, 2, 3, 4, 5, 6};  // empty: all of the screen
    int64_t crop = 0;  // side in pixels, random in training, central in evaluation; 0: whole image
    int64_t resize = 0;  // images are made this many pixels a side first; 0: as they are
    int64_t fold = 0;    // of the rotation of experiments (replicates in cpg0004); 0: data.split
    // fold = 0: so many training experiments, the last ones by name, validate instead.
    int64_t validation_experiments = 0;
    Subset subset = Subset::all;
    int64_t control_fields = 2000;  // cpg0004: at most so many DMSO fields train; 0: all
    bool selection = false;         // cpg0004: CDCL's 570 treatments at 10 uM only
    DomainKey domain_key = DomainKey::experiment;
    // Which images make a pair: another one of the same treatment from another domain. Where there
    // is none: an error (treatment), or any of the same treatment, itself included
    // (treatment-or-image).
    PairKey pair_key = PairKey::treatment;
    Normalisation normalisation = Normalisation::self;
    StdBy std = StdBy::pooled;
    bool floor_statistics = false;  // of views: whole counts, as CDCL's published table seems to be
    OnBadImage on_bad_image = OnBadImage::fail;
  } data;

  struct Batch {
    BatchForm form = BatchForm::groups;
    // Per step; each has its own batch-norm statistics, and is computed by one rank. Of views:
    // equal parts of the anchors, 1 where a recipe does not say.
    int64_t groups = 8;
    int64_t group_size = 64;  // images
    bool one_experiment_per_group = false;
    int64_t anchors = 92;  // of views: images of a step, each the first of a pair
    int64_t images() const { return form == BatchForm::views ? anchors : groups * group_size; }
    int64_t images_of_group() const { return images() / groups; }
  } batch;

  struct Views {  // of batch.form = "views"; sizes in pixels, scales as shares of the area
    int64_t size = 224;
    std::vector<double> scale = {0.9, 1.1};  // the crop's; where none fits: the whole image
    int64_t locals = 6;                      // DINO: small crops of a pair, half of them of each
    int64_t local_size = 112;
    std::vector<double> local_scale = {0.3, 0.5};
    bool dihedral = true;             // two flips and a quarter turn, each with probability 1/2
    double colour_probability = 0.5;  // x gain + shift, for each channel
    double colour_gain_sd = 0.1;      // gain ~ N(1, .)
    double colour_shift_sd = 0.1;     // shift ~ N(0, .), of the scale 0..1
  } views;

  // Self-supervision (CDCL sections 3.2, 3.3); the defaults are the published settings.
  struct SelfSupervised {
    bool cross_batch = false;   // the second view is another image: same treatment, other domain
    bool multi_center = false;  // a centre for each domain, moved by its frequency
    bool dino_loss = true;      // of DINO; BYOL's cosine loss likewise
    bool barlow_loss = false;
    double barlow_weight = 0.75;    // of both losses' sum, where both are there
    double barlow_diagonal = 0.05;  // weights of the two means of the correlation matrix
    double barlow_off_diagonal = 0.95;
    bool barlow_global = false;    // statistics and correlations over all groups of a step at once
    bool normalise_losses = true;  // DINO / ln K; Barlow / (diagonal + 0.01 off-diagonal)
    bool only_cross_domain = false;  // no terms between two views of one image
    int64_t hidden = 1024;           // widths of DINO's head
    int64_t bottleneck = 512;
    int64_t outputs = 4096;
    int64_t byol_hidden = 4096;  // widths of BYOL's projector and predictor
    int64_t byol_outputs = 256;
    bool byol_output_norm = true;  // batch norm behind the projector, as CDCL's code has it
    double student_temperature = 0.1;
    double teacher_temperature = 0.04;  // at the start
    double teacher_temperature_end = 0.07;
    int64_t teacher_temperature_epochs = 10;
    double centre_momentum = 0.9;
    double teacher_momentum = 0.995;  // of the teacher, at the start
    double teacher_momentum_end = 0.9996;
    int64_t freeze_last_layer_epochs = 1;
  } ssl;

  struct Probe {  // a linear classifier on detached features, trained along (Adam)
    bool enabled = true;
    double lr = 5e-5;
    double weight_decay = 1e-3;  // L2, of the weight alone
    double eta_min = 1e-8;       // of the cosine that restarts with every epoch
  } probe;

  struct Validation {  // k-NN accuracy on validation images, the bank being the training images
    int64_t every_epochs = 4;  // 0: never; the last checkpoint is then the model
    int64_t k = 10;
    double temperature = 0.1;
  } validation;

  struct Collapse {            // a run whose representation has collapsed ends (exit 4)
    int64_t after_epochs = 5;  // not before
    int64_t patience = 50;     // steps in a row
    double least_sd = 1e-4;    // of the teacher's centred outputs over a batch, mean of the columns
    double most_entropy = 0.9999;  // DINO: of the teacher's softmax as a share of ln K
    double least_spread = 1e-3;    // DINO: entropy of the mean softmax, likewise
  } collapse;

  struct Domain {
    bool adabn = false;  // evaluation uses the statistics of the image's own experiment
    // What evaluation uses unless it is told otherwise. It changes no training and is outside the
    // hash: `experiment` on a run without AdaBN is the control of what training with it adds.
    StatisticsMode test_statistics = StatisticsMode::as_trained;
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
    OptimKind kind = OptimKind::sgd;
    double lr = 0.1024;                             // for the whole batch of a step
    double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  // AdamW's
    double clip = 0;  // the gradient's norm over all parameters is at most this; 0: no clipping
    double momentum = 0.9;
    bool nesterov = false;
    double weight_decay = 1e-5;
    bool decay_norm_and_bias = true;  // whether norms' weights and biases decay too
    double weight_decay_end = -1;     // cosine from weight_decay over all steps; -1: constant
    double warmup_epochs = 5;         // linear, per step
    int64_t warmup_steps = 0;         // the same in steps; 0: warmup_epochs
    double warmup_lr = 0;             // where the warm-up begins
    bool warmup_overshoot = false;    // CDCL's code: its last step is one beyond lr
    double eta_min = 0;               // where the cosine ends
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
  struct TestCurve {           // RxRx1, Figure 10: recorded, never used for a choice
    int64_t every_epochs = 0;  // test accuracy into RUN/test_curve.jsonl; 0: never
  } test_curve;
  struct Loader {
    int64_t workers = 1;  // threads that read and decode; 0: the training thread does
  } loader;
  struct Ranks {                // of data-parallel training
    double bucket_mb = 25;      // of gradients, sent as soon as backward has filled it
    double timeout_s = 300;     // without a sign of life or, while others wait, of progress
    int64_t check_steps = 100;  // between comparisons of the ranks' weights; 0: before saving only
    GpuSums gpu_sums = GpuSums::nccl;  // mpi: through the host, with the bits of one process
    bool bf16_gradients = false;       // half the bytes between ranks; decides results
  } ranks;

  // [paper]: published figures in percent (grit plain), e.g. separated = [87.1, 0.2]. Outside the
  // hash; of this recipe alone, not of one that it extends.
  std::map<std::string, PaperFigure> paper;
};

// Loads an embedded recipe by name ("rxrx1/table1/adabn"), or, for a name ending in .toml, a file;
// then applies `sets` ("optim.lr=0.05", TOML values; a bare word is a string) in order.
Recipe load_recipe(const std::string& name, const std::vector<std::string>& sets = {});

// The same from text; `file` stands in messages, and relative `extends` paths start at its folder.
Recipe parse_recipe(const std::string& text, const std::string& file,
                    const std::vector<std::string>& sets = {});

// A text as a set of load_recipe() takes it, whatever it holds: model.weights="it's here".
std::string text_set(const std::string& key, const std::string& value);

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
