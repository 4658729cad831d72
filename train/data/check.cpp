#include "train/data/check.h"

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "train/data/image_file.h"
#include "train/hash.h"
#include "train/json.h"
#include "train/progress.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_map>

namespace mono {
namespace {

// One file, looked at.
struct FileFinding {
  const char* kind = nullptr;  // nullptr: nothing wrong
  std::string message;         // without the file's name
  bool decoded = false;
  uint64_t hash = 0;  // of the pixels
};

FileFinding look_at(const Dataset& dataset, const Site& site, int channel, bool quick) {
  FileFinding finding;
  try {
    const auto path = dataset.path_of(site, channel);
    const int size = dataset.image_size;
    const PngInfo expected{size, size, dataset.rgb ? 3 : 1};
    if (quick) {
      if (image_header(path, "") == expected) return finding;
      // Not as expected: decode for the message.
    }
    std::vector<uint8_t> pixels(expected.bytes());
    read_image(path, "", expected, dataset.tiff_white, pixels.data());
    finding.decoded = true;
    finding.hash = hash64(pixels.data(), pixels.size());
    const bool constant =
        std::all_of(pixels.begin(), pixels.end(), [&](uint8_t p) { return p == pixels.front(); });
    if (constant) {
      finding.kind = "constant";
      finding.message = fmt::format(
          "all {} pixels are {}: nothing was imaged or written; replace the file or leave the well "
          "out of the table",
          pixels.size(), pixels.front());
    }
  } catch (const PngError& e) {
    finding.kind = name_of(e.fault());
    finding.message = std::string(e.what()).substr(2);  // behind ": "
  }
  return finding;
}

// What is imaged as a whole or not at all: a well, so that a missing site is a fault. Where the
// table is a plate map, which names wells, not fields, each field by itself.
using UnitKey = std::tuple<int, int, std::string, int>;
UnitKey unit_of(const Dataset& dataset, const Site& site) {
  const bool field = dataset.form == TableForm::cpg_platemaps;
  return {site.experiment, site.plate, site.well, field ? site.site : 0};
}

// Units of which at least one image exists.
std::set<UnitKey> imaged_units(const Dataset& dataset) {
  std::set<UnitKey> units;
  for (const Site& site : dataset.sites)
    if (site.channels_present != 0) units.insert(unit_of(dataset, site));
  return units;
}

void add_image_problem(const Dataset& dataset, const Site& site, int channel, const char* kind,
                       const std::string& message, CheckReport& report) {
  const std::string file = dataset.file_of(site, channel);
  const std::string& table = dataset.tables[static_cast<size_t>(site.table)];
  report.problems.push_back(
      {kind, file, site.row, fmt::format("{}: {} ({}:{})", file, message, table, site.row)});
}

// What the tables say as a whole.
void check_tables(const Dataset& dataset, CheckReport& report) {
  if (dataset.sites.empty()) return;
  const std::string& table = dataset.tables.front();
  const bool images = std::any_of(dataset.sites.begin(), dataset.sites.end(),
                                  [](const Site& s) { return s.channels_present != 0; });
  if (!images)
    report.problems.push_back({"no-images", ".", 0,
                               fmt::format("{}: no image of any site was found; expected are {}",
                                           report.root, expected_files(dataset))});
  const bool controls = std::any_of(dataset.sites.begin(), dataset.sites.end(),
                                    [](const Site& s) { return s.is_control(); });
  if (!controls && dataset.form == TableForm::described)  // a screen of one's own may lack them
    report.notes.push_back(
        fmt::format("{}: no row is a control (controls.negative of screen.toml): normalisation by "
                    "controls, grit "
                    "and TVN have nothing to go by",
                    table));
  else if (!controls)
    report.problems.push_back(
        {"no-controls", table, 0,
         fmt::format("{}: no row is a control ({}); add them{}", table,
                     is_cpg0004(dataset.form) ? "compound DMSO"
                                              : "well_type positive_control or negative_control",
                     is_cpg0004(dataset.form)
                         ? ""
                         : " (Kaggle: train_controls.csv and test_controls.csv)")});
  // RxRx1's own numbering stands for itself, so a part of RxRx1 may have gaps; another screen may
  // not: classes that never occur would be learnt as outputs.
  std::vector<int> gaps;
  for (int id = 0; id < dataset.num_classes; ++id)
    if (dataset.class_names[static_cast<size_t>(id)].empty()) gaps.push_back(id);
  if (!gaps.empty() && dataset.num_classes != kRxrxClasses && dataset.form == TableForm::rxrx)
    report.problems.push_back(
        {"label-gap", table, 0,
         fmt::format("{}: {} of the classes 0 to {} have no row, the first is sirna_id {}; number "
                     "the siRNAs without gaps",
                     table, gaps.size(), dataset.num_classes - 1, gaps.front())});
}

}  // namespace

void check_images(const Dataset& dataset, bool quick, CheckReport& report) {
  const std::set<UnitKey> imaged = imaged_units(dataset);
  const int files = dataset.files_per_site();
  std::unordered_map<uint64_t, std::pair<size_t, int>> seen;  // pixels -> first site and channel
  std::vector<size_t> sites;
  for (size_t i = 0; i < dataset.sites.size(); ++i) {
    const Site& site = dataset.sites[i];
    report.complete_sites += dataset.complete(static_cast<int>(i)) ? 1 : 0;
    report.unlabelled_sites += site.sirna_id < 0 ? 1 : 0;
    if (imaged.contains(unit_of(dataset, site))) {
      sites.push_back(i);
    } else {
      ++report.absent_sites;
      ++report.absent_by_experiment[dataset.experiments[static_cast<size_t>(site.experiment)]];
    }
  }
  Progress progress("checking", static_cast<int64_t>(sites.size()), "sites");
  constexpr size_t kChunk = 64;
  std::vector<FileFinding> findings(kChunk * static_cast<size_t>(files));
  for (size_t begin = 0; begin < sites.size(); begin += kChunk) {
    const size_t count = std::min(kChunk, sites.size() - begin);
    parallel_for(static_cast<int64_t>(count) * files, [&](int64_t unit, int) {
      const Site& site = dataset.sites[sites[begin + static_cast<size_t>(unit / files)]];
      const int channel = static_cast<int>(unit % files);
      FileFinding& finding = findings[static_cast<size_t>(unit)];
      finding = {};
      if (site.channels_present >> channel & 1)
        finding = look_at(dataset, site, channel, quick);
      else
        finding = {"missing",
                   "is missing; copy it again, or leave the well out of the "
                   "table",
                   false, 0};
    });
    for (size_t u = 0; u < count * static_cast<size_t>(files); ++u) {
      const size_t index = sites[begin + u / static_cast<size_t>(files)];
      const Site& site = dataset.sites[index];
      const int channel = static_cast<int>(u % static_cast<size_t>(files));
      FileFinding& finding = findings[u];
      report.images_checked += (site.channels_present >> channel & 1);
      if (finding.decoded && finding.kind == nullptr) {
        const auto [first, fresh] = seen.emplace(finding.hash, std::pair(index, channel));
        if (!fresh) {
          const auto& [other, other_channel] = first->second;
          finding.kind = "duplicate-image";
          finding.message = fmt::format("shows the same picture as {}; one of them is mislabelled",
                                        dataset.file_of(dataset.sites[other], other_channel));
        }
      }
      if (finding.kind == nullptr) continue;
      add_image_problem(dataset, site, channel, finding.kind, finding.message, report);
    }
    progress.advance(static_cast<int64_t>(count));
  }
}

CheckReport check_dataset(const Dataset& dataset, std::vector<Problem> problems,
                          std::vector<std::string> notes, bool quick) {
  CheckReport report;
  report.problems = std::move(problems);
  report.notes = std::move(notes);
  report.root = dataset.root.string();
  report.layout = name_of(dataset.layout);
  report.form = name_of(dataset.form);
  report.sites = static_cast<int>(dataset.sites.size());
  check_tables(dataset, report);
  check_images(dataset, quick, report);
  return report;
}

CheckReport check_dataset(const std::filesystem::path& path, bool quick) {
  std::vector<Problem> problems;
  std::vector<std::string> notes;
  const Dataset dataset = open_dataset(path, problems, notes);
  return check_dataset(dataset, std::move(problems), std::move(notes), quick);
}

std::string check_text(const CheckReport& report) {
  std::string text;
  const auto line = [&text](const std::string& s) { (text += s) += '\n'; };
  line(fmt::format("screen           {}", report.root));
  line(fmt::format("layout, table    {}, {}", report.layout, report.form));
  line(fmt::format("sites            {}", report.sites));
  line(fmt::format("complete sites   {}", report.complete_sites));
  line(fmt::format("absent sites     {} (wells of which no image exists)", report.absent_sites));
  for (const auto& [experiment, count] : report.absent_by_experiment)
    line(fmt::format("  {:<14} {}", experiment, count));
  if (report.unlabelled_sites > 0)
    line(fmt::format("unlabelled sites {} (without a sirna)", report.unlabelled_sites));
  line(fmt::format("images checked   {}", report.images_checked));
  for (const std::string& note : report.notes) line("note: " + note);
  std::map<std::string, int> kinds;
  for (const Problem& p : report.problems) ++kinds[p.kind];
  std::string summary;
  for (const auto& [kind, count] : kinds)
    summary += fmt::format("{}{} {}", summary.empty() ? "" : ", ", count, kind);
  line(report.problems.empty()
           ? "problems         none"
           : fmt::format("problems         {} ({})", report.problems.size(), summary));
  for (const Problem& p : report.problems) line("  " + p.message);
  return text;
}

std::string check_json(const CheckReport& report) {
  Json absent = Json::object();
  for (const auto& [experiment, count] : report.absent_by_experiment) absent[experiment] = count;
  Json problems = Json::array();
  for (const Problem& p : report.problems) {
    Json problem = Json::object();
    problem["kind"] = p.kind;
    problem["file"] = p.file;
    problem["row"] = p.row;
    problem["message"] = p.message;
    problems.push_back(std::move(problem));
  }
  Json json = Json::object();
  json["format_version"] = 1;
  json["root"] = report.root;
  json["layout"] = report.layout;
  json["table"] = report.form;
  json["sites"] = report.sites;
  json["complete_sites"] = report.complete_sites;
  json["absent_sites"] = report.absent_sites;
  json["unlabelled_sites"] = report.unlabelled_sites;
  json["images_checked"] = report.images_checked;
  json["absent_by_experiment"] = std::move(absent);
  json["problems"] = std::move(problems);
  json["notes"] = report.notes;
  return json.text();
}

}  // namespace mono
