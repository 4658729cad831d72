#include "kernels/base/error.h"
#include "train/data/cache.h"
#include "train/data/image_source.h"
#include "train/data/screen_file.h"

#include <algorithm>
#include <numeric>

namespace mono {
namespace {

// A cache of other images with the same names would train silently on the wrong pixels: compares
// some sites with their files, where those are still there.
void compare_with_files(const Dataset& dataset, const Cache& cache, const std::vector<int>& records,
                        const std::filesystem::path& file) {
  std::vector<int> both;
  for (size_t i = 0; i < records.size(); ++i)
    if (records[i] >= 0 && dataset.complete(static_cast<int>(i)))
      both.push_back(static_cast<int>(i));
  if (both.empty()) return;
  const CacheShape& shape = cache.shape();
  if (dataset.image_size < shape.height || shape.height != shape.width ||
      dataset.channels_on_disk != shape.channels)
    fail(
        ErrorKind::data,
        "{}: holds {} channels of {} x {} pixels, the images below {} have {} of {} x {}; make the "
        "cache again with `train_rxrx data pack`",
        file.string(), shape.channels, shape.height, shape.width, dataset.root.string(),
        dataset.channels_on_disk, dataset.image_size, dataset.image_size);
  std::vector<int> channels(static_cast<size_t>(shape.channels));
  std::iota(channels.begin(), channels.end(), 0);
  std::vector<uint8_t> cached(shape.bytes()), decoded(shape.bytes());
  const ResizedImages images(std::make_unique<FileImages>(dataset), shape.height);
  constexpr size_t kSamples = 4;
  const size_t samples = std::min(kSamples, both.size());
  for (size_t k = 0; k < samples; ++k) {
    const int site = both[k * both.size() / samples];
    cache.read(records[static_cast<size_t>(site)], channels, cached.data());
    images.read(site, channels, decoded.data());
    if (cached != decoded)
      fail(ErrorKind::data,
           "{}: site {} differs from its image files below {}{}: the cache was made from other "
           "images; make it again with `train_rxrx data pack`",
           file.string(), dataset.sites[static_cast<size_t>(site)].site_id, dataset.root.string(),
           shape.height == dataset.image_size
               ? ""
               : fmt::format(" (resized to {} pixels a side)", shape.height));
  }
}

}  // namespace

struct CachedImages::Impl {
  explicit Impl(const std::filesystem::path& path) : file(path), cache(path) {}
  std::filesystem::path file;
  Cache cache;
  std::vector<int> records;  // [site] -> record, -1
  std::vector<std::string> site_ids;
};

CachedImages::CachedImages(Dataset& dataset, const std::filesystem::path& file)
    : impl_(std::make_unique<Impl>(file)) {
  int found = 0;
  for (const Site& site : dataset.sites) {
    impl_->records.push_back(impl_->cache.find(site.site_id));
    impl_->site_ids.push_back(site.site_id);
    found += impl_->records.back() >= 0 ? 1 : 0;
  }
  if (found == 0)
    fail(ErrorKind::data,
         "{}: has {} records, none of them a site of the table below {}; it belongs to another "
         "screen",
         file.string(), impl_->cache.records(), dataset.root.string());
  compare_with_files(dataset, impl_->cache, impl_->records, file);
  const CacheShape& shape = impl_->cache.shape();
  if (shape.height != shape.width || shape.channels > kMaxChannels)
    fail(ErrorKind::data,
         "{}: holds {} channels of {} x {} pixels; square images of at most {} are "
         "read; make it again with `train_rxrx data pack`",
         file.string(), shape.channels, shape.height, shape.width, kMaxChannels);
  if (dataset.form == TableForm::described && shape.channels != dataset.channels_on_disk)
    fail(ErrorKind::data,
         "{}: holds {} channels, {} names {}; make it again with `train_rxrx data pack`",
         file.string(), shape.channels, (dataset.root / kScreenFile).string(),
         dataset.channels_on_disk);
  dataset.image_size = shape.height;
  dataset.channels_on_disk = shape.channels;
  dataset.rgb = dataset.form != TableForm::described && shape.channels == 3;
  for (size_t i = 0; i < dataset.sites.size(); ++i)
    dataset.sites[i].channels_present =
        static_cast<uint8_t>(impl_->records[i] < 0 ? 0 : (1u << shape.channels) - 1);
}

CachedImages::~CachedImages() = default;

void CachedImages::read(int site, std::span<const int> channels, uint8_t* planes) const {
  const int record = impl_->records[static_cast<size_t>(site)];
  if (record < 0)
    fail(ErrorKind::data, "{}: has no record of site {}; make it again with `train_rxrx data pack`",
         impl_->file.string(), impl_->site_ids[static_cast<size_t>(site)]);
  impl_->cache.read(record, channels, planes);
}

int CachedImages::height() const {
  return impl_->cache.shape().height;
}
int CachedImages::width() const {
  return impl_->cache.shape().width;
}

}  // namespace mono
