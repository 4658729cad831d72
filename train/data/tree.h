// The image files of a screen: which there are, what they are called, what size they have.
#pragma once

#include "train/data/dataset.h"

#include <vector>

namespace mono {

// Fills layout, experiment_dirs, channels_on_disk, image_size and every site's channels_present by
// listing the folders of all plates. Faults become problems; `notes` receives what is unusual but
// not wrong (images without a row in the table).
void scan_tree(Dataset& dataset, std::vector<Problem>& problems, std::vector<std::string>& notes);

// The same for CPG0004: folders of plates, PLATE or PLATE__*, up to four folders below the root.
void scan_cpg_tree(Dataset& dataset, std::vector<Problem>& problems,
                   std::vector<std::string>& notes);

// The note on images of a folder that no row speaks of. Rows with a problem, which are left out,
// speak of none.
std::string unlisted_note(const std::string& folder, int images, const std::string& example,
                          const std::vector<Problem>& problems);

// Names in a folder, sorted; none where it cannot be read.
std::vector<std::string> sorted_names(const std::filesystem::path& folder);

// Sets image_size, from channels_present: the size that most of some images spread over the screen
// have.
void find_image_size(Dataset& dataset, std::vector<Problem>& problems);

}  // namespace mono
