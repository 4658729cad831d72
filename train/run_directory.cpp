#include "train/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "kernels/base/error.h"
#include "train/idle_keys.h"
#include "train/json.h"
#include "train/recipe.h"
#include "train/version.h"

namespace mono {
namespace {

namespace fs = std::filesystem;

int lock_folder(const fs::path& path) {
  make_folder(path);
  FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0)
    fail(ErrorKind::storage, "{}: open folder: {}", path.string(), std::strerror(errno));
  // Who only asks whether a run is being written to (a report) holds its lock for a moment.
  int refused = ::flock(folder.get(), LOCK_EX | LOCK_NB);
  for (int attempt = 0; refused != 0 && errno == EWOULDBLOCK && attempt < 20; ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    refused = ::flock(folder.get(), LOCK_EX | LOCK_NB);
  }
  if (refused != 0) {
    if (errno == EWOULDBLOCK)
      fail(ErrorKind::storage,
           "{}: another train_rxrx is writing to this run; wait for it, stop it, or choose another "
           "--out",
           path.string());
    fmt::print(stderr, "warning: {}: this file system has no locks ({}); start one run here only\n",
               path.string(), std::strerror(errno));
  }
  return folder.release();
}

void check_is_run(const fs::path& run) {
  if (!fs::exists(run / "recipe.toml"))
    fail(ErrorKind::data,
         "{}: is not the folder of a run (recipe.toml is missing); give what "
         "`train --out` was given",
         run.string());
}

}  // namespace

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path))
    fail(ErrorKind::storage, "{}: cannot make the folder: {}", path.string(),
         error ? error.message() : "a file of that name exists");
}

RunDirectory::RunDirectory(fs::path path) : path_(std::move(path)), lock_(lock_folder(path_)) {}

RunDirectory RunDirectory::without_writing(fs::path path) {
  return {std::move(path), -1};
}

bool RunDirectory::has_run() const {
  return fs::exists(path_ / "recipe.toml");
}

namespace {

void write_run_info(const fs::path& run, const std::string& recipe, const RunInfo& info) {
  Json json = Json::object();
  json["format_version"] = 1;
  json["recipe"] = recipe;
  json["recipe_hash"] = info.recipe_hash;
  json["data"] = info.data;
  json["cache"] = info.cache;
  json["version"] = info.version;
  json["commit"] = info.commit;
  json["instruction_set"] = info.instruction_set;
  write_file_durably((run / "run.json").string(), json.text());
}

}  // namespace

void RunDirectory::start(const Recipe& recipe, RunInfo info) const {
  info.recipe_hash = recipe_hash(recipe);
  info.version = program_version();
  info.commit = program_commit();
  info.instruction_set = instruction_set();
  write_run_info(path_, recipe.name, info);
  write_file_durably((path_ / "recipe.toml").string(), recipe_text(recipe));
}

void RunDirectory::moved(const std::string& data, const std::string& cache) const {
  RunInfo info = read_run_info(path_);
  if (info.data == data && info.cache == cache) return;
  info.data = data;
  info.cache = cache;
  write_run_info(path_, read_run_recipe(path_).name, info);
}

Recipe read_run_recipe(const fs::path& run) {
  check_is_run(run);
  return load_accepted_recipe((run / "recipe.toml").string());
}

RunInfo read_run_info(const fs::path& run) {
  check_is_run(run);
  const JsonView json = read_json_file((run / "run.json").string());
  json["format_version"].integer(1, 1);
  return {json["recipe_hash"].string(), json["data"].string(),   json["cache"].string(),
          json["version"].string(),     json["commit"].string(), json["instruction_set"].string()};
}

void check_extension(const fs::path& out, const char* extension) {
  if (out.extension() != extension)
    fail(ErrorKind::usage, "--out {}: does not end with {}, as what is written there does",
         out.string(), extension);
}

void check_same_recipe(const fs::path& run, const Recipe& now) {
  const std::vector<std::string> differences = differing_keys(read_run_recipe(run), now);
  if (differences.empty()) return;
  std::string list;
  for (const std::string& difference : differences) list += "\n  " + difference;
  fail(ErrorKind::usage,
       "{}: cannot be resumed with another recipe:{}\nTake these back, or start a "
       "new run with another --out",
       run.string(), list);
}

}  // namespace mono
