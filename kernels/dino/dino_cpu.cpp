// DINO's cross-entropy on the CPU: a row per unit, sums in double and in order.
#include <cmath>

#include "kernels/base/thread_pool.h"
#include "kernels/dino/dino.h"

namespace mono {
namespace {

// The rows of P that a student row learns from; null: none.
template <class T>
struct Teachers {
  const Master<T>* row[ViewPairs::kMostTeachers] = {};
  int count = 0;

  Teachers(const DinoLoss<T>& args, int64_t student_row) {
    const int64_t view = student_row / args.B, b = student_row % args.B;
    for (int i = 0; i < args.pairs.teachers; ++i)
      if (args.pairs.has(i, static_cast<int>(view)))
        row[count++] = args.teacher + (int64_t{i} * args.B + b) * args.K;
  }
  Master<T> at(int k) const {
    return (row[0] ? row[0][k] : Master<T>(0)) + (row[1] ? row[1][k] : Master<T>(0));
  }
};

}  // namespace

template <class M>
void softmax_rows(int rows, int K, const M* x, M* y) {
  parallel_for(rows, [&](int64_t r, int) {
    const M* from = x + r * K;
    M* to = y + r * K;
    M highest = from[0];
    for (int k = 1; k < K; ++k)
      if (from[k] > highest) highest = from[k];
    double sum = 0;
    for (int k = 0; k < K; ++k) sum += double{to[k] = std::exp(from[k] - highest)};
    const M inverse = static_cast<M>(1 / sum);
    for (int k = 0; k < K; ++k) to[k] *= inverse;
  });
}

template <class T>
void dino_forward(const DinoLoss<T>& args, Master<T>* losses, Master<T>* rows) {
  using M = Master<T>;
  args.pairs.check("dino_forward");
  parallel_for(int64_t{args.pairs.views} * args.B, [&](int64_t r, int) {
    const M inverse = static_cast<M>(1 / *args.temperature);
    const auto logit = [&](int k) { return static_cast<M>(args.student[r * args.K + k]); };
    M highest = logit(0);
    for (int k = 1; k < args.K; ++k)
      if (logit(k) > highest) highest = logit(k);
    double sum = 0;  // a logit that is not finite makes it NaN, and the loss with it
    for (int k = 0; k < args.K; ++k)
      sum += static_cast<double>(std::exp((logit(k) - highest) * inverse));
    const double log_sum = std::log(sum);
    const Teachers<T> teachers(args, r);
    double loss = 0;
    if (teachers.count)
      for (int k = 0; k < args.K; ++k)
        loss += static_cast<double>(teachers.at(k)) *
                (log_sum - static_cast<double>((logit(k) - highest) * inverse));
    losses[r] = static_cast<M>(args.scale * loss);
    rows[2 * r] = highest;
    rows[2 * r + 1] = static_cast<M>(1 / sum);
  });
}

template <class T>
void dino_backward(const DinoLoss<T>& args, const Master<T>* rows, double weight, T* dstudent,
                   GradMode mode) {
  using M = Master<T>;
  if (mode == GradMode::ignore) return;
  parallel_for(int64_t{args.pairs.views} * args.B, [&](int64_t r, int) {
    const M inverse = static_cast<M>(1 / *args.temperature);
    const M factor = static_cast<M>(weight * args.scale / *args.temperature);
    const Teachers<T> teachers(args, r);
    const M highest = rows[2 * r], mass = static_cast<M>(teachers.count) * rows[2 * r + 1];
    T* const to = dstudent + r * args.K;
    for (int k = 0; k < args.K; ++k) {
      const M logit = static_cast<M>(args.student[r * args.K + k]);
      const M g = factor * (mass * std::exp((logit - highest) * inverse) - teachers.at(k));
      to[k] = T(mode == GradMode::accumulate ? static_cast<M>(to[k]) + g : g);
    }
  });
}

template void softmax_rows(int, int, const float*, float*);
template void softmax_rows(int, int, const double*, double*);
#define MONO_INSTANTIATE(T)                                               \
  template void dino_forward(const DinoLoss<T>&, Master<T>*, Master<T>*); \
  template void dino_backward(const DinoLoss<T>&, const Master<T>*, double, T*, GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
