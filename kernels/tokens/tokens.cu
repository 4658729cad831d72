#include "kernels/tokens/tokens.cuh"

#include "kernels/tokens/tokens_cpu.h"

namespace mono {

void position_weights(Stream stream, const PositionAxis& axis, double* weights) {
  if (!stream.on_gpu()) return cpu::position_weights(axis, weights);
  launch<position_weights_kernel>(
      stream, {blocks_for(int64_t{axis.size} * axis.grid, kTokensThreads), kTokensThreads}, axis,
      weights);
}

template <class M>
void weighted_rows(Stream stream, const WeightedRows& p, const M* in, M* out, GradMode mode) {
  if (!stream.on_gpu()) return cpu::weighted_rows<M>(p, in, out, mode);
  if (mode == GradMode::ignore) return;
  const dim3 grid(blocks_for(p.columns, kTokensThreads), static_cast<unsigned>(p.batch * p.rows));
  launch<weighted_rows_kernel<M>>(stream, {grid, kTokensThreads}, p, in, out,
                                  mode == GradMode::accumulate);
}

template <class T>
void add_positions(Stream stream, const TokensProblem& p, const TokensForward<T>& args,
                   const Master<T>* positions) {
  if (!stream.on_gpu()) return cpu::add_positions<T>(p, args, positions);
  const auto run = [&]<int V>() {
    const int packs = p.D / V, threads = std::min(kTokensThreads, (packs + 31) / 32 * 32);
    const dim3 grid(blocks_for(packs, threads), static_cast<unsigned>(p.tokens()),
                    static_cast<unsigned>(p.N));
    launch<add_positions_kernel<T, V>>(stream, {grid, static_cast<unsigned>(threads)}, p.patches(),
                                       p.D, args, positions);
  };
  if (packs_fit(args.patches, p.D, p.D) && packs_fit(args.y, p.D, p.D))
    run.template operator()<kPackWidth<T>>();
  else
    run.template operator()<1>();
}

template <class T>
void token_sums(Stream stream, const TokensProblem& p, const T* dy, Master<T>* sums) {
  if (!stream.on_gpu()) return cpu::token_sums<T>(p, dy, sums);
  const int64_t image = int64_t{p.tokens()} * p.D;
  launch<token_sums_kernel<T>>(stream, {blocks_for(image, kTokensThreads), kTokensThreads}, p.N,
                               image, dy, sums);
}

#define MONO_INSTANTIATE(T)                                                          \
  template void add_positions(Stream, const TokensProblem&, const TokensForward<T>&, \
                              const Master<T>*);                                     \
  template void token_sums(Stream, const TokensProblem&, const T*, Master<T>*);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
template void weighted_rows(Stream, const WeightedRows&, const float*, float*, GradMode);
template void weighted_rows(Stream, const WeightedRows&, const double*, double*, GradMode);

}  // namespace mono
