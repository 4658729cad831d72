// Centring of a teacher's outputs, with a centre per domain (CDCL, section 3.3) or one for all
// (DINO, Caron et al. 2021).
//
//   centre   y[r] = (x[r] - C[d_r]) / temperature
//   update   N_d rows of domain d among the R rows, m_d their mean,
//            w_d = min(most, (N_d / R) / share_d),   share_d: d's share of the training images
//            C_d <- (1 - a w_d) C_d + a w_d m_d,     a = 1 - momentum
//
// Traffic: centre reads x and writes y; update reads x once and reads and writes the centres of the
// domains that are there.
#pragma once

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"

namespace mono {

// x (rows, K) packed; centres (domains, K); domain_of_row (rows), null: 0 for all; y (rows, K).
// temperature: one number where the operation runs. Ids are below `domains`: checked on the CPU,
// the caller's word on the GPU.
template <class T>
struct CentreRows {
  int rows = 0, K = 0, domains = 1;
  const T* x = nullptr;
  const Master<T>* centres = nullptr;
  const int* domain_of_row = nullptr;
  const double* temperature = nullptr;
  Master<T>* y = nullptr;
};
template <class T>
void centre_rows(const CentreRows<T>& args);

// In double, row after row. A domain without rows keeps its centre to the bit; one without training
// images (share 0) takes weight `most`.
template <class T>
struct CentreUpdate {
  int rows = 0, K = 0, domains = 1;
  const T* x = nullptr;
  const int* domain_of_row = nullptr;
  const double* shares = nullptr;  // (domains); null: w_d = 1 for every domain that is there
  double momentum = 0.9;
  double most = 10;
  Master<T>* centres = nullptr;
};
template <class T>
void update_centres(const CentreUpdate<T>& args);

// The same on the stream's device, with its pointers.
template <class T>
void centre_rows(Stream stream, const CentreRows<T>& args);
template <class T>
void update_centres(Stream stream, const CentreUpdate<T>& args);

}  // namespace mono
