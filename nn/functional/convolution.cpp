#include "nn/functional/convolution.h"

#include "kernels/conv2d/conv2d.h"
#include "nn/functional/kernel_choice.h"

namespace mono {
namespace {

ConvProblem problem_of(const Tensor& x, const Parameter& w, const ConvolutionOptions& options) {
  const Shape& s = x.shape();
  if (s.rank() != 4 || w.shape.rank() != 4 || s[3] != w.shape[3])
    fail(ErrorKind::internal, "convolution {}: filter (K,R,S,C) {} does not fit the input {}",
         w.name, w.shape.to_string(), x.to_string());
  ConvProblem problem{};
  problem.N = s[0];
  problem.H = s[1];
  problem.W = s[2];
  problem.C = s[3];
  problem.K = w.shape[0];
  problem.R = w.shape[1];
  problem.S = w.shape[2];
  problem.stride = options.stride;
  problem.pad = options.pad;
  problem.ldx = x.ld();
  problem.ldy = problem.K;
  if (s[1] + 2 * options.pad < problem.R || s[2] + 2 * options.pad < problem.S)
    fail(ErrorKind::usage,
         "convolution {}: its {}x{} filter does not fit the {}x{} input; the image size is too "
         "small for this model",
         w.name, problem.R, problem.S, s[1], s[2]);
  return problem;
}

template <class T>
void backward(Backward& b, const ConvProblem& problem, Segments segments, const Parameter& w) {
  using M = Master<T>;
  const Tensor x = b.saved(0), dy = b.grad();
  const Device device = x.device();
  const auto dw = b.gradient(w);
  {
    const ConvVariant variant = choose_convolution(device, ConvPass::wgrad, problem, kDTypeOf<T>);
    Workspace workspace(
        conv2d_workspace_bytes(variant, ConvPass::wgrad, problem, kDTypeOf<T>, segments.count),
        device);
    ConvWgrad<T> args;
    args.x = x.data<T>();
    args.g = dy.data<T>();
    args.dw = dw.tensor.data<M>();
    args.mode = dw.mode;
    args.segments = segments;
    conv2d_wgrad<T>(compute_stream(device), variant, problem, args, workspace);
  }
  b.done(w);
  const auto dx = b.target(0);
  if (!dx.tensor.defined()) return;
  const ConvVariant variant = choose_convolution(device, ConvPass::dgrad, problem, kDTypeOf<T>);
  Workspace workspace(
      conv2d_workspace_bytes(variant, ConvPass::dgrad, problem, kDTypeOf<T>, segments.count),
      device);
  ConvDgrad<T, T> args;
  args.dy = dy.data<T>();
  args.w = w.weights<M>();
  args.dx = dx.tensor.data<T>();
  args.lddx = dx.tensor.ld();
  args.mode = dx.mode;
  args.segments = segments;
  conv2d_dgrad<T, T>(compute_stream(device), variant, problem, args, workspace);
}

}  // namespace

ConvolutionResult convolution(const Variable& x, const Parameter& w, const ForwardContext& context,
                              const ConvolutionOptions& options) {
  const Tensor& input = x.value();
  const ConvProblem problem = problem_of(input, w, options);
  const Segments segments = context.segments;
  const bool moments = options.want_moments && context.norm.source == NormPolicy::Source::batch;

  ConvolutionResult result;
  const Device device = input.device();
  result.y =
      Variable(Tensor::empty({problem.N, problem.P(), problem.Q(), problem.K}, x.dtype(), device),
               context.tape != nullptr);
  if (moments) {
    const DType master = master_of(x.dtype());
    result.moments = {Tensor::empty({segments.count, problem.K}, master, device),
                      Tensor::empty({segments.count, problem.K}, master, device)};
  }
  dispatch_activation(input.dtype(), [&]<class T>() {
    using M = Master<T>;
    const ConvVariant variant = choose_convolution(device, ConvPass::fprop, problem, kDTypeOf<T>);
    Workspace workspace(
        conv2d_workspace_bytes(variant, ConvPass::fprop, problem, kDTypeOf<T>, segments.count),
        device);
    ConvFprop<T> args;
    args.x = input.data<T>();
    args.w = w.weights<M>();
    args.y = result.y.value().data<T>();
    if (moments)
      args.moments = {result.moments.mean.data<M>(), result.moments.variance.data<M>(), problem.K};
    args.segments = segments;
    conv2d_fprop<T>(compute_stream(device), variant, problem, args, workspace);
  });
  if (context.tape) {
    context.tape->writes({&w});
    context.tape->record(
        "convolution", {x}, {result.y}, {input}, [problem, segments, w = &w](Backward& b) {
          dispatch_activation(b.saved(0).dtype(),
                              [&]<class T>() { backward<T>(b, problem, segments, *w); });
        });
  }
  return result;
}

}  // namespace mono
