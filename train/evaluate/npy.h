// NumPy's .npy files: magic, version, header length, a Python dict as text, the values.
// Source: numpy.lib.format.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "nn/functional/nearest.h"

namespace mono {

// Writes a C-ordered little-endian float32 matrix (rows, columns) durably, as version 1.0.
// values.size() = rows * columns. Error: storage.
void write_npy(const std::string& path, std::span<const float> values, int64_t rows,
               int64_t columns);

// Reads a matrix (n, d) of float32 or float64 (rounded), little-endian, in C order, of version 1.0,
// 2.0 or 3.0. A file may come from anywhere: the header must be the dict that NumPy writes and
// nothing else, and its shape must fit the size of the file before anything of that size is
// allocated. Values are not looked at. Errors: data, naming the file and both values.
Features read_npy(const std::string& path);

}  // namespace mono
