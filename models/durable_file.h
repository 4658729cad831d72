// Writing a file so that a crash, a power cut or a full disk leaves either the old content or the
// new one, never a mixture: temporary name, fsync, rename, fsync of the folder.
//
// It lives here because weight files are the lowest layer that writes; train/ uses it for every
// other file of a run.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace mono {

// Writes the concatenation of `pieces` to `path`, replacing what was there. The temporary name is
// `path`.tmp-PID; on any error it is removed and ErrorKind::storage names the path, the operation
// and the system's reason.
void write_file_durably(const std::string& path,
                        std::span<const std::span<const std::byte>> pieces);
void write_file_durably(const std::string& path, std::string_view content);

// fsync of a folder, so that a rename inside it survives a power cut. ErrorKind::storage.
void sync_folder(const std::string& path);

// The content of a regular file of at most `limit` bytes. ErrorKind::data if it is absent, not a
// regular file, larger than the limit, or cannot be read.
std::string read_file(const std::string& path, size_t limit);

// An open file descriptor, closed on destruction.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor();
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  int release();

 private:
  int fd_;
};

// Opens a regular file for reading and returns its descriptor; size receives its length. A named
// pipe or a folder is refused without blocking. ErrorKind::data.
int open_regular_file(const std::string& path, size_t& size);

// Reads exactly `count` bytes at `offset`. ErrorKind::data where the file is shorter or unreadable.
void read_exactly(int fd, const std::string& path, void* to, size_t count, size_t offset);

}  // namespace mono
