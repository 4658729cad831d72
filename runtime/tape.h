// Variables and the tape: reverse-mode differentiation in the order of execution.
//
// An operation computes its output, then records what backward needs: the tensors in `saved`, plain
// values in the captures of `fn` (enforced: they are trivially copyable), so that nothing is kept
// alive unseen and saved_bytes() is the truth. Order of execution is a topological order, so
// backward simply walks the entries from the last to the first and releases each as it is consumed.
// Without a tape nothing is recorded: that is inference.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "runtime/parameter_arena.h"
#include "runtime/tensor.h"

namespace mono {

// The gradient of one variable while backward runs; empty until its first contribution.
struct GradSlot {
  Shape shape;
  DType dtype;
  Device device;
  Tensor grad;
};

// A Tensor, its gradient slot, and whether a gradient is wanted.
class Variable {
 public:
  Variable() = default;
  explicit Variable(Tensor value, bool requires_grad = false) : value_(std::move(value)) {
    if (requires_grad)
      slot_ = std::make_shared<GradSlot>(
          GradSlot{value_.shape(), value_.dtype(), value_.device(), Tensor()});
  }

  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  DType dtype() const { return value_.dtype(); }
  bool defined() const { return value_.defined(); }
  bool requires_grad() const { return slot_ != nullptr; }
  // Undefined until backward has reached this variable, and again after an operation consumed it.
  Tensor grad() const { return slot_ ? slot_->grad : Tensor(); }
  // Sets the gradient that backward starts from.
  void seed_grad(const Tensor& grad) const;

 private:
  friend class Tape;
  Tensor value_;
  std::shared_ptr<GradSlot> slot_;
};

class Backward;

class Tape {
 public:
  Tape() = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // Records one operation. `op` is a string literal. Undefined inputs and inputs that want no
  // gradient may be given; fn is called as fn(Backward&) if a gradient reached an output.
  template <class F>
  void record(const char* op, std::initializer_list<Variable> inputs,
              std::initializer_list<Variable> outputs, std::vector<Tensor> saved, F fn) {
    static_assert(std::is_trivially_copyable_v<F>,
                  "backward captures plain values only; tensors go into `saved`");
    static_assert(sizeof(F) <= kCaptureBytes && alignof(F) <= alignof(std::max_align_t));
    std::array<std::byte, kCaptureBytes> captures{};
    std::memcpy(captures.data(), &fn, sizeof(F));
    push(op, inputs, outputs, std::move(saved), captures, [](const std::byte* raw, Backward& b) {
      alignas(F) std::byte copy[sizeof(F)];
      std::memcpy(copy, raw, sizeof(F));
      (*std::launder(reinterpret_cast<F*>(copy)))(b);
    });
  }

  // Announces that an entry will contribute once to the gradient of each parameter (null: none),
  // and say so by Backward::done: a gradient is final when every announced contribution has come.
  void writes(std::initializer_list<const Parameter*> parameters) {
    for (const Parameter* p : parameters)
      if (p) ++contributions_[p];
  }

  // Runs every entry from the last to the first. Seed the gradients of the results first
  // (Variable::seed_grad). Throws if a saved tensor was written since. The tape is empty after it.
  void backward(GradSink* sink = nullptr);

  size_t entries() const { return entries_.size(); }
  // Bytes that the entries keep alive for backward, by operation; a storage counts once.
  std::map<std::string, int64_t> saved_bytes() const;

  // What ran, in order: the operations and the shapes of those of their outputs that want a
  // gradient. For diagrams of a model.
  struct Step {
    std::string op;
    std::vector<Shape> outputs;
  };
  std::vector<Step> steps() const;

 private:
  friend class Backward;
  static constexpr size_t kCaptureBytes = 192;
  using Run = void (*)(const std::byte*, Backward&);

  struct Saved {
    Tensor tensor;
    uint64_t version;
  };
  struct Entry {
    const char* op;
    std::vector<std::shared_ptr<GradSlot>> inputs, outputs;  // null: no gradient wanted
    std::vector<Saved> saved;
    alignas(std::max_align_t) std::array<std::byte, kCaptureBytes> captures;
    Run run;
  };

  void push(const char* op, std::initializer_list<Variable> inputs,
            std::initializer_list<Variable> outputs, std::vector<Tensor> saved,
            const std::array<std::byte, kCaptureBytes>& captures, Run run);

  void contributed(const Parameter& parameter, GradSink* sink);

  std::vector<Entry> entries_;
  std::map<const Parameter*, int> contributions_;  // still to come
};

// What an entry's backward function sees.
class Backward {
 public:
  const Tensor& saved(size_t i) const { return entry_.saved.at(i).tensor; }
  // The gradient that reached output i; undefined if none did. May be overwritten: it is consumed.
  Tensor grad(size_t output = 0) const;
  bool wants(size_t input) const { return entry_.inputs.at(input) != nullptr; }

  // Where input i's gradient goes: a packed tensor of its shape, to be overwritten by the first
  // contribution and accumulated by later ones. ignore, undefined tensor: not wanted.
  struct Target {
    Tensor tensor;
    GradMode mode = GradMode::ignore;
  };
  Target target(size_t input);

  // Gives a gradient that this entry has no more use for (its output's own, passed on unchanged) to
  // input i, without a copy, if it is the first contribution. False: add it to target(i).
  bool hand_over(size_t input, const Tensor& grad);

  // Where a parameter's gradient goes, and the call that says that this contribution is made.
  ParameterArena::GradTarget gradient(const Parameter& parameter) {
    return parameter.arena->gradient(parameter);
  }
  void done(const Parameter& parameter) { tape_.contributed(parameter, sink_); }

 private:
  friend class Tape;
  Backward(Tape& tape, Tape::Entry& entry, GradSink* sink)
      : tape_(tape), entry_(entry), sink_(sink) {}
  Tape& tape_;
  Tape::Entry& entry_;
  GradSink* sink_;
};

}  // namespace mono
