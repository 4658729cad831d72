#include "train/report/screen_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "kernels/base/error.h"
#include "models/durable_file.h"
#include "train/data/check.h"
#include "train/data/commands.h"
#include "train/data/image_source.h"
#include "train/data/image_stats.h"
#include "train/data/montage.h"
#include "train/data/published.h"
#include "train/device.h"
#include "train/evaluate/trained_run.h"
#include "train/report/controls_embedding.h"
#include "train/report/page.h"
#include "train/report/phrases.h"
#include "train/report/screen_figures.h"
#include "train/run_directory.h"
#include "train/shell_quote.h"

namespace mono {
namespace {

using report::Badge;
using report::Cell;
using report::count;
using report::Page;
using report::percent;
using report::plural;
using report::Table;

const Site& site_of(const Dataset& dataset, int index) {
  return dataset.sites[static_cast<size_t>(index)];
}
const std::string& experiment_name(const Dataset& dataset, int experiment) {
  return dataset.experiments[static_cast<size_t>(experiment)];
}

// All that the page is made of.
struct Screen {
  CheckReport check;
  Dataset dataset;
  std::unique_ptr<ImageSource> images;
  DatasetStats stats;
  report::BrightnessShift brightness;
  int complete = 0;  // sites of which all images are there and can be read
};

// ---- what is there ------------------------------------------------------------------------------

struct ExperimentCounts {
  std::set<int> plates;
  std::set<std::pair<int, std::string>> wells[3];  // by WellType
  int sites = 0, complete = 0, untreated = 0;
  bool tests = false;
};

std::vector<ExperimentCounts> counts_of(const Dataset& dataset) {
  std::vector<ExperimentCounts> counts(dataset.experiments.size());
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i) {
    const Site& s = site_of(dataset, i);
    ExperimentCounts& c = counts[static_cast<size_t>(s.experiment)];
    c.plates.insert(s.plate);
    c.wells[static_cast<size_t>(s.well_type)].emplace(s.plate, s.well);
    ++c.sites;
    c.complete += dataset.complete(i);
    c.untreated += dataset.complete(i) && s.well_type == WellType::negative_control;
    c.tests = s.in_test;
  }
  return counts;
}

void add_overview(Page& page, const Screen& screen) {
  const Dataset& d = screen.dataset;
  page.section("What is there");
  int unlabelled = 0;
  for (const Site& s : d.sites) unlabelled += s.sirna_id < 0;
  std::string channels;
  for (const ChannelDisplay& c : channel_displays(d))
    channels += (channels.empty() ? "" : ", ") + c.name;
  page.definitions({{"Layout, table", fmt::format("{}, {}", name_of(d.layout), name_of(d.form))},
                    {"Sites in the table", count(static_cast<int64_t>(d.sites.size()))},
                    {"with all images", count(screen.complete)},
                    {"of wells without any image", count(screen.check.absent_sites)},
                    {"without a treatment", count(unlabelled)},
                    {"Experiments, cell types",
                     fmt::format("{}, {}", d.experiments.size(), d.cell_types.size())},
                    {"Classes", count(d.num_classes)},
                    {"Channels", fmt::format("{} ({})", d.channels_on_disk, channels)},
                    {"Images", fmt::format("{0} x {0} pixels", d.image_size)}});
  Table table{.caption = "Experiments",
              .columns = {{"experiment"},
                          {"cell type"},
                          {"part"},
                          {"plates", true},
                          {"sites", true},
                          {"with all images", true},
                          {"treated wells", true},
                          {"positive controls", true},
                          {"negative controls", true},
                          {"their images", true}}};
  const std::vector<ExperimentCounts> counts = counts_of(d);
  for (size_t e = 0; e < counts.size(); ++e) {
    const ExperimentCounts& c = counts[e];
    table.rows.push_back({d.experiments[e], d.cell_types[static_cast<size_t>(d.cell_type_of[e])],
                          c.tests ? "test" : "train", count(static_cast<int64_t>(c.plates.size())),
                          count(c.sites), Cell(count(c.complete)),
                          count(static_cast<int64_t>(c.wells[0].size())),
                          count(static_cast<int64_t>(c.wells[1].size())),
                          count(static_cast<int64_t>(c.wells[2].size())), count(c.untreated)});
    if (c.complete == 0)
      for (Cell& cell : table.rows.back()) cell.tone = report::Tone::muted;
  }
  constexpr size_t kShort = 24;
  if (table.rows.size() > kShort) {  // those with images first, all of them folded away
    Table imaged = table;
    imaged.caption = "Experiments with images";
    imaged.rows.clear();
    for (size_t e = 0; e < counts.size(); ++e)
      if (counts[e].complete > 0) imaged.rows.push_back(table.rows[e]);
    if (!imaged.rows.empty() && imaged.rows.size() <= kShort) page.table(imaged);
    page.folded_table(table);
  } else {
    page.table(table);
  }
  const auto without = std::count_if(counts.begin(), counts.end(), [](const ExperimentCounts& c) {
    return c.complete > 0 && c.untreated == 0;
  });
  if (without > 0)
    page.note(
        fmt::format("{} with images {} no image of a negative control: what differs between "
                    "experiments cannot be told there from what treatments do.",
                    plural(without, "experiment", "experiments"), without == 1 ? "has" : "have"),
        Badge::caution);
}

// ---- pictures -----------------------------------------------------------------------------------

void add_pictures(Page& page, const Screen& screen) {
  page.section("What it looks like");
  MontageLayout layout;
  layout.tile = 144;  // a page of at most some 5 MB
  const Picture picture = draw_montage(screen.dataset, *screen.images, layout);
  const std::vector<uint8_t> png = encode_png(picture.info(), picture.rgb.data(), 9);
  page.image(png, "Composites of sites of many experiments, and the channels of one",
             "Negative controls of as many experiments as there is room for, where there are any. "
             "The ranges of the composites are fixed, so that a difference in brightness is one of "
             "the screen.");
}

// ---- brightness ---------------------------------------------------------------------------------

report::HeatMap shift_map(const Screen& screen) {
  const report::BrightnessShift& b = screen.brightness;
  report::HeatMap map{.title = "Brightness of experiments",
                      .description =
                          "log2 of the mean brightness of each experiment and channel, "
                          "relative to the experiments' geometric mean"};
  for (const int e : b.experiments) map.rows.push_back(experiment_name(screen.dataset, e));
  const std::vector<ChannelDisplay> displays = channel_displays(screen.dataset);
  for (size_t c = 0; c < displays.size(); ++c)
    map.columns.push_back(fmt::format("{} {}", c + 1, displays[c].name));
  map.values = b.shift;
  map.unit = "log2";
  map.diverging = true;
  map.print_values = map.rows.size() <= 60;
  map.decimals = 2;
  return map;
}

// The largest ratio of two experiments' brightness in one channel, of one cell type if any has two
// experiments: what cells look like is no batch effect.
struct Extremes {
  double ratio = 1;
  int brightest = -1, darkest = -1;  // experiments
  size_t channel = 0;
  bool of_one_cell_type = true;
};

Extremes extremes_of(const Dataset& d, const report::BrightnessShift& b) {
  Extremes result;
  const auto channels = static_cast<size_t>(b.channels);
  const auto type_of = [&](size_t e) {
    return d.cell_type_of[static_cast<size_t>(b.experiments[e])];
  };
  const auto look = [&](bool one_type) {
    for (size_t high = 0; high < b.experiments.size(); ++high)
      for (size_t low = 0; low < b.experiments.size(); ++low)
        for (size_t c = 0; c < channels; ++c) {
          if (one_type && type_of(high) != type_of(low)) continue;
          const double ratio =
              std::exp2(b.shift[high * channels + c] - b.shift[low * channels + c]);
          if (ratio > result.ratio)
            result = {ratio, b.experiments[high], b.experiments[low], c, one_type};
        }
  };
  look(true);
  if (result.brightest < 0) look(false);
  return result;
}

Table plates_table(const Screen& screen) {
  const Dataset& d = screen.dataset;
  Table table{.caption = "Every plate and channel, counts 0 to 255",
              .columns = {{"experiment"},
                          {"plate"},
                          {"channel"},
                          {"images", true},
                          {"mean", true},
                          {"pooled std", true},
                          {"mean of stds", true}}};
  const std::vector<ChannelDisplay> displays = channel_displays(d);
  for (const GroupStats& g : screen.stats.plates)
    table.rows.push_back({experiment_name(d, g.experiment), d.plate_name(g.experiment, g.plate),
                          displays[static_cast<size_t>(g.channel)].name, count(g.images),
                          report::figure_text(g.pooled.mean, 2),
                          report::figure_text(g.pooled.std, 2),
                          report::figure_text(g.mean_of_stds, 2)});
  return table;
}

void add_brightness(Page& page, const Screen& screen) {
  const Dataset& d = screen.dataset;
  const report::BrightnessShift& b = screen.brightness;
  page.section("How far experiments differ");
  if (b.experiments.empty()) return page.note("There are no images to measure.");
  const std::string of =
      b.of_controls ? "of the negative controls, which are the same in every experiment"
                    : "of all images (not every experiment has images of negative controls), which "
                      "also differ by treatment and cell type";
  page.paragraph(fmt::format(
      "The mean brightness {}. +1 is twice as bright as the experiments' geometric mean, "
      "-1 half as bright. What differs here is a batch effect before any network sees "
      "it{}.",
      of, d.cell_types.size() > 1 ? ", or the cell type: compare experiments of one type" : ""));
  if (b.experiments.size() > 1)
    page.figure(shift_map(screen),
                fmt::format("Brightness {}; {} images a channel in all.",
                            b.of_controls ? "of negative controls" : "of all images", [&] {
                              int n = 0;
                              for (const int images : b.images) n += images;
                              return count(n);
                            }()));
  else
    page.note("There are images of one experiment only: nothing to compare.");
  if (!b.between.empty()) {
    Table table{.caption = fmt::format("Share of the variance of image means that lies between "
                                       "experiments (by chance {})",
                                       percent(b.between_by_chance)),
                .columns = {{"channel"}, {"between experiments", true}}};
    const std::vector<ChannelDisplay> displays = channel_displays(d);
    for (size_t c = 0; c < b.between.size(); ++c)
      table.rows.push_back({displays[c].name, percent(b.between[c])});
    page.table(table);
  }
  page.folded_table(plates_table(screen));
}

// ---- plates -------------------------------------------------------------------------------------

void add_plates(Page& page, const Screen& screen) {
  const std::vector<report::WellFigure> wells = report::well_figures(screen.dataset, screen.stats);
  if (wells.size() < 2) return;  // nothing to compare
  page.section("Plates");
  page.figure(report::plate_map(wells, false),
              "Sites with all images at each place, over all plates.");
  page.figure(report::plate_map(wells, true),
              "Brightness of each place relative to its plate, over all plates and channels: what "
              "depends on the place. Wells of few sites also show their treatments.");
}

// ---- what is wrong ------------------------------------------------------------------------------

void add_problems(Page& page, const Screen& screen, bool quick) {
  page.section("Missing and damaged");
  const CheckReport& check = screen.check;
  const std::string how =
      quick ? "sizes and headers were looked at (--quick), and the pixels that this page is made of"
            : "every pixel was decoded";
  if (check.problems.empty())
    page.note(
        fmt::format("Nothing: of {}, {}.", plural(check.images_checked, "image", "images"), how),
        Badge::good);
  else
    page.note(
        fmt::format("{} among {}; {}.",
                    plural(static_cast<int64_t>(check.problems.size()), "problem", "problems"),
                    plural(check.images_checked, "image", "images"), how),
        Badge::caution);
  if (!check.problems.empty()) {
    std::map<std::string, int> kinds;
    for (const Problem& p : check.problems) ++kinds[p.kind];
    Table summary{.caption = "By kind", .columns = {{"kind"}, {"problems", true}}};
    for (const auto& [kind, n] : kinds) summary.rows.push_back({kind, count(n)});
    page.table(summary);
    constexpr size_t kListed = 500;
    Table table{.caption = "Each of them", .columns = {{"kind"}, {"message"}}};
    for (size_t i = 0; i < std::min(kListed, check.problems.size()); ++i)
      table.rows.push_back({check.problems[i].kind, check.problems[i].message});
    if (check.problems.size() > kListed)
      table.rows.push_back({"...", fmt::format("{} more; `train_rxrx data check` lists them",
                                               check.problems.size() - kListed)});
    page.folded_table(table);
  }
  if (!check.notes.empty()) {
    page.paragraph("Unusual, not wrong:");
    constexpr size_t kNotes = 20;
    std::vector<std::string> notes(
        check.notes.begin(),
        check.notes.begin() + static_cast<ptrdiff_t>(std::min(kNotes, check.notes.size())));
    if (check.notes.size() > kNotes)
      notes.push_back(fmt::format("{} more", check.notes.size() - kNotes));
    page.list(notes);
  }
}

// ---- the page -----------------------------------------------------------------------------------

std::string lead_of(const Screen& screen) {
  const Dataset& d = screen.dataset;
  const auto sites = static_cast<int64_t>(d.sites.size());
  std::string lead =
      sites == 0 ? "The table has no site that can be used."
      : screen.complete == 0
          ? fmt::format("None of {} has all of its images.", plural(sites, "site", "sites"))
          : fmt::format("{} of {} with all images, in {}.",
                        plural(screen.complete, "site", "sites"), count(sites),
                        plural(static_cast<int64_t>(screen.brightness.experiments.size()),
                               "experiment", "experiments"));
  if (const auto problems = static_cast<int64_t>(screen.check.problems.size()); problems > 0)
    lead += fmt::format(" {} listed below.", plural(problems, "problem is", "problems are"));
  const Extremes x = extremes_of(d, screen.brightness);
  if (x.brightest >= 0)
    lead += fmt::format(" {} are {} times as bright in {} as in {} ({}{}).",
                        screen.brightness.of_controls ? "Untreated cells" : "Images",
                        report::figure_text(x.ratio, 1), experiment_name(d, x.brightest),
                        experiment_name(d, x.darkest), channel_displays(d)[x.channel].name,
                        x.of_one_cell_type ? "" : "; cells of other types");
  return lead;
}

// Of a screen with problems an error of its data is one more of them, and the page goes without
// what `work` adds; of a sound one it ends the command.
template <class Work>
void attempt(Screen& screen, const char* kind, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data || screen.check.problems.empty()) throw;
    screen.check.problems.push_back({kind, ".", 0, error.what()});
  }
}

// Everything that is measured of the screen.
void open_screen(const ScreenReportOptions& options, Screen& screen) {
  std::vector<Problem> problems;
  std::vector<std::string> notes;
  Dataset& d = screen.dataset;
  d = open_dataset(options.data, problems, notes);  // faulty rows are left out
  require_outside(options.out, d);
  screen.check = check_dataset(d, std::move(problems), std::move(notes), options.quick);
  if (!d.sites.empty() && (d.image_size > 0 || !options.cache.empty()))
    attempt(screen, "images",
            [&] { screen.images = open_images(d, options.cache, options.resize); });
  if (screen.images) screen.stats = image_statistics(d, *screen.images);
  std::set<std::string> known;
  for (const Problem& p : screen.check.problems) known.insert(p.file);
  for (const ImageWarning& w : screen.stats.warnings) {
    Site& site = d.sites[static_cast<size_t>(w.site)];
    site.channels_present = 0;  // for all that follows
    const std::string file = d.file_of(site, w.channel);
    if (known.insert(file).second && known.insert(w.message).second)
      screen.check.problems.push_back({"damaged", file, site.row, w.message});
  }
  for (int i = 0; i < static_cast<int>(d.sites.size()); ++i) screen.complete += d.complete(i);
  screen.brightness = report::brightness_shift(d, screen.stats);
}

}  // namespace

int run_data_report(const ScreenReportOptions& options) {
  require_outside(options.out, options.data);
  check_extension(options.out, ".html");
  if (options.resize < 0) fail(ErrorKind::usage, "--resize {}: give pixels a side", options.resize);
  const Device device = choose_device(options.compute.device, options.compute.threads);
  Screen screen;
  open_screen(options, screen);
  const Dataset& d = screen.dataset;

  std::error_code error;
  const auto folder = std::filesystem::weakly_canonical(options.data, error);
  Page page(options.title.empty() ? "Screen " + folder.filename().string() : options.title);
  const bool complete_rxrx1 = is_complete_rxrx1(d);
  page.badge(complete_rxrx1 ? "RxRx1, complete"
                            : fmt::format("{} of {} sites", count(screen.complete),
                                          count(static_cast<int64_t>(d.sites.size()))),
             complete_rxrx1 ? Badge::neutral : Badge::caution);
  if (is_synthetic(d)) page.badge("synthetic", Badge::caution);
  page.badge("no figure of a paper", Badge::caution);
  std::optional<TrainedRun> run;
  std::optional<report::ControlsEmbedding> embedded;
  if (!options.run.empty())
    attempt(screen, "embedding", [&] {
      run = load_run(options.run, "", options.data, options.cache, device);
      embedded = report::embed_controls(*run);
    });
  if (embedded)
    page.badge(fmt::format("network: {}, {} steps", run->setup->recipe.name, count(run->step)));
  const std::string lead = lead_of(screen);
  page.lead(lead);
  add_overview(page, screen);
  if (screen.complete > 0) add_pictures(page, screen);
  add_brightness(page, screen);
  add_plates(page, screen);
  add_problems(page, screen, options.quick);
  const std::string embedding =
      embedded ? report::add_embedding(page, options.run, *run, *embedded) : "";
  if (!embedding.empty()) page.paragraph(embedding);
  page.section("To repeat this page");
  std::string command = "train_rxrx data report";
  const auto add = [&](const char* option, const std::string& value) {
    if (!value.empty()) command += fmt::format(" {} {}", option, shell_quoted(value));
  };
  add("--data", options.data.string());
  add("--out", options.out.string());
  add("--run", options.run.string());
  add("--cache", options.cache.string());
  add("--title", options.title);
  if (options.resize > 0) add("--resize", fmt::to_string(options.resize));
  if (options.quick) command += " --quick";
  page.code(command);
  write_file_durably(options.out.string(), page.html());
  fmt::print("{}: {}\n", options.out.string(), lead);
  if (!embedding.empty()) fmt::print("{}\n", embedding);
  return 0;
}

}  // namespace mono
