// The Barlow loss: its steps in order, the same for both devices.
#include "kernels/barlow/barlow.h"

#include <algorithm>

#include "kernels/barlow/barlow_steps.h"
#include "kernels/base/workspace.h"
#include "kernels/matmul/matmul.h"

namespace mono {
namespace {

void check(const BarlowProblem& p) {
  p.pairs.check("barlow");
  MONO_CHECK(p.B >= 2 && p.K >= 2 && p.groups >= 1,
             "barlow: {} rows a view, {} features, {} groups; a correlation needs two of each", p.B,
             p.K, p.groups);
}

MatmulProblem gram_product(const BarlowProblem& p) {
  return {.M = p.N(), .N = p.N(), .K = p.K, .transpose_b = true};
}
MatmulProblem columns_product(const BarlowProblem& p) {
  return {.M = p.N(), .N = p.K, .K = p.N()};
}
MatmulProblem correlation_product(const BarlowProblem& p) {
  return {.M = p.K, .N = p.K, .K = p.N(), .transpose_a = true};
}
MatmulProblem gradient_product(const BarlowProblem& p) {
  return {.M = p.N(), .N = p.K, .K = p.K};
}

size_t product_bytes(Device device, const MatmulProblem& problem, DType dtype) {
  return matmul_workspace_bytes(matmul_choose(device, problem, dtype), problem, dtype);
}

template <class M>
void multiply(Stream stream, const MatmulProblem& problem, const M* a, const M* b, M* c,
              GradMode mode, std::span<std::byte> workspace) {
  matmul<M, M, M>(stream, matmul_choose(stream.device, problem, kDTypeOf<M>), problem, kDTypeOf<M>,
                  {a, b, nullptr, c, mode}, workspace);
}

template <class M>
struct Scratch {
  M *teacher, *student;  // Z
  M *grams = nullptr, *sums = nullptr, *correlation = nullptr;
  double* parts;

  Scratch(WorkspaceLayout& layout, BarlowVariant variant, const BarlowProblem& p) {
    const int64_t matrix = int64_t{p.N()} * p.K, square = int64_t{p.N()} * p.N();
    teacher = layout.take<M>(p.pairs.teachers * matrix);
    student = layout.take<M>(p.pairs.views * matrix);
    if (variant == BarlowVariant::gram) {
      grams = layout.take<M>(p.pairs.teachers * square);
      sums = layout.take<M>(p.pairs.views * square);
      parts = layout.take<double>(int64_t{p.pairs.views} * p.K);
    } else {
      correlation = layout.take<M>(int64_t{p.K} * p.K);
      parts = layout.take<double>(int64_t{p.pairs.views} * p.pairs.teachers * p.K);
    }
  }
};

template <class M>
void run_gram(Stream stream, const BarlowProblem& p, const Scratch<M>& scratch, M* gradient,
              M* losses, std::span<std::byte> rest) {
  const int64_t matrix = int64_t{p.N()} * p.K, square = int64_t{p.N()} * p.N();
  for (int i = 0; i < p.pairs.teachers; ++i) {
    const M* z = scratch.teacher + i * matrix;
    multiply<M>(stream, gram_product(p), z, z, scratch.grams + i * square, GradMode::overwrite,
                rest);
  }
  barlow_add_grams<M>(stream, p.N(), p.pairs, scratch.grams, scratch.sums);
  for (int v = 0; v < p.pairs.views; ++v)
    multiply<M>(stream, columns_product(p), scratch.sums + v * square, scratch.student + v * matrix,
                gradient + v * matrix, GradMode::overwrite, rest);
  barlow_gram_columns<M>(stream, p, scratch.teacher, scratch.student, gradient, scratch.parts);
  barlow_add_parts<M>(stream, p.pairs.views, p.K, scratch.parts, p.pairs.views, losses);
}

template <class M>
void run_direct(Stream stream, const BarlowProblem& p, const Scratch<M>& scratch, M* gradient,
                M* losses, std::span<std::byte> rest) {
  const int64_t matrix = int64_t{p.N()} * p.K;
  const int per_view = p.pairs.teachers * p.K;
  for (int v = 0; v < p.pairs.views; ++v) {
    GradMode mode = GradMode::overwrite;
    for (int i = 0; i < p.pairs.teachers; ++i) {
      const M* teacher = scratch.teacher + i * matrix;
      multiply<M>(stream, correlation_product(p), teacher, scratch.student + v * matrix,
                  scratch.correlation, GradMode::overwrite, rest);
      BarlowProblem term = p;  // without this term its weights are 0
      if (!p.pairs.has(i, v)) term.diagonal = term.off_diagonal = 0;
      barlow_direct_rows<M>(stream, term, scratch.correlation,
                            scratch.parts + int64_t{v} * per_view + int64_t{i} * p.K);
      multiply<M>(stream, gradient_product(p), teacher, scratch.correlation, gradient + v * matrix,
                  mode, rest);
      mode = GradMode::accumulate;
    }
  }
  barlow_add_parts<M>(stream, p.pairs.views, per_view, scratch.parts, p.pairs.views, losses);
}

}  // namespace

size_t barlow_workspace_bytes(Device device, BarlowVariant variant, const BarlowProblem& p,
                              DType dtype) {
  const DType master = master_of(dtype);
  return dispatch_master(master, [&]<class M>() {
    WorkspaceLayout layout;
    Scratch<M>(layout, variant, p);
    const bool gram = variant == BarlowVariant::gram;
    return layout.used() +
           std::max(product_bytes(device, gram ? gram_product(p) : correlation_product(p), master),
                    product_bytes(device, gram ? columns_product(p) : gradient_product(p), master));
  });
}

template <class T>
void barlow_forward(Stream stream, BarlowVariant variant, const BarlowProblem& p,
                    const BarlowForward<T>& args, std::span<std::byte> workspace) {
  using M = Master<T>;
  check(p);
  WorkspaceLayout layout("barlow_forward", workspace);
  const Scratch<M> scratch(layout, variant, p);
  barlow_standardise<M>(stream, p.pairs.teachers * p.groups, p.B, p.K, p.eps, args.teacher, nullptr,
                        scratch.teacher, nullptr, nullptr);
  barlow_standardise<T>(stream, p.pairs.views * p.groups, p.B, p.K, p.eps, args.student,
                        args.temperature, scratch.student, args.mean, args.inverse_deviation);
  const auto run = variant == BarlowVariant::gram ? run_gram<M> : run_direct<M>;
  run(stream, p, scratch, args.gradient, args.losses, layout.rest());
}

template void barlow_forward(Stream, BarlowVariant, const BarlowProblem&,
                             const BarlowForward<float>&, std::span<std::byte>);
template void barlow_forward(Stream, BarlowVariant, const BarlowProblem&,
                             const BarlowForward<bf16>&, std::span<std::byte>);
template void barlow_forward(Stream, BarlowVariant, const BarlowProblem&,
                             const BarlowForward<double>&, std::span<std::byte>);

}  // namespace mono
