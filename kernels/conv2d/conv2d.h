// 2-D convolution: fprop, dgrad and wgrad, with what surrounds it in a batch-normalised network.
//
//   y[n,p,q,k]  = sum_{r,s,c} z[n, p*stride+r-pad, q*stride+s-pad, c] * w[k,r,s,c]
//   z           = prologue(x): x, or max(0, scale[seg,c] * x + shift[seg,c]); zero outside the
//   image
//                 *after* the prologue
//
// Prologue and epilogue are what lets a dense block run without storing a BN-ReLU output and
// without a separate pass for statistics, masks or sums. Layout NHWC with a pixel pitch (ld), so a
// channel slice of a larger buffer is an ordinary operand; filters KRSC, packed, in master
// precision (a bf16 convolution rounds them to bf16 while packing). T is float, bf16 or double;
// Master<T> is what it accumulates in.
//
// Memory traffic needed: each operand once. FLOPs: 2*N*P*Q*K*R*S*C for each of the three.
// On a GPU stream every pointer is to the GPU's memory and `segments` carries gpu_offsets.
// Vocabulary: CUTLASS Conv2dProblemSize, cuDNN. Source of the fusions: DESIGN section 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

struct ConvProblem {
  int N, H, W, C;  // input
  int K, R, S;     // filter (K,R,S,C)
  int stride = 1, pad = 0;
  int ldx = 0;  // pixel pitch of x (and dx, and of the mask source) in elements, >= C; 0: C
  int ldy = 0;  // pixel pitch of y (and dy) in elements, >= K; 0: K

  int P() const { return (H + 2 * pad - R) / stride + 1; }
  int Q() const { return (W + 2 * pad - S) / stride + 1; }
  double flops() const { return 2.0 * N * P() * Q() * double(K) * R * S * C; }
  double bytes(DType dtype) const;  // x, w and y once
  std::string to_string() const;    // e.g. "n8 h32w32 c96 k192 r1s1 stride1 pad0"
};

enum class ConvVariant {
  // of the CPU
  reference,      // plain loops, any T: the definition
  onednn,         // oneDNN primitives on packed copies, one thread each; f32, bf16
  implicit_gemm,  // own register-tiled kernels (AVX-512, AVX-512-BF16, AMX), prologue while packing
  // of the GPU, f32 and bf16
  naive,               // a thread computes one output at a time, straight from global memory
  smem_tiled,          // tiles in shared memory, a register tile a thread, FFMA
  implicit_gemm_mma,   // bf16: cp.async pipeline, prologue in shared memory, tensor cores
  implicit_gemm_halo,  // the same, but 3x3 filters (any that keep the size) share the pixels of all
                       // their taps in shared memory
  cudnn,               // cuDNN and passes around it (conv2d_library.h), in CUDA builds that find it
};
inline constexpr int kConvVariants = 8;
std::string_view name_of(ConvVariant variant);

enum class ConvPass { fprop, dgrad, wgrad };

// Whether `device` can run `variant` in this build and on this machine for the problem and type.
// f64: the CPU only.
bool conv2d_supports(Device device, ConvVariant variant, ConvPass pass, const ConvProblem& problem,
                     DType dtype);
// The variant to run: the quickest supported one, or in f32 one that is nearly as quick and rounds
// less. A table in the source, made from measurements. Throws for f64 on a GPU.
ConvVariant conv2d_choose(Device device, ConvPass pass, const ConvProblem& problem, DType dtype);
// Scratch that a pass needs on the variant's device, bytes; 64-byte aligned storage is expected (on
// the GPU 256). Depends on the number of segments and, on the CPU, of threads.
size_t conv2d_workspace_bytes(ConvVariant variant, ConvPass pass, const ConvProblem& problem,
                              DType dtype, int segments);

// z = max(0, scale * x + shift), with tables (segments, C). Null scale: z = x.
template <class T>
struct ScaleShiftRelu {
  const Master<T>* scale = nullptr;  // (segments, C)
  const Master<T>* shift = nullptr;  // (segments, C)
};

// Batch statistics of an output: mean and biased variance per segment and channel, taken from the
// values as stored (rounded to T). Null mean: not wanted. Never E[y^2]-E[y]^2: shifted sums per
// unit, merged in a fixed order in double (Chan).
template <class T>
struct MomentsOut {
  Master<T>* mean = nullptr;      // (segments, ld)  row s starts at mean + s*ld
  Master<T>* variance = nullptr;  // (segments, ld)
  int ld = 0;                     // row pitch of the two tables, >= channels
};

template <class T>
struct ConvFprop {
  const T* x = nullptr;          // (N,H,W,C) pitch ldx
  const Master<T>* w = nullptr;  // (K,R,S,C)
  T* y = nullptr;                // (N,P,Q,K) pitch ldy; overwritten; must not overlap x's slice
  ScaleShiftRelu<T> prologue;    // on x
  MomentsOut<T> moments;         // of y
  Segments segments;             // of the N images; one segment at least
};
template <class T>
void conv2d_fprop(Stream stream, ConvVariant variant, const ConvProblem& problem,
                  const ConvFprop<T>& args, std::span<std::byte> workspace);

// dgrad: dz = conv_transpose(g, w), g = prologue(dy), then the epilogue writes dx.
//
// Gradient prologue (the deferred batch-norm backward of the layer above):
//   g[.,k] = a[seg,k] * dy + b[seg,k] * y + c[seg,k]        null a means 1, null b: the affine
//   terms
//                                                            are absent and g = a * dy
// dy is GradT: T, or Master<T> where it comes from the shared gradient buffer of a dense block.
// Epilogue with a mask (batch norm + ReLU in front of this convolution):
//   dz      <- dz where mask.scale*x+mask.shift > 0, else 0
//   sum_dz[seg,c]   = sum dz                  (-> dbeta)
//   sum_dzx[seg,c]  = sum dz * (x - mean[seg,c])       (-> dgamma * sigma)
//   dx = dz                          (multiply == null)
//   dx = multiply[seg,c] * dz        (else), overwritten or accumulated
template <class T, class GradT>
struct ConvDgrad {
  const GradT* dy = nullptr;     // (N,P,Q,K) pitch ldy of the problem, or lddy below
  int lddy = 0;                  // pixel pitch of dy; 0: problem.ldy
  const T* y = nullptr;          // (N,P,Q,K) pitch problem.ldy; needed with b
  const Master<T>* a = nullptr;  // (segments, K) each
  const Master<T>* b = nullptr;
  const Master<T>* c = nullptr;
  T* g_out = nullptr;            // (N,P,Q,K) packed (pitch K): receives g for wgrad; may alias dy
                                 // where dy is T with pitch K; null: not wanted. A GPU needs it
                                 // where g is not dy itself (a, b or another GradT)
  const Master<T>* w = nullptr;  // (K,R,S,C)

  ScaleShiftRelu<T> mask;           // null scale: no mask, no sums
  const T* x = nullptr;             // (N,H,W,C) pitch problem.ldx; the mask's source
  const Master<T>* mean = nullptr;  // (segments, mean_ld)
  int mean_ld = 0;
  Master<T>* sum_dz = nullptr;          // (segments, C), overwritten
  Master<T>* sum_dzx = nullptr;         // (segments, C), overwritten
  const Master<T>* multiply = nullptr;  // (segments, C)

  GradT* dx = nullptr;  // (N,H,W,C) pitch lddx
  int lddx = 0;         // 0: problem.ldx
  GradMode mode = GradMode::overwrite;
  Segments segments;
};
template <class T, class GradT>
void conv2d_dgrad(Stream stream, ConvVariant variant, const ConvProblem& problem,
                  const ConvDgrad<T, GradT>& args, std::span<std::byte> workspace);

// wgrad: dw[k,r,s,c] = sum_{n,p,q} g[n,p,q,k] * z[n,p*stride+r-pad,q*stride+s-pad,c]
// Reduced over units fixed by the problem, in a fixed order.
template <class T>
struct ConvWgrad {
  const T* x = nullptr;        // (N,H,W,C) pitch ldx
  ScaleShiftRelu<T> prologue;  // on x, as in fprop
  const T* g = nullptr;        // (N,P,Q,K) pitch ldg
  int ldg = 0;                 // 0: problem.ldy
  Master<T>* dw = nullptr;     // (K,R,S,C)
  GradMode mode = GradMode::overwrite;
  Segments segments;
};
template <class T>
void conv2d_wgrad(Stream stream, ConvVariant variant, const ConvProblem& problem,
                  const ConvWgrad<T>& args, std::span<std::byte> workspace);

// The same on the CPU.
template <class T>
void conv2d_fprop(ConvVariant variant, const ConvProblem& problem, const ConvFprop<T>& args,
                  std::span<std::byte> workspace) {
  conv2d_fprop<T>(Stream{}, variant, problem, args, workspace);
}
template <class T, class GradT>
void conv2d_dgrad(ConvVariant variant, const ConvProblem& problem, const ConvDgrad<T, GradT>& args,
                  std::span<std::byte> workspace) {
  conv2d_dgrad<T, GradT>(Stream{}, variant, problem, args, workspace);
}
template <class T>
void conv2d_wgrad(ConvVariant variant, const ConvProblem& problem, const ConvWgrad<T>& args,
                  std::span<std::byte> workspace) {
  conv2d_wgrad<T>(Stream{}, variant, problem, args, workspace);
}

}  // namespace mono
