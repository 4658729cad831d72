#include "train/data/commands.h"

#include "kernels/base/error.h"
#include "train/data/check.h"
#include "train/data/image_stats.h"
#include "train/data/montage.h"
#include "train/data/pack.h"
#include "train/json.h"

#include <cstdio>
#include <string>

namespace mono {
namespace {

namespace fs = std::filesystem;

void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    fail(ErrorKind::storage, "standard output cannot be written");
}

// Nothing is ever written into the screen's own folder.
void require_outside(const fs::path& out, const fs::path& data) {
  if (out.empty()) fail(ErrorKind::usage, "--out is missing; name the file to write");
  std::error_code error;
  if (fs::is_directory(out, error))
    fail(ErrorKind::usage, "--out {}: is a folder; name a file in it", out.string());
  const fs::path inside = fs::weakly_canonical(fs::absolute(out), error),
                 root = fs::weakly_canonical(fs::absolute(data), error);
  const auto [root_end, unused] =
      std::mismatch(root.begin(), root.end(), inside.begin(), inside.end());
  if (root_end == root.end())
    fail(ErrorKind::usage,
         "--out {}: lies inside --data {}, where nothing is written; name a file "
         "elsewhere",
         out.string(), data.string());
  const fs::path parent = inside.parent_path();
  if (!fs::is_directory(parent, error))
    fail(ErrorKind::usage, "--out {}: the folder {} does not exist; make it first", out.string(),
         parent.string());
}

std::string stats_text(const Dataset& dataset, const DatasetStats& stats) {
  std::string text = fmt::format(
      "{} images of complete sites, counts 0 to 255\n"
      "{:<12} {:>5} {:>7} {:>7}  {:>8} {:>10} {:>11}\n",
      stats.images.size(), "experiment", "plate", "channel", "images", "mean", "pooled std",
      "mean of std");
  for (const GroupStats& g : stats.plates)
    text += fmt::format("{:<12} {:>5} {:>7} {:>7}  {:>8.3f} {:>10.3f} {:>11.3f}\n",
                        dataset.experiments[static_cast<size_t>(g.experiment)], g.plate,
                        g.channel + 1, g.images, g.pooled.mean, g.pooled.std, g.mean_of_stds);
  return text;
}

std::string stats_json(const Dataset& dataset, const DatasetStats& stats) {
  Json images = Json::array();
  for (const ImageStats& i : stats.images) {
    const Site& site = dataset.sites[static_cast<size_t>(i.site)];
    Json image = Json::object();
    image["experiment"] = dataset.experiments[static_cast<size_t>(site.experiment)];
    image["plate"] = site.plate;
    image["well"] = site.well;
    image["site"] = site.site;
    image["channel"] = i.channel + 1;
    image["mean"] = i.value.mean;
    image["std"] = i.value.std;
    images.push_back(std::move(image));
  }
  Json plates = Json::array();
  for (const GroupStats& g : stats.plates) {
    Json plate = Json::object();
    plate["experiment"] = dataset.experiments[static_cast<size_t>(g.experiment)];
    plate["plate"] = g.plate;
    plate["channel"] = g.channel + 1;
    plate["images"] = g.images;
    plate["mean"] = g.pooled.mean;
    plate["pooled_std"] = g.pooled.std;
    plate["mean_of_stds"] = g.mean_of_stds;
    plates.push_back(std::move(plate));
  }
  Json json = Json::object();
  json["format_version"] = 1;
  json["root"] = dataset.root.string();
  json["images"] = std::move(images);
  json["plates"] = std::move(plates);
  json["warnings"] = stats.warnings;
  return json.text();
}

std::string comparison_text(const CodecComparison& c, size_t sites) {
  std::string text = fmt::format("{:<11} {:>12} {:>10} {:>10}   ({} sites measured, one thread)\n",
                                 "form", "kB a site", "total GB", "sites/s", c.sites);
  const auto line = [&](const char* name, const CodecRate& rate) {
    text +=
        fmt::format("{:<11} {:>12.1f} {:>10.3f} {:>10.1f}\n", name, rate.bytes_per_site / 1e3,
                    rate.bytes_per_site * static_cast<double>(sites) / 1e9, rate.sites_per_second);
  };
  line("png", c.png);
  line("raw", c.raw);
  line("delta-zstd", c.delta_zstd);
  return text;
}

}  // namespace

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
  for (const std::string& warning : stats.warnings)
    fmt::print(stderr, "warning: left out: {}\n", warning);
  print(options.json ? stats_json(dataset, stats) : stats_text(dataset, stats));
  return 0;
}

int run_data_montage(const MontageOptions& options) {
  require_outside(options.out, options.data);
  if (options.tile < 112 || options.tile > 2048)
    fail(ErrorKind::usage, "--tile {}: a tile has 112 to 2048 pixels", options.tile);
  if (options.columns < 1 || options.columns > 64)
    fail(ErrorKind::usage, "--columns {}: a row has 1 to 64 tiles", options.columns);
  const Dataset dataset = open_dataset(options.data);
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
  const Dataset dataset = open_dataset(options.data);
  const PackReport report = pack_images(dataset, options.out, codec);
  std::string text = fmt::format(
      "{}: {} sites, {:.3f} GB ({}), from {:.3f} GB of PNG, {:.1f} sites/s\n", options.out.string(),
      report.records, static_cast<double>(report.file_bytes) / 1e9, name_of(codec),
      static_cast<double>(report.png_bytes) / 1e9, report.records / report.seconds);
  if (report.incomplete_sites > 0)
    text += fmt::format(
        "{} sites lack an image and are left out; `train_rxrx data check` lists "
        "them\n",
        report.incomplete_sites);
  if (options.compare)
    text += comparison_text(compare_codecs(dataset), static_cast<size_t>(report.records));
  print(text);
  return 0;
}

}  // namespace mono
