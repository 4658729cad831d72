#include "nn/functional/self_supervised.h"

#include <cmath>

#include "kernels/barlow/barlow.h"
#include "kernels/byol/byol.h"
#include "kernels/dino/dino.h"
#include "kernels/elementwise/elementwise.h"

namespace mono {
namespace {

// Records a loss whose gradient `backward` writes, and starts the tape's backward there.
template <class F>
void record_loss(const char* op, const Variable& input, std::vector<Tensor> saved,
                 const ForwardContext& context, F backward) {
  if (!context.tape) return;
  const DType master = master_of(input.dtype());
  const Variable loss(Tensor::empty({1}, master, input.value().device()), true);
  context.tape->record(op, {input}, {loss}, std::move(saved), [backward](Backward& b) {
    const auto dx = b.target(0);
    if (!dx.tensor.defined()) return;
    dispatch_activation(dx.tensor.dtype(),
                        [&]<class T>() { backward.template operator()<T>(b, dx); });
  });
  loss.seed_grad(Tensor::zeros({1}, master, input.value().device()));
}

// The pairs in a batch of views, after a check of all shapes.
int pairs_in_batch(const char* what, const Tensor& student, const Tensor& centred,
                   const ViewPairs& pairs, const Tensor& temperature) {
  const Shape& s = student.shape();
  const bool fits = s.rank() == 2 && student.packed() && centred.packed() && pairs.views >= 1 &&
                    s[0] % pairs.views == 0 &&
                    centred.shape() == Shape{s[0] / pairs.views * pairs.teachers, s[1]} &&
                    centred.dtype() == master_of(student.dtype()) &&
                    centred.device() == student.device();
  if (!fits)
    fail(ErrorKind::internal, "{}: {} student and {} teacher views; student {}, teacher {}", what,
         pairs.views, pairs.teachers, student.to_string(), centred.to_string());
  if (temperature.elements() != 1 || temperature.dtype() != DType::f64 ||
      temperature.device() != student.device())
    fail(ErrorKind::internal, "{}: temperature {} for logits {}; one f64 on their device", what,
         temperature.to_string(), student.to_string());
  return s[0] / pairs.views;
}

// The Barlow loss of rows that are checked; temperature undefined: 1.
Tensor barlow(const Variable& student, const Tensor& teacher, const Tensor& temperature,
              const BarlowProblem& problem, bool direct, double weight,
              const ForwardContext& context) {
  const Tensor& s = student.value();
  if (problem.B < 2 || problem.K < 2)
    fail(ErrorKind::usage,
         "the Barlow loss of {} pair(s) and {} feature(s) is not defined: batch norm of a single "
         "row is zero; use a batch of at least two pairs",
         problem.B, problem.K);
  const Device device = s.device();
  const DType master = master_of(s.dtype());
  const int groups = problem.pairs.views * problem.groups;
  const Tensor losses = Tensor::empty({problem.pairs.views}, master, device);
  const Tensor gradient = Tensor::empty(s.shape(), master, device);
  const Tensor mean = Tensor::empty({groups, problem.K}, master, device);
  const Tensor inverse_deviation = Tensor::empty(mean.shape(), master, device);
  const BarlowVariant variant = direct ? BarlowVariant::direct : BarlowVariant::gram;
  Workspace workspace(barlow_workspace_bytes(device, variant, problem, s.dtype()), device);
  dispatch_activation(s.dtype(), [&]<class T>() {
    using M = Master<T>;
    BarlowForward<T> args;
    args.teacher = teacher.data<M>();
    args.student = s.data<T>();
    args.temperature = temperature.defined() ? temperature.data<double>() : nullptr;
    args.losses = losses.data<M>();
    args.gradient = gradient.data<M>();
    args.mean = mean.data<M>();
    args.inverse_deviation = inverse_deviation.data<M>();
    barlow_forward<T>(s.stream(), variant, problem, args, workspace);
  });
  record_loss("barlow", student, {s, gradient, mean, inverse_deviation, temperature}, context,
              [problem, weight]<class T>(Backward& b, const Backward::Target& dx) {
                using M = Master<T>;
                BarlowBackward<T> args;
                args.student = b.saved(0).data<T>();
                args.gradient = b.saved(1).data<M>();
                args.mean = b.saved(2).data<M>();
                args.inverse_deviation = b.saved(3).data<M>();
                args.temperature = b.saved(4).defined() ? b.saved(4).data<double>() : nullptr;
                args.weight = weight;
                args.dstudent = dx.tensor.data<T>();
                args.mode = dx.mode;
                barlow_backward<T>(dx.tensor.stream(), problem, args);
              });
  return losses;
}

BarlowProblem barlow_problem(const BarlowOptions& options, int B, int K, const ViewPairs& pairs) {
  BarlowProblem problem;
  problem.B = B;
  problem.K = K;
  problem.pairs = pairs;
  problem.diagonal = options.diagonal;
  problem.off_diagonal = options.off_diagonal;
  problem.divisor = options.divisor;
  problem.eps = options.eps;
  return problem;
}

// Rows a view of a prediction and a target of two views, after a check.
int rows_of_views(const char* what, const Tensor& p, const Tensor& z) {
  if (p.shape().rank() != 2 || p.shape() != z.shape() || p.shape()[0] % 2 != 0 || !p.packed() ||
      !z.packed() || p.dtype() != z.dtype() || p.device() != z.device())
    fail(ErrorKind::internal, "{}: target {} does not fit the prediction {} of two views", what,
         z.to_string(), p.to_string());
  return p.shape()[0] / 2;
}

}  // namespace

ViewPairs view_pairs(int views, bool only_cross_domain) {
  if (views < 2 || views > ViewPairs::kMostViews || (only_cross_domain && views % 2 != 0))
    fail(ErrorKind::usage,
         "{} views of a pair of images: there must be two global ones, at most {} in all{}", views,
         ViewPairs::kMostViews,
         only_cross_domain ? ", and as many of one image as of the other" : "");
  ViewPairs pairs;
  pairs.views = views;
  const auto image_of = [&](int view) { return view < 2 ? view : view >= 2 + (views - 2) / 2; };
  for (int v = 0; v < views; ++v)
    for (int i = 0; i < pairs.teachers; ++i) {
      const bool other = only_cross_domain ? image_of(v) != i : v != i;
      if (other) pairs.add(i, v);
    }
  return pairs;
}

Tensor dino_losses(const Variable& student, const Tensor& centred, const ViewPairs& pairs,
                   const Tensor& student_temperature, const DinoOptions& options, double weight,
                   const ForwardContext& context) {
  const Tensor& s = student.value();
  const int B = pairs_in_batch("DINO's loss", s, centred, pairs, student_temperature);
  const int rows = s.shape()[0], K = s.shape()[1];
  if (K < 2) fail(ErrorKind::usage, "DINO's loss of {} output(s); there must be two", K);
  const DType master = master_of(s.dtype());
  const Tensor probabilities = Tensor::empty(centred.shape(), master, s.device());
  const Tensor losses = Tensor::empty({rows}, master, s.device());
  const Tensor softmax = Tensor::empty({rows, 2}, master, s.device());
  // Each row's terms, so that the mean over rows is the mean over terms.
  const double scale =
      double(pairs.views) / pairs.terms() / (options.divide_by_log_k ? std::log(double(K)) : 1.0);
  const auto arguments = [B, K, pairs, scale]<class T>(const Tensor& logits, const Tensor& teacher,
                                                       const Tensor& temperature) {
    DinoLoss<T> args;
    args.B = B;
    args.K = K;
    args.pairs = pairs;
    args.student = logits.data<T>();
    args.temperature = temperature.data<double>();
    args.teacher = teacher.data<Master<T>>();
    args.scale = scale;
    return args;
  };
  dispatch_activation(s.dtype(), [&]<class T>() {
    using M = Master<T>;
    softmax_rows<M>(s.stream(), centred.shape()[0], K, centred.data<M>(), probabilities.data<M>());
    dino_forward<T>(s.stream(),
                    arguments.template operator()<T>(s, probabilities, student_temperature),
                    losses.data<M>(), softmax.data<M>());
  });
  record_loss("dino", student, {s, probabilities, student_temperature, softmax}, context,
              [arguments, weight, rows]<class T>(Backward& b, const Backward::Target& dx) {
                dino_backward<T>(
                    dx.tensor.stream(),
                    arguments.template operator()<T>(b.saved(0), b.saved(1), b.saved(2)),
                    b.saved(3).data<Master<T>>(), weight / rows, dx.tensor.data<T>(), dx.mode);
              });
  return losses;
}

Tensor barlow_losses(const Variable& student, const Tensor& centred, const ViewPairs& pairs,
                     const Tensor& student_temperature, const BarlowOptions& options, double weight,
                     const ForwardContext& context) {
  const Tensor& s = student.value();
  const int B = pairs_in_batch("the Barlow loss", s, centred, pairs, student_temperature);
  return barlow(student, centred, student_temperature,
                barlow_problem(options, B, s.shape()[1], pairs), options.direct, weight, context);
}

ConsistencyLosses consistency_losses(const Variable& student, const Tensor& centred,
                                     const ViewPairs& pairs, const Tensor& student_temperature,
                                     const ConsistencyOptions& options,
                                     const ForwardContext& context) {
  if (options.dino_weight == 0 && options.barlow_weight == 0)
    fail(ErrorKind::usage, "a loss with weight 0 for DINO and for Barlow learns nothing");
  ConsistencyLosses losses;
  if (options.dino_weight != 0)
    losses.dino = dino_losses(student, centred, pairs, student_temperature, options.dino,
                              options.dino_weight, context);
  if (options.barlow_weight != 0)
    losses.barlow = barlow_losses(student, centred, pairs, student_temperature, options.barlow,
                                  options.barlow_weight, context);
  return losses;
}

Tensor byol_losses(const Variable& prediction, const Tensor& target, double weight,
                   const ForwardContext& context) {
  const Tensor& p = prediction.value();
  const int B = rows_of_views("BYOL's loss", p, target), C = p.shape()[1];
  const Tensor losses = Tensor::empty({2 * B}, master_of(p.dtype()), p.device());
  const auto arguments = [B, C]<class T>(const Tensor& from, const Tensor& to) {
    ByolLoss<T> args;
    args.B = B;
    args.C = C;
    args.prediction = from.data<T>();
    args.target = to.data<T>();
    args.scale = 2;  // two views: the mean over rows is the sum of their means
    return args;
  };
  dispatch_activation(p.dtype(), [&]<class T>() {
    byol_forward<T>(p.stream(), arguments.template operator()<T>(p, target),
                    losses.data<Master<T>>());
  });
  record_loss("byol", prediction, {p, target}, context,
              [arguments, weight, B]<class T>(Backward& b, const Backward::Target& dx) {
                byol_backward<T>(dx.tensor.stream(),
                                 arguments.template operator()<T>(b.saved(0), b.saved(1)),
                                 weight / (2 * B), dx.tensor.data<T>(), dx.mode);
              });
  return losses;
}

Tensor byol_barlow_losses(const Variable& prediction, const Tensor& target,
                          const BarlowOptions& options, double weight,
                          const ForwardContext& context) {
  const Tensor& p = prediction.value();
  const int B = rows_of_views("BYOL's Barlow loss", p, target), C = p.shape()[1];
  ViewPairs pairs;
  pairs.teachers = pairs.views = 1;
  pairs.add(0, 0);
  BarlowProblem problem = barlow_problem(options, B, C, pairs);
  problem.groups = 2;
  // The target's views swapped, so that rows face each other.
  const Tensor swapped = Tensor::empty(p.shape(), master_of(p.dtype()), p.device());
  dispatch_activation(p.dtype(), [&]<class T>() {
    using M = Master<T>;
    const int64_t view = int64_t{B} * C;
    convert<M, T>(p.stream(), view, target.data<T>() + view, swapped.data<M>());
    convert<M, T>(p.stream(), view, target.data<T>(), swapped.data<M>() + view);
  });
  return barlow(prediction, swapped, Tensor(), problem, options.direct, weight, context);
}

}  // namespace mono
