#include "nn/domain/adabn.h"

#include <algorithm>

#include "kernels/base/philox.h"

namespace mono {

std::vector<std::vector<int>> balanced_groups(std::vector<int> images, int group_size,
                                              uint64_t seed, uint32_t domain) {
  MONO_CHECK(group_size >= 2, "group size {}", group_size);
  const int n = static_cast<int>(images.size());
  if (n < 2)
    fail(ErrorKind::data,
         "batch statistics of a domain need at least two images, this one has {}; leave it out or "
         "evaluate with running statistics",
         n);
  std::ranges::sort(images);
  Philox(seed, Purpose::statistics_groups, 0, domain).shuffle(images);

  const int rounded = (2 * n + group_size) / (2 * group_size);
  const int count = std::clamp(rounded, 1, n / 2);
  std::vector<std::vector<int>> groups(static_cast<size_t>(count));
  auto from = images.begin();
  for (int g = 0; g < count; ++g) {
    const auto to = from + n / count + (g < n % count ? 1 : 0);
    groups[static_cast<size_t>(g)].assign(from, to);
    from = to;
  }
  return groups;
}

bool domain_statistics(const NormLayers& layers, std::span<const std::vector<int>> groups,
                       const ForwardGroup& forward, NormStatistics& statistics, int row,
                       Communicator& ranks, const std::function<bool()>& abandon) {
  const Device device = statistics.mean().device();
  const size_t size = static_cast<size_t>(ranks.size()), rank = static_cast<size_t>(ranks.rank());
  NormStatistics of_round(layers, ranks.size(), statistics.mean().dtype(), device);
  NormStatistics merged(layers, 1, DType::f64, device);
  for (size_t first = 0; first < groups.size(); first += size) {
    if (ranks.any(abandon && abandon())) return false;
    if (first + rank < groups.size()) {
      const std::vector<int>& group = groups[first + rank];
      const SegmentTable segments({0, static_cast<int>(group.size())}, device);
      ForwardContext context;
      context.segments = segments;
      context.norm.source = NormPolicy::Source::batch;
      context.norm.record = &of_round;
      context.norm.record_row = ranks.rank();
      forward(group, context);
    }
    of_round.gather(ranks);
    for (size_t r = 0; r < std::min(size, groups.size() - first); ++r)
      merge_statistics(layers, of_round, static_cast<int>(r), merged, 0);
  }
  for (const NormLayer& layer : layers.layers())
    MONO_CHECK(statistics.count(row, layer.index) == 0, "row {} is taken", row);
  merge_statistics(layers, merged, 0, statistics, row);
  return true;
}

}  // namespace mono
