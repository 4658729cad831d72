#include "train/metrics.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/base/error.h"

namespace mono {
namespace {

// The length of the leading rows whose step is at most last_step.
size_t kept_length(const std::string& path, const std::string& text, int64_t last_step) {
  size_t kept = 0;
  try {
    read_json_lines(text, path, [&](const JsonView& row, size_t end) {
      if (row["step"].integer() > last_step) return false;
      kept = end;
      return true;
    });
  } catch (const Error& error) {
    const bool last = text.find('\n', kept) + 1 == text.size();  // torn by a power cut
    if (!last) fail(ErrorKind::data, "{}. Remove that line to go on", error.what());
  }
  return kept;
}

}  // namespace

MetricsLog::MetricsLog(std::string path, int64_t last_step)
    : path_(std::move(path)),
      file_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  if (file_.get() < 0) fail(ErrorKind::storage, "{}: open: {}", path_, std::strerror(errno));
  constexpr size_t kLimit = size_t{4} << 30;
  size_ = kept_length(path_, read_file(path_, kLimit), last_step);
  if (::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0)
    fail(ErrorKind::storage, "{}: truncate: {}", path_, std::strerror(errno));
}

void MetricsLog::append(const Json& row) {
  const std::string line = row.line() + "\n";
  ssize_t written = 0;
  do {
    written = ::write(file_.get(), line.data(), line.size());
  } while (written < 0 && errno == EINTR);
  if (written != static_cast<ssize_t>(line.size())) {
    const int error = written < 0 ? errno : ENOSPC;
    // Should even this fail, the torn line is cut at the next start.
    [[maybe_unused]] const int cut = ::ftruncate(file_.get(), static_cast<off_t>(size_));
    fail(ErrorKind::storage, "{}: write: {}", path_, std::strerror(error));
  }
  size_ += line.size();
}

void MetricsLog::sync() {
  if (::fsync(file_.get()) != 0)
    fail(ErrorKind::storage, "{}: fsync: {}", path_, std::strerror(errno));
}

}  // namespace mono
