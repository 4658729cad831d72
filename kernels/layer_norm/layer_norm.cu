#include "kernels/layer_norm/layer_norm.cuh"

#include "kernels/base/workspace.h"

namespace mono {
namespace {

constexpr int kThreads = kLayerNormThreads;

constexpr int kScalarPacks = 16;  // of a row that is not aligned: more do not fit into registers

// Whether rows fit into a warp's registers; `packs`: they are aligned for 16 bytes.
bool fits_a_warp(LayerNormVariant variant, int D, bool packs) {
  return variant == LayerNormVariant::warp_per_row && (packs || D <= 32 * kScalarPacks);
}

// Calls f.operator()<V, kPacks>() with a row of D elements in a warp's packs.
template <class T, class F>
void dispatch_row(int D, bool packs, F&& f) {
  constexpr int V = kPackWidth<T>;
  if (!packs)
    f.template operator()<1, kScalarPacks>();
  else if (D <= 32 * V)
    f.template operator()<V, 1>();
  else if (D <= 64 * V)
    f.template operator()<V, 2>();
  else if (D <= 128 * V)
    f.template operator()<V, 4>();
  else
    f.template operator()<V, kLayerNormMostD / (32 * V)>();
}

void check(const char* operation, LayerNormVariant variant, const LayerNormProblem& p,
           DType dtype) {
  check_layer_norm(operation, p);
  if (variant == LayerNormVariant::warp_per_row)
    MONO_CHECK(p.D <= kLayerNormMostD && dtype != DType::f64,
               "{}: warp_per_row holds rows of up to {} f32 or bf16, not {} {}; ask "
               "layer_norm_choose",
               operation, kLayerNormMostD, p.D, name_of(dtype));
}

// mean and inv_std are read where `known`, else written.
template <class T>
void forward(Stream stream, LayerNormVariant variant, const LayerNormProblem& p, const T* x,
             const Master<T>* gamma, const Master<T>* beta, Master<T>* mean, Master<T>* inv_std,
             bool known, T* y) {
  using M = Master<T>;
  const M eps = static_cast<M>(p.eps);
  const bool packs = packs_fit(x, p.D, p.D) && packs_fit(y, p.D, p.D) && packs_fit(gamma, 0, 0) &&
                     packs_fit(beta, 0, 0);
  if (!fits_a_warp(variant, p.D, packs))
    return launch<layer_norm_forward_naive_kernel<T>>(
        stream, {blocks_for(p.rows, kThreads), kThreads}, p.rows, p.D, eps, x, gamma, beta, mean,
        inv_std, known, y);
  if constexpr (!std::is_same_v<T, double>) {
    dispatch_row<T>(p.D, packs, [&]<int V, int kPacks>() {
      launch<layer_norm_forward_warp_kernel<T, V, kPacks>>(
          stream, {blocks_for(p.rows, kLayerNormWarps), kThreads}, p.rows, p.D, eps, x, gamma, beta,
          mean, inv_std, known, y);
    });
  }
}

}  // namespace

template <class T>
void layer_norm_forward(Stream stream, LayerNormVariant variant, const LayerNormProblem& p,
                        const LayerNormForward<T>& args) {
  if (!stream.on_gpu()) return layer_norm_forward<T>(p, args);
  check("layer_norm_forward", variant, p, kDTypeOf<T>);
  forward<T>(stream, variant, p, args.x, args.gamma, args.beta, args.mean, args.inv_std, false,
             args.y);
}

template <class T>
void layer_norm_apply(Stream stream, LayerNormVariant variant, const LayerNormProblem& p,
                      const LayerNormApply<T>& args) {
  if (!stream.on_gpu()) return layer_norm_apply<T>(p, args);
  check("layer_norm_apply", variant, p, kDTypeOf<T>);
  using M = Master<T>;  // the kernel does not write what is known
  forward<T>(stream, variant, p, args.x, args.gamma, args.beta, const_cast<M*>(args.mean),
             const_cast<M*>(args.inv_std), true, args.y);
}

template <class T>
void layer_norm_backward(Stream stream, LayerNormVariant variant, const LayerNormProblem& p,
                         const LayerNormBackward<T>& args, std::span<std::byte> workspace) {
  if (!stream.on_gpu()) return layer_norm_backward<T>(p, args, workspace);
  check("layer_norm_backward", variant, p, kDTypeOf<T>);
  using M = Master<T>;
  const int units = (p.rows + kLayerNormRows - 1) / kLayerNormRows;
  M* const partial =
      WorkspaceLayout("layer_norm_backward", workspace).take<M>(int64_t{units} * 2 * p.D);
  T* const dx = args.dx_mode == GradMode::ignore ? nullptr : args.dx;
  const bool accumulate = args.dx_mode == GradMode::accumulate;
  const dim3 columns(blocks_for(p.D, kThreads), static_cast<unsigned>(units));
  const bool packs = packs_fit(args.dy, p.D, p.D) && packs_fit(args.x, p.D, p.D) &&
                     packs_fit(dx, p.D, p.D) && packs_fit(args.gamma, 0, 0);
  if (!fits_a_warp(variant, p.D, packs)) {
    launch<layer_norm_sums_naive_kernel<T>>(stream, {columns, kThreads}, p.rows, p.D, args.dy,
                                            args.x, args.mean, args.inv_std, partial);
    if (dx)
      launch<layer_norm_backward_naive_kernel<T>>(stream, {blocks_for(p.rows, kThreads), kThreads},
                                                  p.rows, p.D, args.dy, args.x, args.gamma,
                                                  args.mean, args.inv_std, dx, accumulate);
  } else if constexpr (!std::is_same_v<T, double>) {
    dispatch_row<T>(p.D, packs, [&]<int V, int kPacks>() {
      launch<layer_norm_backward_warp_kernel<T, V, kPacks>>(
          stream, {static_cast<unsigned>(units), kThreads}, p.rows, p.D, args.dy, args.x,
          args.gamma, args.mean, args.inv_std, dx, accumulate, partial);
    });
  }
  launch<layer_norm_merge_kernel<M>>(stream, {dim3(columns.x, 2), kThreads}, p.D, units, partial,
                                     args.dgamma, args.dbeta,
                                     LayerNormModes{args.dgamma_mode, args.dbeta_mode});
}

#define MONO_INSTANTIATE(T)                                                            \
  template void layer_norm_forward(Stream, LayerNormVariant, const LayerNormProblem&,  \
                                   const LayerNormForward<T>&);                        \
  template void layer_norm_apply(Stream, LayerNormVariant, const LayerNormProblem&,    \
                                 const LayerNormApply<T>&);                            \
  template void layer_norm_backward(Stream, LayerNormVariant, const LayerNormProblem&, \
                                    const LayerNormBackward<T>&, std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
