#include "kernels/sgd/sgd.cuh"

#include "kernels/base/error.h"

namespace mono {
namespace {

void check_runs(const SgdProblem& problem, SgdRuns runs) {
  int64_t end = 0;
  for (int r = 0; r < runs.count; ++r) {
    MONO_CHECK(runs.runs[r].begin == end && runs.runs[r].end > end,
               "sgd_step: run {} of weight decay is {}..{}, the one before ends at {}", r,
               runs.runs[r].begin, runs.runs[r].end, end);
    end = runs.runs[r].end;
  }
  MONO_CHECK(end == problem.n, "sgd_step: runs of weight decay end at {} of {} parameters", end,
             problem.n);
}

}  // namespace

template <class M>
void sgd_step(Stream stream, const SgdProblem& problem, SgdRuns runs, const SgdRates* rates, M* w,
              M* m, const M* g) {
  check_runs(problem, runs);
  if (!stream.on_gpu()) {
    for (int r = 0; r < runs.count; ++r) {
      const SgdRun& run = runs.runs[r];
      SgdProblem part = problem;
      part.n = run.end - run.begin;
      part.lr = rates->lr;
      part.grad_scale = rates->grad_scale;
      part.weight_decay = run.weight_decay;
      sgd_step<M>(part, w + run.begin, m + run.begin, g + run.begin);
    }
    return;
  }
  MONO_CHECK(runs.count == 0 || runs.gpu_runs,
             "sgd_step: runs without gpu_runs on a stream of the GPU");
  const auto run = [&]<int V>() {
    launch<sgd_kernel<M, V>>(stream,
                             {blocks_for((problem.n + V - 1) / V, kSgdThreads), kSgdThreads, 0},
                             problem, runs.count, runs.gpu_runs, rates, w, m, g);
  };
  const bool packs = problem.n % kPackWidth<M> == 0 && packs_fit(w, 0, 0) && packs_fit(m, 0, 0) &&
                     packs_fit(g, 0, 0);
  if (packs)
    run.template operator()<kPackWidth<M>>();
  else
    run.template operator()<1>();
}

template void sgd_step(Stream, const SgdProblem&, SgdRuns, const SgdRates*, float*, float*,
                       const float*);
template void sgd_step(Stream, const SgdProblem&, SgdRuns, const SgdRates*, double*, double*,
                       const double*);

}  // namespace mono
