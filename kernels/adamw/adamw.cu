#include "kernels/adamw/adamw.cuh"

#include "kernels/adamw/adamw_cpu.h"
#include "kernels/base/error.h"

namespace mono {
namespace {

void check_runs(const AdamWProblem& problem, AdamWRuns runs) {
  int64_t end = 0;
  for (int r = 0; r < runs.count; ++r) {
    MONO_CHECK(runs.runs[r].begin == end && runs.runs[r].end > end,
               "adamw_step: run {} is {}..{}, the one before ends at {}", r, runs.runs[r].begin,
               runs.runs[r].end, end);
    end = runs.runs[r].end;
  }
  MONO_CHECK(end == problem.n, "adamw_step: runs end at {} of {} parameters", end, problem.n);
}

}  // namespace

template <class M>
void adamw_step(Stream stream, const AdamWProblem& problem, AdamWRuns runs, const AdamWRates* rates,
                const double* factor, M* w, M* m, M* v, const M* g) {
  check_runs(problem, runs);
  if (!stream.on_gpu()) return adamw_step_cpu<M>(problem, runs, rates, *factor, w, m, v, g);
  MONO_CHECK(runs.count == 0 || runs.gpu_runs,
             "adamw_step: runs without gpu_runs on a stream of the GPU");
  const auto run = [&]<int V>() {
    launch<adamw_kernel<M, V>>(
        stream, {blocks_for((problem.n + V - 1) / V, kAdamWThreads), kAdamWThreads, 0}, problem,
        runs.count, runs.gpu_runs, rates, factor, w, m, v, g);
  };
  const bool packs = problem.n % kPackWidth<M> == 0 && packs_fit(w, 0, 0) && packs_fit(m, 0, 0) &&
                     packs_fit(v, 0, 0) && packs_fit(g, 0, 0);
  if (packs)
    run.template operator()<kPackWidth<M>>();
  else
    run.template operator()<1>();
}

template void adamw_step(Stream, const AdamWProblem&, AdamWRuns, const AdamWRates*, const double*,
                         float*, float*, float*, const float*);
template void adamw_step(Stream, const AdamWProblem&, AdamWRuns, const AdamWRates*, const double*,
                         double*, double*, double*, const double*);

void clip_factor(Stream stream, double max_norm, const double* scale, const double* squares,
                 ClippedNorm* result) {
  if (!stream.on_gpu()) {
    *result = clipped_norm(max_norm, *scale, *squares);
    return;
  }
  launch<clip_factor_kernel>(stream, {1, 32, 0}, max_norm, scale, squares, result);
}

}  // namespace mono
