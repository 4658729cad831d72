// The losses of a CDCL step and the layers of its head, at the paper's size: 92 pairs of images,
// two views for the teacher and eight for the student, 4,096 outputs, 24 domains.
#include <fmt/core.h>

#include <memory>

#include "kernels/barlow/barlow.h"
#include "kernels/dino/dino.h"
#include "kernels/domain_centring/domain_centring.h"
#include "kernels/l2_normalise/l2_normalise.h"
#include "kernels/weight_norm/weight_norm.h"
#include "tools/bench_kernels/bench.h"

namespace mono::bench {
namespace {

struct Size {
  int B, K, views, bottleneck, domains;
  int64_t student() const { return int64_t{views} * B * K; }
  int64_t teacher() const { return int64_t{2} * B * K; }
  int64_t rows() const { return int64_t{views} * B * bottleneck; }
  int64_t weights() const { return int64_t{K} * bottleneck; }
};
constexpr Size kPaper{92, 4096, 8, 512, 24};

struct Case {
  const char *op, *pass, *variant;
};
constexpr Case kCases[] = {
    {"domain_centring", "centre", "rows"}, {"domain_centring", "update", "columns"},
    {"dino", "softmax", "rows"},           {"dino", "forward", "rows"},
    {"dino", "backward", "rows"},          {"barlow", "forward", "gram"},
    {"barlow", "forward", "direct"},       {"barlow", "backward", "columns"},
    {"l2_normalise", "forward", "rows"},   {"l2_normalise", "backward", "rows"},
    {"weight_norm", "forward", "rows"},    {"weight_norm", "backward", "rows"},
};

ViewPairs all_pairs(int views) {
  ViewPairs pairs;
  pairs.views = views;
  for (int v = 0; v < views; ++v)
    for (int i = 0; i < 2; ++i)
      if (v != i) pairs.add(i, v);
  return pairs;
}

// The operands of all of them, in the order in which a step uses them.
template <class T>
class Step {
 public:
  using M = Master<T>;

  Step(Stream stream, const Size& size)
      : stream_(stream),
        size_(size),
        pairs_(all_pairs(size.views)),
        temperature_(constant<double>(stream, 1, 0.1)),
        domain_of_row_(stream, 2 * size.B),
        shares_(constant<double>(stream, size.domains, 1.0 / size.domains)),
        centres_(normal<M>(stream, int64_t{size.domains} * size.K, 1)),
        teacher_(normal<T>(stream, size.teacher(), 2)),
        centred_(normal<M>(stream, size.teacher(), 3)),
        probabilities_(constant<M>(stream, size.teacher(), 1.0 / size.K)),
        student_(normal<T>(stream, size.student(), 4, 0, 0.25)),
        dstudent_(constant<T>(stream, size.student(), 0)),
        losses_(constant<M>(stream, int64_t{size.views} * size.B, 0)),
        softmax_(stream, int64_t{2} * size.views * size.B),
        gradient_(normal<M>(stream, size.student(), 5)),
        mean_(constant<M>(stream, int64_t{size.views} * size.K, 0)),
        inverse_deviation_(constant<M>(stream, int64_t{size.views} * size.K, 1)),
        x_(normal<T>(stream, size.rows(), 6)),
        y_(constant<T>(stream, size.rows(), 0)),
        norms_(constant<M>(stream, std::max(size.K, size.views * size.B), 3)),
        v_(normal<M>(stream, size.weights(), 7)),
        dw_(normal<M>(stream, size.weights(), 8)),
        w_(constant<M>(stream, size.weights(), 0)),
        g_(constant<M>(stream, size.K, 1)) {
    std::vector<int> ids(static_cast<size_t>(2 * size.B));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int>(i * 7) % size.domains;
    domain_of_row_.set(ids);
    softmax_.set(std::vector<M>{M(1), static_cast<M>(1.0 / size.K)});
    barlow_.B = size.B;
    barlow_.K = size.K;
    barlow_.pairs = pairs_;
  }

  double flops(const Case& c) const {
    if (std::string_view(c.op) != "barlow" || std::string_view(c.pass) != "forward") return 0;
    const double B = size_.B, K = size_.K;
    return std::string_view(c.variant) == "gram" ? 2 * (2 + size_.views) * B * B * K
                                                 : 2.0 * 2 * 2 * size_.views * B * K * K;
  }
  // Each operand once.
  double bytes(const Case& c) const {
    const std::string_view op = c.op, pass = c.pass;
    const double T1 = sizeof(T), M1 = sizeof(M), student = double(size_.student()),
                 teacher = double(size_.teacher()), rows = double(size_.rows()),
                 weights = double(size_.weights());
    if (op == "domain_centring") return teacher * (pass == "centre" ? T1 + M1 : T1);
    if (op == "dino")
      return pass == "softmax"   ? 2 * teacher * M1
             : pass == "forward" ? student * T1 + teacher * M1
                                 : 2 * student * T1 + teacher * M1;
    if (op == "barlow")
      return pass == "forward" ? student * (T1 + M1) + teacher * M1 : student * (2 * T1 + M1);
    if (op == "l2_normalise") return rows * T1 * (pass == "forward" ? 2 : 3);
    return weights * M1 * (pass == "forward" ? 2 : 3);
  }

  void run(const Case& c) {
    const std::string_view op = c.op, pass = c.pass;
    const int rows = size_.views * size_.B, width = size_.bottleneck;
    if (op == "domain_centring" && pass == "centre") {
      centre_rows<T>(stream_,
                     {2 * size_.B, size_.K, size_.domains, teacher_.data(), centres_.data(),
                      domain_of_row_.data(), temperature_.data(), centred_.data()});
    } else if (op == "domain_centring") {
      update_centres<T>(stream_, {2 * size_.B, size_.K, size_.domains, teacher_.data(),
                                  domain_of_row_.data(), shares_.data(), 0.9, 10, centres_.data()});
    } else if (op == "dino" && pass == "softmax") {
      softmax_rows<M>(stream_, 2 * size_.B, size_.K, centred_.data(), probabilities_.data());
    } else if (op == "dino" && pass == "forward") {
      dino_forward<T>(stream_, dino(), losses_.data(), softmax_.data());
    } else if (op == "dino") {
      dino_backward<T>(stream_, dino(), softmax_.data(), 1, dstudent_.data(), GradMode::overwrite);
    } else if (op == "barlow" && pass == "forward") {
      const BarlowVariant variant =
          std::string_view(c.variant) == "gram" ? BarlowVariant::gram : BarlowVariant::direct;
      const size_t bytes = barlow_workspace_bytes(stream_.device, variant, barlow_, kDTypeOf<T>);
      if (static_cast<size_t>(workspace_.size()) < bytes)
        workspace_ = Array<std::byte>(stream_, static_cast<int64_t>(bytes));
      barlow_forward<T>(stream_, variant, barlow_,
                        {centred_.data(), student_.data(), temperature_.data(), losses_.data(),
                         gradient_.data(), mean_.data(), inverse_deviation_.data()},
                        workspace_.bytes());
    } else if (op == "barlow") {
      barlow_backward<T>(stream_, barlow_,
                         {student_.data(), temperature_.data(), gradient_.data(), mean_.data(),
                          inverse_deviation_.data(), 1, dstudent_.data(), GradMode::overwrite});
    } else if (op == "l2_normalise" && pass == "forward") {
      l2_normalise_forward<T>(stream_, rows, width, 1e-12, x_.data(), y_.data(), norms_.data());
    } else if (op == "l2_normalise") {
      l2_normalise_backward<T>(stream_, rows, width, 1e-12, x_.data(), norms_.data(), x_.data(),
                               y_.data(), GradMode::overwrite);
    } else if (pass == "forward") {
      weight_norm_forward<M>(stream_, size_.K, width, v_.data(), g_.data(), w_.data(),
                             norms_.data());
    } else {
      weight_norm_backward<M>(stream_, size_.K, width,
                              {.v = v_.data(),
                               .g = g_.data(),
                               .norms = norms_.data(),
                               .dw = dw_.data(),
                               .dv = w_.data()});
    }
  }

  std::vector<double> result(const Case& c) const {
    const std::string_view op = c.op, pass = c.pass;
    if (op == "domain_centring") return doubles(pass == "centre" ? centred_ : centres_);
    if (op == "dino" && pass == "softmax") return doubles(probabilities_);
    if (op == "dino" && pass == "forward") return doubles(losses_);
    if (op == "barlow" && pass == "forward") return doubles(gradient_);
    if (op == "dino" || op == "barlow") return doubles(dstudent_);
    return op == "l2_normalise" ? doubles(y_) : doubles(w_);
  }

 private:
  DinoLoss<T> dino() const {
    DinoLoss<T> args;
    args.B = size_.B;
    args.K = size_.K;
    args.pairs = pairs_;
    args.student = student_.data();
    args.temperature = temperature_.data();
    args.teacher = probabilities_.data();
    return args;
  }
  template <class U>
  static std::vector<double> doubles(const Array<U>& array) {
    std::vector<double> out;
    for (const U v : array.host()) out.push_back(static_cast<double>(static_cast<Master<U>>(v)));
    return out;
  }

  Stream stream_;
  Size size_;
  ViewPairs pairs_;
  BarlowProblem barlow_;
  Array<double> temperature_;
  Array<int> domain_of_row_;
  Array<double> shares_;
  Array<M> centres_;
  Array<T> teacher_;
  Array<M> centred_, probabilities_;
  Array<T> student_, dstudent_;
  Array<M> losses_, softmax_, gradient_, mean_, inverse_deviation_;
  Array<T> x_, y_;
  Array<M> norms_, v_, dw_, w_, g_;
  Array<std::byte> workspace_;
};

template <class T>
void bench_step(Session& session) {
  constexpr Size kFew{7, 130, 4, 60, 5};  // for the comparison with the definition
  std::unique_ptr<Step<T>> step;
  for (const Case& c : kCases) {
    if (!session.wants(c.op) || !session.wants(c.pass, c.variant, kDTypeOf<T>, "cdcl")) continue;
    if (kDTypeOf<T> == DType::bf16 && std::string_view(c.op) == "weight_norm") continue;  // masters
    const bool direct = std::string_view(c.variant) == "direct";
    if (direct && session.options().variant.empty()) continue;  // 100 times the work
    Step<double> truth(Stream{}, kFew);
    Step<T> value(session.stream(), kFew);
    truth.run(c);
    value.run(c);
    Row row{.op = c.op,
            .name = "cdcl",
            .problem = fmt::format("b{} v{} k{}", kPaper.B, kPaper.views, kPaper.K),
            .pass = c.pass,
            .variant = c.variant,
            .dtype = std::string(name_of(kDTypeOf<T>))};
    if (session.timed() && !step) step = std::make_unique<Step<T>>(session.stream(), kPaper);
    if (step) {
      row.flops = step->flops(c);
      row.bytes = step->bytes(c);
    }
    row.error = relative_error(value.result(c), truth.result(c));
    row.tolerance = kDTypeOf<T> == DType::bf16 ? 4e-2 : 1e-4;
    row.chosen = !direct;
    session.add(row, [&] { step->run(c); });
  }
}

}  // namespace

void bench_view_losses(Session& session) {
  if (session.options().list) {
    fmt::print("domain_centring, dino, barlow, l2_normalise, weight_norm cdcl\n");
    return;
  }
  bench_step<float>(session);
  bench_step<bf16>(session);
}

}  // namespace mono::bench
