#include "train/report/predictions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "kernels/base/error.h"
#include "train/data/csv.h"
#include "train/data/well.h"

namespace mono::report {
namespace {

struct Tally {
  int64_t images = 0, right = 0;
  double percent() const {
    return images ? 100.0 * static_cast<double>(right) / static_cast<double>(images)
                  : std::numeric_limits<double>::quiet_NaN();
  }
  void add(const Prediction& p) {
    ++images;
    right += p.label == p.predicted;
  }
};

bool counts(const Prediction& p) {
  return p.label >= 0 && p.predicted >= 0;
}

const Site* site_of(const Dataset* dataset, const std::string& id) {
  if (!dataset) return nullptr;
  const auto found = std::ranges::lower_bound(dataset->sites, id, {}, &Site::site_id);
  return found != dataset->sites.end() && found->site_id == id ? &*found : nullptr;
}

// "HUVEC-18_1_B02_1": plate and well stand before the last part.
void place_by_name(Prediction& p) {
  const size_t site = p.site.rfind('_');
  const size_t well = site == p.site.npos || site == 0 ? p.site.npos : p.site.rfind('_', site - 1);
  const size_t plate = well == p.site.npos || well == 0 ? p.site.npos : p.site.rfind('_', well - 1);
  if (plate == p.site.npos) return;
  p.well = p.site.substr(well + 1, site - well - 1);
  p.plate = p.site.substr(plate + 1, well - plate - 1);
}

// On the largest plates, of 32 x 48 wells; nothing where the name is of no such well.
std::optional<Well> place_of(const std::string& name) {
  const std::optional<Well> well = parse_well(name);
  return well && well->row < 32 && well->column < 48 ? well : std::nullopt;
}

// An empty plate of 16 x 24 wells, or as large as these images need.
HeatMap empty_plate(const std::vector<Prediction>& predictions) {
  int rows = 16, columns = 24;
  for (const Prediction& p : predictions) {
    const std::optional<Well> well = place_of(p.well);
    if (!well) continue;
    rows = std::max(rows, well->row + 1);
    columns = std::max(columns, well->column + 1);
  }
  HeatMap map;
  for (int r = 0; r < rows; ++r) map.rows.push_back(row_name(r));
  for (int c = 1; c <= columns; ++c) map.columns.push_back(fmt::to_string(c));
  map.unit = "percent right";
  map.low = 0;
  map.high = 100;
  return map;
}

HeatMap filled(HeatMap map, const std::map<std::pair<int, int>, Tally>& wells) {
  map.values.assign(map.rows.size() * map.columns.size(), std::numeric_limits<double>::quiet_NaN());
  for (const auto& [place, tally] : wells)
    map.values[static_cast<size_t>(place.first) * map.columns.size() +
               static_cast<size_t>(place.second)] = tally.percent();
  return map;
}

std::string name_of(int label, const std::map<int, std::string>& names) {
  const auto found = names.find(label);
  return found == names.end() || found->second.empty() ? fmt::format("class {}", label)
                                                       : found->second;
}

struct ClassTally {
  int label = 0;
  Tally tally;
  std::map<int, int64_t> predicted;
};

std::vector<ClassTally> tallies(const std::vector<Prediction>& predictions) {
  std::map<int, ClassTally> by_label;
  for (const Prediction& p : predictions) {
    if (!counts(p)) continue;
    ClassTally& of = by_label[p.label];
    of.label = p.label;
    of.tally.add(p);
    ++of.predicted[p.predicted];
  }
  std::vector<ClassTally> out;
  for (auto& [label, of] : by_label) out.push_back(std::move(of));
  return out;
}

}  // namespace

std::vector<Prediction> read_predictions(const std::filesystem::path& csv, const Dataset* dataset) {
  const CsvTable table = read_csv(csv, csv.string());
  const auto column = [&](std::initializer_list<const char*> names) {
    for (const char* name : names)
      if (const int at = table.column(name); at >= 0) return static_cast<size_t>(at);
    fail(ErrorKind::data, "{}: has no column {}", csv.string(), *names.begin());
  };
  const size_t site = column({"site_id"}), label = column({"sirna_id", "label"});
  const size_t predicted = column({"predicted"}), experiment = column({"experiment", "domain"});
  std::vector<Prediction> out;
  out.reserve(table.rows.size());
  for (const CsvRow& row : table.rows) {
    Prediction p;
    p.site = row.fields[site];
    p.experiment = row.fields[experiment];
    if (!row.fields[label].empty() && !parse_int(row.fields[label], p.label))
      fail(ErrorKind::data, "{}:{}: '{}' is no class", csv.string(), row.line, row.fields[label]);
    if (!row.fields[predicted].empty() && !parse_int(row.fields[predicted], p.predicted))
      fail(ErrorKind::data, "{}:{}: '{}' is no class", csv.string(), row.line,
           row.fields[predicted]);
    if (const Site* known = site_of(dataset, p.site)) {
      p.plate = dataset->plate_name(known->experiment, known->plate);
      p.well = known->well;
    } else {
      place_by_name(p);
    }
    out.push_back(std::move(p));
  }
  return out;
}

std::map<int, std::string> class_names(const std::vector<Prediction>& predictions,
                                       const Dataset* dataset) {
  std::map<int, std::string> names;
  for (const Prediction& p : predictions) {
    if (p.label < 0 || names.contains(p.label)) continue;
    if (const Site* site = site_of(dataset, p.site)) names[p.label] = site->sirna;
  }
  return names;
}

HardClasses hard_classes(const std::vector<Prediction>& predictions,
                         const std::map<int, std::string>& names, size_t most) {
  constexpr size_t kMostColumns = 16;
  std::vector<ClassTally> classes = tallies(predictions);
  HardClasses out;
  if (classes.empty()) return out;
  for (const ClassTally& c : classes) out.images += c.tally.images;
  const auto perfect = std::ranges::count_if(
      classes, [](const ClassTally& c) { return c.tally.right == c.tally.images; });
  out.share_of_perfect = static_cast<double>(perfect) / static_cast<double>(classes.size());
  std::ranges::stable_sort(classes, {}, [](const ClassTally& c) { return c.tally.percent(); });
  std::erase_if(classes, [](const ClassTally& c) { return c.tally.right == c.tally.images; });
  if (classes.size() > most) classes.resize(most);

  // Columns: the hard classes themselves, then what else they are most often taken for.
  std::vector<int> columns;
  std::map<int, int64_t> others;
  for (const ClassTally& c : classes) columns.push_back(c.label);
  for (const ClassTally& c : classes)
    for (const auto& [predicted, count] : c.predicted)
      if (std::ranges::find(columns, predicted) == columns.end()) others[predicted] += count;
  std::vector<std::pair<int64_t, int>> ranked;
  for (const auto& [label, count] : others) ranked.emplace_back(-count, label);
  std::ranges::sort(ranked);
  for (const auto& [count, label] : ranked)
    if (columns.size() < std::max(kMostColumns, classes.size())) columns.push_back(label);

  out.map.title = "The hardest classes and what they are taken for";
  out.map.description = "Rows are true classes, columns what was predicted.";
  out.map.row_title = "true class";
  out.map.column_title = "predicted";
  out.map.unit = "percent of the row";
  out.map.low = 0;
  out.map.high = 100;
  out.map.print_values = true;
  for (const int label : columns) out.map.columns.push_back(name_of(label, names));
  out.table.columns = {
      {"class", false}, {"images", true}, {"right (%)", true}, {"most often taken for", false}};
  for (const ClassTally& c : classes) {
    out.map.rows.push_back(name_of(c.label, names));
    for (const int label : columns) {
      const auto found = c.predicted.find(label);
      const double share = found == c.predicted.end() ? 0
                                                      : 100.0 * static_cast<double>(found->second) /
                                                            static_cast<double>(c.tally.images);
      out.map.values.push_back(share > 0 ? share : std::numeric_limits<double>::quiet_NaN());
    }
    std::vector<std::pair<int64_t, int>> wrong;
    for (const auto& [label, count] : c.predicted)
      if (label != c.label) wrong.emplace_back(-count, label);
    std::ranges::sort(wrong);
    std::string taken;
    for (size_t i = 0; i < std::min<size_t>(wrong.size(), 3); ++i)
      taken += fmt::format("{}{} ({})", taken.empty() ? "" : ", ", name_of(wrong[i].second, names),
                           -wrong[i].first);
    out.table.rows.push_back({name_of(c.label, names), fmt::to_string(c.tally.images),
                              figure_text(c.tally.percent(), 1), taken});
  }
  return out;
}

HeatMap by_well(const std::vector<Prediction>& predictions) {
  std::map<std::pair<int, int>, Tally> wells;
  for (const Prediction& p : predictions) {
    const std::optional<Well> well = place_of(p.well);
    if (counts(p) && well) wells[{well->row, well->column}].add(p);
  }
  return filled(empty_plate(predictions), wells);
}

std::vector<HeatMap> by_plate(const std::vector<Prediction>& predictions, size_t most) {
  struct PlateTally {
    std::string title;
    Tally all;
    std::map<std::pair<int, int>, Tally> wells;
  };
  std::map<std::pair<std::string, std::string>, PlateTally> plates;
  for (const Prediction& p : predictions) {
    const std::optional<Well> well = place_of(p.well);
    if (!counts(p) || !well) continue;
    PlateTally& plate = plates[{p.experiment, p.plate}];
    plate.all.add(p);
    plate.wells[{well->row, well->column}].add(p);
  }
  std::vector<PlateTally> sorted;
  for (auto& [key, plate] : plates) {
    plate.title = fmt::format("{} plate {}: {} %", key.first, key.second,
                              figure_text(plate.all.percent(), 1));
    sorted.push_back(std::move(plate));
  }
  std::ranges::stable_sort(sorted, {}, [](const PlateTally& plate) { return plate.all.percent(); });
  if (sorted.size() > most) sorted.resize(most);
  const HeatMap empty = empty_plate(predictions);
  std::vector<HeatMap> maps;
  for (const PlateTally& plate : sorted) {
    HeatMap& map = maps.emplace_back(filled(empty, plate.wells));
    map.title = plate.title;
    map.description = plate.title + " of its images are right; by well.";
    map.plain = true;
    map.width = 210;
  }
  return maps;
}

}  // namespace mono::report
