// `train_rxrx forward`: runs any registered model on tensors from a file, so that any outside
// program can check the engine.
//
// X holds x (N,C,H,W), with --backward also dy (and dbatch for the paper's classifier's second
// output, optional), and optionally domain (N). Y receives y (and batch), grad.x, grad.<parameter>,
// and in train mode buffer.<name>; float64 under f64, else float32. Layouts are PyTorch's.

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "kernels/base/suggest.h"
#include "models/registry.h"
#include "models/weights.h"
#include "nn/functional/augmentation.h"
#include "nn/functional/precision.h"
#include "train/commands.h"
#include "train/device.h"

namespace mono {
namespace {

constexpr double kMomentum = 0.1;  // torchvision's

DType parse_precision(const std::string& name) {
  if (name == "f32") return DType::f32;
  if (name == "bf16") return DType::bf16;
  if (name == "f64") return DType::f64;
  fail(ErrorKind::usage, "unknown precision '{}'; expected f32, bf16 or f64", name);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("({})", fmt::join(shape, ","));
}

// A float tensor of the file, widened to double.
std::vector<double> read_floats(const SafetensorsFile& file, const std::string& name) {
  const SafetensorsEntry& entry = file.entry(name);
  if (entry.dtype == "F64") return file.values<double>(name);
  if (entry.dtype != "F32")
    fail(ErrorKind::data, "{}: tensor '{}' is {}; expected F32 or F64", file.path(), name,
         entry.dtype);
  const std::vector<float> values = file.values<float>(name);
  return {values.begin(), values.end()};
}

// Images sorted by domain, and the runs that they form.
struct Domains {
  std::vector<int> order;    // sorted position -> position in the file
  std::vector<int> offsets;  // of the segments
};

Domains read_domains(const SafetensorsFile& file, int images, bool train) {
  Domains domains;
  domains.order.resize(images);
  std::iota(domains.order.begin(), domains.order.end(), 0);
  domains.offsets = {0};
  if (file.find("domain")) {
    const SafetensorsEntry& entry = file.entry("domain");
    if (!train)
      fail(ErrorKind::usage, "{}: 'domain' has a meaning in --mode train only", file.path());
    if (entry.shape != std::vector<int64_t>{images})
      fail(ErrorKind::data, "{}: 'domain' is {}, but there are {} images", file.path(),
           shape_text(entry.shape), images);
    const std::vector<int32_t> domain = file.values<int32_t>("domain");
    std::ranges::stable_sort(domains.order, {}, [&](int i) { return domain[i]; });
    for (int i = 1; i < images; ++i)
      if (domain[domains.order[i]] != domain[domains.order[i - 1]]) domains.offsets.push_back(i);
    for (size_t s = 0; s < domains.offsets.size(); ++s) {
      const int begin = domains.offsets[s];
      const int end = s + 1 < domains.offsets.size() ? domains.offsets[s + 1] : images;
      if (end - begin < 2)
        fail(ErrorKind::data, "{}: domain {} has a single image; batch norm needs at least two",
             file.path(), domain[domains.order[begin]]);
    }
  }
  domains.offsets.push_back(images);
  return domains;
}

// (N,C,H,W) doubles in file order -> NHWC tensor in sorted order, on the device.
Tensor to_images(const std::vector<double>& values, const std::vector<int64_t>& shape,
                 const std::vector<int>& order, DType dtype, Device device) {
  const int N = static_cast<int>(shape[0]), C = static_cast<int>(shape[1]);
  const int H = static_cast<int>(shape[2]), W = static_cast<int>(shape[3]);
  const int64_t plane = int64_t{H} * W;
  const Tensor wide = Tensor::empty({N, H, W, C}, DType::f64);
  double* to = wide.data<double>();
  for (int n = 0; n < N; ++n)
    for (int64_t p = 0; p < plane; ++p)
      for (int c = 0; c < C; ++c)
        to[(n * plane + p) * C + c] = values[(int64_t{order[n]} * C + c) * plane + p];
  return images_on(converted(wide, dtype), dtype, device);
}

// (N,K) doubles in file order -> tensor in sorted order, on the device.
Tensor to_rows(const std::vector<double>& values, int rows, int columns,
               const std::vector<int>& order, DType dtype, Device device) {
  const Tensor wide = Tensor::empty({rows, columns}, DType::f64);
  for (int n = 0; n < rows; ++n)
    std::copy_n(values.data() + int64_t{order[n]} * columns, columns,
                wide.data<double>() + int64_t{n} * columns);
  return converted(wide, dtype).to(device);
}

// What is written: tensors in the file's layout, in the model's master precision.
class Results {
 public:
  explicit Results(DType master) : master_(master) {}

  // Rows in sorted order -> file order.
  void rows(const std::string& name, const Tensor& tensor, const std::vector<int>& order) {
    const int N = tensor.shape()[0], K = tensor.shape()[1];
    const Tensor wide = converted(tensor.to(Device::cpu), DType::f64);
    const Tensor out = Tensor::empty({N * K}, DType::f64);
    for (int n = 0; n < N; ++n)
      std::copy_n(wide.data<double>() + int64_t{n} * K, K,
                  out.data<double>() + int64_t{order[n]} * K);
    add({name, {N, K}, converted(out, master_)});
  }

  // NHWC in sorted order -> NCHW in file order.
  void images(const std::string& name, const Tensor& tensor, const std::vector<int>& order) {
    const Shape& s = tensor.shape();
    const int64_t plane = int64_t{s[1]} * s[2];
    const int C = s[3];
    const Tensor wide = converted(tensor.to(Device::cpu), DType::f64);
    const Tensor out = Tensor::empty({static_cast<int>(s.elements())}, DType::f64);
    for (int n = 0; n < s[0]; ++n)
      for (int64_t p = 0; p < plane; ++p)
        for (int c = 0; c < C; ++c)
          out.data<double>()[(int64_t{order[n]} * C + c) * plane + p] =
              wide.data<double>()[(n * plane + p) * C + c];
    add({name, {s[0], C, s[1], s[2]}, converted(out, master_)});
  }

  void add(NamedTensor tensor) { tensors_.push_back(std::move(tensor)); }
  void write(const std::string& path) const { write_safetensors(path, as_safetensors(tensors_)); }

 private:
  DType master_;
  std::vector<NamedTensor> tensors_;
};

// The width of a head, from the weights, so that nobody has to repeat it on the command line.
int rows_of(const SafetensorsFile& weights, const std::string& name, int otherwise) {
  const SafetensorsEntry* entry = weights.find(name);
  return entry && entry->shape.size() == 2 ? static_cast<int>(entry->shape[0]) : otherwise;
}

std::vector<int64_t> check_input(const SafetensorsFile& input, const ForwardOptions& options) {
  const SafetensorsEntry& x = input.entry("x");
  const std::vector<std::string> known = {"x", "dy", "domain"};
  for (const SafetensorsEntry& entry : input.entries())
    if (std::ranges::find(known, entry.name) == known.end())
      fail(ErrorKind::data, "{}: unknown tensor '{}'{}; expected x, dy, domain", input.path(),
           entry.name, did_you_mean(entry.name, known));
  if (x.shape.size() != 4 || x.shape[1] != options.channels ||
      std::ranges::any_of(x.shape, [](int64_t extent) { return extent < 1 || extent > 1 << 20; }))
    fail(ErrorKind::data, "{}: 'x' is {}; expected (N,{},H,W) for --channels {}", input.path(),
         describe(x), options.channels, options.channels);
  if (options.backward) {
    const SafetensorsEntry& dy = input.entry("dy");
    if (dy.shape != std::vector<int64_t>{x.shape[0], options.classes})
      fail(ErrorKind::data, "{}: 'dy' is {}; the output is ({},{}) for --classes {}", input.path(),
           describe(dy), x.shape[0], options.classes, options.classes);
  }
  return x.shape;
}

// The reference kernels, which alone compute in f64, are the CPU's.
Device device_for(const ForwardOptions& options, DType dtype) {
  const std::string& name = options.compute.device;
  if (dtype != DType::f64) return choose_device(name, options.compute.threads);
  if (name != "auto" && choose_device(name, options.compute.threads) != Device::cpu)
    fail(ErrorKind::usage,
         "--precision f64 with --device {}: f64 runs on the CPU; use --device cpu", name);
  return choose_device("cpu", options.compute.threads);
}

}  // namespace

int run_forward(const ForwardOptions& options) {
  for (const auto& [flag, file] :
       {std::pair{"--weights", options.weights}, std::pair{"--input", options.input}})
    if (std::error_code error; std::filesystem::equivalent(file, options.output, error))
      fail(ErrorKind::usage, "--output {}: is the file of {}, which it would replace",
           options.output.string(), flag);
  const DType dtype = parse_precision(options.precision), master = master_of(dtype);
  if (options.mode != "train" && options.mode != "eval")
    fail(ErrorKind::usage, "unknown mode '{}'; expected train or eval", options.mode);
  const bool train = options.mode == "train";
  const Device device = device_for(options, dtype);
  set_kernel_choice(parse_kernel_choice(options.compute.kernels));

  const SafetensorsFile weights(options.weights.string()), input(options.input.string());
  ModelOptions model_options;
  model_options.channels = options.channels;
  model_options.classes = options.classes;
  model_options.rxrx1.width = rows_of(weights, "neck.fc1.weight", 1024);
  model_options.rxrx1.batch_classes = rows_of(weights, "batch_head.weight", 51);
  model_options.rxrx1.batch_hidden = rows_of(weights, "batch_head.hidden.weight", 0);
  if (!options.position_rule.empty()) {
    model_options.position_rule = parse_position_rule(options.position_rule);
    if (options.model.find("deit") == std::string::npos)
      fail(ErrorKind::usage, "--position-rule {}: {} has no position embedding",
           options.position_rule, options.model);
  }
  const std::unique_ptr<Model> model = make_model(options.model, model_options);
  model->initialise(master, 0, device);
  load_weights(*model, weights);

  const std::vector<int64_t> shape = check_input(input, options);
  const int N = static_cast<int>(shape[0]);
  const Domains domains = read_domains(input, N, train);

  const SegmentTable segments(domains.offsets, device);
  Tape tape;
  ForwardContext context;
  context.tape = options.backward ? &tape : nullptr;
  context.segments = segments;
  NormStatistics recorded;
  if (train) {
    recorded = NormStatistics(model->norms(), context.segments.count, master, device);
    context.norm.record = &recorded;
  } else {
    context.norm.source = NormPolicy::Source::table;
    context.norm.table = &model->running();
  }
  const Variable x(to_images(read_floats(input, "x"), shape, domains.order, dtype, device),
                   options.backward);
  const ModelOutput output = model->forward(x, context);

  Results results(master);
  results.rows("y", output.y.value(), domains.order);
  if (output.batch.defined()) results.rows("batch", output.batch.value(), domains.order);

  if (options.backward) {
    const auto seed = [&](const char* name, const Variable& y) {
      y.seed_grad(to_rows(read_floats(input, name), N, y.shape()[1], domains.order, dtype, device));
    };
    seed("dy", output.y);
    if (output.batch.defined() && input.find("dbatch")) {
      const SafetensorsEntry& entry = input.entry("dbatch");
      if (entry.shape != std::vector<int64_t>{N, output.batch.shape()[1]})
        fail(ErrorKind::data, "{}: 'dbatch' is {}; the batch head's output is ({},{})",
             input.path(), describe(entry), N, output.batch.shape()[1]);
      seed("dbatch", output.batch);
    }
    ParameterArena& arena = model->arena();
    const Tensor gradients = arena.new_array();
    arena.begin_gradients(gradients);
    tape.backward();
    arena.finish_gradients();
    results.images("grad.x", x.grad(), domains.order);
    for (const Parameter& p : arena.parameters())
      results.add(to_pytorch(arena, gradients, p, "grad." + p.name));
  }
  if (train) {
    update_running(recorded, kMomentum, model->running());
    for (NamedTensor& buffer : running_statistics(*model, "buffer."))
      results.add(std::move(buffer));
  }
  results.write(options.output.string());
  return 0;
}

}  // namespace mono
