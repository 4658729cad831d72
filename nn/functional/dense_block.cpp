#include "nn/functional/dense_block.h"

#include "kernels/dense_block/dense_block.h"

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/elementwise/elementwise.h"
#include "nn/domain/norm_observer.h"
#include "nn/functional/kernel_choice.h"

namespace mono {
namespace {

// What forward saved, in the order of the tape entry's `saved` list.
enum Saved { kX, kY1, kMean, kVariance, kMean2, kVariance2, kTable1Mean, kTable1Variance };

// Offset of layer l's rows in the stacked tables of norm1 (segments, C_l) of all layers.
int64_t table1_offset(const DenseBlockProblem& problem, int segments, int layer) {
  int64_t offset = 0;
  for (int l = 0; l < layer; ++l) offset += int64_t{segments} * problem.C_in(l);
  return offset;
}

// The kernel's view of the layers: parameters, and the saved tensors of each.
template <class T>
std::vector<DenseBlockLayer<T>> kernel_layers(const DenseBlockProblem& problem, int segments,
                                              const std::vector<DenseLayer>& layers,
                                              const Tensor& y1, const Tensor& mean2,
                                              const Tensor& variance2, const Tensor& mean1,
                                              const Tensor& variance1) {
  using M = Master<T>;
  std::vector<DenseBlockLayer<T>> out(layers.size());
  const int64_t y1_elements = int64_t{problem.N} * problem.H * problem.W * problem.bottleneck;
  const int64_t table2 = int64_t{segments} * problem.bottleneck;
  for (int l = 0; l < problem.layers; ++l) {
    const DenseLayer& layer = layers[l];
    out[l].gamma1 = layer.norm1->gamma->weights<M>();
    out[l].beta1 = layer.norm1->beta->weights<M>();
    out[l].w1 = layer.conv1->weights<M>();
    out[l].gamma2 = layer.norm2->gamma->weights<M>();
    out[l].beta2 = layer.norm2->beta->weights<M>();
    out[l].w2 = layer.conv2->weights<M>();
    // Where nobody reads y1 afterwards, one buffer serves all layers.
    out[l].y1 = y1.data<T>() + (y1.shape()[0] == problem.layers ? l * y1_elements : 0);
    out[l].mean2 = mean2.data<M>() + l * table2;
    out[l].variance2 = variance2.data<M>() + l * table2;
    if (!problem.batch_statistics) {
      const int64_t offset = table1_offset(problem, segments, l);
      out[l].mean1 = mean1.data<M>() + offset;
      out[l].variance1 = variance1.data<M>() + offset;
    }
  }
  return out;
}

// Shows an observer the inputs of all norms of the block, layer by layer. `in`: the block's own
// moments (segments, C_total), with batch statistics; else norm1's are in `tables1`, stacked.
void show_inputs(const DenseBlockProblem& problem, Segments segments,
                 const std::vector<DenseLayer>& layers, const Tensor& X, const Tensor& y1,
                 const Moments& in, const Moments& tables1, const Moments& tables2,
                 NormObserver& observer) {
  const auto host = [](const Tensor& t) { return t.to(Device::cpu); };
  const Tensor all = host(X);
  const Moments batch = in ? Moments{host(in.mean), host(in.variance)} : Moments{};
  const Shape one{problem.N, problem.H, problem.W, problem.bottleneck};
  for (int l = 0; l < problem.layers; ++l) {
    const int width = problem.C_in(l);
    const int64_t offset = table1_offset(problem, segments.count, l);
    const auto statistics1 = [&](const Tensor& of_batch, const Tensor& tables) {
      return in ? of_batch.channels(0, width) : host(tables.range(offset, {segments.count, width}));
    };
    const auto statistics2 = [&](const Tensor& tables) {
      return host(tables.images(l, l + 1).reshape({segments.count, problem.bottleneck}));
    };
    observer.see({*layers[l].norm1, all.channels(0, width), statistics1(batch.mean, tables1.mean),
                  statistics1(batch.variance, tables1.variance), segments});
    observer.see({*layers[l].norm2, host(y1.images(l, l + 1).reshape(one)),
                  statistics2(tables2.mean), statistics2(tables2.variance), segments});
  }
}

template <class T>
void backward(Backward& b, const DenseBlockProblem& problem, Segments segments,
              const std::vector<DenseLayer>& layers) {
  using M = Master<T>;
  const auto kernel =
      kernel_layers<T>(problem, segments.count, layers, b.saved(kY1), b.saved(kMean2),
                       b.saved(kVariance2), b.saved(kTable1Mean), b.saved(kTable1Variance));
  std::vector<DenseBlockGrads<T>> grads(layers.size());
  const auto piece = [&](const Parameter& parameter) {
    const auto target = b.gradient(parameter);
    MONO_CHECK(target.mode == GradMode::overwrite, "'{}' is used by two operations",
               parameter.name);
    return target.tensor.data<M>();
  };
  for (size_t l = 0; l < layers.size(); ++l)
    grads[l] = {piece(*layers[l].norm1->gamma), piece(*layers[l].norm1->beta),
                piece(*layers[l].conv1),        piece(*layers[l].norm2->gamma),
                piece(*layers[l].norm2->beta),  piece(*layers[l].conv2)};

  // D is the gradient itself where it is already in master precision, else a converted copy.
  Tensor D = b.grad();
  const Device device = D.device();
  const Stream stream = D.stream();
  if (kDTypeOf<T> != kDTypeOf<M>) {
    const Tensor converted = Tensor::empty(D.shape(), kDTypeOf<M>, device);
    convert<M, T>(stream, D.elements(), D.data<T>(), converted.data<M>());
    D = converted;
  }
  struct Progress {
    Backward* backward;
    const std::vector<DenseLayer>* layers;
  } progress{&b, &layers};

  DenseBlockBackward<T> args;
  args.X = b.saved(kX).data<T>();
  if (problem.batch_statistics) {
    args.mean = b.saved(kMean).data<M>();
    args.variance = b.saved(kVariance).data<M>();
  }
  args.layers = kernel;
  args.grads = grads;
  args.D = D.data<M>();
  args.segments = segments;
  args.layer_done = [](void* context, int layer) {
    const auto& [backward, all] = *static_cast<Progress*>(context);
    const DenseLayer& done = (*all)[layer];
    for (const Parameter* p : {done.conv2, done.norm2->gamma, done.norm2->beta, done.conv1,
                               done.norm1->gamma, done.norm1->beta})
      backward->done(*p);
  };
  args.layer_done_context = &progress;
  const ConvVariant variant = choose_dense_block(device, problem, kDTypeOf<T>);
  {
    Workspace workspace(
        dense_block_workspace_bytes(variant, problem, kDTypeOf<T>, segments.count, true), device);
    dense_block_backward<T>(stream, variant, problem, args, workspace);
  }
  const auto dx = b.target(0);
  if (dx.tensor.defined())
    copy_channels<T, M>(stream, D.shape().rows(), problem.C0, D.data<M>(), D.ld(),
                        dx.tensor.data<T>(), problem.C0, dx.mode);
}

}  // namespace

DenseBlockResult dense_block(const Variable& x, const std::vector<DenseLayer>& layers,
                             const ForwardContext& context) {
  const Tensor& input = x.value();
  const Shape& s = input.shape();
  MONO_CHECK(!layers.empty(), "a dense block without layers");
  const Parameter& first1 = *layers[0].conv1;
  if (s.rank() != 4 || s[3] != first1.shape[3])
    fail(ErrorKind::internal, "dense block at {}: filter (K,R,S,C) {} does not fit the input {}",
         first1.name, first1.shape.to_string(), input.to_string());

  DenseBlockProblem problem{};
  problem.N = s[0];
  problem.H = s[1];
  problem.W = s[2];
  problem.C0 = s[3];
  problem.growth = layers[0].conv2->shape[0];
  problem.bottleneck = first1.shape[0];
  problem.layers = static_cast<int>(layers.size());
  problem.eps = layers[0].norm1->eps;
  problem.batch_statistics = context.norm.source == NormPolicy::Source::batch;
  const Segments segments = context.segments;
  const int64_t pixels = int64_t{problem.H} * problem.W;
  check_batch_statistics(layers[0].norm1->name, context, problem.N, pixels);

  const DType dtype = x.dtype(), master = master_of(dtype);
  const int total = problem.C_total(), count = segments.count;
  const Device device = input.device();
  const Stream stream = input.stream();
  const auto table = [&](const Shape& shape) { return Tensor::empty(shape, master, device); };
  const Tensor X = Tensor::empty({problem.N, problem.H, problem.W, total}, dtype, device);
  const int y1_copies = context.tape || context.observer ? problem.layers : 1;
  const Tensor y1 = Tensor::empty({y1_copies, problem.N, problem.H * problem.W, problem.bottleneck},
                                  dtype, device);
  const Tensor mean2 = table({problem.layers, count, problem.bottleneck});
  const Tensor variance2 = table({problem.layers, count, problem.bottleneck});
  Moments moments;
  Tensor mean1, variance1;

  dispatch_activation(dtype, [&]<class T>() {
    using M = Master<T>;
    copy_channels<T, T>(stream, X.shape().rows(), problem.C0, input.data<T>(), input.ld(),
                        X.data<T>(), total, GradMode::overwrite);
    if (problem.batch_statistics) {
      moments = {table({count, total}), table({count, total})};
      BatchNormProblem in{};
      in.N = problem.N;
      in.H = problem.H;
      in.W = problem.W;
      in.C = problem.C0;
      in.ldx = total;
      Workspace workspace(batch_norm_workspace_bytes(device, in, dtype, count), device);
      batch_norm_moments<T>(stream, in, X.data<T>(), segments, moments.mean.data<M>(),
                            moments.variance.data<M>(), total, workspace);
    } else {
      const int rows = static_cast<int>(table1_offset(problem, count, problem.layers));
      mean1 = table({rows});
      variance1 = table({rows});
      for (int l = 0; l < problem.layers; ++l) {
        const int64_t offset = table1_offset(problem, count, l);
        const Shape shape1{count, problem.C_in(l)}, shape2{count, problem.bottleneck};
        gather_statistics(*layers[l].norm1, context,
                          {mean1.range(offset, shape1), variance1.range(offset, shape1)});
        gather_statistics(
            *layers[l].norm2, context,
            {mean2.images(l, l + 1).reshape(shape2), variance2.images(l, l + 1).reshape(shape2)});
      }
    }
    const auto kernel =
        kernel_layers<T>(problem, count, layers, y1, mean2, variance2, mean1, variance1);
    DenseBlockForward<T> args;
    args.X = X.data<T>();
    if (moments) {
      args.mean = moments.mean.data<M>();
      args.variance = moments.variance.data<M>();
    }
    args.layers = kernel;
    args.segments = segments;
    const ConvVariant variant = choose_dense_block(device, problem, dtype);
    Workspace workspace(dense_block_workspace_bytes(variant, problem, dtype, count, false), device);
    dense_block_forward<T>(stream, variant, problem, args, workspace);
  });
  if (problem.batch_statistics)
    for (int l = 0; l < problem.layers; ++l) {
      record_statistics(*layers[l].norm1, context, moments, pixels);
      const Shape shape{count, problem.bottleneck};
      record_statistics(
          *layers[l].norm2, context,
          {mean2.images(l, l + 1).reshape(shape), variance2.images(l, l + 1).reshape(shape)},
          pixels);
    }

  if (context.observer)
    show_inputs(problem, segments, layers, X, y1, moments, {mean1, variance1}, {mean2, variance2},
                *context.observer);
  DenseBlockResult result{Variable(X, context.tape != nullptr), moments};
  if (context.tape) {
    for (const DenseLayer& l : layers)
      context.tape->writes(
          {l.norm1->gamma, l.norm1->beta, l.conv1, l.norm2->gamma, l.norm2->beta, l.conv2});
    context.tape->record(
        "dense_block", {x}, {result.x},
        {X, y1, moments.mean, moments.variance, mean2, variance2, mean1, variance1},
        [problem, segments, layers = &layers](Backward& b) {
          dispatch_activation(b.saved(kX).dtype(),
                              [&]<class T>() { backward<T>(b, problem, segments, *layers); });
        });
  }
  return result;
}

}  // namespace mono
