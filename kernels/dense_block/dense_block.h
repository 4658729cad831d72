// A DenseNet dense block as one operation (Huang et al. 2017; torchvision's _DenseBlock).
//
//   for l in 0..layers-1, C_l = C0 + l*g:
//     y1_l            = conv1x1(relu(bn1_l(X[..., :C_l])))          bottleneck B channels
//     X[..., C_l:+g]  = conv3x3(relu(bn2_l(y1_l)))
//
// X (N,H,W,C_total) is the one shared buffer: the caller writes the first C0 channels, each layer
// its own g. Nothing is concatenated. Batch statistics of a channel are computed once, in the
// epilogue of the convolution that produces it, and serve every later layer. BN-ReLU outputs are
// never stored: convolutions apply them in their prologue, forward and backward.
//
// Backward keeps one gradient buffer D like X. Each layer's 1x1 dgrad epilogue only does
// D += s*mask*acc; the batch-statistic terms of all bn1 backward passes are affine in x per
// channel, so they are summed as two numbers per (segment, channel) and applied once, when a
// slice's gradient is consumed (exact in fp64 to 1e-15). Traffic: specs in the folder's README.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"
#include "kernels/conv2d/conv2d.h"

namespace mono {

struct DenseBlockProblem {
  int N, H, W;
  int C0;          // input channels
  int growth;      // g
  int bottleneck;  // B = bn_size * g
  int layers;
  double eps = 1e-5;
  // true: statistics of this batch per segment (training; AdaBN by groups). false: the tables
  // mean1/variance1/mean2/variance2 of each layer are inputs (running or experiment statistics).
  bool batch_statistics = true;

  int C_total() const { return C0 + layers * growth; }
  int C_in(int layer) const { return C0 + layer * growth; }
  double flops() const;  // forward
};

template <class T>
struct DenseBlockLayer {
  using M = Master<T>;
  // Parameters, torchvision's norm1, conv1, norm2, conv2.
  const M* gamma1 = nullptr;  // (C_l)
  const M* beta1 = nullptr;   // (C_l)
  const M* w1 = nullptr;      // (B,1,1,C_l)
  const M* gamma2 = nullptr;  // (B)
  const M* beta2 = nullptr;   // (B)
  const M* w2 = nullptr;      // (g,3,3,B)
  // Saved by forward, read by backward.
  T* y1 = nullptr;         // (N,H,W,B) packed
  M* mean2 = nullptr;      // (segments, B)  written with batch_statistics, else read
  M* variance2 = nullptr;  // (segments, B)  biased
  // Read only, without batch_statistics:
  const M* mean1 = nullptr;      // (segments, C_l)
  const M* variance1 = nullptr;  // (segments, C_l)
};

template <class T>
struct DenseBlockGrads {  // gradients of one layer's parameters; overwritten or accumulated
  using M = Master<T>;
  M *dgamma1 = nullptr, *dbeta1 = nullptr, *dw1 = nullptr;
  M *dgamma2 = nullptr, *dbeta2 = nullptr, *dw2 = nullptr;
};

template <class T>
struct DenseBlockForward {
  T* X = nullptr;                 // (N,H,W,C_total) packed; channels [0,C0) are the input
  Master<T>* mean = nullptr;      // (segments, C_total) with batch_statistics: columns [0,C0) are
  Master<T>* variance = nullptr;  //   inputs (moments of the input), the rest is written; biased.
  std::span<const DenseBlockLayer<T>> layers;
  Segments segments;
};

template <class T>
struct DenseBlockBackward {
  const T* X = nullptr;             // (N,H,W,C_total) as forward left it
  const Master<T>* mean = nullptr;  // (segments, C_total), with batch_statistics
  const Master<T>* variance = nullptr;
  std::span<const DenseBlockLayer<T>> layers;
  std::span<const DenseBlockGrads<T>> grads;
  GradMode grad_mode = GradMode::overwrite;  // of every parameter gradient
  // (N,H,W,C_total) packed: the gradient of X on entry, consumed in place; on return channels
  // [0,C0) hold the gradient of the input, deferred terms included, the rest is unspecified.
  Master<T>* D = nullptr;
  Segments segments;
  // Called when all six gradients of a layer are final (last layer first). May be null.
  void (*layer_done)(void* context, int layer) = nullptr;
  void* layer_done_context = nullptr;
};

// Whether a convolution variant runs every convolution of the block on the device, forward and
// backward.
bool dense_block_supports(Device device, ConvVariant variant, const DenseBlockProblem& problem,
                          DType dtype);
// The convolution variant that carries the block: of those that run all of it, the one that the
// convolutions' own table prefers for most of the block's FLOPs; else the definition.
ConvVariant dense_block_choose(Device device, const DenseBlockProblem& problem, DType dtype);
// Scratch on the variant's device, bytes.
size_t dense_block_workspace_bytes(ConvVariant variant, const DenseBlockProblem& problem,
                                   DType dtype, int segments, bool backward);

// On a GPU stream all pointers but `layers` and `grads` themselves are to the GPU's memory,
// segments carry gpu_offsets, and the calls only enqueue: layer_done then means that all earlier
// work of the stream leaves the layer's gradients final.
template <class T>
void dense_block_forward(Stream stream, ConvVariant variant, const DenseBlockProblem& problem,
                         const DenseBlockForward<T>& args, std::span<std::byte> workspace);
template <class T>
void dense_block_backward(Stream stream, ConvVariant variant, const DenseBlockProblem& problem,
                          const DenseBlockBackward<T>& args, std::span<std::byte> workspace);

// The same on the CPU.
template <class T>
void dense_block_forward(ConvVariant variant, const DenseBlockProblem& problem,
                         const DenseBlockForward<T>& args, std::span<std::byte> workspace) {
  dense_block_forward<T>(Stream{}, variant, problem, args, workspace);
}
template <class T>
void dense_block_backward(ConvVariant variant, const DenseBlockProblem& problem,
                          const DenseBlockBackward<T>& args, std::span<std::byte> workspace) {
  dense_block_backward<T>(Stream{}, variant, problem, args, workspace);
}

}  // namespace mono
