#include <fmt/format.h>

#include <algorithm>

#include "train/explain/explained.h"

namespace mono {
namespace {

using namespace explained;
using report::BarChart;
using report::Cell;
using report::LineChart;
using report::Series;
using report::Table;

constexpr const char* kLayerAxis = "convolution or linear layer, from the image on";

Series series_of(const GradientReversalExplanation& found, std::string name,
                 double GradientLayer::*value, int colour, bool dashed = false) {
  Series series{.name = std::move(name),
                .x = layer_numbers(found.layers.size()),
                .colour = colour,
                .dashed = dashed};
  for (const GradientLayer& layer : found.layers) series.y.push_back(layer.*value);
  return series;
}

Table gradient_table(const GradientReversalExplanation& found) {
  Table table{.caption = "All layers",
              .columns = {{"Layer"},
                          {"No.", true},
                          {"Parameters", true},
                          {"|g_main|", true},
                          {"|w g_batch|", true},
                          {"cosine", true},
                          {"|sum|", true},
                          {"sum, attached, with g_batch", true},
                          {"sum, reversed, with g_batch", true}}};
  const auto add = [&](const GradientLayer& layer, const std::string& no) {
    table.rows.push_back({layer.name, no, fmt::to_string(layer.elements), number(layer.main),
                          number(layer.batch), number(layer.cosine), number(layer.sum),
                          number(layer.cosine_before), number(layer.cosine_after)});
  };
  for (size_t l = 0; l < found.layers.size(); ++l) add(found.layers[l], fmt::to_string(l + 1));
  add(found.all, "");
  return table;
}

void add_method(report::Page& page, const GradientReversalExplanation& found) {
  page.section("What gradient reversal does");
  page.code(
      "forward    y = x\n"
      "backward   dx += -lambda dy\n\n"
      "shared layers descend along   g = g_main - lambda w g_batch");
  page.paragraph(
      "RxRx1, section 4.3; Ganin and Lempitsky 2015: the batch head learns to name the experiment, "
      "and what it would need of the layers below is asked of them with the sign turned. g_main is "
      "the gradient of the classes' cross-entropy, g_batch that of the experiments', w the weight "
      "of that loss.");
  page.paragraph(
      found.reversed
          ? fmt::format("In this run lambda was {} and w {} in the step that made these weights.",
                        number(found.lambda), number(found.weight))
          : fmt::format("In this run the head is detached: it is a probe and moves nothing below "
                        "itself. What follows is what reversal would do with lambda {} and w {}.",
                        number(found.lambda), number(found.weight)));
}

void add_gradients(report::Page& page, const GradientReversalExplanation& found) {
  const GradientLayer& all = found.all;
  page.section("Two heads, two wishes");
  page.paragraph(fmt::format(
      "Gradients as training makes them: {} augmented images in {} groups, batch statistics, mean "
      "over the groups. The losses there: {} for the classes, {} for the experiments.",
      found.images, found.groups, number(found.main_loss), number(found.batch_loss)));
  page.paragraph(fmt::format(
      "Seen here: over all shared parameters the batch head's gradient, weighted, has a norm of {} "
      "beside {} of the classes'; times lambda it is {} of it.",
      number(all.batch), number(all.main),
      all.main > 0 ? percent(found.lambda * all.batch / all.main) : "-"));
  LineChart norms{.title = "How loudly each head speaks",
                  .description = "Norms of both heads' gradients for each layer",
                  .x = {.label = kLayerAxis},
                  .y = {.label = "norm of the gradient", .log = true},
                  .points = true};
  norms.series = {series_of(found, "classes", &GradientLayer::main, report::blue),
                  series_of(found, "experiments", &GradientLayer::batch, report::vermilion),
                  series_of(found, "their sum: |g|", &GradientLayer::sum, report::green, true)};
  std::vector<std::string> names;
  for (const GradientLayer& layer : found.layers) names.push_back(layer.name);
  page.figure(norms, "Logarithmic: |g_main|, |w g_batch| and |g_main - lambda w g_batch|. " +
                         stages_of(names) +
                         ". Reversal subtracts lambda times the experiments' line: where that is "
                         "far below the classes', it has little to say.");
  const char* meaning =
      "the two wishes are nearly at right angles: one can be had without the other.";
  if (all.cosine > 0.05)
    meaning =
        "what helps the classes also makes the experiment easier to read; reversal works against "
        "it.";
  else if (all.cosine < -0.05)
    meaning = "what helps the classes makes the experiment harder to read by itself.";
  page.paragraph(fmt::format("The cosine between the two is {} over all parameters: {}",
                             number(all.cosine), meaning));
  LineChart cosines{.title = "What a step does to the experiment",
                    .description = "Cosines of gradients with the batch head's gradient",
                    .x = {.label = kLayerAxis},
                    .y = {.label = "cosine with g_batch", .low = -1, .high = 1},
                    .marks = {{0, "no effect"}},
                    .points = true};
  cosines.series = {series_of(found, "detached", &GradientLayer::cosine, report::blue),
                    series_of(found, "attached", &GradientLayer::cosine_before, report::orange),
                    series_of(found, "reversed", &GradientLayer::cosine_after, report::vermilion)};
  page.figure(
      cosines,
      "Detached: g_main alone; attached: g_main + w g_batch; reversed: g_main - lambda w g_batch. "
      "Above 0 a small step makes the experiment easier to read in that layer, below 0 it hides "
      "it: reversal pulls the line down from where the detached head leaves it.");
  page.paragraph(
      fmt::format("Seen here: a step along the classes' gradient alone has cosine {} with g_batch, "
                  "one with the head attached {}, a reversed one {}.",
                  number(all.cosine), number(all.cosine_before), number(all.cosine_after)));
  page.folded_table(gradient_table(found));
}

std::string verdict(const ReadableExperiment& readable) {
  if (!readable.probe) return "There is one experiment only: nothing to tell apart.";
  const double probe = readable.probe->value();
  if (!readable.head)
    return fmt::format(
        "Of {} ({}, which the head has never met and cannot name) a fresh probe names the right "
        "one in {} of the cases (chance {}).",
        readable.part, readable.experiments, percent(probe), percent(readable.chance));
  const double head = readable.head->value();
  const bool head_finds = head > readable.chance + 0.1, probe_finds = probe > readable.chance + 0.1;
  return fmt::format(
      "Of {} the run's own batch head{} names the experiment in {} of the cases, a fresh linear "
      "probe on the same embedding in {} (chance {}). {}",
      readable.part, readable.of_training ? ", which was trained on all of them," : "",
      percent(head), percent(probe), percent(readable.chance),
      head_finds && probe_finds ? "Both find it."
      : head_finds              ? "Only the run's own head finds it: the probe had fewer images to "
                                  "learn from."
      : probe_finds ? "The experiment is hidden from the run's own head only: it is still there "
                      "for anybody who learns to look anew."
                    : "Neither finds much.");
}

void add_readable(report::Page& page, const GradientReversalExplanation& found) {
  page.section("What is left to be read");
  page.paragraph(
      "RxRx1 section 3.2.3 reports the accuracy of the batch head. A head that was fooled is not "
      "proof that the experiment is gone, so a fresh linear probe is taught on half of the images "
      "(by wells) and both are asked on the other half.");
  for (const ReadableExperiment& readable : found.readable) page.paragraph(verdict(readable));
  BarChart chart{.title = "Experiment, read from the embedding",
                 .description = "Accuracy of the batch head and of a fresh probe",
                 .value = {.label = "right (%)", .high = 100}};
  report::Bars head{.name = "the run's batch head", .colour = report::vermilion};
  report::Bars probe{.name = "a fresh linear probe", .colour = report::blue};
  report::Bars chance{.name = "chance", .colour = report::ink};
  for (const ReadableExperiment& readable : found.readable) {
    chart.categories.push_back(readable.part);
    head.values.push_back(in_percent(readable.head));
    probe.values.push_back(in_percent(readable.probe));
    chance.values.push_back(100 * readable.chance);
  }
  chart.series = {head, probe, chance};
  page.figure(chart,
              "The paper finds that reversal works for the experiments of training and does not "
              "carry over to unseen ones (its section 5.2, Fig. 6).");

  LineChart layers{.title = "Where it goes",
                   .description = "Accuracy of a linear probe for every batch norm",
                   .x = {.label = "batch norm, in forward order"},
                   .y = {.label = "right (%)", .low = 0, .high = 100},
                   .points = true};
  Table table{.caption = "All batch norms", .columns = {{"Batch norm"}, {"No.", true}}};
  for (const ReadableExperiment& readable : found.readable) {
    Series series{.name = readable.part, .x = layer_numbers(readable.layers.size())};
    for (const auto& layer : readable.layers) series.y.push_back(in_percent(layer.probe));
    layers.series.push_back(series);
    layers.marks.push_back({100 * readable.chance, "chance, " + readable.part});
    table.columns.push_back({readable.part, true});
  }
  for (size_t l = 0; l < found.readable.front().layers.size(); ++l) {
    std::vector<Cell> row = {found.readable.front().layers[l].name, fmt::to_string(l + 1)};
    for (const ReadableExperiment& readable : found.readable)
      row.push_back(percent(readable.layers[l].probe));
    table.rows.push_back(std::move(row));
  }
  page.figure(layers,
              "A fresh probe on what each batch norm hands on, pooled. The reversed gradient "
              "enters at the embedding, on the right.");
  page.folded_table(table);
}

Json layer_numbers_of(const GradientLayer& layer) {
  Json json = Json::object();
  json["name"] = layer.name;
  json["elements"] = layer.elements;
  json["main"] = layer.main;
  json["batch"] = layer.batch;
  json["cosine"] = layer.cosine;
  json["sum"] = layer.sum;
  json["cosine_attached"] = layer.cosine_before;
  json["cosine_reversed"] = layer.cosine_after;
  return json;
}

Json reversal_numbers(const TrainedRun& run, const GradientReversalExplanation& found) {
  Json json = numbers_of("gradient-reversal", run);
  json["reversed"] = found.reversed;
  json["lambda"] = found.lambda;
  json["weight"] = found.weight;
  json["groups"] = found.groups;
  json["images"] = found.images;
  json["main_loss"] = found.main_loss;
  json["batch_loss"] = found.batch_loss;
  json["all"] = layer_numbers_of(found.all);
  json["layers"] = Json::array();
  for (const GradientLayer& layer : found.layers) json["layers"].push_back(layer_numbers_of(layer));
  json["readable"] = Json::array();
  for (const ReadableExperiment& readable : found.readable) {
    Json entry = Json::object();
    entry["part"] = readable.part;
    entry["experiments"] = readable.experiments;
    entry["probe_bank"] = readable.bank;
    entry["probe_queries"] = readable.queries;
    entry["chance"] = readable.chance;
    entry["head"] = fraction(readable.head);
    entry["probe"] = fraction(readable.probe);
    entry["layers"] = Json::array();
    for (const auto& layer : readable.layers) {
      Json of_layer = Json::object();
      of_layer["name"] = layer.name;
      of_layer["probe"] = fraction(layer.probe);
      entry["layers"].push_back(std::move(of_layer));
    }
    json["readable"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace

Explained show_gradient_reversal(const TrainedRun& run, const GradientReversalExplanation& found,
                                 const std::string& command) {
  report::Page page = page_of("Gradient reversal under the microscope", run);
  page.lead(verdict(found.readable.front()));
  add_method(page, found);
  add_gradients(page, found);
  add_readable(page, found);
  std::string images = fmt::format("{} of training for the gradients", found.images);
  for (const ReadableExperiment& readable : found.readable)
    images += fmt::format("; {}: {} of {} experiments", readable.part,
                          readable.bank + readable.queries, readable.experiments);
  add_origin(page, run, images, command);

  Explained shown;
  shown.html = page.html();
  shown.numbers = reversal_numbers(run, found);
  shown.text = fmt::format(
      "Gradient reversal ({}), lambda {}, weight {}: gradients of {} images\n\n"
      "  {:<50} {:>9}\n  {:<50} {:>9}\n  {:<50} {:>9}\n  {:<50} {:>9}\n  {:<50} {:>9}\n\n",
      found.reversed ? "reversed" : "the head is detached: what reversal would do",
      number(found.lambda), number(found.weight), found.images, "norm of the classes' gradient",
      number(found.all.main), "norm of the batch head's, weighted", number(found.all.batch),
      "cosine between them", number(found.all.cosine),
      "cosine of the sum with the batch head's, attached", number(found.all.cosine_before),
      "the same, reversed", number(found.all.cosine_after));
  shown.text += fmt::format("  {:<26} {:>10} {:>12} {:>8}\n", "experiment, read from", "batch head",
                            "fresh probe", "chance");
  for (const ReadableExperiment& readable : found.readable)
    shown.text +=
        fmt::format("  {:<26} {:>10} {:>12} {:>8}\n", readable.part, percent(readable.head),
                    percent(readable.probe), percent(readable.chance));
  return shown;
}

}  // namespace mono
