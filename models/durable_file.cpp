#include "models/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/base/error.h"

namespace mono {
namespace {

[[noreturn]] void fail_storage(const std::string& path, const char* operation, int error) {
  const char* remedy = "";
  if (error == ENOSPC || error == EDQUOT) remedy = "; free some space or choose another folder";
  if (error == EACCES || error == EROFS || error == EPERM) remedy = "; is the folder writable?";
  if (error == ENOENT || error == ENOTDIR) remedy = "; does the folder exist?";
  fail(ErrorKind::storage, "{}: {}: {}{}", path, operation, std::strerror(error), remedy);
}

void write_all(int fd, const std::string& path, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_storage(path, "write", errno);
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

int FileDescriptor::release() {
  return std::exchange(fd_, -1);
}

void sync_folder(const std::string& path) {
  FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) fail_storage(path, "open folder", errno);
  // Some network file systems do not know fsync on a folder; their rename is durable by itself.
  if (::fsync(folder.get()) != 0 && errno != EINVAL) fail_storage(path, "fsync folder", errno);
}

void write_file_durably(const std::string& path,
                        std::span<const std::span<const std::byte>> pieces) {
  const std::string temporary = path + ".tmp-" + std::to_string(::getpid());
  FileDescriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) fail_storage(path, "create", errno);
  try {
    for (const auto& piece : pieces) write_all(file.get(), path, piece);
    if (::fsync(file.get()) != 0) fail_storage(path, "fsync", errno);
    if (::close(file.release()) != 0) fail_storage(path, "close", errno);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail_storage(path, "rename", errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  const size_t slash = path.rfind('/');
  sync_folder(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

void write_file_durably(const std::string& path, std::string_view content) {
  const std::span<const std::byte> piece = std::as_bytes(std::span(content.data(), content.size()));
  write_file_durably(path, std::span(&piece, 1));
}

int open_regular_file(const std::string& path, size_t& size) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail(ErrorKind::data, "{}: cannot open: {}", path, std::strerror(errno));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0)
    fail(ErrorKind::data, "{}: cannot stat: {}", path, std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    fail(ErrorKind::data, "{}: {}, where a regular file is expected", path,
         S_ISDIR(info.st_mode) ? "is a folder" : "is a device, pipe or socket");
  size = static_cast<size_t>(info.st_size);
  return file.release();
}

void read_exactly(int fd, const std::string& path, void* to, size_t count, size_t offset) {
  auto* out = static_cast<std::byte*>(to);
  while (count > 0) {
    const ssize_t got = ::pread(fd, out, count, static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      fail(ErrorKind::data, "{}: read at byte {}: {}", path, offset, std::strerror(errno));
    }
    if (got == 0)
      fail(ErrorKind::data, "{}: ends at byte {}, {} bytes short; it shrank while being read", path,
           offset, count);
    out += got;
    offset += static_cast<size_t>(got);
    count -= static_cast<size_t>(got);
  }
}

std::string read_file(const std::string& path, size_t limit) {
  size_t size = 0;
  FileDescriptor file(open_regular_file(path, size));
  if (size > limit)
    fail(ErrorKind::data, "{}: {} bytes, more than the {} that such a file may have", path, size,
         limit);
  std::string content(size, '\0');
  read_exactly(file.get(), path, content.data(), size, 0);
  return content;
}

}  // namespace mono
