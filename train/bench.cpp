// `train_rxrx bench`: times whole training steps of a registered model on random input.
//
// A step: forward, cross-entropy, backward, SGD with momentum. The batch stays the same, so the
// losses that it prints must fall.

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "kernels/base/cpu_features.h"
#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"
#include "models/registry.h"
#include "nn/functional/cross_entropy.h"
#include "nn/functional/precision.h"
#include "nn/optim/sgd.h"
#include "train/commands.h"
#include "train/device.h"
#include "train/json.h"

namespace mono {
namespace {

double peak_resident_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

}  // namespace

int run_bench(const BenchOptions& options) {
  if (options.batch < 2 || options.image_size < 1 || options.steps < 1 || options.warm_up < 0)
    fail(ErrorKind::usage,
         "bench: batch ({}) must be at least 2, image-size ({}) and steps ({}) at least 1, "
         "warm-up ({}) at least 0",
         options.batch, options.image_size, options.steps, options.warm_up);
  if (options.precision != "f32" && options.precision != "bf16")
    fail(ErrorKind::usage, "bench: precision is '{}'; expected f32 or bf16", options.precision);
  const DType dtype = options.precision == "bf16" ? DType::bf16 : DType::f32;
  choose_device(options.compute.device, options.compute.threads);
  set_kernel_choice(parse_kernel_choice(options.compute.kernels));
  const int N = options.batch, P = options.image_size;

  ModelOptions model_options;
  model_options.channels = options.channels;
  model_options.classes = options.classes;
  const std::unique_ptr<Model> model = make_model(options.model, model_options);
  model->initialise(DType::f32, 0);
  ParameterArena& arena = model->arena();
  const Tensor gradients = arena.new_array();
  Sgd optimiser(arena, {.momentum = 0.9, .weight_decay = 0.0});

  Philox random(0, Purpose::test);
  const Tensor images = Tensor::empty({N, P, P, options.channels}, DType::f32);
  for (float& value : images.span<float>()) value = static_cast<float>(random.normal());
  const Tensor input = converted(images, dtype);
  const Tensor targets = Tensor::zeros({N, options.classes}, DType::f32);
  for (int n = 0; n < N; ++n)
    targets.data<float>()[int64_t{n} * options.classes + random.below(options.classes)] = 1.0f;

  const int offsets[2] = {0, N};
  std::vector<double> seconds, losses;
  for (int step = 0; step < options.warm_up + options.steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    Tape tape;
    NormStatistics recorded(model->norms(), 1, DType::f32);
    ForwardContext context;
    context.tape = &tape;
    context.segments = {1, offsets};
    context.norm.record = &recorded;
    double loss = 0;
    {
      const ModelOutput output = model->forward(Variable(input), context, {BatchHead::Mode::off});
      loss = soft_cross_entropy(output.y, targets, 1.0, context);
    }
    arena.begin_gradients(gradients);
    tape.backward();
    arena.finish_gradients();
    optimiser.step(gradients, 1e-3, 1.0);
    update_running(model->norms(), recorded, 0.1, model->running());
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    losses.push_back(loss);
    if (step >= options.warm_up) seconds.push_back(elapsed.count());
  }
  std::vector<double> sorted = seconds;
  std::ranges::sort(sorted);
  const double median = sorted[sorted.size() / 2];
  if (options.json) {
    Json json = Json::object();
    json["model"] = options.model;
    json["channels"] = options.channels;
    json["image_size"] = P;
    json["batch"] = N;
    json["precision"] = options.precision;
    json["device"] = "cpu";
    json["cpu"] = cpu_name();
    json["isa"] = name_of(cpu_isa());
    json["threads"] = num_threads();
    json["steps"] = options.steps;
    json["median_s"] = median;
    json["min_s"] = sorted.front();
    json["max_s"] = sorted.back();
    json["images_per_s"] = N / median;
    json["peak_mb"] = peak_resident_mb();
    json["loss"] = losses;
    fmt::print("{}\n", json.line());
  } else {
    fmt::print("{} {}x{}x{} batch {} {} on {} threads of {} ({})\n", options.model,
               options.channels, P, P, N, options.precision, num_threads(), cpu_name(),
               name_of(cpu_isa()));
    fmt::print(
        "  step {:.4f} s (min {:.4f}, max {:.4f} over {}), {:.2f} images/s, peak {:.0f} MB\n",
        median, sorted.front(), sorted.back(), options.steps, N / median, peak_resident_mb());
    fmt::print("  loss {:.4f} -> {:.4f}\n", losses.front(), losses.back());
  }
  return 0;
}

}  // namespace mono
