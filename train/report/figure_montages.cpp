// RxRx1, Figures 1c, 2, 3 and 4; CDCL, Figure 3.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "train/data/montage.h"
#include "train/report/figures.h"

namespace mono::report {
namespace {

// Complete sites of one treatment by where they are.
using SitesBy = std::map<int, std::vector<int>>;

// A treatment and where it was seen, of the sites that count.
struct Treatment {
  std::string name;
  bool control = false;
  SitesBy sites;
};

// Treatments among the complete sites that accept(site) takes, in random order; key(site) says what
// their sites are sorted by.
template <class Accept, class Key>
std::vector<Treatment> treatments_of(const Dataset& dataset, const MontageFigureOptions& options,
                                     const Accept& accept, const Key& key) {
  std::map<std::string, Treatment> by_name;
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i) {
    const Site& site = dataset.sites[static_cast<size_t>(i)];
    if (site.sirna.empty() || !dataset.complete(i) || !accept(site)) continue;
    Treatment& treatment = by_name[site.sirna];
    treatment.name = site.sirna;
    treatment.control |= site.is_control();
    treatment.sites[key(site)].push_back(i);
  }
  std::vector<Treatment> treatments;
  for (auto& [name, treatment] : by_name) treatments.push_back(std::move(treatment));
  Philox(options.seed, Purpose::pictures, 0, 0, 1).shuffle(treatments);
  // Those that were seen in most places first; controls, which are everywhere, last.
  std::ranges::stable_sort(treatments, [](const Treatment& a, const Treatment& b) {
    return std::pair(a.control, -static_cast<int>(a.sites.size())) <
           std::pair(b.control, -static_cast<int>(b.sites.size()));
  });
  return treatments;
}

int drawn(const std::vector<int>& sites, uint64_t seed) {
  Philox draw(seed, Purpose::pictures, 0, static_cast<uint32_t>(sites.front()), 2);
  return sites[draw.below(static_cast<uint32_t>(sites.size()))];
}

const Site& site_at(const Dataset& dataset, int index) {
  return dataset.sites[static_cast<size_t>(index)];
}

std::string named(const Treatment& treatment) {
  return treatment.name + (treatment.control ? ", control" : "");
}

// The cell type whose complete sites come from the most experiments; of equal ones the first.
std::string broadest_cell_type(const Dataset& dataset) {
  std::map<std::string, std::set<int>> experiments;
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i)
    if (dataset.complete(i))
      experiments[site_at(dataset, i).cell_type].insert(site_at(dataset, i).experiment);
  if (experiments.empty())
    fail(ErrorKind::data,
         "{}: no site has all of its images; `train_rxrx data check` lists what is missing",
         dataset.root.string());
  return std::ranges::max_element(experiments, {}, [](const auto& e) { return e.second.size(); })
      ->first;
}

// "2 treatments"; where the paper's figure shows more, `lacking` says so.
std::string shown_of(size_t shown, int wanted, const char* what, std::string& lacking) {
  if (static_cast<int>(shown) < wanted)
    lacking += fmt::format(" The screen has {} of the {} {}s that the paper's figure shows.", shown,
                           wanted, what);
  return fmt::format("{} {}{}", shown, what, shown == 1 ? "" : "s");
}

std::string scale_text(const Dataset& dataset, MontageScale scale) {
  if (scale == MontageScale::percentiles)
    return " Each channel is scaled from the 0.1 to the 99.9 percentile of its counts in all sites "
           "shown here together, times its colour; the sum is clipped.";
  std::string ranges;
  for (const ChannelDisplay& display : channel_displays(dataset))
    ranges += fmt::format("{}{} 0–{}", ranges.empty() ? "" : ", ", display.name, display.high);
  return fmt::format(
      " Each channel in its colour, the sum clipped; counts shown: {}. The ranges are fixed: a "
      "difference in brightness is one of the screen.",
      ranges);
}

MontageScale scale_of(const Dataset& dataset) {
  return is_cpg0004(dataset.form) ? MontageScale::percentiles : MontageScale::fixed;
}

Figure picture_figure(const std::string& name, const std::string& title, const Dataset& dataset,
                      const ImageSource& images, const std::vector<MontageRow>& rows,
                      const MontageFigureOptions& options) {
  Figure figure;
  figure.name = name;
  figure.title = title;
  const Picture picture = draw_grid(dataset, images, rows, options.tile, scale_of(dataset));
  figure.png = encode_png(picture.info(), picture.rgb.data());
  Json shown = Json::array();
  for (const MontageRow& row : rows)
    for (const MontageTile& tile : row.tiles)
      if (tile.site >= 0 && tile.channel <= 0) shown.push_back(site_at(dataset, tile.site).site_id);
  figure.numbers["sites"] = std::move(shown);
  return figure;
}

}  // namespace

Figure treatments_by_experiment_figure(const std::string& name, const Dataset& dataset,
                                       const ImageSource& images, int treatments, int experiments,
                                       bool treatments_are_columns,
                                       const MontageFigureOptions& options) {
  const std::string cell_type = broadest_cell_type(dataset);
  std::vector<Treatment> chosen = treatments_of(
      dataset, options, [&](const Site& site) { return site.cell_type == cell_type; },
      [](const Site& site) { return site.experiment; });
  chosen.resize(std::min(chosen.size(), static_cast<size_t>(treatments)));

  // Experiments with most of them first, otherwise at random; shown in the order of their names.
  std::map<int, int> seen;
  for (const Treatment& treatment : chosen)
    for (const auto& [experiment, sites] : treatment.sites) ++seen[experiment];
  std::vector<int> places;
  for (const auto& [experiment, count] : seen) places.push_back(experiment);
  Philox(options.seed, Purpose::pictures, 0, 0, 3).shuffle(places);
  std::ranges::stable_sort(places, std::greater<>(), [&](int e) { return seen.at(e); });
  places.resize(std::min(places.size(), static_cast<size_t>(experiments)));
  std::ranges::sort(places);

  const auto tile = [&](const Treatment& treatment, int experiment, const std::string& caption) {
    const auto found = treatment.sites.find(experiment);
    if (found == treatment.sites.end()) return MontageTile{-1, -1, caption + ": absent"};
    return MontageTile{drawn(found->second, options.seed), -1, caption};
  };
  const auto experiment_name = [&](int e) { return dataset.experiments[static_cast<size_t>(e)]; };
  std::vector<MontageRow> rows;
  if (treatments_are_columns)
    for (const int e : places) {
      MontageRow& row = rows.emplace_back(MontageRow{experiment_name(e), {}});
      for (const Treatment& treatment : chosen)
        row.tiles.push_back(tile(treatment, e, named(treatment)));
    }
  else
    for (const Treatment& treatment : chosen) {
      MontageRow& row = rows.emplace_back(MontageRow{named(treatment), {}});
      for (const int e : places) row.tiles.push_back(tile(treatment, e, experiment_name(e)));
    }
  Figure figure = picture_figure(name, "The same treatments in several experiments", dataset,
                                 images, rows, options);
  std::string lacking;
  const std::string what = shown_of(chosen.size(), treatments, "treatment", lacking),
                    where = shown_of(places.size(), experiments, "experiment", lacking);
  figure.caption = fmt::format("{} ({}) of {} cells in {} ({}).{}{}", what,
                               treatments_are_columns ? "columns" : "rows", cell_type, where,
                               treatments_are_columns ? "rows" : "columns", lacking,
                               scale_text(dataset, scale_of(dataset)));
  return figure;
}

Figure channels_figure(const Dataset& dataset, const ImageSource& images,
                       const MontageFigureOptions& options) {
  // The paper's, where there is a whole image of it.
  std::string cell_type = broadest_cell_type(dataset);
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i)
    if (dataset.complete(i) && site_at(dataset, i).cell_type == "HUVEC") cell_type = "HUVEC";
  const std::vector<Treatment> treatments = treatments_of(
      dataset, options, [&](const Site& site) { return site.cell_type == cell_type; },
      [](const Site& site) { return site.experiment; });
  if (treatments.empty())
    fail(ErrorKind::data, "{}: no site of {} has a treatment and all of its images",
         dataset.root.string(), cell_type);
  const int shown = drawn(treatments.front().sites.begin()->second, options.seed);
  constexpr size_t kColumns = 4;
  const std::vector<ChannelDisplay> displays = channel_displays(dataset);
  std::vector<MontageRow> rows = {{"", {{shown, -1, "all channels"}}}};
  for (size_t c = 0; c < displays.size(); ++c) {
    if (rows.back().tiles.size() == kColumns) rows.emplace_back();
    rows.back().tiles.push_back(
        {shown, static_cast<int>(c), fmt::format("{} {}", c + 1, displays[c].name)});
  }
  Figure figure =
      picture_figure("rxrx1_fig2", "One site and its channels", dataset, images, rows, options);
  const Site& site = site_at(dataset, shown);
  figure.caption = fmt::format(
      "{} cells, {} ({}): all {} channels together, and each by itself, from its 0.5 to its 99.5 "
      "percentile. Together:{}",
      cell_type, site.site_id, named(treatments.front()), displays.size(),
      scale_text(dataset, scale_of(dataset)));
  return figure;
}

Figure cell_types_figure(const Dataset& dataset, const ImageSource& images,
                         const MontageFigureOptions& options) {
  constexpr int kOnOnePlate = 4, kCellTypes = 4;
  const std::string cell_type = broadest_cell_type(dataset);
  std::map<std::pair<int, int>, int> numbers;  // of plates
  const auto plate_of = [&](const Site& site) {
    const int next = static_cast<int>(numbers.size());
    return numbers.emplace(std::pair(site.experiment, site.plate), next).first->second;
  };
  std::vector<Treatment> all = treatments_of(
      dataset, options, [&](const Site& site) { return site.cell_type == cell_type; }, plate_of);
  // The plate with the most of them; of equal ones one at random.
  std::map<int, int> on_plate;
  for (const Treatment& treatment : all)
    for (const auto& [plate, sites] : treatment.sites) on_plate[plate] += !treatment.control;
  std::vector<int> plates;
  for (const auto& [plate, count] : on_plate) plates.push_back(plate);
  Philox(options.seed, Purpose::pictures, 0, 0, 4).shuffle(plates);
  std::vector<MontageRow> rows;
  std::string lacking;
  size_t together = 0;
  if (!plates.empty()) {
    const int plate = *std::ranges::max_element(plates, {}, [&](int p) { return on_plate.at(p); });
    MontageRow row;
    for (const Treatment& treatment : all) {
      const auto found = treatment.sites.find(plate);
      if (found == treatment.sites.end() || row.tiles.size() == kOnOnePlate) continue;
      row.tiles.push_back({drawn(found->second, options.seed), -1, named(treatment)});
    }
    together = row.tiles.size();
    const Site& site = site_at(dataset, row.tiles.front().site);
    row.title = fmt::format("{}, plate {}",
                            dataset.experiments[static_cast<size_t>(site.experiment)], site.plate);
    rows.push_back(std::move(row));
  }
  const std::string what = shown_of(together, kOnOnePlate, "treatment", lacking);

  const std::vector<Treatment> everywhere = treatments_of(
      dataset, options, [](const Site&) { return true; },
      [&](const Site& site) { return dataset.cell_type_of[static_cast<size_t>(site.experiment)]; });
  MontageRow row;
  if (!everywhere.empty()) {
    const Treatment& treatment = everywhere.front();
    row.title = named(treatment) + " in each cell type";
    for (const auto& [type, sites] : treatment.sites)
      row.tiles.push_back(
          {drawn(sites, options.seed), -1, dataset.cell_types[static_cast<size_t>(type)]});
  }
  const std::string types = shown_of(row.tiles.size(), kCellTypes, "cell type", lacking);
  rows.push_back(std::move(row));
  Figure figure =
      picture_figure("rxrx1_fig4", "Treatments and cell types", dataset, images, rows, options);
  figure.caption =
      fmt::format("Above: {} on one plate of {} cells. Below: one treatment in {}.{}{}", what,
                  cell_type, types, lacking, scale_text(dataset, scale_of(dataset)));
  return figure;
}

}  // namespace mono::report
