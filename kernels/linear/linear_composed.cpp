// Linear layer as passes: the prologue's result and, in backward, dz lie in the workspace; the
// epilogue is the matrix product's. The same sequence on the CPU and on a GPU.
#include <algorithm>

#include "kernels/gelu/gelu.h"
#include "kernels/linear/linear_variants.h"
#include "kernels/reduce/reduce.h"

namespace mono {
namespace {

struct Products {
  MatmulProblem forward, dgrad, wgrad;

  explicit Products(const LinearProblem& p)
      : forward{p.rows, p.out, p.in, false, true},
        dgrad{p.rows, p.in, p.out},
        wgrad{p.out, p.in, p.rows, true, false} {}
};

template <class T>
struct Scratch {
  T *z = nullptr, *g = nullptr;        // dz lies where z was
  std::span<std::byte> product, sums;  // shared by all products; column sums, LayerNorm's units

  Scratch(Device device, ChooseMatmul matmul, LinearPass pass, const LinearProblem& p,
          WorkspaceLayout& work) {
    const bool backward = pass == LinearPass::backward;
    if (p.prologue != LinearPrologue::none) z = work.take<T>(int64_t{p.rows} * p.in);
    if (backward) g = work.take<T>(int64_t{p.rows} * p.out);
    const Products products(p);
    const auto bytes = [&](const MatmulProblem& problem) {
      return matmul_workspace_bytes(matmul(device, problem, kDTypeOf<T>), problem, kDTypeOf<T>);
    };
    const size_t product_bytes =
        backward ? std::max(bytes(products.dgrad), bytes(products.wgrad)) : bytes(products.forward);
    product = {work.take<std::byte>(static_cast<int64_t>(product_bytes)), product_bytes};
    if (!backward) return;
    size_t sum_bytes = column_sums_workspace_bytes(p.rows, p.out);
    if (p.prologue == LinearPrologue::layer_norm)
      sum_bytes = std::max(sum_bytes, layer_norm_workspace_bytes(device, p.norm(), kDTypeOf<T>));
    sums = {work.take<std::byte>(static_cast<int64_t>(sum_bytes)), sum_bytes};
  }
};

template <class T, class A, class B, class Out>
void multiply(Stream stream, ChooseMatmul choose, const MatmulProblem& problem,
              const Matmul<A, B, Out>& args, std::span<std::byte> workspace) {
  matmul<A, B, Out>(stream, choose(stream.device, problem, kDTypeOf<T>), problem, kDTypeOf<T>, args,
                    workspace);
}

}  // namespace

size_t linear_composed_workspace(Device device, ChooseMatmul matmul, LinearPass pass,
                                 const LinearProblem& problem, DType dtype) {
  return dispatch_activation(dtype, [&]<class T>() {
    WorkspaceLayout work;
    Scratch<T>(device, matmul, pass, problem, work);
    return work.used();
  });
}

template <class T>
void linear_composed_forward(Stream stream, ChooseMatmul matmul, const LinearProblem& p,
                             const LinearForward<T>& args, std::span<std::byte> workspace) {
  using M = Master<T>;
  WorkspaceLayout work("linear", workspace);
  const Scratch<T> scratch(stream.device, matmul, LinearPass::forward, p, work);
  const T* z = args.x;
  if (p.prologue == LinearPrologue::layer_norm)
    layer_norm_forward<T>(stream, layer_norm_choose(p.norm(), kDTypeOf<T>), p.norm(),
                          {args.x, args.gamma, args.beta, args.mean, args.inv_std, scratch.z});
  if (p.prologue == LinearPrologue::gelu)
    gelu_forward<T>(stream, int64_t{p.rows} * p.in, args.x, scratch.z);
  if (p.prologue != LinearPrologue::none) z = scratch.z;
  multiply<T>(stream, matmul, Products(p).forward,
              Matmul<T, M, T>{.a = z,
                              .b = args.w,
                              .bias = args.bias,
                              .c = args.y,
                              .residual = args.residual,
                              .keep = args.keep,
                              .rows_per_keep = p.rows_per_keep},
              scratch.product);
}

template <class T>
void linear_composed_backward(Stream stream, ChooseMatmul matmul, const LinearProblem& p,
                              const LinearBackward<T>& args, std::span<std::byte> workspace) {
  using M = Master<T>;
  WorkspaceLayout work("linear", workspace);
  const Scratch<T> scratch(stream.device, matmul, LinearPass::backward, p, work);
  const Products products(p);
  const LayerNormVariant norm = layer_norm_choose(p.norm(), kDTypeOf<T>);
  const int64_t x_size = int64_t{p.rows} * p.in;

  const T* g = args.dy;
  if (args.keep) {
    scale_rows<T>(stream, p.rows, p.out, p.rows_per_keep, args.keep, args.dy, scratch.g);
    g = scratch.g;
  }
  if (args.dbias.data)
    column_sums<T>(stream, p.rows, p.out, g, args.dbias.data, args.dbias.mode, scratch.sums);
  if (args.dw.data) {
    const T* z = args.x;
    if (p.prologue == LinearPrologue::layer_norm)
      layer_norm_apply<T>(stream, norm, p.norm(),
                          {args.x, args.gamma, args.beta, args.mean, args.inv_std, scratch.z});
    if (p.prologue == LinearPrologue::gelu) gelu_forward<T>(stream, x_size, args.x, scratch.z);
    if (p.prologue != LinearPrologue::none) z = scratch.z;
    multiply<T>(stream, matmul, products.wgrad,
                Matmul<T, T, M>{.a = g, .b = z, .c = args.dw.data, .mode = args.dw.mode},
                scratch.product);
  }
  T* const dx = args.dx_mode == GradMode::ignore ? nullptr : args.dx;
  if (p.prologue == LinearPrologue::none) {
    if (dx)
      multiply<T>(stream, matmul, products.dgrad,
                  Matmul<T, M, T>{.a = g, .b = args.w, .c = dx, .mode = args.dx_mode},
                  scratch.product);
    return;
  }
  if (!dx && p.prologue == LinearPrologue::gelu) return;
  multiply<T>(stream, matmul, products.dgrad, Matmul<T, M, T>{.a = g, .b = args.w, .c = scratch.z},
              scratch.product);
  if (p.prologue == LinearPrologue::gelu)
    gelu_backward<T>(stream, x_size, scratch.z, args.x, dx, args.dx_mode);
  else
    layer_norm_backward<T>(stream, norm, p.norm(),
                           {.dy = scratch.z,
                            .x = args.x,
                            .gamma = args.gamma,
                            .mean = args.mean,
                            .inv_std = args.inv_std,
                            .dx = dx,
                            .dx_mode = args.dx_mode,
                            .dgamma = args.dgamma.data,
                            .dbeta = args.dbeta.data,
                            .dgamma_mode = args.dgamma.mode,
                            .dbeta_mode = args.dbeta.mode},
                           scratch.sums);
}

#define MONO_INSTANTIATE(T)                                                             \
  template void linear_composed_forward(Stream, ChooseMatmul, const LinearProblem&,     \
                                        const LinearForward<T>&, std::span<std::byte>); \
  template void linear_composed_backward(Stream, ChooseMatmul, const LinearProblem&,    \
                                         const LinearBackward<T>&, std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
