#include "train/data/commands.h"

#include "kernels/base/error.h"
#include "train/data/check.h"
#include "train/data/image_stats.h"
#include "train/data/montage.h"
#include "train/data/normalisation.h"
#include "train/data/pack.h"
#include "train/data/screen_file.h"
#include "train/data/selection.h"
#include "train/json.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <tuple>

namespace mono {
namespace {

namespace fs = std::filesystem;

void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    fail(ErrorKind::storage, "standard output cannot be written");
}

// Statistics of a plate's images after normalisation, in standard deviations: by (experiment,
// plate, channel), as DatasetStats::plates has them.
struct Normalised {
  double mean = 0, std = 0;  // means over the plate's images
};
std::vector<Normalised> normalised(const Dataset& dataset, const ImageSource& images,
                                   const DatasetStats& stats, const std::string& how) {
  std::vector<Normalised> out;
  if (how.empty()) return out;
  const PlateNormalisation options{parse_plate_statistics(how), false};
  Split all;
  std::vector<int> channels;
  for (int c = 0; c < dataset.channels_on_disk; ++c) channels.push_back(c);
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i)
    if (dataset.complete(i)) all.train.push_back(i);
  const NormalisationStats by = plate_normalisation(dataset, images, channels, all, options);
  std::map<std::tuple<int, int, int>, Normalised> sums;
  for (const ImageStats& i : stats.images) {
    const Site& site = dataset.sites[static_cast<size_t>(i.site)];
    const MeanStd& scale = by.of(i.site, i.channel);
    Normalised& sum = sums[{site.experiment, site.plate, i.channel}];
    sum.mean += (i.value.mean - scale.mean) / scale.std;
    sum.std += i.value.std / scale.std;
  }
  for (const GroupStats& g : stats.plates) {
    const Normalised& sum = sums.at({g.experiment, g.plate, g.channel});
    out.push_back({sum.mean / g.images, sum.std / g.images});
  }
  return out;
}

std::string stats_text(const Dataset& dataset, const DatasetStats& stats,
                       const std::vector<Normalised>& normalised) {
  std::string text = fmt::format(
      "{} images of complete sites, counts 0 to 255\n"
      "{:<12} {:>5} {:>7} {:>7}  {:>8} {:>10} {:>11}{}\n",
      stats.images.size(), "experiment", "plate", "channel", "images", "mean", "pooled std",
      "mean of std", normalised.empty() ? "" : "   normalised: mean   std");
  for (size_t i = 0; i < stats.plates.size(); ++i) {
    const GroupStats& g = stats.plates[i];
    text += fmt::format("{:<12} {:>5} {:>7} {:>7}  {:>8.3f} {:>10.3f} {:>11.3f}",
                        dataset.experiments[static_cast<size_t>(g.experiment)],
                        dataset.plate_name(g.experiment, g.plate), g.channel + 1, g.images,
                        g.pooled.mean, g.pooled.std, g.mean_of_stds);
    if (!normalised.empty())
      text += fmt::format("  {:>16.3f} {:>6.3f}", normalised[i].mean, normalised[i].std);
    text += '\n';
  }
  return text;
}

// A number, as RxRx1 numbers its plates, or the name that a screen of one's own gives it.
Json plate_json(const Dataset& dataset, int experiment, int plate) {
  if (dataset.plate_names.empty()) return Json(plate);
  return Json(dataset.plate_name(experiment, plate));
}

std::string stats_json(const Dataset& dataset, const DatasetStats& stats,
                       const std::vector<Normalised>& normalised) {
  Json images = Json::array();
  for (const ImageStats& i : stats.images) {
    const Site& site = dataset.sites[static_cast<size_t>(i.site)];
    Json image = Json::object();
    image["experiment"] = dataset.experiments[static_cast<size_t>(site.experiment)];
    image["plate"] = plate_json(dataset, site.experiment, site.plate);
    image["well"] = site.well;
    image["site"] = site.site;
    image["channel"] = i.channel + 1;
    image["mean"] = i.value.mean;
    image["std"] = i.value.std;
    images.push_back(std::move(image));
  }
  Json plates = Json::array();
  for (size_t i = 0; i < stats.plates.size(); ++i) {
    const GroupStats& g = stats.plates[i];
    Json plate = Json::object();
    plate["experiment"] = dataset.experiments[static_cast<size_t>(g.experiment)];
    plate["plate"] = plate_json(dataset, g.experiment, g.plate);
    plate["channel"] = g.channel + 1;
    plate["images"] = g.images;
    plate["mean"] = g.pooled.mean;
    plate["pooled_std"] = g.pooled.std;
    plate["mean_of_stds"] = g.mean_of_stds;
    if (!normalised.empty()) {
      plate["normalised_mean"] = normalised[i].mean;
      plate["normalised_std"] = normalised[i].std;
    }
    plates.push_back(std::move(plate));
  }
  Json json = Json::object();
  json["format_version"] = 1;
  json["root"] = dataset.root.string();
  json["images"] = std::move(images);
  json["plates"] = std::move(plates);
  Json warnings = Json::array();
  for (const ImageWarning& w : stats.warnings) warnings.push_back(w.message);
  json["warnings"] = std::move(warnings);
  return json.text();
}

// Absolute, and without links as far as it exists.
fs::path real_path(const fs::path& path) {
  std::error_code error;
  const fs::path result = fs::weakly_canonical(fs::absolute(path), error);
  return result.has_filename() ? result : result.parent_path();  // "a/" as "a"
}

bool lies_below(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

std::string comparison_text(const CodecComparison& c, size_t sites) {
  std::string text = fmt::format("{:<11} {:>12} {:>10} {:>10}   ({} sites measured, one thread)\n",
                                 "form", "kB a site", "total GB", "sites/s", c.sites);
  const auto line = [&](const char* name, const CodecRate& rate) {
    text +=
        fmt::format("{:<11} {:>12.1f} {:>10.3f} {:>10.1f}\n", name, rate.bytes_per_site / 1e3,
                    rate.bytes_per_site * static_cast<double>(sites) / 1e9, rate.sites_per_second);
  };
  line("files", c.files);
  line("raw", c.raw);
  line("delta-zstd", c.delta_zstd);
  return text;
}

}  // namespace

void require_outside(const fs::path& out, const fs::path& data) {
  if (out.empty()) fail(ErrorKind::usage, "--out is missing; name the file to write");
  std::error_code error;
  if (fs::is_directory(out, error))
    fail(ErrorKind::usage, "--out {}: is a folder; name a file in it", out.string());
  const fs::path file = real_path(out);
  if (lies_below(file, real_path(data)))
    fail(ErrorKind::usage,
         "--out {}: lies inside --data {}, where nothing is written; name a file "
         "elsewhere",
         out.string(), data.string());
  const fs::path parent = file.parent_path();
  if (!fs::is_directory(parent, error))
    fail(ErrorKind::usage, "--out {}: the folder {} does not exist; make it first", out.string(),
         parent.string());
}

void require_outside(const fs::path& out, const Dataset& dataset) {
  std::error_code error;
  std::vector<std::string> tables = dataset.tables;
  tables.push_back(kScreenFile);
  for (const std::string& table : tables)
    if (fs::equivalent(out, dataset.root / table, error))
      fail(ErrorKind::usage, "--out {}: is the screen's {}; name another file", out.string(),
           (dataset.root / table).string());
  std::set<std::string> folders;
  for (const Site& site : dataset.sites)
    for (int c = 0; c < dataset.files_per_site(); ++c) {
      const std::string file = dataset.file_of(site, c);
      folders.insert(file.substr(0, file.rfind('/') + 1));  // npos + 1 = 0
    }
  const fs::path file = real_path(out);
  const auto refuse = [&](const fs::path& folder) {
    fail(ErrorKind::usage,
         "--out {}: lies among the screen's images, in {}, where nothing is written; name a file "
         "elsewhere",
         out.string(), folder.string());
  };
  for (const std::string& folder : folders)
    if (fs::equivalent(file.parent_path(), dataset.root / folder, error))
      refuse(dataset.root / folder);
  // Of a screen.toml also images without a row, unless their folder is one above the screen.
  if (dataset.form != TableForm::described) return;
  const fs::path folder = real_path(dataset.root / read_screen_file(dataset.root).folder);
  if (!lies_below(real_path(dataset.root), folder) && lies_below(file, folder)) refuse(folder);
}

int run_data_check(const CheckOptions& options) {
  const CheckReport report = check_dataset(options.data, options.quick);
  print(options.json ? check_json(report) : check_text(report));
  return report.problems.empty() ? 0 : static_cast<int>(ErrorKind::data);
}

int run_data_stats(const StatsOptions& options) {
  const Dataset dataset = open_dataset(options.data);
  const FileImages images(dataset);
  const DatasetStats stats = image_statistics(dataset, images);
  if (stats.images.empty() && stats.warnings.empty())
    fail(ErrorKind::data,
         "{}: no site has all of its images; `train_rxrx data check` lists what is missing",
         options.data.string());
  for (const ImageWarning& warning : stats.warnings)
    fmt::print(stderr, "warning: left out: {}\n", warning.message);
  const auto after = normalised(dataset, images, stats, options.normalise);
  print(options.json ? stats_json(dataset, stats, after) : stats_text(dataset, stats, after));
  return 0;
}

int run_data_montage(const MontageOptions& options) {
  require_outside(options.out, options.data);
  if (options.tile < 112 || options.tile > 2048)
    fail(ErrorKind::usage, "--tile {}: a tile has 112 to 2048 pixels", options.tile);
  if (options.columns < 1 || options.columns > 64)
    fail(ErrorKind::usage, "--columns {}: a row has 1 to 64 tiles", options.columns);
  const Dataset dataset = open_dataset(options.data);
  require_outside(options.out, dataset);
  const FileImages images(dataset);
  const Picture picture =
      draw_montage(dataset, images, {options.sirna, options.tile, options.columns});
  write_png(options.out, picture.info(), picture.rgb.data());
  print(fmt::format("{}: {} x {} pixels\n", options.out.string(), picture.width, picture.height));
  return 0;
}

int run_data_pack(const PackOptions& options) {
  const CacheCodec codec = parse_cache_codec(options.codec);
  require_outside(options.out, options.data);
  if (std::error_code error; fs::is_regular_file(options.out, error) &&
                             fs::file_size(options.out, error) > 0 && !begins_as_cache(options.out))
    fail(ErrorKind::usage, "--out {}: is there, and is no image cache; name another file",
         options.out.string());
  if (options.resize < 0) fail(ErrorKind::usage, "--resize {}: give pixels a side", options.resize);
  Dataset dataset = open_dataset(options.data);
  require_outside(options.out, dataset);
  if (options.selection) dataset = select_treatments(std::move(dataset));
  const std::unique_ptr<ImageSource> images = open_images(dataset, {}, options.resize);
  const PackReport report = pack_images(dataset, *images, options.out, codec);
  std::string text =
      fmt::format("{}: {} sites, {:.3f} GB ({}), from {:.3f} GB of image files, {:.1f} sites/s\n",
                  options.out.string(), report.records,
                  static_cast<double>(report.file_bytes) / 1e9, name_of(codec),
                  static_cast<double>(report.source_bytes) / 1e9, report.records / report.seconds);
  if (report.incomplete_sites > 0)
    text += fmt::format(
        "{} sites lack an image and are left out; `train_rxrx data check` lists "
        "them\n",
        report.incomplete_sites);
  if (options.compare)
    text += comparison_text(compare_codecs(dataset, *images), static_cast<size_t>(report.records));
  print(text);
  return 0;
}

}  // namespace mono
