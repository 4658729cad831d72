// `train_rxrx data check | stats | montage | pack`: the work behind the command line, which only
// fills these structs. Each prints to stdout and returns the exit code; errors that end the command
// are thrown. Nothing is ever written below `data`, nor among the screen's images elsewhere.
#pragma once

#include "train/data/dataset.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mono {

// Throws Error(usage) where `out`, a file to be written, is missing, a folder, inside of `data` or
// in a folder that does not exist.
void require_outside(const std::filesystem::path& out, const std::filesystem::path& data);
// Where it is a table of the screen or its screen.toml, or lies in a folder of its images, wherever
// links, an absolute images.folder or one with ".." lead to.
void require_outside(const std::filesystem::path& out, const Dataset& dataset);

struct CheckOptions {
  std::filesystem::path data;
  bool json = false;
  bool quick = false;  // look at sizes and headers only; the default decodes every pixel
};
int run_data_check(const CheckOptions& options);  // 0, or 3 with problems

struct StatsOptions {
  std::filesystem::path data;
  bool json = false;
  // Also the plates' statistics after CDCL's normalisation of the input: negative-controls,
  // all-images or constants (train/data/normalisation.h). Empty: not.
  std::string normalise;
};
int run_data_stats(const StatsOptions& options);  // 0; damaged files are left out with a warning

struct MontageOptions {
  std::filesystem::path data;
  std::filesystem::path out;       // a .png outside of `data`
  std::vector<std::string> sirna;  // rows: these siRNAs; empty: a row a cell type, untreated wells
  int tile = 256;                  // pixels per tile
  int columns = 6;                 // at most so many sites a row
};
int run_data_montage(const MontageOptions& options);

struct PackOptions {
  std::filesystem::path data;
  std::filesystem::path out;  // the cache file to write, outside of `data`
  std::string codec = "raw";  // raw | delta-zstd
  int resize = 0;             // pixels a side of what is stored; 0: as the images are
  bool selection = false;     // only the treatments of train/data/selection.h
  bool compare = true;        // print sizes and rates of both codecs
};
int run_data_pack(const PackOptions& options);

}  // namespace mono
