#include "nn/functional/attention.h"

#include "kernels/attention/attention.h"
#include "nn/functional/kernel_choice.h"

namespace mono {
namespace {

AttentionProblem problem_of(const Tensor& qkv, int heads) {
  const Shape& s = qkv.shape();
  if (s.rank() != 3 || !qkv.packed() || heads < 1 || s[2] % (3 * heads) != 0)
    fail(ErrorKind::usage,
         "attention: the input must be packed (N, T, 3 x {} heads x head_dim), not {}; check the "
         "number of heads",
         heads, qkv.to_string());
  const int head_dim = s[2] / 3 / heads;
  if (head_dim % 8 != 0 || head_dim > 128)
    fail(ErrorKind::usage,
         "attention: {} heads of {} elements from the input {}; a head must have a multiple of 8, "
         "128 at most",
         heads, head_dim, qkv.to_string());
  return {s[0], s[1], heads, head_dim};
}

template <class T>
void forward(const AttentionProblem& problem, const Tensor& qkv, const Tensor& out,
             const Tensor& lse) {
  const Device device = qkv.device();
  const AttentionVariant variant = choose_attention(device, problem, kDTypeOf<T>);
  const Workspace workspace(
      attention_workspace_bytes(variant, AttentionPass::forward, problem, kDTypeOf<T>), device);
  attention_forward<T>(
      qkv.stream(), variant, problem,
      {qkv.data<T>(), out.data<T>(), lse.defined() ? lse.data<Master<T>>() : nullptr}, workspace);
}

template <class T>
void backward(const AttentionProblem& problem, Backward& b) {
  const auto dqkv = b.target(0);
  if (!dqkv.tensor.defined()) return;
  const Tensor &qkv = b.saved(0), &out = b.saved(1), &lse = b.saved(2);
  const Device device = qkv.device();
  const AttentionVariant variant = choose_attention(device, problem, kDTypeOf<T>);
  const Workspace workspace(
      attention_workspace_bytes(variant, AttentionPass::backward, problem, kDTypeOf<T>), device);
  attention_backward<T>(qkv.stream(), variant, problem,
                        {qkv.data<T>(), out.data<T>(), b.grad().data<T>(), lse.data<Master<T>>(),
                         dqkv.tensor.data<T>(), dqkv.mode},
                        workspace);
}

}  // namespace

Variable attention(const Variable& qkv, int heads, const ForwardContext& context) {
  const AttentionProblem problem = problem_of(qkv.value(), heads);
  const DType dtype = qkv.dtype();
  const Device device = qkv.value().device();
  const Variable out(Tensor::empty({problem.N, problem.T, problem.width()}, dtype, device),
                     context.tape != nullptr);
  const Tensor lse =
      context.tape ? Tensor::empty({problem.N, problem.heads, problem.T}, master_of(dtype), device)
                   : Tensor();
  dispatch_activation(dtype,
                      [&]<class T>() { forward<T>(problem, qkv.value(), out.value(), lse); });
  if (context.tape)
    context.tape->record(
        "attention", {qkv}, {out}, {qkv.value(), out.value(), lse}, [problem](Backward& b) {
          dispatch_activation(b.saved(0).dtype(), [&]<class T>() { backward<T>(problem, b); });
        });
  return out;
}

}  // namespace mono
