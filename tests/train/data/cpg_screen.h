// Small screens in the layout of CPG0004 for tests.
#pragma once

#include "train/data/dataset.h"

#include <filesystem>
#include <string>

namespace mono::test {

inline constexpr const char* kCpgHeader =
    "site_id,plate,plate_map,replicate,well,site,compound,dose,moa\n";

// One row of metadata.csv; plate "P3" of map "MAP".
std::string cpg_row(const std::string& plate, int replicate, const std::string& well, int site,
                    const std::string& compound, const std::string& dose, const std::string& moa);

// Plates P1..P5, wells A01 and P24 (DMSO), B02 (CPD-1, kinase), B03 (CPD-2, kinase), C04 (CPD-3,
// channel), two fields: 50 sites.
std::string small_cpg_table();

// Noise images for every site of the screen at `dir`, in the folder `below`/PLATE.
void write_cpg_images(const std::filesystem::path& dir, int size, const std::string& below = "");

// A folder of ../shared/data/cdcl, or an empty path where it is not at hand.
std::filesystem::path cdcl_data(const std::string& name);

}  // namespace mono::test
