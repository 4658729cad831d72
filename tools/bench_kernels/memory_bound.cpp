// Operations that memory bounds, at the sizes of DenseNet-161's stem and ResNet-50's first stage.
//
// An operation is a class template over the activation type: made for a stream and a number of
// images, it runs a pass on its own operands and gives the result back. The definition is the same
// class in double on the CPU.
#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "kernels/adamw/adamw.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/crop_views/crop_views.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/ema/ema.h"
#include "kernels/gelu/gelu.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/pool/pool.h"
#include "kernels/sgd/sgd.h"
#include "tools/bench_kernels/bench.h"

namespace mono::bench {
namespace {

// Bytes that a pass moves, and the side of its images.
struct Shape {
  int N, side, C;
  int64_t elements() const { return int64_t{N} * side * side * C; }
};

template <class U>
std::vector<double> doubles(const std::vector<U>& values) {
  std::vector<double> out;
  out.reserve(values.size());
  for (const U v : values) out.push_back(static_cast<double>(static_cast<Master<U>>(v)));
  return out;
}

template <class T>
class BatchNorm {
 public:
  using M = Master<T>;
  static constexpr const char* kOp = "batch_norm";
  static std::vector<std::string> passes() { return {"moments", "apply", "backward"}; }
  static double bytes(const std::string& pass, const Shape& s) {
    // backward reads dy and x once for its sums and once for dx
    const double touched = pass == "moments" ? 1 : pass == "apply" ? 2 : 5;
    return touched * double(s.elements()) * sizeof(T);
  }

  BatchNorm(Stream stream, const Shape& s)
      : stream_(stream),
        p_{.N = s.N, .H = s.side, .W = s.side, .C = s.C},
        offsets_{0, s.N},
        gpu_offsets_(stream, 2),
        x_(normal<T>(stream, s.elements(), 1, 0.5)),
        dy_(normal<T>(stream, s.elements(), 2)),
        y_(constant<T>(stream, s.elements(), 0)),
        gamma_(normal<M>(stream, s.C, 3, 1, 0.25)),
        beta_(normal<M>(stream, s.C, 4, 0, 0.25)),
        mean_(constant<M>(stream, s.C, 0.5)),
        variance_(constant<M>(stream, s.C, 1)),
        dgamma_(stream, s.C),
        dbeta_(stream, s.C),
        workspace_(stream, static_cast<int64_t>(
                               batch_norm_workspace_bytes(stream.device, p_, kDTypeOf<T>, 1))) {
    gpu_offsets_.set(std::vector<int>{offsets_[0], offsets_[1]});
  }
  void run(const std::string& pass) const {
    const Segments segments{1, offsets_, gpu_offsets_.data()};
    if (pass == "moments")
      batch_norm_moments<T>(stream_, p_, x_.data(), segments, mean_.data(), variance_.data(), 0,
                            workspace_.bytes());
    else if (pass == "apply")
      batch_norm_apply<T>(stream_, p_, x_.data(), segments, gamma_.data(), beta_.data(), nullptr,
                          y_.data());
    else
      batch_norm_backward<T>(stream_, p_,
                             {.dy = dy_.data(),
                              .x = x_.data(),
                              .gamma = gamma_.data(),
                              .beta = beta_.data(),
                              .mean = mean_.data(),
                              .variance = variance_.data(),
                              .dgamma = dgamma_.data(),
                              .dbeta = dbeta_.data(),
                              .dx = y_.data(),
                              .segments = segments},
                             workspace_.bytes());
  }
  std::vector<double> result(const std::string& pass) const {
    if (pass != "moments") return doubles(y_.host());
    std::vector<double> both = doubles(mean_.host());
    for (const double v : doubles(variance_.host())) both.push_back(v);
    return both;
  }

 private:
  Stream stream_;
  BatchNormProblem p_;
  int offsets_[2];
  Array<int> gpu_offsets_;
  Array<T> x_, dy_, y_;
  Array<M> gamma_, beta_, mean_, variance_, dgamma_, dbeta_;
  Array<std::byte> workspace_;
};

template <class T>
class Pool {
 public:
  static constexpr const char* kOp = "pool";
  static std::vector<std::string> passes() {
    return {"max_forward", "max_backward", "average_forward", "average_backward"};
  }
  static double bytes(const std::string& pass, const Shape& s) {
    const double out = double(s.elements()) / 4;
    return (double(s.elements()) + out) * sizeof(T) + (pass.starts_with("max") ? out : 0);
  }

  Pool(Stream stream, const Shape& s)
      : stream_(stream),
        max_{s.N, s.side, s.side, s.C, 3, 2, 1},
        average_{s.N, s.side, s.side, s.C, 2, 2},
        x_(normal<T>(stream, s.elements(), 1)),
        dx_(constant<T>(stream, s.elements(), 0)),
        y_(normal<T>(stream, int64_t{s.N} * max_.P() * max_.Q() * s.C, 2)),
        argmax_(stream, y_.size()) {
    max_pool_forward<T>(stream_, max_, x_.data(), y_.data(), argmax_.data());
  }
  void run(const std::string& pass) const {
    if (pass == "max_forward")
      max_pool_forward<T>(stream_, max_, x_.data(), y_.data(), argmax_.data());
    else if (pass == "max_backward")
      max_pool_backward<T>(stream_, max_, y_.data(), argmax_.data(), dx_.data(),
                           GradMode::overwrite);
    else if (pass == "average_forward")
      average_pool_forward<T>(stream_, average_, x_.data(), y_.data());
    else
      average_pool_backward<T>(stream_, average_, y_.data(), dx_.data(), GradMode::overwrite);
  }
  std::vector<double> result(const std::string& pass) const {
    std::vector<double> out;
    for (const T v : (pass.ends_with("forward") ? y_ : dx_).host())
      out.push_back(static_cast<double>(static_cast<Master<T>>(v)));
    return out;
  }

 private:
  Stream stream_;
  PoolProblem max_, average_;
  Array<T> x_, dx_, y_;
  Array<uint8_t> argmax_;
};

template <class T>
class Elementwise {
 public:
  static constexpr const char* kOp = "elementwise";
  static std::vector<std::string> passes() { return {"add", "relu_backward"}; }
  static double bytes(const std::string&, const Shape& s) {
    return 3.0 * double(s.elements()) * sizeof(T);
  }

  Elementwise(Stream stream, const Shape& s)
      : stream_(stream),
        n_(s.elements()),
        a_(normal<T>(stream, n_, 1)),
        b_(normal<T>(stream, n_, 2)),
        y_(constant<T>(stream, n_, 0)) {}
  void run(const std::string& pass) const {
    if (pass == "add")
      add<T>(stream_, n_, a_.data(), b_.data(), y_.data());
    else
      relu_backward<T>(stream_, n_, a_.data(), b_.data(), y_.data(), GradMode::overwrite);
  }
  std::vector<double> result(const std::string&) const {
    std::vector<double> out;
    for (const T v : y_.host()) out.push_back(static_cast<double>(static_cast<Master<T>>(v)));
    return out;
  }

 private:
  Stream stream_;
  int64_t n_;
  Array<T> a_, b_, y_;
};

// Rows are the patches of images.
template <class T>
class LayerNorm {
 public:
  using M = Master<T>;
  static constexpr const char* kOp = "layer_norm";
  static std::vector<std::string> passes() { return {"forward", "backward"}; }
  static double bytes(const std::string& pass, const Shape& s) {
    return (pass == "forward" ? 2 : 3) * double(s.elements()) * sizeof(T);
  }

  LayerNorm(Stream stream, const Shape& s)
      : stream_(stream),
        p_{static_cast<int>(s.elements() / s.C), s.C},
        variant_(layer_norm_choose(p_, kDTypeOf<T>)),
        x_(normal<T>(stream, s.elements(), 1, 0.5)),
        dy_(normal<T>(stream, s.elements(), 2)),
        y_(constant<T>(stream, s.elements(), 0)),
        gamma_(normal<M>(stream, s.C, 3, 1, 0.25)),
        beta_(normal<M>(stream, s.C, 4, 0, 0.25)),
        statistics_(stream, 2 * int64_t{p_.rows}),
        sums_(constant<M>(stream, 2 * int64_t{s.C}, 0)),
        workspace_(stream, static_cast<int64_t>(
                               layer_norm_workspace_bytes(stream.device, p_, kDTypeOf<T>))) {
    run("forward");  // the statistics
  }
  void run(const std::string& pass) const {
    M* const mean = statistics_.data();
    if (pass == "forward")
      layer_norm_forward<T>(
          stream_, variant_, p_,
          {x_.data(), gamma_.data(), beta_.data(), mean, mean + p_.rows, y_.data()});
    else
      layer_norm_backward<T>(stream_, variant_, p_,
                             {.dy = dy_.data(),
                              .x = x_.data(),
                              .gamma = gamma_.data(),
                              .mean = mean,
                              .inv_std = mean + p_.rows,
                              .dx = y_.data(),
                              .dgamma = sums_.data(),
                              .dbeta = sums_.data() + p_.D},
                             workspace_.bytes());
  }
  std::vector<double> result(const std::string&) const { return doubles(y_.host()); }

 private:
  Stream stream_;
  LayerNormProblem p_;
  LayerNormVariant variant_;
  Array<T> x_, dy_, y_;
  Array<M> gamma_, beta_, statistics_, sums_;
  Array<std::byte> workspace_;
};

template <class T>
class Gelu {
 public:
  static constexpr const char* kOp = "gelu";
  static std::vector<std::string> passes() { return {"forward", "backward"}; }
  static double bytes(const std::string& pass, const Shape& s) {
    return (pass == "forward" ? 2 : 3) * double(s.elements()) * sizeof(T);
  }

  Gelu(Stream stream, const Shape& s)
      : stream_(stream),
        n_(s.elements()),
        x_(normal<T>(stream, n_, 1)),
        dy_(normal<T>(stream, n_, 2)),
        y_(constant<T>(stream, n_, 0)) {}
  void run(const std::string& pass) const {
    if (pass == "forward")
      gelu_forward<T>(stream_, n_, x_.data(), y_.data());
    else
      gelu_backward<T>(stream_, n_, dy_.data(), x_.data(), y_.data(), GradMode::overwrite);
  }
  std::vector<double> result(const std::string&) const { return doubles(y_.host()); }

 private:
  Stream stream_;
  int64_t n_;
  Array<T> x_, dy_, y_;
};

// Parameters are f32 whatever the activations are.
template <class M>
class Sgd {
 public:
  static constexpr const char* kOp = "sgd";
  static std::vector<std::string> passes() { return {"step"}; }
  static double bytes(const std::string&, const Shape& s) {
    return 5.0 * double(s.elements()) * sizeof(M);
  }

  Sgd(Stream stream, const Shape& s)
      : stream_(stream),
        n_(s.elements()),
        w_(normal<M>(stream, n_, 1)),
        m_(normal<M>(stream, n_, 2)),
        g_(normal<M>(stream, n_, 3)),
        run_{0, n_, 1e-4},
        gpu_run_(stream, sizeof(SgdRun)),
        rates_(stream, sizeof(SgdRates)) {
    const SgdRates rates{0.1, 1.0};
    gpu_run_.set({reinterpret_cast<const std::byte*>(&run_), sizeof run_});
    rates_.set({reinterpret_cast<const std::byte*>(&rates), sizeof rates});
  }
  void run(const std::string&) const {
    sgd_step<M>(stream_, {.n = n_, .lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4},
                {1, &run_, reinterpret_cast<const SgdRun*>(gpu_run_.data())},
                reinterpret_cast<const SgdRates*>(rates_.data()), w_.data(), m_.data(), g_.data());
  }
  std::vector<double> result(const std::string&) const {
    const std::vector<M> w = w_.host();
    return {w.begin(), w.end()};
  }

 private:
  Stream stream_;
  int64_t n_;
  Array<M> w_, m_, g_;
  SgdRun run_;
  Array<std::byte> gpu_run_, rates_;
};

template <class M>
class AdamW {
 public:
  static constexpr const char* kOp = "adamw";
  static std::vector<std::string> passes() { return {"step", "ema"}; }
  static double bytes(const std::string& pass, const Shape& s) {
    return (pass == "step" ? 7.0 : 3.0) * double(s.elements()) * sizeof(M);
  }

  AdamW(Stream stream, const Shape& s)
      : stream_(stream),
        problem_{.n = s.elements()},
        w_(normal<M>(stream, problem_.n, 1)),
        m_(normal<M>(stream, problem_.n, 2)),
        v_(constant<M>(stream, problem_.n, 0.5)),
        g_(normal<M>(stream, problem_.n, 3)),
        run_{0, problem_.n, 0},
        gpu_run_(stream, sizeof(AdamWRun)),
        rates_(stream, sizeof(AdamWRates)),
        factor_(constant<double>(stream, 1, 0.5)) {
    const AdamWRates rates = adamw_rates(problem_, 1e-3, 0.05, true, 10);
    gpu_run_.set({reinterpret_cast<const std::byte*>(&run_), sizeof run_});
    rates_.set({reinterpret_cast<const std::byte*>(&rates), sizeof rates});
  }
  void run(const std::string& pass) const {
    if (pass == "ema")
      return ema_update<M>(stream_, problem_.n, factor_.data(), w_.data(), g_.data());
    adamw_step<M>(stream_, problem_, {1, &run_, reinterpret_cast<const AdamWRun*>(gpu_run_.data())},
                  reinterpret_cast<const AdamWRates*>(rates_.data()), factor_.data(), w_.data(),
                  m_.data(), v_.data(), g_.data());
  }
  std::vector<double> result(const std::string&) const {
    const std::vector<M> w = w_.host();
    return {w.begin(), w.end()};
  }

 private:
  Stream stream_;
  AdamWProblem problem_;
  Array<M> w_, m_, v_, g_;
  AdamWRun run_;
  Array<std::byte> gpu_run_, rates_;
  Array<double> factor_;
};

// Crops of CDCL: 240 pixels of 256 to 224, 160 of 256 to 112, three views an image; every element
// of the dihedral group.
template <class T, bool kLocal>
class CropViews {
 public:
  static constexpr const char* kOp = "crop_views";
  static std::vector<std::string> passes() { return {kLocal ? "local" : "global"}; }
  static int box(const Shape& s) {
    return std::max(1, s.side * (kLocal ? 10 : 15) / (kLocal ? 7 : 14));
  }
  static double bytes(const std::string&, const Shape& s) {
    return double(s.N) * s.C * box(s) * box(s) + double(s.elements()) * sizeof(T);
  }

  CropViews(Stream stream, const Shape& s)
      : stream_(stream),
        p_{.N = (s.N + 2) / 3,
           .C = s.C,
           .H = std::max(1, s.side * (kLocal ? 16 : 8) / 7),
           .W = p_.H,
           .M = s.N,
           .P = s.side,
           .ldy = stream.on_gpu() ? (s.C + 7) / 8 * 8 : s.C},  // what nn/ gives it
        planes_(stream, int64_t{p_.N} * p_.C * p_.H * p_.W),
        views_(stream, static_cast<int64_t>(p_.M) * static_cast<int64_t>(sizeof(CropView))),
        gain_(normal<float>(stream, p_.M * p_.C, 1, 1, 0.1)),
        shift_(normal<float>(stream, p_.M * p_.C, 2, 0, 0.1)),
        mean_(normal<float>(stream, p_.N * p_.C, 3, 0.1, 0.01)),
        inv_std_(normal<float>(stream, p_.N * p_.C, 4, 20, 2)),
        out_(constant<T>(stream, int64_t{p_.M} * p_.P * p_.P * p_.ldy, 0)),
        workspace_(stream, static_cast<int64_t>(
                               crop_views_workspace_bytes(stream.device, p_, kDTypeOf<T>))) {
    std::vector<uint8_t> pixels(65521);  // a prime: no two rows are alike
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * i * 31 + i);
    planes_.set(pixels);
    std::vector<CropView> views;
    for (int m = 0; m < p_.M; ++m)
      views.push_back({.image = m % p_.N,
                       .y = m % (p_.H - box(s) + 1),
                       .x = m * 7 % (p_.W - box(s) + 1),
                       .h = box(s),
                       .w = box(s),
                       .dihedral = m % 8});
    views_.set({reinterpret_cast<const std::byte*>(views.data()), views.size() * sizeof(CropView)});
  }
  void run(const std::string&) const {
    crop_views<T>(stream_, p_, planes_.data(), reinterpret_cast<const CropView*>(views_.data()),
                  gain_.data(), shift_.data(), mean_.data(), inv_std_.data(), out_.data(),
                  workspace_.bytes());
  }
  std::vector<double> result(const std::string&) const {
    const std::vector<T> all = out_.host();
    std::vector<double> out;
    for (size_t i = 0; i < all.size(); ++i)
      if (static_cast<int>(i % static_cast<size_t>(p_.ldy)) < p_.C)
        out.push_back(static_cast<double>(static_cast<Master<T>>(all[i])));
    return out;
  }

 private:
  Stream stream_;
  CropViewsProblem p_;
  Array<uint8_t> planes_;
  Array<std::byte> views_;
  Array<float> gain_, shift_, mean_, inv_std_;
  Array<T> out_;
  Array<std::byte> workspace_;
};
template <class T>
using GlobalViews = CropViews<T, false>;
template <class T>
using LocalViews = CropViews<T, true>;

template <template <class> class Operation, class T>
void bench_one(Session& session, const char* name, const Shape& shape) {
  if (!session.wants(Operation<T>::kOp)) return;
  Shape few = shape;  // for the comparison with the definition
  few.N = std::min(few.N, 2);
  few.side = std::min(few.side, session.timed() ? 17 : 9);
  few.C = std::min(few.C, 4096);
  std::unique_ptr<Operation<T>> operation;
  for (const std::string& pass : Operation<T>::passes()) {
    const std::string variant = session.stream().on_gpu() ? "tiled" : "vector";
    if (!session.wants(pass, variant, kDTypeOf<T>, name)) continue;
    Operation<double> truth(Stream{}, few);
    Operation<T> value(session.stream(), few);
    truth.run(pass);
    value.run(pass);
    if (session.timed() && !operation)
      operation = std::make_unique<Operation<T>>(session.stream(), shape);
    Row row{.op = Operation<T>::kOp,
            .name = name,
            .problem = fmt::format("n{} h{}w{} c{}", shape.N, shape.side, shape.side, shape.C),
            .pass = pass,
            .variant = variant,
            .dtype = std::string(name_of(kDTypeOf<T>))};
    row.bytes = Operation<T>::bytes(pass, shape);
    row.error = relative_error(value.result(pass), truth.result(pass));
    row.tolerance = kDTypeOf<T> == DType::bf16 ? 4e-2 : 1e-4;
    row.chosen = true;
    session.add(row, [&] { operation->run(pass); });
  }
}

}  // namespace

void bench_memory_bound(Session& session) {
  struct Case {
    const char* name;
    Shape shape;
  };
  const int N = session.options().device == Device::cuda ? 32 : 4;
  const Case images[] = {
      {"densenet161/norm0", {N, session.options().device == Device::cuda ? 256 : 64, 96}},
      {"resnet50/layer1", {N, 56, 256}}};
  const Case parameters{"densenet161/parameters", {1, 1, 28'000'000}};
  const Case deit{"deit_small/parameters", {1, 1, 22'000'000}};
  // A step of CDCL on 92 pairs has 184 and 552 views.
  const int pairs = session.options().device == Device::cuda ? 92 : 8;
  const Case global{"cdcl/global", {2 * pairs, 224, 6}}, local{"cdcl/local", {6 * pairs, 112, 6}};
  if (session.options().list) {
    for (const Case& c : images) fmt::print("batch_norm, pool, elementwise {}\n", c.name);
    fmt::print("layer_norm deit_small/norm1\ngelu deit_small/fc1\n");
    fmt::print("sgd {}\nadamw {}\ncrop_views {}\ncrop_views {}\n", parameters.name, deit.name,
               global.name, local.name);
    return;
  }
  for (const Case& c : images) {
    bench_one<BatchNorm, float>(session, c.name, c.shape);
    bench_one<BatchNorm, bf16>(session, c.name, c.shape);
    bench_one<Pool, float>(session, c.name, c.shape);
    bench_one<Pool, bf16>(session, c.name, c.shape);
    bench_one<Elementwise, float>(session, c.name, c.shape);
    bench_one<Elementwise, bf16>(session, c.name, c.shape);
  }
  const Case width{"deit_small/norm1", {2 * N, 14, 384}}, fc1{"deit_small/fc1", {2 * N, 14, 1536}};
  bench_one<LayerNorm, float>(session, width.name, width.shape);
  bench_one<LayerNorm, bf16>(session, width.name, width.shape);
  bench_one<Gelu, float>(session, fc1.name, fc1.shape);
  bench_one<Gelu, bf16>(session, fc1.name, fc1.shape);
  bench_one<Sgd, float>(session, parameters.name, parameters.shape);
  bench_one<AdamW, float>(session, deit.name, deit.shape);
  bench_one<GlobalViews, float>(session, global.name, global.shape);
  bench_one<GlobalViews, bf16>(session, global.name, global.shape);
  bench_one<LocalViews, float>(session, local.name, local.shape);
  bench_one<LocalViews, bf16>(session, local.name, local.shape);
}

}  // namespace mono::bench
