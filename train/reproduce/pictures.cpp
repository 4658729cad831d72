#include "train/reproduce/pictures.h"

#include <fmt/format.h>

#include <algorithm>

#include "train/evaluate/embedded_images.h"
#include "train/evaluate/run_features.h"
#include "train/test_curve.h"

namespace mono {
namespace {

using report::Figure;

// What a figure may draw from.
struct Sources {
  const Plan& plan;
  const PlannedExperiment& planned;
  const Execution& execution;
  const Result& result;
  Device device;

  const Screen& screen() const {
    const auto found = plan.screens.find(planned.experiment->screen);
    if (found == plan.screens.end()) throw NoPicture("the screen is not given");
    return found->second;
  }
  // The folds and seeds of a row, in the point of the grid that stands in the table.
  const std::vector<Replicate>& replicates(size_t row) const {
    return planned.rows[row].replicates[result.rows[row].point];
  }
  const std::string& name(size_t row) const { return planned.rows[row].row->name; }
  // The folder of a row's run, which must have been trained.
  const std::filesystem::path& folder(size_t row, const Replicate& replicate) const {
    const size_t run = replicate.columns.front().run;
    if (!execution.runs[run].reason.empty())
      throw NoPicture(fmt::format("row {}: {}", name(row), execution.runs[run].reason));
    return plan.runs[run].folder;
  }
};

// ---- of the screen ----------------------------------------------------------------------------

template <class Draw>
Figure of_images(const Sources& sources, Draw draw) {
  const Screen& screen = sources.screen();
  if (!screen.has_images()) throw NoPicture(screen.data.string() + ": there are no images to show");
  Dataset dataset = screen.dataset;  // opening may correct it
  const std::unique_ptr<ImageSource> images = open_images(dataset, screen.cache, 0);
  return draw(dataset, *images);
}

Figure figure_1c(const Sources& sources) {
  return of_images(sources, [](const Dataset& dataset, const ImageSource& images) {
    return report::treatments_by_experiment_figure("rxrx1_fig1c", dataset, images, 2, 4);
  });
}

Figure figure_2(const Sources& sources) {
  return of_images(sources, [](const Dataset& dataset, const ImageSource& images) {
    return report::channels_figure(dataset, images);
  });
}

Figure figure_3(const Sources& sources) {
  return of_images(sources, [](const Dataset& dataset, const ImageSource& images) {
    return report::treatments_by_experiment_figure("rxrx1_fig3", dataset, images, 5, 5);
  });
}

Figure figure_4(const Sources& sources) {
  return of_images(sources, [](const Dataset& dataset, const ImageSource& images) {
    return report::cell_types_figure(dataset, images);
  });
}

Figure cdcl_figure_3(const Sources& sources) {
  return of_images(sources, [](const Dataset& dataset, const ImageSource& images) {
    return report::treatments_by_experiment_figure("cdcl_fig3", dataset, images, 2, 6, true);
  });
}

// ---- of the model -----------------------------------------------------------------------------

// The network of Table 1's baseline, as a run on this screen would have it.
Figure figure_5(const Sources& sources) {
  const Screen& screen = sources.screen();
  RunSetup setup;
  setup.recipe = load_recipe((sources.result.scale.smoke ? "smoke/" : "") +
                             std::string("rxrx1/table1/baseline"));
  setup.channels.resize(channel_count(setup.recipe, screen.dataset));
  setup.classes = screen.dataset.num_classes;
  setup.experiments = static_cast<int>(screen.dataset.experiments.size());
  return report::model_figure("rxrx1_" + setup.recipe.model.backbone, model_options(setup),
                              {.image_size = screen.side()});
}

// ---- of runs ----------------------------------------------------------------------------------

// The test images of one run of each method.
std::vector<EmbeddedImages> embeddings(const Sources& sources) {
  std::vector<EmbeddedImages> methods;
  for (size_t row = 0; row < sources.planned.rows.size(); ++row) {
    const Replicate& replicate = sources.replicates(row).front();
    FeatureOptions options;
    options.parts = {Part::test};
    options.device = sources.device;
    const RunFeatures features = features_of(sources.folder(row, replicate), options);
    methods.push_back(embedded_images(features.set, sources.name(row)));
    methods.back().run = sources.plan.runs[replicate.columns.front().run].place();
  }
  return methods;
}

Figure figure_6(const Sources& sources) {
  std::vector<EmbeddedImages> methods;
  for (const EmbeddedImages& method : embeddings(sources))
    methods.push_back(method.of_widest_cell_type());
  return report::umap_figure(methods, {.name = "rxrx1_fig6"});
}

Figure figure_7(const Sources& sources) {
  return report::similarity_figure(embeddings(sources), {.name = "rxrx1_fig7"});
}

Figure cdcl_figure_1(const Sources& sources) {
  return report::umap_figure(embeddings(sources), {.name = "cdcl_fig1"});
}

Figure cdcl_figure_2(const Sources& sources) {
  return report::umap_figure(embeddings(sources),
                             {.name = "cdcl_fig2", .z_norm = true, .inset = true});
}

report::ChannelAccuracies accuracies(const Sources& sources) {
  const char* const stains[] = {"nuclei", "ER", "actin", "nucleoli", "mitochondria", "Golgi"};
  std::map<std::string, std::vector<double>> seeds;
  size_t channels = 0;
  for (const ResultRow& row : sources.result.rows) {
    for (const double value : row.cells.at("separated").there())
      seeds[row.name].push_back(value / 100);
    for (const char digit : row.name)
      channels = std::max(channels, static_cast<size_t>(digit - '0'));
  }
  std::vector<std::string> names;
  for (size_t c = 0; c < channels; ++c) names.push_back(fmt::format("{} {}", c + 1, stains[c]));
  const double chance = 1.0 / sources.screen().dataset.num_classes;
  return report::channel_accuracies("Baseline", names, chance, seeds);
}

Figure figure_8(const Sources& sources) {
  const report::ChannelAccuracies baseline = accuracies(sources);
  if (!std::ranges::all_of(baseline.accuracy,
                           [](const report::Spread& value) { return value.count > 0; }))
    throw NoPicture("Shapley values take a run on every subset of the channels");
  return report::shapley_figure({&baseline, 1});
}

Figure figure_9(const Sources& sources) {
  return report::channel_subsets_figure(accuracies(sources));
}

Figure figure_10(const Sources& sources) {
  std::vector<report::AccuracyCurves> methods;
  for (size_t row = 0; row < sources.planned.rows.size(); ++row) {
    report::AccuracyCurves curves{.title = sources.name(row), .seeds = {}};
    for (const Replicate& replicate : sources.replicates(row)) {
      report::AccuracyCurves::Curve curve{static_cast<uint64_t>(replicate.seed), {}, {}};
      for (const TestCurvePoint& point : read_test_curve(sources.folder(row, replicate))) {
        curve.epoch.push_back(static_cast<double>(point.epoch));
        curve.accuracy.push_back(point.accuracy);
      }
      if (curve.epoch.empty())
        throw NoPicture(fmt::format(
            "row {}: no test accuracy was recorded (with --grid it never is: points are not "
            "chosen by it)",
            sources.name(row)));
      curves.seeds.push_back(std::move(curve));
    }
    methods.push_back(std::move(curves));
  }
  return report::accuracy_curves_figure(methods);
}

struct Entry {
  const char* id;
  Figure (*draw)(const Sources&);
};
constexpr Entry kPictures[] = {
    {"rxrx1/fig1c", figure_1c},   {"rxrx1/fig2", figure_2},     {"rxrx1/fig3", figure_3},
    {"rxrx1/fig4", figure_4},     {"rxrx1/fig5", figure_5},     {"rxrx1/fig6", figure_6},
    {"rxrx1/fig7", figure_7},     {"rxrx1/fig8", figure_8},     {"rxrx1/fig9", figure_9},
    {"rxrx1/fig10", figure_10},   {"cdcl/fig1", cdcl_figure_1}, {"cdcl/fig2", cdcl_figure_2},
    {"cdcl/fig3", cdcl_figure_3},
};

const Entry* find(const Experiment& experiment) {
  const auto found = std::ranges::find_if(
      kPictures, [&](const Entry& entry) { return experiment.id == entry.id; });
  return found == std::end(kPictures) ? nullptr : found;
}

}  // namespace

bool has_picture(const Experiment& experiment) {
  return find(experiment) != nullptr;
}

report::Figure picture_of(const Plan& plan, const PlannedExperiment& planned,
                          const Execution& execution, const Result& result, Device device) {
  const Entry* entry = find(*planned.experiment);
  MONO_CHECK(entry, "{} is not drawn", planned.experiment->id);
  Figure figure = entry->draw({plan, planned, execution, result, device});
  if (!result.scale.ours()) report::label(figure, result.scale.text());
  return figure;
}

}  // namespace mono
