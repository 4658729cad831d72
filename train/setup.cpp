#include "train/setup.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/base/thread_pool.h"
#include "models/intensity_histogram.h"
#include "models/weights.h"
#include "train/data/folds.h"
#include "train/data/labels.h"
#include "train/data/selection.h"
#include "train/run_weights.h"

namespace mono {

size_t channel_count(const Recipe& recipe, const Dataset& screen) {
  return recipe.data.channels.empty() ? static_cast<size_t>(screen.channels_on_disk)
                                      : recipe.data.channels.size();
}

SplitOptions split_options(const Recipe& recipe) {
  SplitOptions options;
  options.by = recipe.data.split;
  options.seed = recipe.seed;
  options.stratified_by = recipe.data.stratified_by;
  options.include_unlabelled = recipe.data.target == Target::experiment;
  options.experiments = recipe.data.experiments;
  options.cell_types = recipe.data.cell_types;
  options.train_experiments = static_cast<int>(recipe.data.train_experiments);
  options.train_site = static_cast<int>(recipe.data.train_site);
  return options;
}

namespace {

FoldOptions fold_options(const Recipe& recipe) {
  FoldOptions options;
  options.fold = static_cast<int>(recipe.data.fold);
  options.subset = recipe.data.subset;
  if (!recipe.data.cell_types.empty()) options.cell_type = recipe.data.cell_types.front();
  options.control_fields = static_cast<int>(recipe.data.control_fields);
  options.seed = recipe.seed;
  return options;
}

// Moves the last `count` training experiments to validation.
void hold_out_experiments(const Dataset& dataset, int64_t count, Split& split) {
  if (count == 0) return;
  const auto experiment_of = [&](int site) {
    return dataset.sites[static_cast<size_t>(site)].experiment;
  };
  std::set<int> left;
  for (const int site : split.train) left.insert(experiment_of(site));
  if (count >= static_cast<int64_t>(left.size()))
    fail(ErrorKind::usage,
         "data.validation_experiments = {}, but only {} experiments are there to train on", count,
         left.size());
  const int first = *std::prev(left.end(), static_cast<ptrdiff_t>(count));
  const auto validates = [&](int site) { return experiment_of(site) >= first; };
  std::ranges::copy_if(split.train, std::back_inserter(split.validation), validates);
  std::erase_if(split.train, validates);
}

}  // namespace

Split split_of(const Recipe& recipe, const Dataset& dataset, bool include_incomplete) {
  if (recipe.data.fold == 0) {
    if (recipe.data.subset != Subset::all)
      fail(ErrorKind::usage, "data.subset needs data.fold: the k-NN bank stays the whole of it");
    SplitOptions options = split_options(recipe);
    options.include_incomplete = include_incomplete;
    Split split = make_split(dataset, options);
    hold_out_experiments(dataset, recipe.data.validation_experiments, split);
    split.bank = split.train;
    return split;
  }
  FoldOptions options = fold_options(recipe);
  options.include_incomplete = include_incomplete;
  return make_folds(dataset, options);
}

namespace {

void choose_pixels(RunSetup& setup) {
  const Recipe& recipe = setup.recipe;
  const int channels = setup.dataset.channels_on_disk;
  for (const int64_t channel : recipe.data.channels) {
    if (channel > channels)
      fail(ErrorKind::usage,
           "data.channels asks for channel {}; the screen {} has {} (set data.channels to some of "
           "1..{}, or to [] for all of them)",
           channel, setup.dataset.root.string(), channels, channels);
    setup.channels.push_back(static_cast<int>(channel) - 1);
  }
  if (recipe.data.channels.empty())
    for (int channel = 0; channel < channels; ++channel) setup.channels.push_back(channel);
  const int side = std::min(setup.images->height(), setup.images->width());
  if (side < 1)
    fail(ErrorKind::data, "{}: the table has rows, but there is no image of any of them",
         setup.dataset.root.string());
  if (recipe.data.crop > side)
    fail(ErrorKind::usage, "data.crop = {} is larger than the screen's images of {} pixels",
         recipe.data.crop, side);
  setup.crop = recipe.data.crop == 0 ? side : static_cast<int>(recipe.data.crop);
  if (recipe.batch.form == BatchForm::views) {
    if (recipe.views.size > side)
      fail(ErrorKind::usage,
           "views.size = {} is larger than the images of {} pixels, of which evaluation takes the "
           "middle (data.resize = {})",
           recipe.views.size, side, recipe.data.resize);
    setup.crop = static_cast<int>(recipe.views.size);
  }
  setup.precision = recipe.train.precision == Precision::bf16 ? DType::bf16 : DType::f32;
}

void choose_labels(RunSetup& setup) {
  const Dataset& dataset = setup.dataset;
  setup.experiments = static_cast<int>(dataset.experiments.size());
  if (setup.recipe.data.target == Target::experiment) {
    setup.class_names = dataset.experiments;
    for (const Site& site : dataset.sites) setup.label.push_back(site.experiment);
  } else {
    const bool moa = setup.recipe.data.target == Target::moa;
    const std::string& table = setup.recipe.data.labels;
    Labels labels = table.empty()
                        ? dataset_labels(dataset, moa ? LabelKind::moa : LabelKind::treatment)
                        : table_labels(dataset, table);
    setup.class_names = std::move(labels.names);
    setup.label = std::move(labels.of_site);
  }
  setup.classes = static_cast<int>(setup.class_names.size());
  for (const int site : setup.split.train)
    if (setup.label[static_cast<size_t>(site)] < 0)
      fail(ErrorKind::data, "{}:{}: {}: a training site without a {}",
           dataset.tables[static_cast<size_t>(dataset.sites[static_cast<size_t>(site)].table)],
           dataset.sites[static_cast<size_t>(site)].row,
           dataset.sites[static_cast<size_t>(site)].site_id,
           setup.recipe.data.target == Target::moa ? "mechanism of action" : "siRNA");
}

// Plates' statistics as CDCL takes them, or one of the paper's Table 5.
NormalisationStats statistics_of(const RunSetup& setup) {
  const Recipe::Data& data = setup.recipe.data;
  const auto by_plate = [&](PlateStatistics of) {
    return plate_normalisation(setup.dataset, *setup.images, setup.channels, setup.split,
                               {.of = of, .floor_stats = data.floor_statistics});
  };
  switch (data.normalisation) {
    case Normalisation::negative_control_plate:
      return by_plate(PlateStatistics::negative_controls);
    case Normalisation::published_constants:
      return by_plate(PlateStatistics::constants);
    case Normalisation::all_plate:
      if (setup.recipe.batch.form == BatchForm::views) return by_plate(PlateStatistics::all_images);
      [[fallthrough]];
    default:
      return normalisation_statistics(setup.dataset, *setup.images, setup.channels, setup.split,
                                      data.normalisation, data.std);
  }
}

// Reads every site of `part` once; those that cannot be read leave it, in order.
void drop_unreadable(RunSetup& setup, std::vector<int>& part) {
  const size_t bytes = setup.channels.size() * static_cast<size_t>(setup.images->height()) *
                       static_cast<size_t>(setup.images->width());
  std::vector<std::string> reasons(part.size());
  parallel_for(static_cast<int64_t>(part.size()), [&](int64_t i, int) {
    std::vector<uint8_t> planes(bytes);
    try {
      setup.images->read(part[static_cast<size_t>(i)], setup.channels, planes.data());
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      reasons[static_cast<size_t>(i)] = error.what();
    }
  });
  std::vector<int> kept;
  for (size_t i = 0; i < part.size(); ++i) {
    if (reasons[i].empty()) {
      kept.push_back(part[i]);
      continue;
    }
    if (setup.dataset.sites[static_cast<size_t>(part[i])].channels_present != 0)  // in two parts
      setup.left_out.push_back({part[i], reasons[i]});
    setup.dataset.sites[static_cast<size_t>(part[i])].channels_present = 0;  // for all that follows
  }
  part = std::move(kept);
}

// Sites that have some of their images, but not all.
void list_incomplete(RunSetup& setup) {
  const Dataset& dataset = setup.dataset;
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i) {
    const Site& site = dataset.sites[static_cast<size_t>(i)];
    if (site.channels_present == 0 || dataset.complete(i)) continue;
    int channel = 0;
    while (site.channels_present >> channel & 1) ++channel;
    setup.left_out.push_back({i, fmt::format("{}: missing", dataset.file_of(site, channel))});
  }
}

// Says of each image that it is read.
class WatchedImages final : public ImageSource {
 public:
  WatchedImages(std::unique_ptr<ImageSource> source, const std::function<void()>& reading)
      : source_(std::move(source)), reading_(reading) {}
  void read(int site, std::span<const int> channels, uint8_t* planes) const override {
    reading_();
    source_->read(site, channels, planes);
  }
  int height() const override { return source_->height(); }
  int width() const override { return source_->width(); }

  std::unique_ptr<ImageSource> release() { return std::move(source_); }

 private:
  std::unique_ptr<ImageSource> source_;
  const std::function<void()>& reading_;
};

}  // namespace

std::unique_ptr<RunSetup> set_up(const Recipe& recipe, const std::filesystem::path& data,
                                 const std::filesystem::path& cache, Device device,
                                 const std::function<void()>& reading) {
  auto setup = std::make_unique<RunSetup>();
  setup->recipe = recipe;
  setup->device = device;
  setup->dataset = open_dataset(data);
  if (recipe.data.selection) setup->dataset = select_treatments(std::move(setup->dataset));
  setup->images = open_images(setup->dataset, cache, static_cast<int>(recipe.data.resize));
  WatchedImages* watched = nullptr;
  if (reading) {
    auto images = std::make_unique<WatchedImages>(std::move(setup->images), reading);
    watched = images.get();
    setup->images = std::move(images);
  }
  choose_pixels(*setup);
  setup->split = split_of(recipe, setup->dataset);
  choose_labels(*setup);
  list_incomplete(*setup);
  if (recipe.data.on_bad_image == OnBadImage::drop) {
    for (std::vector<int>* part :
         {&setup->split.train, &setup->split.test, &setup->split.validation, &setup->split.bank})
      drop_unreadable(*setup, *part);
    if (setup->split.train.empty() || setup->split.test.empty())
      fail(ErrorKind::data, "{}: no readable image is left to {} (`data check` lists the damage)",
           data.string(), setup->split.train.empty() ? "train on" : "test on");
  }
  setup->normalisation = statistics_of(*setup);
  if (watched) setup->images = watched->release();
  return setup;
}

DeitConfig deit_config(const Recipe& recipe) {
  const Recipe::Model& m = recipe.model;
  DeitConfig config = DeitConfig::small();
  if (m.backbone == "deit_tiny") config = DeitConfig::tiny();
  if (m.backbone == "deit_base") config = DeitConfig::base();
  if (m.backbone == "deit_smoke")
    config = {.dim = static_cast<int>(m.dim),
              .heads = static_cast<int>(m.heads),
              .depth = static_cast<int>(m.depth),
              .patch = static_cast<int>(m.patch),
              .grid = static_cast<int>(recipe.views.size / m.patch)};
  config.position_rule = static_cast<PositionRule>(m.position_embedding);
  return config;
}

ModelOptions model_options(const RunSetup& setup) {
  const Recipe& recipe = setup.recipe;
  const Recipe::Model& m = recipe.model;
  ModelOptions options;
  options.rxrx1.width = static_cast<int>(m.neck);
  options.rxrx1.relu_before_pool = m.pool_after_relu;
  options.rxrx1.batch_classes =
      recipe.batch_head.mode == BatchHeadMode::none ? 0 : setup.experiments;
  options.rxrx1.batch_hidden = static_cast<int>(recipe.batch_head.hidden);
  options.channels = static_cast<int>(setup.channels.size());
  options.classes = setup.classes;
  if (m.backbone == "densenet_smoke")
    options.densenet = DenseNetConfig{static_cast<int>(m.growth),
                                      {m.blocks.begin(), m.blocks.end()},
                                      static_cast<int>(m.stem),
                                      static_cast<int>(m.bn_size)};
  if (m.backbone == "resnet_smoke")
    options.resnet =
        ResNetConfig{{m.blocks.begin(), m.blocks.end()}, true, static_cast<int>(m.stem)};
  if (m.backbone.starts_with("deit")) {
    options.deit = deit_config(setup.recipe);
    options.position_rule = options.deit->position_rule;
  }
  return options;
}

void check_start(const Recipe& recipe) {
  const Recipe::Model& m = recipe.model;
  if (!m.weights.empty() && !m.init_from.empty())
    fail(ErrorKind::usage, "model.weights and model.init_from are both given; one is the start");
  if (m.from_scratch && (!m.weights.empty() || !m.init_from.empty()))
    fail(ErrorKind::usage,
         "model.from_scratch = true would label results that start from {} \"from scratch\"; leave "
         "one of the two out",
         m.weights.empty() ? m.init_from : m.weights);
  if (m.pretrained && !m.from_scratch && m.weights.empty() && m.init_from.empty())
    fail(
        ErrorKind::usage,
        "{} starts from ImageNet weights, as the paper's runs do, and is given none: use --weights "
        "FILE ({}'s model.safetensors of timm), or --from-scratch, which labels every result",
        recipe.name, m.backbone);
}

SelfSupervisedConfig self_supervised_config(const RunSetup& setup) {
  const Recipe::SelfSupervised& ssl = setup.recipe.ssl;
  SelfSupervisedConfig config;
  config.backbone = setup.recipe.model.backbone;
  config.options = model_options(setup);
  config.head =
      setup.recipe.method == Method::dino ? SelfSupervisedHead::dino : SelfSupervisedHead::byol;
  config.dino = {.hidden = static_cast<int>(ssl.hidden),
                 .bottleneck = static_cast<int>(ssl.bottleneck),
                 .outputs = static_cast<int>(ssl.outputs)};
  config.byol = {.hidden = static_cast<int>(ssl.byol_hidden),
                 .outputs = static_cast<int>(ssl.byol_outputs),
                 .output_norm = ssl.byol_output_norm};
  return config;
}

namespace {

std::unique_ptr<Model> unallocated_evaluated_model(const RunSetup& setup) {
  const std::string& backbone = setup.recipe.model.backbone;
  if (backbone != "intensity_histogram")
    return make_model("cdcl_" + backbone, model_options(setup));
  return std::make_unique<Classifier>(
      [&](const ModelBuilder&) {
        return std::make_unique<IntensityHistogram>(static_cast<int>(setup.channels.size()));
      },
      "backbone.", "head", setup.classes);
}

}  // namespace

std::unique_ptr<Model> make_evaluated_model(const RunSetup& setup) {
  std::unique_ptr<Model> model = unallocated_evaluated_model(setup);
  model->norms().set_eps(setup.recipe.bn.eps);
  model->initialise(DType::f32, setup.recipe.seed, setup.device);
  return model;
}

std::unique_ptr<Model> unallocated_model(const RunSetup& setup) {
  if (setup.recipe.batch.form == BatchForm::groups)
    return make_model("rxrx1_" + setup.recipe.model.backbone, model_options(setup));
  if (setup.recipe.method == Method::supervised) return unallocated_evaluated_model(setup);
  return std::make_unique<SelfSupervised>(self_supervised_config(setup));
}

std::unique_ptr<Model> make_model(const RunSetup& setup) {
  const Recipe& recipe = setup.recipe;
  check_start(recipe);
  std::unique_ptr<Model> model = unallocated_model(setup);
  model->norms().set_eps(recipe.bn.eps);
  model->initialise(DType::f32, recipe.seed, setup.device);
  if (!recipe.model.weights.empty()) {
    const bool tile =
        recipe.batch.form == BatchForm::views && recipe.model.channel_rule == ChannelRule::tile;
    load_backbone(*model, SafetensorsFile(recipe.model.weights),
                  tile ? StemRule::tile : StemRule::repeat);
  }
  if (!recipe.model.init_from.empty()) load_init_from(*model, recipe);
  return model;
}

BatchHead batch_head_at(const Recipe& recipe, double progress) {
  BatchHead head;
  switch (recipe.batch_head.mode) {
    case BatchHeadMode::none:
      head.mode = BatchHead::Mode::off;
      break;
    case BatchHeadMode::detached:
      head.mode = BatchHead::Mode::detached;
      break;
    case BatchHeadMode::reversed:
      head.mode = BatchHead::Mode::reversed;
      break;
  }
  head.lambda = recipe.batch_head.lambda;
  // Ganin and Lempitsky 2015, section 3.1.
  if (recipe.batch_head.schedule == LambdaSchedule::ramp)
    head.lambda *= 2 / (1 + std::exp(-10 * progress)) - 1;
  return head;
}

}  // namespace mono
