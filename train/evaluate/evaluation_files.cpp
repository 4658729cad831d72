// What an evaluation leaves: JSON, CSV, the experiments' statistics, and the table on the terminal.
#include <fmt/format.h>

#include "models/safetensors.h"
#include "train/data/csv.h"
#include "train/evaluate/evaluate.h"
#include "train/json.h"
#include "train/recipe_keys.h"
#include "train/run_directory.h"

namespace mono {
namespace {

template <class E>
std::string key_of(E value) {
  return EnumNames<E>::list()[static_cast<size_t>(value)];
}

bool classifies_experiments(const TrainedRun& run) {
  return run.setup->recipe.data.target == Target::experiment;
}

// site_id,sirna_id,predicted,experiment,predicted_experiment. An unknown siRNA is an empty field.
// Where the experiment is the target there is no predicted siRNA, and predicted_experiment is the
// main head's answer.
std::string predictions_csv(const TrainedRun& run, const Evaluation& evaluation) {
  const Dataset& dataset = run.setup->dataset;
  std::string csv = "site_id,sirna_id,predicted,experiment,predicted_experiment\n";
  for (const Classified& image : evaluation.images) {
    const Site& site = dataset.sites[static_cast<size_t>(image.site)];
    const bool main_head = classifies_experiments(run);
    const int experiment = main_head ? image.predicted : image.predicted_experiment;
    csv += fmt::format(
        "{},{},{},{},{}\n", csv_field(site.site_id),
        site.sirna_id < 0 ? "" : fmt::to_string(site.sirna_id),
        main_head ? "" : fmt::to_string(image.predicted),
        csv_field(dataset.experiments[static_cast<size_t>(site.experiment)]),
        experiment < 0 ? "" : csv_field(dataset.experiments[static_cast<size_t>(experiment)]));
  }
  return csv;
}

Json shares(const std::map<std::string, Share>& by_name) {
  Json json = Json::object();
  for (const auto& [name, share] : by_name) json[name] = share.value();
  return json;
}

Json evaluation_json(const TrainedRun& run, const Evaluation& evaluation,
                     const std::string& predictions) {
  const Recipe& recipe = run.setup->recipe;
  const AccuracyFigures& figures = evaluation.figures;
  const bool labelled = figures.overall.images > 0;
  Json json = Json::object();
  json["format_version"] = 1;
  json["split"] = key_of(recipe.data.split);
  json["statistics"] = name_of(evaluation.mode);
  json["part"] = run.on_training_images ? "train" : "test";
  json["images"] = figures.images;
  json["labelled_images"] = figures.overall.images;
  json["classes"] = run.setup->classes;
  json["target"] = key_of(recipe.data.target);
  json["accuracy"] = labelled ? Json(figures.overall.value()) : Json();
  json["loss"] = labelled ? Json(figures.loss) : Json();
  json["accuracy_by_cell_type"] = shares(figures.by_cell_type);
  json["accuracy_by_experiment"] = shares(figures.by_experiment);
  json["batch_accuracy"] =
      has_batch_accuracy(run, evaluation) ? Json(figures.batch->value()) : Json();
  json["predictions"] = predictions;
  json["recipe"] = recipe.name;
  json["recipe_hash"] = run.recipe_hash;
  json["seed"] = recipe.seed;
  json["step"] = run.step;
  json["data"] = run.setup->dataset.root.string();
  json["stratified_by"] =
      recipe.data.split == SplitBy::stratified ? Json(key_of(recipe.data.stratified_by)) : Json();
  return json;
}

// <norm>.mean and .variance (experiments, C), .count (experiments): pixels behind each.
void write_statistics(const std::filesystem::path& path, const TrainedRun& run,
                      const ExperimentStatistics& own) {
  const size_t rows = own.experiments.size();
  const int64_t columns = run.model->norms().columns();
  const Tensor mean = own.table.mean().to(Device::cpu);
  const Tensor variance = own.table.variance().to(Device::cpu);
  std::vector<std::vector<float>> values;
  std::vector<SafetensorsTensor> tensors;
  const size_t layers = run.model->norms().layers().size();
  values.reserve(2 * layers);
  std::vector<std::vector<double>> counts;
  counts.reserve(layers);
  for (const NormLayer& layer : run.model->norms().layers()) {
    const std::vector<int64_t> shape = {static_cast<int64_t>(rows), layer.channels};
    for (const auto& [name, table] : {std::pair{".mean", mean}, std::pair{".variance", variance}}) {
      std::vector<float>& flat = values.emplace_back();
      for (size_t row = 0; row < rows; ++row) {
        const float* from =
            table.data<float>() + static_cast<int64_t>(row) * columns + layer.offset;
        flat.insert(flat.end(), from, from + layer.channels);
      }
      tensors.push_back(safetensors_f32(layer.name + name, shape, flat));
    }
    std::vector<double>& count = counts.emplace_back();
    for (size_t row = 0; row < rows; ++row)
      count.push_back(own.table.count(static_cast<int>(row), layer.index));
    tensors.push_back(safetensors_f64(layer.name + ".count", {static_cast<int64_t>(rows)}, count));
  }
  Json experiments = Json::array();
  for (const int experiment : own.experiments)
    experiments.push_back(run.setup->dataset.experiments[static_cast<size_t>(experiment)]);
  write_safetensors(path.string(), tensors,
                    {{"format_version", "1"}, {"experiments", experiments.line()}});
}

std::string percent(const Share& share) {
  return fmt::format("{:>8.2f} %  {:>8}", 100 * share.value(), share.images);
}

}  // namespace

std::filesystem::path write_evaluation(const std::filesystem::path& run_folder,
                                       const TrainedRun& run, const Evaluation& evaluation) {
  // What is found on another screen does not replace the run's own figures.
  std::filesystem::path folder = run_folder / "evaluation";
  if (run.other_screen)
    folder /= "on-" + std::filesystem::canonical(run.setup->dataset.root).filename().string();
  make_folder(folder);
  const std::string name =
      fmt::format("{}-{}{}", key_of(run.setup->recipe.data.split), name_of(evaluation.mode),
                  run.on_training_images ? "-training-images" : "");
  const std::filesystem::path json = folder / (name + ".json");
  if (!evaluation.statistics.experiments.empty())
    write_statistics(folder / (name + ".safetensors"), run, evaluation.statistics);
  write_file_durably((folder / (name + ".csv")).string(), predictions_csv(run, evaluation));
  write_file_durably(json.string(), evaluation_json(run, evaluation, name + ".csv").text());
  return json;
}

std::string evaluation_text(const TrainedRun& run, const Evaluation& evaluation) {
  const RunSetup& setup = *run.setup;
  const AccuracyFigures& figures = evaluation.figures;
  std::string split = key_of(setup.recipe.data.split);
  if (setup.recipe.data.split == SplitBy::stratified)
    split += fmt::format(" (by {})", key_of(setup.recipe.data.stratified_by));
  std::string text =
      fmt::format("{}, seed {}, step {}: {} split, {} statistics, {} {} images, {} classes\n",
                  setup.recipe.name, setup.recipe.seed, run.step, split, name_of(evaluation.mode),
                  figures.images, run.on_training_images ? "TRAINING" : "test", setup.classes);
  if (evaluation.mode == StatisticsMode::experiment)
    text +=
        "Batch norm: each experiment's own statistics, from these images alone, in two passes.\n";
  if (run.on_training_images)
    text +=
        "The experiment is the target and the separated split's test experiments were never seen,\n"
        "so these are the images of training: the figures say how well they are remembered.\n"
        "For unseen images train with --set data.split=stratified.\n";
  if (!setup.left_out.empty())
    text += fmt::format("{} sites of the screen are left out: images missing or unreadable\n",
                        setup.left_out.size());
  if (figures.overall.images < figures.images)
    text += fmt::format("{} images have no label: predicted, not counted\n",
                        figures.images - figures.overall.images);
  if (figures.overall.images == 0) return text;

  size_t width = 14;
  for (const auto& [name, share] : figures.by_experiment) width = std::max(width, name.size() + 2);
  const auto row = [&](const std::string& name, const Share& share) {
    text += fmt::format("{:<{}} {}\n", name, width, percent(share));
  };
  text += fmt::format("\n{:<{}} {:>10}  {:>8}\n", "", width, "accuracy", "images");
  row("all", figures.overall);
  for (const auto& [name, share] : figures.by_cell_type) row(name, share);
  for (const auto& [name, share] : figures.by_experiment) row("  " + name, share);
  if (has_batch_accuracy(run, evaluation)) {
    row("batch accuracy", *figures.batch);
    text += fmt::format("{:<{}} {:>8.2f} %\n", "  by chance", width, 100.0 / setup.experiments);
  }
  text += fmt::format("loss           {:>{}.4f}\n", figures.loss, static_cast<int>(width) - 4);
  return text;
}

}  // namespace mono
