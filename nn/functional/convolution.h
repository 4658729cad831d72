// Convolution as a differentiable function.
#pragma once

#include "nn/domain/domain_batch_norm.h"

namespace mono {

struct ConvolutionOptions {
  int stride = 1, pad = 0;
  bool want_moments = false;  // batch statistics of y, from the epilogue, for the norm behind it
};

struct ConvolutionResult {
  Variable y;       // (N,P,Q,K) packed
  Moments moments;  // (segments, K), if wanted
};

// x (N,H,W,C), images may have a pitch; w (K,R,S,C). An input that wants no gradient (the images)
// gets none.
ConvolutionResult convolution(const Variable& x, const Parameter& w, const ForwardContext& context,
                              const ConvolutionOptions& options = {});

// Which kernels convolutions and matrix products run on. automatic: the measured table;
// reference: plain loops (f64 runs on them in any case), on the GPU the naive kernels; onednn,
// implicit_gemm: that variant wherever it can run the problem, the table's choice elsewhere.
// Process-wide.
enum class KernelChoice { automatic, reference, onednn, implicit_gemm };
void set_kernel_choice(KernelChoice choice);
KernelChoice kernel_choice();
KernelChoice parse_kernel_choice(const std::string& name);  // "auto", ...; else Error(usage)

}  // namespace mono
