// The tables of CPG0004-LINCS, read into Dataset::sites. The first that is found counts, each
// looked for in the root and then in its folder metadata/:
//   cpg_metadata   metadata.csv with a column `compound` (root only): a row a site with plate,
//                  plate_map, replicate, well, site, compound, dose, moa; site_id may be given
//   cpg_index      enriched_index.csv or sub_index.csv, as in the gallery's workspace: a row a site
//                  with Metadata_Plate, Metadata_Well, Metadata_Site, Metadata_broad_sample,
//                  Metadata_mmoles_per_liter (uM, whatever its name), Metadata_moa,
//                  Plate_Map_Name; Treatment_Replicate, whose median over a plate is its replicate
//   cpg_platemaps  barcode_platemap.csv, platemap/<MAP>.txt for each of its maps and
//                  repurposing_info_external_moa_map_resolved.tsv, as in lincs-cell-painting: a
//                  site for each of the nine fields of each well. A file
//                  lincs_plates_final_batch_1.txt (a folder name a line) says which of the plates
//                  were imaged; replicate = rank of the barcode among the map's imaged plates.
// An empty compound is DMSO, an empty moa "unknown". Doses are rounded to the nearest level of
// kDoseLevels. Classes: DMSO is 0, then (compound, level) in order; names COMPOUND@DOSE. Replicates
// 4 and 5 are `in_test`, 4 also `in_validation`: fold 1.
#pragma once

#include "train/data/dataset.h"

#include <vector>

namespace mono {

// False if the root has no table of CPG0004; else fills what read_tables() fills, and compounds,
// moas and plate_maps. Each faulty row becomes a Problem and is left out. Throws Error(data) where
// a table cannot be read at all.
bool read_cpg_tables(Dataset& dataset, std::vector<Problem>& problems);

// Level 1..7 whose dose is nearest.
int dose_level(double dose);

// Name of a class: "DMSO" for level 0, else COMPOUND@DOSE with the level's dose.
std::string treatment_name(const std::string& compound, int level);

// Numbers the classes of dataset.sites afresh (DMSO 0, then by compound and level), and drops
// compounds and mechanisms without a site.
void number_treatments(Dataset& dataset);

}  // namespace mono
