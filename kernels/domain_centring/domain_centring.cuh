// Centring on the GPU: a thread an element; the update with a thread a column of a domain, so that
// neighbours read neighbouring elements and every row is read once, by its own domain.
#pragma once

#include "kernels/base/dtype.h"
#include "kernels/domain_centring/centre_step.h"
#include "kernels/domain_centring/domain_centring.h"
#include "kernels/simt/simt.cuh"

namespace mono {

inline constexpr int kCentringThreads = 256;

// Grid: columns, rows.
template <class T>
__global__ void __launch_bounds__(kCentringThreads)
    centre_rows_kernel(int K, const T* __restrict__ x, const Master<T>* __restrict__ centres,
                       const int* __restrict__ domain_of_row,
                       const double* __restrict__ temperature, Master<T>* y) {
  using M = Master<T>;
  const int k = static_cast<int>(blockIdx.x * kCentringThreads + threadIdx.x);
  if (k >= K) return;
  const int64_t at = int64_t{blockIdx.y} * K + k;
  const int64_t domain = domain_of_row ? domain_of_row[blockIdx.y] : 0;
  y[at] = (static_cast<M>(x[at]) - centres[domain * K + k]) / static_cast<M>(*temperature);
}

// Grid: columns, domains.
template <class T>
__global__ void __launch_bounds__(kCentringThreads)
    update_centres_kernel(int rows, int K, const T* __restrict__ x,
                          const int* __restrict__ domain_of_row, const double* __restrict__ shares,
                          double momentum, double most, Master<T>* centres) {
  using M = Master<T>;
  const int k = static_cast<int>(blockIdx.x * kCentringThreads + threadIdx.x);
  const int domain = static_cast<int>(blockIdx.y);
  if (k >= K) return;
  double sum = 0;
  int count = 0;
  for (int64_t r = 0; r < rows; ++r) {
    if (domain_of_row && domain_of_row[r] != domain) continue;
    sum += static_cast<double>(static_cast<M>(x[r * K + k]));
    ++count;
  }
  if (count == 0) return;
  const double step = centre_step(shares, domain, count, rows, momentum, most);
  M& centre = centres[int64_t{domain} * K + k];
  centre = static_cast<M>((1 - step) * static_cast<double>(centre) + step * (sum / count));
}

}  // namespace mono
