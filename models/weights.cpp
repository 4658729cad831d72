#include "models/weights.h"

#include <algorithm>
#include <map>

namespace mono {
namespace {

std::vector<int64_t> pytorch_shape(const Shape& s) {
  if (s.rank() == 4) return {s[0], s[3], s[1], s[2]};
  std::vector<int64_t> shape;
  for (int i = 0; i < s.rank(); ++i) shape.push_back(s[i]);
  return shape;
}

// Calls f(index in KRSC, index in KCRS) for every element of a filter; identity for other ranks.
template <class F>
void for_each_element(const Shape& s, F f) {
  if (s.rank() != 4) {
    for (int64_t i = 0; i < s.elements(); ++i) f(i, i);
    return;
  }
  const int64_t K = s[0], RS = int64_t{s[1]} * s[2], C = s[3];
  for (int64_t k = 0; k < K; ++k)
    for (int64_t rs = 0; rs < RS; ++rs)
      for (int64_t c = 0; c < C; ++c) f((k * RS + rs) * C + c, (k * C + c) * RS + rs);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? "," : "") + std::to_string(shape[i]);
  return text + ")";
}

// torchvision's first DenseNets called norm1 "norm.1"; files of that time are still about.
std::string modern_name(const std::string& name) {
  std::string out = name;
  for (const char* word : {"norm.", "conv."}) {
    const size_t at = out.find(std::string("denselayer"));
    if (at == std::string::npos) continue;
    const size_t dotted = out.find(word, at);
    if (dotted != std::string::npos && dotted + 5 < out.size() && std::isdigit(out[dotted + 5]))
      out.erase(dotted + 4, 1);
  }
  return out;
}

// The values of an entry as doubles.
std::vector<double> read_values(const SafetensorsFile& file, const SafetensorsEntry& entry) {
  if (entry.dtype == "F64") return file.values<double>(entry.name);
  if (entry.dtype != "F32")
    fail(ErrorKind::data, "{}: tensor '{}' is {}; weights must be F32 or F64", file.path(),
         entry.name, entry.dtype);
  const std::vector<float> values = file.values<float>(entry.name);
  return {values.begin(), values.end()};
}

// Widens or narrows a (K,C_file,R,S) filter to C channels.
std::vector<double> repeat_channels(const std::vector<double>& from,
                                    const std::vector<int64_t>& shape, int64_t C, StemRule rule) {
  const int64_t K = shape[0], C_file = shape[1], RS = shape[2] * shape[3];
  const double scale =
      rule == StemRule::repeat ? static_cast<double>(C_file) / static_cast<double>(C) : 1;
  std::vector<double> out(static_cast<size_t>(K * C * RS));
  for (int64_t k = 0; k < K; ++k)
    for (int64_t c = 0; c < C; ++c)
      for (int64_t i = 0; i < RS; ++i)
        out[(k * C + c) * RS + i] = from[(k * C_file + c % C_file) * RS + i] * scale;
  return out;
}

// The columns of a layer, where the table is.
Tensor columns_of(const Tensor& table, const NormLayer& layer) {
  return table.reshape({static_cast<int>(table.elements())}).range(layer.offset, {layer.channels});
}

// Parameters and buffers whose names begin with `prefix`, from a file that calls them without it.
void load_part(Model& model, const SafetensorsFile& file, StemRule rule, std::string_view prefix);

}  // namespace

NamedTensor to_pytorch(const ParameterArena& arena, const Tensor& array, const Parameter& parameter,
                       const std::string& name) {
  const Tensor piece = arena.view(array, parameter).to(Device::cpu);
  const Tensor values = Tensor::empty({static_cast<int>(parameter.elements())}, array.dtype());
  dispatch_master(array.dtype(), [&]<class M>() {
    for_each_element(parameter.shape,
                     [&, from = piece.data<M>(), to = values.data<M>()](
                         int64_t ours, int64_t theirs) { to[theirs] = from[ours]; });
  });
  return {name, pytorch_shape(parameter.shape), values};
}

void from_pytorch(const ParameterArena& arena, const Tensor& array, const Parameter& parameter,
                  const Tensor& values) {
  const Tensor piece = arena.view(array, parameter);
  MONO_CHECK(values.elements() == piece.elements(), "{}: {} values for {}", parameter.name,
             values.elements(), piece.to_string());
  const Tensor ours = Tensor::empty(piece.shape(), array.dtype());
  dispatch_master(array.dtype(), [&]<class M>() {
    for_each_element(parameter.shape, [from = values.data<M>(), to = ours.data<M>()](
                                          int64_t at, int64_t theirs) { to[at] = from[theirs]; });
  });
  piece.copy_from(ours);
}

std::vector<NamedTensor> running_statistics(const Model& model, const std::string& prefix) {
  const Tensor mean = model.running().mean().to(Device::cpu);
  const Tensor variance = model.running().variance().to(Device::cpu);
  std::vector<NamedTensor> tensors;
  for (const NormLayer& layer : model.norms().layers()) {
    const std::vector<int64_t> shape = {layer.channels};
    tensors.push_back({prefix + layer.name + ".running_mean", shape, columns_of(mean, layer)});
    tensors.push_back({prefix + layer.name + ".running_var", shape, columns_of(variance, layer)});
  }
  return tensors;
}

std::vector<NamedTensor> state_dict(const Model& model) {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : model.arena().parameters())
    tensors.push_back(to_pytorch(model.arena(), model.arena().weights(), p, p.name));
  for (NamedTensor& tensor : running_statistics(model, "")) tensors.push_back(std::move(tensor));
  return tensors;
}

std::vector<SafetensorsTensor> as_safetensors(const std::vector<NamedTensor>& tensors) {
  std::vector<SafetensorsTensor> out;
  for (const NamedTensor& t : tensors)
    out.push_back({t.name,
                   t.values.dtype() == DType::f64 ? "F64" : "F32",
                   t.shape,
                   {t.values.raw(), static_cast<size_t>(t.values.bytes())}});
  return out;
}

void load_weights(Model& model, const SafetensorsFile& file, StemRule rule) {
  load_part(model, file, rule, "");
}

void load_backbone(Model& model, const SafetensorsFile& file, StemRule rule) {
  load_part(model, file, rule, "backbone.");
}

namespace {

void load_part(Model& model, const SafetensorsFile& file, StemRule rule, std::string_view prefix) {
  // Modern name -> entry, buffers that nobody reads left out.
  std::map<std::string, const SafetensorsEntry*> unread;
  const auto is_head = [&](const std::string& name) {
    return !prefix.empty() && (name.starts_with("classifier.") || name.starts_with("fc.") ||
                               name.starts_with("head."));
  };
  for (const SafetensorsEntry& entry : file.entries())
    if (!entry.name.ends_with("num_batches_tracked") && !is_head(entry.name))
      if (!unread.emplace(modern_name(entry.name), &entry).second)
        fail(ErrorKind::data, "{}: tensor '{}' is there twice, once by its old dotted name",
             file.path(), modern_name(entry.name));

  std::vector<std::string> problems;
  const Parameter* stem = nullptr;  // the first convolution
  for (const Parameter& p : model.arena().parameters())
    if (p.shape.rank() == 4) {
      stem = &p;
      break;
    }

  const auto take = [&](const std::string& name, const std::vector<int64_t>& shape,
                        bool is_stem) -> std::vector<double> {
    const auto found = unread.find(name);
    if (found == unread.end()) {
      problems.push_back(fmt::format("missing '{}' {}", name, shape_text(shape)));
      return {};
    }
    const SafetensorsEntry& entry = *found->second;
    unread.erase(found);
    if (entry.shape == shape) return read_values(file, entry);
    const bool other_channels = is_stem && entry.shape.size() == 4 && entry.shape[0] == shape[0] &&
                                entry.shape[2] == shape[2] && entry.shape[3] == shape[3] &&
                                entry.shape[1] > 0;
    if (rule != StemRule::exact && other_channels)
      return repeat_channels(read_values(file, entry), entry.shape, shape[1], rule);
    problems.push_back(fmt::format("'{}' is {} in the file, {} in the model", name,
                                   shape_text(entry.shape), shape_text(shape)));
    return {};
  };

  // Everything is read and checked before anything is written: an error leaves the model as it was.
  struct Write {
    Tensor to;
    std::vector<double> values;
    Shape layout;
  };
  std::vector<Write> writes;
  for (const Parameter& p : model.arena().parameters())
    if (p.name.starts_with(prefix))
      writes.push_back({model.arena().view(model.arena().weights(), p),
                        take(p.name.substr(prefix.size()), pytorch_shape(p.shape), &p == stem),
                        p.shape});
  const auto write_buffer = [&](const Tensor& table, const NormLayer& layer, const char* buffer) {
    const std::string name = layer.name + buffer;
    if (name.starts_with(prefix))
      writes.push_back({columns_of(table, layer),
                        take(name.substr(prefix.size()), {layer.channels}, false),
                        {layer.channels}});
  };
  for (const NormLayer& layer : model.norms().layers()) {
    write_buffer(model.running().mean(), layer, ".running_mean");
    write_buffer(model.running().variance(), layer, ".running_var");
  }
  for (const auto& [name, entry] : unread)
    problems.push_back(fmt::format("unknown '{}' {}", entry->name, shape_text(entry->shape)));
  if (!problems.empty()) {
    std::string list;
    const size_t shown = std::min<size_t>(problems.size(), 20);
    for (size_t i = 0; i < shown; ++i) list += "\n  " + problems[i];
    if (shown < problems.size())
      list += fmt::format("\n  ... and {} more", problems.size() - shown);
    fail(ErrorKind::data,
         "{}: the weights do not fit the model, {} differences (is --model, --channels or "
         "--classes another one?):{}",
         file.path(), problems.size(), list);
  }
  for (const Write& write : writes)
    dispatch_master(write.to.dtype(), [&]<class M>() {
      const Tensor ours = Tensor::empty(write.to.shape(), kDTypeOf<M>);
      for_each_element(write.layout, [&, to = ours.data<M>()](int64_t at, int64_t theirs) {
        to[at] = static_cast<M>(write.values[static_cast<size_t>(theirs)]);
      });
      write.to.copy_from(ours);
    });
  model.arena().weights_changed();
}

}  // namespace

}  // namespace mono
