// What is left of a run: a JSON file, and the rows of the choice table in the source.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>

#include "kernels/base/cpu_features.h"
#include "kernels/base/error.h"
#include "tools/bench_kernels/bench.h"

namespace mono::bench {
namespace {

std::string device_name(Device device) {
  if (device == Device::cpu) return std::string(cpu_name());
  return gpu::properties()->name;
}

}  // namespace

void write_json(const Session& session) {
  std::string text = fmt::format(
      "{{\n \"format_version\": 1,\n \"device\": \"{}\",\n \"copy_bytes_per_s\": {:.4e},\n"
      " \"flops_f32\": {:.4e},\n \"flops_bf16\": {:.4e},\n \"flops_source\": \"{}\",\n \"rows\": [",
      device_name(session.options().device), session.peaks().bytes_per_s, session.peaks().flops_f32,
      session.peaks().flops_bf16, session.peaks().flops_source);
  const char* separator = "\n";
  for (const Row& r : session.rows()) {
    text += fmt::format(
        "{}  {{\"op\": \"{}\", \"case\": \"{}\", \"problem\": \"{}\", \"pass\": \"{}\", "
        "\"variant\": "
        "\"{}\", \"dtype\": \"{}\", \"chosen\": {}, \"flops\": {:.4e}, \"bytes\": {:.4e}, "
        "\"seconds\": {:.4e}, \"share_of_bound\": {:.4f}, \"error\": {:.2e}, \"right\": {}}}",
        separator, r.op, r.name, r.problem, r.pass, r.variant, r.dtype, r.chosen, r.flops, r.bytes,
        r.seconds, r.share, std::min(r.error, 1e30), r.error <= r.tolerance);
    separator = ",\n";
  }
  text += "\n ]\n}\n";
  std::ofstream out(session.options().json);
  out << text;
  if (!out.flush())
    fail(ErrorKind::storage, "bench_kernels: {} could not be written", session.options().json);
}

// Times beside those of the libraries, as ratios.
void print_ratios(const Session& session) {
  std::map<std::string, const Row*> library;
  const auto key = [](const Row& r) { return r.name + r.pass + r.dtype; };
  for (const Row& r : session.rows())
    if (r.library && r.seconds > 0) library[key(r)] = &r;
  bool first = true;
  for (const Row& r : session.rows()) {
    const auto other = library.find(key(r));
    if (r.library || r.seconds == 0 || other == library.end()) continue;
    if (first) fmt::print("\ntimes as fast as the library:\n");
    first = false;
    fmt::print("{:<10} {:<34} {:<9} {:<18} {:<5} {:.2f} of {}\n", r.op, r.name, r.pass, r.variant,
               r.dtype, other->second->seconds / r.seconds, other->second->variant);
  }
}

// A deep network multiplies the errors of activations and of their gradients, so that fprop and
// dgrad take the quickest among the variants that are nearly as exact as the most exact one; a
// filter's gradient goes nowhere but into the update.
constexpr double kErrorMargin = 1.1;

// Rows of other machines, and of passes and types that were not measured, stay.
void write_table(const Session& session) {
  const char* const file = "kernels/conv2d/conv2d_choices.inc";
  std::ifstream in(file);
  if (!in) fail(ErrorKind::usage, "--write-table: {} is not here; run in the repository", file);
  const auto problem_of = [](const Row& r) {
    return r.choice.substr(0, r.choice.rfind("ConvVariant"));
  };
  std::map<std::string, double> least_error;
  for (const Row& r : session.rows()) {
    if (r.choice.empty() || r.seconds == 0) continue;
    const auto [error, is_new] = least_error.try_emplace(problem_of(r), r.error);
    if (!is_new) error->second = std::min(error->second, r.error);
  }
  std::map<std::string, const Row*> quickest;
  for (const Row& r : session.rows()) {
    if (r.choice.empty() || r.seconds == 0) continue;
    if (r.pass != "wgrad" && r.error > kErrorMargin * least_error[problem_of(r)]) continue;
    const Row*& best = quickest[problem_of(r)];
    if (!best || r.seconds < best->seconds) best = &r;
  }
  if (quickest.empty()) fail(ErrorKind::usage, "--write-table: no convolution was timed");
  // A row begins with machine, pass and type, up to the problem's brace.
  const auto kind = [](const std::string& row) { return row.substr(0, row.find('{', 1)); };
  std::map<std::string, bool> measured;
  for (const auto& [key, row] : quickest) measured[kind(row->choice)] = true;
  std::string text;
  for (std::string line; std::getline(in, line);)
    if (!measured.contains(kind(line))) text += line + "\n";
  for (const auto& [key, row] : quickest) text += row->choice + "\n";
  std::ofstream out(file);
  out << text;
  if (!out.flush()) fail(ErrorKind::storage, "--write-table: {} could not be written", file);
  fmt::print("{} rows of {}\n", quickest.size(), file);
}

}  // namespace mono::bench
