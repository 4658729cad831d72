#include "runtime/parameter_arena.h"

#include <cmath>

#include "kernels/base/philox.h"

namespace mono {
namespace {

constexpr int64_t kAlignmentBytes = 256;

double draw_scale(const Parameter& p) {
  const double fan_in = p.fan_in ? p.fan_in : static_cast<double>(p.elements()) / p.shape[0];
  const double fan_out =
      p.shape.rank() == 4 ? double(p.shape[0]) * p.shape[1] * p.shape[2] : double(p.shape[0]);
  switch (p.init) {
    case Init::kaiming_normal_fan_in:
      return std::sqrt(2.0 / fan_in);
    case Init::kaiming_normal_fan_out:
      return std::sqrt(2.0 / fan_out);
    case Init::linear_uniform:
      return 1.0 / std::sqrt(fan_in);
    case Init::truncated_normal_02:
      return 0.02;
    default:
      return 0.0;
  }
}

uint32_t hash_of(std::string_view name) {  // FNV-1a: identifies a parameter's random stream
  uint32_t hash = 2166136261u;
  for (char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash;
}

template <class M>
void draw(const Parameter& p, uint64_t seed, M* w) {
  Philox random(seed, Purpose::initialisation, hash_of(p.name));
  const double scale = draw_scale(p);
  for (int64_t i = 0; i < p.elements(); ++i) {
    double value = 0;
    switch (p.init) {
      case Init::zeros:
        break;
      case Init::ones:
        value = 1;
        break;
      case Init::linear_uniform:
        value = scale * (2 * random.uniform() - 1);
        break;
      default:
        value = scale * random.normal();
    }
    // Rounded to float in every case, so that float and double runs start from the same weights.
    w[i] = static_cast<M>(static_cast<float>(value));
  }
}

}  // namespace

Parameter& ParameterArena::add(std::string name, const Shape& shape, Init init,
                               bool is_norm_or_bias, int fan_in) {
  MONO_CHECK(!weights_.defined(), "parameter '{}' registered after allocate()", name);
  MONO_CHECK(!find(name), "parameter '{}' registered twice", name);
  Parameter p;
  p.name = std::move(name);
  p.shape = shape;
  p.init = init;
  p.is_norm_or_bias = is_norm_or_bias;
  p.fan_in = fan_in;
  p.index = static_cast<int>(parameters_.size());
  p.arena = this;
  return parameters_.emplace_back(std::move(p));
}

void ParameterArena::allocate(DType master, Device device) {
  MONO_CHECK(master == DType::f32 || master == DType::f64, "masters are f32 or f64, not {}",
             name_of(master));
  master_ = master;
  const int64_t alignment = kAlignmentBytes / static_cast<int64_t>(size_of(master));
  size_ = 0;
  for (auto p = parameters_.rbegin(); p != parameters_.rend(); ++p) {
    p->offset = size_;
    size_ += (p->elements() + alignment - 1) / alignment * alignment;
  }
  MONO_CHECK(size_ <= INT32_MAX, "an arena of {} elements", size_);
  weights_ = Tensor::zeros({static_cast<int>(size_)}, master, device);
  written_.assign(parameters_.size(), false);
}

const Parameter* ParameterArena::find(std::string_view name) const {
  for (const Parameter& p : parameters_)
    if (p.name == name) return &p;
  return nullptr;
}

Tensor ParameterArena::new_array() const {
  return Tensor::zeros({static_cast<int>(size_)}, master_, weights_.device());
}

Tensor ParameterArena::view(const Tensor& array, const Parameter& parameter) const {
  return array.range(parameter.offset, parameter.shape);
}

void ParameterArena::initialise(uint64_t seed) {
  const Tensor drawn = Tensor::zeros(weights_.shape(), master_);  // padding stays zero
  dispatch_master(master_, [&]<class M>() {
    for (const Parameter& p : parameters_) draw(p, seed, drawn.data<M>() + p.offset);
  });
  weights_.copy_from(drawn);
  weights_changed();
}

void ParameterArena::begin_gradients(const Tensor& array) {
  MONO_CHECK(array.elements() == size_, "gradient array of {} elements for an arena of {}",
             array.elements(), size_);
  gradients_ = array;
  written_.assign(parameters_.size(), false);
}

ParameterArena::GradTarget ParameterArena::gradient(const Parameter& parameter) {
  MONO_CHECK(gradients_.defined(), "a backward pass without begin_gradients ('{}')",
             parameter.name);
  const GradMode mode = written_[parameter.index] ? GradMode::accumulate : GradMode::overwrite;
  written_[parameter.index] = true;
  return {view(gradients_, parameter), mode};
}

void ParameterArena::finish_gradients() {
  for (const Parameter& p : parameters_)
    if (!written_[p.index]) view(gradients_, p).zero();
  gradients_ = Tensor();
}

}  // namespace mono
