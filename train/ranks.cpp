#include "train/ranks.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "nn/optim/flat_norm.h"
#include "train/hash.h"

namespace mono {
namespace {

// The ranks whose value is not the most frequent one; of equally frequent ones rank 0's counts.
struct OddOnes {
  std::vector<int> ranks;
  bool outvoted = true;  // more than half of the ranks have the other value
};
OddOnes odd_ones(std::span<const uint64_t> values, size_t stride, size_t at) {
  std::map<uint64_t, size_t> count;
  const size_t ranks = values.size() / stride;
  for (size_t r = 0; r < ranks; ++r) ++count[values[r * stride + at]];
  uint64_t common = values[at];
  for (const auto& [value, times] : count)
    if (times > count[common]) common = value;
  OddOnes odd;
  for (size_t r = 0; r < ranks; ++r)
    if (values[r * stride + at] != common) odd.ranks.push_back(static_cast<int>(r));
  odd.outvoted = 2 * count[common] > ranks;
  return odd;
}

std::string name_of(const std::vector<int>& ranks) {
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", fmt::join(ranks, ", "));
}

}  // namespace

SumOptions sum_options(const Recipe& recipe, const Communicator& ranks) {
  return {.bucket_bytes = static_cast<int64_t>(recipe.ranks.bucket_mb * 1048576),
          .as_bf16 = recipe.ranks.bf16_gradients && ranks.size() > 1};
}

GroupShare share_of(const Communicator& ranks, int64_t groups) {
  const int size = ranks.size(), all = static_cast<int>(groups);
  const int count = all / size;
  if (all % size != 0 || (size > 1 && !std::has_single_bit(static_cast<unsigned>(count)))) {
    std::vector<int> fitting;
    for (int n = 1; n <= all; ++n)
      if (all % n == 0 && (n == 1 || std::has_single_bit(static_cast<unsigned>(all / n))))
        fitting.push_back(n);
    fail(ErrorKind::usage,
         "batch.groups = {} cannot be shared out to {} ranks: each takes the same number of "
         "groups, a power of two; start {} ranks, or set batch.groups to {} times 1, 2, 4 or so",
         all, size, fmt::join(fitting, ", "), size);
  }
  return {all, ranks.rank() * count, count};
}

void check_same(Communicator& ranks, const std::string& what, const std::string& value) {
  const uint64_t own = hash64(value);
  const std::vector<uint64_t> all = ranks.gather_values<uint64_t>(std::span(&own, 1));
  std::vector<int> odd;
  for (int r = 1; r < ranks.size(); ++r)
    if (all[static_cast<size_t>(r)] != all[0]) odd.push_back(r);
  if (odd.empty()) return;
  fail(ErrorKind::usage,
       "{}: {} not the same {} as rank 0 (here: {}); start all ranks with one "
       "command, one program and one copy of the data",
       name_of(odd), odd.size() == 1 ? "has" : "have", what, value);
}

GroupSums add_groups(Communicator& ranks, const GroupShare& share, std::span<const double> own) {
  const std::vector<double> all = ranks.gather_values(own);
  const size_t figures = own.size() / static_cast<size_t>(share.count);
  GroupSums of_groups{std::vector<double>(figures), -1};
  for (size_t i = 0; i < all.size(); ++i) {
    of_groups.sums[i % figures] += all[i];
    if (!std::isfinite(all[i]) && of_groups.not_finite < 0)
      of_groups.not_finite = static_cast<int>(i / figures);
  }
  return of_groups;
}

std::string where_it_diverged(Communicator& ranks, const GroupShare& share, int group,
                              const ParameterArena& arena) {
  std::string where;
  if (group >= 0 && share.groups > 1) where += fmt::format(", group {}", group);
  if (ranks.size() == 1) return where;
  if (group >= 0) where += fmt::format(" (rank {})", group / share.count);
  const uint8_t own = first_not_finite(arena, arena.weights()) != nullptr;
  const std::vector<uint8_t> all = ranks.gather_values(std::span<const uint8_t>(&own, 1));
  std::vector<int> bad;
  for (int r = 0; r < ranks.size(); ++r)
    if (all[static_cast<size_t>(r)]) bad.push_back(r);
  if (!bad.empty()) where += fmt::format(" (the weights of {} are not finite)", name_of(bad));
  return where;
}

void check_same_images(Communicator& ranks, const RunSetup& setup) {
  if (ranks.size() == 1) return;
  const Split& split = setup.split;
  Hasher names;
  std::vector<int> sites;
  std::string counts;
  for (const auto& [part, name] :
       {std::pair{&split.train, "training"}, std::pair{&split.bank, "bank"},
        std::pair{&split.validation, "validation"}, std::pair{&split.test, "test"}}) {
    for (const int i : *part)
      names.update(fmt::format("{} {}\n", setup.dataset.sites[static_cast<size_t>(i)].site_id,
                               setup.label[static_cast<size_t>(i)]));
    sites.insert(sites.end(), part->begin(), part->end());
    if (!part->empty()) counts += fmt::format("{} {}, ", part->size(), name);
  }
  check_same(ranks, "images", fmt::format("{}hash {}", counts, hash_text(names.digest())));

  constexpr size_t kImages = 16;
  Hasher pixels;
  for (const MeanStd& value : setup.normalisation.values) {
    pixels.update(&value.mean, sizeof value.mean);
    pixels.update(&value.std, sizeof value.std);
  }
  std::vector<uint8_t> planes(setup.channels.size() *
                              static_cast<size_t>(setup.images->height() * setup.images->width()));
  const size_t stride = std::max<size_t>(1, sites.size() / kImages);
  for (size_t i = 0; i < sites.size(); i += stride) {
    setup.images->read(sites[i], setup.channels, planes.data());
    pixels.update(planes.data(), planes.size());
  }
  check_same(ranks, "pixels", hash_text(pixels.digest()));
}

void check_same_state(Communicator& ranks, const TrainingState& state, int64_t step) {
  if (ranks.size() == 1) return;
  const std::vector<TrainingState::TensorHash> tensors = state.hashes();
  std::vector<uint64_t> own;
  for (const auto& tensor : tensors) own.push_back(tensor.hash);
  const uint64_t together = hash64(
      std::string_view(reinterpret_cast<const char*>(own.data()), own.size() * sizeof(uint64_t)));
  const std::vector<uint64_t> all = ranks.gather_values<uint64_t>(std::span(&together, 1));
  if (odd_ones(all, 1, 0).ranks.empty()) return;

  const std::vector<uint64_t> each = ranks.gather_values<uint64_t>(own);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const OddOnes odd = odd_ones(each, tensors.size(), i);
    if (odd.ranks.empty()) continue;
    fail(ErrorKind::device,
         "after step {} '{}' of {} is not that of the other ranks: memory or a computation failed "
         "{}. Nothing was saved since; --resume auto goes on from the last checkpoint",
         step, tensors[i].name, name_of(odd.ranks),
         odd.outvoted ? "there" : "there, or on the others: neither side outvotes the other");
  }
}

}  // namespace mono
