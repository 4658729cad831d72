#include "train/report/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/base/error.h"
#include "models/durable_file.h"
#include "train/commands.h"
#include "train/evaluate/embedding_set.h"
#include "train/progress.h"
#include "train/report/comparison.h"
#include "train/report/figures.h"
#include "train/report/page.h"
#include "train/report/predictions.h"
#include "train/report/run_charts.h"
#include "train/run_directory.h"
#include "train/shell_quote.h"

namespace mono::report {
namespace {

namespace fs = std::filesystem;

// "training_loss" of "Training loss"; short enough for any file system.
std::string file_name(const std::string& title) {
  std::string name = title.substr(0, 60);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) c = '_';
  }
  return name;
}

std::string plural(size_t count, const std::string& word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

// What the columns of a table mean, for those that it has.
constexpr std::pair<const char*, const char*> kMeanings[] = {
    {"separated", "share of test images that are right, of experiments never seen in training"},
    {"stratified", "the same for unseen wells of experiments that were seen"},
    {"batch_generalisation",
     "unseen experiments / stratified, seed by seed: 100 means that new "
     "experiments are no harder than known ones"},
    {"batch_accuracy",
     "how often a probe names the experiment from the embedding (stratified test "
     "images): low means that the batch effect is gone"},
    {"training_images", "of the images of training: how well they are remembered"},
    {"lin", "accuracy of the run's linear classifier on test images"},
    {"knn", "nearest neighbours among training images, cosine"},
    {"z_norm_knn", "the same after each batch's features were standardised by all of its images"},
    {"kbet", "acceptance rate of kBET: high means that batches are well mixed"},
    {"grit",
     "how far images of a treatment stand out from negative controls, in standard "
     "deviations"}};

class ReportMaker {
 public:
  ReportMaker(const std::vector<RunRecord>& runs, int most_points)
      : runs_(runs), most_points_(most_points), comparison_(compare(runs)), page_(title()) {}

  RunReport make() {
    add_head();
    add_results();
    add_problems();
    add_training();
    add_experiments();
    add_winner();
    add_embeddings();
    add_left_out();
    add_how_to_repeat();
    return {page_.html(), comparison_.lead(), std::move(files_)};
  }

 private:
  std::string title() const;
  void add_head();
  void add_results();
  void add_problems();
  void add_training();
  void add_curves(const std::string& split, bool both);
  void add_experiments();
  void add_winner();
  void add_embeddings();
  void add_left_out();
  void add_how_to_repeat();

  // A chart in the page and as a file.
  template <class Chart>
  void figure(const std::string& name, const Chart& chart, const std::string& caption) {
    const Svg svg = draw(chart);
    files_.emplace_back(name + ".svg", svg.file());
    page_.figure(svg, caption, data_table(chart));
  }

  const std::vector<RunRecord>& runs_;
  const int most_points_;
  Comparison comparison_;
  Page page_;
  std::vector<std::pair<std::string, std::string>> files_;
};

std::string ReportMaker::title() const {
  std::string methods;
  size_t count = 0;
  for (const ComparisonRow& row : comparison_.rows) {
    if (row.control) continue;
    if (++count <= 4) methods += (methods.empty() ? "" : ", ") + row.title;
  }
  if (count > 4) methods += fmt::format(" and {} more", count - 4);
  if (count > 1) return "Comparison: " + methods;
  if (count == 1) return runs_.size() > 1 ? methods + ", " + plural(runs_.size(), "run") : methods;
  return "Report of " + (runs_.empty() ? "no run" : runs_.front().folder.filename().string());
}

void ReportMaker::add_head() {
  const auto any = [&](auto what) { return std::ranges::any_of(runs_, what); };
  const auto on = [&](std::optional<DataScale> scale) {
    return std::ranges::any_of(comparison_.screens,
                               [&](const Screen& screen) { return screen.scale == scale; });
  };
  if (on(DataScale::synthetic)) page_.badge("synthetic data", Badge::caution);
  if (on(DataScale::full)) page_.badge("the whole published screen", Badge::good);
  if (on(DataScale::partial)) page_.badge("other data than the papers'", Badge::caution);
  if (on(std::nullopt)) page_.badge("screen not found", Badge::caution);
  if (comparison_.smoke) page_.badge("smoke scale", Badge::caution);
  std::set<std::string> labels;
  for (const RunRecord& run : runs_)
    if (!run.label.empty()) labels.insert(run.label);
  for (const std::string& label : labels) page_.badge(label, Badge::caution);
  page_.badge(plural(runs_.size(), "run"));
  if (any([](const RunRecord& run) { return run.state == RunState::training; }))
    page_.badge("still training", Badge::caution);
  if (any([](const RunRecord& run) { return run.state == RunState::stopped; }))
    page_.badge("not finished", Badge::caution);
  if (any([](const RunRecord& run) { return run.state == RunState::absent; }))
    page_.badge("never started", Badge::caution);
  for (const std::string& sentence : comparison_.lead()) page_.lead(sentence);
}

void ReportMaker::add_results() {
  page_.section("Results");
  if (comparison_.headline.empty()) {
    page_.note(
        "No run has an evaluation yet. `train_rxrx evaluate RUN` writes RUN/evaluation/*.json; "
        "then "
        "make this report again.",
        Badge::caution);
    return;
  }
  const ComparisonColumn& headline = *comparison_.column(comparison_.headline);
  std::vector<const ComparisonRow*> rows;
  for (const ComparisonRow& row : comparison_.rows)
    if (row.at(headline.key).count > 0) rows.push_back(&row);
  if (rows.size() > 1) {
    DotPlot plot;
    plot.title = "Accuracy: " + headline.title;
    plot.description = "A row for each method; the error bar is one standard deviation over runs.";
    plot.value.label = "percent";
    plot.value.low = 0;
    Dots dots{.name = comparison_.our_name()};
    for (const ComparisonRow* row : rows) {
      const Spread value = row->at(headline.key);
      plot.rows.push_back(row->title);
      dots.values.push_back(value.mean);
      dots.errors.push_back(value.sd.value_or(std::nan("")));
      dots.singles.push_back(row->values.at(headline.key));
    }
    plot.series = {dots};
    if (comparison_.paper_scale) {
      Dots paper{.name = "paper"};
      for (const ComparisonRow* row : rows) {
        const auto found = row->paper.find(headline.key);
        const bool there = found != row->paper.end();
        paper.values.push_back(there ? found->second.value : std::nan(""));
        paper.errors.push_back(there && found->second.spread ? *found->second.spread
                                                             : std::nan(""));
      }
      plot.series.insert(plot.series.begin(), paper);
    }
    if (comparison_.chance > 0)
      plot.marks = {
          {comparison_.chance, fmt::format("chance {}", figure_text(comparison_.chance, 1))}};
    figure("methods", plot,
           "Dots are means, ticks single runs, bars one standard deviation over runs. A control is "
           "the same run, evaluated with other statistics of batch norm than it was trained for.");
  }
  Table table = comparison_table(comparison_);
  table.caption =
      "Percent of test images, but for images of training (grit: a plain number); mean ± standard "
      "deviation over n runs. The best of a column is bold.";
  page_.table(table);
  std::vector<std::pair<std::string, std::string>> meanings;
  for (const auto& [key, meaning] : kMeanings)
    if (const ComparisonColumn* column = comparison_.column(key))
      meanings.emplace_back(column->title, meaning);
  page_.definitions(meanings);

  Table paper = paper_table(comparison_);
  if (paper.rows.empty()) {
    page_.paragraph("The recipes carry no published figures for these columns.");
    return;
  }
  page_.subsection("Beside the paper");
  paper.caption =
      comparison_.paper_scale
          ? "n: our runs. ✓: within the paper's ±; ✗: outside of it."
          : fmt::format(
                "The column ‘{}’ (n runs) is not the paper's experiment: only the order of methods "
                "can be compared, not the figures.",
                comparison_.our_name());
  page_.table(paper);
}

void ReportMaker::add_problems() {
  std::vector<std::string> items;
  for (const RunRecord& run : runs_) {
    const std::string name = run.folder.string();
    if (run.state != RunState::finished) items.push_back(name + ": " + run.state_text() + ".");
    if (run.state != RunState::absent && run.evaluations.empty())
      items.push_back(fmt::format("{}: no evaluation; `train_rxrx evaluate {}` makes it.", name,
                                  shell_quoted(name)));
    for (const EvaluationRecord& evaluation : run.evaluations)
      if (!evaluation.up_to_date)
        items.push_back(fmt::format(
            "{}: {} is of step {}, the checkpoint that stands for the run of step {}; "
            "`train_rxrx evaluate {}{}` brings it up to date.",
            name, evaluation.file, evaluation.step, run.evaluated_step, shell_quoted(name),
            evaluation.statistics.empty() ? "" : " --statistics " + evaluation.statistics));
    for (const std::string& problem : run.problems) items.push_back(problem);
  }
  for (const Screen& screen : comparison_.screens)
    if (!screen.problem.empty()) items.push_back(screen.problem);
  if (items.empty()) return;
  page_.section("What is missing");
  page_.list(items);
}

void ReportMaker::add_curves(const std::string& split, bool both) {
  const std::vector<CurveGroup> groups = groups_of(comparison_, split);
  const CurveCharts curves = training_charts(groups);
  if (curves.charts.empty()) return;
  if (both)
    page_.subsection(split == "separated" ? "Separated split: whole experiments unseen"
                                          : "Stratified split: wells of every experiment unseen");
  std::vector<Svg> svgs;
  Table data;
  for (const LineChart& chart : curves.charts) {
    svgs.push_back(draw(chart));
    files_.emplace_back(
        fmt::format("training_{}_{}_{}.svg", split, svgs.size(), file_name(chart.title)),
        svgs.back().file());
  }
  data = data_table(curves.charts.front());
  data.caption = curves.charts.front().title + (data.caption.empty() ? "" : ". " + data.caption);
  std::string caption =
      curves.points + " Of several runs: mean, and a band of one standard deviation.";
  bool mixed = false;
  for (const CurveGroup& group : groups)
    for (const RunRecord* run : group.runs)
      mixed = mixed || (run->recipe->batch.form == BatchForm::groups &&
                        run->recipe->augment.mixing != Mixing::none);
  if (mixed)
    caption +=
        " Accuracy here is of augmented training images, of which some methods mix the labels: it "
        "may lie below the test's.";
  page_.figures(svgs, caption, data);
}

void ReportMaker::add_training() {
  page_.section("Training");
  const bool stratified = !groups_of(comparison_, "stratified").empty();
  const bool separated = !groups_of(comparison_, "separated").empty();
  const bool any = std::ranges::any_of(
      runs_, [](const RunRecord& run) { return run.recipe && run.metrics.rows() > 0; });
  if (!any) {
    page_.note("No step has been logged: metrics.jsonl is absent or empty.", Badge::caution);
    return;
  }
  if (separated) add_curves("separated", stratified);
  if (stratified) add_curves("stratified", separated);
  std::vector<CurveGroup> all = groups_of(comparison_, "separated");
  const LineChart validation = validation_chart(all);
  if (!validation.series.empty())
    figure(
        "validation", validation,
        "Share of validation images whose class the vote of the nearest training images names. The "
        "checkpoint with the highest value stands for the run.");
}

void ReportMaker::add_experiments() {
  const ExperimentCharts charts = experiment_charts(comparison_);
  if (charts.split.empty()) return;
  page_.section("Accuracy by experiment");
  const std::string caption =
      charts.split == "separated"
          ? "Test images of each experiment, none of which was in training. Means over runs."
          : "Unseen wells of each experiment (stratified split). Means over runs.";
  if (!charts.bars.series.empty())
    figure("experiments", charts.bars, caption + " Error bars: one standard deviation.");
  else
    figure("experiments", charts.map, caption);
}

// The images of the method that wins (or of the only one): classes and plates.
void ReportMaker::add_winner() {
  const ComparisonRow* winner = comparison_.best();
  if (!winner) return;
  const bool several = comparison_.rows.size() > 1;
  std::vector<Prediction> predictions;
  std::vector<std::string> refused;
  const Dataset* dataset = nullptr;
  size_t read = 0;
  bool of_views = false;
  for (size_t i = 0; i < winner->evaluations.size(); ++i) {
    const EvaluationRecord& evaluation = *winner->evaluations[i];
    if (!evaluation.figures.contains(comparison_.headline)) continue;
    const auto screen =
        std::ranges::find(comparison_.screens,
                          winner->runs[i]->info ? winner->runs[i]->info->data : "", &Screen::path);
    dataset = screen == comparison_.screens.end() ? nullptr : screen->dataset.get();
    try {
      const std::vector<Prediction> more = read_predictions(evaluation.predictions, dataset);
      predictions.insert(predictions.end(), more.begin(), more.end());
      ++read;
      of_views = of_views || evaluation.split.empty();
    } catch (const Error& error) {
      refused.emplace_back(error.what());
    }
  }
  const std::string whose =
      fmt::format("{}{}, {}{}", several ? "The method that wins: " : "", winner->title,
                  plural(read, "run"), of_views ? ", by the answers of its linear classifier" : "");
  page_.section("Hardest classes");
  page_.list(refused);
  const bool named = dataset && winner->runs.front()->recipe->data.target == Target::sirna &&
                     winner->runs.front()->recipe->data.labels.empty();
  const HardClasses hard = hard_classes(
      predictions, named ? class_names(predictions, dataset) : std::map<int, std::string>());
  if (hard.map.rows.empty()) {
    page_.paragraph(predictions.empty() ? "There are no predictions to look at."
                    : hard.images == 0  ? "No image has both a label and a predicted class."
                                        : whose + "; every labelled image is right.");
  } else {
    page_.paragraph(fmt::format("{}; {} % of the classes have all of their images right.", whose,
                                figure_text(100 * hard.share_of_perfect, 1)));
    figure(
        "hardest_classes", hard.map,
        "Classes with the fewest images right, and what they are taken for. Cells that are empty "
        "did not occur.");
    Table table = hard.table;
    table.caption = "The hardest classes as a table";
    page_.folded_table(table);
  }
  std::vector<HeatMap> plates = by_plate(predictions);
  if (plates.empty()) return;
  page_.section("Plates");
  HeatMap wells = by_well(predictions);
  wells.title = "Percent right by well, all plates together";
  figure("wells", wells,
         whose +
             ". A pattern here, at the edges or along rows, is an effect of the plate's layout, "
             "not of the treatment.");
  std::vector<Svg> svgs;
  for (const HeatMap& plate : plates) svgs.push_back(draw(plate));
  Table table{.caption = "Percent right by plate",
              .columns = {{"plate", false}, {"right (%)", true}}};
  for (const HeatMap& plate : plates) {
    const size_t colon = plate.title.rfind(": ");
    const std::string value = plate.title.substr(colon + 2);
    table.rows.push_back({plate.title.substr(0, colon), value.substr(0, value.size() - 2)});
  }
  page_.figures(
      svgs,
      fmt::format("Each plate by itself, the worst first{}. The scale is that of the map above.",
                  plates.size() == 48 ? ", at most 48" : ""),
      table);
}

// Of each method the first run that has embeddings, of unseen experiments rather than of known
// ones.
void ReportMaker::add_embeddings() {
  std::vector<EmbeddedImages> methods;
  std::vector<std::string> refused;
  const RunRecord* finished = nullptr;
  for (const ComparisonRow& row : comparison_.rows) {
    if (row.control) continue;
    const RunRecord* chosen = nullptr;
    for (const RunRecord* run : row.runs) {
      if (run->checkpoint_step >= 0 && !finished) finished = run;
      if (run->embeddings.empty()) continue;
      if (!chosen || (chosen->recipe->data.split == SplitBy::stratified &&
                      run->recipe->data.split == SplitBy::separated))
        chosen = run;
    }
    if (!chosen) continue;
    try {
      methods.push_back(embedded_images(read_embeddings(chosen->embeddings), row.title));
      if (row.runs.size() > 1) methods.back().run = chosen->folder.string();
    } catch (const Error& error) {
      refused.emplace_back(error.what());
    }
  }
  if (!finished && methods.empty() && refused.empty()) return;
  page_.section("Embeddings");
  page_.list(refused);
  if (methods.empty()) {
    if (refused.empty())
      page_.paragraph(
          fmt::format("No run has embeddings. `train_rxrx embed {} --out {}` "
                      "writes those of its test images; then make this report again.",
                      shell_quoted(finished->folder.string()),
                      shell_quoted((finished->folder / "embeddings").string())));
    return;
  }
  const auto add = [&](auto make) {
    try {
      const Figure figure = make();
      show(page_, figure);
      for (size_t i = 0; i < figure.panels.size(); ++i)
        files_.emplace_back(fmt::format("{}_{}.svg", figure.name, i + 1), figure.panels[i].file());
    } catch (const Error& error) {  // too few images for it
      page_.note(error.what(), Badge::caution);
    }
  };
  if (most_points_ > 0)
    add([&] {
      return umap_figure(
          methods, {.name = "umap", .inset = methods.size() == 1, .most_images = most_points_});
    });
  add([&] { return similarity_figure(methods, {.name = "similarities"}); });
}

void ReportMaker::add_left_out() {
  constexpr size_t kMost = 500;
  Table table{.columns = {{"site", false}, {"reason", false}}};
  std::map<std::string, std::string> sites;
  for (const RunRecord& run : runs_)
    for (const auto& [site, reason] : run.left_out) sites[site] = reason;
  if (sites.empty()) return;
  page_.section("Images left out");
  page_.paragraph(
      fmt::format("{} of the screen were not used, because images are missing or cannot "
                  "be read. RUN/left_out.csv lists all of them.",
                  plural(sites.size(), "site")));
  for (const auto& [site, reason] : sites)
    if (table.rows.size() < kMost) table.rows.push_back({site, reason});
  table.caption = sites.size() > kMost ? fmt::format("The first {} sites", kMost) : "The sites";
  page_.folded_table(table);
}

void ReportMaker::add_how_to_repeat() {
  page_.section("To repeat it");
  Table table;
  table.caption = "The runs behind this page";
  table.columns = {{"run", false},     {"recipe", false},      {"split", false},
                   {"seed", true},     {"state", false},       {"time", true},
                   {"images/s", true}, {"recipe hash", false}, {"weights", false}};
  for (const RunRecord& run : runs_) {
    std::vector<Cell> cells = {Cell(run.folder.string())};
    if (!run.recipe) {
      cells.resize(table.columns.size(), Cell("–", Tone::muted));
      cells[4] = run.state_text();
      table.rows.push_back(std::move(cells));
      continue;
    }
    const double images =
        static_cast<double>(run.metrics.rows()) * static_cast<double>(run.recipe->batch.images());
    cells.emplace_back(run.recipe->name);
    cells.emplace_back(run.recipe->data.fold > 0 ? fmt::format("fold {}", run.recipe->data.fold)
                       : run.recipe->data.split == SplitBy::separated ? "separated"
                                                                      : "stratified");
    cells.emplace_back(fmt::to_string(run.recipe->seed));
    cells.emplace_back(run.state_text());
    cells.emplace_back(run.seconds > 0 ? duration_text(run.seconds) : "–");
    cells.emplace_back(run.seconds > 0 ? short_text(images / run.seconds, 3) : "–");
    cells.emplace_back(run.hash);
    cells.emplace_back(run.weights.empty() ? "–" : run.weights);
    table.rows.push_back(std::move(cells));
  }
  page_.table(table);
  std::string commands;
  for (const RunRecord& run : runs_)
    for (const std::string& command : repeat_commands(run)) commands += command + "\n";
  if (!commands.empty()) {
    page_.paragraph(
        "The same seed gives the same bits with the same program on the same instruction set, "
        "for any number of threads: the weights' fingerprints above must come out again.");
    page_.code(commands);
  }
  std::vector<std::string> shown;
  for (const RunRecord& run : runs_) {
    if (run.info && std::ranges::find(shown, run.info->commit) == shown.end()) {
      shown.push_back(run.info->commit);
      page_.definitions(
          {{"program", "train_rxrx " + run.info->version + ", commit " + run.info->commit},
           {"instruction set", run.info->instruction_set},
           {"screen", run.info->data},
           {"cache", run.info->cache.empty() ? "none" : run.info->cache}});
    }
  }
  for (const ComparisonRow& row : comparison_.rows)
    if (!row.control && !row.runs.empty())
      page_.code(
          row.runs.front()->recipe_source,
          fmt::format("recipe.toml of {}{}", row.title,
                      runs_.size() > 1 ? " (its runs differ in seed, split and fold only)" : ""));
  for (const RunRecord& run : runs_)
    if (!run.recipe && !run.recipe_source.empty())
      page_.code(run.recipe_source, "recipe.toml of " + run.folder.string() + ", as it is");
}

}  // namespace

RunReport make_report(const std::vector<RunRecord>& runs, int most_points) {
  return ReportMaker(runs, most_points).make();
}

void write_report(const RunReport& report, const fs::path& file) {
  if (!file.parent_path().empty()) make_folder(file.parent_path());
  write_file_durably(file.string(), report.html);
  const fs::path folder = file.parent_path() / (file.stem().string() + "_figures");
  std::error_code error;
  std::vector<fs::path> stale;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->path().extension() == ".svg") stale.push_back(at->path());
  for (const fs::path& path : stale) fs::remove(path, error);
  if (report.files.empty()) return;
  make_folder(folder);
  for (const auto& [name, content] : report.files)
    write_file_durably((folder / name).string(), content);
}

}  // namespace mono::report

namespace mono {

int run_report(const RunReportOptions& options) {
  if (!options.out.empty()) check_extension(options.out, ".html");
  const std::vector<std::filesystem::path> folders = report::find_runs(options.runs);
  std::vector<report::RunRecord> runs;
  for (const std::filesystem::path& folder : folders) runs.push_back(report::read_run(folder));
  // One folder, whether a run or a folder of runs, takes the report; of several none is better.
  const std::filesystem::path file = !options.out.empty() ? options.out
                                     : options.runs.size() == 1
                                         ? options.runs.front() / "report.html"
                                         : std::filesystem::path("report.html");
  const report::RunReport report = report::make_report(runs, options.most_points);
  report::write_report(report, file);
  for (const std::string& sentence : report.lead) fmt::print("{}\n", sentence);
  fmt::print("written: {} ({:.2f} MB) and {} figures beside it\n", file.string(),
             static_cast<double>(report.html.size()) / 1e6, report.files.size());
  return 0;
}

}  // namespace mono
