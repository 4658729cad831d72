#include "train/setup.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/thread_pool.h"
#include "models/weights.h"

namespace mono {

SplitOptions split_options(const Recipe& recipe) {
  SplitOptions options;
  options.by = recipe.data.split;
  options.seed = recipe.seed;
  options.stratified_by = recipe.data.stratified_by;
  options.include_unlabelled = recipe.data.target == Target::experiment;
  options.experiments = recipe.data.experiments;
  options.cell_types = recipe.data.cell_types;
  options.train_experiments = static_cast<int>(recipe.data.train_experiments);
  return options;
}

namespace {

void choose_pixels(RunSetup& setup) {
  const Recipe& recipe = setup.recipe;
  for (const int64_t channel : recipe.data.channels) {
    if (channel > setup.dataset.channels_on_disk)
      fail(ErrorKind::usage,
           "data.channels asks for channel {}; the screen {} has {} (set data.channels to some of "
           "1..{})",
           channel, setup.dataset.root.string(), setup.dataset.channels_on_disk,
           setup.dataset.channels_on_disk);
    setup.channels.push_back(static_cast<int>(channel) - 1);
  }
  const int side = std::min(setup.images->height(), setup.images->width());
  if (side < 1)
    fail(ErrorKind::data, "{}: the table has rows, but there is no image of any of them",
         setup.dataset.root.string());
  if (recipe.data.crop > side)
    fail(ErrorKind::usage, "data.crop = {} is larger than the screen's images of {} pixels",
         recipe.data.crop, side);
  setup.crop = recipe.data.crop == 0 ? side : static_cast<int>(recipe.data.crop);
  setup.precision = recipe.train.precision == Precision::bf16 ? DType::bf16 : DType::f32;
}

void choose_labels(RunSetup& setup) {
  const Dataset& dataset = setup.dataset;
  const bool by_experiment = setup.recipe.data.target == Target::experiment;
  setup.experiments = static_cast<int>(dataset.experiments.size());
  setup.classes = by_experiment ? setup.experiments : dataset.num_classes;
  setup.class_names = by_experiment ? dataset.experiments : dataset.class_names;
  for (const Site& site : dataset.sites)
    setup.label.push_back(by_experiment ? site.experiment : site.sirna_id);
  for (const int site : setup.split.train)
    if (setup.label[static_cast<size_t>(site)] < 0)
      fail(ErrorKind::data, "{}:{}: {}: a training site without a siRNA",
           dataset.tables[static_cast<size_t>(dataset.sites[static_cast<size_t>(site)].table)],
           dataset.sites[static_cast<size_t>(site)].row,
           dataset.sites[static_cast<size_t>(site)].site_id);
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

}  // namespace

std::unique_ptr<RunSetup> set_up(const Recipe& recipe, const std::filesystem::path& data,
                                 const std::filesystem::path& cache, Device device) {
  auto setup = std::make_unique<RunSetup>();
  setup->recipe = recipe;
  setup->device = device;
  setup->dataset = open_dataset(data);
  setup->images = open_images(setup->dataset, cache);
  choose_pixels(*setup);
  setup->split = make_split(setup->dataset, split_options(recipe));
  choose_labels(*setup);
  list_incomplete(*setup);
  if (recipe.data.on_bad_image == OnBadImage::drop) {
    drop_unreadable(*setup, setup->split.train);
    drop_unreadable(*setup, setup->split.test);
    if (setup->split.train.empty() || setup->split.test.empty())
      fail(ErrorKind::data, "{}: no readable image is left to {} (`data check` lists the damage)",
           data.string(), setup->split.train.empty() ? "train on" : "test on");
  }
  setup->normalisation =
      normalisation_statistics(setup->dataset, *setup->images, setup->channels, setup->split,
                               recipe.data.normalisation, recipe.data.std);
  return setup;
}

std::unique_ptr<Model> make_model(const RunSetup& setup) {
  const Recipe& recipe = setup.recipe;
  const Recipe::Model& m = recipe.model;
  ModelOptions options;
  options.channels = static_cast<int>(setup.channels.size());
  options.classes = setup.classes;
  options.rxrx1.width = static_cast<int>(m.neck);
  options.rxrx1.relu_before_pool = m.pool_after_relu;
  options.rxrx1.batch_classes =
      recipe.batch_head.mode == BatchHeadMode::none ? 0 : setup.experiments;
  options.rxrx1.batch_hidden = static_cast<int>(recipe.batch_head.hidden);
  if (m.backbone == "densenet_smoke") {
    options.densenet = DenseNetConfig{static_cast<int>(m.growth),
                                      {m.blocks.begin(), m.blocks.end()},
                                      static_cast<int>(m.stem),
                                      static_cast<int>(m.bn_size)};
  }
  auto model = make_model("rxrx1_" + m.backbone, options);
  model->norms().set_eps(recipe.bn.eps);
  model->initialise(DType::f32, recipe.seed, setup.device);
  if (!m.weights.empty()) load_backbone(*model, SafetensorsFile(m.weights));
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
