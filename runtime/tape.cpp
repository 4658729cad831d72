#include "runtime/tape.h"

#include <set>

namespace mono {

void Variable::seed_grad(const Tensor& grad) const {
  MONO_CHECK(slot_, "seed_grad of a variable that wants no gradient");
  if (grad.shape() != value_.shape() || grad.dtype() != value_.dtype() ||
      grad.device() != value_.device())
    fail(ErrorKind::internal, "gradient {} does not fit the value {}", grad.to_string(),
         value_.to_string());
  slot_->grad = grad;
}

void Tape::push(const char* op, std::initializer_list<Variable> inputs,
                std::initializer_list<Variable> outputs, std::vector<Tensor> saved,
                const std::array<std::byte, kCaptureBytes>& captures, Run run) {
  Entry entry{op, {}, {}, {}, captures, run};
  for (const Variable& input : inputs) entry.inputs.push_back(input.slot_);
  for (const Variable& output : outputs) entry.outputs.push_back(output.slot_);
  for (Tensor& tensor : saved) {
    const uint64_t version = tensor.defined() ? tensor.version() : 0;
    entry.saved.push_back({std::move(tensor), version});
  }
  entries_.push_back(std::move(entry));
}

void Tape::backward(GradSink* sink) {
  while (!entries_.empty()) {
    Entry entry = std::move(entries_.back());
    entries_.pop_back();
    bool reached = false;
    for (const auto& slot : entry.outputs) reached |= slot && slot->grad.defined();
    if (!reached) continue;
    for (size_t i = 0; i < entry.saved.size(); ++i) {
      const Saved& saved = entry.saved[i];
      if (saved.tensor.defined() && saved.tensor.version() != saved.version)
        fail(ErrorKind::internal,
             "backward of {}: saved tensor {} ({}) was written after it was saved (version {}, "
             "now {}); an operation works in place on something that backward needs",
             entry.op, i, saved.tensor.to_string(), saved.version, saved.tensor.version());
    }
    Backward context(*this, entry, sink);
    entry.run(entry.captures.data(), context);
    for (const auto& slot : entry.outputs)
      if (slot) slot->grad = Tensor();
  }
  contributions_.clear();  // of entries that no gradient reached
}

void Tape::contributed(const Parameter& parameter, GradSink* sink) {
  int& left = contributions_[&parameter];
  MONO_CHECK(left > 0, "'{}' gets a gradient that nobody announced", parameter.name);
  if (--left == 0 && sink) sink->done(parameter);
}

std::vector<Tape::Step> Tape::steps() const {
  std::vector<Step> steps;
  for (const Entry& entry : entries_) {
    Step& step = steps.emplace_back(Step{entry.op, {}});
    for (const std::shared_ptr<GradSlot>& output : entry.outputs)
      if (output) step.outputs.push_back(output->shape);
  }
  return steps;
}

std::map<std::string, int64_t> Tape::saved_bytes() const {
  std::map<std::string, int64_t> bytes;
  std::set<const Storage*> seen;
  for (const Entry& entry : entries_)
    for (const Saved& saved : entry.saved)
      if (saved.tensor.defined() && seen.insert(saved.tensor.storage()).second)
        bytes[entry.op] += static_cast<int64_t>(saved.tensor.storage()->bytes());
  return bytes;
}

Tensor Backward::grad(size_t output) const {
  const auto& slot = entry_.outputs.at(output);
  return slot ? slot->grad : Tensor();
}

Backward::Target Backward::target(size_t input) {
  const auto& slot = entry_.inputs.at(input);
  if (!slot) return {};
  if (slot->grad.defined()) return {slot->grad, GradMode::accumulate};
  slot->grad = Tensor::empty(slot->shape, slot->dtype, slot->device);
  return {slot->grad, GradMode::overwrite};
}

bool Backward::hand_over(size_t input, const Tensor& grad) {
  const auto& slot = entry_.inputs.at(input);
  if (!slot) return true;
  MONO_CHECK(grad.shape() == slot->shape && grad.dtype() == slot->dtype,
             "the gradient {} does not fit its variable", grad.to_string());
  if (slot->grad.defined()) return false;
  slot->grad = grad;
  return true;
}

}  // namespace mono
