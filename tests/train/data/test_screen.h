// Small screens in a temporary folder, and the real images beside the tree where they are at hand.
#pragma once

#include "train/data/dataset.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mono::test {

// A folder of its own under the system's temporary one, removed at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

void write_text(const std::filesystem::path& path, const std::string& text);
std::string read_text(const std::filesystem::path& path);

// ../shared/data/rxrx1/NAME beside the source tree; an empty path where it is not.
std::filesystem::path real_data(const std::string& name);

inline const std::string kHeader =
    "site_id,well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,sirna_id\n";

// One row of metadata.csv in the form of rxrx.ai.
std::string row(const std::string& experiment, int plate, const std::string& well, int site,
                const std::string& dataset, const std::string& well_type, const std::string& sirna,
                int sirna_id);

// Two experiments (HUVEC-01 train, HUVEC-02 test), two plates each, wells B02 (EMPTY), B03
// (positive control) and B04 (treatment), two sites: 24 rows.
std::string small_table();

// Random grey images of `size` for every row of a table in DIR, in images/EXP.
void write_images(const std::filesystem::path& dir, int size);

}  // namespace mono::test
