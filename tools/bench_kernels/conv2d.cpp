// The convolutions of DenseNet-161 and ResNet-50, every pass, every variant of the device.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <type_traits>

#include "kernels/conv2d/conv2d_choices.h"
#include "tests/kernels/model_problems.h"
#include "tools/bench_kernels/bench.h"

namespace mono::bench {
namespace {

constexpr const char* kPassNames[] = {"fprop", "dgrad", "wgrad"};

// A convolution with everything that surrounds it in the model. GradT as there: gradients of a
// dense block are kept in master precision.
template <class T, class GradT>
class Convolution {
 public:
  using M = Master<T>;

  Convolution(Stream stream, const ModelConvolution& model)
      : stream_(stream), p_(with_pitches(model.problem)), fused_(model.fused) {
    const int N = p_.N;
    offsets_ = N >= 2 ? std::vector<int>{0, N / 2, N} : std::vector<int>{0, N};
    const int64_t in = int64_t{N} * p_.H * p_.W, out = int64_t{N} * p_.P() * p_.Q();
    const int64_t segments = this->segments().count;
    gpu_offsets_ = Array<int>(stream, static_cast<int64_t>(offsets_.size()));
    gpu_offsets_.set(offsets_);
    x_ = normal<T>(stream, in * p_.ldx, 1, 0.25);
    y_ = normal<T>(stream, out * p_.ldy, 2);
    w_ = normal<M>(stream, int64_t{p_.K} * p_.R * p_.S * p_.C, 3, 0, 0.25);
    dy_ = normal<GradT>(stream, out * p_.ldy, 4);
    g_ = normal<T>(stream, out * p_.K, 5);
    dx_ = normal<GradT>(stream, in * p_.ldx, 6);
    dw_ = normal<M>(stream, int64_t{p_.K} * p_.R * p_.S * p_.C, 7);
    scale_ = normal<M>(stream, segments * p_.C, 8, 1, 0.25);
    shift_ = normal<M>(stream, segments * p_.C, 9, 0, 0.25);
    mean_ = normal<M>(stream, segments * p_.C, 10, 0.25, 0.25);
    a_ = normal<M>(stream, segments * p_.K, 11, 1, 0.25);
    b_ = normal<M>(stream, segments * p_.K, 12, 0, 0.25);
    c_ = normal<M>(stream, segments * p_.K, 13, 0, 0.25);
    sum_dz_ = Array<M>(stream, segments * p_.C);
    sum_dzx_ = Array<M>(stream, segments * p_.C);
    y_mean_ = Array<M>(stream, segments * p_.K);
    y_variance_ = Array<M>(stream, segments * p_.K);
  }

  void prepare(ConvVariant variant, ConvPass pass) {
    const int64_t bytes = static_cast<int64_t>(
        conv2d_workspace_bytes(variant, pass, p_, kDTypeOf<T>, segments().count));
    if (bytes > workspace_.size() || !workspace_.data())
      workspace_ = Array<std::byte>(stream_, std::max<int64_t>(bytes, 1));
  }

  void run(ConvVariant variant, ConvPass pass) const {
    switch (pass) {
      case ConvPass::fprop: {
        ConvFprop<T> args;
        args.x = x_.data();
        args.w = w_.data();
        args.y = y_.data();
        args.segments = segments();
        if (fused_) {
          args.prologue = prologue();
          args.moments = {y_mean_.data(), y_variance_.data(), p_.K};
        }
        return conv2d_fprop<T>(stream_, variant, p_, args, workspace_.bytes());
      }
      case ConvPass::dgrad: {
        ConvDgrad<T, GradT> args;
        args.dy = dy_.data();
        args.w = w_.data();
        args.dx = dx_.data();
        args.mode = accumulates() ? GradMode::accumulate : GradMode::overwrite;
        args.segments = segments();
        if (fused_) {
          args.y = y_.data();
          args.a = a_.data();
          args.b = b_.data();
          args.c = c_.data();
          args.g_out = g_.data();
          args.mask = prologue();
          args.x = x_.data();
          args.mean = mean_.data();
          args.mean_ld = p_.C;
          args.sum_dz = sum_dz_.data();
          args.sum_dzx = sum_dzx_.data();
          args.multiply = scale_.data();
        }
        return conv2d_dgrad<T, GradT>(stream_, variant, p_, args, workspace_.bytes());
      }
      case ConvPass::wgrad: {
        ConvWgrad<T> args;
        args.x = x_.data();
        args.g = g_.data();
        args.ldg = p_.K;
        args.dw = dw_.data();
        args.segments = segments();
        if (fused_) args.prologue = prologue();
        return conv2d_wgrad<T>(stream_, variant, p_, args, workspace_.bytes());
      }
    }
  }

  std::vector<T> y() const { return channels(y_.host(), p_.ldy, p_.K); }
  std::vector<GradT> dx() const { return channels(dx_.host(), p_.ldx, p_.C); }
  std::vector<M> dw() const { return dw_.host(); }

  // Each operand of the pass once; what is added to is read and written.
  double bytes(ConvPass pass) const {
    const double in = double(p_.N) * p_.H * p_.W * p_.C,
                 out = double(p_.N) * p_.P() * p_.Q() * p_.K;
    const double filter = double(p_.K) * p_.R * p_.S * p_.C * sizeof(M);
    if (pass != ConvPass::dgrad) return (in + out) * sizeof(T) + filter;
    double bytes = out * sizeof(GradT) + in * sizeof(GradT) * (accumulates() ? 2 : 1) + filter;
    if (fused_) bytes += 2 * out * sizeof(T) + in * sizeof(T);  // y, g_out; x
    return bytes;
  }

 private:
  // Without what lies between the pixels' channels.
  template <class U>
  static std::vector<U> channels(const std::vector<U>& values, int ld, int C) {
    std::vector<U> out;
    for (auto pixel = values.begin(); pixel != values.end(); pixel += ld)
      out.insert(out.end(), pixel, pixel + C);
    return out;
  }
  static ConvProblem with_pitches(ConvProblem p) {
    if (p.ldx == 0) p.ldx = p.C;
    if (p.ldy == 0) p.ldy = p.K;
    return p;
  }
  ScaleShiftRelu<T> prologue() const { return {scale_.data(), shift_.data()}; }
  bool accumulates() const { return p_.ldx > p_.C; }  // into the shared gradient of a dense block
  Segments segments() const {
    return {static_cast<int>(offsets_.size()) - 1, offsets_.data(), gpu_offsets_.data()};
  }

  Stream stream_;
  ConvProblem p_;
  bool fused_;
  std::vector<int> offsets_;
  Array<int> gpu_offsets_;
  Array<T> x_, y_, g_;
  Array<GradT> dy_, dx_;
  Array<M> w_, dw_, scale_, shift_, mean_, a_, b_, c_, sum_dz_, sum_dzx_, y_mean_, y_variance_;
  Array<std::byte> workspace_;
};

// The same convolution on few pixels.
ModelConvolution small(const ModelConvolution& model, double most_flops) {
  ModelConvolution out = model;
  ConvProblem& p = out.problem;
  p.N = std::min(p.N, 2);
  while (p.flops() > most_flops && p.H > p.R && p.H > 3) p.H = --p.W;
  return out;
}

// What a pass of the convolution leaves in memory.
template <class T, class GradT>
std::vector<double> result_of(const Convolution<T, GradT>& convolution, ConvPass pass) {
  const auto doubles = [](const auto& values) {
    std::vector<double> out;
    out.reserve(values.size());
    for (const auto v : values)
      out.push_back(static_cast<double>(static_cast<Master<std::decay_t<decltype(v)>>>(v)));
    return out;
  };
  return pass == ConvPass::fprop   ? doubles(convolution.y())
         : pass == ConvPass::dgrad ? doubles(convolution.dx())
                                   : doubles(convolution.dw());
}

// A convolution on few pixels: the definition in double, made when first asked for, serves every
// variant and type, since all compute from the same numbers.
class Definition {
 public:
  Definition(const ModelConvolution& model, double most_flops) : model_(small(model, most_flops)) {}

  template <class T, class GradT>
  double error_of(Stream stream, ConvVariant variant, ConvPass pass) {
    std::vector<double>& truth = truth_[static_cast<int>(pass)];
    if (truth.empty()) truth = run<double, double>(Stream{}, ConvVariant::reference, pass);
    return relative_error(run<T, GradT>(stream, variant, pass), truth);
  }

 private:
  template <class T, class GradT>
  std::vector<double> run(Stream stream, ConvVariant variant, ConvPass pass) const {
    Convolution<T, GradT> convolution(stream, model_);
    convolution.prepare(variant, pass);
    convolution.run(variant, pass);
    return result_of(convolution, pass);
  }

  ModelConvolution model_;
  std::vector<double> truth_[3];
};

// As conv2d_choices.inc has it.
std::string table_row(Device device, ConvVariant variant, ConvPass pass, DType dtype,
                      const ConvProblem& p) {
  return fmt::format(
      "{{\"{}\", ConvPass::{}, DType::{}, {{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}}, "
      "ConvVariant::{}}},",
      conv2d_machine(device), kPassNames[static_cast<int>(pass)], name_of(dtype), p.N, p.H, p.W,
      p.C, p.K, p.R, p.S, p.stride, p.pad, p.ldx, p.ldy, name_of(variant));
}

template <class T, class GradT>
void bench_case(Session& session, const ModelConvolution& model, const std::string& name,
                Definition& definition) {
  const DType dtype = kDTypeOf<T>;
  const Device device = session.options().device;
  std::unique_ptr<Convolution<T, GradT>> convolution;
  for (const ConvPass pass : {ConvPass::fprop, ConvPass::dgrad, ConvPass::wgrad})
    for (int v = 0; v < kConvVariants; ++v) {
      const auto variant = static_cast<ConvVariant>(v);
      const std::string pass_name = kPassNames[static_cast<int>(pass)];
      if (!session.wants(pass_name, std::string(name_of(variant)), dtype, name) ||
          !conv2d_supports(device, variant, pass, model.problem, dtype))
        continue;
      // The definitions are there to be right; at full size they take minutes.
      const bool slow = variant == ConvVariant::reference || variant == ConvVariant::naive;
      if (slow && session.timed() && session.options().variant.empty()) continue;
      if (session.timed() && !convolution)
        convolution = std::make_unique<Convolution<T, GradT>>(session.stream(), model);
      if (convolution) convolution->prepare(variant, pass);
      Row row{.op = "conv2d",
              .name = name,
              .problem = model.problem.to_string(),
              .pass = pass_name,
              .variant = std::string(name_of(variant)),
              .dtype = std::string(name_of(dtype))};
      row.flops = model.problem.flops();
      row.bytes = convolution ? convolution->bytes(pass) : 0;
      row.error = definition.error_of<T, GradT>(session.stream(), variant, pass);
      row.tolerance = dtype == DType::bf16 ? 4e-2 : 1e-4;
      row.chosen = conv2d_choose(device, pass, model.problem, dtype) == variant;
      row.library = variant == ConvVariant::cudnn || variant == ConvVariant::onednn;
      row.choice = table_row(device, variant, pass, dtype, model.problem);
      session.add(row, [&] { convolution->run(variant, pass); });
    }
}

}  // namespace

void bench_conv2d(Session& session) {
  const Options& options = session.options();
  struct Set {
    const char* model;
    int size, batch;
  };
  const std::vector<Set> sets =
      options.device == Device::cuda
          ? std::vector<Set>{{"densenet161", 512, 32},
                             {"resnet50", 224, 64},
                             {"densenet161", 256, 64},
                             {"densenet161", 128, 128}}
          : std::vector<Set>{{"densenet161", 128, 8}, {"resnet50", 224, 8}};
  for (Set set : sets) {
    if (!options.model.empty() && options.model != set.model) continue;
    if (options.size) set.size = options.size;
    if (options.batch) set.batch = options.batch;
    const auto cases = std::string_view(set.model) == "resnet50"
                           ? resnet50_convolutions(set.batch, set.size)
                           : densenet161_convolutions(set.batch, set.size);
    for (const ModelConvolution& model : cases) {
      const std::string name = fmt::format("{}/{}/{}", set.model, set.size, model.name);
      if (options.list) {
        fmt::print("conv2d {} {}{}\n", name, model.problem.to_string(),
                   model.fused ? " fused" : "");
        continue;
      }
      Definition definition(model, session.timed() ? 3e7 : 1e7);
      bench_case<float, float>(session, model, name, definition);
      if (model.fused)
        bench_case<bf16, float>(session, model, name, definition);
      else
        bench_case<bf16, bf16>(session, model, name, definition);
    }
    if (options.size) break;
  }
}

}  // namespace mono::bench
