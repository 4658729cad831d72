// BYOL's loss (Grill et al. 2020; CDCL Eq. 1): each view's prediction against the target's
// projection of the other view.
//
//   losses[a,b] = scale * (2 - 2 cos(p_a[b], z_(1-a)[b])),   a = 0, 1
//   dp = weight * scale * -2 / ||p|| (z/||z|| - cos * p/||p||)
//
// Rows are view-major: (2 B, C). Norms as in l2_normalise (at least eps). Sums in double; traffic:
// p and z, and dp.
#pragma once

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

template <class T>
struct ByolLoss {
  int B = 0, C = 0;
  const T* prediction = nullptr;  // (2 B, C) packed
  const T* target = nullptr;      // (2 B, C)
  double scale = 1;
  double eps = 1e-12;
};
template <class T>
void byol_forward(const ByolLoss<T>& args, Master<T>* losses);  // (2 B)
template <class T>
void byol_backward(const ByolLoss<T>& args, double weight, T* dprediction, GradMode mode);

// The same on the stream's device.
template <class T>
void byol_forward(Stream stream, const ByolLoss<T>& args, Master<T>* losses);
template <class T>
void byol_backward(Stream stream, const ByolLoss<T>& args, double weight, T* dprediction,
                   GradMode mode);

}  // namespace mono
