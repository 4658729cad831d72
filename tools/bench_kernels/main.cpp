// Times the kernels at the models' problem sizes, after checking each against its definition.
#include <fmt/core.h>

#include <charconv>
#include <cstdio>
#include <cstring>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "tools/bench_kernels/bench.h"

namespace mono::bench {
namespace {

constexpr const char* kHelp =
    R"(bench_kernels: times the kernels at the models' problem sizes

  --device NAME    cpu, cuda or emulated; default: cuda where this build finds a GPU, else cpu
  --op A,B         conv2d, matmul, linear, attention, layer_norm, gelu, batch_norm, pool,
                   elementwise, sgd, adamw, crop_views, domain_centring, dino, barlow, l2_normalise, weight_norm; default: all
  --variant NAME   one variant (also the definitions, which are slow)
  --pass NAME      fprop, dgrad, wgrad, forward, backward, ...
  --dtype NAME     f32 or bf16
  --model NAME     densenet161 or resnet50; with --size and --batch for other images
  --only TEXT      cases whose name contains it
  --seconds S      time for each row, 0.3
  --threads N      of the CPU
  --json FILE      writes all rows
  --list           prints the cases
  --write-table    puts the quickest variants into kernels/conv2d/conv2d_choices.inc

Each row is checked first against the definition in double, on fewer pixels; a wrong one is not timed
and the program exits 1. Times are medians, with the caches flushed before each repetition. The bound
is the larger of FLOPs over the rate of a large matrix product and bytes over the rate of a copy, both
measured first; "*" marks the variant that the program would choose. On the emulator results are
checked and nothing is timed.
)";

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    words.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return words;
}

template <class Number>
Number number(const std::string& option, const std::string& text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0)
    fail(ErrorKind::usage, "{} {}: a number is expected", option, text);
  return value;
}

Device device_of(const std::string& name) {
  std::string why = "this build has none; build the preset cuda";
  const bool gpu = kGpu == Device::cuda && gpu::properties(&why);
  if (name.empty()) return gpu ? Device::cuda : Device::cpu;
  if (name == "cpu") return Device::cpu;
  if (name == name_of(kGpu) && (gpu || kGpu == Device::emulated)) return kGpu;
  if (name == "cuda") fail(ErrorKind::device, "--device cuda: no GPU: {}", why);
  if (name == "emulated")
    fail(ErrorKind::device,
         "--device emulated: this build has the CUDA device; build the preset cpu");
  fail(ErrorKind::usage, "--device {}: cpu, cuda or emulated", name);
}

Options parse(int argc, char** argv) {
  Options options;
  std::string device;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--help" || option == "-h") {
      std::fputs(kHelp, stdout);
      std::exit(0);
    }
    if (option == "--write-table") {
      options.write_table = true;
      continue;
    }
    if (option == "--list") {
      options.list = true;
      continue;
    }
    if (i + 1 == argc)
      fail(ErrorKind::usage, "{}: a value is missing, or no such option; see --help", option);
    const std::string value = argv[++i];
    if (option == "--device")
      device = value;
    else if (option == "--op")
      options.ops = split(value);
    else if (option == "--variant")
      options.variant = value;
    else if (option == "--pass")
      options.pass = value;
    else if (option == "--dtype")
      options.dtype = value;
    else if (option == "--model")
      options.model = value;
    else if (option == "--only")
      options.only = value;
    else if (option == "--json")
      options.json = value;
    else if (option == "--size")
      options.size = number<int>(option, value);
    else if (option == "--batch")
      options.batch = number<int>(option, value);
    else if (option == "--seconds")
      options.seconds = number<double>(option, value);
    else if (option == "--threads")
      set_num_threads(number<int>(option, value));
    else
      fail(ErrorKind::usage, "{}: no such option; see --help", option);
  }
  options.device = device_of(device);
  return options;
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const bool on_gpu = options.device != Device::cpu;
  const Stream stream = on_gpu && !options.list ? gpu::create_stream() : Stream{};
  Session session(options, stream);
  if (!options.list) session.measure_peaks();
  if (session.wants("conv2d")) bench_conv2d(session);
  if (session.wants("matmul")) bench_matmul(session);
  if (session.wants("linear")) bench_linear(session);
  if (session.wants("attention")) bench_attention(session);
  bench_memory_bound(session);
  bench_view_losses(session);
  if (options.list) return 0;
  if (session.rows().empty())
    fail(ErrorKind::usage, "nothing of that kind; bench_kernels --list names the cases");
  print_ratios(session);
  if (options.write_table) write_table(session);
  fmt::print("\n{} rows, {} wrong\n", session.rows().size(), session.failures());
  return session.failures() ? 1 : 0;
}

}  // namespace
}  // namespace mono::bench

int main(int argc, char** argv) {
  try {
    return mono::bench::run(argc, argv);
  } catch (const mono::Error& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return e.exit_code();
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 1;
  }
}
