#include "train/checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>

#include "kernels/base/error.h"
#include "train/hash.h"
#include "train/version.h"

namespace mono {
namespace {

namespace fs = std::filesystem;

constexpr int kFormatVersion = 1;
constexpr const char* kFiles[] = {"model.safetensors", "optimizer.safetensors", "state.json"};
constexpr const char* kManifest = "MANIFEST.json";
constexpr std::string_view kStep = "step_", kTemporary = ".tmp-";

struct FileMark {
  size_t bytes = 0;
  std::string hash;
};

FileMark mark_of(const fs::path& path) {
  FileMark mark;
  FileDescriptor file(open_regular_file(path.string(), mark.bytes));
  Hasher128 hasher;
  std::vector<char> buffer(std::min<size_t>(mark.bytes, 1 << 20));
  for (size_t at = 0; at < mark.bytes;) {
    const size_t count = std::min(buffer.size(), mark.bytes - at);
    read_exactly(file.get(), path.string(), buffer.data(), count, at);
    hasher.update(buffer.data(), count);
    at += count;
  }
  mark.hash = hasher.digest_text();
  return mark;
}

std::string manifest_text(int64_t step, const std::string& recipe_hash,
                          const std::vector<FileMark>& marks) {
  Json manifest = Json::object();
  manifest["format_version"] = kFormatVersion;
  manifest["step"] = step;
  manifest["recipe_hash"] = recipe_hash;
  for (size_t i = 0; i < std::size(kFiles); ++i) {
    Json& file = manifest["files"][kFiles[i]];
    file["bytes"] = static_cast<int64_t>(marks[i].bytes);
    file["xxh3_128"] = marks[i].hash;
  }
  // Of the text without this member; a reader rebuilds the text and compares all of it.
  manifest["manifest_xxh3"] = hash_text(hash64(manifest.text()));
  return manifest.text();
}

// The step in a folder's name; -1 for any other name.
int64_t step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kStep)) return -1;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kStep.size(), end, step);
  return error == std::errc{} && stop == end ? step : -1;
}

[[noreturn]] void fail_storage(const fs::path& path, const char* operation, int error) {
  fail(ErrorKind::storage, "{}: {}: {}", path.string(), operation, std::strerror(error));
}

std::vector<SafetensorsTensor> as_safetensors(const std::vector<CheckpointTensor>& tensors) {
  std::vector<SafetensorsTensor> out;
  for (const CheckpointTensor& tensor : tensors)
    out.push_back(safetensors_f32(tensor.name, tensor.shape, tensor.values));
  return out;
}

void check_finite(const std::vector<CheckpointTensor>& tensors) {
  for (const CheckpointTensor& tensor : tensors)
    for (size_t i = 0; i < tensor.values.size(); ++i)
      if (!std::isfinite(tensor.values[i]))
        fail(ErrorKind::diverged,
             "tensor '{}': element {} is {}; training has diverged and nothing was saved. The last "
             "checkpoint is intact; try a lower optim.lr",
             tensor.name, i, tensor.values[i]);
}

}  // namespace

std::vector<fs::path> list_checkpoints(const fs::path& run) {
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator at(run / "ckpt", error), end; !error && at != end;
       at.increment(error))
    if (step_of(at->path()) >= 0) out.push_back(at->path());
  std::sort(out.begin(), out.end(),
            [](const fs::path& a, const fs::path& b) { return step_of(a) > step_of(b); });
  return out;
}

LoadedCheckpoint load_checkpoint(const fs::path& folder) {
  const std::string manifest_path = (folder / kManifest).string();
  const std::string text = read_file(manifest_path, 1 << 20);
  const JsonView manifest = parse_json(text, manifest_path);
  if (const int64_t version = manifest["format_version"].integer(); version != kFormatVersion)
    manifest["format_version"].refuse(fmt::format(
        "{}, where this program reads {}; use the version that wrote it", version, kFormatVersion));
  const int64_t step = manifest["step"].integer(0);
  const std::string recipe_hash = manifest["recipe_hash"].string();
  std::vector<FileMark> marks;
  for (const char* name : kFiles) {
    const JsonView file = manifest["files"][name];
    marks.push_back({file["bytes"].unsigned_integer(), file["xxh3_128"].string()});
  }
  if (manifest_text(step, recipe_hash, marks) != text)
    fail(ErrorKind::data, "{}: does not match its own hash; it is damaged", manifest_path);
  if (step != step_of(folder))
    fail(ErrorKind::data, "{}: is of step {}, but lies in {}; was the folder renamed?",
         manifest_path, step, folder.filename().string());
  for (size_t i = 0; i < std::size(kFiles); ++i) {
    const fs::path path = folder / kFiles[i];
    const FileMark found = mark_of(path);
    if (found.bytes != marks[i].bytes)
      fail(ErrorKind::data, "{}: {} bytes, where MANIFEST.json says {}; it is cut off or replaced",
           path.string(), found.bytes, marks[i].bytes);
    if (found.hash != marks[i].hash)
      fail(ErrorKind::data, "{}: its hash is {}, where MANIFEST.json says {}; it is damaged",
           path.string(), found.hash, marks[i].hash);
  }
  return {folder,
          step,
          recipe_hash,
          hash_text(hash64(text)),
          SafetensorsFile((folder / kFiles[0]).string()),
          SafetensorsFile((folder / kFiles[1]).string()),
          read_json_file((folder / kFiles[2]).string())};
}

LoadedCheckpoint load_last_checkpoint(const fs::path& run) {
  const std::vector<fs::path> folders = list_checkpoints(run);
  if (folders.empty())
    fail(ErrorKind::data, "{}: holds no checkpoint; has the run been trained?",
         (run / "ckpt").string());
  return load_checkpoint(folders.front());
}

LoadedCheckpoint load_checkpoint_of(const fs::path& run, int64_t step) {
  return load_checkpoint(run / "ckpt" / fmt::format("{}{:08}", kStep, step));
}

CheckpointStore::CheckpointStore(const RunDirectory& run, int64_t keep)
    : folder_(run.checkpoints()), keep_(static_cast<size_t>(keep)) {
  MONO_CHECK(keep >= 2, "keeping {} checkpoints", keep);
  make_folder(folder_);
  std::vector<fs::path> stale;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_))
    if (entry.path().filename().string().starts_with(kTemporary)) stale.push_back(entry.path());
  std::error_code ignored;
  for (const fs::path& path : stale) fs::remove_all(path, ignored);
}

fs::path CheckpointStore::temporary_name() {
  return folder_ / fmt::format("{}{}-{}", kTemporary, ::getpid(), serial_++);
}

fs::path CheckpointStore::save(const CheckpointContent& content) {
  check_finite(content.model);
  check_finite(content.optimizer);
  const fs::path folder = folder_ / fmt::format("{}{:08}", kStep, content.step);
  const fs::path temporary = temporary_name();
  try {
    make_folder(temporary);
    const SafetensorsMetadata metadata = {{"format", "pt"}};
    write_safetensors((temporary / kFiles[0]).string(), as_safetensors(content.model), metadata);
    write_safetensors((temporary / kFiles[1]).string(), as_safetensors(content.optimizer),
                      metadata);
    Json state = content.state;
    state["format_version"] = kFormatVersion;
    state["step"] = content.step;
    state["version"] = program_version();
    state["commit"] = program_commit();
    state["instruction_set"] = instruction_set();
    write_file_durably((temporary / kFiles[2]).string(), state.text());
    std::vector<FileMark> marks;
    for (const char* name : kFiles) marks.push_back(mark_of(temporary / name));
    write_file_durably((temporary / kManifest).string(),
                       manifest_text(content.step, content.recipe_hash, marks));
    publish(temporary, folder);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
  rejected_.erase(folder);
  prune();
  return folder;
}

void CheckpointStore::publish(const fs::path& temporary, const fs::path& folder) {
  if (!fs::exists(folder)) {
    if (::rename(temporary.c_str(), folder.c_str()) != 0) fail_storage(folder, "rename", errno);
  } else if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) ==
             0) {
    // The step was saved before (and perhaps damaged since): at no moment is its name without one.
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
  } else {  // a file system that cannot exchange
    discard(folder);
    if (::rename(temporary.c_str(), folder.c_str()) != 0) fail_storage(folder, "rename", errno);
  }
  sync_folder(folder_.string());
}

void CheckpointStore::prune() {
  for (const fs::path& folder : std::set<fs::path>(rejected_)) discard(folder);
  rejected_.clear();
  const std::vector<fs::path> folders = list_checkpoints(folder_.parent_path());
  for (size_t i = keep_; i < folders.size(); ++i)
    if (step_of(folders[i]) != kept_step_) discard(folders[i]);
}

void CheckpointStore::discard(const fs::path& folder) {
  const fs::path away = temporary_name();
  std::error_code error;
  fs::rename(folder, away, error);
  if (!error) fs::remove_all(away, error);
  if (error)
    fmt::print(stderr, "warning: {}: cannot be removed: {}\n", folder.string(), error.message());
}

std::optional<LoadedCheckpoint> CheckpointStore::load_newest() {
  const std::vector<fs::path> folders = list_checkpoints(folder_.parent_path());
  std::string last;
  for (const fs::path& folder : folders) {
    try {
      return load_checkpoint(folder);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      last = error.what();
      fmt::print(stderr, "warning: checkpoint rejected: {}\n", last);
      rejected_.insert(folder);
    }
  }
  if (folders.empty()) return {};
  fail(ErrorKind::data,
       "{}: none of {} checkpoints verifies; the last reason: {}. Start afresh with "
       "another --out",
       folder_.string(), folders.size(), last);
}

}  // namespace mono
