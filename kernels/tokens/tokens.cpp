// Tokens as a sequence of steps, the same on every device.
#include "kernels/tokens/tokens.h"

#include "kernels/base/workspace.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/tokens/tokens_steps.h"

namespace mono {

std::string TokensProblem::to_string() const {
  return fmt::format("n{} {}x{} patches of {}, learnt on {}x{}", N, H, W, D, grid, grid);
}

namespace {

void check(const char* operation, const TokensProblem& p, bool operands) {
  MONO_CHECK(operands && p.N >= 1 && p.H >= 1 && p.W >= 1 && p.D >= 1 && p.grid >= 1,
             "{}: {}: a null operand, or an extent that is not positive", operation, p.to_string());
}

template <class M>
struct Scratch {
  double *along_y, *along_x;  // (H, grid), (W, grid)
  M *rows, *positions;        // (H, grid, D): resampled along y; (HW, D)
  M* sums;                    // (1 + HW, D)
  std::span<std::byte> column_sums;

  Scratch(const TokensProblem& p, WorkspaceLayout& work) {
    along_y = work.take<double>(int64_t{p.H} * p.grid);
    along_x = work.take<double>(int64_t{p.W} * p.grid);
    rows = work.take<M>(int64_t{p.H} * p.grid * p.D);
    positions = sums = work.take<M>(int64_t{p.tokens()} * p.D);
    const size_t bytes = column_sums_workspace_bytes(p.patches(), p.D);
    column_sums = {work.take<std::byte>(static_cast<int64_t>(bytes)), bytes};
  }
  void make_weights(Stream stream, const TokensProblem& p) const {
    position_weights(stream, position_axis(p.rule, p.grid, p.H, p.patches()), along_y);
    position_weights(stream, position_axis(p.rule, p.grid, p.W, p.patches()), along_x);
  }
};

}  // namespace

size_t tokens_workspace_bytes(const TokensProblem& problem, DType dtype) {
  return dispatch_activation(dtype, [&]<class T>() {
    WorkspaceLayout work;
    Scratch<Master<T>>(problem, work);
    return work.used();
  });
}

template <class T>
void tokens_forward(Stream stream, const TokensProblem& p, const TokensForward<T>& args,
                    std::span<std::byte> workspace) {
  using M = Master<T>;
  check("tokens_forward", p, args.patches && args.cls && args.pos && args.y);
  WorkspaceLayout work("tokens_forward", workspace);
  const Scratch<M> scratch(p, work);
  const M* positions = args.pos + p.D;
  if (p.resampled()) {
    scratch.make_weights(stream, p);
    weighted_rows<M>(stream, {1, p.H, p.grid, p.grid * p.D, scratch.along_y, p.grid, 1}, positions,
                     scratch.rows, GradMode::overwrite);
    weighted_rows<M>(stream, {p.H, p.W, p.grid, p.D, scratch.along_x, p.grid, 1}, scratch.rows,
                     scratch.positions, GradMode::overwrite);
    positions = scratch.positions;
  }
  add_positions<T>(stream, p, args, positions);
}

template <class T>
void tokens_backward(Stream stream, const TokensProblem& p, const TokensBackward<T>& args,
                     std::span<std::byte> workspace) {
  using M = Master<T>;
  check("tokens_backward", p, args.dy && args.dcls && args.dpos);
  WorkspaceLayout work("tokens_backward", workspace);
  const Scratch<M> scratch(p, work);
  const int64_t image = int64_t{p.patches()} * p.D;
  if (args.dpatches)
    copy_channels<T, T>(stream, p.N, static_cast<int>(image), args.dy + p.D,
                        static_cast<int>(image) + p.D, args.dpatches, static_cast<int>(image),
                        args.dpatches_mode);
  token_sums<T>(stream, p, args.dy, scratch.sums);
  const M* const of_patches = scratch.sums + p.D;
  scale_into<M>(stream, p.D, M(1), scratch.sums, args.dcls, args.dcls_mode);
  scale_into<M>(stream, p.D, M(1), scratch.sums, args.dpos, args.dpos_mode);
  if (args.dbias)
    column_sums<M>(stream, p.patches(), p.D, of_patches, args.dbias, args.dbias_mode,
                   scratch.column_sums);
  if (!p.resampled())
    return scale_into<M>(stream, image, M(1), of_patches, args.dpos + p.D, args.dpos_mode);
  scratch.make_weights(stream, p);
  weighted_rows<M>(stream, {p.H, p.grid, p.W, p.D, scratch.along_x, 1, p.grid}, of_patches,
                   scratch.rows, GradMode::overwrite);
  weighted_rows<M>(stream, {1, p.grid, p.H, p.grid * p.D, scratch.along_y, 1, p.grid}, scratch.rows,
                   args.dpos + p.D, args.dpos_mode);
}

#define MONO_INSTANTIATE(T)                                                             \
  template void tokens_forward(Stream, const TokensProblem&, const TokensForward<T>&,   \
                               std::span<std::byte>);                                   \
  template void tokens_backward(Stream, const TokensProblem&, const TokensBackward<T>&, \
                                std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
