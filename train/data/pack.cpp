#include "train/data/pack.h"

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "train/data/image_source.h"
#include "train/hash.h"
#include "train/progress.h"

#include <algorithm>
#include <chrono>
#include <numeric>

namespace mono {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

CacheShape shape_of(const Dataset& dataset, const ImageSource& images) {
  return {dataset.channels_on_disk, images.height(), images.width()};
}

std::vector<int> complete_sites(const Dataset& dataset) {
  std::vector<int> sites;
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i)
    if (dataset.complete(i)) sites.push_back(i);
  if (sites.empty())
    fail(ErrorKind::data,
         "{}: no site has all of its images, so there is nothing to pack; `train_rxrx data check` "
         "lists what is missing",
         dataset.root.string());
  return sites;
}

uint64_t source_bytes_of(const Dataset& dataset, int site) {
  const int files = dataset.files_per_site();
  uint64_t bytes = 0;
  std::error_code error;
  for (int c = 0; c < files; ++c) {
    const uintmax_t size =
        fs::file_size(dataset.path_of(dataset.sites[static_cast<size_t>(site)], c), error);
    if (!error) bytes += size;
  }
  return bytes;
}

uint64_t table_hash(const Dataset& dataset) {
  Hasher hasher;
  for (const Site& site : dataset.sites) {
    hasher.update(site.site_id);
    hasher.update("\n");
  }
  return hasher.digest();
}

void require_space(const fs::path& file, uint64_t bytes) {
  std::error_code error;
  const fs::path parent = file.has_parent_path() ? file.parent_path() : fs::path(".");
  const fs::space_info space = fs::space(parent, error);
  if (!error && space.available < bytes)
    fail(ErrorKind::storage,
         "{}: needs up to {} MB, the disk has {} MB free; free some space, or use --codec "
         "delta-zstd or another disk",
         file.string(), bytes >> 20, space.available >> 20);
}

}  // namespace

PackReport pack_images(const Dataset& dataset, const ImageSource& images, const fs::path& file,
                       CacheCodec codec) {
  const auto begin = Clock::now();
  const CacheShape shape = shape_of(dataset, images);
  const std::vector<int> sites = complete_sites(dataset);
  if (codec == CacheCodec::raw) require_space(file, sites.size() * shape.bytes());
  std::vector<int> channels(static_cast<size_t>(shape.channels));
  std::iota(channels.begin(), channels.end(), 0);

  PackReport report;
  CacheWriter writer(file, codec, shape, table_hash(dataset));
  Progress progress("packing", static_cast<int64_t>(sites.size()), "sites");
  constexpr size_t kChunk = 32;  // sites in memory at a time
  std::vector<std::vector<uint8_t>> records(kChunk);
  for (size_t at = 0; at < sites.size(); at += kChunk) {
    const size_t count = std::min(kChunk, sites.size() - at);
    parallel_for(static_cast<int64_t>(count), [&](int64_t unit, int) {
      std::vector<uint8_t> planes(shape.bytes());
      images.read(sites[at + static_cast<size_t>(unit)], channels, planes.data());
      records[static_cast<size_t>(unit)] = encode_record(codec, shape, planes.data());
    });
    for (size_t u = 0; u < count; ++u) {
      writer.append(dataset.sites[static_cast<size_t>(sites[at + u])].site_id, records[u]);
      report.source_bytes += source_bytes_of(dataset, sites[at + u]);
    }
    progress.advance(static_cast<int64_t>(count));
  }
  report.file_bytes = writer.finish();
  report.records = static_cast<int>(sites.size());
  report.incomplete_sites =
      static_cast<int>(std::count_if(dataset.sites.begin(), dataset.sites.end(),
                                     [](const Site& s) { return s.channels_present != 0; })) -
      report.records;
  report.seconds = seconds_since(begin);
  return report;
}

CodecComparison compare_codecs(const Dataset& dataset, const ImageSource& images) {
  const CacheShape shape = shape_of(dataset, images);
  const std::vector<int> sites = complete_sites(dataset);
  std::vector<int> channels(static_cast<size_t>(shape.channels));
  std::iota(channels.begin(), channels.end(), 0);
  CodecComparison result;
  constexpr size_t kSample = 24;
  const size_t samples = std::min(kSample, sites.size());
  result.sites = static_cast<int>(samples);
  double png = 0, raw = 0, delta = 0;
  std::vector<uint8_t> planes(shape.bytes()), out(shape.bytes());
  const auto measure = [&](CacheCodec codec, CodecRate& rate, double& seconds) {
    const std::vector<uint8_t> record = encode_record(codec, shape, planes.data());
    rate.bytes_per_site += static_cast<double>(record.size());
    const uint64_t hash = hash64(record.data(), record.size());
    const auto begin = Clock::now();
    const bool ok = hash64(record.data(), record.size()) == hash &&
                    decode_record(codec, shape, record, channels, out.data());
    seconds += seconds_since(begin);
    MONO_CHECK(ok && out == planes, "codec {}", name_of(codec));
  };
  for (size_t k = 0; k < samples; ++k) {
    const int site = sites[k * sites.size() / samples];
    result.files.bytes_per_site += static_cast<double>(source_bytes_of(dataset, site));
    const auto begin = Clock::now();
    images.read(site, channels, planes.data());
    png += seconds_since(begin);
    measure(CacheCodec::raw, result.raw, raw);
    measure(CacheCodec::delta_zstd, result.delta_zstd, delta);
  }
  const auto finish = [&](CodecRate& rate, double seconds) {
    const auto n = static_cast<double>(samples);
    rate.bytes_per_site /= n;
    rate.sites_per_second = seconds > 0 ? n / seconds : 0;
  };
  finish(result.files, png);
  finish(result.raw, raw);
  finish(result.delta_zstd, delta);
  return result;
}

}  // namespace mono
