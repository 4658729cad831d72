// `train_rxrx bench`: times whole training steps of a registered model on random input.
//
// A step: forward, cross-entropy, backward, SGD with momentum, and reading the loss. The batch
// stays the same, so the losses that it prints must fall. --graph records the step once and replays
// it. --step cdcl: a whole step of CDCL on a DeiT, `batch` pairs of eight views. --link-gbytes: as
// if the gradient went over a network of that rate; backward hides what it can. --nccl: through
// NCCL, as the only rank, for which it starts no kernel: what streams and waits around it cost.

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "kernels/base/cpu_features.h"
#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"
#include "models/registry.h"
#include "runtime/graph.h"
#include "runtime/timed_link.h"
#include "train/bench_cdcl_step.h"
#include "train/commands.h"
#include "train/device.h"
#include "train/json.h"

namespace mono {
namespace {

// Of the process on the CPU, of tensors on a GPU.
double peak_mb(Device device) {
  if (device != Device::cpu) return static_cast<double>(peak_tensor_bytes(device)) / 1048576;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

void check(const BenchOptions& options) {
  if (options.batch < 2 || options.image_size < 1 || options.steps < 1 || options.warm_up < 0)
    fail(ErrorKind::usage,
         "bench: batch ({}) must be at least 2, image-size ({}) and steps ({}) at least 1, "
         "warm-up ({}) at least 0",
         options.batch, options.image_size, options.steps, options.warm_up);
  if (options.precision != "f32" && options.precision != "bf16")
    fail(ErrorKind::usage, "bench: precision is '{}'; expected f32 or bf16", options.precision);
  if (options.step != "supervised" && options.step != "cdcl")
    fail(ErrorKind::usage, "bench: --step is '{}'; expected supervised or cdcl", options.step);
  if (options.step == "cdcl" && !options.model.starts_with("deit"))
    fail(ErrorKind::usage, "bench: --step cdcl is one of a DeiT, and --model is '{}'",
         options.model);
  if (options.link_gbytes < 0 || options.link_us < 0 || options.bucket_mb <= 0)
    fail(ErrorKind::usage,
         "bench: --link-gbytes ({}) and --link-us ({}) are at least 0, --bucket-mb ({}) is above 0",
         options.link_gbytes, options.link_us, options.bucket_mb);
  const bool sums = options.link_gbytes > 0 || options.nccl || options.bf16_gradients;
  if (sums && (options.graph || options.step == "cdcl"))
    fail(ErrorKind::usage,
         "bench: --link-gbytes, --nccl and --bf16-gradients are of the supervised step, not "
         "recorded");
  if (options.link_gbytes > 0 && options.nccl)
    fail(ErrorKind::usage, "bench: either --link-gbytes or --nccl");
}

}  // namespace

int run_bench(const BenchOptions& options) {
  check(options);
  const Device device = choose_device(options.compute.device, options.compute.threads);
  if (options.graph && device == Device::cpu)
    fail(ErrorKind::usage, "bench --graph: a step is recorded on a GPU only, this is the CPU");
  set_kernel_choice(parse_kernel_choice(options.compute.kernels));
  const DType dtype = options.precision == "bf16" ? DType::bf16 : DType::f32;
  std::optional<TimedLink> link;
  if (options.link_gbytes > 0)
    link.emplace(single_process(), Link{options.link_us * 1e-6, options.link_gbytes * 1e9});
  std::unique_ptr<Communicator> nccl;
  if (options.nccl) nccl = nccl_over(single_process());
  Communicator& ranks = link ? *link : nccl ? *nccl : single_process();
  std::unique_ptr<Model> model;  // of a supervised step
  std::unique_ptr<TimedStep> timed;
  if (options.step == "cdcl") {
    timed = std::make_unique<BenchCdclStep>(options.model, options.batch, options.image_size,
                                            options.channels, dtype, device);
  } else {
    ModelOptions model_options;
    model_options.channels = options.channels;
    model_options.classes = options.classes;
    model = make_model(options.model, model_options);
    model->initialise(DType::f32, 0, device);
    timed = std::make_unique<BenchStep>(
        *model, options.batch, options.image_size, options.channels, options.classes, dtype, ranks,
        SumOptions{static_cast<int64_t>(options.bucket_mb * 1048576), options.bf16_gradients});
  }
  TimedStep& step = *timed;
  std::optional<Graph> graph;
  std::vector<double> seconds, losses;
  for (int i = 0; i < options.warm_up + options.steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (!options.graph)
      step.run();
    else if (!graph)
      graph.emplace([&] { step.run(); });  // runs it, too
    else
      graph->replay();
    losses.push_back(step.loss());
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (i >= options.warm_up) seconds.push_back(elapsed.count());
  }
  std::vector<double> sorted = seconds;
  std::ranges::sort(sorted);
  const double median = sorted[sorted.size() / 2];
  const double saved = static_cast<double>(step.saved_bytes()) / options.batch / 1048576;
  if (options.json) {
    Json json = Json::object();
    json["model"] = options.model;
    json["step"] = options.step;
    json["channels"] = options.channels;
    json["image_size"] = options.image_size;
    json["batch"] = options.batch;
    json["precision"] = options.precision;
    json["device"] = name_of(device);
    json["hardware"] = name_of_hardware(device);
    json["graph"] = options.graph;
    json["cpu"] = cpu_name();
    json["isa"] = name_of(cpu_isa());
    json["threads"] = num_threads();
    if (link) {
      json["link_gbytes"] = options.link_gbytes;
      json["link_us"] = options.link_us;
      json["bucket_mb"] = options.bucket_mb;
      json["gradient_mb"] = static_cast<double>(model->arena().weights().bytes()) / 1048576 /
                            (options.bf16_gradients ? 2 : 1);
    }
    json["steps"] = options.steps;
    json["median_s"] = median;
    json["min_s"] = sorted.front();
    json["max_s"] = sorted.back();
    json["images_per_s"] = options.batch / median;
    json["peak_mb"] = peak_mb(device);
    json["saved_mb_per_image"] = saved;
    json["loss"] = losses;
    fmt::print("{}\n", json.line());
    return 0;
  }
  const std::string where =
      device == Device::cpu
          ? fmt::format("{} threads of {} ({})", num_threads(), cpu_name(), name_of(cpu_isa()))
          : fmt::format("{} ({})", name_of(device), name_of_hardware(device));
  fmt::print("{} {}x{}x{} batch {} {} on {}{}\n", options.model, options.channels,
             options.image_size, options.image_size, options.batch, options.precision, where,
             options.graph ? ", as a graph" : "");
  fmt::print("  step {:.4f} s (min {:.4f}, max {:.4f} over {}), {:.2f} images/s, peak {:.0f} MB\n",
             median, sorted.front(), sorted.back(), options.steps, options.batch / median,
             peak_mb(device));
  fmt::print("  the tape keeps {:.2f} MB an image for backward\n", saved);
  fmt::print("  loss {:.4f} -> {:.4f}\n", losses.front(), losses.back());
  return 0;
}

}  // namespace mono
