#include "train/data/dataset.h"

#include "kernels/base/error.h"
#include "train/data/metadata.h"
#include "train/data/screen_table.h"
#include "train/data/tree.h"

#include <algorithm>
#include <string_view>

namespace mono {

const char* name_of(WellType type) {
  switch (type) {
    case WellType::treatment:
      return "treatment";
    case WellType::positive_control:
      return "positive_control";
    case WellType::negative_control:
      return "negative_control";
  }
  return "?";
}

const char* name_of(Layout layout) {
  switch (layout) {
    case Layout::images:
      return "rxrx";
    case Layout::train_test:
      return "kaggle";
    case Layout::flat:
      return "flat";
    case Layout::cpg0004:
      return "cpg0004";
    case Layout::described:
      return "described";
    case Layout::none:
      return "none";
  }
  return "?";
}

const char* name_of(TableForm form) {
  switch (form) {
    case TableForm::rxrx:
      return "rxrx";
    case TableForm::kaggle:
      return "kaggle";
    case TableForm::kaggle_names:
      return "kaggle-names";
    case TableForm::wilds:
      return "wilds";
    case TableForm::cpg_metadata:
      return "cpg0004";
    case TableForm::cpg_index:
      return "cpg0004-index";
    case TableForm::cpg_platemaps:
      return "cpg0004-platemaps";
    case TableForm::described:
      return "screen.toml";
  }
  return "?";
}

namespace {

std::string cpg_file(const Dataset& dataset, const Site& site, int channel) {
  const auto e = static_cast<size_t>(site.experiment);
  const std::string& dir = e < dataset.experiment_dirs.size() && !dataset.experiment_dirs[e].empty()
                               ? dataset.experiment_dirs[e]
                               : dataset.experiments[e];
  return fmt::format("{}/r{:02}c{}f{:02}p01-ch{}sk1fk1fl1{}", dir, site.well[0] - 'A' + 1,
                     std::string_view(site.well).substr(1), site.site, channel + 1,
                     dataset.extension);
}

}  // namespace

std::string Dataset::plate_name(int experiment, int plate) const {
  if (plate_names.empty()) return fmt::format("{}", plate);
  return plate_names[static_cast<size_t>(experiment)][static_cast<size_t>(plate - 1)];
}

std::string Dataset::file_of(const Site& site, int channel) const {
  if (form == TableForm::described) return site.files[static_cast<size_t>(channel)];
  if (is_cpg0004(form)) return cpg_file(*this, site, channel);
  // Without a folder: the name that it would have in the layout of rxrx.ai.
  const auto e = static_cast<size_t>(site.experiment);
  const std::string dir = e < experiment_dirs.size() && !experiment_dirs[e].empty()
                              ? experiment_dirs[e]
                              : "images/" + experiments[e];
  if (rgb) return fmt::format("{}/Plate{}/{}_s{}.png", dir, site.plate, site.well, site.site);
  return fmt::format("{}/Plate{}/{}_s{}_w{}.png", dir, site.plate, site.well, site.site,
                     channel + 1);
}

std::filesystem::path Dataset::path_of(const Site& site, int channel) const {
  return root / file_of(site, channel);
}

std::vector<ChannelDisplay> channel_displays(const Dataset& dataset) {
  if (!dataset.channels.empty()) return dataset.channels;
  // rxrx1-utils, rxrx/io.py, RGB_MAP.
  static const std::vector<ChannelDisplay> rxrx = {
      {"nuclei", {19, 0, 249}, 51},        {"ER", {42, 255, 31}, 107},
      {"actin", {255, 0, 25}, 64},         {"nucleoli, RNA", {45, 255, 252}, 191},
      {"mitochondria", {250, 0, 253}, 89}, {"Golgi", {254, 255, 40}, 191}};
  // CPG0004's published images are brighter, and their stains overlap more. Ours.
  static const std::vector<ChannelDisplay> cpg = {{"DNA", {40, 40, 255}, 255},
                                                  {"ER", {0, 150, 40}, 255},
                                                  {"RNA", {0, 60, 110}, 255},
                                                  {"AGP", {150, 70, 0}, 255},
                                                  {"mitochondria", {120, 0, 110}, 255}};
  std::vector<ChannelDisplay> displays = is_cpg0004(dataset.form) ? cpg : rxrx;
  displays.resize(std::min(displays.size(), static_cast<size_t>(dataset.channels_on_disk)));
  return displays;
}

std::string expected_files(const Dataset& dataset) {
  if (is_cpg0004(dataset.form))
    return "folders PLATE/ with rRRcCCfFFp01-chKsk1fk1fl1.png, or PLATE__*/Images/ with .tiff";
  if (dataset.form != TableForm::described)
    return "images/EXP/PlateP/WELL_sS_wC.png, {train,test}/EXP/... or EXP/...";
  return fmt::format("files as images.file of screen.toml names them, such as {}",
                     dataset.sites.empty() ? "?" : dataset.sites.front().files.front());
}

Dataset open_dataset(const std::filesystem::path& path, std::vector<Problem>& problems,
                     std::vector<std::string>& notes) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error))
    fail(ErrorKind::data,
         "{}: is not a folder; give the folder of the screen, the one that holds metadata.csv or "
         "screen.toml",
         path.string());
  Dataset dataset;
  dataset.root = path;
  read_tables(dataset, problems);
  if (dataset.form == TableForm::described)
    scan_screen_tree(dataset, problems, notes);
  else if (is_cpg0004(dataset.form))
    scan_cpg_tree(dataset, problems, notes);
  else
    scan_tree(dataset, problems, notes);
  return dataset;
}

Dataset open_dataset(const std::filesystem::path& path) {
  std::vector<Problem> problems;
  std::vector<std::string> notes;
  Dataset dataset = open_dataset(path, problems, notes);
  if (problems.empty()) return dataset;
  const std::string message = (path / "").string() + problems.front().message;
  if (problems.size() == 1) fail(ErrorKind::data, "{}", message);
  fail(ErrorKind::data, "{}\n({} more; `train_rxrx data check` lists them all)", message,
       problems.size() - 1);
}

}  // namespace mono
