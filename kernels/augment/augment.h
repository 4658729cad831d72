// From uint8 planes to a network's input: crop, one of the eight flips and rotations,
// normalisation, CutMix and MixUp, in one gather pass. Values are drawn on the host (Philox); this
// only applies them.
//
//   v(n, h, w, c)   = (planes[n, c, source pixel of (h,w)] / 255 - mean[n,c]) * inv_std[n,c]
//   out[n,h,w,c]    = mix(n) * v(n,h,w,c) + (1 - mix(n)) * v(partner,h,w,c)         MixUp
//                   = v(partner,h,w,c) inside the box of n, else v(n,h,w,c)         CutMix
//
// Source: RxRx1 section 4.1 (flips, 90-degree rotations, CutMix; Table 5 normalisations);
// CutMix Yun et al. 2019, MixUp Zhang et al. 2018.
#pragma once

#include <cstdint>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"

namespace mono {

struct AugmentProblem {
  int N, C;
  int H, W;     // of the planes
  int P;        // side of the square output crop, <= min(H, W)
  int ldy = 0;  // pixel pitch of the output; 0: C; channels beyond C are zeroed
};

// The dihedral group: bit 0 horizontal flip, bit 1 vertical flip, bit 2 transpose, applied in the
// order transpose, vertical, horizontal to the crop.
struct AugmentImage {
  int crop_y = 0, crop_x = 0;
  int dihedral = 0;            // 0..7; 0 is the identity
  int partner = 0;             // index in this batch
  float mix = 1.0f;            // MixUp weight of the image itself
  int box_y0 = 0, box_y1 = 0;  // CutMix box in output coordinates, half-open; empty: none
  int box_x0 = 0, box_x1 = 0;
};

// planes (N,C,H,W) u8; images (N); mean, inv_std (N,C) in units of /255; out (N,P,P,ldy).
template <class T>
void augment(const AugmentProblem& problem, const uint8_t* planes, const AugmentImage* images,
             const float* mean, const float* inv_std, T* out);

// Mean and unbiased standard deviation of every plane's crop, in counts 0..255; exact integer sums.
// planes (N,C,H,W); images gives the crop; mean, std (N,C).
void crop_statistics(const AugmentProblem& problem, const uint8_t* planes,
                     const AugmentImage* images, double* mean, double* std);

// What augment normalises with when a plane is standardised by itself (RxRx1, Table 5):
// mean / 255 and 1 / (std / 255 + 1e-8) of the n planes' crop_statistics.
void standardisation_tables(int64_t n, const double* mean, const double* std, float* plane_mean,
                            float* plane_inv_std);

// Throws unless every image's crop, element and partner fit the problem; null images: unless the
// extents make sense. The functions above call it; before those below on a GPU stream the caller
// does, on its host copy of `images`.
void augment_check(const AugmentProblem& problem, const AugmentImage* images);

// The same on the stream's device (a CPU stream: the functions above); every pointer there.
template <class T>
void augment(Stream stream, const AugmentProblem& problem, const uint8_t* planes,
             const AugmentImage* images, const float* mean, const float* inv_std, T* out);
void crop_statistics(Stream stream, const AugmentProblem& problem, const uint8_t* planes,
                     const AugmentImage* images, double* mean, double* std);
void standardisation_tables(Stream stream, int64_t n, const double* mean, const double* std,
                            float* plane_mean, float* plane_inv_std);

}  // namespace mono
