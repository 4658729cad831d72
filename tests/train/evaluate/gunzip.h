// The content of a .gz file.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <filesystem>
#include <string>

namespace mono::test {

inline std::string gunzip(const std::filesystem::path& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (!file) {
    ADD_FAILURE() << path << " cannot be opened";
    return "";
  }
  std::string content;
  std::array<char, 65536> part;
  for (int count; (count = gzread(file, part.data(), part.size())) > 0;)
    content.append(part.data(), static_cast<size_t>(count));
  gzclose(file);
  return content;
}

}  // namespace mono::test
