// Centring on the CPU: rows in parallel; the update in tiles of columns.
#include <algorithm>
#include <vector>

#include "kernels/base/thread_pool.h"
#include "kernels/domain_centring/centre_step.h"
#include "kernels/domain_centring/domain_centring.h"

namespace mono {
namespace {

constexpr int kTile = 256;

void check_domains(const char* operation, int rows, const int* domain_of_row, int domains) {
  for (int r = 0; domain_of_row && r < rows; ++r)
    MONO_CHECK(domain_of_row[r] >= 0 && domain_of_row[r] < domains, "{}: row {} is of domain {}",
               operation, r, domain_of_row[r]);
}

}  // namespace

template <class T>
void centre_rows(const CentreRows<T>& args) {
  using M = Master<T>;
  check_domains("centre_rows", args.rows, args.domain_of_row, args.domains);
  parallel_for(args.rows, [&](int64_t r, int) {
    const M temperature = static_cast<M>(*args.temperature);
    const int64_t domain = args.domain_of_row ? args.domain_of_row[r] : 0;
    const M* centre = args.centres + domain * args.K;
    for (int k = 0; k < args.K; ++k)
      args.y[r * args.K + k] = (static_cast<M>(args.x[r * args.K + k]) - centre[k]) / temperature;
  });
}

template <class T>
void update_centres(const CentreUpdate<T>& args) {
  using M = Master<T>;
  check_domains("update_centres", args.rows, args.domain_of_row, args.domains);
  std::vector<int> counts(static_cast<size_t>(args.domains));
  for (int r = 0; r < args.rows; ++r) ++counts[args.domain_of_row ? args.domain_of_row[r] : 0];
  const int tiles = (args.K + kTile - 1) / kTile;
  parallel_for(int64_t{tiles} * args.domains, [&](int64_t unit, int) {
    const int domain = static_cast<int>(unit / tiles),
              first = static_cast<int>(unit % tiles) * kTile;
    const int width = std::min(kTile, args.K - first), count = counts[domain];
    if (count == 0) return;
    double sums[kTile] = {};
    for (int64_t r = 0; r < args.rows; ++r) {
      if (args.domain_of_row && args.domain_of_row[r] != domain) continue;
      const T* row = args.x + r * args.K + first;
      for (int k = 0; k < width; ++k) sums[k] += static_cast<double>(static_cast<M>(row[k]));
    }
    const double step =
        centre_step(args.shares, domain, count, args.rows, args.momentum, args.most);
    M* const centre = args.centres + int64_t{domain} * args.K + first;
    for (int k = 0; k < width; ++k)
      centre[k] =
          static_cast<M>((1 - step) * static_cast<double>(centre[k]) + step * (sums[k] / count));
  });
}

#define MONO_INSTANTIATE(T)                        \
  template void centre_rows(const CentreRows<T>&); \
  template void update_centres(const CentreUpdate<T>&);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
