#include "train/report/controls_embedding.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "kernels/base/error.h"
#include "train/evaluate/image_features.h"
#include "train/evaluate/inference.h"
#include "train/evaluate/umap.h"
#include "train/evaluate/z_norm.h"
#include "train/report/chart.h"
#include "train/report/phrases.h"
#include "train/report/screen_figures.h"
#include "train/run_directory.h"

namespace mono::report {
namespace {

std::vector<int> used_sites(const RunSetup& setup) {
  std::set<int> all;
  for (const auto* part :
       {&setup.split.train, &setup.split.validation, &setup.split.test, &setup.split.bank})
    all.insert(part->begin(), part->end());
  return {all.begin(), all.end()};
}

Scatter map_of(const Dataset& d, const ControlsEmbedding& e, const Features& features,
               const std::string& how) {
  UmapOptions options;
  options.metric = UmapMetric::cosine;
  const Umap map = umap(features, options);
  Scatter scatter{.title = "Negative controls: " + how,
                  .description = "UMAP of embeddings, coloured by experiment",
                  .x = {.label = "UMAP 1", .ticks = false},
                  .y = {.label = "UMAP 2", .ticks = false}};
  std::map<int, Points> groups;
  for (int i = 0; i < map.points.rows; ++i) {
    const int experiment = e.experiment[static_cast<size_t>(i)];
    Points& group = groups[experiment];
    group.name = d.experiments[static_cast<size_t>(experiment)];
    group.x.push_back(map.points.row(i)[0]);
    group.y.push_back(map.points.row(i)[1]);
  }
  for (auto& [experiment, group] : groups) scatter.groups.push_back(std::move(group));
  scatter.point = e.sites.size() < 100 ? 7 : e.sites.size() < 2000 ? 4 : 2.4;
  scatter.equal_units = true;
  scatter.width = 430;
  scatter.height = 380;
  return scatter;
}

}  // namespace

ControlsEmbedding embed_controls(const TrainedRun& run) {
  const RunSetup& setup = *run.setup;
  const Dataset& d = setup.dataset;
  std::vector<int> all = used_sites(setup);
  ControlsEmbedding result;
  // Statistics of an experiment need two images.
  std::map<int, int> images;
  for (const int i : all) ++images[d.sites[static_cast<size_t>(i)].experiment];
  for (const auto& [experiment, n] : images)
    if (n < 2) result.left_out.push_back(d.experiments[static_cast<size_t>(experiment)]);
  std::erase_if(all,
                [&](int i) { return images.at(d.sites[static_cast<size_t>(i)].experiment) < 2; });
  std::map<std::tuple<int, int, std::string>, int> wells;
  for (const int i : all) {
    const Site& s = d.sites[static_cast<size_t>(i)];
    if (s.well_type != WellType::negative_control) continue;
    result.sites.push_back(i);
    result.experiment.push_back(s.experiment);
    const int next = static_cast<int>(wells.size());
    result.well.push_back(
        wells.emplace(std::tuple(s.experiment, s.plate, s.well), next).first->second);
  }
  constexpr size_t kLeast = 4;
  if (result.sites.size() < kLeast)
    fail(ErrorKind::data,
         "{}: the run's screen has {} images of negative controls (in experiments of two images or "
         "more), too few for a map of them; leave --run out",
         d.root.string(), result.sites.size());
  if (setup.recipe.batch.form == BatchForm::views) {
    result.how_before = "the network's features";
    result.how_after = "Z-normed features";
    result.before = *image_features(setup, *run.model, result.sites, {.task = "embed"});
    result.after = z_norm(result.before, result.experiment, {}, ZNorm::all);
    return result;
  }
  result.how_before = "running statistics";
  result.how_after = "the experiment's own statistics (AdaBN)";
  const auto embed = [&](std::span<const int> sites, StatisticsMode mode) {
    Features features;
    forward_images(setup, *run.model, sites, {.task = "embed", .mode = mode},
                   [&](std::span<const int> batch, const ModelOutput& output) {
                     const Tensor& rows = output.embedding.value();
                     if (features.rows == 0)
                       features = Features(static_cast<int>(result.sites.size()),
                                           static_cast<int>(rows.shape().back()));
                     for (size_t n = 0; n < batch.size(); ++n) {
                       const auto at = std::ranges::lower_bound(result.sites, batch[n]);
                       if (at == result.sites.end() || *at != batch[n]) continue;  // no control
                       std::ranges::copy(
                           row_of(rows, static_cast<int>(n)),
                           features.row(static_cast<int>(at - result.sites.begin())).begin());
                     }
                   });
    return features;
  };
  result.before = embed(result.sites, StatisticsMode::running);
  // An experiment's statistics are those of all of its images.
  result.after = embed(all, StatisticsMode::experiment);
  return result;
}

std::string add_embedding(Page& page, const std::filesystem::path& run_folder,
                          const TrainedRun& run, const ControlsEmbedding& e) {
  const Dataset& d = run.setup->dataset;
  const RunInfo info = read_run_info(run_folder);
  page.section("Negative controls in an embedding");
  page.paragraph(fmt::format(
      "{} of {} in {}, all untreated: whatever tells experiments apart here is a batch "
      "effect{}. The network: recipe {}, {} steps of training, on {}.",
      plural(static_cast<int64_t>(e.sites.size()), "image", "images"),
      plural(static_cast<int64_t>(std::set<int>(e.well.begin(), e.well.end()).size()), "well",
             "wells"),
      plural(static_cast<int64_t>(std::set<int>(e.experiment.begin(), e.experiment.end()).size()),
             "experiment", "experiments"),
      d.cell_types.size() > 1 ? ", or the cell type" : "", run.setup->recipe.name, count(run.step),
      info.data));
  std::set<int> types;
  std::set<int> experiments(e.experiment.begin(), e.experiment.end());
  for (const int x : experiments) types.insert(d.cell_type_of[static_cast<size_t>(x)]);
  if (types.size() > 1 && types.size() == experiments.size())
    page.note(
        "Every experiment here is of another cell type: what is said of experiments is said of "
        "cell types as well, and cells do differ. Correction should not be asked to hide that.",
        Badge::caution);
  if (!e.left_out.empty()) {
    std::string names;
    for (const std::string& name : e.left_out) names += (names.empty() ? "" : ", ") + name;
    page.note(fmt::format("Left out, for having a single image: {}.", names));
  }
  const Scatter before = map_of(d, e, e.before, e.how_before),
                after = map_of(d, e, e.after, e.how_after);
  page.figures({draw(before), draw(after)},
               "UMAP of the same images, each map by itself; distances between maps mean nothing.");
  const auto near = same_experiment_neighbours(e.before, e.experiment, e.well),
             near_after = same_experiment_neighbours(e.after, e.experiment, e.well);
  if (!near || !near_after) {
    page.note(
        "How many neighbours are of the same experiment cannot be said: that takes two "
        "experiments, and two untreated wells in one of them.");
    return {};
  }
  Table table{.caption = fmt::format("Of the {} nearest neighbours of an image among the {} images "
                                     "(by cosine, its own well left out), those of its experiment",
                                     near->k, near->rows),
              .columns = {{"with"}, {"same experiment", true}, {"by chance", true}},
              .rows = {{e.how_before, percent(near->share), percent(near->chance)},
                       {e.how_after, percent(near_after->share), percent(near_after->chance)}}};
  page.table(table);
  return fmt::format("Neighbours of the same experiment: {} with {}, {} with {}, {} by chance.",
                     percent(near->share), e.how_before, percent(near_after->share), e.how_after,
                     percent(near->chance));
}

}  // namespace mono::report
