// Multi-head attention: out = softmax(scale q k^T) v for every image and head, and its gradients.
//
//   qkv (N, T, 3, heads, head_dim): rows of tokens, ld_qkv elements apart; q, k and v of a token
//   lie side by side, as the matrix product that makes them writes them out (N, T, heads,
//   head_dim), rows ld_out apart lse (N, heads, T): the logarithm of each row's sum of exp(scale q
//   k^T), in master precision scale = 1 / sqrt(head_dim)
//
// Backward, with P = exp(scale q k^T - lse) computed anew and delta = rowsum(dout * out):
//   dv = P^T dout,  dS = P * (dout v^T - delta),  dq = scale dS k,  dk = scale dS^T q.
// The T x T matrices exist as tiles only. Every sum runs in an order fixed by the problem, without
// atomics: any number of threads and any GPU schedule gives the same bits.
//
// T is f32, bf16 or f64. bf16 operands are multiplied exactly and summed in float; amx and
// flash_mma round P and dS to bf16 in front of the second product, as matrix units want them.
// Traffic: qkv and out once (forward); qkv, out, dout and dqkv once (backward).
// Source: Dao et al., FlashAttention (2022) and FlashAttention-2 (2023).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

enum class AttentionPass { forward, backward };
std::string_view name_of(AttentionPass pass);

struct AttentionProblem {
  int N, T, heads;
  int head_dim = 64;           // a multiple of 8, 128 at most
  int ld_qkv = 0, ld_out = 0;  // 0: packed, 3 heads head_dim and heads head_dim

  int width() const { return heads * head_dim; }
  // Multiplications and additions of the matrix products: two forward, five backward.
  double flops(AttentionPass pass) const {
    return (pass == AttentionPass::forward ? 4.0 : 10.0) * N * heads * T * T * head_dim;
  }
  // What must move, each operand once.
  double bytes(AttentionPass pass, DType dtype) const;
  std::string to_string() const;
};

// A variant belongs to the CPU or to the GPU.
enum class AttentionVariant {
  reference,  // CPU: a row of scores at a time, any type: the definition
  blocked,    // CPU: blocks of rows, vectors; f32, and bf16 widened to float
  amx,        // CPU: blocks of rows on AMX tiles; bf16
  naive,      // GPU: a warp per row, any type: the definition
  flash,      // GPU: tiles in shared memory, running softmax, fused multiply-adds; f32 and bf16
  flash_mma,  // GPU: the same on tensor cores, with asynchronous copies; bf16
};
std::string_view name_of(AttentionVariant variant);
// Whether `device` can run `variant` in this build and on this CPU for the problem and type.
bool attention_supports(Device device, AttentionVariant variant, const AttentionProblem& problem,
                        DType dtype);
// The quickest variant of the device for the problem.
AttentionVariant attention_choose(Device device, const AttentionProblem& problem, DType dtype);
// Scratch, in the memory of the variant's device.
size_t attention_workspace_bytes(AttentionVariant variant, AttentionPass pass,
                                 const AttentionProblem& problem, DType dtype);

// out may not overlap qkv. lse may be null: then it is not written (inference).
template <class T>
struct AttentionForward {
  const T* qkv = nullptr;
  T* out = nullptr;
  Master<T>* lse = nullptr;
};
// qkv, out and lse as forward had and left them, with any variant. dout has the layout of out, dqkv
// that of qkv; dqkv may overlap none of the others.
template <class T>
struct AttentionBackward {
  const T* qkv = nullptr;
  const T* out = nullptr;
  const T* dout = nullptr;
  const Master<T>* lse = nullptr;
  T* dqkv = nullptr;
  GradMode mode = GradMode::overwrite;
};
template <class T>
void attention_forward(AttentionVariant variant, const AttentionProblem& problem,
                       const AttentionForward<T>& args, std::span<std::byte> workspace);
template <class T>
void attention_backward(AttentionVariant variant, const AttentionProblem& problem,
                        const AttentionBackward<T>& args, std::span<std::byte> workspace);

// The same on the stream's device, with a variant of that device and its pointers. (A CPU stream:
// the functions above.)
template <class T>
void attention_forward(Stream stream, AttentionVariant variant, const AttentionProblem& problem,
                       const AttentionForward<T>& args, std::span<std::byte> workspace);
template <class T>
void attention_backward(Stream stream, AttentionVariant variant, const AttentionProblem& problem,
                        const AttentionBackward<T>& args, std::span<std::byte> workspace);

}  // namespace mono
