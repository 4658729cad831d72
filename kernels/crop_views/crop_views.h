// From uint8 planes to the crops of a self-supervised step: any box of an image, resized to a
// square, flipped and turned, its colours scaled and shifted, normalised; many views of one image.
// Values are drawn by the caller (Philox, on the host); this only applies them.
//
//   q(m,i,j,c)   = bilinear resize of planes[image(m), c, y:y+h, x:x+w] to P x P, to uint8
//                  (kernels/base/linear_resize.h: OpenCV's INTER_LINEAR in every bit)
//   out[m,h,w,c] = ((q(m, (i,j) of (h,w), c) / 255 * gain[m,c] + shift[m,c])
//                   - mean[image(m),c]) * inv_std[image(m),c]
//
// Traffic: each view's box once, M P P C uint8 at most; the output once. Source: CDCL (Haslum et
// al. 2023) and its code: RandomResizedCrop, flips, RandomRotate90, colour shift, plate statistics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"

namespace mono {

struct CropViewsProblem {
  int N, C;     // images
  int H, W;     // of the planes
  int M;        // views
  int P;        // side of the square output
  int ldy = 0;  // pixel pitch of the output; 0: C; channels beyond C are zeroed
};

struct CropView {
  int image = 0;     // of the planes
  int y = 0, x = 0;  // the box: h x w pixels from here, inside the plane
  int h = 1, w = 1;
  // The dihedral group as in AugmentImage: bit 0 horizontal flip, bit 1 vertical flip, bit 2
  // transpose, applied in the order transpose, vertical, horizontal to the resized square.
  int dihedral = 0;
};

// Scratch of crop_views on a device.
size_t crop_views_workspace_bytes(Device device, const CropViewsProblem& problem, DType dtype);

// planes (N,C,H,W) u8; views (M); gain, shift (M,C): 1 and 0 leave a colour as it is, exactly;
// mean, inv_std (N,C) in units of /255; out (M,P,P,ldy).
template <class T>
void crop_views(const CropViewsProblem& problem, const uint8_t* planes, const CropView* views,
                const float* gain, const float* shift, const float* mean, const float* inv_std,
                T* out, std::span<std::byte> workspace);

// Throws unless every view's image, box and element fit the problem; null views: unless the
// extents make sense. The function above calls it; before the one below on a GPU stream the caller
// does, on its host copy of `views`.
void crop_views_check(const CropViewsProblem& problem, const CropView* views);

// The same on the stream's device (a CPU stream: the function above); every pointer there. The
// same bits on any device.
template <class T>
void crop_views(Stream stream, const CropViewsProblem& problem, const uint8_t* planes,
                const CropView* views, const float* gain, const float* shift, const float* mean,
                const float* inv_std, T* out, std::span<std::byte> workspace);

}  // namespace mono
