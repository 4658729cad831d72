// What the files of this folder share. Not for callers.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>

#include "kernels/attention/attention.h"
#include "kernels/base/host_device.h"
#include "kernels/base/thread_pool.h"
#include "kernels/base/workspace.h"

namespace mono {

constexpr int kMostHeadDim = 128;

// The problem with packed pitches filled in; throws where it makes no sense.
AttentionProblem attention_checked(const AttentionProblem& problem);
// Throws unless the operands are there and the variant runs on `device`.
void attention_check_call(Device device, AttentionVariant variant, const AttentionProblem& problem,
                          DType dtype, bool operands);

// The problem that reaches a variant has its pitches filled in and is checked.
#define MONO_ATTENTION_VARIANT(name)                                                           \
  size_t attention_##name##_workspace(AttentionPass pass, const AttentionProblem& p, DType d); \
  template <class T>                                                                           \
  void attention_##name##_forward(const AttentionProblem& problem,                             \
                                  const AttentionForward<T>& args, std::span<std::byte> work); \
  template <class T>                                                                           \
  void attention_##name##_backward(const AttentionProblem& problem,                            \
                                   const AttentionBackward<T>& args, std::span<std::byte> work);
MONO_ATTENTION_VARIANT(reference)
MONO_ATTENTION_VARIANT(blocked)  // float and bf16
MONO_ATTENTION_VARIANT(amx)      // bf16
#undef MONO_ATTENTION_VARIANT

// Of the GPU's variants (attention.cu).
size_t attention_gpu_workspace(AttentionVariant variant, AttentionPass pass,
                               const AttentionProblem& problem, DType dtype);

// Where the operands of one head of one image begin. Units are heads, image by image.
struct AttentionHead {
  int64_t q, k, v;  // in qkv and dqkv
  int64_t out;      // in out and dout
  int64_t lse;

  MONO_HOST_DEVICE AttentionHead(const AttentionProblem& p, int64_t unit) {
    const int64_t image = unit / p.heads, column = unit % p.heads * p.head_dim;
    const int64_t width = int64_t{p.heads} * p.head_dim;
    q = image * p.T * p.ld_qkv + column;
    k = q + width;
    v = k + width;
    out = image * p.T * p.ld_out + column;
    lse = unit * p.T;
  }
};

template <class M>
M attention_scale(const AttentionProblem& p) {
  return M(1) / std::sqrt(static_cast<M>(p.head_dim));
}

}  // namespace mono
