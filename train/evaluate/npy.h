// NumPy's .npy files, version 1.0: magic, header length, a Python dict as text, the values.
// Source: numpy.lib.format.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace mono {

// Writes a C-ordered little-endian float32 matrix (rows, columns) durably. values.size() =
// rows * columns. Error: storage.
void write_npy(const std::string& path, std::span<const float> values, int64_t rows,
               int64_t columns);

}  // namespace mono
