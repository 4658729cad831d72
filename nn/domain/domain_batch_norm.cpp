#include "nn/domain/domain_batch_norm.h"

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/elementwise/elementwise.h"
#include "nn/domain/norm_observer.h"

namespace mono {
namespace {

// (N,C) is (N,1,1,C).
BatchNormProblem problem_of(const Tensor& x, const NormLayer& layer, bool relu, bool batch) {
  const Shape& s = x.shape();
  BatchNormProblem problem{};
  problem.N = s[0];
  problem.H = s.rank() == 4 ? s[1] : 1;
  problem.W = s.rank() == 4 ? s[2] : 1;
  problem.C = s.back();
  problem.eps = layer.eps;
  problem.relu = relu;
  problem.batch_statistics = batch;
  return problem;
}

int64_t pixels_per_image(const Tensor& x) {
  return x.shape().rank() == 4 ? int64_t{x.shape()[1]} * x.shape()[2] : 1;
}

}  // namespace

void check_batch_statistics(const std::string& layer, const ForwardContext& context, int images,
                            int64_t pixels) {
  const Segments& segments = context.segments;
  if (segments.count < 1 || segments.begin(0) != 0 || segments.end(segments.count - 1) != images)
    fail(ErrorKind::internal, "{}: {} segments do not cover the {} images", layer, segments.count,
         images);
  if (context.norm.source != NormPolicy::Source::batch) return;
  for (int s = 0; s < segments.count; ++s)
    if ((segments.end(s) - segments.begin(s)) * pixels < 2)
      fail(ErrorKind::usage,
           "{}: segment {} has a single value a channel, too few for batch statistics; put at "
           "least two images into each group or domain",
           layer, s);
}

void gather_statistics(const NormLayer& layer, const ForwardContext& context, const Moments& to) {
  const NormStatistics* table = context.norm.table;
  MONO_CHECK(table, "{}: statistics from a table, but none is given", layer.name);
  const int64_t columns = table->mean().shape().back();
  dispatch_master(table->mean().dtype(), [&]<class M>() {
    for (int s = 0; s < context.segments.count; ++s) {
      const int row = context.norm.row_of_segment.empty() ? 0 : context.norm.row_of_segment[s];
      MONO_CHECK(row >= 0 && row < table->rows(), "{}: row {} of {} statistics", layer.name, row,
                 table->rows());
      const int64_t at = row * columns + layer.offset, into = int64_t{s} * layer.channels;
      const auto copy = [&](const Tensor& from, const Tensor& values) {
        copy_rows<M>(values.stream(), 1, layer.channels, from.data<M>() + at, columns, nullptr,
                     values.data<M>() + into, layer.channels);
      };
      copy(table->mean(), to.mean);
      copy(table->variance(), to.variance);
    }
  });
}

Moments table_statistics(const NormLayer& layer, const ForwardContext& context) {
  MONO_CHECK(context.norm.table, "{}: statistics from a table, but none is given", layer.name);
  const Tensor& table = context.norm.table->mean();
  const Shape shape{context.segments.count, layer.channels};
  const Moments moments{Tensor::empty(shape, table.dtype(), table.device()),
                        Tensor::empty(shape, table.dtype(), table.device())};
  gather_statistics(layer, context, moments);
  return moments;
}

void record_statistics(const NormLayer& layer, const ForwardContext& context,
                       const Moments& moments, int64_t pixels) {
  NormStatistics* record = context.norm.record;
  if (!record) return;
  const Segments& segments = context.segments;
  const int64_t columns = record->mean().shape().back();
  const int64_t at = context.norm.record_row * columns + layer.offset;
  dispatch_master(moments.mean.dtype(), [&]<class M>() {
    const auto copy = [&](const Tensor& values, const Tensor& to) {
      copy_rows<M>(to.stream(), segments.count, layer.channels, values.data<M>(), values.ld(),
                   nullptr, to.data<M>() + at, columns);
    };
    copy(moments.mean, record->mean());
    copy(moments.variance, record->variance());
  });
  for (int s = 0; s < segments.count; ++s)
    record->set_count(
        context.norm.record_row + s, layer.index,
        static_cast<double>(segments.end(s) - segments.begin(s)) * static_cast<double>(pixels));
}

Moments layer_statistics(const NormLayer& layer, const ForwardContext& context, const Tensor& x,
                         const Moments& known) {
  check_batch_statistics(layer.name, context, x.shape()[0], pixels_per_image(x));
  if (context.norm.source == NormPolicy::Source::table) return table_statistics(layer, context);
  Moments moments = known;
  if (!moments) {
    const Shape table{context.segments.count, layer.channels};
    const DType master = master_of(x.dtype());
    moments = {Tensor::empty(table, master, x.device()), Tensor::empty(table, master, x.device())};
    const BatchNormProblem problem = problem_of(x, layer, false, true);
    Workspace workspace(
        batch_norm_workspace_bytes(x.device(), problem, x.dtype(), context.segments.count),
        x.device());
    dispatch_activation(x.dtype(), [&]<class T>() {
      batch_norm_moments<T>(x.stream(), problem, x.data<T>(), context.segments,
                            moments.mean.data<Master<T>>(), moments.variance.data<Master<T>>(), 0,
                            workspace);
    });
  }
  record_statistics(layer, context, moments, pixels_per_image(x));
  return moments;
}

Variable domain_batch_norm(const Variable& x, const NormLayer& layer, const ForwardContext& context,
                           const DomainBatchNormOptions& options) {
  const Tensor& input = x.value();
  const int rank = input.shape().rank();
  if ((rank != 4 && rank != 2) || input.shape().back() != layer.channels || !input.packed())
    fail(ErrorKind::internal, "batch norm {} of {} channels: input is {}", layer.name,
         layer.channels, input.to_string());
  const Tensor residual = options.residual.value();
  if (residual.defined() && (residual.shape() != input.shape() || !residual.packed()))
    fail(ErrorKind::internal, "batch norm {}: residual {} does not fit the input {}", layer.name,
         residual.to_string(), input.to_string());

  const bool batch = context.norm.source == NormPolicy::Source::batch;
  const Moments statistics = layer_statistics(layer, context, input, options.known);
  if (context.observer)
    context.observer->see({layer, input.to(Device::cpu), statistics.mean.to(Device::cpu),
                           statistics.variance.to(Device::cpu), context.segments, options.relu});
  const BatchNormProblem problem = problem_of(input, layer, options.relu, batch);
  const Segments segments = context.segments;
  const Device device = input.device();
  const Stream stream = input.stream();
  Variable y(Tensor::empty(input.shape(), input.dtype(), device), context.tape != nullptr);

  dispatch_activation(input.dtype(), [&]<class T>() {
    using M = Master<T>;
    const Shape table{segments.count, layer.channels};
    const Tensor scale = Tensor::empty(table, kDTypeOf<M>, device);
    const Tensor shift = Tensor::empty(table, kDTypeOf<M>, device);
    batch_norm_fold<M>(stream, segments.count, layer.channels, layer.eps, layer.gamma->weights<M>(),
                       layer.beta->weights<M>(), statistics.mean.data<M>(),
                       statistics.variance.data<M>(), statistics.mean.ld(), scale.data<M>(),
                       shift.data<M>());
    batch_norm_apply<T>(stream, problem, input.data<T>(), segments, scale.data<M>(),
                        shift.data<M>(), residual.defined() ? residual.data<T>() : nullptr,
                        y.value().data<T>());
  });
  if (!context.tape) return y;

  const bool needs_y = options.relu && residual.defined();
  context.tape->writes({layer.gamma, layer.beta});
  context.tape->record(
      options.relu ? "batch_norm_relu" : "batch_norm", {x, options.residual}, {y},
      {input, statistics.mean, statistics.variance, needs_y ? y.value() : Tensor()},
      [problem, segments, layer = &layer](Backward& b) {
        dispatch_activation(b.saved(0).dtype(), [&]<class T>() {
          using M = Master<T>;
          const auto dgamma = b.gradient(*layer->gamma), dbeta = b.gradient(*layer->beta);
          // The kernel writes dresidual before dx, so that both may be one tensor (x + x).
          const auto dresidual = b.target(1), dx = b.target(0);
          const Tensor dy = b.grad();
          BatchNormBackward<T> args;
          args.dy = dy.data<T>();
          args.x = b.saved(0).data<T>();
          args.y = b.saved(3).defined() ? b.saved(3).data<T>() : nullptr;
          args.gamma = layer->gamma->weights<M>();
          args.beta = layer->beta->weights<M>();
          args.mean = b.saved(1).data<M>();
          args.variance = b.saved(2).data<M>();
          args.ld = b.saved(1).ld();
          args.dgamma = dgamma.tensor.data<M>();
          args.dbeta = dbeta.tensor.data<M>();
          args.parameter_mode = dgamma.mode;
          args.dx = dx.tensor.defined() ? dx.tensor.data<T>() : nullptr;
          args.dx_mode = dx.mode;
          args.dresidual = dresidual.tensor.defined() ? dresidual.tensor.data<T>() : nullptr;
          args.dresidual_mode = dresidual.mode;
          args.segments = segments;
          Workspace workspace(
              batch_norm_workspace_bytes(dy.device(), problem, kDTypeOf<T>, segments.count),
              dy.device());
          batch_norm_backward<T>(dy.stream(), problem, args, workspace);
        });
        b.done(*layer->gamma);
        b.done(*layer->beta);
      });
  return y;
}

}  // namespace mono
