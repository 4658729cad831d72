#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "train/explain/explained.h"

namespace mono {
namespace {

using namespace explained;
using report::BarChart;
using report::BoxPlot;
using report::Cell;
using report::HeatMap;
using report::LineChart;
using report::Series;
using report::Table;

using Distances = std::vector<StatisticsDistance> AdabnLayer::*;
using Part = double StatisticsDistance::*;

double mean_of(const AdabnLayer& layer, Distances which, Part part) {
  double sum = 0;
  for (const StatisticsDistance& distance : layer.*which) sum += distance.*part;
  return sum / static_cast<double>((layer.*which).size());
}

// The mean over the layers of the mean over the experiments.
double mean_of(const AdabnExplanation& found, Distances which, Part part) {
  double sum = 0;
  for (const AdabnLayer& layer : found.layers) sum += mean_of(layer, which, part);
  return sum / static_cast<double>(found.layers.size());
}

Series series_of(const AdabnExplanation& found, std::string name, Distances which, Part part,
                 int colour) {
  Series series{.name = std::move(name), .x = layer_numbers(found.layers.size()), .colour = colour};
  for (const AdabnLayer& layer : found.layers) {
    series.y.push_back(mean_of(layer, which, part));
    const auto [low, high] = std::ranges::minmax(layer.*which, {}, part);
    series.low.push_back(low.*part);
    series.high.push_back(high.*part);
  }
  return series;
}

constexpr const char* kLayerAxis = "batch norm, in forward order";

LineChart distance_chart(const AdabnExplanation& found, Part part, const char* title,
                         const char* unit) {
  LineChart chart{.title = title,
                  .description = "Distance of the experiments' statistics for each batch norm",
                  .x = {.label = kLayerAxis},
                  .y = {.label = unit, .low = 0}};
  chart.series = {series_of(found, "before", &AdabnLayer::before, part, report::vermilion),
                  series_of(found, "own share", &AdabnLayer::own, part, report::orange),
                  series_of(found, "after", &AdabnLayer::after, part, report::blue)};
  return chart;
}

std::vector<std::string> names_of(const AdabnExplanation& found) {
  std::vector<std::string> names;
  for (const AdabnLayer& layer : found.layers) names.push_back(layer.name);
  return names;
}

Table layer_table(const AdabnExplanation& found) {
  Table table{.caption = "All layers: means over the experiments",
              .columns = {{"Batch norm"},
                          {"No.", true},
                          {"Channels", true},
                          {"Shift before", true},
                          {"Shift, own", true},
                          {"Shift after", true},
                          {"Scale before", true},
                          {"Scale, own", true},
                          {"Scale after", true},
                          {"Probe before", true},
                          {"Probe after", true}}};
  for (size_t l = 0; l < found.layers.size(); ++l) {
    const AdabnLayer& layer = found.layers[l];
    std::vector<Cell> row = {layer.name, fmt::to_string(l + 1), fmt::to_string(layer.channels)};
    for (const Part part : {&StatisticsDistance::shift, &StatisticsDistance::scale})
      for (const Distances which : {&AdabnLayer::before, &AdabnLayer::own, &AdabnLayer::after})
        row.push_back(number(mean_of(layer, which, part)));
    row.push_back(percent(layer.probe_before));
    row.push_back(percent(layer.probe_after));
    table.rows.push_back(std::move(row));
  }
  return table;
}

HeatMap heat_map(const AdabnExplanation& found, Distances which, const char* title, double high) {
  HeatMap map{.title = title,
              .description = "Shift of every experiment in every batch norm",
              .rows = found.experiments,
              .row_title = "experiment",
              .column_title = kLayerAxis,
              .unit = "shift",
              .low = 0,
              .high = high};
  for (size_t l = 0; l < found.layers.size(); ++l) map.columns.push_back(fmt::to_string(l + 1));
  for (size_t e = 0; e < found.experiments.size(); ++e)
    for (const AdabnLayer& layer : found.layers) map.values.push_back((layer.*which)[e].shift);
  return map;
}

void add_method(report::Page& page, const TrainedRun& run) {
  page.section("What AdaBN does");
  page.code(
      "y = gamma * (x - mean) / sqrt(variance + eps) + beta\n\n"
      "before   mean, variance:        averages over all of training\n"
      "after    mean[d], variance[d]:  of the image's own experiment d, over all its pixels");
  page.paragraph(
      "RxRx1, section 4.2: batch norm uses \"statistics from individual domain distributions ... "
      "rather than the entire dataset distribution, both during training and at test time\" (Li et "
      "al. 2016). An experiment that is stained darker or denser moves the activations of all its "
      "images alike; its own mean and variance take that out again, in every layer, without a "
      "label and without touching a weight. Gamma and beta are shared by all experiments.");
  page.paragraph(
      run.setup->recipe.domain.adabn
          ? "This run was trained that way: each group of training images came from one experiment "
            "and was normalised with its own statistics. \"Before\" takes the correction away: the "
            "same weights with running statistics, which training only kept count of."
          : "This run was trained without it: its groups mixed experiments, and its weights expect "
            "the average of all of them. \"After\" is therefore a control, not AdaBN: the "
            "correction at test time alone. What it gains here needs no special training; compare "
            "with a run that was trained with it.");
}

// What the images were to the run.
const char* part_of(const TrainedRun& run) {
  return run.on_training_images ? "training" : "test";
}

std::string distance_sentence(const AdabnExplanation& found) {
  const Part shift = &StatisticsDistance::shift;
  size_t worst = 0;
  for (size_t l = 0; l < found.layers.size(); ++l)
    if (mean_of(found.layers[l], &AdabnLayer::before, shift) >
        mean_of(found.layers[worst], &AdabnLayer::before, shift))
      worst = l;
  const double before = mean_of(found, &AdabnLayer::before, shift);
  const double own = mean_of(found, &AdabnLayer::own, shift);
  const double after = mean_of(found, &AdabnLayer::after, shift);
  return fmt::format(
      "Seen here: on average over the layers, an experiment's channels lie {} running standard "
      "deviations from where the layer expects them; the most, {}, in batch norm {} ({}). With the "
      "layers below corrected they lie {} away, each layer's own share; after its own correction, "
      "{} of the experiment's own standard deviations.",
      number(before), number(mean_of(found.layers[worst], &AdabnLayer::before, shift)), worst + 1,
      found.layers[worst].name, number(own), number(after));
}

void add_distances(report::Page& page, const TrainedRun& run, const AdabnExplanation& found) {
  page.section("How far an experiment lies from the running statistics");
  page.code(
      "shift = sqrt( mean over channels of ((mean_e - mean_run) / sigma_run)^2 )\n"
      "scale = sqrt( mean over channels of (log(sigma_e / sigma_run))^2 ),   sigma = sqrt(variance "
      "+ eps)");
  page.paragraph(fmt::format(
      "mean_e and sigma_e are those of the layer's input over all pixels of an experiment's {} "
      "images. A shift of 1 means that its channels are off by a whole standard deviation, a scale "
      "of 0.7 by a factor of two. Three distances: \"before\" is what the layer meets with running "
      "statistics in every layer below, and hands on; \"own share\" is what it meets with the "
      "layers below corrected; \"after\" is what remains once it uses the experiment's own "
      "statistics itself (mean_run and sigma_run are then those).",
      part_of(run)));
  page.paragraph(distance_sentence(found));
  page.figure(distance_chart(found, &StatisticsDistance::shift, "Shift of the means",
                             "shift (running std)"),
              "Mean over the experiments; the band reaches from the nearest to the farthest one. " +
                  stages_of(names_of(found)) + ".");
  page.figure(distance_chart(found, &StatisticsDistance::scale, "Change of the spread",
                             "|log sigma ratio| (rms)"),
              "The same for the standard deviations.");
  page.folded_table(layer_table(found));
  double high = 0;
  for (const AdabnLayer& layer : found.layers)
    for (const StatisticsDistance& distance : layer.before) high = std::max(high, distance.shift);
  page.subsection("Experiment by experiment");
  page.figure(heat_map(found, &AdabnLayer::before, "Before: running statistics", high),
              "A row is an experiment, a column a batch norm. Dark: as the layer expects.");
  page.figure(heat_map(found, &AdabnLayer::after, "After: own statistics, on the same scale", high),
              "The same after correction.");
}

void add_probes(report::Page& page, const TrainedRun& run, const AdabnExplanation& found) {
  page.section("Can the experiment still be read?");
  if (found.experiments.size() < 2) {
    page.note(fmt::format(
        "These {} images are of one experiment: there is nothing for a probe to tell apart. A run "
        "with data.split = stratified, or one whose test set has several experiments, shows it.",
        part_of(run)));
    return;
  }
  page.code(
      "feature[c] = mean over pixels of relu(gamma (x - mean) / sigma + beta)     what the next "
      "layer sees, pooled; where no ReLU follows, without it\n"
      "probe      = softmax regression: feature -> experiment");
  page.paragraph(fmt::format(
      "RxRx1 section 3.2.3 measures a batch effect by a linear probe. Here there is one for every "
      "layer, taught by {} of the images and asked on the other {} (other wells). Naming the most "
      "frequent experiment is right on {}.",
      found.bank, found.queries, percent(found.chance)));
  const AdabnLayer &first = found.layers.front(), &last = found.layers.back();
  page.paragraph(fmt::format(
      "Seen here: in the first layer the probe names the experiment of {} of the images before and "
      "of {} after correction; in the last one, from which classes are read, of {} and {}.",
      percent(first.probe_before), percent(first.probe_after), percent(last.probe_before),
      percent(last.probe_after)));
  LineChart chart{.title = "Experiment, read by a linear probe",
                  .description = "Accuracy of a linear probe for every batch norm",
                  .x = {.label = kLayerAxis},
                  .y = {.label = "right (%)", .low = 0, .high = 100},
                  .marks = {{100 * found.chance, "chance"}},
                  .points = true};
  Series before{.name = "before", .colour = report::vermilion};
  Series after{.name = "after", .colour = report::blue};
  before.x = after.x = layer_numbers(found.layers.size());
  for (const AdabnLayer& layer : found.layers) {
    before.y.push_back(in_percent(layer.probe_before));
    after.y.push_back(in_percent(layer.probe_after));
  }
  chart.series = {before, after};
  page.figure(chart,
              "The lower, the less of the experiment is left in the pooled features. Means are "
              "equal after correction by construction; what a probe still finds is in the shape of "
              "the distributions, which a ReLU brings out, or in which treatments an experiment's "
              "images "
              "happen to show. Somewhat below chance means nothing left: around a common mean, "
              "what is above it in the half that teaches is below it in the half that asks.");
}

void add_example(report::Page& page, const TrainedRun& run, const AdabnExplanation& found) {
  if (!found.example) return;
  const ChannelExample& example = *found.example;
  page.section("One channel, looked at");
  page.paragraph(fmt::format(
      "Of all channels of all layers, channel {} of {} shows the experiment most clearly with "
      "running statistics: between experiments its pooled output varies {} times as much as within "
      "them. After correction that ratio is {}.",
      example.channel, example.layer, number(example.ratio_before), number(example.ratio_after)));
  double low = std::numeric_limits<double>::infinity(), high = 0;
  for (const auto* values : {&example.before, &example.after})
    for (const auto& of_experiment : *values)
      for (const double value : of_experiment) {
        low = std::min(low, value);
        high = std::max(high, value);
      }
  const auto plot = [&](const char* title, const std::vector<std::vector<double>>& values) {
    BoxPlot box{.title = title,
                .description = "Pooled outputs of one channel by experiment",
                .value = {.label = "pooled output", .low = low, .high = high}};
    for (size_t e = 0; e < values.size(); ++e)
      box.rows.push_back({.name = found.experiments[e], .values = values[e]});
    return box;
  };
  page.figure(plot("Before", example.before),
              fmt::format("A dot is a {} image. Where experiments hold the same treatments, what "
                          "separates the rows is the experiment.",
                          part_of(run)));
  page.figure(plot("After", example.after), "The same images and the same channel.");
}

void add_accuracy(report::Page& page, const TrainedRun& run, const AdabnExplanation& found) {
  page.section("What it does for the classes");
  if (found.accuracy_before.images == 0) {
    page.note("The labels of these images are unknown.");
    return;
  }
  page.paragraph(fmt::format(
      "Seen here: of {} images with a known label {} are named right with running statistics and "
      "{} with own ones (RxRx1 section 5: each image by itself, all classes compete).",
      found.accuracy_before.images, percent(found.accuracy_before), percent(found.accuracy_after)));
  BarChart chart{.title = fmt::format("Accuracy on {} images", part_of(run)),
                 .description = "Accuracy by experiment before and after",
                 .value = {.label = "right (%)", .high = 100}};
  chart.categories = found.experiments;
  report::Bars before{.name = "before", .colour = report::vermilion};
  report::Bars after{.name = "after", .colour = report::blue};
  for (size_t e = 0; e < found.experiments.size(); ++e) {
    before.values.push_back(in_percent(found.before_of[e]));
    after.values.push_back(in_percent(found.after_of[e]));
  }
  chart.categories.insert(chart.categories.begin(), "all");
  before.values.insert(before.values.begin(), in_percent(found.accuracy_before));
  after.values.insert(after.values.begin(), in_percent(found.accuracy_after));
  chart.series = {before, after};
  page.figure(chart, "By experiment.");
}

Json distances(const std::vector<StatisticsDistance>& values) {
  Json json = Json::object();
  json["shift"] = Json::array();
  json["scale"] = Json::array();
  for (const StatisticsDistance& distance : values) {
    json["shift"].push_back(distance.shift);
    json["scale"].push_back(distance.scale);
  }
  return json;
}

Json adabn_numbers(const TrainedRun& run, const AdabnExplanation& found) {
  Json json = numbers_of("adabn", run);
  json["adabn"] = run.setup->recipe.domain.adabn;
  json["part"] = run.on_training_images ? "train" : "test";
  json["experiments"] = found.experiments;
  json["images"] = found.images;
  json["probe_bank"] = found.bank;
  json["probe_queries"] = found.queries;
  json["chance"] = found.chance;
  json["accuracy_before"] = fraction(found.accuracy_before);
  json["accuracy_after"] = fraction(found.accuracy_after);
  json["layers"] = Json::array();
  for (const AdabnLayer& layer : found.layers) {
    Json entry = Json::object();
    entry["name"] = layer.name;
    entry["channels"] = layer.channels;
    entry["before"] = distances(layer.before);
    entry["own"] = distances(layer.own);
    entry["after"] = distances(layer.after);
    entry["probe_before"] = fraction(layer.probe_before);
    entry["probe_after"] = fraction(layer.probe_after);
    json["layers"].push_back(std::move(entry));
  }
  if (found.example) {
    Json example = Json::object();
    example["layer"] = found.example->layer;
    example["channel"] = found.example->channel;
    example["ratio_before"] = found.example->ratio_before;
    example["ratio_after"] = found.example->ratio_after;
    json["example"] = std::move(example);
  }
  return json;
}

}  // namespace

Explained show_adabn(const TrainedRun& run, const AdabnExplanation& found,
                     const std::string& command) {
  const bool several = found.experiments.size() > 1;  // for a probe to tell apart
  int64_t images = 0;
  for (const int64_t count : found.images) images += count;
  const std::string what = fmt::format("{} {} images of {} experiment{}", images, part_of(run),
                                       found.experiments.size(), several ? "s" : "");
  const AdabnLayer& last = found.layers.back();

  report::Page page = page_of("AdaBN under the microscope", run);
  page.lead(
      (found.accuracy_before.images == 0
           ? fmt::format("The classes of these {} images are unknown.", part_of(run))
           : fmt::format("Running statistics name {} of these {} images right, {} own {}.",
                         percent(found.accuracy_before), part_of(run),
                         several ? "each experiment's" : "their experiment's",
                         percent(found.accuracy_after))) +
      (several ? fmt::format(" A linear probe on the last layer names the experiment of {} of them "
                             "before and of {} after correction (chance {}).",
                             percent(last.probe_before), percent(last.probe_after),
                             percent(found.chance))
               : ""));
  add_method(page, run);
  add_distances(page, run, found);
  add_probes(page, run, found);
  add_example(page, run, found);
  add_accuracy(page, run, found);
  add_origin(page, run, what + "; of both passes, own statistics are those of these images alone",
             command);

  Explained shown;
  shown.html = page.html();
  shown.numbers = adabn_numbers(run, found);
  const auto line = [&](const char* name, double before, double after) {
    return fmt::format("  {:<44} {:>8}   {:>8}\n", name, number(before), number(after));
  };
  shown.text = fmt::format("AdaBN, {}, {} batch norms\n\n  {:<44} {:>8}   {:>8}\n", what,
                           found.layers.size(), "", "before", "after");
  shown.text += line("shift of the means, running std (layers' mean)",
                     mean_of(found, &AdabnLayer::before, &StatisticsDistance::shift),
                     mean_of(found, &AdabnLayer::after, &StatisticsDistance::shift));
  shown.text += line("change of the spread, log (layers' mean)",
                     mean_of(found, &AdabnLayer::before, &StatisticsDistance::scale),
                     mean_of(found, &AdabnLayer::after, &StatisticsDistance::scale));
  const auto shares = [&](const std::string& name, const std::optional<Share>& before,
                          const std::optional<Share>& after) {
    return fmt::format("  {:<44} {:>8}   {:>8}\n", name, percent(before), percent(after));
  };
  if (several) {
    shown.text +=
        shares(fmt::format("experiment from the first layer (chance {})", percent(found.chance)),
               found.layers.front().probe_before, found.layers.front().probe_after);
    shown.text += shares("experiment from the last layer", last.probe_before, last.probe_after);
  }
  shown.text += shares("accuracy", found.accuracy_before, found.accuracy_after);
  return shown;
}

}  // namespace mono
